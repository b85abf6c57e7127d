//! A call that waits: what it needs is held, as a debt of its budgets, and it goes on when that has been paid, and its upstream is not busy.
//!
//! In: a call whose budgets are reserved, the time. Out: the call sent on, or refused because too many wait already. Not here: how long
//! a debt takes to be paid (`limits`), holding requests (`host`).
//!
//! Calls wait in the order in which they came, across all workers, without any queue that they would have to share: whoever comes
//! later is charged later, and waits for the debts before it. When one leaves, its charge is given back; those behind it find that out by
//! looking at their budgets again.

use super::busy::Who;
use super::request::Reading;
use super::response::Sent;
use super::settle::how_cut_short;
use super::{Abort, Effects, Means, Next, State};
use crate::limits::{self, Granted, Reservation};
use crate::metrics;
use crate::settings::Config;
use crate::units::{Span, Timestamp};

/// A call that waits.
pub(super) struct Waiting {
    sent: Box<Sent>,
    /// Its place among those that wait.
    place: Reservation,
    since: Timestamp,
    until: Timestamp,
    /// When it was last looked at.
    seen: Timestamp,
}

/// A call may go on as far as its limits are concerned: now, or when its budgets have been refilled.
pub(super) fn begin(
    sent: Box<Sent>,
    reading: &Reading,
    config: &Config,
    means: &mut Means<'_>,
    effects: &mut Effects,
) -> State {
    let span = match sent.waits_for.as_ref().map(|refusal| refusal.wait) {
        Some(limits::Wait::For(span)) => span,
        _ if sent.waits_for_upstream().is_some() => Span::ZERO,
        _ => return State::Sent(sent),
    };
    let places = reading.tier.graded.wait.as_ref().map(|wait| wait.places.clone());
    let subject = reading.subject(&sent.model);
    match limits::take_off(places.as_slice(), &subject, means.ledger) {
        Ok(Granted { reservation: place, .. }) => {
            let since = means.ledger.now();
            let until = sent.reserved_at + span;
            effects.count(&metrics::WAITS, &sent.labels("held"), 1);
            let for_upstream = u64::from(sent.waits_for_upstream().is_some());
            effects.count(&metrics::UPSTREAM_BUSY, &sent.labels("waited"), for_upstream);
            Box::new(Waiting { sent, place, since, until, seen: since }).look_again(config, means, effects)
        }
        Err(_) => give_up(sent, reading, config, means, effects),
    }
}

/// Too many wait already.
fn give_up(
    sent: Box<Sent>,
    reading: &Reading,
    config: &Config,
    means: &Means<'_>,
    effects: &mut Effects,
) -> State {
    effects.count(&metrics::WAITS, &sent.labels("full"), 1);
    let (model, label, waits_for) = (sent.model.clone(), sent.label.clone(), sent.waits_for.clone());
    match waits_for {
        Some(refusal) => {
            sent.release(config, means, effects);
            reading.refuse(&refusal, &model, label, means, effects)
        }
        None => {
            let busy_for = sent.waits_for_upstream().unwrap_or_default().since(means.ledger.now());
            sent.refuse_for_upstream(busy_for, config, means, effects)
        }
    }
}

impl Sent {
    /// Until when it waits for its upstream, if it does.
    fn waits_for_upstream(&self) -> Option<Timestamp> {
        self.upstream.as_ref()?.wait_until
    }

    /// Its upstream is busy for longer than it may wait.
    fn refuse_for_upstream(
        mut self: Box<Self>,
        busy_for: Span,
        config: &Config,
        means: &Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let upstream = self.upstream.take();
        let (format, tier, model, label) =
            (self.format, self.tier.clone(), core::mem::take(&mut self.model), self.label.clone());
        self.release(config, means, effects);
        let who = Who { format, tier: &tier, model: &model, label };
        upstream.map_or(State::Done, |upstream| upstream.refuse(&who, busy_for, means, effects))
    }
}

impl Waiting {
    /// Lets the call go on if its time has come: what it waited for has been paid, or all debts of its budgets have been; and its upstream
    /// is not busy, or not any more.
    pub(super) fn look_again(
        mut self: Box<Self>,
        config: &Config,
        means: &Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let now = means.ledger.now();
        self.set_back(self.seen.since(now));
        self.seen = now;
        self.until = self.until.min(now + self.sent.reservation.until_paid(means.ledger));
        if self.is_due(now) {
            // Others that waited may have gone ahead, and found it busy again.
            if let Err(busy_for) = self.check_upstream(means) {
                let Self { sent, place, .. } = *self;
                place.release(means.ledger);
                effects.count(&metrics::WAITS, &sent.labels("refused"), 1);
                return sent.refuse_for_upstream(busy_for, config, means, effects);
            }
        }
        if !self.is_due(now) {
            effects.next =
                Next::Wait { until: self.until.max(self.sent.waits_for_upstream().unwrap_or_default()) };
            return State::Waiting(self);
        }
        let Self { mut sent, place, since, .. } = *self;
        place.release(means.ledger);
        sent.reservation.go_on(means.ledger);
        effects.count(&metrics::WAITS, &sent.labels("passed"), 1);
        effects.count(&metrics::WAITED, &sent.labels(""), now.since(since).as_millis_ceil());
        State::Sent(sent)
    }

    /// The clock has been set back by so much, if at all: what has been waited stays waited.
    const fn set_back(&mut self, by: Span) {
        self.since = Timestamp(self.since.0.saturating_sub(by.0));
        self.until = Timestamp(self.until.0.saturating_sub(by.0));
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.until <= now && self.sent.waits_for_upstream().is_none_or(|until| until <= now)
    }

    fn check_upstream(&mut self, means: &Means<'_>) -> Result<(), Span> {
        let patience = self.sent.tier.graded.patience();
        let Some(upstream) = &mut self.sent.upstream else { return Ok(()) };
        upstream.check(self.since, patience, means)
    }

    /// The call has ended: it has not gone upstream, and costs nothing.
    pub(super) fn end(self, abort: Option<Abort>, config: &Config, means: &Means<'_>, effects: &mut Effects) {
        let Self { sent, place, .. } = self;
        place.release(means.ledger);
        effects.count(&metrics::WAITS, &sent.labels("left"), 1);
        effects.count(&metrics::CALLS, &sent.labels(how_cut_short(abort)), 1);
        sent.release(config, means, effects);
    }
}
