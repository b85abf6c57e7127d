//! Holding what a call will cost, in all limits or none, and replacing it by what the call did
//! cost.
//!
//! In: limits, a [`Subject`], an [`Estimate`]; later the usage. Out: [`Granted`] or [`Refusal`].
//! Not here: the arithmetic of one budget.

pub(in crate::limits) mod charge;
pub(in crate::limits) mod forecast;
pub(in crate::limits) mod refusal;
pub(in crate::limits) mod slot_list;
pub(in crate::limits) mod slots;

use std::rc::Rc;

use crate::api::Usage;
use crate::api::answer::ToolsCalled;
use crate::config::Ratio;
use crate::limits::budget::Wait;
use crate::limits::budgets::Budgets;
use crate::limits::limit::rates::Rates;
use crate::limits::limit::{Estimate, Limit, Standing, Subject, Used};
use crate::limits::remembered::adaptive;
use crate::limits::reserve::charge::{Charge, promise};
use crate::limits::reserve::refusal::{Reason, Refusal, longest};
use crate::limits::reserve::slot_list::Slot;
use crate::limits::workflow;
use crate::limits::workflow::share::Workflow;
use crate::units::{Amount, Span};

/// A call may pass.
#[derive(Debug, Default)]
pub struct Granted {
    /// The charges for it.
    pub reservation: Reservation,
    /// Where the budgets of its enforced limits stand now.
    pub standings: Vec<Standing>,
    /// Limits with `enforce: shadow` that would have refused it. They are not charged, as if they
    /// had.
    pub shadowed: Vec<Refusal>,
    /// Budgets that the call has brought beyond their warning, which is news.
    pub crossed: Vec<Standing>,
    /// The refusal that it waits out, if it may wait: that of the limit which has to be waited
    /// for longest.
    pub waits_for: Option<Box<Refusal>>,
    /// The workflow whose pools it draws from.
    pub workflow: Option<Workflow>,
}

/// By which share of a budget a call's usage grows before the budget is looked at again.
const LOOK_EVERY: Ratio = Ratio { ppm: 10_000 };

/// The charges held for a call. It must be settled or kept; a value that is dropped, as all are
/// when a VM dies, stays charged until it has flowed back with its window.
#[derive(Debug, Default)]
#[must_use = "what is held must be settled or kept"]
pub struct Reservation {
    held: Vec<Charge>,
    /// Places among the calls in flight; given back however the call ends.
    slots: Vec<Rc<Slot>>,
}

/// Whether limits that count requests would refuse a call whose body is not yet read, even if it
/// waited as long as it may. Nothing is held.
///
/// # Errors
/// The [`Refusal`].
pub fn would_refuse_at_once(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<(), Refusal> {
    let counts = |limit: &&Rc<Limit>| limit.is_known_at_once() && !limit.counts.is_in_flight();
    let at_once = limits.iter().filter(|limit| counts(limit) && !limit.shadow);
    let refusals = at_once.filter_map(|limit| workflow::look(limit, subject, Amount(1), None, budgets));
    let refused = Refused::of(refusals.filter(|refusal| !refusal.is_within(patience)));
    refused.map_or(Ok(()), |refused| Err(refused.promised(limits, subject, |_| Amount(1), budgets)))
}

/// Takes a place among the calls in flight in every limit that counts them and applies whatever the
/// body says, or in none.
///
/// # Errors
/// The [`Refusal`].
pub fn acquire_slots(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let at_once = limits.iter().filter(|limit| limit.is_in_flight_at_once());
    let wanted: Vec<_> = at_once.map(|limit| (limit, Amount(1))).collect();
    Granted::default().add(&wanted, subject, Span::ZERO, budgets).map_err(Refused::longest)
}

/// Holds what a call is expected to cost in every limit that applies to it, or in none, besides
/// what it has been `granted` before. If it does not fit at once but would within `patience`, it is
/// held all the same, and the call has to wait so long.
///
/// # Errors
/// The [`Refusal`] that has to be waited for longest; whatever had been held is given back.
pub fn reserve(
    granted: Granted,
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    estimate: &Estimate,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let applying =
        limits.iter().filter(|limit| limit.applies_to(subject.model) && !limit.is_in_flight_at_once());
    let wanted: Vec<_> = applying.map(|limit| (limit, limit.hold(estimate))).collect();
    let expected = |limit: &Limit| limit.expected(estimate);
    let granted = granted.add(&wanted, subject, patience, budgets);
    granted.map_err(|refused| refused.promised(limits, subject, expected, budgets))
}

/// Holds the calls of tools that a request makes by itself, in every limit that counts them, or in
/// none.
///
/// # Errors
/// The [`Refusal`] that has to be waited for longest.
pub fn reserve_tools(
    limits: &[Rc<Limit>],
    subject: &Subject<'_>,
    tools: &ToolsCalled,
    budgets: &Budgets<'_>,
) -> Result<Granted, Refusal> {
    let counting = limits.iter().filter(|limit| limit.is_of_tools());
    let calls = counting.map(|limit| (limit, limit.calls_of(tools)));
    let wanted: Vec<_> = calls.filter(|(_, calls)| !calls.is_zero()).collect();
    Granted::default().add(&wanted, subject, Span::ZERO, budgets).map_err(Refused::longest)
}

/// The limits that refuse a call: the first one, and what others say of the same call.
struct Refused {
    first: Box<Refusal>,
    further: Vec<Refusal>,
}

impl Refused {
    fn of(mut refusals: impl Iterator<Item = Refusal>) -> Option<Self> {
        let first = Box::new(refusals.next()?);
        Some(Self { first, further: refusals.collect() })
    }

    /// The refusal that has to be waited for longest.
    fn longest(self) -> Refusal {
        let later =
            |longest: Refusal, other: Refusal| if other.span() > longest.span() { other } else { longest };
        self.further.into_iter().fold(*self.first, later)
    }

    /// The refusal that has to be waited for longest, at a moment that all of these `limits`
    /// promise the call, if they can.
    fn promised(
        mut self,
        limits: &[Rc<Limit>],
        subject: &Subject<'_>,
        expected: impl Fn(&Limit) -> Amount,
        budgets: &Budgets<'_>,
    ) -> Refusal {
        let mut refusals: Vec<_> = self.further.iter_mut().chain([&mut *self.first]).collect();
        if refusals.iter().any(|refusal| refusal.wait == Wait::Never || refusal.reason == Reason::Unknown) {
            return self.longest();
        }
        refusals.sort_by_key(|refusal| core::cmp::Reverse(refusal.span()));
        let mut due = budgets.now;
        for refusal in refusals {
            let Some(limit) = limits.iter().find(|limit| limit.id == refusal.standing.limit.id) else {
                continue;
            };
            let expected = expected(limit).min(refusal.needed);
            // Where one limit promises nothing, those with shorter waits need not either.
            let Some(wait) = promise(limit, subject, refusal.needed, expected, due, budgets) else { break };
            // Limits that would not have to be waited for so long are not those to be named.
            if budgets.now + wait > due {
                due = budgets.now + wait;
                (refusal.wait, refusal.reason) = (Wait::For(wait), Reason::Promised);
            }
        }
        self.longest()
    }
}

impl Granted {
    /// Holds these amounts of these limits too, or else nothing at all.
    fn add(
        mut self,
        wanted: &[(&Rc<Limit>, Amount)],
        subject: &Subject<'_>,
        patience: Span,
        budgets: &Budgets<'_>,
    ) -> Result<Self, Refused> {
        let draws_from = self.workflow.clone();
        let workflow = draws_from.as_ref();
        // Limits that only watch come last, so that they never see a call that is refused.
        let watching = wanted.iter().filter(|(limit, _)| limit.shadow);
        let mut enforced = wanted.iter().filter(|(limit, _)| !limit.shadow);
        while let Some(&(limit, amount)) = enforced.next() {
            match workflow::hold(limit, subject, amount, workflow, patience, budgets) {
                Ok(held) => {
                    self.waits_for = longest(self.waits_for.into_iter().chain(held.waits_for));
                    self.crossed.extend(held.crossed.then(|| held.standing.clone()));
                    self.standings.push(held.standing);
                    self.reservation.take(held.held, budgets);
                }
                Err(refusal) => {
                    self.reservation.release(budgets);
                    let further = enforced.filter_map(|(limit, amount)| {
                        workflow::look(limit, subject, *amount, workflow, budgets)
                    });
                    return Err(Refused { first: Box::new(refusal), further: further.collect() });
                }
            }
        }
        for (limit, amount) in watching {
            match workflow::hold(limit, subject, *amount, workflow, Span::ZERO, budgets) {
                Ok(held) => self.reservation.take(held.held, budgets),
                Err(refusal) => self.shadowed.push(refusal),
            }
        }
        Ok(self)
    }
}

impl Reservation {
    /// Replaces what is held by what was used: too much comes back, too little becomes debt.
    pub fn settle(self, used: &Used<'_>, budgets: &Budgets<'_>) {
        for held in self.held {
            let amount = held.limit.used(used);
            workflow::settle(held, amount, budgets);
        }
        release(&self.slots, budgets);
    }

    /// A limit whose budget would be spent, beyond its capacity by more than this share of it, if
    /// the call ended now with this usage. What a call has used beyond what is held for it is
    /// charged on the way, so that budgets refill under a long call as they do between calls, and
    /// other calls see it. Limits that only watch stop nothing.
    pub fn overspent(
        &mut self,
        usage: &Usage,
        rates: &Rates,
        grace: Ratio,
        budgets: &Budgets<'_>,
    ) -> Option<Rc<Limit>> {
        let enforced = self.held.iter_mut().filter(|held| !held.limit.shadow);
        let overspent: Vec<_> = enforced
            .filter_map(|held| {
                let used = (held.limit.counts.amount)(usage, rates);
                held.overspent(used, grace, budgets)
            })
            .collect();
        overspent.into_iter().next()
    }

    /// Whether a budget may have come to its end since the call had used `before`: it has used most
    /// of what is held for it, and a hundredth of the budget since then.
    #[must_use]
    pub fn is_worth_a_look(&self, before: &Usage, now: &Usage, rates: &Rates) -> bool {
        self.held.iter().filter(|held| !held.limit.shadow).any(|held| {
            let amount = |usage| (held.limit.counts.amount)(usage, rates);
            let (before, now) = (amount(before), amount(now));
            let step = LOOK_EVERY.of(held.limit.shape.capacity().0).max(1);
            held.is_mostly_used(now) && (now - before).0 >= step
        })
    }

    /// Whether a call that has used so much may have come to the end of a budget at all.
    #[must_use]
    pub fn is_mostly_used(&self, usage: &Usage, rates: &Rates) -> bool {
        let mut enforced = self.held.iter().filter(|held| !held.limit.shadow);
        enforced.any(|held| held.is_mostly_used((held.limit.counts.amount)(usage, rates)))
    }

    /// Leaves charged what is held: nobody can tell what was used.
    pub fn keep(self, budgets: &Budgets<'_>) {
        for held in self.held {
            workflow::keep(held, budgets);
        }
        release(&self.slots, budgets);
    }

    /// Holds what another reservation of the same call holds, too.
    pub fn join(&mut self, other: Self) {
        self.held.extend(other.held);
        self.slots.extend(other.slots);
    }

    /// Gives back everything, the request too: a refused call consumes nothing.
    pub fn release(self, budgets: &Budgets<'_>) {
        for held in self.held {
            workflow::release(held, budgets);
        }
        release(&self.slots, budgets);
    }

    /// The call has waited and goes on: what is held counts as of now.
    pub fn go_on(&mut self, budgets: &Budgets<'_>) {
        self.held.iter_mut().for_each(|held| held.go_on(budgets));
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.held.is_empty() && self.slots.is_empty()
    }

    /// How long until all that is charged to its budgets is paid: a call that waits need not wait
    /// longer.
    #[must_use]
    pub fn until_paid(&self, budgets: &Budgets<'_>) -> Span {
        let enforced = self.held.iter().filter(|held| !held.limit.shadow);
        let spans = enforced.map(|held| held.until_paid(budgets));
        spans.max().unwrap_or(Span::ZERO)
    }

    /// The upstream has refused the call: limits that adapt allow less from now on. Which ones.
    pub fn slow_down(&self, budgets: &Budgets<'_>) -> Vec<Rc<Limit>> {
        let slower = self.held.iter().filter(|held| {
            held.rate.as_deref().is_some_and(|rate| adaptive::decrease(rate, held.counted_at, budgets))
        });
        slower.map(|held| held.limit.clone()).collect()
    }

    fn take(&mut self, held: Charge, budgets: &Budgets<'_>) {
        if !held.limit.counts.is_in_flight() {
            self.held.push(held);
            return;
        }
        let slot = Rc::new(Slot::new(held.limit, held.key, held.place, held.counted_at));
        budgets.watch(&slot);
        self.slots.push(slot);
    }
}

fn release(slots: &[Rc<Slot>], budgets: &Budgets<'_>) {
    slots.iter().for_each(|slot| slot.release(budgets));
}

#[cfg(test)]
mod tests;
