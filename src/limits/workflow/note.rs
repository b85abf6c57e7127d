//! Notes: records that tell the calls of a workflow about a charge that they share.
//!
//! In: a key, and a pure closure on the note there. Out: the closure's answer, once its change is
//! stored. Not here: the content of notes (`once`, `pool`), how records are stored (`record`),
//! budgets.
//!
//! A note has a place of its own or none, so no workflow is taken for another, however full the
//! table is. Writing one does not count as use when the table chooses what to evict, so a flood of
//! made-up workflows leaves nothing permanent in the table. A lost note costs its workflow one
//! charge more, never one less.

use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Record, Unstored};
use crate::store::{Key, Place};
use crate::units::{Span, Timestamp};

/// A record of a charge that calls share.
pub(in crate::limits) trait Note: Record + Copy {
    fn charge(&self) -> &SharedCharge;
}

/// A charge that calls share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct SharedCharge {
    /// The entry of the budget that has it.
    pub(in crate::limits) place: Place,
    /// The time at which it counts in the budget.
    pub(in crate::limits) counted_at: Timestamp,
    /// The time at which the first call made it, by that call's clock. It distinguishes the charge
    /// from earlier ones of the same workflow.
    pub(in crate::limits) made_at: Timestamp,
    /// The time after that until it is paid, if it became a debt.
    pub(in crate::limits) wait: Span,
}

/// Runs `run` on the living note of the charge made at `made_at`, and stores the note that it
/// returns, if any. Returns `None` if there is no such note.
pub(in crate::limits) fn change_same<N: Note, T>(
    budgets: &Budgets<'_>,
    key: &Key,
    made_at: Timestamp,
    run: impl Fn(N) -> (T, Option<N>),
) -> Result<Option<T>, Unstored> {
    record::change(budgets, key, |note: Option<N>| {
        match note.filter(|note| note.charge().made_at == made_at).map(&run) {
            Some((answer, note)) => (Some(answer), note),
            None => (None, None),
        }
    })
}

/// The layout of the first number of a packed note. One bit says that the charge is in a shared
/// entry. Above it is the end of the note in milliseconds, which fits until the year 2109. Below it
/// is the wait in milliseconds, up to 35 minutes; waits are at most one minute.
const SHARED: u64 = 1 << 21;
const LONGEST_WAIT: u64 = SHARED - 1;
const LAST_END: u64 = u64::MAX >> 22;
const NANOS_PER_MILLI: u64 = 1_000_000;

impl SharedCharge {
    /// Returns the time that calls relying on it must wait. The clocks of workers differ a little,
    /// so a charge that was paid at once may have been made at a moment still to come here.
    pub(in crate::limits) fn due_in(&self, now: Timestamp) -> Span {
        if self.wait.is_zero() { Span::ZERO } else { (self.made_at + self.wait).since(now) }
    }

    /// Packs a note that lives until `until` and has one more number.
    pub(in crate::limits) fn packed(&self, until: Timestamp, number: u64) -> [u64; 4] {
        let shared = if self.place == Place::Shared { SHARED } else { 0 };
        let end = until.0.div_ceil(NANOS_PER_MILLI).min(LAST_END);
        let first = (end << 22) | shared | self.wait.as_millis_ceil().min(LONGEST_WAIT);
        [first, self.counted_at.0, self.made_at.0, number]
    }

    /// Returns the charge, the end of its note, and the additional number.
    pub(in crate::limits) fn unpacked(
        [first, counted_at, made_at, number]: [u64; 4],
    ) -> (Self, Timestamp, u64) {
        let place = if first & SHARED == 0 { Place::Own } else { Place::Shared };
        let wait = Span::from_millis(first & LONGEST_WAIT);
        let charge = Self { place, counted_at: Timestamp(counted_at), made_at: Timestamp(made_at), wait };
        (charge, Timestamp((first >> 22).saturating_mul(NANOS_PER_MILLI)), number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGE: SharedCharge = SharedCharge {
        place: Place::Shared,
        counted_at: Timestamp(2),
        made_at: Timestamp(3),
        wait: Span::from_secs(60),
    };

    #[test]
    fn what_is_noted_is_read_and_its_end_is_rounded_up_to_a_millisecond() {
        for (until, read) in [(0, 0), (1, 1_000_000), (1_700_000_000_123_456_789, 1_700_000_000_124_000_000)]
        {
            let unpacked = SharedCharge::unpacked(CHARGE.packed(Timestamp(until), u64::MAX));
            assert_eq!(unpacked, (CHARGE, Timestamp(read), u64::MAX));
        }
        let own = SharedCharge { place: Place::Own, ..CHARGE };
        assert_eq!(SharedCharge::unpacked(own.packed(Timestamp(1), 0)).0, own);
    }

    #[test]
    fn calls_wait_until_the_charge_is_paid_and_no_longer() {
        let charge = SharedCharge { wait: Span(5), ..CHARGE };
        assert_eq!([4, 8, 9].map(|now| charge.due_in(Timestamp(now))), [Span(4), Span(0), Span(0)]);
        let paid_at_once = SharedCharge { wait: Span::ZERO, ..CHARGE };
        assert_eq!(paid_at_once.due_in(Timestamp(1)), Span::ZERO, "by a clock that is behind");
    }
}
