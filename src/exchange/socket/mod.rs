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
//! The host can change the bytes of a direction only when some pass. To say something to a silent
//! side, the filter pings the other one, and puts its words in place of the pong ([`direction`]).

mod direction;
mod response;

use crate::api::sockets::{
    Asked, Cancel, Conversation, FromClient, FromServer, Named, Phase, Refused, Speech,
};
use crate::api::{self, Edit, Prompt, Request, Usage};
use crate::limits::Reservation;
use crate::metrics::{self, Labels};
use crate::reply::Reply;
use crate::rls::Failure;
use crate::settings::Config;
use crate::websocket::{Control, ControlKind, Event as Frame, Message, data_frame};

use super::call::{Call, kind};
use super::context::{Abort, Context};
use super::effects::Effects;
use super::fact::{Fact, Value};
use super::state::Wanted;
use direction::Direction;
use response::{Begun, Response};

/// The most responses of one socket at the same time. OpenAI allows 16.
const MOST_RESPONSES: usize = 64;

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

/// A response that waits.
struct Held {
    response: Response,
    asked: Asked<'static>,
    /// The frames of its message.
    frames: Vec<u8>,
    /// The bytes that pass before it, which the host keeps as the request's body.
    before: Vec<u8>,
}

/// What becomes of a client's message.
enum Verdict {
    Pass,
    Replace(Vec<u8>),
    Drop,
    Hold(Box<Held>),
}

impl Socket {
    /// Creates the socket that a call asks for with `upgrade`.
    pub(super) fn new(call: Call, speech: &'static Speech, slots: Reservation, config: &Config) -> Self {
        let bound = usize::try_from(config.counting.hold_up_to).unwrap_or(usize::MAX);
        Self {
            call,
            slots,
            conversation: (speech.begin)(),
            up: Direction::from_client(bound),
            down: Direction::from_server(bound),
            responses: Vec::new(),
            held: None,
            unread: Vec::new(),
            last: 0,
            facts: Vec::new(),
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

    /// Handles bytes from the client.
    pub(super) fn read_client(
        &mut self,
        bytes: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut out = Vec::with_capacity(bytes.len());
        if let Some(mut held) = self.held.take() {
            self.unread.extend_from_slice(bytes);
            let most = usize::try_from(config.counting.hold_up_to).unwrap_or(usize::MAX);
            if self.unread.len() <= most {
                out.clone_from(&held.before);
                self.held = Some(held);
            } else {
                out = held.before;
                held.response.end(None, config, context, effects);
                let reason = "Too much was sent while a response waited for its budget.";
                self.close(TOO_BIG, reason, Ending::Invalid, context.jitter);
            }
        } else if self.unread.is_empty() {
            self.pass_client(bytes, &mut out, config, context, effects);
        } else {
            let mut unread = core::mem::take(&mut self.unread);
            unread.extend_from_slice(bytes);
            self.pass_client(&unread, &mut out, config, context, effects);
        }
        self.flush_up(&mut out, context.jitter);
        if out != bytes || self.held.is_some() {
            effects.piece = Some(out);
        }
    }

    /// Handles the time or the answer that the held response has waited for.
    pub(super) fn look_again(
        &mut self,
        event: super::Event<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let Some(mut held) = self.held.take() else { return };
        let next = held.response.go_on(event, config, context, effects);
        let mut out = core::mem::take(&mut held.before);
        match next {
            Begun::Waits(next) => {
                effects.next = next;
                held.before = out.clone();
                self.held = Some(held);
            }
            Begun::Refused(reply) => self.refuse(&reply, &held.asked, context.jitter),
            Begun::Goes => {
                out.append(&mut held.frames);
                self.responses.push(held.response);
            }
        }
        self.flush_up(&mut out, context.jitter);
        effects.piece = Some(out);
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
        let event = super::Event::Answered { question: place, answer };
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

    /// Handles bytes from the server.
    pub(super) fn read_server(
        &mut self,
        bytes: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        self.down.flush(&mut out);
        while let Some(frame) = self.down.frames.read(&mut rest) {
            match frame {
                Frame::Message(message) => {
                    self.on_server_message(&message, &mut out, config, context, effects)
                }
                Frame::Control(control) => self.on_control(&control, &mut out, false),
                Frame::Oversized(message) => self.pass(&message.raw, &mut out),
                Frame::Pass(bytes) => self.pass(&bytes, &mut out),
                Frame::Violation { raw, .. } => self.pass(&raw, &mut out),
                Frame::OversizedEnd { .. } => {}
            }
            self.down.flush(&mut out);
        }
        if self.up.has_words() || self.has_unread() {
            self.down.ping(&mut out, context.jitter);
        }
        if out != bytes {
            effects.piece = Some(out);
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

    /// Reads a client's bytes up to a response that must wait, and adds what passes to `out`.
    fn pass_client(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut rest = bytes;
        self.up.flush(out);
        loop {
            let is_insertable = self.up.is_insertable();
            let Some(frame) = self.up.frames.read(&mut rest) else { break };
            match frame {
                Frame::Message(message) => match self.on_client_message(&message, config, context, effects) {
                    Verdict::Pass => self.pass(&message.raw, out),
                    Verdict::Replace(frames) => self.pass(&frames, out),
                    Verdict::Drop => {}
                    Verdict::Hold(mut held) => {
                        self.unread = rest.to_vec();
                        held.before.clone_from(out);
                        self.held = Some(*held);
                        return;
                    }
                },
                Frame::Control(control) => self.on_control(&control, out, true),
                Frame::Oversized(message) => self.pass(&message.raw, out),
                Frame::Pass(bytes) => self.pass(&bytes, out),
                Frame::Violation { rule, .. } => {
                    let reason = format!("A frame breaks RFC 6455: {rule:?}.");
                    if is_insertable {
                        self.up.cut();
                    }
                    effects.reset = !is_insertable;
                    self.close(PROTOCOL, &reason, Ending::Invalid, context.jitter);
                }
                Frame::OversizedEnd { .. } => {}
            }
            self.up.flush(out);
        }
    }

    /// Passes frames, unless Tollgate ends the connection.
    fn pass(&self, frames: &[u8], out: &mut Vec<u8>) {
        if !matches!(self.ending, Some(Ending::OverLimit | Ending::Invalid)) {
            out.extend_from_slice(frames);
        }
    }

    /// Returns whether bytes of the client can be read now, although nothing more comes from it.
    fn has_unread(&self) -> bool {
        self.held.is_none() && !self.unread.is_empty()
    }

    /// Adds what is to be said to the server. Pings it if its client is to be told something, or to
    /// be pinged in turn.
    fn flush_up(&mut self, out: &mut Vec<u8>, random: u32) {
        self.up.flush(out);
        if self.down.has_words() || self.has_unread() {
            self.up.ping(out, random);
        }
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

    fn on_client_message(
        &mut self,
        message: &Message<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Verdict {
        let payload = message.payload();
        let text = String::from_utf8_lossy(&payload);
        let model = self.model();
        let exactness = &config.counting.exactness;
        let counter = &mut *context.counter;
        let mut count = |prompt: &Prompt<'_>| -> Usage {
            counter.prompt(prompt, model.as_deref().unwrap_or_default(), exactness).usage()
        };
        let asked = match self.conversation.read_client(&text, &mut count) {
            FromClient::Other => return Verdict::Pass,
            FromClient::Settings => return self.change_settings(message, &text, config, context, effects),
            FromClient::Ask(asked) => asked,
        };
        if self.responses.len() >= MOST_RESPONSES {
            let reason = format!("More than {MOST_RESPONSES} responses at the same time.");
            self.close(POLICY, &reason, Ending::Invalid, context.jitter);
            return Verdict::Drop;
        }
        let number = self.next_number();
        let call = Call { context: asked.context, ..self.call_of_response(false) };
        let (response, begun, edits) =
            Response::ask(call, number, &asked, text.as_bytes(), config, context, effects);
        let frames = if edits.is_empty() {
            None
        } else {
            let edited = Edit::apply_all(&edits, text.as_bytes());
            Some(data_frame(message.kind, &edited, self.up.key(context.jitter)))
        };
        match begun {
            Begun::Goes => {
                self.responses.push(response);
                frames.map_or(Verdict::Pass, Verdict::Replace)
            }
            Begun::Refused(reply) => {
                self.refuse(&reply, &asked, context.jitter);
                Verdict::Drop
            }
            Begun::Waits(next) => {
                effects.next = next;
                Verdict::Hold(Box::new(Held {
                    response,
                    asked: asked.into_owned(),
                    frames: frames.unwrap_or_else(|| message.raw.to_vec()),
                    before: Vec::new(),
                }))
            }
        }
    }

    /// Removes exhausted tools from a message that offers tools to later responses.
    fn change_settings(
        &mut self,
        message: &Message<'_>,
        text: &str,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Verdict {
        let call = self.call_of_response(false);
        match response::settings_edits(&call, text, config, context, effects) {
            Ok(edits) if edits.is_empty() => Verdict::Pass,
            Ok(edits) => {
                let edited = Edit::apply_all(&edits, text.as_bytes());
                Verdict::Replace(data_frame(message.kind, &edited, self.up.key(context.jitter)))
            }
            Err(reply) => {
                self.refuse(&reply, &Asked::default(), context.jitter);
                Verdict::Drop
            }
        }
    }

    fn on_server_message(
        &mut self,
        message: &Message<'_>,
        out: &mut Vec<u8>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let payload = message.payload();
        let (of, phase) = match self.conversation.read_server(&payload) {
            FromServer::Response { of, phase } => (of, phase),
            FromServer::Transcribed { usage, model, is_all } => {
                let mut call = self.call_of_response(true);
                (call.context, call.api.model) = (Usage::default(), model.or(call.api.model));
                let number = self.next_number();
                let known = usage.or(Usage::default());
                let request = Request { known: Some(known), ..Request::default() };
                let (mut response, begun) =
                    Response::begun(call, number, &Named::default(), request, config, context, effects);
                response.read(b"", true, config, context, effects);
                self.pass(&message.raw, out);
                if let (Begun::Refused(reply), true) = (begun, is_all) {
                    self.refuse(&reply, &Asked::default(), context.jitter);
                    self.close(POLICY, &reply.message(), Ending::OverLimit, context.jitter);
                }
                return;
            }
            FromServer::RateLimits | FromServer::Other => return self.pass(&message.raw, out),
        };
        let Some(at) = self.find(&of, phase) else {
            if matches!(phase, Phase::Begins | Phase::Continues) {
                self.begin_unasked(&of, config, context, effects);
                if let Some(response) = self.responses.last_mut() {
                    response.read(&payload, false, config, context, effects);
                }
            }
            return self.pass(&message.raw, out);
        };
        let Some(response) = self.responses.get_mut(at) else { return };
        let is_last = matches!(phase, Phase::Ends | Phase::Fails);
        let passes = response.passes(phase);
        if phase == Phase::Fails && !response.has_begun {
            response.fail();
        }
        let ending = response.read(&payload, is_last, config, context, effects);
        let id = response.id.clone();
        if passes {
            self.pass(&message.raw, out);
        }
        if let Some(ending) = ending {
            self.pass(&ending, out);
            self.cancel(id.as_deref(), context.jitter);
        }
        if is_last {
            self.responses.remove(at);
        }
    }

    /// Charges a response that the server has begun by itself, and cancels it if its budgets have
    /// no room.
    fn begin_unasked(
        &mut self,
        of: &Named<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let call = self.call_of_response(true);
        let number = self.next_number();
        let request =
            Request { more_input: true, max_output: self.conversation.max_output(), ..Request::default() };
        let (response, begun) = Response::begun(call, number, of, request, config, context, effects);
        let id = response.id.clone();
        self.responses.push(response);
        if let Begun::Refused(reply) = begun {
            self.refuse(&reply, &Asked { lane: of.lane.clone(), ..Asked::default() }, context.jitter);
            self.cancel(id.as_deref(), context.jitter);
        }
    }

    /// Returns the place of the response that a message belongs to, and gives it the name that the
    /// message tells.
    fn find(&mut self, of: &Named<'_>, phase: Phase) -> Option<usize> {
        let is_named = |response: &Response| of.id.is_some() && response.id.as_deref() == of.id.as_deref();
        if let Some(at) = self.responses.iter().position(is_named) {
            return Some(at);
        }
        let is_of_lane = |response: &Response| response.lane == of.lane;
        let unnamed = |response: &Response| is_of_lane(response) && response.id.is_none();
        let by_event = |response: &Response| {
            unnamed(response) && of.event.is_some() && response.event.as_deref() == of.event.as_deref()
        };
        let at = match phase {
            Phase::Fails if of.event.is_some() => self.responses.iter().position(by_event),
            Phase::Fails => {
                let unbegun = |response: &Response| is_of_lane(response) && !response.has_begun;
                let mut all = self.responses.iter();
                all.position(unbegun).or_else(|| self.responses.iter().position(is_of_lane))
            }
            Phase::Begins => {
                self.responses.iter().position(|response| unnamed(response) && !response.has_begun)
            }
            _ if of.id.is_some() => None,
            _ => self.responses.iter().position(is_of_lane),
        }?;
        if let (Phase::Begins, Some(response)) = (phase, self.responses.get_mut(at)) {
            response.has_begun = true;
            response.id = of.id.as_deref().map(str::to_owned);
        }
        Some(at)
    }

    /// Tells the client that a response is refused, or closes the socket if its API cannot.
    fn refuse(&mut self, reply: &Reply, asked: &Asked<'_>, random: u32) {
        let Reply { status, fields, body, .. } = reply;
        match self.conversation.error(&Refused { status: *status, body, fields, asked }) {
            Some(event) => self.down.say(&event, random),
            None => self.close(POLICY, &reply.message(), Ending::OverLimit, random),
        }
    }

    /// Asks the server to stop a response, if its API can.
    fn cancel(&mut self, id: Option<&str>, random: u32) {
        match self.conversation.cancel(id) {
            Cancel::Message(message) => self.up.say(&message, random),
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

    /// Returns the call of one response.
    fn call_of_response(&self, has_begun: bool) -> Call {
        let api = api::Call::on_socket(self.call.format(), self.model());
        Call { api, context: self.conversation.context(), has_begun, passes: has_begun, ..self.call.clone() }
    }

    fn next_number(&mut self) -> usize {
        self.last = self.last.wrapping_add(1);
        self.last
    }
}
