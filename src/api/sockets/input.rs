//! What a response on a socket reads besides its request: the conversation so far.
//!
//! In: usage that a response reports, and items and sound that come after it. Out: the usage of a
//! response that begins now. Not here: the messages that carry them (each API).

use crate::api::{ReportedUsage, Usage};

/// The conversation so far, as the input of the next response.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::api) struct ConversationInput {
    /// What the last response has read and written.
    before: Usage,
    /// What has come since.
    added: Usage,
    /// The length of the sound that no response was charged for, in milliseconds.
    sound_ms: u64,
}

impl ConversationInput {
    /// Adds items.
    pub(in crate::api) fn add(&mut self, usage: Usage) {
        self.added = self.added.plus(usage);
    }

    /// Adds sound of this length, which costs so many tokens.
    pub(in crate::api) fn add_sound(&mut self, ms: u64, tokens: u64) {
        self.sound_ms = self.sound_ms.saturating_add(ms);
        self.added.audio_input = self.added.audio_input.saturating_add(tokens);
    }

    /// Removes sound that the client has taken back.
    pub(in crate::api) fn remove_sound(&mut self, ms: u64, tokens: u64) {
        self.sound_ms = self.sound_ms.saturating_sub(ms);
        self.added.audio_input = self.added.audio_input.saturating_sub(tokens);
    }

    /// Takes the sound that has come until `then` as charged.
    pub(in crate::api) const fn charge_sound(&mut self, then: &Self) {
        self.sound_ms = self.sound_ms.saturating_sub(then.sound_ms);
    }

    /// Takes what has come until `then` as part of a response with this usage.
    pub(in crate::api) fn include(&mut self, told: &ReportedUsage, then: &Self) {
        let used = told.or(Usage::default());
        let sound = [used.audio_input, used.cached_audio_input, used.audio_output];
        let sound = sound.into_iter().fold(0, u64::saturating_add);
        let all = used.all_input().saturating_add(used.all_output());
        self.before = Usage { input: all.saturating_sub(sound), audio_input: sound, ..Usage::default() };
        self.added = self.added.zip(then.added).map(|(now, then)| now.saturating_sub(then));
    }

    /// Takes all sound as charged, and returns its length in milliseconds.
    pub(in crate::api) const fn take_sound(&mut self) -> u64 {
        core::mem::replace(&mut self.sound_ms, 0)
    }

    /// Returns the usage of a response that begins now, besides its own request.
    pub(in crate::api) fn usage(&self) -> Usage {
        Usage { audio_ms: self.sound_ms, ..self.before.plus(self.added) }
    }
}
