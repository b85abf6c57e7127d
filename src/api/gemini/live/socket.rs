//! The conversation on a Live socket, as far as its cost depends on it.
//!
//! In: messages of both sides. Out: the shared types of `api::sockets`. Not here: the content of
//! turns (`answer`, `request`).

use std::borrow::Cow;

use super::answer::told;
use super::{Members, member, request, sound};
use crate::api::gemini::request::last_segment;
use crate::api::gemini::usage::UsageMetadata;
use crate::api::media::decoded_len;
use crate::api::number::Whole;
use crate::api::raw::{entries, items, string, text};
use crate::api::sockets::{
    Asked, Cancel, Conversation, ConversationInput, Count, FromClient, FromServer, Named, Phase, Refused,
};
use crate::api::{Piece, Prompt, Usage};

/// The samples of a second of heard sound, unless its media type says otherwise.
const RATE: u64 = 16_000;

/// A session.
#[derive(Debug, Default)]
pub(super) struct Session {
    model: Option<String>,
    max_output: Option<u64>,
    input: ConversationInput,
    /// Whether a turn of the model is open.
    is_open: bool,
    /// Whether the last turn has reported its usage.
    has_told: bool,
}

impl Session {
    /// Reads the setup: model, bound, instructions, tools.
    fn read_setup(&mut self, setup: &str, count: Count<'_>) {
        self.model = string(member(setup, &["model"])).map(last_segment).map(Cow::into_owned);
        let config = member(setup, &["generationConfig", "generation_config"]);
        let bound = serde_json::from_str::<Whole>(member(config, &["maxOutputTokens", "max_output_tokens"]));
        self.max_output = bound.ok().and_then(Whole::count).filter(|bound| *bound > 0);
        self.input.add(count(&request::setup(setup)));
    }

    /// Adds input that comes as it is made; the server decides when a turn begins.
    fn add_realtime_input(&mut self, input: &str, count: Count<'_>) {
        for (name, value) in entries(input).unwrap_or_default() {
            match &*name {
                "audio" => self.add_sound(&Members::of(value)),
                "video" => self.add_picture(&Members::of(value), count),
                "mediaChunks" | "media_chunks" => {
                    for chunk in items(value).into_iter().map(Members::of) {
                        self.add_sound(&chunk);
                        self.add_picture(&chunk, count);
                    }
                }
                "text" => self.input.add(count(&Prompt(vec![text(value)]))),
                _ => {}
            }
        }
    }

    fn add_sound(&mut self, blob: &Members<'_>) {
        if is_sound(blob) {
            let (ms, tokens) = sound(blob, RATE);
            self.input.add_sound(ms, tokens);
        }
    }

    /// Adds a picture, or one of a video.
    fn add_picture(&mut self, blob: &Members<'_>, count: Count<'_>) {
        if !is_sound(blob) {
            let bytes = Some(decoded_len(blob.get(&["data"])));
            self.input.add(count(&Prompt(vec![Piece::Video { bytes }])));
        }
    }

    fn ask<'m>(&mut self) -> FromClient<'m> {
        (self.is_open, self.has_told) = (true, false);
        FromClient::Ask(Asked { context: self.context(), ..Asked::default() })
    }
}

impl Conversation for Session {
    fn read_client<'m>(&mut self, message: &'m str, count: Count<'_>) -> FromClient<'m> {
        for (name, value) in entries(message).unwrap_or_default() {
            match &*name {
                "setup" => {
                    self.read_setup(value, count);
                    return FromClient::Settings;
                }
                "clientContent" | "client_content" => {
                    if member(value, &["turnComplete", "turn_complete"]) == "true" {
                        return self.ask();
                    }
                    let turns = items(member(value, &["turns"])).into_iter().map(text).collect();
                    self.input.add(count(&Prompt(turns)));
                }
                "toolResponse" | "tool_response" => return self.ask(),
                "realtimeInput" | "realtime_input" => self.add_realtime_input(value, count),
                _ => {}
            }
        }
        FromClient::Other
    }

    fn read_server<'m>(&mut self, message: &'m [u8]) -> FromServer<'m> {
        let Ok(message) = core::str::from_utf8(message) else { return FromServer::Other };
        let message = Members::of(message);
        let content = Members::of(message.get(&["serverContent", "server_content"]));
        let usage = serde_json::from_str(message.get(&["usageMetadata", "usage_metadata"])).ok();
        let told = usage.and_then(|usage: Option<UsageMetadata<'_>>| told(usage?));
        let calls_tools = message.get(&["toolCall", "tool_call"]) != "null";
        let is_complete = content.get(&["turnComplete", "turn_complete"]) == "true";
        let goes_on = [["modelTurn", "model_turn"], ["outputTranscription", "output_transcription"]]
            .iter()
            .any(|names| content.get(names) != "null");
        if let Some(told) = &told {
            let so_far = self.input;
            self.input.include(told, &so_far);
        }
        let has_answer = goes_on || self.is_open || told.is_some();
        let phase = if calls_tools || (is_complete && has_answer) {
            self.is_open = false;
            self.has_told |= told.is_some();
            self.input.take_sound();
            Phase::Ends
        } else if goes_on || (self.is_open && told.is_some()) {
            if !core::mem::replace(&mut self.is_open, true) {
                self.has_told = false;
            }
            self.has_told |= told.is_some();
            Phase::Continues
        } else {
            // A report without a turn is of one that was not seen, unless it comes too late.
            return match told.filter(|_| self.has_told) {
                Some(usage) => FromServer::Reported { usage, model: None, is_all: false },
                None => FromServer::Other,
            };
        };
        FromServer::Response { of: Named::default(), phase }
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

    fn error(&self, _: &Refused<'_>) -> Option<String> {
        None
    }

    fn cancel(&self, _: Option<&str>) -> Cancel {
        Cancel::Close
    }
}

fn is_sound(blob: &Members<'_>) -> bool {
    string(blob.get(&["mimeType", "mime_type"])).is_some_and(|kind| kind.starts_with("audio"))
}
