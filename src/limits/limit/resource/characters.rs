//! Characters of text that is to be spoken.

use super::Resource;
use crate::limits::limit::unit::Unit;
use crate::units::Amount;

pub(super) static CHARACTERS: Resource = Resource {
    name: "characters",
    meaning: "characters of text in calls for speech",
    unit: &Unit::CHARACTERS,
    amount: |usage, _| Amount(usage.characters),
};
