//! One budget: the state of one limit for one caller, and its operations at one moment.
//!
//! In: the limit's [`Shape`], the stored payload (or none), and `now`. Out: the amount left,
//! whether an amount fits or the wait until it does, and the payload to store. All integers, exact,
//! rounded against the caller. Not here: the arithmetic of each algorithm (`token_bucket`,
//! `window`), several limits at once (`limits`), storing (`store`).
//!
//! # Which time counts
//!
//! Workers read the clock independently and store in another order than they read, and the clock
//! may be set. A moment up to [`CLOCK_DISORDER`] before the last stored one counts as disorder: the
//! budget stays at the later moment, so that no refill happens twice. A moment further back counts
//! as a clock that was set: the budget continues from there with its charges, so that it does not
//! stand still until the old time comes again.

pub(in crate::limits) mod in_flight;
mod shape;
pub(in crate::limits) mod token_bucket;
pub(in crate::limits) mod window;

use in_flight::InFlight;
pub(in crate::limits) use shape::TERM;
pub use shape::{Algorithm, Shape};
use token_bucket::TokenBucket;
use window::Windows;

use crate::store::{Entry, Payload, numbers_in, payload_of};
use crate::units::{Amount, Product, Span, Timestamp};

/// The distance by which a moment may precede the last one and still count as the same clock.
///
/// It is far longer than any delay between reading the clock and storing, and short enough to stand
/// still for.
pub const CLOCK_DISORDER: Span = Span::from_secs(60);

/// The time until an amount fits, if nothing else is charged or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It exceeds an untouched budget, or nothing is ever given back.
    Never,
    /// Exactly this long: a nanosecond earlier the amount is still refused.
    For(Span),
}

/// The refusal of an amount that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The amount asked for.
    pub asked: Amount,
    /// The amount that would have fitted.
    pub available: Amount,
    /// The time until it fits.
    pub wait: Wait,
}

/// The success of a charge, possibly in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    /// The rest of a window that was charged in addition.
    pub rest: Amount,
    /// The time until no debt is left; zero if the amount fitted.
    pub wait: Span,
}

/// A budget at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    shape: Shape,
    now: Timestamp,
    at: Timestamp,
    state: BudgetState,
    /// Whether crossing the warning has been noted.
    noted: bool,
    /// Whether refused callers were promised a moment, so that newcomers must read the queue.
    queued: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BudgetState {
    Bucket(TokenBucket),
    Windows(Windows),
    InFlight(InFlight),
}

impl Budget {
    /// Opens the budget as it is `now`; untouched if nothing readable is stored.
    ///
    /// A budget stored under another shape of the same limit keeps its charges as closely as
    /// possible.
    #[must_use]
    pub fn open(shape: Shape, stored: Option<&Payload>, now: Timestamp) -> Self {
        let Some((stored_at, state, flags)) = stored.and_then(decode) else {
            let state = BudgetState::untouched(&shape, now);
            return Self { shape, now, at: now, state, noted: false, queued: false };
        };
        let (noted, queued) = (flags & NOTED > 0, flags & QUEUED > 0);
        let disordered = stored_at > now && stored_at.since(now) <= CLOCK_DISORDER;
        let at = if disordered { stored_at } else { now };
        Self { shape, now, at, state: state.under(&shape).advanced(&shape, stored_at, at), noted, queued }
    }

    /// Returns the moment at which charges count; a later refund needs it.
    #[must_use]
    pub const fn counted_at(&self) -> Timestamp {
        self.at
    }

    /// Returns the amount spent; more than the capacity in debt.
    #[must_use]
    pub fn spent(&self) -> Amount {
        Amount(match &self.state {
            BudgetState::Bucket(bucket) => bucket.spent,
            BudgetState::Windows(windows) => windows.spent(&self.shape, self.at),
            BudgetState::InFlight(calls) => calls.count(),
        })
    }

    /// Returns the amount that can be reserved at once.
    #[must_use]
    pub fn available(&self) -> Amount {
        self.shape.capacity() - self.spent()
    }

    /// Charges an amount that is already used, possibly into a debt.
    pub fn charge(&mut self, amount: Amount) {
        match &mut self.state {
            BudgetState::Bucket(bucket) => bucket.charge(amount.0),
            BudgetState::Windows(windows) => windows.charge(amount.0),
            BudgetState::InFlight(calls) => calls.charge(amount.0),
        }
    }

    /// Charges an amount if it fits now or will fit within `patience`. In the second case the
    /// amount becomes a debt, and the result has the time until it is paid. A later caller waits
    /// for this debt too, so that large and small calls keep the order in which they came.
    ///
    /// If the amount does not fit into the rest of a window, the rest is charged as well, so that
    /// the whole amount is in the window in which it is used. No caller behind it could have used
    /// that rest.
    ///
    /// Calls do not wait for calls in flight, whose end cannot be predicted.
    ///
    /// # Errors
    /// [`Refused`]; the budget is unchanged.
    pub fn reserve_within(&mut self, amount: Amount, patience: Span) -> Result<Booked, Refused> {
        self.reserve_with_room(amount, amount, patience)
    }

    /// Does the same for an amount that passes when there is `room`: more than the amount, if a
    /// part is reserved for others, or less, if the amount may become a debt.
    ///
    /// # Errors
    /// [`Refused`]; the budget is unchanged.
    pub fn reserve_with_room(
        &mut self,
        amount: Amount,
        room: Amount,
        patience: Span,
    ) -> Result<Booked, Refused> {
        let available = self.available();
        if room <= available {
            self.charge(amount);
            return Ok(Booked { rest: Amount::ZERO, wait: Span::ZERO });
        }
        let wait = self.wait_for(room);
        let refused = Refused { asked: amount, available, wait };
        let can_wait = match self.shape.algorithm {
            Algorithm::TokenBucket => wait != Wait::Never,
            Algorithm::FixedWindow => room == amount && wait != Wait::Never,
            // A whole sliding window is free only after a window without calls.
            Algorithm::SlidingWindow => room == amount && window::fits_behind_another(&self.shape, amount.0),
            Algorithm::InFlight => false,
        };
        if !can_wait {
            return Err(refused);
        }
        let mut booked = *self;
        let rest = Amount(match &self.state {
            BudgetState::Windows(windows) => windows.rest_before(&self.shape, amount.0),
            BudgetState::Bucket(_) | BudgetState::InFlight(_) => 0,
        });
        booked.charge(rest + amount);
        let wait = booked.until_paid(amount, room);
        if wait > patience {
            return Err(refused);
        }
        *self = booked;
        Ok(Booked { rest, wait })
    }

    /// Lets a waiting call go on: its charge then counts as of now, without the rest of a window
    /// before it.
    pub fn go_on(&mut self, amount: Amount, rest: Amount, booked_at: Timestamp) {
        if let BudgetState::Windows(windows) = &mut self.state {
            windows.go_on(&self.shape, amount.0, rest.0, booked_at, self.at);
        }
    }

    /// Gives back a charge of a call that will not go on, and the rest of a window before it, if
    /// that window is not over.
    pub fn leave(&mut self, amount: Amount, rest: Amount, booked_at: Timestamp) -> Amount {
        let rest = match &mut self.state {
            BudgetState::Windows(windows) => windows.return_rest(&self.shape, rest.0, booked_at, self.at),
            BudgetState::Bucket(_) | BudgetState::InFlight(_) => 0,
        };
        Amount(rest) + self.refund(amount, booked_at)
    }

    /// Returns the time until a charged amount would have had the room it needs, whatever was
    /// charged after it.
    #[must_use]
    pub fn until_paid(&self, amount: Amount, room: Amount) -> Span {
        self.until_spent(self.shape.capacity() - room + amount).unwrap_or(Span::MAX)
    }

    /// Renews calls in flight that were last renewed at `renewed_at`, so that they count as of now.
    pub fn renew(&mut self, calls: Amount, renewed_at: Timestamp) {
        self.refund(calls, renewed_at);
        self.charge(calls);
    }

    /// Charges an amount if it fits. Zero always fits, even into a debt.
    ///
    /// # Errors
    /// [`Refused`]; the budget is unchanged.
    pub fn reserve(&mut self, amount: Amount) -> Result<(), Refused> {
        let available = self.available();
        if amount > available {
            return Err(Refused { asked: amount, available, wait: self.wait_for(amount) });
        }
        self.charge(amount);
        Ok(())
    }

    /// Notes whether at least `mark` is spent, and returns whether that is news. It becomes news
    /// again once less than half of that is spent, so that a budget that oscillates around the mark
    /// is reported once.
    pub fn note(&mut self, mark: Amount) -> bool {
        let spent = self.spent();
        let was_noted = self.noted && spent.0 >= mark.0 / 2;
        self.noted = was_noted || spent >= mark;
        self.noted && !was_noted
    }

    /// Returns whether refused callers wait for it, so that newcomers must read the queue.
    #[must_use]
    pub const fn is_queued(&self) -> bool {
        self.queued
    }

    /// Notes whether refused callers wait for it, and returns whether that is news.
    pub(in crate::limits) const fn set_queued(&mut self, queued: bool) -> bool {
        let is_news = self.queued != queued;
        self.queued = queued;
        is_news
    }

    /// Gives back a charge of `reserved_at` (see [`Budget::counted_at`]) and returns the part that
    /// counted.
    ///
    /// A charge counts where it was made, unless it has expired: in a bucket if the bucket has been
    /// full since, in a window if it is more than one window ago. If nothing counted, the state is
    /// unchanged.
    pub fn refund(&mut self, amount: Amount, reserved_at: Timestamp) -> Amount {
        Amount(match &mut self.state {
            BudgetState::Bucket(bucket) => bucket.refund(amount.0, reserved_at, self.at),
            BudgetState::Windows(windows) => windows.refund(&self.shape, amount.0, reserved_at, self.at),
            BudgetState::InFlight(calls) => calls.refund(&self.shape, amount.0, reserved_at, self.at),
        })
    }

    /// Returns the time until the amount fits; zero if it does.
    #[must_use]
    pub fn wait_for(&self, amount: Amount) -> Wait {
        if amount.is_zero() {
            return Wait::For(Span::ZERO);
        }
        if amount > self.shape.capacity() {
            return Wait::Never;
        }
        self.until_spent(self.shape.capacity() - amount).map_or(Wait::Never, Wait::For)
    }

    /// Returns the time until a bucket is full again, or the present window ends.
    #[must_use]
    pub fn reset_in(&self) -> Span {
        match &self.state {
            BudgetState::Windows(_) => self.seen_now(Span(window::remaining(&self.shape, self.at))),
            BudgetState::Bucket(_) | BudgetState::InFlight(_) => {
                self.until_spent(Amount::ZERO).unwrap_or(Span::MAX)
            }
        }
    }

    /// Returns the time from which the budget equals an untouched one, if nothing else is charged.
    #[must_use]
    pub fn idle_at(&self) -> Timestamp {
        let span = match &self.state {
            BudgetState::InFlight(calls) => self.seen_now(calls.until_forgotten(&self.shape, self.at)),
            _ => self.until_spent(Amount::ZERO).unwrap_or(Span::MAX),
        };
        self.now + span
    }

    /// Returns the used part of the capacity, of [`u8::MAX`], rounded up.
    #[must_use]
    pub fn fill(&self) -> u8 {
        if let BudgetState::InFlight(calls) = &self.state {
            // A budget with calls in flight must be found again, so it must never be evicted.
            return if calls.count() == 0 { 0 } else { u8::MAX };
        }
        let (spent, capacity) = (self.spent().0, self.shape.capacity().0);
        if spent >= capacity {
            return if spent == 0 { 0 } else { u8::MAX };
        }
        // Less than the maximum: the share is at most the whole.
        u8::try_from(Product::of(spent, u8::MAX.into()).div_ceil(capacity)).unwrap_or(u8::MAX)
    }

    /// Returns its entry for the store.
    #[must_use]
    pub fn entry(&self) -> Entry {
        Entry { payload: self.encode(), idle_at: self.idle_at(), fill: self.fill() }
    }

    /// Returns its state, which [`Budget::open`] reads.
    #[must_use]
    pub fn encode(&self) -> Payload {
        let (kind, fields) = match self.state {
            BudgetState::Bucket(TokenBucket { spent, fraction, full_at }) => {
                (BUCKET, [spent, fraction, full_at.0])
            }
            BudgetState::Windows(Windows { own, carried, previous }) => (WINDOWS, [own, carried, previous]),
            BudgetState::InFlight(InFlight { present, last }) => (IN_FLIGHT, [present, last, 0]),
        };
        let kind = if self.noted { kind | NOTED } else { kind };
        let kind = if self.queued { kind | QUEUED } else { kind };
        payload_of([kind, self.at.0].into_iter().chain(fields))
    }

    fn until_spent(&self, target: Amount) -> Option<Span> {
        let span = match &self.state {
            BudgetState::Bucket(bucket) => bucket.until_spent(&self.shape, target.0),
            BudgetState::Windows(windows) => windows.until_spent(&self.shape, self.at, target.0),
            BudgetState::InFlight(calls) if calls.count() <= target.0 => Some(Span::ZERO),
            // Calls end independently of the clock.
            BudgetState::InFlight(_) => return Some(in_flight::TRY_AGAIN),
        }?;
        Some(if span.is_zero() { span } else { self.seen_now(span) })
    }

    /// Converts a span from the counted moment to one from `now`.
    fn seen_now(&self, span: Span) -> Span {
        self.at.since(self.now) + span
    }
}

impl BudgetState {
    fn untouched(shape: &Shape, at: Timestamp) -> Self {
        match shape.algorithm {
            Algorithm::TokenBucket => Self::Bucket(TokenBucket::full(at)),
            Algorithm::SlidingWindow | Algorithm::FixedWindow => Self::Windows(Windows::default()),
            Algorithm::InFlight => Self::InFlight(InFlight::default()),
        }
    }

    /// Converts the state to the limit's present algorithm; charges keep counting.
    fn under(self, shape: &Shape) -> Self {
        if matches!(self, Self::InFlight(_)) != (shape.algorithm == Algorithm::InFlight) {
            // A limit that counts another resource starts anew.
            return Self::untouched(shape, Timestamp::default());
        }
        match (shape.algorithm, self) {
            (Algorithm::TokenBucket, Self::Windows(windows)) => {
                let bucket = TokenBucket::full(Timestamp::default());
                Self::Bucket(TokenBucket { spent: windows.counted(), ..bucket })
            }
            (Algorithm::SlidingWindow | Algorithm::FixedWindow, Self::Bucket(bucket)) => {
                Self::Windows(Windows { own: bucket.spent, ..Windows::default() })
            }
            (_, unchanged) => unchanged,
        }
    }

    fn advanced(mut self, shape: &Shape, from: Timestamp, to: Timestamp) -> Self {
        match &mut self {
            Self::Bucket(bucket) => bucket.advance(shape, from, to),
            Self::Windows(windows) => windows.advance(shape, from, to),
            Self::InFlight(calls) => calls.advance(shape, from, to),
        }
        self
    }
}

// The first field of a payload, five little-endian numbers: kind, moment, and the three of the
// state.
const BUCKET: u64 = 1;
const WINDOWS: u64 = 2;
const IN_FLIGHT: u64 = 3;
// Flags beside the kind.
const NOTED: u64 = 1 << 8;
const QUEUED: u64 = 1 << 9;

/// Returns the moment, the state, and the first field, which has the flags.
fn decode(payload: &Payload) -> Option<(Timestamp, BudgetState, u64)> {
    let mut fields = numbers_in(payload);
    let mut next = || fields.next();
    let (kind, at) = (next()?, Timestamp(next()?));
    let (first, second, third) = (next()?, next()?, next()?);
    let state = match kind & !(NOTED | QUEUED) {
        BUCKET => {
            BudgetState::Bucket(TokenBucket { spent: first, fraction: second, full_at: Timestamp(third) })
        }
        WINDOWS => BudgetState::Windows(Windows { own: first, carried: second, previous: third }),
        IN_FLIGHT => BudgetState::InFlight(InFlight { present: first, last: second }),
        _ => return None,
    };
    Some((at, state, kind))
}

#[cfg(test)]
mod changed_tests;
#[cfg(test)]
mod in_flight_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod waiting_tests;
