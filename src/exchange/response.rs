//! The response of an admitted call: usage is read while the bytes pass.
//!
//! In: the response's head and pieces. Out: budget headers, and replaced bytes if the chunk that
//! only reports usage is hidden. Not here: the settlement (`settle`), stopped streams (`stop`).

use super::admitted::Admitted;
use super::context::Context;
use super::effects::{Effects, HeaderEdit};
use super::watch::Watch;
use crate::api::Pause;
use crate::api::answer::{Found, Reader};
use crate::identity::Head;
use crate::metrics;
use crate::reply;
use crate::settings::{Config, Headers};
use crate::units::Span;

/// The attribute that shows that the finisher is loaded (`finisher`).
const FINISHER: [&str; 2] = ["filter_state", "tollgate.finisher"];

/// A call that has gone upstream.
pub(super) struct Responding {
    pub(super) admitted: Box<Admitted>,
    pub(super) outcome: Outcome,
    /// Checks the budgets while the answer passes, if it may be stopped.
    pub(super) watch: Option<Box<Watch>>,
}

/// The progress of the response.
pub(super) enum Outcome {
    /// No response yet.
    Unanswered,
    /// A status that is not 2xx: the call is charged only its request.
    Failed,
    /// An answer, as far as it has arrived.
    Answered { reader: Box<Reader>, complete: bool },
}

impl Responding {
    pub(super) fn new(admitted: Box<Admitted>, config: &Config) -> Self {
        // Answers of MCP servers are not stopped.
        let may_stop = config.streams.stop_at_limit && admitted.called.is_none();
        let watch = may_stop.then(|| Box::new(Watch::new(&config.streams)));
        Self { admitted, outcome: Outcome::Unanswered, watch }
    }

    /// Handles the response's head.
    pub(super) fn read_head(
        &mut self,
        status: u16,
        head: &dyn Head,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        self.tell_standings(head, &config.headers, context, effects);
        let is_success = (200..300).contains(&status);
        if is_success {
            self.begin_answer(head, effects);
        } else {
            self.outcome = Outcome::Failed;
        }
        self.observe_upstream(status, is_success, head, context, effects);
    }

    /// Replaces the provider's rate limit headers by those of the caller's own budgets.
    fn tell_standings(
        &self,
        head: &dyn Head,
        headers: &Headers,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        let admitted = &self.admitted;
        let dialect = admitted.call.format().dialect;
        let fields = reply::standing_fields(dialect, headers, &admitted.standings, context.now());
        head.each_name(&mut |name| {
            let is_ours = || fields.iter().any(|(ours, _)| ours.as_bytes() == name);
            if reply::tells_standing(name) && !is_ours() {
                let name = String::from_utf8_lossy(name).into_owned();
                effects.headers.push(HeaderEdit::Remove(name.into()));
            }
        });
        effects.set_headers(fields);
        effects.headers.extend(admitted.response_headers.iter().cloned());
    }

    /// Begins the answer of a response on a socket, whose documents are messages, if it has not
    /// begun.
    pub(super) fn begin_messages(&mut self) {
        if !matches!(self.outcome, Outcome::Unanswered) {
            return;
        }
        let mut reader = Reader::of_messages(self.admitted.call.format());
        if !reader.prepare_ending() {
            self.watch = None;
        }
        self.outcome = Outcome::Answered { reader: Box::new(reader), complete: false };
    }

    fn begin_answer(&mut self, head: &dyn Head, effects: &mut Effects) {
        let mut reader = Reader::new(self.admitted.call.format(), head, self.admitted.hides_usage);
        let may_end = self.keep_watch(&mut reader, head);
        if reader.is_hiding() || may_end {
            // The upstream's length includes the chunk that will be removed, or the bytes after an
            // ending.
            effects.headers.push(HeaderEdit::Remove("content-length".into()));
        }
        self.outcome = Outcome::Answered { reader: Box::new(reader), complete: false };
    }

    /// Keeps the watch only if the answer can be stopped. Returns whether it can be ended early.
    fn keep_watch(&mut self, reader: &mut Reader, head: &dyn Head) -> bool {
        let Some(mut watch) = self.watch.take() else { return false };
        let is_stream = reader.found().is_stream;
        // Only its first byte distinguishes a list from a whole answer, but the length of a list is
        // not known in advance.
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

    /// Records what the head of an answer reveals about its upstream.
    fn observe_upstream(
        &self,
        status: u16,
        is_success: bool,
        head: &dyn Head,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        let (admitted, now) = (&self.admitted, context.now());
        if is_success {
            if let Some(upstream) = &admitted.upstream {
                upstream.observe_success(context);
            }
            return;
        }
        let Some(pause) = Pause::asked_for(status, head, now).filter(|_| is_of_upstream(head)) else {
            return;
        };
        for limit in admitted.charges.here().slow_down(context.budgets) {
            effects.count(&metrics::RATE_DECREASES, &admitted.call.labels_of(&limit, &admitted.label), 1);
        }
        let Some(upstream) = &admitted.upstream else { return };
        effects.count(&metrics::UPSTREAM_BUSY, &admitted.labels("told"), 1);
        if let Some((true, until)) = upstream.observe_pause(pause, context) {
            let line = upstream.busy_for(until.since(now)).log_line("upstream_busy", &admitted.model);
            effects.log.push(line);
        }
    }

    /// Handles a piece of the response's body.
    pub(super) fn read_piece(&mut self, piece: &[u8], last: bool, effects: &mut Effects) {
        let Outcome::Answered { reader, .. } = &mut self.outcome else { return };
        effects.piece = reader.feed(piece);
        if last && let Some(held) = reader.finish() {
            effects.piece.get_or_insert_with(|| piece.to_vec()).extend(held);
        }
    }

    /// Marks the response as complete.
    pub(super) fn complete(&mut self) {
        if let Outcome::Answered { complete, .. } = &mut self.outcome {
            *complete = true;
        }
    }

    /// Returns the findings in the answer, if there is one.
    pub(super) fn found(&self) -> Option<&Found> {
        match &self.outcome {
            Outcome::Answered { reader, .. } => Some(reader.found()),
            Outcome::Unanswered | Outcome::Failed => None,
        }
    }
}

/// Returns whether an answer is the upstream's own. The word is from Envoy's page "Response code
/// details".
fn is_of_upstream(head: &dyn Head) -> bool {
    head.property(&["response", "code_details"]).is_some_and(|details| details == b"via_upstream")
}
