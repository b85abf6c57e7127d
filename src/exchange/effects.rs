//! Effects: the host calls that an event asks for.
//!
//! In: the state machine's decisions. Out: [`Effects`]. Not here: how they are carried out.

use std::borrow::Cow;

use super::fact::{Fact, Value};
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
    /// Changes of the current headers: the request's after a request event, otherwise the
    /// response's.
    pub headers: Vec<HeaderEdit>,
    /// Changes of the request's body, which also change its length.
    pub body: Vec<Edit>,
    /// Bytes to pass on instead of the piece: of the response, or of a request that is a socket's.
    pub piece: Option<Vec<u8>>,
    /// Whether to reset the response, with the rest of it.
    pub reset: bool,
    /// Values for access logs.
    pub facts: Vec<(Fact, Value)>,
    /// Increments of metrics.
    pub counts: Vec<Count>,
    /// Lines for Envoy's log.
    pub log: Vec<String>,
    /// Warnings for Envoy's log. A process logs each topic once.
    pub warnings: Vec<Warning>,
    /// Tasks at the rate limit service, to be done soon, without waiting for them.
    pub tasks: Vec<Task>,
    /// The next step of the exchange.
    pub next: Next,
}

/// A change of one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    /// Set it and replace all others of its name.
    Set(Cow<'static, str>, Cow<'static, [u8]>),
    /// Remove all headers of this name.
    Remove(Cow<'static, str>),
}

impl HeaderEdit {
    /// Sets a header to a text.
    pub(super) fn set(name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = match value.into() {
            Cow::Borrowed(text) => text.as_bytes().into(),
            Cow::Owned(text) => text.into_bytes().into(),
        };
        Self::Set(name.into(), value)
    }
}

/// The next step of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// Let it pass.
    #[default]
    Pass,
    /// Hold the request until its body has arrived.
    ReadBody,
    /// Ask the rate limit service; each answer is an event of its own.
    Ask {
        /// The questions to send now; none while answers are outstanding.
        questions: Vec<Ask>,
        /// Whether the request waits for the answers. Otherwise it goes on meanwhile, and can still
        /// be refused until a response comes.
        hold: bool,
    },
    /// Hold the request until then, and check it again.
    Wait {
        /// The time at which its budgets will have room.
        until: Timestamp,
    },
    /// Reply from the filter.
    Reply(Reply),
}

/// A question to send to the rate limit service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its number within the exchange, which [`super::Event::Answered`] repeats.
    pub place: usize,
    /// The question.
    pub question: Question,
    /// The longest wait for its answer.
    pub timeout: Span,
}

/// The number of counts at the end of a usual call.
const USUAL_COUNTS: usize = 8;

impl Effects {
    pub(super) fn count(&mut self, metric: &'static Metric, labels: &Labels, by: u64) {
        if by > 0 {
            if self.counts.is_empty() {
                self.counts.reserve(USUAL_COUNTS);
            }
            self.counts.push(Count { metric, labels: labels.clone(), by });
        }
    }

    /// Adds a word to a fact that lists several.
    pub(super) fn add_to_fact(&mut self, fact: Fact, word: &str) {
        match self.facts.iter_mut().find(|(known, _)| *known == fact) {
            Some((_, value)) => value.add_word(word),
            None => self.facts.push((fact, Value::Text(word.to_owned()))),
        }
    }

    /// Adds the effects of a part of the exchange that concern neither its bytes nor its next step.
    pub(super) fn absorb(&mut self, part: Self) {
        self.facts.extend(part.facts);
        self.counts.extend(part.counts);
        self.log.extend(part.log);
        self.warnings.extend(part.warnings);
        self.tasks.extend(part.tasks);
    }

    pub(super) fn set_headers(&mut self, fields: Fields) {
        self.headers.extend(fields.into_iter().map(|(name, value)| HeaderEdit::set(name, value)));
    }

    /// Counts the table's work for this event.
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
