//! Answers of the service: refusals in the API's own dialect, waits, headers; and the encoding of
//! values in its descriptors.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tollgate_rig::client::{Request, Response};
use tollgate_rig::rate_limits::{Behaviour, Limit, ScriptedService};

use super::{DAY, PATIENT, call, limits, of, tokens, tpd};
use crate::bench::Bench;

fn seconds(response: &Response) -> u64 {
    response.header("retry-after").unwrap().parse().unwrap()
}

/// Returns the seconds until the service's day ends.
#[expect(clippy::disallowed_methods, reason = "the service counts by the system's clock")]
fn until_midnight() -> u64 {
    let day = DAY.as_secs();
    day - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % day
}

/// Returns a short call of Anthropic's API.
fn message(tenant: &str) -> Request {
    let body = json!({
        "model": "claude-3-5-haiku-20241022", "max_tokens": 20,
        "messages": [{ "role": "user", "content": "Say something." }],
    });
    Request::post("/v1/messages").json(&body).header("x-tenant-id", tenant)
}

#[tokio::test]
async fn a_refusal_is_in_the_words_of_the_api_with_the_services_wait() {
    let service = ScriptedService::start([tpd(50)]);
    let bench = Bench::with_service(&tokens(50, PATIENT), &service).await;
    assert_eq!(bench.json(call("ada", 30, 30)).await.0.status(), 200);

    let (before, (openai, body), after) =
        (until_midnight(), bench.json(call("ada", 30, 30)).await, until_midnight());
    let (anthropic, message) = bench.json(message("ada")).await;

    assert_eq!((openai.status(), &body["error"]["code"]), (429, &json!("rate_limit_exceeded")), "{body}");
    assert_eq!(openai.header("x-ratelimit-remaining-tokens"), Some("0"));
    // Jitter adds up to a second. If the day ends between the two readings, the later one is
    // longer.
    let waits = if after <= before { after..=before + 2 } else { 0..=before.max(after) + 2 };
    assert!(waits.contains(&seconds(&openai)), "{} {waits:?}", seconds(&openai));
    assert_eq!(anthropic.status(), 429);
    assert_eq!((&message["type"], &message["error"]["type"]), (&json!("error"), &json!("rate_limit_error")));
    assert!(anthropic.header("retry-after").is_some());
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_refusals_total", &[("limit", "tpd")]), 2.0);
    assert_eq!(metrics.sum("tollgate_global_decisions_total", &[("kind", "asked")]), 3.0);
    let line = bench.envoy.access_log().into_iter().find(|line| line["status"] == json!(429));
    let line = match line {
        Some(line) => line,
        None => bench.envoy.wait_for_access_log(3).await.swap_remove(1),
    };
    assert_eq!(line["tollgate.refused_by"], json!("tpd"));
}

#[tokio::test]
async fn the_wait_is_the_whole_window_where_the_service_tells_none() {
    let service = ScriptedService::start([tpd(50)]).like_limitador();
    let bench = Bench::with_service(&tokens(50, &format!(", hits_addend: request{PATIENT}")), &service).await;
    let (allowed, _) = bench.json(call("ada", 30, 30)).await;
    let (refused, body) = bench.json(call("ada", 30, 30)).await;

    assert_eq!((allowed.status(), refused.status()), (200, 429), "{body}");
    assert_eq!(allowed.header("x-ratelimit-remaining-tokens"), None, "nobody knows what is left");
    let day = DAY.as_secs();
    assert!((day..=day + 1).contains(&seconds(&refused)), "{}", seconds(&refused));
}

#[tokio::test]
async fn what_is_left_is_told_as_the_service_tells_it() {
    let service = ScriptedService::start([tpd(100)]);
    let bench = Bench::with_service(&tokens(100, PATIENT), &service).await;

    let (first, _) = bench.json(call("ada", 30, 30)).await;
    let (second, _) = bench.json(call("ada", 50, 50)).await;

    assert_eq!(first.header("x-ratelimit-remaining-tokens"), Some("70"));
    assert_eq!(second.header("x-ratelimit-remaining-tokens"), Some("20"));
    assert_eq!(second.header("ratelimit-policy"), Some("\"tpd\";q=100;qu=\"tokens\";w=86400"));
}

#[tokio::test]
async fn a_refusal_gives_back_what_the_call_held_here() {
    let service = ScriptedService::start([Limit::new("free/rpd", 1, DAY)]);
    let here = "{ name: here, count: tokens, max: 10_000, window: 30d },";
    let global = "{ name: rpd, count: requests, per: tenant, max: 1, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{here} {global}"), PATIENT), &service).await;

    let (allowed, _) = bench.json(call("ada", 100, 30)).await;
    let (refused, body) = bench.json(call("ada", 1_000, 30)).await;

    assert_eq!((allowed.status(), refused.status()), (200, 429), "{body}");
    assert_eq!(bench.left("bob").await, 10_000 - 30);
}

#[tokio::test]
async fn headers_that_the_service_asks_for_are_passed_on_but_not_those_of_http_itself() {
    let service = ScriptedService::start([tpd(50)]);
    let bench = Bench::with_service(&tokens(50, PATIENT), &service).await;
    service.behave(Behaviour::Headers {
        response: vec![
            ("x-plan", "small"),
            ("content-length", "1"),
            (":status", "500"),
            ("connection", "close"),
        ],
        request: vec![
            ("x-group", "blue"),
            ("content-length", "1"),
            (":path", "/elsewhere"),
            ("host", "evil"),
        ],
    });

    let (allowed, body) = bench.json(call("ada", 30, 30)).await;
    let (refused, problem) = bench.json(call("ada", 30, 30)).await;

    assert_eq!((allowed.status(), refused.status()), (200, 429), "{body} {problem}");
    assert_eq!(allowed.header("x-plan"), Some("small"));
    assert_eq!(refused.header("x-plan"), Some("small"));
    assert_eq!(problem["error"]["code"], json!("rate_limit_exceeded"));
    let received = &bench.mock.received()[0];
    assert_eq!(received.header("x-group"), Some("blue"));
    assert_eq!(received.uri.path(), "/v1/chat/completions");
    assert_ne!(received.header("host"), Some("evil"));
    assert_eq!(received.header("content-length"), Some(received.body.len().to_string().as_str()));
}

#[tokio::test]
async fn no_name_that_a_caller_gives_reads_as_another_budget() {
    let service = ScriptedService::start([tpd(1_000)]);
    let bench = Bench::with_service(&tokens(1_000, PATIENT), &service).await;
    let (long, longer) = ("x".repeat(200), "x".repeat(300));
    let cases: [(&[u8], &str); 6] = [
        (b"acme-1.0~/a:b@c+d|e", "acme-1.0~/a:b@c+d|e"),
        (b"a_b%", "a%5Fb%25"),
        (b"\xff\xfe \xc3\xa9", "%FF%FE%20%C3%A9"),
        (b"_", "%5F"),
        // The first half of the value's SHA-256.
        (long.as_bytes(), "_aa20c23e3201834050679e1d88941b9a"),
        // The filter keeps only the hash of this value.
        (longer.as_bytes(), "hash:0d4e2ca9e9cbced7a7a5380eb29e1a37"),
    ];
    for (name, value) in cases {
        let mut response = bench.send(nameless().header("x-tenant-id", name)).await;
        response.body().await.unwrap();
        assert_eq!(response.status(), 200, "{value}");
        assert_eq!(service.count(&of(value)), 30, "{value} {:?}", service.requests().last());
    }
    // All calls without a value share one budget.
    assert_eq!(bench.send(nameless()).await.status(), 200);
    assert_eq!(service.count(&of("_")), 30);
}

/// Returns a call without a tenant that holds 30 tokens.
fn nameless() -> Request {
    let messages = json!([{ "role": "user", "content": "Say something." }]);
    Request::chat(&json!({ "model": "gpt-4o", "max_tokens": 20, "messages": messages }))
}

#[tokio::test]
async fn a_limit_that_the_service_does_not_know_limits_nothing_and_is_counted() {
    let service = ScriptedService::start([]);
    let bench = Bench::with_service(&tokens(50, PATIENT), &service).await;
    for _ in 0..3 {
        let (response, _) = bench.json(call("ada", 30, 30)).await;
        assert_eq!((response.status(), response.header("x-ratelimit-remaining-tokens")), (200, None));
    }
    bench.wait_for_count("tollgate_global_unknown_total", &[("limit", "tpd")], 3).await;
}

#[tokio::test]
async fn of_two_limits_the_one_that_refuses_is_told_and_the_longer_wait_where_both_do() {
    let service = ScriptedService::start([
        Limit::new("free/hour", 40, core::time::Duration::from_secs(3_600)),
        Limit::new("free/day", 100, DAY),
    ]);
    let hour = "{ name: hour, count: tokens, per: tenant, max: 40, window: 1h, scope: global }";
    let day = "{ name: day, count: tokens, per: user, max: 100, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{hour}, {day}"), PATIENT), &service).await;
    let refused_by = |tenant: &'static str| {
        let bench = &bench;
        async move {
            let (response, body) = bench.json(call(tenant, 30, 30)).await;
            assert_eq!(response.status(), 429, "{body}");
            response.header("ratelimit").unwrap().split(';').next().unwrap().to_owned()
        }
    };
    assert_eq!(bench.json(call("ada", 30, 30)).await.0.status(), 200);

    assert_eq!(refused_by("ada").await, "\"hour\"");
    assert_eq!(bench.json(call("bob", 30, 30)).await.0.status(), 200);
    assert_eq!(refused_by("eve").await, "\"day\"");
    assert_eq!(refused_by("ada").await, "\"day\"");
}
