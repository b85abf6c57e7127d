//! One HTTP exchange as a state machine: [`Event`]s in, [`Effects`] out, the time given.
//!
//! ```text
//! state             event                        next state
//! New               RequestHead                  AwaitingBody (*)
//! AwaitingBody      RequestBody                  AwaitingDecision, Queued or Responding (*)
//! AwaitingDecision  Answered, the last one       Queued or Responding (*)
//! Queued            Due, nothing to wait for     Responding (*)
//! Responding        ResponsePiece, the last one  Done
//! Responding        ResponsePiece, over budget   Draining
//! any               End                          Done
//!
//! (*) or Done, if refused or not an LLM call; without a body, the step is skipped
//! ```
//!
//! A call in `AwaitingDecision` waits for the rate limit service, with its local budgets charged;
//! one that is `Queued` waits for its debts to be paid. `Draining` discards the rest of a stopped
//! stream after the ending that the client got, and finally resets it.
//!
//! # Contract
//!
//! - Events come in the order of an exchange. Any of them may be missing except [`Event::End`],
//!   which comes last, at every ending. An event that does not fit the state has no effects;
//!   [`Exchange::wants`] tells which ones matter.
//! - The host carries out all effects of an event before the next event. Effects that it cannot
//!   carry out are lost without harm to the budgets.
//! - The charges of a call leave `AwaitingDecision`, `Queued` and `Responding` exactly once,
//!   settled or given back; a slot of a call in flight also leaves `AwaitingBody`. A VM that dies
//!   runs no `End`: the charges of its calls stay until they have flowed back.
//! - After [`Next::Wait`] an [`Event::Due`] comes at that time, or later, and occasionally earlier.
//! - After [`Next::Ask`] one [`Event::Answered`] comes for each question, in any order, unless the
//!   exchange ends first. The last of them may lead to more questions.
//!
//! Not here: the host, reading bytes (`api`), budgets (`limits`), the form of refusals (`reply`).

mod admission;
mod admitted;
mod call;
mod charges;
mod context;
mod decision;
mod effects;
mod fact;
mod head;
mod parsed;
mod queue;
mod refusal;
mod response;
mod rpc;
mod settle;
mod socket;
mod softening;
mod standings;
mod state;
mod stop;
mod tools;
mod upstream;
mod warning;
mod watch;

use std::rc::Rc;

pub use context::{Abort, Context, Editable};
pub use effects::{Ask, Effects, HeaderEdit, Next};
pub use fact::{Fact, Value};
pub use state::Wanted;
pub use warning::Warning;

use crate::identity::Head;
use crate::metrics::{self, Labels};
use crate::rls::Failure;
use crate::settings::Config;
use response::Responding;
use socket::Socket;
use state::{AwaitingBody, State};

/// An event of an exchange.
pub enum Event<'a> {
    /// The request's headers have arrived.
    RequestHead {
        /// The headers and attributes.
        head: &'a dyn Head,
        /// Whether there is no body.
        ended: bool,
    },
    /// The whole request body has arrived; only after [`Next::ReadBody`].
    RequestBody {
        /// The body.
        body: &'a [u8],
        /// The parts of the request that can still be changed.
        editable: Editable,
    },
    /// The rate limit service has answered, or will not.
    Answered {
        /// The number of the question: its [`Ask::place`].
        question: usize,
        /// The message, or the reason why there is none.
        answer: Result<&'a [u8], Failure>,
    },
    /// A waiting call may be able to go on.
    Due,
    /// A piece of a request body that passes has arrived; only if it is [wanted](Exchange::wants).
    RequestPiece {
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The response's headers have arrived.
    ResponseHead {
        /// The status; 1xx are not reported.
        status: u16,
        /// The headers.
        head: &'a dyn Head,
        /// Whether there is no body.
        ended: bool,
    },
    /// On a socket: the server has begun the response.
    Begun,
    /// A piece of the response's body has arrived.
    ResponsePiece {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the response ends here.
        last: bool,
    },
    /// The exchange is over.
    End {
        /// The side that ended it, if it did not end normally.
        abort: Option<Abort>,
    },
}

/// One exchange.
pub struct Exchange {
    config: Rc<Config>,
    state: State,
}

impl Exchange {
    /// Creates an exchange under this configuration, which it keeps to its end.
    #[must_use]
    pub const fn new(config: Rc<Config>) -> Self {
        Self { config, state: State::New }
    }

    /// Handles the next event; see the module's contract.
    pub fn handle(&mut self, event: Event<'_>, context: &mut Context<'_>) -> Effects {
        let mut effects = Effects::default();
        self.notice_small_buffer(&event, &mut effects);
        let state = core::mem::replace(&mut self.state, State::Done);
        self.state = next(state, event, &self.config, context, &mut effects);
        effects.count_tally(context.budgets);
        effects
    }

    /// Returns whether the host holds the request, with the body received so far.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.holds_request()
    }

    /// Returns whether such an event matters now.
    #[must_use]
    pub fn wants(&self, wanted: Wanted) -> bool {
        self.state.wants(wanted)
    }

    /// Warns if Envoy itself has refused a call because its buffer is too small to hold it.
    fn notice_small_buffer(&self, event: &Event<'_>, effects: &mut Effects) {
        let Event::ResponseHead { status, head, .. } = event else { return };
        let hold_up_to = self.config.counting.hold_up_to;
        let warning = Warning::of_small_buffer(*status, *head, hold_up_to);
        if let Some(warning) = warning.filter(|_| self.is_held()) {
            effects.count(&metrics::BODIES_OVER_BUFFER, &Labels::default(), 1);
            effects.warnings.push(warning);
        }
    }
}

/// Returns the state after an event.
fn next(
    state: State,
    event: Event<'_>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    match (state, event) {
        (State::New, Event::RequestHead { head, ended }) => {
            admission::on_head(config, head, ended, context, effects)
        }
        (State::AwaitingBody(awaiting), Event::RequestBody { body, editable }) => {
            admission::on_body(*awaiting, body, editable, config, context, effects)
        }
        (State::AwaitingBody(awaiting), Event::End { .. }) => leave(*awaiting, context),
        (State::AwaitingDecision(decision), Event::Answered { question, answer }) => {
            let decided = decision.on_answer(config, question, answer, context, effects);
            admission::go_on(decided, config, context, effects)
        }
        (State::AwaitingDecision(mut decision), Event::RequestPiece { bytes }) => {
            decision.read_request_piece(bytes, config);
            State::AwaitingDecision(decision)
        }
        (State::AwaitingDecision(decision), Event::ResponseHead { status, head, ended }) => {
            let admitted = decision.go_on(config, context, effects);
            let responding = Box::new(Responding::new(admitted, config));
            on_response_head(responding, status, head, ended, config, context, effects)
        }
        (State::AwaitingDecision(decision), Event::Begun) => {
            let mut responding = Box::new(Responding::new(decision.go_on(config, context, effects), config));
            responding.begin_messages();
            State::Responding(responding)
        }
        (State::AwaitingDecision(decision), Event::End { abort }) if decision.holds_request() => {
            decision.end(abort, config, context, effects);
            State::Done
        }
        (State::AwaitingDecision(decision), Event::End { abort }) => {
            let admitted = decision.go_on(config, context, effects);
            let responding = Box::new(Responding::new(admitted, config));
            settle::settle(responding, abort, config, context, effects);
            State::Done
        }
        (State::Queued(queued), Event::Due) => {
            let queued = queued.look_again(context, effects);
            admission::send(queued, config, context, effects)
        }
        (State::Queued(queued), Event::End { abort }) => {
            queued.end(abort, config, context, effects);
            State::Done
        }
        (State::Responding(mut responding), Event::RequestPiece { bytes }) => {
            responding.admitted.read_request_piece(bytes, config);
            State::Responding(responding)
        }
        (State::Responding(responding), Event::ResponseHead { status, head, ended }) => {
            on_response_head(responding, status, head, ended, config, context, effects)
        }
        (State::Responding(responding), Event::ResponsePiece { bytes, last }) => {
            on_response_piece(responding, bytes, last, config, context, effects)
        }
        (State::Responding(responding), Event::End { abort }) => {
            settle::settle(responding, abort, config, context, effects);
            State::Done
        }
        (State::Draining(drain), Event::ResponsePiece { bytes, last }) => {
            drain.discard(bytes, last, context.now(), effects);
            State::Draining(drain)
        }
        (State::Socket(socket), event) => on_socket(socket, &event, config, context, effects),
        (_, Event::End { .. }) => State::Done,
        (state, _) => state,
    }
}

fn on_socket(
    mut socket: Box<Socket>,
    event: &Event<'_>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    match event {
        Event::RequestPiece { bytes } => socket.read_client(bytes, config, context, effects),
        Event::Answered { question, answer } => {
            socket.on_answer(*question, *answer, config, context, effects);
        }
        Event::Due => socket.look_again(Event::Due, config, context, effects),
        Event::ResponseHead { status, .. } if !socket.open(*status) => {
            socket.end(None, config, context, effects);
            return State::Done;
        }
        Event::ResponsePiece { bytes, .. } => socket.read_server(bytes, config, context, effects),
        Event::End { abort } => {
            socket.end(*abort, config, context, effects);
            return State::Done;
        }
        Event::RequestHead { .. } | Event::RequestBody { .. } | Event::ResponseHead { .. } | Event::Begun => {
        }
    }
    socket.sum_facts(effects);
    State::Socket(socket)
}

/// Ends a call before its body has arrived.
fn leave(awaiting: AwaitingBody, context: &Context<'_>) -> State {
    awaiting.granted.reservation.release(context.budgets);
    State::Done
}

fn on_response_head(
    mut responding: Box<Responding>,
    status: u16,
    head: &dyn Head,
    ended: bool,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    responding.read_head(status, head, config, context, effects);
    if ended { complete(responding, config, context, effects) } else { State::Responding(responding) }
}

fn on_response_piece(
    mut responding: Box<Responding>,
    bytes: &[u8],
    last: bool,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    responding.read_piece(bytes, last, effects);
    if last {
        return complete(responding, config, context, effects);
    }
    match stop::stop_at_limit(responding, bytes, config, context, effects) {
        Ok(drain) => State::Draining(drain),
        Err(responding) => State::Responding(responding),
    }
}

/// Settles at the end of the response, before the client sees it, so that a client with its answer
/// can rely on its budget.
fn complete(
    mut responding: Box<Responding>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> State {
    responding.complete();
    settle::settle(responding, None, config, context, effects);
    State::Done
}

#[cfg(test)]
mod tests;
