//! One stream: callbacks become events of its [`Exchange`], effects become host calls.
//!
//! In: callbacks in any order that the host allows. Out: host calls. Not here: decisions.

use std::borrow::Cow;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use super::calls::{self, Buffer, Map};
use super::configured::Configured;
use super::flow::{Flow, change_headers, replace_request};
use super::hold::Headers;
use super::vm::Vm;
use crate::api::Edit;
use crate::exchange::{Abort, Ask, Editable, Effects, Event, Next, Wanted};
use crate::identity::Head;
use crate::rls::Failure;

/// One stream, as its callbacks see it.
pub(super) struct Stream {
    flow: Rc<Flow>,
    /// Whether the request's headers tell its body's length.
    has_length: bool,
    /// The bytes of the request's body that the host has shown. The host keeps and repeats them
    /// while the request waits.
    body_size: usize,
    /// Questions to the rate limit service, by the numbers of their answers.
    asked: Vec<(u32, usize)>,
    #[cfg(feature = "trap")]
    trap: super::trap::Trap,
}

impl Stream {
    pub(super) fn new(context: u32, vm: Rc<Vm>, configured: Rc<Configured>) -> Self {
        Self {
            flow: Rc::new(Flow::new(context, vm, configured)),
            has_length: false,
            body_size: 0,
            asked: Vec::new(),
            #[cfg(feature = "trap")]
            trap: super::trap::Trap::default(),
        }
    }

    /// Carries out the exchange's next step, after its other effects.
    fn go(&mut self, next: Next) -> Action {
        let Effects { next, headers, piece, .. } = self.ask(Effects { next, ..Effects::default() });
        replace_request(piece.as_deref());
        change_headers(Map::RequestHeaders, &headers);
        match next {
            Next::Reply(reply) => self.flow.reply(&reply),
            Next::Ask { hold: true, .. } => {
                self.flow.waits.set(true);
                Action::Pause
            }
            Next::Wait { until } => {
                self.flow.wait(until);
                Action::Pause
            }
            Next::Pass | Next::ReadBody | Next::Ask { .. } => {
                self.flow.set_headers(Headers::Released);
                Action::Continue
            }
        }
    }

    /// Sends questions to the rate limit service, if they come next. A question that cannot be sent
    /// counts as unanswered, and the exchange may ask further.
    fn ask(&mut self, mut effects: Effects) -> Effects {
        let remote = self.flow.configured.remote.clone();
        loop {
            let Next::Ask { questions, .. } = &mut effects.next else { return effects };
            let questions = core::mem::take(questions);
            if questions.is_empty() {
                return effects;
            }
            for Ask { place, question, timeout } in questions {
                let sent = remote.as_ref().ok_or(Failure::Unavailable);
                match sent.and_then(|remote| remote.send(&question, timeout)) {
                    Ok(token) => self.asked.push((token, place)),
                    Err(failure) => {
                        let answered = Event::Answered { question: place, answer: Err(failure) };
                        effects = self.flow.handle(answered);
                    }
                }
            }
        }
    }

    /// Decides on the request, whose body is complete.
    fn decide(&mut self) -> Action {
        let body = calls::buffer(Buffer::RequestBody, self.body_size).unwrap_or_default();
        let editable = match self.flow.headers_are() {
            Headers::Held => Editable::All,
            _ if self.has_length => Editable::Nothing,
            _ => Editable::Body,
        };
        let effects = self.flow.handle(Event::RequestBody { body: &body, editable });
        self.flow.configured.watch.forget(self.flow.context);
        change_headers(Map::RequestHeaders, &effects.headers);
        if !effects.body.is_empty() {
            self.edit(&effects.body, &body);
        }
        self.go(effects.next)
    }

    /// Changes the body and the length in the headers, both or neither. With a wrong length the
    /// upstream would read the rest of the body as the next request on the connection.
    fn edit(&self, edits: &[Edit], body: &[u8]) {
        let edited = Edit::apply_all(edits, body);
        let tell_length = |length: usize| {
            !self.has_length
                || calls::set_header(Map::RequestHeaders, "content-length", length.to_string().as_bytes())
                    .is_ok()
        };
        if tell_length(edited.len())
            && calls::replace_buffer(Buffer::RequestBody, body.len(), &edited).is_err()
        {
            tell_length(body.len());
        }
    }

    fn answer_piece(&mut self, size: usize, last: bool) -> Action {
        if self.flow.replied.get() || !self.flow.wants(Wanted::ResponsePieces) {
            return Action::Continue;
        }
        let Ok(bytes) = calls::buffer(Buffer::ResponseBody, size) else { return Action::Continue };
        let effects = self.flow.handle(Event::ResponsePiece { bytes: &bytes, last });
        if let Some(piece) = &effects.piece {
            let _ = calls::replace_buffer(Buffer::ResponseBody, size, piece);
        }
        if effects.reset {
            let _ = calls::reset_response();
        }
        self.ask(effects);
        Action::Continue
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ended: bool) -> Action {
        let head = HostHead(calls::headers(Map::RequestHeaders).unwrap_or_default());
        self.has_length = head.header("content-length").is_some();
        #[cfg(feature = "trap")]
        self.trap.set(&head);
        let effects = self.flow.handle(Event::RequestHead { head: &head, ended });
        change_headers(Map::RequestHeaders, &effects.headers);
        if effects.next != Next::ReadBody {
            return self.go(effects.next);
        }
        self.flow.hold();
        if self.flow.headers_are() == Headers::Held { Action::Pause } else { Action::Continue }
    }

    fn on_http_request_body(&mut self, size: usize, ended: bool) -> Action {
        if self.flow.replied.get() {
            return Action::Pause;
        }
        if self.flow.wants(Wanted::RequestPieces) {
            let bytes = calls::buffer(Buffer::RequestBody, size).unwrap_or_default();
            // While the request waits, the host repeats the bytes that it has already shown.
            let seen = if self.flow.waits.get() { self.body_size } else { 0 };
            let effects =
                self.flow.handle(Event::RequestPiece { bytes: bytes.get(seen..).unwrap_or_default() });
            replace_request(effects.piece.as_deref());
            self.body_size = effects.piece.as_ref().map_or(size, Vec::len);
            if effects.reset {
                let _ = calls::reset_response();
            }
            if effects.next != Next::Pass {
                return self.go(effects.next);
            }
            self.flow.waits.set(self.flow.waits.get() && self.flow.is_held());
        }
        if self.flow.waits.get() {
            return Action::Pause;
        }
        if !self.flow.wants(Wanted::RequestBody) {
            return Action::Continue;
        }
        self.flow.saw_body(size);
        self.body_size = size;
        if ended { self.decide() } else { Action::Pause }
    }

    /// Handles the end of an HTTP/2 request that ends here and not in its body.
    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        if self.flow.replied.get() || self.flow.waits.get() {
            return Action::Pause;
        }
        if !self.flow.wants(Wanted::RequestBody) {
            return Action::Continue;
        }
        self.flow.saw_body(self.body_size);
        let was_resumed = self.flow.headers_are() == Headers::Resumed;
        let action = self.decide();
        if was_resumed && !self.flow.replied.get() && !self.flow.waits.get() {
            self.flow.configured.watch.resume_later(self.flow.context);
            return Action::Pause;
        }
        action
    }

    fn on_http_response_headers(&mut self, _: usize, ended: bool) -> Action {
        #[cfg(feature = "trap")]
        self.trap.at_response();
        if self.flow.replied.get() || !self.flow.wants(Wanted::ResponseHead) {
            return Action::Continue;
        }
        let head = HostHead(calls::headers(Map::ResponseHeaders).unwrap_or_default());
        let status =
            head.header(":status").and_then(|status| core::str::from_utf8(&status).ok()?.parse().ok());
        let status = status.unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            return Action::Continue;
        }
        let effects = self.flow.handle(Event::ResponseHead { status, head: &head, ended });
        change_headers(Map::ResponseHeaders, &effects.headers);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, ended: bool) -> Action {
        self.answer_piece(size, ended)
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        self.answer_piece(0, true)
    }

    /// Settles what is left; the only callback that comes at every ending, unless the VM is dead.
    fn on_log(&mut self) {
        self.flow.configured.watch.forget(self.flow.context);
        if self.flow.wants(Wanted::Due) {
            self.flow.configured.waiting.forget(self.flow.context);
        }
        if !self.flow.wants(Wanted::End) {
            return;
        }
        let details = calls::property(&["response", "code_details"]).unwrap_or_default();
        self.flow.handle(Event::End { abort: Some(who_broke_off(&details)) });
    }
}

impl Context for Stream {
    /// Handles the rate limit service's answer to a question of this stream.
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        let Some(at) = self.asked.iter().position(|(of, _)| *of == token) else { return };
        let (_, question) = self.asked.swap_remove(at);
        if !self.flow.wants(Wanted::Answers) {
            return;
        }
        let message = calls::grpc_answer(status, size);
        let answer = message.as_deref().map_err(|failure| *failure);
        let effects = self.flow.handle(Event::Answered { question, answer });
        let effects = self.ask(effects);
        match effects.next {
            Next::Ask { .. } | Next::ReadBody => {}
            Next::Reply(reply) => {
                self.flow.waits.set(false);
                self.flow.reply(&reply);
            }
            Next::Wait { until } => {
                change_headers(Map::RequestHeaders, &effects.headers);
                self.flow.wait(until);
            }
            Next::Pass => self.flow.go_on(&effects),
        }
    }
}

/// Determines which side ended a stream early, from Envoy's response code details. A client's
/// closed connection is `downstream_…`. A single stream that a client resets is reported by the
/// codec, as `http2.remote_reset`. Failures of upstreams are `upstream_…`.
fn who_broke_off(details: &[u8]) -> Abort {
    const CLIENT: [&[u8]; 4] = [b"downstream", b"http1.", b"http2.", b"http3."];
    if CLIENT.iter().any(|prefix| details.starts_with(prefix)) { Abort::Client } else { Abort::Upstream }
}

/// The headers that the host has passed, and attributes on request.
struct HostHead(calls::Headers);

impl Head for HostHead {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let mut values = self.0.iter().filter(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value);
        let first = values.next()?;
        Some(values.fold(Cow::Borrowed(first), |joined, value| Cow::Owned([&*joined, b",", value].concat())))
    }

    fn each_name(&self, show: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|(name, _)| show(name));
    }

    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        calls::property(path).ok()
    }
}
