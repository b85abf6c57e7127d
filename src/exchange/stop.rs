//! Stops a stream when a budget of its caller is spent.
//!
//! In: pieces of a streamed answer. Out: the ending of the API's own in place of the rest, and the settlement by what was streamed. Not
//! here: what endings look like (`api::ending`), and the arithmetic of budgets (`limits`).
//!
//! What a stream has used so far is its input and the text that has come, counted as it comes, each text once. Budgets are looked at only
//! when that has grown by a step, and not before most of what is held for the call is used. They refill meanwhile, and other calls are
//! charged to them: what counts is where they would stand if the call were settled at that moment. What it has used beyond what is held for
//! it is charged at each look.
//!
//! A wasm filter cannot end a response. Behind the ending it therefore discards what the upstream
//! still sends, for a while, so that the client's response can end when the upstream's does
//! ([`Drain`]). A finisher, if one is loaded, ends it at once.

use std::rc::Rc;

use serde_json::json;

use super::request::dimensions;
use super::response::{Outcome, Sent};
use super::settle::with_written;
use super::{Effects, Fact, Means, State};
use crate::api::answer::{Found, Reader};
use crate::api::ending::Cut;
use crate::api::{Strays, Usage};
use crate::config::Ratio;
use crate::identity::{Caller, Head};
use crate::limits::{Limit, Subject};
use crate::metrics::{self, Labels};
use crate::settings::{Config, Streams};
use crate::tokens::by_length;
use crate::units::{Span, Timestamp};

/// By how many tokens an output grows at most before budgets are looked at again. A look costs about as much as counting these tokens.
const LOOK_EVERY: u64 = 64;

/// How many bytes of text are counted at once, at least: some eight tokens.
const COUNT_EVERY: usize = 32;

/// Where the module that ends responses says that it is there (`finisher`).
const FINISHER: [&str; 2] = ["filter_state", "tollgate.finisher"];

/// A stopped stream behind its ending: nothing of what its upstream sends reaches the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// From when on the next piece resets both sides.
    until: Timestamp,
}

/// What is known of a stream that may have to be stopped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Whom the call is counted for.
    caller: Caller,
    /// How long its upstream may go on behind the ending, if it is stopped.
    drain_for: Span,
    /// How much of the text is counted, and its tokens.
    counted: usize,
    tokens: u64,
    /// What was used when the budgets were last looked at.
    seen: Usage,
    /// By how much counts of this model's text are corrected, once that has been looked up.
    factor: Option<Ratio>,
}

impl Watch {
    /// Of a call of this caller, whose answer has yet to come.
    pub(super) fn of(caller: &Caller, streams: &Streams) -> Self {
        Self { caller: caller.clone(), drain_for: streams.drain_for, ..Self::default() }
    }

    /// Counts what has come of the text, but for its last words.
    fn count(&mut self, found: &Found, model: &str, config: &Config, means: &mut Means<'_>) -> u64 {
        let exactness = &config.counting.exactness;
        let come = found.text.get(self.counted..).unwrap_or_default();
        if come.len() >= COUNT_EVERY {
            // A word is counted as a whole, with the space before it, if it is not a very long one.
            let end = come.rfind(' ').filter(|end| *end >= COUNT_EVERY).unwrap_or(come.len());
            let text = come.get(..end).unwrap_or(come);
            self.tokens = self.tokens.saturating_add(means.counter.written(text, 0, model, exactness).0);
            self.counted = self.counted.saturating_add(text.len());
        }
        let uncounted = found.strays().map(Strays::len).fold(found.more_text, u64::saturating_add);
        let factor =
            *self.factor.get_or_insert_with(|| config.counting.calibration.factor(model, means.ledger));
        factor.of(self.tokens.saturating_add(by_length(uncounted)))
    }
}

impl Sent {
    /// Begins to watch an answer, or sees that it is nothing that could be stopped; whether it may be ended before its time.
    pub(super) fn watch(&mut self, reader: &mut Reader, head: &dyn Head) -> bool {
        let Some(mut watch) = self.watch.take() else { return false };
        let is_stream = reader.found().is_stream;
        // A list is told from a whole answer by its first byte only, but nobody knows its length in advance.
        if !is_stream && head.header("content-length").is_some() {
            return false;
        }
        let can_end = reader.prepare_ending();
        if can_end && head.property(&FINISHER).is_some() {
            // The finisher ends the response before that matters.
            watch.drain_for = Span::MAX;
        }
        self.watch = (can_end || is_stream).then_some(watch);
        can_end
    }

    /// Goes on with a stream, or stops it, if a budget is spent. `piece` is the last piece that came; what is to pass of it is among the
    /// effects.
    pub(super) fn stopped_at_limit(
        mut self: Box<Self>,
        piece: &[u8],
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        let Some((limit, used)) = self.overspent(config, means) else { return State::Sent(self) };
        let labels = Labels { limit: Some(limit.name.clone()), ..self.labels("") };
        let cut = Cut { model: &self.model, used, hides_usage: self.hide_usage };
        let Outcome::Answered { reader, .. } = &self.outcome else { return State::Sent(self) };
        let ended = reader.end(effects.piece.as_deref().unwrap_or(piece), &cut);
        if !reader.has_ending() {
            effects.count(&metrics::STREAMS_UNSTOPPABLE, &labels, 1);
            self.watch = None;
        }
        let Some(ended) = ended else { return State::Sent(self) };
        effects.piece = Some(ended);
        effects.count(&metrics::STREAMS_STOPPED, &labels, 1);
        effects.facts.push((Fact::StoppedBy, limit.name.to_string()));
        let Watch { caller, drain_for, .. } = self.watch.take().map(|watch| *watch).unwrap_or_default();
        effects.log.push(self.log_line(&caller, &limit, &used));
        self.settle_stopped(config, means, effects);
        State::Stopped(Drain { until: means.ledger.now() + drain_for })
    }

    /// The limit whose budget is spent, and what was used so far; none if the stream may go on.
    fn overspent(&mut self, config: &Config, means: &mut Means<'_>) -> Option<(Rc<Limit>, Usage)> {
        let Outcome::Answered { reader, .. } = &self.outcome else { return None };
        let watch = self.watch.as_mut()?;
        if self.estimate.output_is_known {
            return None;
        }
        let written = watch.count(reader.found(), &self.model, config, means);
        let (rates, seen) = (&self.estimate.rates, &watch.seen);
        let used = with_written(&self.estimate, reader.found(), written);
        let grown = used.all_output().saturating_sub(seen.all_output());
        let is_worth_it = (grown >= LOOK_EVERY && self.reservation.is_mostly_used(&used, rates))
            || self.reservation.is_worth_a_look(seen, &used, rates);
        if !is_worth_it {
            return None;
        }
        watch.seen = used;
        let grace = config.streams.grace;
        self.reservation.overspent(&used, &self.estimate.rates, grace, means.ledger)?;
        // What was counted in parts may be off by a few tokens; no stream is stopped for that.
        let Outcome::Answered { reader, .. } = &self.outcome else { return None };
        let exact = self.counted(reader.found(), config, means);
        let limit = self.reservation.overspent(&exact, &self.estimate.rates, grace, means.ledger)?;
        Some((limit, exact))
    }

    /// What an operator needs to understand why a stream was stopped: no text, and of secrets only their hashes.
    fn log_line(&self, caller: &Caller, limit: &Limit, used: &Usage) -> String {
        let subject = Subject { caller, model: &self.model, api: self.format.name, body: b"" };
        json!({
            "event": "stopped",
            "tier": &*self.tier.name,
            "limit": &*limit.name,
            "counts": limit.counts.name,
            "per": dimensions(limit, &subject),
            "api": self.format.name,
            "model": super::request::logged(&self.model),
            "max": limit.shape.max.0,
            "used": (limit.counts.amount)(used, &self.estimate.rates).0,
        })
        .to_string()
    }
}

impl Drain {
    /// Discards a piece, and resets the stream when its time is over, unless the piece ends it.
    pub(super) fn take(self, piece: &[u8], last: bool, now: Timestamp, effects: &mut Effects) {
        effects.piece = Some(Vec::new());
        effects.reset = !last && now >= self.until;
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        effects.count(&metrics::DRAINED_BYTES, &Labels::default(), bytes);
        if effects.reset {
            effects.count(&metrics::STREAMS_CUT, &Labels::default(), 1);
        }
    }
}
