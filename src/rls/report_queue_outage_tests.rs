//! A failing service: what is sent again, when, and what is dropped.

use super::*;

#[test]
fn a_report_that_failed_is_sent_again_after_a_delay_that_doubles_up_to_five_seconds() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    let (mut now, mut delays) = (0, vec![]);
    assert_eq!(bench.hits(0), Some(7));
    for _ in 0..8 {
        bench.fail(now);
        let delay = bench.next_due(now).unwrap();
        assert_eq!(bench.hits(now + delay - 1), None);
        now += delay;
        assert_eq!(bench.hits(now), Some(7));
        delays.push(delay);
    }
    assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    assert_eq!(bench.counts()[&(metrics::GLOBAL_REPORTS.name, "retried")], 8);
}

#[test]
fn what_could_not_be_sent_is_sent_again() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    let batch = bench.due(0).remove(0);

    bench.process.at(0, |budgets| bench.report_queue.not_sent(batch, budgets));

    assert_eq!(bench.hits(99), None);
    assert_eq!(bench.hits(100), Some(7));
    assert_eq!(bench.counts()[&(metrics::GLOBAL_FAILURES.name, "unavailable")], 1);
}

#[test]
fn what_comes_while_a_failed_report_waits_goes_with_it_and_does_not_hurry_it() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    bench.hits(0);
    bench.push(10, report("ada", 5, 60_000));
    bench.fail(20);
    bench.push(30, report("ada", 1, 60_000));

    assert_eq!(bench.hits(119), None);
    assert_eq!(bench.hits(120), Some(13));
}

#[test]
fn a_report_that_cannot_be_told_in_its_window_is_dropped_and_counted() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 150));
    bench.hits(0);
    bench.fail(100);
    assert_eq!(bench.dropped(), 0);

    assert_eq!(bench.hits(200), None);

    assert_eq!((bench.dropped(), bench.next_due(200)), (1, None));
}

#[test]
fn a_report_that_fails_after_its_window_is_dropped_at_once() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 150));
    bench.hits(0);
    bench.fail(150);

    assert_eq!((bench.dropped(), bench.next_due(150)), (1, None));
}

#[test]
fn a_failed_report_has_a_last_chance_before_its_window_ends() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 4_000));
    let mut now = 0;
    // 100, 200, 400, 800, 1,600 ms: the next would be 3,200 ms later, at 6,300.
    for _ in 0..5 {
        assert_eq!(bench.hits(now), Some(7));
        bench.fail(now);
        now += bench.next_due(now).unwrap();
    }
    assert_eq!(bench.hits(now), Some(7));
    bench.fail(now);
    assert_eq!((now, bench.next_due(now)), (3_100, Some(800)));
    assert_eq!(bench.hits(3_900), Some(7));
}

#[test]
fn an_outage_of_many_windows_is_not_charged_to_the_one_after_it() {
    let mut bench = Bench::of(service());
    let mut sent = 0;
    // A call of 1 token every second, with windows of ten seconds, and no contact for a minute.
    for millis in (0..60_000).step_by(1_000) {
        bench.push(millis, report("ada", 1, millis / 10_000 * 10_000 + 10_000));
        for (token, _) in bench.send(millis) {
            bench.answered(millis, token, Err(Failure::Unavailable));
        }
    }
    for millis in 60_000..66_000 {
        sent += bench.hits(millis).unwrap_or(0);
    }
    assert_eq!(sent, 0, "the last window has ended, too");
    assert_eq!(bench.dropped(), 6);
}

#[test]
fn after_an_outage_what_belongs_to_the_present_window_is_told() {
    let mut bench = Bench::of(service());
    for millis in (0..55_000).step_by(1_000) {
        bench.push(millis, report("ada", 1, millis / 10_000 * 10_000 + 10_000));
        for (token, _) in bench.send(millis) {
            bench.answered(millis, token, Err(Failure::Unavailable));
        }
    }
    let mut sent = 0;
    for millis in 55_000..60_000 {
        for (token, said) in bench.send(millis) {
            sent += said[0].1;
            bench.answered(millis, token, Ok(&ok()));
        }
    }
    assert_eq!(sent, 5);
}

#[test]
fn an_answer_that_does_not_come_is_a_failure_a_second_after_the_deadline() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    bench.hits(0);

    assert_eq!(bench.hits(3_000), None);
    assert_eq!(bench.next_due(3_000), Some(1_000));
    assert_eq!(bench.hits(3_001), None, "now it is given up, and waits");
    assert_eq!(bench.answered(3_010, 1, Ok(&ok())), None, "too late");
    assert_eq!(bench.hits(3_101), Some(7));
}

#[test]
fn an_answer_that_calls_would_not_have_waited_for_counts_and_says_that_the_service_is_slow() {
    let mut bench = Bench::of(service());
    for (millis, health) in [(0, Health::Well), (100, Health::Slow)] {
        bench.push(millis, report("ada", 7, 60_000));
        let (token, _) = bench.send(millis).remove(0);

        let took = if health == Health::Well { 50 } else { 51 };
        assert_eq!(bench.answered(millis + took, token, Ok(&ok())), Some(health));
        assert_eq!(bench.hits(60_000 - 1), None, "it is not sent again");
    }
}

#[test]
fn what_is_given_back_is_not_sent_again() {
    let mut bench = Bench::of(service());
    let Task::Report(report) = report("ada", 7, 60_000) else { unreachable!() };
    bench.push(0, Task::Report(Report { given_back: true, ..report }));
    let (token, _) = bench.send(0).remove(0);

    assert_eq!(bench.answered(10, token, Err(Failure::Unavailable)), Some(Health::Failing));

    assert_eq!(bench.hits(30_000), None);
    assert_eq!(bench.dropped(), 1);
}

#[test]
fn while_the_breaker_is_open_reports_wait_without_a_tick_for_each() {
    let breaker = BreakerPolicy { failures: 1, probe_every: Span::from_millis(1_000) };
    let mut bench = Bench::of(Service { breaker, ..service() });
    bench.push(0, report("ada", 7, 60_000));
    let _ = bench.breaker.answered(false, START);

    for millis in (0..1_000).step_by(100) {
        assert_eq!(bench.hits(millis), None);
        assert_eq!(bench.next_due(millis), Some(100));
    }

    assert_eq!(bench.hits(1_000), Some(7));
    assert_eq!(bench.counts().get(&(metrics::GLOBAL_REPORTS.name, "retried")), None);
}

#[test]
fn a_service_that_fails_is_tried_with_one_request_and_the_rest_follows_when_it_is_back() {
    let breaker = BreakerPolicy { failures: 1, probe_every: Span::from_millis(1_000) };
    let mut bench = Bench::of(Service { breaker, ..speaking(Protocol::Kuadrant) });
    for user in ["ada", "bob", "eve"] {
        bench.push(0, report(user, 7, 60_000));
    }
    let _ = bench.breaker.answered(false, START);

    assert_eq!(bench.send(1_000).len(), 1);
    assert_eq!(bench.send(1_100), []);
    bench.answered(1_100, 1, Ok(&ok()));
    let _ = bench.breaker.answered(true, START + Span::from_millis(1_100));

    assert_eq!(bench.send(1_200).len(), 2);
}
