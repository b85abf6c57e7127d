//! An answer of Gemini Live: its pieces and its usage.
//!
//! In: the setup and the tokens of the session so far. Out: messages with `modelTurn`, then
//! `generationComplete`, then `turnComplete` with `usageMetadata`. Sound is silence of 24 kHz; a
//! word lasts [`WORD_MS`]. Not here: which input begins an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::mock_llm::Behaviour;
use crate::mock_llm::gemini::{either, items};
use crate::mock_llm::sockets::modality::Tokens;
use crate::mock_llm::usage::Usage;
use crate::mock_llm::words::Text;

/// The length of a token of sound: 25 a second (Vertex AI, "Provisioned Throughput for Gemini Live
/// API"). Google's guide to tokens says 32 for other calls.
pub(super) const MS_PER_TOKEN: usize = 40;

/// The milliseconds in which the mock speaks a word.
const WORD_MS: usize = 80;

/// The bytes of a millisecond of 24 kHz and 16 bits.
const BYTES_PER_MS: usize = 48;

/// An answer in progress.
pub(super) struct Answer {
    pub(super) prompt: Tokens,
    /// How many of its messages have been sent.
    pub(super) sent: Arc<AtomicUsize>,
    behaviour: Behaviour,
    spoken: bool,
    transcribed: bool,
    /// The pieces of its text, and the number of words in each.
    pieces: Vec<(String, usize)>,
    /// The number of messages up to and with each piece.
    marks: Vec<usize>,
    /// The prompts and responses of all earlier turns, if the usage adds up.
    billed: (Tokens, Tokens),
}

impl Answer {
    pub(super) fn new(behaviour: Behaviour, setup: &Value, prompt: Tokens, billed: (Tokens, Tokens)) -> Self {
        let config = either(setup, "generationConfig", "generation_config");
        let modalities = either(config, "responseModalities", "response_modalities");
        // Sound is the default.
        let spoken = !items(modalities).any(|modality| modality == "TEXT");
        let allowed = either(config, "maxOutputTokens", "max_output_tokens").as_u64();
        let allowed = allowed.and_then(|tokens| usize::try_from(tokens).ok());
        let per_word = if spoken { WORD_MS / MS_PER_TOKEN } else { 1 };
        let text = Text::of(&behaviour, allowed.map(|tokens| tokens / per_word));
        let transcription = either(setup, "outputAudioTranscription", "output_audio_transcription");
        Self {
            prompt,
            sent: Arc::default(),
            spoken,
            transcribed: spoken && transcription.is_object(),
            pieces: text.pieces(&behaviour).zip(text.lengths(&behaviour)).collect(),
            marks: Vec::new(),
            billed: if behaviour.socket.total_usage { billed } else { Default::default() },
            behaviour,
        }
    }

    /// Returns all messages.
    pub(super) fn events(&mut self) -> Vec<String> {
        let content = |content: Value| json!({ "serverContent": content }).to_string();
        let mut events = Vec::new();
        for (text, words) in &self.pieces {
            if self.transcribed {
                events.push(content(json!({ "outputTranscription": { "text": text } })));
            }
            let part = if self.spoken {
                let data = STANDARD.encode(vec![0; words * WORD_MS * BYTES_PER_MS]);
                json!({ "inlineData": { "mimeType": "audio/pcm;rate=24000", "data": data } })
            } else {
                json!({ "text": text })
            };
            events.push(content(json!({ "modelTurn": { "role": "model", "parts": [part] } })));
            self.marks.push(events.len());
        }
        events.push(content(json!({ "generationComplete": true })));
        events.push(self.complete(self.pieces.len()));
        events
    }

    /// Returns the last message of a turn after so many pieces.
    pub(super) fn complete(&self, pieces: usize) -> String {
        let usage = Usage::of(&self.behaviour, || self.usage(pieces));
        usage.write(&usage.under("usageMetadata", json!({ "serverContent": { "turnComplete": true } })))
    }

    pub(super) fn pieces_sent(&self) -> usize {
        let sent = self.sent.load(Ordering::Relaxed);
        self.marks.iter().filter(|mark| **mark <= sent).count()
    }

    /// Returns the tokens of the first pieces.
    pub(super) fn output(&self, pieces: usize) -> Tokens {
        let words: usize = self.pieces.iter().take(pieces).map(|(_, words)| words).sum();
        if self.spoken {
            Tokens { audio: words * WORD_MS / MS_PER_TOKEN, ..Tokens::default() }
        } else {
            Tokens { text: words, ..Tokens::default() }
        }
    }

    fn usage(&self, pieces: usize) -> Value {
        let prompt = self.prompt + self.billed.0;
        let response = self.output(pieces) + self.billed.1;
        json!({
            "promptTokenCount": prompt.total(),
            "responseTokenCount": response.total(),
            "totalTokenCount": prompt.total() + response.total(),
            "promptTokensDetails": details(prompt),
            "responseTokensDetails": details(response),
        })
    }
}

/// Returns the tokens of each modality that has any.
fn details(tokens: Tokens) -> Value {
    let modalities = [("TEXT", tokens.text), ("AUDIO", tokens.audio), ("IMAGE", tokens.image)];
    let some = modalities.iter().filter(|(_, count)| *count > 0);
    some.map(|(modality, count)| json!({ "modality": modality, "tokenCount": count })).collect()
}
