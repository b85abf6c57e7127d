//! Tests of the state that a budget keeps when a reload changes its limit, as in
//! docs/configuration.md.

use super::tests::second;
use super::*;

const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::TokenBucket, Algorithm::SlidingWindow, Algorithm::FixedWindow];

fn shape(algorithm: Algorithm, max: u64, window: u64) -> Shape {
    Shape { algorithm, max: Amount(max), burst: Amount(max), window: Span::from_secs(window) }
}

/// Returns the payload of a budget with this amount spent at a full hour.
fn with_spent(shape: Shape, amount: u64) -> Payload {
    let mut budget = Budget::open(shape, None, second(0));
    budget.charge(Amount(amount));
    budget.encode()
}

fn available(shape: Shape, stored: &Payload, at: u64) -> u64 {
    Budget::open(shape, Some(stored), second(at)).available().0
}

#[test]
fn a_raised_max_leaves_the_difference_at_once() {
    for algorithm in ALGORITHMS {
        let stored = with_spent(shape(algorithm, 100, MINUTE), 40);
        assert_eq!(available(shape(algorithm, 500, MINUTE), &stored, 0), 460, "{algorithm:?}");
    }
}

#[test]
fn a_max_below_what_is_spent_leaves_nothing_and_a_debt() {
    for (algorithm, until_one_fits) in [
        // A bucket refills 31 at 20 a minute. The next window pays 20 of the debt of 30, and the
        // one after it pays the rest.
        (Algorithm::TokenBucket, Span::from_secs(93)),
        (Algorithm::FixedWindow, Span::from_secs(120)),
        // Here the share of the previous window must decay as well.
        (Algorithm::SlidingWindow, Span::from_secs(153)),
    ] {
        let stored = with_spent(shape(algorithm, 100, MINUTE), 50);
        let budget = Budget::open(shape(algorithm, 20, MINUTE), Some(&stored), second(0));
        assert_eq!(budget.available(), Amount::ZERO, "{algorithm:?}");
        assert_eq!(budget.wait_for(Amount(1)), Wait::For(until_one_fits), "{algorithm:?}");
    }
}

#[test]
fn a_changed_burst_leaves_what_it_is_more_than_what_is_spent() {
    let bucket = shape(Algorithm::TokenBucket, 100, MINUTE);
    let stored = with_spent(bucket, 40);
    assert_eq!(available(Shape { burst: Amount(300), ..bucket }, &stored, 0), 260);
    assert_eq!(available(Shape { burst: Amount(30), ..bucket }, &stored, 0), 0);
}

#[test]
fn under_another_window_what_is_spent_flows_back_as_if_it_had_always_been_so() {
    for (algorithm, after_half_a_minute, after_a_minute) in [
        (Algorithm::TokenBucket, 90, 100),
        (Algorithm::FixedWindow, 40, 100),
        (Algorithm::SlidingWindow, 40, 40),
    ] {
        let (minute, hour) = (shape(algorithm, 100, MINUTE), shape(algorithm, 100, HOUR));
        let stored = with_spent(hour, 60);
        for (at, left) in [(0, 40), (30, after_half_a_minute), (60, after_a_minute)] {
            assert_eq!(available(minute, &stored, at), left, "{algorithm:?} at {at} s");
        }

        let flowed_back = if algorithm == Algorithm::TokenBucket { 1 } else { 0 };
        let stored = with_spent(minute, 60);
        assert_eq!(available(hour, &stored, 60), 40 + flowed_back, "{algorithm:?}");
    }
}

#[test]
fn under_another_algorithm_what_the_present_window_has_spent_stays_spent() {
    for from in ALGORITHMS {
        let stored = with_spent(shape(from, 100, MINUTE), 40);
        for to in ALGORITHMS {
            assert_eq!(available(shape(to, 100, MINUTE), &stored, 0), 60, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn only_a_sliding_window_counts_the_window_before() {
    let sliding = shape(Algorithm::SlidingWindow, 100, MINUTE);
    let stored = Budget::open(sliding, Some(&with_spent(sliding, 40)), second(75)).encode();
    assert_eq!(available(sliding, &stored, 75), 70);
    assert_eq!(available(shape(Algorithm::TokenBucket, 100, MINUTE), &stored, 75), 100);
    assert_eq!(available(shape(Algorithm::FixedWindow, 100, MINUTE), &stored, 75), 100);
}
