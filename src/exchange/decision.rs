//! The decision of a call's global limits: by leases, by the rate limit service's answers, or by
//! the operator's choice if there are none.
//!
//! In: a call whose local budgets are charged, answers. Out: the call with its global charges, or
//! its refusal. Not here: questions and the meaning of answers (`rls`), local budgets
//! (`admission`).
//!
//! Local limits come first because a service may count what it refuses: a call refused here must
//! not spend anything there.

use super::admitted::{Admitted, NotAdmitted};
use super::call::kind;
use super::context::{Abort, Context};
use super::effects::{Ask, Effects, HeaderEdit, Next};
use super::standings;
use crate::limits::{self, GlobalLimit, Granted, Refusal, Reservation, Wait};
use crate::metrics::{self, Labels};
use crate::rls::{self, Answer, Begun, Change, Decided, Failure, HeaderValue, OnFailure, Question, Service};
use crate::settings::Config;
use crate::units::{Span, Timestamp};

/// A call that waits for the rate limit service.
pub(super) struct AwaitingDecision {
    /// The call as its local limits admitted it.
    admitted: Box<Admitted>,
    begun: Begun,
    /// All questions in the order of asking, with the answers so far.
    questions: Vec<(Question, Option<Received>)>,
    /// The number of questions asked, and the time of the first.
    asked: usize,
    since: Timestamp,
}

/// An answer or a failure, and the time it came.
struct Received {
    answer: Result<Answer, Failure>,
    at: Timestamp,
}

/// The progress of a call's global limits.
pub(super) enum Progress {
    Decided(Box<Admitted>),
    Pending(Box<AwaitingDecision>),
}

/// The shortest timeout that the host can express. With less time left, no further question is
/// asked.
const LEAST_TIMEOUT: Span = Span::from_millis(1);

/// Starts the global limits of a call.
pub(super) fn begin(
    admitted: Box<Admitted>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Result<Progress, NotAdmitted> {
    let limits = &admitted.call.tier.global;
    let Some(service) = config.global.as_deref().filter(|_| !limits.is_empty()) else {
        return Ok(Progress::Decided(admitted));
    };
    let subject = admitted.call.subject(&admitted.model);
    let (estimate, tasks) = (&admitted.estimate, &mut effects.tasks);
    let begun = match rls::begin(limits, &subject, estimate, service, context.budgets, tasks) {
        Ok(begun) => begun,
        Err(refusal) => {
            effects.count(&metrics::GLOBAL_DECISIONS, &kind("leased"), 1);
            let refusal = rls::promised(refusal, limits, &subject, service, context.budgets);
            return Err(NotAdmitted::over_limit(admitted, refusal, vec![]));
        }
    };
    let since = context.now();
    let mut awaiting = AwaitingDecision { admitted, begun, questions: vec![], asked: 0, since };
    if !awaiting.begun.is_open() {
        let is_leased = !awaiting.begun.is_empty();
        effects.count(&metrics::GLOBAL_DECISIONS, &kind("leased"), u64::from(is_leased));
        return awaiting.conclude(service, context, effects);
    }
    if !context.breaker.as_mut().is_some_and(|breaker| breaker.may_ask(since)) {
        effects.count(&metrics::GLOBAL_FAILURES, &kind("not_asked"), 1);
        return awaiting.conclude(service, context, effects);
    }
    let questions = awaiting.begun.questions(service);
    awaiting.questions = questions.into_iter().map(|question| (question, None)).collect();
    Ok(Box::new(awaiting).ask_next(service, service.timeout, effects))
}

impl AwaitingDecision {
    /// Returns whether the host holds the request until the answers are in.
    pub(super) fn holds_request(&self) -> bool {
        !self.admitted.call.passes
    }

    /// Returns whether a form that passes is searched for the model.
    pub(super) fn has_form(&self) -> bool {
        self.admitted.form.is_some()
    }

    pub(super) fn read_request_piece(&mut self, piece: &[u8], config: &Config) {
        self.admitted.read_request_piece(piece, config);
    }

    /// Handles an answer, or the failure to get one.
    pub(super) fn on_answer(
        mut self: Box<Self>,
        config: &Config,
        place: usize,
        answer: Result<&[u8], Failure>,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Result<Progress, NotAdmitted> {
        let Some(service) = config.global.as_deref() else { return Ok(Progress::Decided(self.admitted)) };
        let mut asked = self.questions.iter_mut().take(self.asked);
        let pending = asked.nth(place).filter(|(_, received)| received.is_none());
        let Some((question, received)) = pending else { return Ok(self.wait_on(effects)) };
        let answer = answer.and_then(|bytes| question.read(bytes));
        if let Err(failure) = answer {
            effects.count(&metrics::GLOBAL_FAILURES, &kind(failure.name()), 1);
        }
        record_in_breaker(answer.is_ok(), context, effects);
        *received = Some(Received { answer, at: context.now() });
        if self.questions.iter().take(self.asked).any(|(_, received)| received.is_none()) {
            return Ok(self.wait_on(effects));
        }
        if !self.may_ask_on() {
            return self.conclude(service, context, effects);
        }
        // The timeout bounds all questions of a call together.
        let timeout = service.timeout - context.now().since(self.since);
        if timeout < LEAST_TIMEOUT {
            effects.count(&metrics::GLOBAL_FAILURES, &kind("not_asked"), 1);
            return self.conclude(service, context, effects);
        }
        Ok(self.ask_next(service, timeout, effects))
    }

    /// Asks all questions at once, or only the next one if limits are asked in turn.
    fn ask_next(mut self: Box<Self>, service: &Service, timeout: Span, effects: &mut Effects) -> Progress {
        let together = if service.asks_in_turn() { 1 } else { usize::MAX };
        let next = self.questions.iter().enumerate().skip(self.asked).take(together);
        let ask = |(place, (question, _)): (usize, &(Question, _))| Ask {
            place,
            question: question.clone(),
            timeout,
        };
        let questions: Vec<_> = next.map(ask).collect();
        self.asked = self.asked.saturating_add(questions.len());
        effects.count(&metrics::GLOBAL_REQUESTS, &kind("ask"), questions.len() as u64);
        effects.next = Next::Ask { questions, hold: self.holds_request() };
        Progress::Pending(self)
    }

    /// Returns whether a question is left, and no answer so far has refused the call or failed.
    fn may_ask_on(&self) -> bool {
        let lets_pass = |(question, received): &(Question, Option<Received>)| {
            let answer = received.as_ref().and_then(|received| received.answer.as_ref().ok());
            answer.is_some_and(|answer| !self.begun.is_refused_by(question, answer))
        };
        self.asked < self.questions.len() && self.questions.iter().take(self.asked).all(lets_pass)
    }

    /// Waits for the remaining answers.
    fn wait_on(self: Box<Self>, effects: &mut Effects) -> Progress {
        effects.next = Next::Ask { questions: vec![], hold: self.holds_request() };
        Progress::Pending(self)
    }

    /// Decides, because all answers are in, or none are coming.
    fn conclude(
        self,
        service: &Service,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<Progress, NotAdmitted> {
        let Self { admitted, begun, questions, asked, .. } = self;
        let answers = received(questions, context.now());
        let decided = match begun.decide(answers, service, context.budgets, &mut effects.tasks) {
            Ok(decided) => decided,
            Err((refusal, headers)) => match leased_meanwhile(&admitted, service, context, effects) {
                Some(decided) => decided,
                None => {
                    effects.count(&metrics::GLOBAL_DECISIONS, &kind("asked"), 1);
                    let (limits, subject) =
                        (&admitted.call.tier.global, admitted.call.subject(&admitted.model));
                    let refusal = rls::promised(refusal, limits, &subject, service, context.budgets);
                    return Err(NotAdmitted::over_limit(admitted, refusal, headers));
                }
            },
        };
        for unknown in &decided.unknown {
            let limit = Some(unknown.limit.name.clone());
            effects.count(&metrics::GLOBAL_UNKNOWN, &Labels { limit, ..Labels::default() }, 1);
        }
        let stand_ins = if decided.undecided.is_empty() {
            effects.count(&metrics::GLOBAL_DECISIONS, &kind("asked"), u64::from(asked > 0));
            Reservation::default()
        } else {
            match stand_in(service, &decided.undecided, &admitted, context, effects) {
                Ok(stand_ins) => stand_ins,
                Err(refusal) => {
                    decided.holding.release(service, context.budgets, &mut effects.tasks);
                    return Err(NotAdmitted::over_limit(admitted, refusal, decided.response_headers));
                }
            }
        };
        let (call, model) = (&admitted.call, &admitted.model);
        if !call.is_signed {
            effects.headers.extend(edits(decided.request_headers));
        }
        standings::report(call, &admitted.label, &decided.shadowed, &decided.standings, effects);
        let crossed = limits::newly_crossed(&decided.standings, &call.subject(model), context.budgets);
        standings::log_crossings(call, model, &crossed, effects);
        let headers = edits(decided.response_headers);
        let admitted = admitted.with_global(decided.standings, decided.holding, stand_ins, headers);
        Ok(Progress::Decided(Box::new(admitted)))
    }

    /// Lets the call go on, because the response has begun before the answers. Missing and refusing
    /// answers are ignored. The call's usage is still reported to the service.
    pub(super) fn go_on(
        self,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Box<Admitted> {
        let Self { admitted, begun, questions, .. } = self;
        let Some(service) = &config.global else { return admitted };
        effects.count(&metrics::GLOBAL_DECISIONS, &kind("allow"), 1);
        let refuses = |answer: &Answer| answer.decisions.iter().any(|decision| !decision.allowed);
        let mut answers = received(questions, context.now());
        for (_, answer) in &mut answers {
            if answer.as_ref().is_ok_and(refuses) {
                *answer = Err(Failure::Undecided);
            }
        }
        let decided = begun.decide(answers, service, context.budgets, &mut effects.tasks);
        let holding = decided.map(|decided| decided.holding).unwrap_or_default();
        Box::new(admitted.with_global(vec![], holding, Reservation::default(), []))
    }

    /// Ends a call before its answers. It has not gone upstream and costs nothing, except for
    /// charges of an answer still under way.
    pub(super) fn end(
        self,
        abort: Option<Abort>,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        let Self { admitted, begun, questions, .. } = self;
        admitted.end_unsent(abort, config, context, effects);
        let Some(service) = &config.global else { return };
        let answers = received(questions, context.now());
        if let Ok(decided) = begun.decide(answers, service, context.budgets, &mut effects.tasks) {
            decided.holding.release(service, context.budgets, &mut effects.tasks);
        }
    }
}

/// Records in the breaker whether a question was answered.
fn record_in_breaker(is_answered: bool, context: &mut Context<'_>, effects: &mut Effects) {
    let now = context.now();
    let change = context.breaker.as_mut().and_then(|breaker| breaker.answered(is_answered, now));
    effects.counts.extend(change.map(Change::count));
}

/// Takes a refused call from the leases, if they cover all of it by now. When a window begins, a
/// lease can take from the service the amounts that calls under way are asking for.
fn leased_meanwhile(
    admitted: &Admitted,
    service: &Service,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Option<Decided> {
    service.lease?;
    let (limits, subject) = (&admitted.call.tier.global, admitted.call.subject(&admitted.model));
    let tasks = &mut effects.tasks;
    let begun = rls::begin_leased(limits, &subject, &admitted.estimate, service, context.budgets, tasks)?;
    begun.decide(vec![], service, context.budgets, tasks).ok()
}

/// Applies the operator's choice, because the service has not decided. Returns the local charges
/// made instead.
fn stand_in(
    service: &Service,
    undecided: &[GlobalLimit],
    admitted: &Admitted,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Result<Reservation, Refusal> {
    let decision = match service.on_failure {
        OnFailure::Local => "local",
        OnFailure::Allow => "allow",
        OnFailure::Deny => "deny",
    };
    effects.count(&metrics::GLOBAL_DECISIONS, &kind(decision), 1);
    match service.on_failure {
        OnFailure::Allow => Ok(Reservation::default()),
        OnFailure::Deny => {
            let wait = service.breaker.probe_every;
            let of = |global: &GlobalLimit| {
                Refusal::unknown(&global.limit, global.limit.hold(&admitted.estimate), wait)
            };
            let refusal = limits::longest(undecided.iter().map(of));
            refusal.map_or_else(|| Ok(Reservation::default()), Err)
        }
        OnFailure::Local => {
            let stand_ins: Vec<_> = undecided.iter().map(|global| global.stand_in.clone()).collect();
            let subject = admitted.call.subject(&admitted.model);
            let (none, estimate) = (Granted::default(), &admitted.estimate);
            let granted = limits::reserve(none, &stand_ins, &subject, estimate, Span::ZERO, context.budgets);
            Ok(granted.map_err(|refusal| of_stand_in(&refusal, service))?.reservation)
        }
    }
}

/// Converts a refusal by the part of a limit that this process enforces. The caller is told when to
/// come back, but no numbers of that part, which is not its budget: a call too large for the part
/// may still fit the whole when the service is back.
fn of_stand_in(refusal: &Refusal, service: &Service) -> Refusal {
    let wait = match refusal.wait {
        Wait::For(span) => span,
        Wait::Never => service.breaker.probe_every,
    };
    Refusal::unknown(&refusal.standing.limit, refusal.needed, wait)
}

/// Returns the answers so far, with their window ends as seen from `now`.
fn received(
    questions: Vec<(Question, Option<Received>)>,
    now: Timestamp,
) -> Vec<(Question, Result<Answer, Failure>)> {
    let aged = |Received { answer, at }: Received| answer.map(|answer| answer.after(now.since(at)));
    questions.into_iter().filter_map(|(question, answer)| Some((question, aged(answer?)))).collect()
}

fn edits(headers: Vec<HeaderValue>) -> impl Iterator<Item = HeaderEdit> {
    headers.into_iter().map(|header| HeaderEdit::Set(header.key.into(), header.value.into()))
}
