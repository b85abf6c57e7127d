//! A WebSocket of an LLM API: each response in it is a call of its own.
//!
//! In: the bytes of both sides as they pass. Out: the bytes to pass on instead, and the effects of
//! the responses. Not here: frames (`websocket`), the meaning of messages (`api::sockets`), limits.
//!
//! ```text
//! client ──▶ response.create ──▶ admission ──▶ upstream      as for a call by HTTP
//!                                    └──▶ error event         refused: the message is dropped
//! client ◀── events of the response ◀── upstream              usage read, settled at the last one
//! ```
//!
//! The handshake takes the slots of calls in flight for as long as the connection lasts. A response
//! that waits, for its budgets or for the rate limit service, holds back all that its client sends
//! after it.
//!
//! A response that the server begins by itself cannot be refused any more. It is charged whatever
//! it costs; if its budgets have no room, it is cancelled and its client gets the error.
//!
//! The files: the client's side ([`client`]), the server's ([`server`]), one response
//! ([`response`]), the frames of a direction ([`direction`]).
//!
//! The host can change the bytes of a direction only when some pass. To send a frame to a silent
//! side, the filter pings the other one, and puts the frame in place of the pong ([`direction`]).

mod client;
mod direction;
mod response;
mod server;

use std::rc::Rc;

use super::Event;
use super::call::{Call, OnSocket, kind};
use super::context::{Abort, Context};
use super::effects::Effects;
use super::fact::{Fact, Value};
use super::state::Wanted;
use crate::api::sockets::{Asked, Cancel, Conversation, Metering, Refused};
use crate::api::{self, Usage};
use crate::limits::{Reservation, Standing};
use crate::metrics::{self, Labels};
use crate::reply::Reply;
use crate::rls::Failure;
use crate::settings::Config;
use crate::websocket::{Control, ControlKind};
use client::Held;
use direction::Direction;
use response::{Begun, Response};

/// A policy is violated (RFC 6455, section 7.4.1): the code with which a socket is closed that must
/// not go on.
const POLICY: u16 = 1008;

/// The protocol is violated (RFC 6455, section 7.4.1).
const PROTOCOL: u16 = 1002;

/// A message is too big (RFC 6455, section 7.4.1).
const TOO_BIG: u16 = 1009;

/// An upgraded connection, or one that is about to be.
pub(super) struct Socket {
    /// The call of each response, as the handshake describes it.
    call: Call,
    /// The slots of calls in flight.
    slots: Reservation,
    conversation: Box<dyn Conversation>,
    /// From the client, and to the server.
    up: Direction,
    /// From the server, and to the client.
    down: Direction,
    responses: Vec<Response>,
    /// The response that waits.
    held: Option<Held>,
    /// The client's bytes behind it, and behind one that waited until now.
    unread: Vec<u8>,
    /// The number of the last response.
    last: usize,
    /// The sums of the responses' facts.
    facts: Vec<(Fact, Value)>,
    /// The tools that the conversation offers to each response.
    tools: Rc<[String]>,
    /// The standing of the budgets when the last response was admitted.
    standings: Vec<Standing>,
    /// Whether the message of the server that is too long to be held is dropped.
    drops_oversized: bool,
    is_open: bool,
    /// How it ends, once that is known; nothing but closing frames passes any more if Tollgate
    /// ends it.
    ending: Option<Ending>,
}

/// How a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    ClosedByClient,
    ClosedByServer,
    /// Closed by Tollgate, because its budgets are exhausted.
    OverLimit,
    /// Closed by Tollgate, because the client's frames are not valid.
    Invalid,
}

impl Socket {
    /// Creates the socket that a call asks for with `upgrade`.
    pub(super) fn new(call: Call, metering: &'static Metering, slots: Reservation, config: &Config) -> Self {
        let bound = bound(config);
        Self {
            call,
            slots,
            conversation: (metering.begin)(),
            up: Direction::from_client(bound),
            down: Direction::from_server(bound),
            responses: Vec::new(),
            held: None,
            unread: Vec::new(),
            last: 0,
            facts: Vec::new(),
            tools: Rc::default(),
            standings: Vec::new(),
            drops_oversized: false,
            is_open: false,
            ending: None,
        }
    }

    pub(super) fn wants(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::RequestPieces | Wanted::ResponsePieces | Wanted::End => true,
            Wanted::ResponseHead => !self.is_open,
            Wanted::Due => self.held.is_some(),
            Wanted::Answers => {
                let held = self.held.as_ref().map(|held| &held.response);
                self.responses.iter().chain(held).any(Response::is_asking)
            }
            Wanted::RequestBody => false,
        }
    }

    /// Returns whether the client's bytes are held.
    pub(super) const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Handles the answer to the handshake. Returns whether the connection is upgraded.
    pub(super) fn open(&mut self, status: u16) -> bool {
        // HTTP/2 answers an extended CONNECT with a 2xx (RFC 8441).
        self.is_open = status == 101 || (200..300).contains(&status);
        self.is_open
    }

    /// Handles an answer of the rate limit service.
    pub(super) fn on_answer(
        &mut self,
        question: usize,
        answer: Result<&[u8], Failure>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let (number, place) = response::question(question);
        let event = Event::Answered { question: place, answer };
        if self.held.as_ref().is_some_and(|held| held.response.number == number) {
            return self.look_again(event, config, context, effects);
        }
        if let Some(response) = self.responses.iter_mut().find(|response| response.number == number) {
            let begun = response.go_on(event, config, context, effects);
            if let Begun::Waits(next) = begun {
                effects.next = next;
            }
        }
    }

    /// Settles every response, and gives the slots back.
    pub(super) fn end(
        mut self: Box<Self>,
        abort: Option<Abort>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let held = self.held.take().map(|held| held.response);
        for mut response in self.responses.drain(..).chain(held) {
            response.end(abort, config, context, effects);
        }
        core::mem::take(&mut self.slots).release(context.budgets);
        let ending = match (self.ending, abort) {
            _ if !self.is_open => "not_upgraded",
            (Some(Ending::ClosedByClient), _) => "client_close",
            (Some(Ending::ClosedByServer), _) => "server_close",
            (Some(Ending::OverLimit), _) => "over_limit",
            (Some(Ending::Invalid), _) => "invalid",
            (None, Some(Abort::Client)) => "client_abort",
            (None, _) => "upstream_reset",
        };
        let labels = Labels { tier: Some(self.call.tier.name.clone()), ..kind(ending) };
        effects.count(&metrics::SOCKETS, &labels, 1);
        self.sum_facts(effects);
    }

    /// Adds the facts of responses to those of the connection.
    pub(super) fn sum_facts(&mut self, effects: &mut Effects) {
        for (fact, value) in &mut effects.facts {
            match self.facts.iter_mut().find(|(known, _)| known == fact) {
                Some((_, sum)) => {
                    sum.add(value.clone());
                    value.clone_from(sum);
                }
                None => self.facts.push((*fact, value.clone())),
            }
        }
    }

    /// Passes frames, unless Tollgate ends the connection.
    fn pass(&self, frames: &[u8], out: &mut Vec<u8>) {
        if !self.is_over() {
            out.extend_from_slice(frames);
        }
    }

    /// Returns whether Tollgate has ended the connection.
    const fn is_over(&self) -> bool {
        matches!(self.ending, Some(Ending::OverLimit | Ending::Invalid))
    }

    fn on_control(&mut self, control: &Control<'_>, out: &mut Vec<u8>, is_client: bool) {
        let other = if is_client { &mut self.down } else { &mut self.up };
        match control.kind {
            ControlKind::Pong if other.takes_pong(&control.payload()) => return,
            ControlKind::Close { .. } => {
                let ending = if is_client { Ending::ClosedByClient } else { Ending::ClosedByServer };
                self.ending.get_or_insert(ending);
            }
            ControlKind::Ping | ControlKind::Pong => {}
        }
        self.pass(&control.raw, out);
    }

    /// Tells the client that a response is refused, or closes the socket if its API cannot.
    fn refuse(&mut self, reply: &Reply, asked: &Asked<'_>, random: u32) {
        let Reply { status, fields, body, .. } = reply;
        match self.conversation.error(&Refused { status: *status, body, fields, asked }) {
            Some(event) => self.down.insert_message(&event, random),
            None => self.close(POLICY, &reply.message(), Ending::OverLimit, random),
        }
    }

    /// Asks the server to stop a response, if its API can.
    fn cancel(&mut self, id: Option<&str>, random: u32) {
        match self.conversation.cancel(id) {
            Cancel::Message(message) => self.up.insert_message(&message, random),
            Cancel::Close => self.close(POLICY, "A budget is exhausted.", Ending::OverLimit, random),
            Cancel::Not => {}
        }
    }

    /// Closes both sides. Nothing else passes any more.
    fn close(&mut self, code: u16, reason: &str, ending: Ending, random: u32) {
        if self.ending.is_some() {
            return;
        }
        self.ending = Some(ending);
        self.up.close(code, reason, random);
        self.down.close(code, reason, random);
    }

    fn model(&self) -> Option<String> {
        self.call.api.model.clone().or_else(|| self.conversation.model().map(str::to_owned))
    }

    /// Returns the call of one response, which reads this context besides its request.
    fn call_of_response(&self, context: Usage, has_begun: bool) -> Call {
        let api = api::Call::on_socket(self.call.format(), self.model());
        let on_socket = Some(Box::new(OnSocket { context, tools: self.tools.clone(), has_begun }));
        Call { api, on_socket, passes: has_begun, ..self.call.clone() }
    }

    /// Adds a response that goes on.
    fn add(&mut self, response: Response) {
        let standings = response.standings();
        if !standings.is_empty() {
            self.standings = standings.to_vec();
        }
        self.responses.push(response);
    }

    fn next_number(&mut self) -> usize {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}

/// Returns the most bytes that a socket holds of one message, and behind a response that waits.
fn bound(config: &Config) -> usize {
    usize::try_from(config.counting.hold_up_to).unwrap_or(usize::MAX)
}
