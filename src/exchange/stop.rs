//! Stops a stream when a budget of its caller is exhausted.
//!
//! In: pieces of a streamed answer. Out: the API's own ending in place of the rest, and the
//! settlement by what was streamed. Not here: the form of endings (`api::ending`), counting a
//! stream (`watch`), the arithmetic of budgets (`limits`).
//!
//! Budgets are checked only when the stream has grown by a step, and only after most of the call's
//! charge is used. They refill meanwhile, and other calls are charged to them, so the check asks
//! where they would stand if the call were settled now. Each check charges the stream's usage
//! beyond its reservation.
//!
//! A wasm filter cannot end a response. After the ending it therefore discards what the upstream
//! still sends, for a while, so that the client's response can end when the upstream's does
//! ([`Drain`]). A finisher, if loaded, ends it at once.

use std::rc::Rc;

use serde_json::json;

use super::admitted::Admitted;
use super::call::logged;
use super::context::Context;
use super::effects::Effects;
use super::fact::{Fact, Value};
use super::response::{Outcome, Responding};
use super::settle;
use crate::api::Usage;
use crate::api::ending::Cut;
use crate::limits::Limit;
use crate::metrics::{self, Labels};
use crate::settings::Config;
use crate::units::Timestamp;

/// The output tokens after which budgets are checked again. A check costs about as much as counting
/// these tokens.
const LOOK_EVERY: u64 = 64;

/// A stopped stream after its ending. Nothing more of its upstream reaches the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// The time from which the next piece resets both sides.
    until: Timestamp,
}

/// Stops a stream if a budget is exhausted. Returns its [`Drain`], or the stream if it goes on.
/// `piece` is the last piece that came; the part to pass on is among the effects.
pub(super) fn stop_at_limit(
    mut responding: Box<Responding>,
    piece: &[u8],
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Result<Drain, Box<Responding>> {
    let Some((limit, used)) = overspent(&mut responding, config, context) else { return Err(responding) };
    let admitted = &responding.admitted;
    let cut = Cut { model: &admitted.model, used, hides_usage: admitted.hides_usage };
    let Outcome::Answered { reader, .. } = &responding.outcome else { return Err(responding) };
    let ended = reader.end(effects.piece.as_deref().unwrap_or(piece), &cut);
    let has_ending = reader.has_ending();
    if !has_ending {
        let labels = admitted.call.labels_of(&limit, &admitted.label);
        effects.count(&metrics::STREAMS_UNSTOPPABLE, &labels, 1);
        responding.watch = None;
    }
    let Some(ended) = ended else { return Err(responding) };
    effects.piece = Some(ended);
    report(&responding.admitted, &limit, &used, effects);
    let drain_for = responding.watch.as_ref().map(|watch| watch.drain_for).unwrap_or_default();
    settle::settle_stopped(responding, config, context, effects);
    Ok(Drain { until: context.now() + drain_for })
}

/// Returns the limit whose budget is exhausted and the usage so far, or `None` if the stream may go
/// on.
fn overspent(
    responding: &mut Responding,
    config: &Config,
    context: &mut Context<'_>,
) -> Option<(Rc<Limit>, Usage)> {
    let Responding { admitted, outcome: Outcome::Answered { reader, .. }, watch } = responding else {
        return None;
    };
    let watch = watch.as_mut()?;
    if admitted.estimate.output_is_known {
        return None;
    }
    let written = watch.count(reader.found(), &admitted.model, config, context);
    let (rates, seen) = (admitted.estimate.rates, &watch.seen);
    let used = settle::with_written(&admitted.estimate, reader.found(), written);
    let grown = used.all_output().saturating_sub(seen.all_output());
    let here = admitted.charges.here();
    let is_worth_it = (grown >= LOOK_EVERY && here.is_mostly_used(&used, &rates))
        || here.is_worth_a_look(seen, &used, &rates);
    if !is_worth_it {
        return None;
    }
    watch.seen = used;
    let grace = config.streams.grace;
    admitted.charges.here_mut().overspent(&used, &rates, grace, context.budgets)?;
    // Counting in parts may be off by a few tokens, which must not stop a stream.
    let exact = settle::counted(admitted, reader.found(), config, context);
    let limit = admitted.charges.here_mut().overspent(&exact, &rates, grace, context.budgets)?;
    Some((limit, exact))
}

/// Reports a stopped stream to operators.
pub(super) fn report(admitted: &Admitted, limit: &Limit, used: &Usage, effects: &mut Effects) {
    effects.count(&metrics::STREAMS_STOPPED, &admitted.call.labels_of(limit, &admitted.label), 1);
    effects.facts.push((Fact::StoppedBy, Value::Text(limit.name.to_string())));
    effects.log.push(log_line(admitted, limit, used));
}

/// Formats the line that tells operators why a stream was stopped.
fn log_line(admitted: &Admitted, limit: &Limit, used: &Usage) -> String {
    let (call, model) = (&admitted.call, &admitted.model);
    let used = (limit.counts.amount)(used, &admitted.estimate.rates).0;
    let more = json!({ "api": call.format().name, "model": logged(model), "used": used });
    call.log_line("stopped", limit, model, more)
}

impl Drain {
    /// Discards a piece, and resets the stream after its time, unless the piece ends it.
    pub(super) fn discard(self, piece: &[u8], last: bool, now: Timestamp, effects: &mut Effects) {
        effects.piece = Some(Vec::new());
        effects.reset = !last && now >= self.until;
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        effects.count(&metrics::DRAINED_BYTES, &Labels::default(), bytes);
        if effects.reset {
            effects.count(&metrics::STREAMS_CUT, &Labels::default(), 1);
        }
    }
}
