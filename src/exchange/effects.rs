//! Effects: the host calls that an event asks for.
//!
//! In: the state machine's decisions. Out: [`Effects`]. Not here: how they are carried out.

use std::borrow::Cow;

use super::warning::Warning;
use crate::api::Edit;
use crate::limits::{Budgets, Tally};
use crate::metrics::{self, Count, Labels, Metric};
use crate::reply::{Fields, Reply};
use crate::rls::{Question, Task};
use crate::units::{Span, Timestamp};

/// Host calls after an event, in the order of the fields.
#[derive(Debug, Default)]
pub struct Effects {
    /// Changes of the headers at hand: the request's after a request event, else the response's.
    pub headers: Vec<HeaderEdit>,
    /// Changes of the request's body, whose length changes with them.
    pub body: Vec<Edit>,
    /// Bytes to pass on instead of the response piece.
    pub piece: Option<Vec<u8>>,
    /// The response is to be reset, with all that is left of it.
    pub reset: bool,
    /// Values for access logs.
    pub facts: Vec<(Fact, String)>,
    /// Increments of metrics.
    pub counts: Vec<Count>,
    /// Lines for Envoy's log.
    pub log: Vec<String>,
    /// Warnings for Envoy's log, of which one of each topic is told in a process.
    pub warnings: Vec<Warning>,
    /// Tasks at the rate limit service, to be done soon and without waiting for them.
    pub tasks: Vec<Task>,
    /// How the exchange goes on.
    pub next: Next,
}

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Set it, in place of all of its name.
    Set(Cow<'static, str>, Vec<u8>),
    /// Remove all of its name.
    Remove(Cow<'static, str>),
}

impl HeaderEdit {
    /// Sets a header to a text.
    pub(super) fn set(name: &'static str, value: impl Into<String>) -> Self {
        Self::Set(name.into(), value.into().into_bytes())
    }
}

/// How the exchange goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// It passes.
    #[default]
    Pass,
    /// The request is to be held until its body is there.
    ReadBody,
    /// The rate limit service is to be asked these; each answer is an event of its own.
    Ask {
        /// The questions to send now; none while answers are outstanding.
        questions: Vec<Ask>,
        /// Whether the request waits for the answers; else it goes on meanwhile, and can still be
        /// refused until a response comes.
        hold: bool,
    },
    /// The request is to be held until then, and is then looked at again.
    Wait {
        /// When what it needs will have flowed back.
        until: Timestamp,
    },
    /// It is answered from here.
    Reply(Reply),
}

/// A question to send to the rate limit service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number within the exchange, which [`super::Event::Answered`] repeats.
    pub place: usize,
    /// The question.
    pub question: Question,
    /// How long to wait for its answer.
    pub timeout: Span,
}

/// Facts for access logs, kept as filter state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The caller's tier.
    Tier,
    /// Input tokens counted before the call.
    CountedInput,
    /// Input tokens charged for.
    UsedInput,
    /// Output tokens charged for.
    UsedOutput,
    /// US dollars charged, where the model has a price.
    Cost,
    /// The limit that refused the call, or that it asked for an upgrade.
    RefusedBy,
    /// The limits whose budgets are used beyond their warning.
    Warning,
    /// The changes of the request.
    Softened,
    /// The limit at whose end the stream was stopped.
    StoppedBy,
}

impl Fact {
    /// Every fact.
    pub const ALL: [Self; 9] = [
        Self::Tier,
        Self::CountedInput,
        Self::UsedInput,
        Self::UsedOutput,
        Self::Cost,
        Self::RefusedBy,
        Self::Warning,
        Self::Softened,
        Self::StoppedBy,
    ];

    /// Its meaning, for the reference.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Tier => "the caller's tier",
            Self::CountedInput => "input tokens counted before the call",
            Self::UsedInput => "input tokens charged",
            Self::UsedOutput => "output tokens charged, including reasoning",
            Self::Cost => "US dollars charged, if there is a price list",
            Self::RefusedBy => "the limit that refused the call, or `protocol upgrade`",
            Self::Warning => "the limits whose budgets are used beyond `warn_at`, separated by commas",
            Self::Softened => "the changes of the request, as in `x-tollgate-softened`",
            Self::StoppedBy => "the limit that stopped the stream",
        }
    }

    /// The name of the filter state, behind `wasm.`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tier => "tollgate.tier",
            Self::CountedInput => "tollgate.input_tokens.counted",
            Self::UsedInput => "tollgate.input_tokens.used",
            Self::UsedOutput => "tollgate.output_tokens.used",
            Self::Cost => "tollgate.cost_usd",
            Self::RefusedBy => "tollgate.refused_by",
            Self::Warning => "tollgate.warning",
            Self::Softened => "tollgate.softened",
            Self::StoppedBy => "tollgate.stopped_by",
        }
    }
}

impl Effects {
    pub(super) fn count(&mut self, metric: &'static Metric, labels: &Labels, by: u64) {
        if by > 0 {
            self.counts.push(Count { metric, labels: labels.clone(), by });
        }
    }

    /// Adds a word to a fact that lists several.
    pub(super) fn add_to_fact(&mut self, fact: Fact, word: &str) {
        match self.facts.iter_mut().find(|(known, _)| *known == fact) {
            Some((_, words)) => {
                words.push(',');
                words.push_str(word);
            }
            None => self.facts.push((fact, word.to_owned())),
        }
    }

    pub(super) fn set_headers(&mut self, fields: Fields) {
        self.headers.extend(fields.into_iter().map(|(name, value)| HeaderEdit::set(name, value)));
    }

    /// Counts what the table had to do for this event.
    pub(super) fn count_tally(&mut self, budgets: &Budgets<'_>) {
        let tally = budgets.take_tally();
        if tally == Tally::default() {
            return;
        }
        let of_kind = |kind| Labels { kind, ..Labels::default() };
        self.count(&metrics::CAS_RETRIES, &Labels::default(), tally.retries);
        self.count(&metrics::EVICTIONS, &Labels::default(), tally.evictions);
        self.count(&metrics::OVERFLOWS, &Labels::default(), tally.overflows);
        if let Some(occupancy) = tally.occupancy {
            self.count(&metrics::TABLE_PLACES, &of_kind("taken"), occupancy.taken.into());
            self.count(&metrics::TABLE_PLACES, &of_kind("all"), occupancy.places.into());
            self.warnings.extend(occupancy.is_filling().then_some(Warning::TableFilling(occupancy)));
        }
        self.count(&metrics::STORE_FAILURES, &of_kind("reserve"), tally.failed_reservations);
        self.count(&metrics::STORE_FAILURES, &of_kind("settle"), tally.failed_settlements);
    }
}
