//! The conversation on a Realtime socket, as far as its cost depends on it.
//!
//! In: events of both sides. Out: the shared types of `api::sockets`. Not here: the content of
//! responses (`answer`, `request`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{PCM_BYTES_PER_MS, request};
use crate::api::ending::there;
use crate::api::media::decoded_len;
use crate::api::openai::responses::error_event;
use crate::api::openai::usage::{AUDIO_TOKENS_PER_SECOND, UsageMember};
use crate::api::outline::Outline;
use crate::api::raw::{Text, string, values};
use crate::api::sockets::{
    Asked, Cancel, Conversation, ConversationInput, Count, FromClient, FromServer, Left, Named, Phase,
    Refused,
};
use crate::api::{Usage, number::Whole};

/// The length of one token of the user's sound in milliseconds.
const MS_PER_TOKEN: u64 = 1_000 / AUDIO_TOKENS_PER_SECOND;

/// The bytes of a millisecond of G.711.
const G711_BYTES_PER_MS: u64 = 8;

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    model: Option<String>,
    /// The model that writes down what the user says.
    transcriber: Option<String>,
    /// Whether the session only transcribes.
    only_transcribes: bool,
    /// The bound on the output of each response.
    max_output: Option<u64>,
    bytes_per_ms: u64,
    input: ConversationInput,
    /// The length of the sound that the client has not committed, in milliseconds.
    uncommitted: u64,
    /// The input when the present response began.
    begun_with: ConversationInput,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            model: None,
            transcriber: None,
            only_transcribes: false,
            max_output: None,
            bytes_per_ms: PCM_BYTES_PER_MS,
            input: ConversationInput::default(),
            uncommitted: 0,
            begun_with: ConversationInput::default(),
        }
    }
}

impl Session {
    /// Adds sound, and returns its length in milliseconds.
    fn add_sound(&mut self, bytes: u64) -> u64 {
        let ms = bytes.checked_div(self.bytes_per_ms).unwrap_or(0);
        self.input.add_sound(ms, ms / MS_PER_TOKEN);
        ms
    }

    /// Removes sound that was not committed.
    fn clear_sound(&mut self) {
        let ms = core::mem::take(&mut self.uncommitted);
        self.input.remove_sound(ms, ms / MS_PER_TOKEN);
    }

    /// Notes the settings of a session, as the client sets them or the server repeats them.
    fn note(&mut self, session: &str) {
        let text = |path: &[&str]| string(at(session, path)).map(Cow::into_owned);
        let format = text(&["audio", "input", "format", "type"]).or_else(|| text(&["input_audio_format"]));
        if let Some(format) = format {
            let is_g711 = ["pcmu", "pcma", "g711"].iter().any(|name| format.contains(name));
            self.bytes_per_ms = if is_g711 { G711_BYTES_PER_MS } else { PCM_BYTES_PER_MS };
        }
        let transcriber = text(&["audio", "input", "transcription", "model"])
            .or_else(|| text(&["input_audio_transcription", "model"]));
        self.transcriber = transcriber.or_else(|| self.transcriber.take());
        self.model = text(&["model"]).or_else(|| self.model.take());
        self.only_transcribes |= text(&["type"]).is_some_and(|kind| kind == "transcription");
        let bounds = request::BOUNDS.map(|name| at(session, &[name]));
        for bound in bounds.into_iter().filter(|bound| *bound != "null") {
            // Anything but a number, such as "inf", is no bound.
            self.max_output = serde_json::from_str::<Whole>(bound).ok().and_then(Whole::count);
        }
    }

    /// Notes the end of a response.
    fn end(&mut self, response: &str) {
        let begun_with = core::mem::take(&mut self.begun_with);
        self.input.charge_sound(&begun_with);
        let Ok(done) = serde_json::from_str::<Done<'_>>(response) else { return };
        // Responses outside of the conversation leave nothing in it.
        if done.conversation_id.is_some_and(|id| id.get() == "null") {
            return;
        }
        let usage = done.usage.and_then(|usage| serde_json::from_str::<UsageMember>(usage.get()).ok());
        if let Some(told) = usage.and_then(UsageMember::told) {
            self.input.include(&told, &begun_with);
        }
    }
}

impl Conversation for Session {
    fn read_client<'m>(&mut self, message: &'m str, count: Count<'_>) -> FromClient<'m> {
        let Ok(event) = serde_json::from_str::<Event<'_>>(message) else { return FromClient::Other };
        match event.kind.as_str() {
            "response.create" => {
                let response = request::raw(event.response);
                let is_apart = values(response, "conversation").pop() == Some("\"none\"");
                let context = if is_apart { Usage::default() } else { self.context() };
                let event = event.event_id.map(|Text(id)| id);
                FromClient::Ask(Asked { lane: Cow::Borrowed(""), event, context })
            }
            "session.update" | "transcription_session.update" => {
                self.note(request::raw(event.session));
                if let Ok(outline) = Outline::of(message)
                    && let Some(session) = request::session(&outline)
                {
                    self.input.add(count(&request::prompt(&session)));
                }
                self.only_transcribes |= event.kind.as_str() == "transcription_session.update";
                FromClient::Settings
            }
            "conversation.item.create" => {
                let item = request::raw(event.item);
                self.input.add(count(&request::item(item)));
                self.add_sound(request::sound_of_item(item));
                FromClient::Other
            }
            "input_audio_buffer.append" => {
                let ms = self.add_sound(event.audio.map_or(0, |Text(audio)| decoded_len(&audio)));
                self.uncommitted = self.uncommitted.saturating_add(ms);
                FromClient::Other
            }
            "input_audio_buffer.clear" => {
                self.clear_sound();
                FromClient::Other
            }
            _ => FromClient::Other,
        }
    }

    fn read_server<'m>(&mut self, message: &'m [u8]) -> FromServer<'m> {
        let Ok(event) = serde_json::from_slice::<Event<'_>>(message) else { return FromServer::Other };
        let response = request::raw(event.response);
        let named = |id: Option<Text<'m>>| Named { id: id.map(|Text(id)| id), ..Named::default() };
        let id = || values(response, "id").pop().and_then(string).map(Text);
        match event.kind.as_str() {
            "session.created" | "session.updated" => {
                self.note(request::raw(event.session));
                FromServer::Other
            }
            "input_audio_buffer.committed" => {
                self.uncommitted = 0;
                FromServer::Other
            }
            "response.created" => {
                self.begun_with = self.input;
                FromServer::Response { of: named(id()), phase: Phase::Begins }
            }
            "response.done" => {
                self.end(response);
                FromServer::Response { of: named(id()), phase: Phase::Ends }
            }
            "conversation.item.input_audio_transcription.completed" => {
                let usage = serde_json::from_str::<UsageMember>(request::raw(event.usage)).ok();
                let mut usage = usage.and_then(UsageMember::told).unwrap_or_default();
                if self.only_transcribes {
                    usage.audio_ms = Some(self.input.take_sound());
                }
                FromServer::Reported { usage, model: self.transcriber.clone(), is_all: self.only_transcribes }
            }
            "rate_limits.updated" => FromServer::RateLimits,
            "error" => self.read_error(request::raw(event.error)),
            kind if kind.starts_with("response.") => {
                FromServer::Response { of: named(event.response_id), phase: Phase::Continues }
            }
            _ => FromServer::Other,
        }
    }

    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    fn context(&self) -> Usage {
        self.input.usage()
    }

    fn max_output(&self) -> Option<u64> {
        self.max_output
    }

    fn with_limits(&self, message: &[u8], left: &[Left]) -> Option<String> {
        let mut event: Value = serde_json::from_slice(message).ok()?;
        let told = event.get_mut("rate_limits")?.as_array_mut()?;
        for Left { name, limit, remaining, reset } in left {
            let ours = json!({
                "name": name,
                "limit": limit,
                "remaining": remaining,
                "reset_seconds": reset.as_millis_ceil() as f64 / 1_000.0,
            });
            match told.iter_mut().find(|told| told["name"] == *name) {
                Some(theirs) if theirs["remaining"].as_u64().is_some_and(|theirs| theirs <= *remaining) => {}
                Some(theirs) => *theirs = ours,
                None => told.push(ours),
            }
        }
        Some(event.to_string())
    }

    fn error(&self, refused: &Refused<'_>) -> Option<String> {
        let mut event = error_event(refused)?;
        event.insert("event_id".to_owned(), "event_tollgate".into());
        if let (Some(Value::Object(error)), Some(id)) = (event.get_mut("error"), &refused.asked.event) {
            error.insert("event_id".to_owned(), (**id).into());
        }
        Some(Value::Object(event).to_string())
    }

    fn cancel(&self, response: Option<&str>) -> Cancel {
        let event = match response {
            Some(id) => json!({ "type": "response.cancel", "response_id": id }),
            None => json!({ "type": "response.cancel" }),
        };
        Cancel::Message(event.to_string())
    }
}

impl Session {
    /// Returns whether an error refuses a response: it names the client's event, or says so.
    fn read_error<'m>(&self, error: &'m str) -> FromServer<'m> {
        let text = |name| values(error, name).pop().and_then(string);
        let event = text("event_id");
        let is_of_response = text("code")
            .is_some_and(|code| code == "conversation_already_has_active_response")
            || text("param").is_some_and(|param| param.starts_with("response"));
        if event.is_none() && !is_of_response {
            return FromServer::Other;
        }
        FromServer::Response { of: Named { event, ..Named::default() }, phase: Phase::Fails }
    }
}

/// Returns the value at a path of members; `null` if there is none.
fn at<'a>(object: &'a str, path: &[&str]) -> &'a str {
    path.iter().fold(object, |object, name| values(object, name).pop().unwrap_or("null"))
}

/// A response that has ended.
#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, default, deserialize_with = "there")]
    conversation_id: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    event_id: Option<Text<'a>>,
    #[serde(borrow)]
    response_id: Option<Text<'a>>,
    #[serde(borrow)]
    audio: Option<Text<'a>>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}
