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
    /// The models that have a label in metrics.
    pub models: &'a mut ModelLabels,
    /// A random number, new for each event.
    pub jitter: u32,
    /// Decides whether to ask the rate limit service; `None` if there is no service.
    pub breaker: Option<&'a mut Breaker>,
}

impl Context<'_> {
    /// Returns the time of the event.
    pub(super) const fn now(&self) -> Timestamp {
        self.budgets.now()
    }
}

/// The parts of a request that can still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editable {
    /// None: its headers have gone on, with the length of its body.
    Nothing,
    /// Its body: its headers have gone on, without a length.
    Body,
    /// Its body and its headers.
    All,
}

/// The side that cut an exchange short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The client.
    Client,
    /// The upstream, or the connection to it.
    Upstream,
}

impl Abort {
    /// Returns the ending's label in metrics.
    pub(super) const fn ending(abort: Option<Self>) -> &'static str {
        match abort {
            Some(Self::Client) => "client_abort",
            Some(Self::Upstream) | None => "upstream_reset",
        }
    }
}
