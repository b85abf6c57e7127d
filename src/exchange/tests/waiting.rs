//! Calls that wait for their budgets: how long, in which order, and how they end.

use super::*;

/// 600 tokens a minute, which is ten a second; two calls wait at a time, for five seconds at most.
const WAIT: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "wait": { "max_wait": "5s", "max_waiting": 2 }, "limits": [
        { "name": "tpm", "count": "tokens", "per": "tenant", "max": 600, "window": "1m" } ] } } }"#;

/// Formats a call that reserves this many tokens, up to 150.
fn holding(tokens: u64) -> String {
    json!({ "model": "gpt-4o", "messages": [], "max_tokens": tokens }).to_string()
}

impl Bench {
    /// Returns a bench whose budget is used up by four calls under way.
    fn used_up(config: &str) -> (Self, [Exchange; 4]) {
        let mut bench = Self::new(config);
        let calls = [0; 4].map(|_| {
            let (call, effects) = bench.send(&holding(150));
            assert_eq!(effects.next, Next::Pass);
            call
        });
        (bench, calls)
    }

    fn due(&mut self, exchange: &mut Exchange) -> Next {
        self.handle(exchange, Event::Due).next
    }

    fn later(&mut self, millis: u64) {
        self.now = self.now + Span::from_millis(millis);
    }

    /// Sends a call that must wait for this long.
    fn wait(&mut self, tokens: u64, millis: u64) -> Exchange {
        let (call, effects) = self.send(&holding(tokens));
        assert_eq!(effects.next, self.in_millis(millis));
        assert!(call.wants(Wanted::Due) && call.wants(Wanted::End) && !call.wants(Wanted::RequestBody));
        call
    }

    fn in_millis(&self, millis: u64) -> Next {
        Next::Wait { until: self.now + Span::from_millis(millis) }
    }

    fn waits(&self, kind: &str) -> u64 {
        self.count_of(&metrics::WAITS, kind)
    }
}

/// Returns the wait in a refusal, in milliseconds.
fn told(effects: &Effects) -> u64 {
    let (reply, _) = reply(effects);
    assert_eq!(reply.status, 429);
    reply.fields.iter().find(|(name, _)| *name == "retry-after-ms").unwrap().1.parse().unwrap()
}

#[test]
fn a_call_goes_on_when_its_budget_has_refilled_and_not_before() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut call = bench.wait(20, 2_000);
    let until = Next::Wait { until: bench.now + Span::from_secs(2) };
    bench.later(1_999);
    assert_eq!(bench.due(&mut call), until);

    bench.later(1);

    assert_eq!(bench.due(&mut call), Next::Pass);
    assert!(call.wants(Wanted::End) && !call.wants(Wanted::Due));
    assert_eq!((bench.waits("held"), bench.waits("passed")), (1, 1));
    assert_eq!(bench.count_of(&metrics::WAITED, ""), 2_000);
    // It is charged like any other.
    bench.head(&mut call, 200, "application/json");
    bench.piece(&mut call, &answer(0, 5), true);
    bench.later(1_500);
    assert_eq!(bench.left(), 15 + 15);
}

#[test]
fn a_call_that_fits_does_not_wait() {
    let mut bench = Bench::new(WAIT);
    assert_eq!(bench.send(&holding(150)).1.next, Next::Pass);
    assert_eq!(bench.waits("held"), 0);
}

#[test]
fn later_calls_wait_behind_earlier_ones_the_small_behind_the_large() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut large = bench.wait(30, 3_000);
    let mut small = bench.wait(1, 3_100);
    bench.later(3_000);
    let until = bench.in_millis(100);
    assert_eq!(bench.due(&mut small), until);
    assert_eq!(bench.due(&mut large), Next::Pass);
    bench.later(100);
    assert_eq!(bench.due(&mut small), Next::Pass);
}

#[test]
fn a_call_that_would_have_to_wait_too_long_is_refused_and_leaves_no_trace() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let (_, effects) = bench.send(&holding(51));
    assert_eq!(told(&effects), 5_100);
    assert_eq!((bench.waits("held"), bench.waits("full")), (0, 0));
    bench.wait(50, 5_000);
}

#[test]
fn more_than_may_wait_are_refused_with_the_wait_that_is_left_and_leave_no_trace() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut first = bench.wait(10, 1_000);
    let _second = bench.wait(10, 2_000);
    for _ in 0..3 {
        let (call, effects) = bench.send(&holding(10));
        assert_eq!(told(&effects), 3_000);
        assert!(!call.wants(Wanted::End));
    }
    assert_eq!((bench.waits("held"), bench.waits("full")), (2, 3));
    bench.later(1_000);
    assert_eq!(bench.due(&mut first), Next::Pass);
    bench.wait(10, 2_000);
}

#[test]
fn a_call_goes_on_earlier_when_another_gives_back_what_it_did_not_use() {
    let (mut bench, mut on_their_way) = Bench::used_up(WAIT);
    let mut call = bench.wait(40, 4_000);
    // 130 of its 150 come back, so 110 are left for others.
    bench.head(&mut on_their_way[0], 200, "application/json");
    bench.piece(&mut on_their_way[0], &answer(0, 20), true);

    assert_eq!(bench.due(&mut call), Next::Pass);

    assert_eq!(bench.count_of(&metrics::WAITED, ""), 0);
}

#[test]
fn when_a_client_leaves_those_behind_it_go_on_earlier() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut leaving = bench.wait(20, 2_000);
    let mut behind = bench.wait(20, 4_000);
    bench.handle(&mut leaving, Event::End { abort: Some(Abort::Client) });

    let until = bench.in_millis(2_000);
    assert_eq!(bench.due(&mut behind), until);

    assert_eq!((bench.waits("left"), bench.count_of(&metrics::CALLS, "client_abort")), (1, 1));
    assert!(!leaving.wants(Wanted::End));
    // Its slot is free, and no call waits for it.
    bench.wait(20, 4_000);
    bench.later(2_000);
    assert_eq!(bench.due(&mut behind), Next::Pass);
}

#[test]
fn a_call_that_is_answered_by_somebody_else_while_it_waits_costs_nothing() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut call = bench.wait(20, 2_000);
    assert_eq!(bench.head(&mut call, 408, "text/plain").next, Next::Pass);
    bench.piece(&mut call, "stream timeout", true);
    bench.handle(&mut call, Event::End { abort: Some(Abort::Upstream) });
    assert_eq!(bench.waits("left"), 1);
    bench.wait(20, 2_000);
}

#[test]
fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
    for back in [1, 50, 7_200] {
        let (mut bench, _on_their_way) = Bench::used_up(WAIT);
        let mut call = bench.wait(30, 3_000);
        bench.later(1_000);
        bench.due(&mut call);
        bench.now = Timestamp(bench.now.0 - Span::from_secs(back).0);

        let until = bench.in_millis(2_000);
        assert_eq!(bench.due(&mut call), until, "set back by {back} s");

        bench.later(2_000);
        assert_eq!(bench.due(&mut call), Next::Pass, "set back by {back} s");
        assert_eq!(bench.count_of(&metrics::WAITED, ""), 3_000);
    }
}

#[test]
fn a_clock_that_is_set_forward_ends_the_wait() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut call = bench.wait(30, 3_000);
    bench.later(3_600_000);
    assert_eq!(bench.due(&mut call), Next::Pass);
}

#[test]
fn budgets_that_cannot_be_read_are_waited_for_as_long_as_was_told() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let mut call = bench.wait(20, 2_000);
    bench.lines.fail(true);
    let until = bench.in_millis(2_000);
    assert_eq!(bench.due(&mut call), until);
    bench.later(2_000);
    assert_eq!(bench.due(&mut call), Next::Pass);
}

#[test]
fn a_window_of_the_calendar_is_waited_for_to_its_end() {
    let config = WAIT.replace("\"window\": \"1m\"", "\"window\": \"1m\", \"algorithm\": \"fixed_window\"");
    let mut bench = Bench::new(&config);
    // Three seconds before a full minute.
    bench.now = Timestamp(1_700_000_040_000_000_000 + 57_000_000_000);
    let _on_their_way = [0; 4].map(|_| bench.send(&holding(150)).0);
    let mut one = bench.wait(150, 3_000);
    let mut other = bench.wait(150, 3_000);
    bench.later(3_000);
    assert_eq!((bench.due(&mut one), bench.due(&mut other)), (Next::Pass, Next::Pass));
    assert_eq!(bench.left(), 300);
}

#[test]
fn the_limit_that_takes_longest_is_waited_for() {
    let more = r#"{ "name": "rps", "count": "requests", "per": "tenant", "max": 4, "window": "4s" }, { "name": "tpm""#;
    let (mut bench, _on_their_way) = Bench::used_up(&WAIT.replace(r#"{ "name": "tpm""#, more));
    let mut small = bench.wait(1, 1_000);
    let mut large = bench.wait(40, 4_100);
    bench.later(1_000);
    assert_eq!(bench.due(&mut small), Next::Pass);
    bench.later(3_100);
    assert_eq!(bench.due(&mut large), Next::Pass);
}

#[test]
fn a_limit_on_requests_is_waited_for_with_the_body_and_refuses_before_it() {
    let limit = r#"{ "name": "rps", "count": "requests", "per": "tenant", "max": 1, "window": "2s" }"#;
    let config = WAIT.replace(
        r#"{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 600, "window": "1m" }"#,
        limit,
    );
    let mut bench = Bench::new(&config);
    assert_eq!(bench.send(&holding(1)).1.next, Next::Pass);
    let mut second = bench.wait(1, 2_000);
    let _third = bench.wait(1, 4_000);

    // It would have to wait for six seconds, one more than allowed, so its body is not even read.
    let mut fourth = bench.exchange();
    let effects = bench.handle(&mut fourth, Event::RequestHead { head: &Request::chat(), ended: false });

    assert_eq!(told(&effects), 6_000);
    bench.later(2_000);
    assert_eq!(bench.due(&mut second), Next::Pass);
}

#[test]
fn a_call_that_cannot_be_held_is_refused_instead() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    for head in [
        Request::chat().with("content-length", b"8000000"),
        Request::chat().with(":path", b"/v1/audio/transcriptions"),
    ] {
        let mut call = bench.exchange();
        let effects = bench.handle(&mut call, Event::RequestHead { head: &head, ended: false });
        told(&effects);
    }
    assert_eq!(bench.waits("held"), 0);
}

#[test]
fn a_call_without_a_body_waits_too() {
    let limit = r#"{ "name": "rps", "count": "requests", "per": "tenant", "max": 1, "window": "2s" }"#;
    let limits = r#"{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 600, "window": "1m" }"#;
    let mut bench = Bench::new(&WAIT.replace(limits, limit));
    assert_eq!(bench.send(&holding(1)).1.next, Next::Pass);
    let mut call = bench.exchange();
    let effects = bench.handle(&mut call, Event::RequestHead { head: &Request::chat(), ended: true });
    assert_eq!(effects.next, bench.in_millis(2_000));
    bench.later(2_000);
    assert_eq!(bench.due(&mut call), Next::Pass);

    // A call whose body is not read can wait, if the body is known to be short enough to be held.
    let free = || Request::chat().with(":path", b"/v1/moderations");
    let short = free().with("content-length", b"500");
    let mut call = bench.exchange();
    let effects = bench.handle(&mut call, Event::RequestHead { head: &short, ended: false });
    assert_eq!(effects.next, bench.in_millis(2_000));
    let mut call = bench.exchange();
    let effects = bench.handle(&mut call, Event::RequestHead { head: &free(), ended: false });
    assert_eq!(told(&effects), 4_000);
}

#[test]
fn what_the_request_is_changed_by_is_told_before_it_waits() {
    let (mut bench, _on_their_way) = Bench::used_up(WAIT);
    let body = r#"{"model":"gpt-4o","messages":[],"max_tokens":10,"stream":true}"#;
    let (_, effects) = bench.send(body);
    assert_eq!(effects.next, bench.in_millis(1_000));
    assert_eq!(effects.body.len(), 1);
}

#[test]
fn a_call_that_waits_keeps_its_place_among_the_calls_in_flight() {
    let slot =
        r#"{ "name": "slot", "count": "concurrent_requests", "per": "tenant", "max": 5 }, { "name": "tpm""#;
    let (mut bench, _on_their_way) = Bench::used_up(&WAIT.replace(r#"{ "name": "tpm""#, slot));
    let mut call = bench.wait(10, 1_000);
    let refused = |bench: &mut Bench| {
        let mut next = bench.exchange();
        let effects = bench.handle(&mut next, Event::RequestHead { head: &Request::chat(), ended: false });
        bench.handle(&mut next, Event::End { abort: None });
        fact(&effects, Fact::RefusedBy)
    };
    // Calls do not wait for slots, because the end of a call cannot be predicted.
    assert_eq!(refused(&mut bench).as_deref(), Some("slot"));
    bench.later(1_000);
    assert_eq!(bench.due(&mut call), Next::Pass);
    assert_eq!(refused(&mut bench).as_deref(), Some("slot"));
    bench.handle(&mut call, Event::End { abort: Some(Abort::Client) });
    assert_eq!(refused(&mut bench), None);
}

#[test]
fn a_tick_too_many_changes_nothing() {
    let mut bench = Bench::new(WAIT);
    let (mut sent, _) = bench.send(&holding(10));
    let (mut new, mut reading) = (bench.exchange(), bench.exchange());
    bench.handle(&mut reading, Event::RequestHead { head: &Request::chat(), ended: false });
    for exchange in [&mut sent, &mut new, &mut reading] {
        let before = (exchange.wants(Wanted::End), exchange.wants(Wanted::RequestBody));
        assert_eq!(format!("{:?}", bench.handle(exchange, Event::Due)), format!("{:?}", Effects::default()));
        assert_eq!((exchange.wants(Wanted::End), exchange.wants(Wanted::RequestBody)), before);
    }
}
