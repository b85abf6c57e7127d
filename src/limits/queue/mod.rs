//! The queue before a budget: the moments promised to refused callers.
//!
//! In: a call that its budget refuses, and the same call when it comes back. Out: the moment that
//! the caller is told, and the amount of the budget that newcomers must leave to promised calls.
//! Not here: admission, which the budget alone decides (`budget`); several limits of one call
//! (`reserve`).
//!
//! If every refused caller is told when the next call fits, all of them come back together, and all
//! but one are refused again. So each refusal promises a moment of its own, behind the earlier
//! ones. A newcomer passes only if it leaves enough for the promised calls. A caller who comes when
//! told need leave nothing. If calls before it used more than expected and it does not fit, the
//! queue renews its promise for the moment when it will.
//!
//! Promises are advice: a lost record costs a caller one more try and admits no call that does not
//! fit. Callers of a budget without a queue pay nothing. The table holds the queue in four records:
//!
//! ```text
//! Queue           one per budget     totals, the last promised moment
//! Term            one per 2 s        the promises of that time, forgotten together
//! Group, Ticket   one per call       calls with equal bodies share a group, each has a ticket
//! ```

mod line;

use self::line::{COUNTS_FOR, Expected, Promise, Queue, Term, first_term, is_too_far, term_of};
use crate::config::Ratio;
use crate::limits::budget::{Algorithm, Budget, Shape, Wait};
use crate::limits::budgets::Budgets;
use crate::limits::limit::{Limit, Subject};
use crate::limits::remembered::record::{self, Record, Unstored};
use crate::store::Key;
use crate::units::{Amount, Span, Timestamp};

/// The time for which the table keeps a queue after its end, because the next crowd of the same
/// callers comes back as often.
const REMEMBERED: Span = Span::from_secs(600);

/// An equal call that comes this soon after a refusal is another caller's, because a client that
/// was told to wait takes longer to come back.
const ANOTHER_WITHIN: Span = Span::from_millis(100);

/// The most tickets of equal calls that are searched for a due one.
const LOOKED_AT: usize = 8;

/// The most forgotten tickets of equal calls that are skipped at once.
const SKIPPED: usize = 256;

impl Record for Queue {
    const KIND: u64 = 0x7175_6575_6521_2121;

    fn numbers(&self) -> [u64; 4] {
        // Terms of two seconds fit 32 bits for centuries, the count 12 bits, and a share of a
        // million 20.
        let packed = (self.from << 32) | (u64::from(self.count & 0xfff) << 20) | self.taken_up.ppm;
        [self.owed.0, self.held.0, self.end.0, packed]
    }

    fn from_numbers([owed, held, end, packed]: [u64; 4]) -> Self {
        Self {
            owed: Amount(owed),
            held: Amount(held),
            end: Timestamp(end),
            from: packed >> 32,
            count: u32::try_from((packed >> 20) & 0xfff).unwrap_or(0),
            taken_up: Ratio { ppm: packed & 0xf_ffff },
        }
    }

    fn until(&self) -> Timestamp {
        self.end + REMEMBERED
    }
}

impl Record for Term {
    const KIND: u64 = 0x7465_726d_2121_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.owed.0, self.held.0, self.count, self.until.0]
    }

    fn from_numbers([owed, held, count, until]: [u64; 4]) -> Self {
        Self { owed: Amount(owed), held: Amount(held), count, until: Timestamp(until) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }
}

/// Calls of one caller with equal bodies, and the range of their tickets that may still count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Group {
    first: u64,
    next: u64,
    until: Timestamp,
    /// The time of the last ticket.
    handed_out: Timestamp,
}

impl Record for Group {
    const KIND: u64 = 0x6772_6f75_7021_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.first, self.next, self.until.0, self.handed_out.0]
    }

    fn from_numbers([first, next, until, handed_out]: [u64; 4]) -> Self {
        Self { first, next, until: Timestamp(until), handed_out: Timestamp(handed_out) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }
}

/// A promise to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticket {
    due: Timestamp,
    call: Expected,
    until: Timestamp,
}

impl Record for Ticket {
    const KIND: u64 = 0x7469_636b_6574_2121;

    fn numbers(&self) -> [u64; 4] {
        [self.due.0, self.call.owed.0, self.call.held.0, self.until.0]
    }

    fn from_numbers([due, owed, held, until]: [u64; 4]) -> Self {
        let call = Expected { owed: Amount(owed), held: Amount(held) };
        Self { due: Timestamp(due), call, until: Timestamp(until) }
    }

    fn until(&self) -> Timestamp {
        self.until
    }
}

/// A call's turn in the queue before a budget.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::limits) struct Turn {
    /// The amount of the budget promised now.
    promised: Amount,
    /// Whether there is a queue.
    pub(in crate::limits) is_open: bool,
    /// The promise that the call comes for, and its number in its group.
    ticket: Option<(u64, Ticket)>,
}

impl Turn {
    /// Returns the amount that the call must leave to others: zero, if it comes for a promise.
    pub(in crate::limits) fn kept(&self) -> Amount {
        if self.ticket.is_some() { Amount::ZERO } else { self.promised }
    }
}

/// The queue before the budget of one limit, for one call.
pub(in crate::limits) struct Place<'a> {
    pub(in crate::limits) limit: &'a Limit,
    /// The limit's present shape.
    pub(in crate::limits) shape: Shape,
    pub(in crate::limits) subject: &'a Subject<'a>,
    pub(in crate::limits) budgets: &'a Budgets<'a>,
}

impl Place<'_> {
    /// Returns the call's turn.
    pub(in crate::limits) fn turn(&self) -> Turn {
        let queue = record::look::<Queue>(self.budgets, &self.key("queue")).map(|queue| self.seen(queue));
        let Some(queue) = queue.filter(|queue| queue.count > 0) else { return Turn::default() };
        let promised = queue.keeps(&self.shape, self.budgets.now);
        Turn { promised, is_open: true, ticket: self.due_ticket() }
    }

    /// Removes the promise of a call that came for it and passed.
    pub(in crate::limits) fn take_up(&self, turn: &Turn) {
        let Some((number, ticket)) = turn.ticket else { return };
        if self.tear(number, &ticket) {
            self.change_queue(|queue| queue.take_up(&ticket.call));
        }
    }

    /// Promises a moment, not before `at_least`, to a call that a budget refuses. Returns the
    /// moment, or `None` if the call never fits, or too late. The call needs `room`, holds
    /// `amount`, and is `expected` to be charged that much.
    pub(in crate::limits) fn promise(
        &self,
        budget: &Budget,
        room: Amount,
        amount: Amount,
        expected: Amount,
        at_least: Timestamp,
    ) -> Option<Timestamp> {
        let (now, call) = (self.budgets.now, Expected::of(&self.shape, amount, expected));
        let turn = if budget.is_queued() { self.turn() } else { Turn::default() };
        let not_before = |promise: Promise| Promise { due: promise.due.max(at_least), ..promise };
        if let Some((number, ticket)) = turn.ticket {
            // It came when told and does not fit, so it comes next.
            let kept = turn.promised - ticket.call.held;
            let Wait::For(wait) = budget.wait_for(room + kept.min(self.shape.capacity() - room)) else {
                return None;
            };
            let due = (now + wait).max(at_least);
            self.renew(number, &ticket, due);
            return Some(due);
        }
        if let Some(due) = self.kept_ticket() {
            return Some(due.max(at_least));
        }
        let (promise, is_kept) = self.change_queue(|queue| {
            let promise = queue.next(budget, &self.shape, room, now).map(not_before);
            let promise = promise.filter(|promise| !is_too_far(promise.due, now));
            let is_kept = promise.is_some() && !queue.is_full();
            if let Some(promise) = promise.as_ref().filter(|_| is_kept) {
                queue.add(promise, &call);
            }
            (promise, is_kept)
        })?;
        let promise = promise?;
        if is_kept {
            self.hand_out(&promise, call);
        }
        Some(promise.due)
    }

    fn seen(&self, queue: Queue) -> Queue {
        queue.seen(self.budgets.now, |term| record::look(self.budgets, &self.term_key(term)))
    }

    fn change_queue<T>(&self, change: impl Fn(&mut Queue) -> T) -> Option<T> {
        record::change(self.budgets, &self.key("queue"), |queue: Option<Queue>| {
            let mut queue = self.seen(queue.unwrap_or(Queue::EMPTY));
            (change(&mut queue), Some(queue))
        })
        .ok()
    }

    /// Returns the first due ticket of the call, or of one with an equal body.
    fn due_ticket(&self) -> Option<(u64, Ticket)> {
        let group = record::look::<Group>(self.budgets, &self.call_key("group"))?;
        let tickets = (group.first..group.next).take(SKIPPED);
        let living = tickets.filter_map(|number| Some((number, self.ticket(number)?)));
        living.take(LOOKED_AT).find(|(_, ticket)| ticket.due <= self.budgets.now)
    }

    /// Returns the moment of the call's only ticket, if its caller seems to have come back too
    /// early. Such a caller keeps its promise.
    fn kept_ticket(&self) -> Option<Timestamp> {
        // In a calendar window as many as fit are told its start, so another promise changes
        // little.
        if self.shape.algorithm == Algorithm::FixedWindow {
            return None;
        }
        let group = record::look::<Group>(self.budgets, &self.call_key("group"))?;
        let is_only = group.next.saturating_sub(group.first) == 1;
        let is_another = self.budgets.now.since(group.handed_out) < ANOTHER_WITHIN;
        (is_only && !is_another).then(|| self.ticket(group.first)).flatten().map(|ticket| ticket.due)
    }

    fn ticket(&self, number: u64) -> Option<Ticket> {
        let ticket = record::look::<Ticket>(self.budgets, &self.ticket_key(number))?;
        (term_of(ticket.due) >= first_term(self.budgets.now)).then_some(ticket)
    }

    /// Gives a call its ticket.
    fn hand_out(&self, promise: &Promise, call: Expected) {
        let until = promise.due + COUNTS_FOR;
        let Ok(number) = self.change_group(|group| {
            let number = group.next;
            group.next = group.next.saturating_add(1);
            group.until = group.until.max(until);
            group.handed_out = self.budgets.now;
            number
        }) else {
            // A promise that cannot be written is not kept: its caller comes back as a newcomer.
            return;
        };
        let ticket = Ticket { due: promise.due, call, until };
        let _ =
            record::change(self.budgets, &self.ticket_key(number), |_: Option<Ticket>| ((), Some(ticket)));
        self.change_term(promise.due, |term| term.add(&call));
        if !promise.rest.is_zero() {
            let before = Timestamp(promise.due.0.saturating_sub(self.shape.window.0));
            let rest = Expected { owed: promise.rest, held: promise.rest };
            self.change_term(before, |term| term.add_amounts(&rest));
        }
    }

    /// Moves a ticket to another moment.
    fn renew(&self, number: u64, ticket: &Ticket, due: Timestamp) {
        let renewed = Ticket { due, until: due + COUNTS_FOR, ..*ticket };
        let moved = record::change(self.budgets, &self.ticket_key(number), |living: Option<Ticket>| {
            (living.is_some(), Some(renewed))
        });
        if moved != Ok(true) {
            return;
        }
        let _ = self.change_group(|group| group.until = group.until.max(renewed.until));
        self.change_term(ticket.due, |term| term.remove(&ticket.call));
        self.change_term(due, |term| term.add(&ticket.call));
        self.change_queue(|queue| queue.end = queue.end.max(due));
    }

    /// Takes a ticket back, and returns whether no other worker has.
    fn tear(&self, number: u64, ticket: &Ticket) -> bool {
        let torn = record::change(self.budgets, &self.ticket_key(number), |living: Option<Ticket>| {
            (living.is_some(), Some(Ticket { until: Timestamp(0), ..*ticket }))
        });
        if torn != Ok(true) {
            return false;
        }
        let _ = self.change_group(|group| {
            let gone =
                (group.first..group.next).take(SKIPPED).take_while(|number| self.ticket(*number).is_none());
            group.first = gone.last().map_or(group.first, |last| last.saturating_add(1));
        });
        self.change_term(ticket.due, |term| term.remove(&ticket.call));
        true
    }

    fn change_group<T>(&self, change: impl Fn(&mut Group) -> T) -> Result<T, Unstored> {
        record::change(self.budgets, &self.call_key("group"), |group: Option<Group>| {
            let mut group = group.unwrap_or_default();
            (change(&mut group), Some(group))
        })
    }

    fn change_term(&self, due: Timestamp, change: impl Fn(&mut Term)) {
        let key = self.term_key(term_of(due));
        let _ = record::change(self.budgets, &key, |term: Option<Term>| {
            let mut term = term.unwrap_or_default();
            // The term is read once more when it is over.
            term.until = term.until.max(due + COUNTS_FOR + REMEMBERED);
            change(&mut term);
            ((), Some(term))
        });
    }

    fn key(&self, what: &str) -> Key {
        self.limit.key_beside(what, None, self.budgets.keys, self.subject)
    }

    fn term_key(&self, term: u64) -> Key {
        self.limit.key_beside("term", Some(("term", &term.to_le_bytes())), self.budgets.keys, self.subject)
    }

    fn ticket_key(&self, number: u64) -> Key {
        self.call_key(&format!("ticket {number}"))
    }

    /// Returns a key that identifies a call by its caller and its body, which clients repeat
    /// unchanged; by its caller alone if the limit decides before the body has come.
    fn call_key(&self, what: &str) -> Key {
        let body = if self.limit.is_known_at_once() { b"" } else { self.subject.body };
        self.limit.key_of_call(what, body, self.budgets.keys, self.subject)
    }
}

#[cfg(test)]
mod tests;
