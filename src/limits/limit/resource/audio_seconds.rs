//! Seconds of sound that models hear and speak.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static AUDIO_SECONDS: Resource = Resource {
    name: "audio_seconds",
    meaning: "seconds of sound heard and spoken, on voice sockets and in calls for speech and transcription",
    unit: &Unit::AUDIO,
    amount: |usage, _| Amount(usage.audio_ms),
};
