//! Global limits of a call: leases are taken, the rate limit service is asked, and what it says is done.
//!
//! In: a call whose local budgets are reserved, the service's answers. Out: the call sent on, or refused with everything given
//! back. Not here: what is asked and what answers mean (`rls`), local budgets (`request`).
//!
//! Local limits come first because a service may count what it refuses: a call that is refused here must not spend
//! anything there.

use super::request::{Reading, kind};
use super::response::Sent;
use super::settle::how_cut_short;
use super::{Abort, Ask, Effects, HeaderEdit, Means, Next, State, waiting};
use crate::limits::{self, GlobalLimit, Granted, Refusal, Wait};
use crate::metrics::{self, Labels};
use crate::rls::{self, Answer, Begun, Change, Decided, Failure, HeaderValue, OnFailure, Question, Service};
use crate::settings::Config;
use crate::units::{Span, Timestamp};

/// A call that waits for the rate limit service.
pub(super) struct Asking {
    /// The call as it will be if it passes.
    pub(super) sent: Box<Sent>,
    reading: Box<Reading>,
    begun: Begun,
    /// All questions in the order of asking, with the answers so far.
    questions: Vec<(Question, Option<Heard>)>,
    /// The number of questions asked, and the time of the first.
    asked: usize,
    since: Timestamp,
}

/// An answer or a failure, and the time it came.
struct Heard {
    answer: Result<Answer, Failure>,
    at: Timestamp,
}

/// The shortest timeout that the host can express. With less time left, no further question is
/// asked.
const LEAST_TIMEOUT: Span = Span::from_millis(1);

/// The local budgets of a call are reserved: its global limits come next.
pub(super) fn begin(
    reading: Box<Reading>,
    sent: Box<Sent>,
    config: &Config,
    means: &mut Means<'_>,
    effects: &mut Effects,
) -> State {
    let Some(service) = config.global.as_deref().filter(|_| !reading.tier.global.is_empty()) else {
        return waiting::begin(sent, &reading, config, means, effects);
    };
    let limits = &reading.tier.global;
    let subject = reading.subject(&sent.model);
    let begun = rls::begin(limits, &subject, &sent.estimate, service, means.ledger, &mut effects.errands);
    let begun = match begun {
        Ok(begun) => begun,
        Err(refusal) => {
            effects.count(&metrics::GLOBAL_DECISIONS, &kind("leased"), 1);
            let refusal = rls::promised(refusal, limits, &subject, service, means.ledger);
            return refuse(&reading, sent, &refusal, vec![], means, effects);
        }
    };
    let since = means.ledger.now();
    let mut asking = Asking { sent, reading, begun, questions: vec![], asked: 0, since };
    if !asking.begun.is_open() {
        if !asking.begun.is_empty() {
            effects.count(&metrics::GLOBAL_DECISIONS, &kind("leased"), 1);
        }
        return asking.conclude(config, service, means, effects);
    }
    if !means.breaker.as_mut().is_some_and(|breaker| breaker.may_ask(since)) {
        effects.count(&metrics::GLOBAL_FAILURES, &kind("not_asked"), 1);
        return asking.conclude(config, service, means, effects);
    }
    let questions = asking.begun.questions(service);
    asking.questions = questions.into_iter().map(|question| (question, None)).collect();
    Box::new(asking).ask_next(service, service.timeout, effects)
}

impl Asking {
    /// Whether the request waits for the answers, rather than goes on meanwhile.
    pub(super) const fn holds_request(&self) -> bool {
        !self.reading.passes
    }

    /// An answer has come, or none will.
    pub(super) fn hear(
        mut self: Box<Self>,
        config: &Config,
        place: usize,
        answer: Result<&[u8], Failure>,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let Some(service) = config.global.as_deref() else { return State::Sent(self.sent) };
        let asked = self.questions.iter_mut().take(self.asked);
        let Some((question, heard)) = asked.skip(place).next().filter(|(_, heard)| heard.is_none()) else {
            return self.wait_on(effects);
        };
        let answer = answer.and_then(|bytes| question.read(bytes));
        if let Err(failure) = answer {
            effects.count(&metrics::GLOBAL_FAILURES, &kind(failure.name()), 1);
        }
        effects.tell_breaker(answer.is_ok(), means);
        *heard = Some(Heard { answer, at: means.ledger.now() });
        if self.questions.iter().take(self.asked).any(|(_, heard)| heard.is_none()) {
            return self.wait_on(effects);
        }
        if !self.may_ask_on() {
            return self.conclude(config, service, means, effects);
        }
        // The timeout bounds all questions of a call together.
        let timeout = service.timeout - means.ledger.now().since(self.since);
        if timeout < LEAST_TIMEOUT {
            effects.count(&metrics::GLOBAL_FAILURES, &kind("not_asked"), 1);
            return self.conclude(config, service, means, effects);
        }
        self.ask_next(service, timeout, effects)
    }

    /// Asks all questions at once, or only the next one where limits are asked in turn.
    fn ask_next(mut self: Box<Self>, service: &Service, timeout: Span, effects: &mut Effects) -> State {
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
        effects.next = Next::Ask { questions, hold: !self.reading.passes };
        State::Asking(self)
    }

    /// Whether a question is left and no answer so far refuses the call or failed.
    fn may_ask_on(&self) -> bool {
        let lets_pass = |(question, heard): &(Question, Option<Heard>)| {
            let answer = heard.as_ref().and_then(|heard| heard.answer.as_ref().ok());
            answer.is_some_and(|answer| !self.begun.is_refused_by(question, answer))
        };
        self.asked < self.questions.len() && self.questions.iter().take(self.asked).all(lets_pass)
    }

    /// Not all answers are there.
    fn wait_on(self: Box<Self>, effects: &mut Effects) -> State {
        effects.next = Next::Ask { questions: vec![], hold: !self.reading.passes };
        State::Asking(self)
    }

    /// Whatever could be found out has been.
    fn conclude(
        self,
        config: &Config,
        service: &Service,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let Self { mut sent, reading, begun, questions, asked, .. } = self;
        let answers = heard(questions, means.ledger.now());
        let decided = match begun.decide(answers, service, means.ledger, &mut effects.errands) {
            Ok(decided) => decided,
            Err((refusal, headers)) => match leased_meanwhile(&reading, &sent, service, means, effects) {
                Some(decided) => decided,
                None => {
                    effects.count(&metrics::GLOBAL_DECISIONS, &kind("asked"), 1);
                    let (limits, subject) = (&reading.tier.global, reading.subject(&sent.model));
                    let refusal = rls::promised(refusal, limits, &subject, service, means.ledger);
                    return refuse(&reading, sent, &refusal, headers, means, effects);
                }
            },
        };
        for unknown in &decided.unknown {
            let limit = Some(unknown.limit.name.clone());
            effects.count(&metrics::GLOBAL_UNKNOWN, &Labels { limit, ..Labels::default() }, 1);
        }
        if decided.undecided.is_empty() {
            effects.count(&metrics::GLOBAL_DECISIONS, &kind("asked"), u64::from(asked > 0));
        } else if let Err(refusal) =
            go_without(service, &decided.undecided, &reading, &mut sent, means, effects)
        {
            decided.holding.release(service, means.ledger, &mut effects.errands);
            return refuse(&reading, sent, &refusal, decided.response_headers, means, effects);
        }
        if !reading.signed {
            effects.headers.extend(edits(decided.request_headers));
        }
        reading.report_standings(&decided.shadowed, &decided.standings, &sent.label, effects);
        let crossed = limits::newly_crossed(&decided.standings, &reading.subject(&sent.model), means.ledger);
        reading.log_crossings(&crossed, &sent.model, effects);
        sent.standings.extend(decided.standings);
        sent.added_headers.extend(edits(decided.response_headers));
        sent.holding = decided.holding;
        waiting::begin(sent, &reading, config, means, effects)
    }

    /// The response has begun before the answers: the call goes on as if there were none to come, nor one that refuses. What it
    /// uses is told to the service all the same.
    pub(super) fn go_on(self, config: &Config, means: &Means<'_>, effects: &mut Effects) -> Box<Sent> {
        let Self { mut sent, begun, questions, .. } = self;
        let Some(service) = &config.global else { return sent };
        effects.count(&metrics::GLOBAL_DECISIONS, &kind("allow"), 1);
        let refuses = |answer: &Answer| answer.decisions.iter().any(|decision| !decision.allowed);
        let mut answers = heard(questions, means.ledger.now());
        for (_, answer) in &mut answers {
            if answer.as_ref().is_ok_and(refuses) {
                *answer = Err(Failure::Undecided);
            }
        }
        let decided = begun.decide(answers, service, means.ledger, &mut effects.errands);
        sent.holding = decided.map(|decided| decided.holding).unwrap_or_default();
        sent
    }

    /// The call has ended before the answers. One that was held has not gone upstream and costs nothing, but for what an answer
    /// on its way charges; one that passed is settled as it is.
    pub(super) fn end(
        self,
        abort: Option<Abort>,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) {
        if self.reading.passes {
            return self.go_on(config, means, effects).settle(abort, config, means, effects);
        }
        let Self { sent, begun, questions, .. } = self;
        effects.count(&metrics::CALLS, &sent.labels(how_cut_short(abort)), 1);
        sent.reservation.release(means.ledger);
        let Some(service) = &config.global else { return };
        if let Ok(decided) =
            begun.decide(heard(questions, means.ledger.now()), service, means.ledger, &mut effects.errands)
        {
            decided.holding.release(service, means.ledger, &mut effects.errands);
        }
    }
}

impl Effects {
    /// Tells the breaker what became of a request.
    fn tell_breaker(&mut self, ok: bool, means: &mut Means<'_>) {
        let now = means.ledger.now();
        let change = means.breaker.as_mut().and_then(|breaker| breaker.answered(ok, now));
        self.counts.extend(change.map(Change::count));
    }
}

/// Takes a refused call from the leases, if they cover all of it by now. When a window begins, a
/// lease can take from the service what calls under way are asking for.
fn leased_meanwhile(
    reading: &Reading,
    sent: &Sent,
    service: &Service,
    means: &Means<'_>,
    effects: &mut Effects,
) -> Option<Decided> {
    service.lease?;
    let (limits, subject) = (&reading.tier.global, reading.subject(&sent.model));
    let errands = &mut effects.errands;
    let begun = rls::begin_leased(limits, &subject, &sent.estimate, service, means.ledger, errands)?;
    begun.decide(vec![], service, means.ledger, errands).ok()
}

/// The service has not decided: what the operator wants then.
fn go_without(
    service: &Service,
    undecided: &[GlobalLimit],
    reading: &Reading,
    sent: &mut Sent,
    means: &Means<'_>,
    effects: &mut Effects,
) -> Result<(), Refusal> {
    let decision = match service.on_failure {
        OnFailure::Local => "local",
        OnFailure::Allow => "allow",
        OnFailure::Deny => "deny",
    };
    effects.count(&metrics::GLOBAL_DECISIONS, &kind(decision), 1);
    match service.on_failure {
        OnFailure::Allow => Ok(()),
        OnFailure::Deny => {
            let wait = service.breaker.probe_every;
            let of = |global: &GlobalLimit| {
                Refusal::unknown(&global.limit, global.limit.hold(&sent.estimate), wait)
            };
            limits::longest(undecided.iter().map(of)).map_or(Ok(()), Err)
        }
        OnFailure::Local => {
            let stand_ins: Vec<_> = undecided.iter().map(|global| global.stand_in.clone()).collect();
            let subject = reading.subject(&sent.model);
            let none = Granted::default();
            let granted =
                limits::reserve(none, &stand_ins, &subject, &sent.estimate, Span::ZERO, means.ledger);
            sent.reservation.join(granted.map_err(|refusal| of_stand_in(&refusal, service))?.reservation);
            Ok(())
        }
    }
}

/// A refusal by the part of a limit that this process enforces. The caller is told when to come back and nothing of that part, which is not
/// its budget: a call too large for it may still fit the whole one when the service is back.
fn of_stand_in(refusal: &Refusal, service: &Service) -> Refusal {
    let wait = match refusal.wait {
        Wait::For(span) => span,
        Wait::Never => service.breaker.probe_every,
    };
    Refusal::unknown(&refusal.standing.limit, refusal.needed, wait)
}

/// Refuses a call whose local budgets are reserved.
fn refuse(
    reading: &Reading,
    sent: Box<Sent>,
    refusal: &Refusal,
    headers: Vec<HeaderValue>,
    means: &Means<'_>,
    effects: &mut Effects,
) -> State {
    let Sent { reservation, model, label, .. } = *sent;
    reservation.release(means.ledger);
    let state = reading.refuse(refusal, &model, label, means, effects);
    if let Next::Reply(reply) = &mut effects.next {
        let is_ours = |key: &str| reply.fields.iter().any(|(name, _)| *name == key);
        let theirs = headers.into_iter().filter(|header| !is_ours(&header.key));
        reply.added = theirs.map(|header| (header.key, header.value)).collect();
    }
    state
}

/// The answers so far, with their window ends as seen from `now`.
fn heard(
    questions: Vec<(Question, Option<Heard>)>,
    now: Timestamp,
) -> Vec<(Question, Result<Answer, Failure>)> {
    let heard = |Heard { answer, at }: Heard| answer.map(|answer| answer.after(now.since(at)));
    questions.into_iter().filter_map(|(question, answer)| Some((question, heard(answer?)))).collect()
}

fn edits(headers: Vec<HeaderValue>) -> impl Iterator<Item = HeaderEdit> {
    headers.into_iter().map(|header| HeaderEdit::Set(header.key.into(), header.value))
}
