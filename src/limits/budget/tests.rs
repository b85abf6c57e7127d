//! Budgets by example.

use super::*;
use crate::store::PAYLOAD_BYTES;

const MINUTE: u64 = 60;

/// Returns the moment this many seconds after a full hour.
pub(in crate::limits) fn second(second: u64) -> Timestamp {
    Timestamp::default() + Span::from_secs(1_800_000_000 + second)
}

fn per_minute(algorithm: Algorithm, max: u64) -> Shape {
    Shape { algorithm, max: Amount(max), burst: Amount(max), window: Span::from_secs(MINUTE) }
}

fn bucket(max: u64) -> Shape {
    per_minute(Algorithm::TokenBucket, max)
}

fn fixed(max: u64) -> Shape {
    per_minute(Algorithm::FixedWindow, max)
}

fn sliding(max: u64) -> Shape {
    per_minute(Algorithm::SlidingWindow, max)
}

/// Stores the budget and opens it at another moment.
pub(in crate::limits) fn later(budget: &Budget, now: Timestamp) -> Budget {
    Budget::open(budget.shape, Some(&budget.encode()), now)
}

fn seconds(seconds: u64) -> Wait {
    Wait::For(Span::from_secs(seconds))
}

#[test]
fn an_untouched_budget_holds_its_whole_capacity() {
    for shape in [bucket(60), fixed(60), sliding(60)] {
        let budget = Budget::open(shape, None, second(7));

        assert_eq!((budget.available(), budget.spent()), (Amount(60), Amount(0)));
        assert_eq!((budget.fill(), budget.idle_at()), (0, second(7)));
    }
}

#[test]
fn a_bucket_gives_back_continuously() {
    let mut budget = Budget::open(bucket(60), None, second(0));
    budget.reserve(Amount(60)).unwrap();

    let refused = later(&budget, second(10)).reserve(Amount(15)).unwrap_err();

    assert_eq!(refused, Refused { asked: Amount(15), available: Amount(10), wait: seconds(5) });
    assert_eq!(later(&budget, second(10)).reset_in(), Span::from_secs(50));
}

#[test]
fn a_bucket_allows_its_burst_and_refills_at_its_rate() {
    let shape = Shape { burst: Amount(200), ..bucket(60) };
    let mut budget = Budget::open(shape, None, second(0));

    budget.reserve(Amount(200)).unwrap();

    assert_eq!(later(&budget, second(60)).available(), Amount(60));
    assert_eq!(budget.idle_at(), second(200));
}

#[test]
fn a_fixed_window_gives_all_back_at_the_turn_of_the_calendar() {
    let mut budget = Budget::open(fixed(60), None, second(50));
    budget.reserve(Amount(60)).unwrap();

    assert_eq!(budget.wait_for(Amount(1)), seconds(10));
    assert_eq!(budget.reset_in(), Span::from_secs(10));
    assert_eq!(later(&budget, second(59)).available(), Amount(0));
    assert_eq!(later(&budget, second(60)).available(), Amount(60));
}

#[test]
fn a_sliding_window_still_counts_its_share_of_the_last_one() {
    let mut budget = Budget::open(sliding(60), None, second(50));
    budget.reserve(Amount(60)).unwrap();

    assert_eq!(later(&budget, second(60)).available(), Amount(0));
    assert_eq!(later(&budget, second(75)).available(), Amount(15));
    assert_eq!(later(&budget, second(120)).available(), Amount(60));
    assert_eq!(budget.wait_for(Amount(15)), seconds(25));
    assert_eq!(budget.idle_at(), second(120));
}

#[test]
fn what_is_counted_in_part_is_rounded_against_the_caller() {
    let mut windows = Budget::open(sliding(60), None, second(0));
    windows.reserve(Amount(1)).unwrap();
    assert_eq!(later(&windows, second(119)).available(), Amount(59));

    let mut bucket = Budget::open(bucket(1), None, second(0));
    bucket.reserve(Amount(1)).unwrap();
    assert_eq!(later(&bucket, second(59)).available(), Amount(0));
    assert_eq!(later(&bucket, second(60)).available(), Amount(1));
}

#[test]
fn a_debt_is_paid_by_the_windows_that_follow() {
    let mut budget = Budget::open(fixed(60), None, second(0));
    budget.charge(Amount(150));

    assert_eq!(later(&budget, second(60)).available(), Amount(0));
    assert_eq!(later(&budget, second(120)).available(), Amount(30));
    assert_eq!(later(&budget, second(180)).available(), Amount(60));
    assert_eq!((budget.wait_for(Amount(31)), budget.idle_at()), (seconds(180), second(180)));
}

#[test]
fn a_debt_of_a_bucket_is_paid_at_its_rate() {
    let mut budget = Budget::open(bucket(60), None, second(0));
    budget.charge(Amount(150));

    assert_eq!((budget.available(), budget.wait_for(Amount(10))), (Amount(0), seconds(100)));
}

#[test]
fn nothing_fits_even_into_a_debt() {
    let mut budget = Budget::open(fixed(60), None, second(0));
    budget.charge(Amount(150));

    assert_eq!(budget.reserve(Amount(0)), Ok(()));
    assert_eq!(budget.wait_for(Amount(0)), seconds(0));
}

#[test]
fn more_than_the_capacity_never_fits() {
    for shape in [bucket(60), fixed(60), sliding(60)] {
        let refused = Budget::open(shape, None, second(0)).reserve(Amount(61)).unwrap_err();

        assert_eq!(refused, Refused { asked: Amount(61), available: Amount(60), wait: Wait::Never });
    }
}

#[test]
fn a_budget_that_is_never_given_back_says_so() {
    let shape = Shape { burst: Amount(5), ..bucket(0) };
    let mut budget = Budget::open(shape, None, second(0));
    budget.reserve(Amount(5)).unwrap();

    assert_eq!(budget.wait_for(Amount(1)), Wait::Never);
    assert_eq!(budget.idle_at(), Timestamp(u64::MAX));
}

#[test]
fn a_refund_in_the_same_window_is_as_if_never_charged() {
    for shape in [bucket(60), fixed(60), sliding(60)] {
        let mut budget = Budget::open(shape, None, second(5));
        let held = budget;
        budget.charge(Amount(40));

        assert_eq!(budget.refund(Amount(40), budget.counted_at()), Amount(40));

        assert_eq!(budget, held);
    }
}

#[test]
fn a_refund_for_the_last_window_frees_nothing_in_this_one() {
    let mut budget = Budget::open(fixed(60), None, second(59));
    budget.reserve(Amount(50)).unwrap();
    let reserved_at = budget.counted_at();
    let mut next = later(&budget, second(60));
    next.reserve(Amount(60)).unwrap();

    next.refund(Amount(50), reserved_at);

    assert_eq!(next.available(), Amount(0));
}

#[test]
fn a_refund_for_the_last_window_lowers_what_it_handed_on_first() {
    let mut budget = Budget::open(sliding(60), None, second(0));
    budget.charge(Amount(90));
    let mut next = later(&budget, second(60));
    assert_eq!(next.spent(), Amount(90));

    assert_eq!(next.refund(Amount(40), budget.counted_at()), Amount(40));

    // 30 of the debt, then 10 of the 60 that the last window had.
    assert_eq!(next.spent(), Amount(50));
    assert_eq!(later(&next, second(90)).spent(), Amount(25));
}

#[test]
fn a_refund_for_an_older_window_is_dropped() {
    let mut budget = Budget::open(sliding(60), None, second(0));
    budget.charge(Amount(50));
    let mut after = later(&budget, second(120));
    after.charge(Amount(50));

    assert_eq!(after.refund(Amount(50), budget.counted_at()), Amount(0));
    assert_eq!(after.spent(), Amount(50));
}

#[test]
fn a_bucket_that_has_been_full_since_gives_nothing_back() {
    let mut budget = Budget::open(bucket(60), None, second(0));
    budget.reserve(Amount(60)).unwrap();
    let mut full = later(&budget, second(60));
    full.reserve(Amount(60)).unwrap();

    assert_eq!(full.refund(Amount(60), budget.counted_at()), Amount(0));
    assert_eq!(full.available(), Amount(0));
}

#[test]
fn a_clock_that_jitters_refills_nothing_twice() {
    let mut budget = Budget::open(bucket(60), None, second(0));
    budget.reserve(Amount(60)).unwrap();

    for _ in 0..10 {
        budget = later(&budget, second(10));
        budget = later(&budget, second(9));
    }

    assert_eq!(later(&budget, second(10)).available(), Amount(10));
    assert_eq!(budget.wait_for(Amount(12)), seconds(3));
}

#[test]
fn a_late_write_does_not_reopen_the_last_window() {
    let mut budget = Budget::open(fixed(60), None, second(60));
    budget.reserve(Amount(60)).unwrap();

    let behind = later(&budget, second(59));
    assert_eq!((behind.available(), behind.counted_at()), (Amount(0), second(60)));
    assert_eq!(behind.wait_for(Amount(1)), seconds(61));
    assert_eq!(later(&behind, second(60)).available(), Amount(0));
}

#[test]
fn a_clock_that_was_set_back_gives_nothing_back_and_goes_on() {
    for shape in [bucket(60), fixed(60)] {
        let mut budget = Budget::open(shape, None, second(7_200));
        budget.reserve(Amount(60)).unwrap();

        let set_back = later(&budget, second(0));

        assert_eq!(set_back.available(), Amount(0));
        assert_eq!(later(&set_back, second(60)).available(), Amount(60));
    }
}

#[test]
fn reservations_made_after_a_clock_was_set_back_are_given_back() {
    let mut budget = Budget::open(bucket(60), None, second(7_200));
    budget.reserve(Amount(60)).unwrap();
    let mut set_back = later(&later(&budget, second(0)), second(30));
    set_back.reserve(Amount(20)).unwrap();

    assert_eq!(set_back.refund(Amount(20), set_back.counted_at()), Amount(20));
}

#[test]
fn a_changed_limit_keeps_what_was_spent() {
    for shape in [bucket(60), fixed(60), sliding(60)] {
        let mut budget = Budget::open(shape, None, second(0));
        budget.reserve(Amount(50)).unwrap();
        let stored = budget.encode();

        for changed in [bucket(100), fixed(100), sliding(100)] {
            assert_eq!(Budget::open(changed, Some(&stored), second(0)).available(), Amount(50));
            let longer = Shape { window: Span::from_secs(3_600), ..changed };
            assert_eq!(Budget::open(longer, Some(&stored), second(0)).available(), Amount(50));
        }
    }
}

#[test]
fn bytes_that_are_no_budget_are_an_untouched_one() {
    let stored = [0xff; PAYLOAD_BYTES];

    assert_eq!(Budget::open(fixed(60), Some(&stored), second(0)), Budget::open(fixed(60), None, second(0)));
}

#[test]
fn fill_is_the_share_of_the_capacity() {
    let mut budget = Budget::open(fixed(1_000), None, second(0));
    for (charge, fill) in [(1, 1), (249, 64), (250, 128), (499, 255), (1, 255), (5_000, 255)] {
        budget.charge(Amount(charge));
        assert_eq!(budget.fill(), fill, "after {} of 1000", budget.spent());
    }
}
