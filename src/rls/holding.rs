//! One call's holding of global limits: begun with leases, completed by the service's answers,
//! settled at the end.
//!
//! ```text
//! begin ──▶ Begun, all decided from leases ──────────────────────┬──▶ Holding ──▶ settle | release
//!   └─────▶ Begun, limits open ──▶ questions ──▶ answers ──▶ decide ──▶ some undecided (no answer)
//! ```
//!
//! In: a tier's global limits, a call's estimate; the service's answers; in the end the usage. Out:
//! a [`Holding`] or a [`Refusal`], and [`Task`]s. Not here: one limit by itself (`part`), calls
//! without an answer (`exchange`), messages (`protocol`).

use std::rc::Rc;

use super::message::HeaderValue;
use super::part::{Coverage, Part};
use super::protocol::{Answer, Failure, Question};
use super::report_queue::LAST_MOMENT;
use super::service::Service;
use super::task::Task;
use crate::api::Usage;
use crate::limits::{
    Account, Budgets, Estimate, GlobalLimit, LeaseCharge, Rates, Refusal, Standing, Subject, Wait, longest,
};
use crate::units::{Amount, Timestamp};

/// One call's charges to global limits. It must be settled or released.
#[derive(Debug, Default)]
#[must_use = "a holding must be settled or released"]
pub struct Holding {
    held: Vec<GlobalCharge>,
}

/// One call's charge to one global limit.
#[derive(Debug)]
struct GlobalCharge {
    part: Part,
    paid: Paid,
    /// The end of the window that it was charged in, if the service has reported it.
    until: Option<Timestamp>,
    charged_at: Timestamp,
}

/// Who has charged an amount.
#[derive(Debug)]
enum Paid {
    /// The service.
    Service,
    /// A lease of this process.
    Lease(LeaseCharge),
    /// No one: the amount is not charged yet.
    Unpaid,
}

/// A call's global limits, decided as far as possible without the service.
#[derive(Debug)]
pub struct Begun {
    holding: Holding,
    open: Vec<Part>,
    standings: Vec<Standing>,
    shadowed: Vec<Refusal>,
}

/// A call's global limits, decided.
#[derive(Debug, Default)]
pub struct Decided {
    /// The call's charges to them.
    pub holding: Holding,
    /// The standing of the budgets, as far as the service has reported it.
    pub standings: Vec<Standing>,
    /// Limits with `enforce: shadow` that would have refused the call.
    pub shadowed: Vec<Refusal>,
    /// Limits that the service has not decided.
    pub undecided: Vec<GlobalLimit>,
    /// Limits that the service does not know.
    pub unknown: Vec<GlobalLimit>,
    /// Headers that the service adds to the response.
    pub response_headers: Vec<HeaderValue>,
    /// Headers that the service adds to the request.
    pub request_headers: Vec<HeaderValue>,
}

/// Turns a refusal into a promise: its wait becomes the wait for a window that has room for the
/// call behind the callers refused before it.
#[must_use]
pub fn promised(
    refusal: Refusal,
    limits: &[GlobalLimit],
    subject: &Subject<'_>,
    service: &Service,
    budgets: &Budgets<'_>,
) -> Refusal {
    let by = limits.iter().find(|global| Rc::ptr_eq(&global.limit, &refusal.standing.limit));
    let (Some(global), Wait::For(ends_in), Some(_)) = (by, refusal.wait, service.kept_here()) else {
        return refusal;
    };
    let account = Account::of(&global.limit, subject, budgets);
    let wait = account.promise(refusal.needed, ends_in, global.stand_in.shape.max, budgets);
    Refusal { wait: Wait::For(wait), ..refusal }
}

/// Takes all that a call needs from the leases, or nothing if they do not cover all of it.
pub fn begin_leased(
    limits: &[GlobalLimit],
    subject: &Subject<'_>,
    estimate: &Estimate,
    service: &Service,
    budgets: &Budgets<'_>,
    tasks: &mut Vec<Task>,
) -> Option<Begun> {
    let begun = begin(limits, subject, estimate, service, budgets, tasks).ok()?;
    if begun.is_open() {
        begun.holding.release(service, budgets, tasks);
        return None;
    }
    Some(begun)
}

/// Takes what the leases cover of a call's needs.
///
/// # Errors
/// The [`Refusal`], if a call needs more than a whole budget, or if the known state says that
/// nothing is left. Nothing is held then.
pub fn begin(
    limits: &[GlobalLimit],
    subject: &Subject<'_>,
    estimate: &Estimate,
    service: &Service,
    budgets: &Budgets<'_>,
    tasks: &mut Vec<Task>,
) -> Result<Begun, Refusal> {
    let mut begun = Begun { holding: Holding::default(), open: vec![], standings: vec![], shadowed: vec![] };
    let mut refusals = Vec::new();
    for global in limits.iter().filter(|global| global.limit.applies_to(subject.model)) {
        let part = Part::of(global, subject, estimate, service, budgets);
        match part.take(service, budgets, tasks) {
            Coverage::Nothing => begun.holding.add(part, Paid::Service, None, budgets),
            Coverage::Lease(ticket, standing) => {
                let until = standing.as_ref().map(|standing| budgets.now() + standing.reset);
                begun.standings.extend(standing.filter(|_| !global.limit.shadow));
                begun.holding.add(part, Paid::Lease(ticket), until, budgets);
            }
            Coverage::Refused(refusal) if global.limit.shadow => begun.shadowed.push(refusal),
            Coverage::Refused(refusal) => refusals.push(refusal),
            Coverage::Open => begun.open.push(part),
        }
    }
    match longest(refusals.into_iter()) {
        None => Ok(begun),
        Some(refusal) => {
            begun.holding.release(service, budgets, tasks);
            Err(refusal)
        }
    }
}

impl Begun {
    /// Returns whether the service must be asked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Returns whether no global limit applies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.holding.held.is_empty()
    }

    /// Returns the questions for the service, in the order of asking. Shadow limits come last and
    /// in questions of their own, so that they neither refuse nor hide a refusal.
    #[must_use]
    pub fn questions(&self, service: &Service) -> Vec<Question> {
        let asked = |shadow: bool| {
            let parts = self.open.iter().enumerate();
            let mut parts: Vec<_> = parts.filter(|(_, part)| part.global.limit.shadow == shadow).collect();
            if service.asks_in_turn() {
                parts.sort_by_key(|(_, part)| part.turn());
            }
            let hits: Vec<_> = parts.iter().map(|(_, part)| part.hits()).collect();
            let mut questions = service.ask(&hits);
            for question in &mut questions {
                // Translates places among these parts to places among all.
                let place = |covered: &usize| parts.get(*covered).map(|(place, _)| *place);
                question.covers = question.covers.iter().filter_map(place).collect();
            }
            questions
        };
        let mut questions = asked(false);
        questions.extend(asked(true));
        questions
    }

    /// Returns whether an answer refuses the call. A shadow limit does not.
    #[must_use]
    pub fn is_refused_by(&self, question: &Question, answer: &Answer) -> bool {
        let is_enforced = |place: &usize| self.open.get(*place).is_some_and(|part| !part.global.limit.shadow);
        let mut decisions = question.covers.iter().zip(&answer.decisions);
        decisions.any(|(place, decision)| !decision.allowed && is_enforced(place))
    }

    /// Decides by the answers. Failed answers leave their limits undecided.
    ///
    /// # Errors
    /// The [`Refusal`] with the longest wait, and the headers that the service adds to the
    /// response. Nothing is held then: leases are given back, and so are charges by other answers,
    /// if the service takes hits back.
    pub fn decide(
        self,
        answers: Vec<(Question, Result<Answer, Failure>)>,
        service: &Service,
        budgets: &Budgets<'_>,
        tasks: &mut Vec<Task>,
    ) -> Result<Decided, (Refusal, Vec<HeaderValue>)> {
        let Self { holding, open, standings, shadowed } = self;
        let mut decided = Decided { holding, standings, shadowed, ..Decided::default() };
        let mut open: Vec<_> = open.into_iter().map(Some).collect();
        let mut refusals = Vec::new();
        for (question, answer) in answers {
            let parts: Vec<_> =
                question.covers.iter().filter_map(|place| open.get_mut(*place)?.take()).collect();
            match answer {
                Ok(answer) => {
                    refusals.extend(decided.on_answer(parts, answer, service, budgets, tasks));
                }
                Err(_) => parts.into_iter().for_each(|part| decided.leave_open(part, budgets)),
            }
        }
        // An unanswered question leaves its limits undecided, like a failed one.
        open.into_iter().flatten().for_each(|part| decided.leave_open(part, budgets));
        match longest(refusals.into_iter()) {
            None => Ok(decided),
            Some(refusal) => {
                decided.holding.release(service, budgets, tasks);
                Err((refusal, decided.response_headers))
            }
        }
    }
}

impl Decided {
    /// Applies one answer for these parts; returns its refusals.
    fn on_answer(
        &mut self,
        parts: Vec<Part>,
        answer: Answer,
        service: &Service,
        budgets: &Budgets<'_>,
        tasks: &mut Vec<Task>,
    ) -> Vec<Refusal> {
        self.response_headers.extend(answer.response_headers);
        self.request_headers.extend(answer.request_headers);
        let mut refusals = Vec::new();
        let mut allowed = Vec::new();
        for (part, decision) in parts.into_iter().zip(answer.decisions) {
            if !decision.is_known {
                self.unknown.push(part.global.clone());
            }
            if decision.allowed {
                allowed.push((part, decision));
                continue;
            }
            let refusal = part.refused_by(&decision, budgets);
            if part.global.limit.shadow { self.shadowed.push(refusal) } else { refusals.push(refusal) }
        }
        if !refusals.is_empty() {
            // Whether a server charges the other limits of a refusing answer depends on the server.
            // Amounts that may not be charged are not given back.
            return refusals;
        }
        for (part, decision) in allowed {
            if !part.global.limit.shadow {
                self.standings.extend(part.standing(&decision));
            }
            part.learn(&decision, service, budgets, tasks);
            let paid = if service.charges_when_asked() { Paid::Service } else { Paid::Unpaid };
            let until = decision.reset.map(|reset| budgets.now() + reset);
            self.holding.add(part, paid, until, budgets);
        }
        refusals
    }

    /// Marks a part as undecided by the service, and so not charged.
    fn leave_open(&mut self, part: Part, budgets: &Budgets<'_>) {
        if !part.global.limit.shadow {
            self.undecided.push(part.global.clone());
        }
        self.holding.add(part, Paid::Unpaid, None, budgets);
    }
}

impl Holding {
    fn add(&mut self, part: Part, paid: Paid, until: Option<Timestamp>, budgets: &Budgets<'_>) {
        let charged_at = budgets.now();
        // No window lasts longer than its length, and an ended window is not charged.
        let latest = charged_at + part.global.limit.shape.window;
        let until = until.filter(|until| *until > charged_at).map(|until| until.min(latest));
        self.held.push(GlobalCharge { part, paid, until, charged_at });
    }

    /// Replaces the charges by the usage.
    pub fn settle(
        self,
        usage: &Usage,
        rates: &Rates,
        service: &Service,
        budgets: &Budgets<'_>,
        tasks: &mut Vec<Task>,
    ) {
        for held in self.held {
            let used = (held.part.global.limit.counts.amount)(usage, rates);
            held.correct_to(used, service, budgets, tasks);
        }
    }

    /// Keeps the charges, because the usage is unknown.
    pub fn keep(self, service: &Service, budgets: &Budgets<'_>, tasks: &mut Vec<Task>) {
        for held in self.held {
            let amount = held.part.amount;
            held.correct_to(amount, service, budgets, tasks);
        }
    }

    /// Gives everything back, as far as possible.
    pub fn release(self, service: &Service, budgets: &Budgets<'_>, tasks: &mut Vec<Task>) {
        for held in self.held {
            held.correct_to(Amount::ZERO, service, budgets, tasks);
        }
    }
}

impl GlobalCharge {
    fn correct_to(self, used: Amount, service: &Service, budgets: &Budgets<'_>, tasks: &mut Vec<Task>) {
        let Self { part, paid, until, charged_at } = self;
        let (now, window) = (budgets.now(), part.global.limit.shape.window);
        // Each is rounded separately, so that the service's total is the usage, rounded once.
        let (asked, needed) = (part.hits_of(part.amount), part.hits_of(used));
        let lacking = match paid {
            Paid::Service => match &part.account {
                Some(account) => part.hits_of(account.correct(part.amount, used, charged_at, budgets)),
                None => {
                    if service.refunds {
                        // Given back later, it would enlarge the budget of the next window.
                        let until = until.unwrap_or(charged_at + window);
                        tasks.extend(part.report(asked.saturating_sub(needed), true, until));
                    }
                    needed.saturating_sub(asked)
                }
            },
            Paid::Unpaid => needed,
            Paid::Lease(ticket) => part.hits_of(ticket.correct_to(used, budgets)),
        };
        // A difference known after the window, or too late to report, goes to the next window. A
        // window whose end the service does not report ends after its own length.
        let is_in_time = |until: &Timestamp| until.since(now) > LAST_MOMENT;
        let until = until.filter(is_in_time).unwrap_or(now + window);
        tasks.extend(part.report(lacking, false, until));
    }
}

#[cfg(test)]
#[path = "holding_tests.rs"]
mod tests;
