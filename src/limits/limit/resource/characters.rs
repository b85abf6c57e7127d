//! Characters of text that is to be spoken.

use super::{Resource, Unit};
use crate::units::Amount;

pub(super) static CHARACTERS: Resource = Resource {
    name: "characters",
    meaning: "characters of text in calls for speech",
    unit: Unit::Characters,
    amount: |usage, _| Amount(usage.characters),
};
