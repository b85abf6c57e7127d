//! The queue of waiting calls: a call is charged as a debt of its budgets, and goes on when the
//! debt is paid and its upstream is not busy.
//!
//! In: an admitted call, the time. Out: the call when it may go on, or its refusal because too many
//! are waiting. Not here: how long a debt takes to be paid (`limits`), holding requests (`host`).
//!
//! All workers share one order without a shared queue: a later call is charged later, and waits for
//! the debts before it. A call that leaves gives its charge back; those behind it notice that when
//! they check their budgets again.

use super::admitted::{Admitted, NotAdmitted};
use super::context::{Abort, Context};
use super::effects::{Effects, Next};
use super::refusal::BusyUpstream;
use crate::limits::{self, Granted, Reservation, Wait};
use crate::metrics;
use crate::settings::Config;
use crate::units::{Span, Timestamp};

/// A waiting call.
pub(super) struct Queued {
    admitted: Box<Admitted>,
    /// Its slot among the waiting calls.
    place: Reservation,
    since: Timestamp,
    until: Timestamp,
    /// The time of the last check.
    seen: Timestamp,
}

/// Whether a call waits.
pub(super) enum Progress {
    Ready(Box<Admitted>),
    Waiting(Box<Queued>),
}

/// Lets a call go on, now or when its budgets have been refilled.
pub(super) fn enter(
    admitted: Box<Admitted>,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Result<Progress, NotAdmitted> {
    let span = match admitted.waits_for.as_ref().map(|refusal| refusal.wait) {
        Some(Wait::For(span)) => span,
        _ if admitted.waits_for_upstream().is_some() => Span::ZERO,
        _ => return Ok(Progress::Ready(admitted)),
    };
    let call = &admitted.call;
    let places = call.tier.degradation.wait.as_ref().map(|wait| wait.places.clone());
    match limits::acquire_slots(places.as_slice(), &call.subject(&admitted.model), context.budgets) {
        Ok(Granted { reservation: place, .. }) => {
            let since = context.now();
            let until = admitted.reserved_at + span;
            effects.count(&metrics::WAITS, &admitted.labels("held"), 1);
            let for_upstream = u64::from(admitted.waits_for_upstream().is_some());
            effects.count(&metrics::UPSTREAM_BUSY, &admitted.labels("waited"), for_upstream);
            Box::new(Queued { admitted, place, since, until, seen: since }).look_again(context, effects)
        }
        Err(_) => {
            effects.count(&metrics::WAITS, &admitted.labels("full"), 1);
            Err(too_many_wait(admitted, context))
        }
    }
}

/// Refuses a call because too many are waiting: for the limit that it would wait for, or its busy
/// upstream.
fn too_many_wait(mut admitted: Box<Admitted>, context: &Context<'_>) -> NotAdmitted {
    if let Some(refusal) = admitted.waits_for.take() {
        return NotAdmitted::over_limit(admitted, *refusal, vec![]);
    }
    let wait = admitted.waits_for_upstream().unwrap_or_default().since(context.now());
    let busy = admitted.upstream.as_ref().map(|upstream| upstream.busy_for(wait));
    NotAdmitted::upstream_busy(admitted, busy.unwrap_or_else(|| BusyUpstream { name: vec![], wait }))
}

impl Queued {
    /// Lets the call go on if it is due: its own debt, or all debts of its budgets, are paid, and
    /// its upstream is not busy.
    pub(super) fn look_again(
        mut self: Box<Self>,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Result<Progress, NotAdmitted> {
        let now = context.now();
        self.set_back(self.seen.since(now));
        self.seen = now;
        self.until = self.until.min(now + self.admitted.charges.here().until_paid(context.budgets));
        if self.is_due(now) {
            // Other waiting calls may have gone ahead and been refused.
            if let Err(busy) = self.check_upstream(context) {
                let Self { admitted, place, .. } = *self;
                place.release(context.budgets);
                effects.count(&metrics::WAITS, &admitted.labels("refused"), 1);
                return Err(NotAdmitted::upstream_busy(admitted, busy));
            }
        }
        if !self.is_due(now) {
            let for_upstream = self.admitted.waits_for_upstream().unwrap_or_default();
            effects.next = Next::Wait { until: self.until.max(for_upstream) };
            return Ok(Progress::Waiting(self));
        }
        let Self { mut admitted, place, since, .. } = *self;
        place.release(context.budgets);
        admitted.charges.here_mut().go_on(context.budgets);
        effects.count(&metrics::WAITS, &admitted.labels("passed"), 1);
        effects.count(&metrics::WAITED, &admitted.labels(""), now.since(since).as_millis_ceil());
        Ok(Progress::Ready(admitted))
    }

    /// Moves its times back with the clock, so that the time waited still counts.
    const fn set_back(&mut self, by: Span) {
        self.since = Timestamp(self.since.0.saturating_sub(by.0));
        self.until = Timestamp(self.until.0.saturating_sub(by.0));
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.until <= now && self.admitted.waits_for_upstream().is_none_or(|until| until <= now)
    }

    fn check_upstream(&mut self, context: &Context<'_>) -> Result<(), BusyUpstream> {
        let patience = self.admitted.call.tier.degradation.patience();
        let Some(upstream) = &mut self.admitted.upstream else { return Ok(()) };
        upstream.check(self.since, patience, context)
    }

    /// Ends the call. It has not gone upstream, and costs nothing.
    pub(super) fn end(
        self,
        abort: Option<Abort>,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        let Self { admitted, place, .. } = self;
        place.release(context.budgets);
        effects.count(&metrics::WAITS, &admitted.labels("left"), 1);
        admitted.end_unsent(abort, config, context, effects);
    }
}
