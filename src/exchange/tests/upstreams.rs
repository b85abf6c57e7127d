//! Upstreams that refuse: further calls are refused or wait, limits adapt, and a share is reserved
//! for callers who cannot wait.

use super::*;

const REFUSING: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } }, "upstreams": {},
    "tiers": { "free": { "limits": [ { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" } ] } } }"#;

/// Returns the same, but calls wait for up to 10 s, at most two at a time.
fn waiting() -> String {
    let limits = r#""wait": { "max_wait": "10s", "max_waiting": 2 }, "limits""#;
    REFUSING
        .replace(r#""upstreams": {}"#, r#""upstreams": { "when_busy": "wait" }"#)
        .replace(r#""limits""#, limits)
}

const GPT: &str = "gpt-4o";

impl Bench {
    /// Sends a call of a tenant to this upstream, until it is decided.
    fn route(&mut self, upstream: &'static str, model: &str) -> (Exchange, Effects) {
        let mut exchange = self.exchange();
        let head = Request::chat().with("xds/cluster_name", upstream.as_bytes());
        self.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        let body = HI.replace(GPT, model);
        let effects =
            self.handle(&mut exchange, Event::RequestBody { body: body.as_bytes(), editable: Editable::All });
        (exchange, effects)
    }

    /// Answers a call as its upstream, and ends it.
    fn answer(&mut self, exchange: &mut Exchange, status: u16, fields: &[(&str, &str)]) -> Effects {
        let fields = [fields, &[("response/code_details", "via_upstream")]].concat();
        let effects = self.head_with(exchange, status, &fields);
        self.handle(exchange, Event::End { abort: None });
        effects
    }

    /// Sends a call to the upstream `a`, which passes and gets this answer.
    fn refused_by_a(&mut self, status: u16, fields: &[(&str, &str)]) {
        let (mut exchange, effects) = self.route("a", GPT);
        assert_eq!(effects.next, Next::Pass);
        self.answer(&mut exchange, status, fields);
    }

    /// Returns the milliseconds that a call to the upstream `a` is told to wait; `None` if it
    /// passes.
    fn told_by_a(&mut self) -> Option<u64> {
        let (mut exchange, effects) = self.route("a", GPT);
        if effects.next == Next::Pass {
            self.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });
            return None;
        }
        wait_of(&effects)
    }

    fn after(&mut self, millis: u64) {
        self.now = self.now + Span::from_millis(millis);
    }
}

fn wait_of(effects: &Effects) -> Option<u64> {
    let (reply, _) = reply(effects);
    assert_eq!((reply.status, reply.details), (429, "tollgate_upstream_busy"));
    reply.fields.iter().find(|(name, _)| *name == "retry-after-ms").map(|(_, value)| value.parse().unwrap())
}

/// Returns the milliseconds until the exchange wants to go on.
fn held_for(bench: &Bench, effects: &Effects) -> u64 {
    let Next::Wait { until } = effects.next else { panic!("it does not wait: {effects:?}") };
    until.since(bench.now).as_millis_ceil()
}

#[test]
fn a_busy_upstream_is_left_alone_for_as_long_as_it_says() {
    let mut bench = Bench::new(REFUSING);
    bench.refused_by_a(429, &[("retry-after", "7")]);
    assert_eq!(bench.told_by_a(), Some(7_000));
    bench.after(6_999);
    assert_eq!(bench.told_by_a(), Some(1));
    bench.after(1);
    assert_eq!(bench.told_by_a(), None);
    assert_eq!(bench.count_of(&metrics::UPSTREAM_BUSY, "told"), 1);
    assert_eq!(bench.count_of(&metrics::UPSTREAM_BUSY, "refused"), 2);
    assert_eq!(bench.count_of(&metrics::CALLS, "refused"), 2);
}

#[test]
fn a_refusal_says_in_the_apis_dialect_that_the_upstream_is_busy_and_touches_no_budget() {
    let mut bench = Bench::new(REFUSING);
    bench.refused_by_a(529, &[("retry-after-ms", "1500")]);
    let left = bench.left();
    let (mut exchange, effects) = bench.route("a", GPT);
    let (refusal, body) = reply(&effects);
    assert_eq!(body["error"]["message"], "The upstream is busy for gpt-4o. Please try again in 1.5s.");
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert!(refusal.fields.contains(&("retry-after", "2".to_owned())));
    assert!(refusal.fields.contains(&("x-should-retry", "true".to_owned())));
    let log: Value = serde_json::from_str(&effects.log[0]).unwrap();
    assert_eq!((&log["event"], &log["upstream"]), (&json!("refused_for_upstream"), &json!("a")));
    assert!(!exchange.wants(Wanted::End) && effects.headers.is_empty() && effects.body.is_empty());
    bench.handle(&mut exchange, Event::End { abort: None });
    assert_eq!(bench.left(), left);
}

#[test]
fn upstreams_and_models_do_not_affect_each_other() {
    let mut bench = Bench::new(REFUSING);
    bench.refused_by_a(429, &[("retry-after", "7")]);
    assert_eq!(bench.route("b", GPT).1.next, Next::Pass);
    assert_eq!(bench.route("a", "gpt-4.1").1.next, Next::Pass);
    assert!(bench.told_by_a().is_some());
}

#[test]
fn what_envoy_answers_itself_says_nothing_of_the_upstream() {
    let mut bench = Bench::new(REFUSING);
    for details in ["local_rate_limited", "overload", ""] {
        let (mut exchange, _) = bench.route("a", GPT);
        bench.head_with(&mut exchange, 429, &[("retry-after", "7"), ("response/code_details", details)]);
        bench.handle(&mut exchange, Event::End { abort: None });
        assert_eq!(bench.told_by_a(), None, "{details}");
    }
}

#[test]
fn nothing_is_remembered_without_the_section() {
    let mut bench = Bench::new(TOKENS);
    bench.refused_by_a(429, &[("retry-after", "7")]);
    assert_eq!(bench.told_by_a(), None);
    assert_eq!(bench.count_of(&metrics::UPSTREAM_BUSY, "told"), 0);
}

#[test]
fn an_answer_to_a_call_that_was_under_way_ends_no_pause() {
    let mut bench = Bench::new(REFUSING);
    let (mut slow, _) = bench.route("a", GPT);
    bench.refused_by_a(429, &[("retry-after", "7")]);
    bench.after(1_000);
    bench.answer(&mut slow, 200, &[]);
    assert_eq!(bench.told_by_a(), Some(6_000));
}

#[test]
fn an_upstream_that_says_nothing_is_left_alone_twice_as_long_each_time_until_it_recovers() {
    let mut bench = Bench::new(REFUSING);
    for pause in [1_000, 2_000, 4_000] {
        bench.refused_by_a(429, &[]);
        assert_eq!(bench.told_by_a(), Some(pause));
        bench.after(pause);
    }
    let (mut exchange, _) = bench.route("a", GPT);
    bench.answer(&mut exchange, 200, &[]);
    bench.refused_by_a(429, &[]);
    assert_eq!(bench.told_by_a(), Some(1_000));
}

#[test]
fn parallel_refusals_make_one_pause() {
    let mut bench = Bench::new(REFUSING);
    let mut calls: Vec<_> = (0..5).map(|_| bench.route("a", GPT).0).collect();
    let logged: Vec<_> = calls.iter_mut().flat_map(|call| bench.answer(call, 429, &[]).log).collect();
    assert_eq!(bench.told_by_a(), Some(1_000));
    assert_eq!((bench.count_of(&metrics::UPSTREAM_BUSY, "told"), logged.len()), (5, 1));
}

#[test]
fn a_place_among_the_calls_in_flight_is_given_back_by_a_refusal() {
    let slots = r#""limits": [ { "name": "slot", "count": "concurrent_requests", "max": 1 }, "#;
    let mut bench = Bench::new(&REFUSING.replace(r#""limits": [ "#, slots));
    bench.refused_by_a(429, &[("retry-after", "7")]);
    for _ in 0..3 {
        assert!(bench.told_by_a().is_some());
    }
    bench.after(7_000);
    assert_eq!(bench.told_by_a(), None);
}

#[test]
fn a_call_waits_for_its_upstream_and_goes_on_when_its_time_has_come() {
    let mut bench = Bench::new(&waiting());
    bench.refused_by_a(429, &[("retry-after", "7")]);
    let (mut exchange, effects) = bench.route("a", GPT);
    assert_eq!(held_for(&bench, &effects), 7_000);
    bench.after(6_999);
    let effects = bench.handle(&mut exchange, Event::Due);
    assert_eq!(held_for(&bench, &effects), 1);
    bench.after(1);
    assert_eq!(bench.handle(&mut exchange, Event::Due).next, Next::Pass);
    bench.answer(&mut exchange, 200, &[]);
    assert_eq!(bench.count_of(&metrics::UPSTREAM_BUSY, "waited"), 1);
    assert_eq!((bench.count_of(&metrics::WAITS, "held"), bench.count_of(&metrics::WAITS, "passed")), (1, 1));
}

#[test]
fn calls_that_wait_are_spread_over_a_tenth_of_the_wait() {
    let mut bench = Bench::new(&waiting());
    bench.refused_by_a(429, &[("retry-after", "5")]);
    for (jitter, millis) in [(0, 5_000), (u32::MAX / 2, 5_250), (u32::MAX, 5_500)] {
        bench.jitter = jitter;
        let (mut exchange, effects) = bench.route("a", GPT);
        assert_eq!(held_for(&bench, &effects), millis);
        bench.after(50);
        bench.jitter = 0;
        let effects = bench.handle(&mut exchange, Event::Due);
        assert_eq!(held_for(&bench, &effects), millis - 50, "a later look changes nothing");
        bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });
        bench.now = Timestamp(bench.now.0 - Span::from_millis(50).0);
    }
}

#[test]
fn a_call_that_would_wait_too_long_is_refused_at_once() {
    let mut bench = Bench::new(&waiting());
    bench.refused_by_a(429, &[("retry-after", "11")]);
    assert_eq!(bench.told_by_a(), Some(11_000));
    bench.after(1_000);
    bench.jitter = u32::MAX;
    let (_, effects) = bench.route("a", GPT);
    assert_eq!(held_for(&bench, &effects), 10_000, "never longer than it may");
}

#[test]
fn no_more_calls_wait_than_may_and_the_rest_are_refused_with_the_wait() {
    let mut bench = Bench::new(&waiting());
    bench.refused_by_a(429, &[("retry-after", "7")]);
    let left = bench.left();
    let mut held: Vec<_> = (0..2).map(|_| bench.route("a", GPT)).collect();
    assert!(held.iter().all(|(_, effects)| held_for(&bench, effects) == 7_000));
    assert_eq!(bench.told_by_a(), Some(7_000));
    assert_eq!(bench.count_of(&metrics::WAITS, "full"), 1);
    for (exchange, _) in &mut held {
        bench.handle(exchange, Event::End { abort: Some(Abort::Client) });
    }
    assert_eq!(bench.left(), left, "calls that leave cost nothing");
}

#[test]
fn calls_that_wait_find_out_that_their_upstream_is_busy_again() {
    let mut bench = Bench::new(&waiting());
    bench.refused_by_a(429, &[("retry-after", "4")]);
    let left = bench.left();
    let (mut first, _) = bench.route("a", GPT);
    let (mut second, _) = bench.route("a", GPT);
    bench.after(4_000);
    assert_eq!(bench.handle(&mut first, Event::Due).next, Next::Pass);
    bench.answer(&mut first, 429, &[("retry-after", "5")]);
    let effects = bench.handle(&mut second, Event::Due);
    assert_eq!(held_for(&bench, &effects), 5_000, "within the 10 s that it may wait");
    bench.after(5_000);
    bench.refused_by_a(429, &[("retry-after", "5")]);
    let effects = bench.handle(&mut second, Event::Due);
    assert_eq!(wait_of(&effects), Some(5_000));
    assert_eq!(bench.count_of(&metrics::WAITS, "refused"), 1);
    assert!(!second.wants(Wanted::End));
    bench.after(60_000);
    assert!(bench.left() >= left, "a call that is refused in the end costs nothing");
}

#[test]
fn a_call_that_waits_for_its_budget_waits_for_its_upstream_too() {
    let mut bench = Bench::new(&waiting());
    let (mut slow, _) = bench.route("a", GPT);
    for _ in 0..8 {
        bench.route("a", GPT);
    }
    // 9 x 108 of 1,000 are reserved: the next call fits in 80 / (1,000 / 60) s.
    let (mut exchange, effects) = bench.route("a", GPT);
    assert_eq!(held_for(&bench, &effects), 4_800);
    bench.answer(&mut slow, 429, &[("retry-after", "6")]);
    bench.after(4_800);
    let effects = bench.handle(&mut exchange, Event::Due);
    assert_eq!(held_for(&bench, &effects), 1_200);
    bench.after(1_200);
    assert_eq!(bench.handle(&mut exchange, Event::Due).next, Next::Pass);
}

const ADAPTIVE: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [ { "name": "rpm", "count": "requests", "per": ["upstream", "model"], "max": 100, "window": "1m", "adaptive": true } ] } } }"#;

/// Returns the limit on requests in an answer's headers: its maximum and its rest.
fn requests(effects: &Effects) -> (u64, u64) {
    let number = |name| header(effects, name).unwrap().parse().unwrap();
    (number("x-ratelimit-limit-requests"), number("x-ratelimit-remaining-requests"))
}

#[test]
fn a_limit_that_adapts_is_told_as_it_is_now() {
    let mut bench = Bench::new(ADAPTIVE);
    let call = |bench: &mut Bench, upstream, status| {
        let (mut exchange, effects) = bench.route(upstream, GPT);
        assert_eq!(effects.next, Next::Pass);
        requests(&bench.answer(&mut exchange, status, &[]))
    };
    assert_eq!(call(&mut bench, "a", 429), (100, 99));
    assert_eq!(call(&mut bench, "a", 200), (50, 48));
    assert_eq!(call(&mut bench, "b", 200), (100, 99));
    assert_eq!(bench.count_of(&metrics::RATE_DECREASES, ""), 1);
    bench.after(10_000);
    assert_eq!(call(&mut bench, "a", 200).0, 55);
    bench.after(90_000);
    assert_eq!(call(&mut bench, "a", 200).0, 100);
}

#[test]
fn the_same_refusals_of_envoy_decrease_nothing() {
    let mut bench = Bench::new(ADAPTIVE);
    let (mut exchange, _) = bench.route("a", GPT);
    bench.head_with(&mut exchange, 429, &[("response/code_details", "local_rate_limited")]);
    assert_eq!(bench.count_of(&metrics::RATE_DECREASES, ""), 0);
}

const PRIORITY: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" }, "class": { "header": "x-class" } },
    "priority": { "dimension": "class", "batch": "bulk", "reserved": 0.2 },
    "tiers": { "free": { "limits": [ { "name": "rpm", "count": "requests", "per": "upstream", "max": 10, "window": "10s" } ] } } }"#;

#[test]
fn the_last_share_is_kept_for_those_who_cannot_wait() {
    let mut bench = Bench::new(PRIORITY);
    let send = |bench: &mut Bench, class: &'static [u8]| {
        let mut exchange = bench.exchange();
        let head = Request::chat().with("xds/cluster_name", b"a").with("x-class", class);
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        if effects.next != Next::ReadBody {
            return Err(reply(&effects).0.clone());
        }
        bench.handle(&mut exchange, Event::RequestBody { body: HI.as_bytes(), editable: Editable::All });
        Ok(requests(&bench.answer(&mut exchange, 200, &[])).1)
    };
    for left in (0..8).rev() {
        assert_eq!(send(&mut bench, b"bulk"), Ok(left), "of what batch traffic may use");
    }
    let refusal = send(&mut bench, b"bulk").unwrap_err();
    assert!(refusal.fields.contains(&("retry-after-ms", "1000".to_owned())), "{refusal:?}");
    assert_eq!((send(&mut bench, b"live"), send(&mut bench, b"")), (Ok(1), Ok(0)));
    // 2 s for the reserved share, one for the call itself.
    let refusal = send(&mut bench, b"bulk").unwrap_err();
    assert!(refusal.fields.contains(&("retry-after-ms", "3000".to_owned())), "{refusal:?}");
    bench.after(3_000);
    assert_eq!(send(&mut bench, b"bulk"), Ok(0));
    assert_eq!((send(&mut bench, b"live"), send(&mut bench, b"")), (Ok(1), Ok(0)));
    assert!(send(&mut bench, b"live").is_err());
}
