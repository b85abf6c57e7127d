//! The client's side of a socket: its messages pass, are changed, dropped or held back.
//!
//! In: bytes from the client; the time, or the answer, that a response has waited for. Out: the
//! bytes that pass to the server. Not here: the server's side (`server`).

use super::response::{Begun, Response};
use super::{Ending, POLICY, PROTOCOL, Socket, TOO_BIG, bound, response};
use crate::api::sockets::{Asked, FromClient};
use crate::api::{Edit, Outline, Prompt, Usage};
use crate::exchange::Event;
use crate::exchange::call::Call;
use crate::exchange::context::Context;
use crate::exchange::effects::Effects;
use crate::settings::Config;
use crate::websocket::{Event as Frame, Message, data_frame};

/// The most responses of one socket at the same time. OpenAI runs 16 and keeps more waiting.
const MOST_RESPONSES: usize = 64;

/// The most bytes of names of tools that a socket remembers.
const LONGEST_TOOLS: usize = 16 * 1024;

/// A response that waits.
pub(super) struct Held {
    pub(super) response: Response,
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
    /// Handles bytes from the client.
    pub(in crate::exchange) fn read_client(
        &mut self,
        bytes: &[u8],
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) {
        let mut out = Vec::with_capacity(bytes.len());
        if let Some(mut held) = self.held.take() {
            self.unread.extend_from_slice(bytes);
            if self.unread.len() <= bound(config) {
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
        if out != bytes || self.holds() {
            effects.piece = Some(out);
        }
    }

    /// Handles the time or the answer that the held response has waited for.
    pub(in crate::exchange) fn look_again(
        &mut self,
        event: Event<'_>,
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
                self.add(held.response);
            }
        }
        self.flush_up(&mut out, context.jitter);
        effects.piece = Some(out);
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
                        self.down.await_no_pong();
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

    /// Returns whether bytes of the client can be read now, although nothing more comes from it.
    pub(super) fn has_unread(&self) -> bool {
        self.held.is_none() && !self.unread.is_empty()
    }

    /// Adds the frames for the server. Pings it if frames for its client are to be inserted, or if
    /// the client is to be pinged in turn.
    ///
    /// While a response waits, its bytes stay with the host, and nothing is added to them.
    fn flush_up(&mut self, out: &mut Vec<u8>, random: u32) {
        if self.holds() {
            return;
        }
        self.up.flush(out);
        if self.down.has_inserts() || self.has_unread() {
            self.up.ping(out, random);
        }
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
        let call = self.call_of_response(asked.context, false);
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
                self.add(response);
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

    /// Removes exhausted tools from a message that offers tools to later responses, and notes the
    /// rest.
    fn change_settings(
        &mut self,
        message: &Message<'_>,
        text: &str,
        config: &Config,
        context: &mut Context<'_>,
        effects: &mut Effects,
    ) -> Verdict {
        let call = Call { on_socket: None, ..self.call_of_response(Usage::default(), false) };
        let edits = match response::settings_edits(&call, text, config, context, effects) {
            Ok(edits) => edits,
            Err(reply) => {
                self.refuse(&reply, &Asked::default(), context.jitter);
                return Verdict::Drop;
            }
        };
        if edits.is_empty() {
            self.note_tools(text);
            return Verdict::Pass;
        }
        let edited = Edit::apply_all(&edits, text.as_bytes());
        self.note_tools(&String::from_utf8_lossy(&edited));
        Verdict::Replace(data_frame(message.kind, &edited, self.up.key(context.jitter)))
    }

    /// Notes the tools in a message that sets them, up to a bound.
    fn note_tools(&mut self, text: &str) {
        let (Some(offered), Ok(outline)) = (self.call.format().offered_tools, Outline::of(text)) else {
            return;
        };
        let mut room = LONGEST_TOOLS;
        let names = offered(&outline).into_iter().map_while(|name| {
            room = room.checked_sub(name.len())?;
            Some(name.into_owned())
        });
        let names: Vec<_> = names.collect();
        if !names.is_empty() || text.contains("\"tools\"") {
            self.tools = names.into();
        }
    }
}
