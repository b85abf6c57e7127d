//! The server's side of a socket: its messages tell how responses go on.
//!
//! In: bytes from the server. Out: the bytes that pass to the client. Not here: the client's side
//! (`client`).

use super::response::{Begun, Response};
use super::{Ending, POLICY, Socket};
use crate::api::sockets::{Asked, Cancel, FromServer, Named, Phase};
use crate::api::{ReportedUsage, Request, Usage};
use crate::exchange::context::Context;
use crate::exchange::effects::Effects;
use crate::reply;
use crate::settings::Config;
use crate::websocket::{Event as Frame, Kind, data_frame};

/// What becomes of a server's message.
enum Passing {
    /// It passes, with these frames behind it.
    With(Vec<u8>),
    /// This message passes instead.
    Instead(String),
    /// It is dropped.
    Dropped,
}

impl Socket {
    /// Handles bytes from the server.
    pub(in crate::exchange) fn read_server(
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
                    // A message after which Tollgate ends the connection still passes.
                    let is_over = self.is_over();
                    match self.on_server_message(&message.payload(), config, context, effects) {
                        _ if is_over => {}
                        Passing::With(behind) => {
                            out.extend_from_slice(&message.raw);
                            out.extend(behind);
                        }
                        Passing::Instead(text) => {
                            out.extend(data_frame(Kind::Text, text.as_bytes(), None));
                        }
                        Passing::Dropped => {}
                    }
                }
                Frame::Control(control) => self.on_control(&control, &mut out, false),
                Frame::Oversized(message) => {
                    let brief = brief(&message.payload());
                    let passing = self.on_server_message(brief.as_bytes(), config, context, effects);
                    self.drops_oversized = matches!(passing, Passing::Dropped);
                    self.pass_oversized(&message.raw, &mut out);
                }
                Frame::Pass(bytes) => self.pass_oversized(&bytes, &mut out),
                Frame::OversizedEnd { .. } => self.drops_oversized = false,
                Frame::Violation { raw, .. } => self.pass(&raw, &mut out),
            }
            self.down.flush(&mut out);
        }
        if self.up.has_inserts() || self.has_unread() {
            self.down.ping(&mut out, context.jitter);
        }
        if out != bytes {
            effects.piece = Some(out);
        }
    }

    fn pass_oversized(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.drops_oversized {
            self.pass(bytes, out);
        }
    }

    fn on_server_message(
        &mut self,
        message: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Passing {
        match self.conversation.read_server(message) {
            FromServer::Response { of, phase } => {
                self.on_progress(&of, phase, message, config, context, effects)
            }
            FromServer::Reported { usage, model, is_all } => {
                self.charge_report(usage, model, is_all, config, context, effects);
                Passing::With(Vec::new())
            }
            FromServer::RateLimits => {
                let left = reply::left(&self.standings);
                let event = (!left.is_empty()).then(|| self.conversation.with_limits(message, &left));
                event.flatten().map_or(Passing::With(Vec::new()), Passing::Instead)
            }
            FromServer::Other => Passing::With(Vec::new()),
        }
    }

    /// Handles a message of a response.
    fn on_progress(
        &mut self,
        of: &Named<'_>,
        phase: Phase,
        message: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Passing {
        let found = self.find(of, phase);
        let at = match phase {
            Phase::Fails => found,
            Phase::Begins | Phase::Continues | Phase::Ends => {
                found.or_else(|| self.begin_unasked(of, config, context, effects))
            }
        };
        let Some((at, response)) = at.and_then(|at| Some((at, self.responses.get_mut(at)?))) else {
            return Passing::With(Vec::new());
        };
        let is_last = matches!(phase, Phase::Ends | Phase::Fails);
        let passes = response.passes(phase);
        if phase == Phase::Fails && !response.has_begun {
            response.fail();
        }
        let ending = response.read(message, is_last, config, context, effects);
        let id = response.id.clone();
        if is_last {
            self.responses.remove(at);
        }
        if !passes {
            return Passing::Dropped;
        }
        if ending.is_some() {
            self.cancel(id.as_deref(), context.jitter);
        }
        Passing::With(ending.unwrap_or_default())
    }

    /// Charges a response that the server has begun by itself, and cancels it if its budgets have
    /// no room. Returns its place.
    fn begin_unasked(
        &mut self,
        of: &Named<'_>,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Option<usize> {
        let call = self.call_of_response(self.conversation.context(), true);
        let number = self.next_number();
        let request =
            Request { more_input: true, max_output: self.conversation.max_output(), ..Request::default() };
        let (response, begun) = Response::begun(call, number, of, request, config, context, effects);
        let id = response.id.clone();
        self.add(response);
        if let Begun::Refused(reply) = begun {
            self.refuse(&reply, &Asked { lane: of.lane.clone(), ..Asked::default() }, context.jitter);
            match self.conversation.cancel(id.as_deref()) {
                Cancel::Message(message) => self.up.insert_message(&message, context.jitter),
                Cancel::Close | Cancel::Not => {
                    self.close(POLICY, &reply.message(), Ending::OverLimit, context.jitter);
                }
            }
        }
        self.responses.len().checked_sub(1)
    }

    /// Charges usage that no response contains. Without room for it, a socket that is for such
    /// reports only must go.
    fn charge_report(
        &mut self,
        usage: ReportedUsage,
        model: Option<String>,
        is_all: bool,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut call = self.call_of_response(Usage::default(), true);
        call.api.model = model.or(call.api.model);
        let request = Request { known: Some(usage.or(Usage::default())), ..Request::default() };
        let number = self.next_number();
        let (mut response, begun) =
            Response::begun(call, number, &Named::default(), request, config, context, effects);
        response.read(b"", true, config, context, effects);
        if let (Begun::Refused(reply), true) = (begun, is_all) {
            self.refuse(&reply, &Asked::default(), context.jitter);
            self.close(POLICY, &reply.message(), Ending::OverLimit, context.jitter);
        }
    }

    /// Returns the place of the response that a message belongs to. A message that begins it also
    /// names it.
    fn find(&mut self, of: &Named<'_>, phase: Phase) -> Option<usize> {
        let is_named = |response: &Response| of.id.is_some() && response.id.as_deref() == of.id.as_deref();
        let is_of_event = |response: &Response| response.event.as_deref() == of.event.as_deref();
        let is_of_lane = |response: &Response| response.lane == of.lane;
        let is_awaited = |response: &Response| is_of_lane(response) && !response.has_begun;
        let place = |is_it: &dyn Fn(&Response) -> bool| self.responses.iter().position(is_it);
        let at = match phase {
            Phase::Begins => place(&is_awaited),
            Phase::Fails if of.event.is_some() => {
                place(&|response| is_awaited(response) && is_of_event(response))
            }
            Phase::Fails => place(&is_awaited).or_else(|| place(&is_of_lane)),
            Phase::Continues | Phase::Ends if of.id.is_some() => place(&is_named),
            Phase::Continues | Phase::Ends => place(&is_of_lane),
        }?;
        if let (Phase::Begins, Some(response)) = (phase, self.responses.get_mut(at)) {
            response.has_begun = true;
            response.id = of.id.as_deref().map(str::to_owned);
        }
        Some(at)
    }
}

/// Returns what the start of a message tells of it: its type, as JSON. The rest is too long to be
/// read, and a response that ends with it is settled by its text.
fn brief(start: &[u8]) -> String {
    let start = String::from_utf8_lossy(start.get(..256).unwrap_or(start));
    let kind = start.split("\"type\":\"").nth(1).and_then(|rest| rest.split('"').next());
    kind.map(|kind| format!("{{\"type\":\"{kind}\"}}")).unwrap_or_default()
}
