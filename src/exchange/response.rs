//! The response's half of an exchange: usage is read while the bytes pass.
//!
//! In: the response's head and pieces. Out: budget headers, and bytes to pass on instead where the chunk that only tells usage
//! is hidden. Not here: what the usage does to the budgets (`settle`), and streams that are stopped (`stop`).

use std::rc::Rc;

use super::busy::Upstream;
use super::request::Reading;
use super::stop::Watch;
use super::{Effects, HeaderEdit, Means, State};
use crate::api::Format;
use crate::api::Peek;
use crate::api::answer::{Reader, ToolsCalled};
use crate::identity::Head;
use crate::limits::{Estimate, Granted, Refusal, Reservation, Standing};
use crate::reply;
use crate::rls::Holding;
use crate::settings::Config;
use crate::tiers::Tier;
use crate::tokens::Counted;
use crate::units::Timestamp;

/// A call that has been sent on and holds a reservation.
pub(super) struct Sent {
    pub(super) tier: Rc<Tier>,
    pub(super) model: String,
    pub(super) label: Rc<str>,
    pub(super) estimate: Estimate,
    pub(super) reservation: Reservation,
    /// What it holds of global limits.
    pub(super) holding: Holding,
    /// What the call would have been refused by, if it did not wait.
    pub(super) waits_for: Option<Box<Refusal>>,
    pub(super) reserved_at: Timestamp,
    /// Headers that the response is to have besides.
    pub(super) added_headers: Vec<HeaderEdit>,
    /// The tools that the request calls by itself, if it is no LLM call.
    pub(super) called: Option<ToolsCalled>,
    pub(super) outcome: Outcome,
    /// A form that passes, in which the model is looked for.
    pub(super) form: Option<Peek>,
    /// What was counted of the input, before any correction, if that was all of it.
    pub(super) uncorrected: Option<Counted>,
    /// What is known of its upstream, if anything is remembered of upstreams.
    pub(super) upstream: Option<Box<Upstream>>,
    pub(super) format: &'static Format,
    /// Where its budgets stood when it was let through.
    pub(super) standings: Vec<Standing>,
    /// Whether usage was asked for that the client has not.
    pub(super) hide_usage: bool,
    /// Looks at its budgets while its answer passes, if that may be stopped.
    pub(super) watch: Option<Box<Watch>>,
}

/// How far the response has come.
pub(super) enum Outcome {
    /// Nothing of it is there.
    Unanswered,
    /// A status that is not 2xx: the call costs nothing but its request.
    Failed,
    /// An answer, as far as it has come.
    Answered { reader: Box<Reader>, complete: bool },
}

impl Sent {
    pub(super) fn new(
        reading: &Reading,
        model: &str,
        label: Rc<str>,
        estimate: Estimate,
        granted: Granted,
        now: Timestamp,
    ) -> Self {
        let Granted { reservation, standings, waits_for, .. } = granted;
        let outcome = Outcome::Unanswered;
        Self {
            tier: reading.tier.clone(),
            model: model.to_owned(),
            label,
            estimate,
            reservation,
            holding: Holding::default(),
            waits_for,
            reserved_at: now,
            added_headers: Vec::new(),
            called: None,
            outcome,
            form: None,
            uncorrected: None,
            upstream: None,
            format: reading.call.format,
            standings,
            hide_usage: false,
            watch: None,
        }
    }

    /// Gives back all that is held for a call that has not gone upstream.
    pub(super) fn release(self, config: &Config, means: &Means<'_>, effects: &mut Effects) {
        self.reservation.release(means.ledger);
        if let Some(service) = &config.global {
            self.holding.release(service, means.ledger, &mut effects.errands);
        }
    }

    /// Looks for the model in a form that passes. It could not be known when the call was decided on; what the call is worth is.
    pub(super) fn read_request_piece(&mut self, piece: &[u8], config: &Config) {
        let Some(form) = &mut self.form else { return };
        form.feed(piece);
        if let Some(model) = form.value().filter(|model| *model != self.model) {
            self.model = model.to_owned();
            self.estimate.rates = config.rates(model);
        }
    }

    pub(super) fn read_head(&mut self, status: u16, head: &dyn Head, now: Timestamp, effects: &mut Effects) {
        let dialect = self.format.dialect;
        let fields = reply::standing_fields(dialect, &self.standings, now);
        let mut theirs = Vec::new();
        head.each_name(&mut |name| {
            let is_ours = || fields.iter().any(|(ours, _)| ours.as_bytes() == name);
            if reply::tells_standing(name) && !is_ours() {
                theirs.push(String::from_utf8_lossy(name).into_owned().into());
            }
        });
        effects.headers.extend(theirs.into_iter().map(HeaderEdit::Remove));
        effects.set_headers(fields);
        effects.headers.append(&mut self.added_headers);
        if !(200..300).contains(&status) {
            self.outcome = Outcome::Failed;
            return;
        }
        let mut reader = Reader::new(self.format, head, self.hide_usage);
        let may_end = self.watch(&mut reader, head);
        if reader.is_hiding() || may_end {
            // The length told by the upstream counts the chunk that will be taken out, or what comes behind an ending.
            effects.headers.push(HeaderEdit::Remove("content-length".into()));
        }
        self.outcome = Outcome::Answered { reader: Box::new(reader), complete: false };
    }

    pub(super) fn read_piece(&mut self, piece: &[u8], last: bool, effects: &mut Effects) {
        let Outcome::Answered { reader, complete } = &mut self.outcome else { return };
        effects.piece = reader.feed(piece);
        if last {
            *complete = true;
            if let Some(held) = reader.finish() {
                effects.piece.get_or_insert_with(|| piece.to_vec()).extend(held);
            }
        }
    }

    /// Settles at the end of the response, before the client sees it: whoever has an answer can rely on the budget.
    pub(super) fn settled_if(
        mut self: Box<Self>,
        ended: bool,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) -> State {
        if !ended {
            return State::Sent(self);
        }
        if let Outcome::Answered { complete, .. } = &mut self.outcome {
            *complete = true;
        }
        self.settle(None, config, means, effects);
        State::Done
    }
}
