//! One HTTP exchange as a state machine: [`Event`]s in, [`Effects`] out, the time given.
//!
//! ```text
//!            RequestHead            RequestBody            Answered              Due              ResponsePiece(last) | End
//!   New ───────────────▶ Reading ───────────────▶ Asking ────────────▶ Waiting ─────────▶ Sent ───────────────────────────────▶ Done
//!    │                      │   └── no global limits, or leased ──┴── nothing to wait for ──▶ Sent ── a budget is spent ──▶ Stopped ──▶ Done
//!    └── not an LLM call, ──┴── refused ──▶ Done ◀── refused ──┘
//! ```
//!
//! `Asking` waits for the rate limit service, with the local budgets reserved; `Waiting` for what
//! was reserved to flow back. `Stopped` throws away what comes behind the ending that the client
//! got in place of the rest of a stream, and in the end resets it.
//!
//! # Contract
//!
//! - Events come in the order of an exchange; any of them may be missing but [`Event::End`], which comes last, at every
//!   ending. An event that does not fit the state has no effects.
//! - All effects of an event are to be carried out before the next event; those that the host cannot carry out are
//!   lost without harm to the budgets.
//! - A reservation is held only in `Asking`, `Waiting` and `Sent`, and leaves them exactly once, as a settlement or given back; a
//!   place among the calls in flight also in `Reading`. A VM that dies runs no `End`: what its calls held stays charged until it has
//!   flowed back with their windows.
//! - After [`Next::Wait`] there is an [`Event::Due`] at that time, or later, or earlier now and then.
//! - After [`Next::Ask`] there is one [`Event::Answered`] for each question, in any order, unless
//!   the exchange ends first. The last of them may lead to more questions.
//!
//! Not here: the host, how bytes are read (`api`), how budgets work (`limits`), what refusals look like (`reply`).

mod asking;
mod busy;
mod deciding;
mod effects;
mod request;
mod response;
mod settle;
mod softening;
mod stop;
mod tools;
mod waiting;
mod warning;
mod workflows;

use std::rc::Rc;

pub use effects::{Ask, Effects, Fact, HeaderEdit, Next};
use stop::Drain;
pub use warning::Warning;

use crate::identity::Head;
use crate::limits::Ledger;
use crate::metrics::ModelLabels;
use crate::rls::{Breaker, Failure};
use crate::settings::Config;
use crate::tokens::Counter;

/// What happens to an exchange.
pub enum Event<'a> {
    /// The request's headers have come.
    RequestHead {
        /// The headers and attributes.
        head: &'a dyn Head,
        /// Whether there is no body.
        ended: bool,
    },
    /// The whole request body has come; only after [`Next::ReadBody`].
    RequestBody {
        /// The body.
        body: &'a [u8],
        /// What of the request can still be changed.
        editable: Editable,
    },
    /// The rate limit service has answered, or will not.
    Answered {
        /// Which of the questions, by its [`Ask::place`].
        question: usize,
        /// The message, or why there is none.
        answer: Result<&'a [u8], Failure>,
    },
    /// A call that waits may be able to go on.
    Due,
    /// A piece of a request body that passes has come; only while [`Exchange::is_watching`].
    RequestPiece {
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The response's headers have come.
    ResponseHead {
        /// The status; 1xx are not reported.
        status: u16,
        /// The headers.
        head: &'a dyn Head,
        /// Whether there is no body.
        ended: bool,
    },
    /// A piece of the response's body has come.
    ResponsePiece {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the response ends here.
        last: bool,
    },
    /// The exchange is over.
    End {
        /// Who ended it, if it did not end by itself.
        abort: Option<Abort>,
    },
}

/// What of a request can still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Editable {
    /// Nothing: its headers have been sent on, and with them its body's length.
    Nothing,
    /// Its body: its headers have been sent on, but tell no length.
    Body,
    /// Its body and its headers.
    All,
}

/// How an exchange is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The client went away.
    Client,
    /// The upstream, or the way to it, broke.
    Upstream,
}

/// What the machine works with besides events.
pub struct Means<'a> {
    /// The budgets, and the time.
    pub ledger: &'a Ledger<'a>,
    /// Counts tokens.
    pub counter: &'a mut Counter,
    /// Models that have a label in metrics.
    pub models: &'a mut ModelLabels,
    /// A random number, new for each event.
    pub jitter: u32,
    /// Whether to ask the rate limit service; none if none is configured.
    pub breaker: Option<&'a mut Breaker>,
}

/// One exchange.
pub struct Exchange {
    config: Rc<Config>,
    state: State,
}

enum State {
    New,
    Reading(Box<request::Reading>),
    Asking(Box<asking::Asking>),
    Waiting(Box<waiting::Waiting>),
    Sent(Box<response::Sent>),
    /// Settled, and its answer ended; the upstream may not know yet.
    Stopped(Drain),
    Done,
}

impl Exchange {
    /// An exchange under this configuration, which it keeps to its end.
    #[must_use]
    pub const fn new(config: Rc<Config>) -> Self {
        Self { config, state: State::New }
    }

    /// Takes the next event; see the module's contract.
    pub fn handle(&mut self, event: Event<'_>, means: &mut Means<'_>) -> Effects {
        let mut effects = Effects::default();
        self.state.notice_small_buffer(&event, self.config.counting.hold_up_to, &mut effects);
        let state = core::mem::replace(&mut self.state, State::Done);
        self.state = match (state, event) {
            (State::New, Event::RequestHead { head, ended }) => {
                request::read_head(&self.config, head, ended, means, &mut effects)
            }
            (State::Reading(reading), Event::RequestBody { body, editable }) => {
                reading.decide(&self.config, body, editable, means, &mut effects)
            }
            (State::Reading(reading), Event::End { .. }) => {
                reading.end(means);
                State::Done
            }
            (State::Waiting(waiting), Event::Due) => waiting.look_again(&self.config, means, &mut effects),
            (State::Waiting(waiting), Event::End { abort }) => {
                waiting.end(abort, &self.config, means, &mut effects);
                State::Done
            }
            (State::Asking(asking), Event::Answered { question, answer }) => {
                asking.hear(&self.config, question, answer, means, &mut effects)
            }
            (State::Asking(mut asking), Event::RequestPiece { bytes }) => {
                asking.sent.read_request_piece(bytes, &self.config);
                State::Asking(asking)
            }
            (State::Asking(asking), Event::ResponseHead { status, head, ended }) => {
                let mut sent = asking.go_on(&self.config, means, &mut effects);
                sent.read_head(status, head, means.ledger.now(), &mut effects);
                sent.heed(status, head, means, &mut effects);
                sent.settled_if(ended, &self.config, means, &mut effects)
            }
            (State::Asking(asking), Event::End { abort }) => {
                asking.end(abort, &self.config, means, &mut effects);
                State::Done
            }
            (State::Sent(mut sent), Event::RequestPiece { bytes }) => {
                sent.read_request_piece(bytes, &self.config);
                State::Sent(sent)
            }
            (State::Sent(mut sent), Event::ResponseHead { status, head, ended }) => {
                sent.read_head(status, head, means.ledger.now(), &mut effects);
                sent.heed(status, head, means, &mut effects);
                sent.settled_if(ended, &self.config, means, &mut effects)
            }
            (State::Sent(mut sent), Event::ResponsePiece { bytes, last }) => {
                sent.read_piece(bytes, last, &mut effects);
                if last {
                    sent.settled_if(true, &self.config, means, &mut effects)
                } else {
                    sent.stopped_at_limit(bytes, &self.config, means, &mut effects)
                }
            }
            (State::Stopped(drain), Event::ResponsePiece { bytes, last }) => {
                drain.take(bytes, last, means.ledger.now(), &mut effects);
                State::Stopped(drain)
            }
            (State::Sent(sent), Event::End { abort }) => {
                sent.settle(abort, &self.config, means, &mut effects);
                State::Done
            }
            (_, Event::End { .. }) => State::Done,
            (state, _) => state,
        };
        effects.count_tally(means.ledger);
        effects
    }

    /// Whether the exchange waits for the request's body.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        matches!(self.state, State::Reading(_))
    }

    /// Whether it wants to see the request's body as it passes.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        match &self.state {
            State::Sent(sent) => sent.form.is_some(),
            State::Asking(asking) => asking.sent.form.is_some(),
            State::New | State::Reading(_) | State::Waiting(_) | State::Stopped(_) | State::Done => false,
        }
    }

    /// Whether it waits for the rate limit service.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking(_))
    }

    /// Whether it waits for its budgets.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether pieces of the response matter.
    #[must_use]
    pub const fn is_answering(&self) -> bool {
        matches!(self.state, State::Sent(_) | State::Stopped(_))
    }

    /// Whether the response, or the lack of one, matters: something is held for the call.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        match &self.state {
            State::Asking(_) | State::Waiting(_) | State::Sent(_) => true,
            State::Reading(reading) => reading.is_held(),
            State::New | State::Stopped(_) | State::Done => false,
        }
    }
}

#[cfg(test)]
mod tests;
