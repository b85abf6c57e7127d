//! Google's Gemini Live: `GET /ws/google.….BidiGenerateContent`, on the Gemini API and on Vertex
//! AI.
//!
//! In: `setup`, `clientContent`, `realtimeInput`, `toolResponse`, in either spelling of protobuf's
//! JSON. Out: `setupComplete`, pieces of `serverContent`, and `usageMetadata` with `turnComplete`.
//! The prompt of a turn is the session so far. With `x-mock-socket-usage: total` the numbers of all
//! turns add up. **Activity detection** is a rule: each 500 ms of sound (`x-mock-socket-turn-ms`)
//! are a turn, unless the setup disables it; then `activityEnd` ends a turn. `audioStreamEnd` and a
//! realtime text always do. A new turn interrupts the one in progress. `x-mock-` members of
//! `metadata` beside `turns` are switches, although Google has no such member; there
//! `x-mock-status` closes the socket with 1011. Wire format: Gemini API, "Live API, WebSockets API
//! reference". Not here: tool calls, resumption, `goAway`, compression of the context.

mod answer;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Api;
use super::connection::{Session, Step, Turn};
use super::modality::Tokens;
use crate::mock_llm::Behaviour;
use crate::mock_llm::gemini::{self, either, items};
use crate::mock_llm::tokens::Counter;
use answer::{Answer, MS_PER_TOKEN};

/// `GET /ws/google.….BidiGenerateContent`.
pub(super) const API: Api = Api {
    serves: |path| path.starts_with("/ws/google.") && path.ends_with("BidiGenerateContent"),
    open: |behaviour, _| Ok(Box::new(Live::of(behaviour))),
    error: gemini::error,
    binary: true,
    protocol: None,
};

/// The tokens of an image or a frame of video (Vertex AI, "Provisioned Throughput for Gemini Live
/// API").
const IMAGE_TOKENS: usize = 258;

/// The state of a session.
struct Live {
    behaviour: Behaviour,
    /// The setup, once it has come.
    setup: Option<Value>,
    counter: Counter,
    /// What the model has read and written so far.
    context: Tokens,
    /// The milliseconds of sound in the turn that comes in.
    heard: usize,
    turns: usize,
    active: Option<Answer>,
    /// The prompts and responses of all earlier turns.
    billed: (Tokens, Tokens),
}

impl Session for Live {
    fn opened(&mut self) -> Vec<Step> {
        Vec::new()
    }

    fn received(&mut self, message: &str) -> Vec<Step> {
        let Ok(message) = serde_json::from_str::<Value>(message) else {
            return invalid("Invalid JSON payload received.");
        };
        let part = |camel, snake| Some(either(&message, camel, snake)).filter(|value| value.is_object());
        if self.setup.is_none() {
            return part("setup", "setup").map_or_else(
                || invalid("setup must be the first message and only the first."),
                |setup| self.set_up(setup),
            );
        }
        if let Some(content) = part("clientContent", "client_content") {
            self.content(content)
        } else if let Some(input) = part("realtimeInput", "realtime_input") {
            self.realtime(input)
        } else if let Some(response) = part("toolResponse", "tool_response") {
            self.context.text += self.counter.text(&response.to_string());
            self.begin(&Value::Null)
        } else {
            invalid("The message has none of the known members.")
        }
    }

    fn finished(&mut self, _: usize) -> Vec<Step> {
        if let Some(answer) = self.active.take() {
            self.keep(&answer);
        }
        Vec::new()
    }
}

impl Live {
    fn of(behaviour: &Behaviour) -> Self {
        Self {
            behaviour: behaviour.clone(),
            setup: None,
            counter: Counter::for_model("gemini"),
            context: Tokens::default(),
            heard: 0,
            turns: 0,
            active: None,
            billed: (Tokens::default(), Tokens::default()),
        }
    }

    fn set_up(&mut self, setup: &Value) -> Vec<Step> {
        self.context += self.tokens(either(setup, "systemInstruction", "system_instruction"));
        if setup["tools"].is_array() {
            self.context.text += self.counter.text(&setup["tools"].to_string());
        }
        self.setup = Some(setup.clone());
        vec![Step::Send(json!({ "setupComplete": {} }).to_string())]
    }

    fn content(&mut self, content: &Value) -> Vec<Step> {
        // A single turn may stand for the list.
        let turns: Vec<_> = match &content["turns"] {
            Value::Array(turns) => turns.iter().collect(),
            turn => vec![turn],
        };
        let tokens = turns.iter().fold(Tokens::default(), |all, turn| all + self.tokens(turn));
        self.context += tokens;
        if *either(content, "turnComplete", "turn_complete") == true {
            self.begin(&content["metadata"])
        } else {
            Vec::new()
        }
    }

    fn realtime(&mut self, input: &Value) -> Vec<Step> {
        let chunks = items(either(input, "mediaChunks", "media_chunks"));
        for blob in chunks.chain([&input["audio"], &input["video"], &input["media"]]) {
            let kind = either(blob, "mimeType", "mime_type").as_str().unwrap_or_default();
            if kind.starts_with("audio/") {
                self.heard += milliseconds(kind, &blob["data"]);
            } else if blob.is_object() {
                self.context.image += IMAGE_TOKENS;
            }
        }
        let text = input["text"].as_str();
        self.context.text += text.map_or(0, |text| self.counter.text(text));

        let setup = self.setup.as_ref().unwrap_or(&Value::Null);
        let config = either(setup, "realtimeInputConfig", "realtime_input_config");
        let detection = either(config, "automaticActivityDetection", "automatic_activity_detection");
        let detected = detection["disabled"] != true && self.heard >= self.behaviour.socket.turn_ms();
        let ended = !either(input, "activityEnd", "activity_end").is_null()
            || *either(input, "audioStreamEnd", "audio_stream_end") == true && self.heard > 0;
        if !either(input, "activityStart", "activity_start").is_null() {
            self.interrupt()
        } else if detected || ended || text.is_some() {
            self.begin(&Value::Null)
        } else {
            Vec::new()
        }
    }

    /// Begins an answer to everything so far.
    fn begin(&mut self, metadata: &Value) -> Vec<Step> {
        let behaviour = match self.behaviour.with(metadata) {
            Ok(behaviour) => behaviour,
            Err(wrong) => return invalid(&wrong),
        };
        if let Some(status) = behaviour.status.filter(|status| status.as_u16() >= 400) {
            return vec![Step::Close(1011, format!("{status}: failed on request of x-mock-status"))];
        }
        let mut steps = self.interrupt();
        self.context.audio += core::mem::take(&mut self.heard).div_ceil(MS_PER_TOKEN);
        self.turns += 1;
        let setup = self.setup.as_ref().unwrap_or(&Value::Null);
        let mut answer = Answer::new(behaviour.clone(), setup, self.context, self.billed);
        let turn =
            Turn { number: self.turns, events: answer.events(), behaviour, sent: Arc::clone(&answer.sent) };
        self.active = Some(answer);
        steps.push(Step::Begin(Box::new(turn)));
        steps
    }

    /// Ends the answer in progress, if there is one.
    fn interrupt(&mut self) -> Vec<Step> {
        let Some(answer) = self.active.take() else { return Vec::new() };
        self.keep(&answer);
        let interrupted = json!({ "serverContent": { "interrupted": true } }).to_string();
        vec![
            Step::Stop(self.turns),
            Step::Send(interrupted),
            Step::Send(answer.complete(answer.pieces_sent())),
        ]
    }

    fn keep(&mut self, answer: &Answer) {
        let output = answer.output(answer.pieces_sent());
        self.billed = (self.billed.0 + answer.prompt, self.billed.1 + output);
        self.context += output;
    }

    /// Returns the tokens of a content.
    fn tokens(&self, content: &Value) -> Tokens {
        let mut tokens = Tokens::default();
        for part in items(&content["parts"]) {
            let data = either(part, "inlineData", "inline_data");
            let kind = either(data, "mimeType", "mime_type").as_str().unwrap_or_default();
            match part["text"].as_str() {
                Some(text) => tokens.text += self.counter.text(text),
                None if kind.starts_with("audio/") => {
                    tokens.audio += milliseconds(kind, &data["data"]).div_ceil(MS_PER_TOKEN);
                }
                None if data.is_object() => tokens.image += IMAGE_TOKENS,
                None => tokens.text += self.counter.text(&part.to_string()),
            }
        }
        tokens
    }
}

/// Returns the length of sound such as `audio/pcm;rate=16000`, which has 16 bits a sample.
fn milliseconds(kind: &str, data: &Value) -> usize {
    let rate = kind.split_once("rate=").and_then(|(_, rate)| rate.parse::<usize>().ok()).unwrap_or(16_000);
    let bytes = data.as_str().and_then(|data| STANDARD.decode(data).ok()).map_or(0, |bytes| bytes.len());
    bytes * 1_000 / (2 * rate.max(1))
}

fn invalid(message: &str) -> Vec<Step> {
    vec![Step::Close(1007, message.chars().take(100).collect())]
}
