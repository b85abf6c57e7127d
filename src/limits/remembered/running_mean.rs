//! Running means, in which each value moves the mean by a sixteenth of its difference.
//!
//! In: the mean before and a value. Out: the mean after. Not here: the values.

use crate::units::Span;

/// Each value moves the mean by this fraction of its difference, so the mean settles within a few
/// dozen values. RFC 6298 uses an eighth for values that come in sequence.
const GAIN: u64 = 16;

/// The time without a value after which a mean is forgotten.
pub(super) const FORGOTTEN_AFTER: Span = Span::from_secs(24 * 3600);

/// Moves the mean towards a value by at least 1, so that the mean arrives.
pub(super) fn toward(mean: u64, value: u64) -> u64 {
    let step = mean.abs_diff(value).div_ceil(GAIN);
    if value > mean { mean.saturating_add(step) } else { mean.saturating_sub(step) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_moves_by_a_sixteenth_and_arrives() {
        assert_eq!([toward(0, 1_600), toward(1_600, 0), toward(7, 7)], [100, 1_500, 7]);
        assert_eq!((0..200).fold(0, |mean, _| toward(mean, 1_000)), 1_000);
        assert_eq!(toward(u64::MAX, u64::MAX), u64::MAX);
    }
}
