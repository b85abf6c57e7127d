//! Sound that comes in: the buffer, voice detection and transcription.
//!
//! In: `input_audio_buffer` events. Out: items of the conversation, their transcripts with the
//! usage of the transcription model, and the responses that voice detection begins. Not here:
//! listening; the rule is in `mod.rs`.

use serde_json::{Value, json};

use super::conversation::Item;
use super::{Realtime, Refusal, Step, sound};
use crate::mock_llm::Behaviour;
use crate::mock_llm::words::Text;

/// Sound that is not part of the conversation yet.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: usize,
    /// The milliseconds of all sound before.
    before: usize,
    /// The id of the coming item, if voice detection hears somebody speak.
    item: Option<String>,
}

/// The words of any transcript.
const TRANSCRIPT_TOKENS: usize = 5;

impl Realtime {
    pub(super) fn append(&mut self, event: &Value) -> Result<Vec<Step>, Refusal> {
        let Some(bytes) = sound::decoded(&event["audio"]) else {
            return Err(Refusal("invalid_audio", "'audio' is not base64.".to_owned()));
        };
        let mut steps = Vec::new();
        let detection = self.config["audio"]["input"]["turn_detection"].clone();
        if detection.is_null() {
            self.buffer.bytes += bytes;
            return Ok(steps);
        }
        if self.buffer.item.is_none() && bytes > 0 {
            steps.extend(self.begin_speech(&detection));
        }
        self.buffer.bytes += bytes;
        if self.heard() >= self.behaviour.socket.turn_ms() {
            steps.extend(self.end_speech(&detection)?);
        }
        Ok(steps)
    }

    fn begin_speech(&mut self, detection: &Value) -> Vec<Step> {
        let id = self.new_item_id();
        self.buffer.item = Some(id.clone());
        let mut steps = vec![self.send(json!({
            "type": "input_audio_buffer.speech_started",
            "audio_start_ms": self.buffer.before,
            "item_id": id,
        }))];
        let interrupted = self.active().map(|reply| reply.number);
        let interrupted = interrupted.filter(|_| detection["interrupt_response"] != false);
        steps.extend(
            interrupted.and_then(|number| self.cancel(number, "turn_detected")).into_iter().flatten(),
        );
        steps
    }

    fn end_speech(&mut self, detection: &Value) -> Result<Vec<Step>, Refusal> {
        let mut steps = vec![self.send(json!({
            "type": "input_audio_buffer.speech_stopped",
            "audio_end_ms": self.buffer.before + self.heard(),
            "item_id": self.buffer.item,
        }))];
        steps.extend(self.commit()?);
        if detection["create_response"] != false {
            match self.create_response(&json!({})) {
                Ok(begun) => steps.extend(begun),
                Err(refusal) => steps.push(self.error(refusal, &Value::Null)),
            }
        }
        Ok(steps)
    }

    pub(super) fn commit(&mut self) -> Result<Vec<Step>, Refusal> {
        let milliseconds = self.heard();
        if milliseconds == 0 {
            let message = "Error committing input audio buffer: the buffer is empty.";
            return Err(Refusal("input_audio_buffer_commit_empty", message.to_owned()));
        }
        let id = match self.buffer.item.take() {
            Some(id) => id,
            None => self.new_item_id(),
        };
        self.buffer = Buffer { before: self.buffer.before + milliseconds, ..Buffer::default() };
        let previous = self.conversation.last();
        let committed =
            json!({ "type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": id });
        let mut steps = vec![self.send(committed)];
        steps.extend(self.add_item(Item::spoken(&id, milliseconds)));
        steps.extend(self.transcribe(&id, milliseconds));
        Ok(steps)
    }

    pub(super) fn clear(&mut self) -> Vec<Step> {
        self.buffer = Buffer { before: self.buffer.before + self.heard(), ..Buffer::default() };
        vec![self.send(json!({ "type": "input_audio_buffer.cleared" }))]
    }

    /// Returns the transcript of an item, if the session asks for transcripts.
    fn transcribe(&mut self, id: &str, milliseconds: usize) -> Vec<Step> {
        let config = &self.config["audio"]["input"]["transcription"];
        let Some(model) = config["model"].as_str() else { return Vec::new() };
        let usage = if model.starts_with("whisper") {
            #[expect(clippy::cast_precision_loss, reason = "sound in tests lasts seconds")]
            let seconds = milliseconds as f64 / 1_000.0;
            json!({ "type": "duration", "seconds": seconds })
        } else {
            let prompt = config["prompt"].as_str().map_or(0, |prompt| self.counter.text(prompt));
            let audio = sound::heard(milliseconds);
            json!({
                "type": "tokens",
                "total_tokens": prompt + audio + TRANSCRIPT_TOKENS,
                "input_tokens": prompt + audio,
                "input_token_details": { "text_tokens": prompt, "audio_tokens": audio },
                "output_tokens": TRANSCRIPT_TOKENS,
            })
        };
        let words = Behaviour { output_tokens: Some(TRANSCRIPT_TOKENS), ..Behaviour::default() };
        let transcript = Text::of(&words, None).whole();
        let event = |kind: &str, more: Value| {
            let kind = format!("conversation.item.input_audio_transcription.{kind}");
            let mut event = json!({ "type": kind, "item_id": id, "content_index": 0 });
            super::merge(&mut event, more);
            event
        };
        let delta = event("delta", json!({ "delta": transcript }));
        let completed = event("completed", json!({ "transcript": transcript, "usage": usage }));
        vec![self.send(delta), self.send(completed)]
    }

    /// Returns the milliseconds of sound in the buffer.
    fn heard(&self) -> usize {
        self.input_format().milliseconds(self.buffer.bytes)
    }
}
