//! The context in which the steps of an exchange handle an event.

use crate::limits::Budgets;
use crate::metrics::ModelLabels;
use crate::rls::Breaker;
use crate::tokens::Counter;
use crate::units::Timestamp;

/// The context of an event.
pub struct Context<'a> {
    /// The budgets, and the time.
    pub budgets: &'a Budgets<'a>,
    /// Counts tokens.
    pub counter: &'a mut Counter,
    /// Models that have a label in metrics.
    pub models: &'a mut ModelLabels,
    /// A random number, new for each event.
    pub jitter: u32,
    /// Decides whether to ask the rate limit service; none if none is configured.
    pub breaker: Option<&'a mut Breaker>,
}

impl Context<'_> {
    /// The time of the event.
    pub(super) const fn now(&self) -> Timestamp {
        self.budgets.now()
    }
}

/// Which parts of a request can still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editable {
    /// None: its headers have gone on, and tell the length of its body.
    Nothing,
    /// Its body: its headers have gone on, but tell no length.
    Body,
    /// Its body and its headers.
    All,
}

/// Who cut an exchange short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The client.
    Client,
    /// The upstream, or the way to it.
    Upstream,
}

impl Abort {
    /// The ending as metrics name it.
    pub(super) const fn ending(abort: Option<Self>) -> &'static str {
        match abort {
            Some(Self::Client) => "client_abort",
            Some(Self::Upstream) | None => "upstream_reset",
        }
    }
}
