//! The attempt to charge budgets for a call: those in one line of the table together, all or none.
//!
//! In: limits, a subject, amounts. Out: [`ChargeOutcome`]s, or the [`Refusals`]. Not here: several
//! lines of one call (`reserve`), shared charges of a workflow (`workflow`), the arithmetic of a
//! budget (`budget`).

use core::slice;
use std::rc::Rc;

use crate::limits::budget::{Algorithm, Booked, Budget, Wait};
use crate::limits::budgets::{Budgets, Together};
use crate::limits::limit::{Limit, Standing, Subject};
use crate::limits::queue::{self, Turn};
use crate::limits::remembered::adaptive;
use crate::limits::reserve::charge::{Charge, ChargeOutcome};
use crate::limits::reserve::refusal::{Reason, Refusal, Refusals};
use crate::store::{Key, Place};
use crate::units::{Amount, Span, Timestamp};

/// The wait told to a caller whose budget cannot be read: long enough for contention to pass.
const WAIT_FOR_STORE: Span = Span::from_secs(1);

/// Charges an amount to the budget of a limit, for this call alone.
pub(in crate::limits) fn charge(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<ChargeOutcome, Refusal> {
    let attempt = Attempt::of(limit, subject, amount, budgets);
    let charged = charge_together(slice::from_ref(&attempt), patience, budgets);
    let charged = charged.map_err(Refusals::longest)?.into_iter().next();
    charged.map(|(_, outcome)| outcome).ok_or_else(|| unavailable(limit, amount, budgets))
}

/// The most attempts to charge budgets while queues for them begin.
const MOST_TURNS: u32 = 3;

/// Charges budgets that are in one line of the table, all or none. Returns the charges with the
/// places of their limits.
///
/// # Errors
/// The refusals, with the same places.
pub(in crate::limits) fn charge_together(
    attempts: &[Attempt<'_>],
    patience: Span,
    budgets: &Budgets<'_>,
) -> Result<Vec<(usize, ChargeOutcome)>, Refusals> {
    let Some(first) = attempts.first() else { return Ok(Vec::new()) };
    let mut turns = Vec::new();
    for _ in 0..MOST_TURNS {
        let charged =
            budgets.transact(&first.key, |together| charge_all(attempts, &turns, patience, together));
        match charged {
            Ok(Ok(charged)) => {
                let places = attempts.iter().map(Attempt::place);
                places.zip(&turns).for_each(|(place, turn)| turn.iter().for_each(|turn| place.take_up(turn)));
                let outcomes = attempts.iter().zip(charged);
                return Ok(outcomes
                    .map(|(attempt, charged)| (attempt.at, attempt.outcome(charged)))
                    .collect());
            }
            Ok(Err(Stopped::Refused(refusals))) => return Err(refusals),
            Ok(Err(Stopped::Queued(queued))) => {
                let turn = |(place, attempt): (usize, &Attempt<'_>)| {
                    let known = turns.get(place).copied().flatten();
                    known.or_else(|| queued.contains(&place).then(|| attempt.place().turn()))
                };
                turns = attempts.iter().enumerate().map(turn).collect();
            }
            Err(_) => break,
        }
    }
    Err(Refusals::one(first.at, unavailable(first.limit, first.amount, budgets)))
}

/// The reason why budgets are not charged.
enum Stopped {
    Refused(Refusals),
    /// The budgets of these attempts have promises to others, and the call's turn is not known.
    Queued(Vec<usize>),
}

fn charge_all(
    attempts: &[Attempt<'_>],
    turns: &[Option<Turn>],
    patience: Span,
    together: &mut Together<'_, '_>,
) -> Result<Vec<Charged>, Stopped> {
    let (mut charged, mut refused, mut queued) = (Vec::with_capacity(attempts.len()), Vec::new(), Vec::new());
    for (place, attempt) in attempts.iter().enumerate() {
        match attempt.charge(patience, turns.get(place).and_then(Option::as_ref), together) {
            Ok(Some(done)) => charged.push(done),
            Ok(None) => queued.push(place),
            Err(refusal) => refused.push((attempt.at, refusal)),
        }
    }
    if !queued.is_empty() {
        return Err(Stopped::Queued(queued));
    }
    Refusals::of(refused.into_iter()).map_or(Ok(charged), |refusals| Err(Stopped::Refused(refusals)))
}

/// Returns the refusal of an amount by a limit, if it refuses, without charging it.
pub(in crate::limits) fn look(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    budgets: &Budgets<'_>,
) -> Option<Refusal> {
    let attempt = Attempt::of(limit, subject, amount, budgets);
    let budget = budgets.look_ahead(attempt.present.shape, &attempt.key, |budget| *budget);
    let Ok(budget) = budget else { return Some(unavailable(limit, amount, budgets)) };
    let turn = if budget.is_queued() { attempt.place().turn() } else { Turn::default() };
    let room = attempt.room(&turn);
    match budget.wait_for(room) {
        Wait::For(Span::ZERO) => None,
        wait => Some(attempt.refusal(&budget, room, wait)),
    }
}

/// Promises a moment, not before `at_least`, to a call that a limit refuses. Returns the wait until
/// then, or `None` if waiting does not help.
pub(in crate::limits) fn promise(
    limit: &Rc<Limit>,
    subject: &Subject<'_>,
    amount: Amount,
    expected: Amount,
    at_least: Timestamp,
    budgets: &Budgets<'_>,
) -> Option<Span> {
    let attempt = Attempt::of(limit, subject, amount, budgets);
    let (shape, room) = (attempt.present.shape, attempt.room);
    // The end of a call in flight cannot be predicted. And callers for whom others are kept a share
    // must not overtake them by a promise.
    if shape.algorithm == Algorithm::InFlight || room > amount {
        return None;
    }
    // A budget that callers share for lack of room says nothing about this caller, and its promises
    // would take more room.
    if budgets.table.is_shared(&attempt.key, budgets.now).unwrap_or(true) {
        return None;
    }
    let budget = budgets.look(shape, &attempt.key, |budget| *budget).ok()?;
    let due = attempt.place().promise(&budget, room, amount, expected, at_least)?;
    if !budget.is_queued() {
        // If the flag cannot be written, newcomers do not find the queue before the next refusal.
        let _ = budgets.change(shape, &attempt.key, None, |budget| ((), budget.set_queued(true)));
    }
    Some(due.since(budgets.now))
}

/// A call before the budget of one limit.
pub(in crate::limits) struct Attempt<'a> {
    /// The place of the limit among those of the call.
    pub(in crate::limits) at: usize,
    pub(in crate::limits) limit: &'a Rc<Limit>,
    subject: &'a Subject<'a>,
    pub(in crate::limits) amount: Amount,
    budgets: &'a Budgets<'a>,
    pub(in crate::limits) key: Key,
    /// The limit in its present form.
    present: Rc<Limit>,
    rate: Option<Box<Key>>,
    /// The room in the budget that the call needs, apart from promises to others.
    room: Amount,
}

impl<'a> Attempt<'a> {
    fn of(limit: &'a Rc<Limit>, subject: &'a Subject<'a>, amount: Amount, budgets: &'a Budgets<'a>) -> Self {
        Self::under(limit.key(budgets.keys, subject), 0, limit, subject, amount, budgets)
    }

    /// Returns the attempt at a budget whose key is known.
    pub(in crate::limits) fn under(
        key: Key,
        at: usize,
        limit: &'a Rc<Limit>,
        subject: &'a Subject<'a>,
        amount: Amount,
        budgets: &'a Budgets<'a>,
    ) -> Self {
        let (present, rate) = adaptive::present(limit, subject, budgets);
        let room = limit.room(amount, &present, subject);
        Self { at, limit, subject, amount, budgets, key, present, rate, room }
    }

    fn place(&self) -> queue::Place<'_> {
        queue::Place {
            limit: self.limit,
            shape: self.present.shape,
            subject: self.subject,
            budgets: self.budgets,
        }
    }

    /// Returns the room in the budget that the call needs, with the amount that the queue reserves
    /// for others.
    fn room(&self, turn: &Turn) -> Amount {
        if self.amount.is_zero() {
            return self.room;
        }
        // An amount that fits an unused budget is never refused for ever.
        (self.room + turn.kept()).min(self.present.shape.capacity()).max(self.room)
    }

    /// Returns the standing of the budget for the caller: without the share reserved for those who
    /// cannot wait.
    fn standing(&self, budget: &Budget) -> Standing {
        self.present.standing(budget).without(self.room - self.amount)
    }

    /// Returns the refusal of a call that needs this room.
    fn refusal(&self, budget: &Budget, room: Amount, wait: Wait) -> Refusal {
        let mut standing = self.standing(budget);
        if standing.available >= self.amount {
            // It would fit, but for the promises to others.
            standing = self.present.standing(budget).without(room - self.amount);
        }
        Refusal { standing, needed: self.amount, wait, reason: Reason::Spent }
    }

    /// Charges the budget. Returns `None` if there are promises to others and the call's `turn` is
    /// not known.
    fn charge(
        &self,
        patience: Span,
        turn: Option<&Turn>,
        together: &mut Together<'_, '_>,
    ) -> Result<Option<Charged>, Refusal> {
        let no_turn = Turn::default();
        let (room, is_open) = (self.room(turn.unwrap_or(&no_turn)), turn.is_some_and(|turn| turn.is_open));
        let updated = together.change(self.present.shape, &self.key, None, |budget| {
            if budget.is_queued() && turn.is_none() {
                return (Ok(None), false);
            }
            let before = *budget;
            let Booked { rest, wait } = match budget.reserve_with_room(self.amount, room, patience) {
                Ok(booked) => booked,
                Err(refused) => return (Err(self.refusal(&before, room, refused.wait)), false),
            };
            let waits_for = (!wait.is_zero()).then(|| Box::new(self.refusal(&before, room, Wait::For(wait))));
            let crossed = budget.note(self.present.warning());
            budget.set_queued(is_open);
            let (counted_at, standing) = (budget.counted_at(), self.standing(budget));
            (Ok(Some((counted_at, rest, standing, crossed, waits_for))), true)
        });
        let Some((counted_at, rest, standing, crossed, waits_for)) = updated.value? else { return Ok(None) };
        Ok(Some(Charged { place: updated.place, counted_at, rest, standing, crossed, waits_for }))
    }

    fn outcome(&self, charged: Charged) -> ChargeOutcome {
        let Charged { place, counted_at, rest, standing, crossed, waits_for } = charged;
        let held = Charge {
            limit: self.limit.clone(),
            key: self.key,
            place,
            counted_at,
            amount: self.amount,
            rest,
            room: self.room,
            rate: self.rate.clone(),
            share: None,
        };
        ChargeOutcome { held, standing, crossed, waits_for }
    }
}

/// A charge in a run of a transaction.
struct Charged {
    place: Place,
    counted_at: Timestamp,
    rest: Amount,
    standing: Standing,
    crossed: bool,
    waits_for: Option<Box<Refusal>>,
}

/// Refuses, because the budget cannot be read.
pub(in crate::limits) fn unavailable(limit: &Rc<Limit>, needed: Amount, budgets: &Budgets<'_>) -> Refusal {
    budgets.count(|tally| tally.failed_reservations = tally.failed_reservations.saturating_add(1));
    Refusal::unknown(limit, needed, WAIT_FOR_STORE)
}
