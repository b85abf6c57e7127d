//! The conversation on a Live socket, as far as its cost depends on it.
//!
//! In: messages of both sides. Out: the shared types of `api::sockets`. Not here: the content of
//! turns (`answer`, `request`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::answer::told;
use super::{member, request, sound};
use crate::api::gemini::request::last_segment;
use crate::api::gemini::usage::UsageMetadata;
use crate::api::media::decoded_len;
use crate::api::number::Whole;
use crate::api::raw::{entries, items, string, text};
use crate::api::sockets::{
    Asked, Cancel, Conversation, Count, FromClient, FromServer, Named, Phase, Refused,
};
use crate::api::{Piece, Prompt, ReportedUsage, Usage};

/// The samples of a second of heard sound, unless its media type says otherwise.
const RATE: u64 = 16_000;

/// A session.
#[derive(Debug, Default)]
pub(super) struct Session {
    model: Option<String>,
    max_output: Option<u64>,
    /// What the last turn has read and written, which the next one reads.
    before: Usage,
    /// What has come since.
    added: Usage,
    /// The sound heard since the last turn ended, in milliseconds.
    heard: u64,
    /// Whether a turn of the model is open.
    is_open: bool,
    /// Whether the last turn has reported its usage.
    has_told: bool,
}

impl Session {
    fn hear(&mut self, blob: &str) {
        let kind = string(member(blob, &["mimeType", "mime_type"])).unwrap_or_default();
        if kind.starts_with("audio") {
            let (ms, tokens) = sound(blob, RATE);
            self.heard = self.heard.saturating_add(ms);
            self.added.audio_input = self.added.audio_input.saturating_add(tokens);
        }
    }

    fn set_up(&mut self, setup: &str, count: Count<'_>) {
        self.model = string(member(setup, &["model"])).map(last_segment).map(Cow::into_owned);
        let config = member(setup, &["generationConfig", "generation_config"]);
        let bound = serde_json::from_str::<Whole>(member(config, &["maxOutputTokens", "max_output_tokens"]));
        self.max_output = bound.ok().and_then(Whole::count).filter(|bound| *bound > 0);
        self.added = self.added.plus(count(&request::setup(setup)));
    }

    /// Reads input that comes as it is made; the server decides when a turn begins.
    fn take_in(&mut self, input: &str, count: Count<'_>) {
        for (name, value) in entries(input).unwrap_or_default() {
            match &*name {
                "audio" => self.hear(value),
                "mediaChunks" | "media_chunks" => {
                    for chunk in items(value) {
                        self.hear(chunk);
                        self.see(chunk, count);
                    }
                }
                "video" => self.see(value, count),
                "text" => self.added = self.added.plus(count(&Prompt(vec![text(value)]))),
                _ => {}
            }
        }
    }

    /// Counts a picture, or one of a video.
    fn see(&mut self, blob: &str, count: Count<'_>) {
        let kind = string(member(blob, &["mimeType", "mime_type"])).unwrap_or_default();
        if !kind.starts_with("audio") {
            let bytes = Some(decoded_len(member(blob, &["data"])));
            self.added = self.added.plus(count(&Prompt(vec![Piece::Video { bytes }])));
        }
    }

    /// Notes the usage of a turn.
    fn note(&mut self, told: &ReportedUsage) {
        let used = told.or(Usage::default());
        let sound = used.audio_input.saturating_add(used.audio_output);
        let all = used.all_input().saturating_add(used.all_output());
        self.before = Usage { input: all.saturating_sub(sound), audio_input: sound, ..Usage::default() };
        self.added = Usage::default();
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
                    self.set_up(value, count);
                    return FromClient::Settings;
                }
                "clientContent" | "client_content" => {
                    if member(value, &["turnComplete", "turn_complete"]) == "true" {
                        return self.ask();
                    }
                    let turns = items(member(value, &["turns"])).into_iter().map(text).collect();
                    self.added = self.added.plus(count(&Prompt(turns)));
                }
                "toolResponse" | "tool_response" => return self.ask(),
                "realtimeInput" | "realtime_input" => self.take_in(value, count),
                _ => {}
            }
        }
        FromClient::Other
    }

    fn read_server<'m>(&mut self, message: &'m [u8]) -> FromServer<'m> {
        let Ok(message) = core::str::from_utf8(message) else { return FromServer::Other };
        let content = member(message, &["serverContent", "server_content"]);
        let usage = member(message, &["usageMetadata", "usage_metadata"]);
        let usage = serde_json::from_str::<&RawValue>(usage).ok().map(RawValue::get);
        let usage = usage.filter(|usage| *usage != "null");
        let told = usage.and_then(|usage| told(serde_json::from_str::<UsageMetadata<'_>>(usage).ok()?));
        let ends = member(content, &["turnComplete", "turn_complete"]) == "true"
            || member(message, &["toolCall", "tool_call"]) != "null";
        let goes_on = ["modelTurn", "model_turn", "outputTranscription", "output_transcription"]
            .iter()
            .any(|name| member(content, &[name]) != "null");
        if let Some(told) = &told {
            self.note(told);
        }
        let has_answer = goes_on || self.is_open || told.is_some();
        let phase = if ends && (has_answer || member(message, &["toolCall", "tool_call"]) != "null") {
            self.is_open = false;
            self.has_told |= told.is_some();
            self.heard = 0;
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
        Usage { audio_ms: self.heard, ..self.before.plus(self.added) }
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
