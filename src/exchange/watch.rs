//! Counts a stream's usage as it arrives.
//!
//! In: the text of an answer so far. Out: its tokens. Not here: stopping the stream (`stop`), the
//! count at its end (`settle`).
//!
//! Each text is counted once, a word as a whole with the space before it.

use super::context::Context;
use crate::api::answer::Found;
use crate::api::{Strays, Usage};
use crate::config::Ratio;
use crate::settings::{Config, Streams};
use crate::tokens::by_length;
use crate::units::Span;

/// The fewest bytes of text that are counted at once: about eight tokens.
const COUNT_EVERY: usize = 32;

/// The usage so far of a stream that may have to be stopped.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// How long its upstream may go on after the ending, if it is stopped.
    pub(super) drain_for: Span,
    /// The bytes of the text already counted, and their tokens.
    counted: usize,
    tokens: u64,
    /// The usage at the last check of the budgets.
    pub(super) seen: Usage,
    /// The correction of counts of this model's text, once it was read.
    factor: Option<Ratio>,
}

impl Watch {
    /// Creates the watch of a call whose answer has yet to come.
    pub(super) fn new(streams: &Streams) -> Self {
        Self { drain_for: streams.drain_for, ..Self::default() }
    }

    /// Counts the text so far, without its last words.
    pub(super) fn count(
        &mut self,
        found: &Found,
        model: &str,
        config: &Config,
        context: &mut Context<'_>,
    ) -> u64 {
        let exactness = &config.counting.exactness;
        let new = found.text.get(self.counted..).unwrap_or_default();
        if new.len() >= COUNT_EVERY {
            // Very long words are cut.
            let end = new.rfind(' ').filter(|end| *end >= COUNT_EVERY).unwrap_or(new.len());
            let text = new.get(..end).unwrap_or(new);
            self.tokens = self.tokens.saturating_add(context.counter.written(text, 0, model, exactness).0);
            self.counted = self.counted.saturating_add(text.len());
        }
        let uncounted = found.strays().map(Strays::len).fold(found.more_text, u64::saturating_add);
        let factor =
            *self.factor.get_or_insert_with(|| config.counting.calibration.factor(model, context.budgets));
        factor.of(self.tokens.saturating_add(by_length(uncounted)))
    }
}
