//! Refusals byte by byte, waits that hold, and budget headers, as callers see them.

use core::time::Duration;

use serde_json::{Value, json};
use tollgate_rig::client::{Request, Response};
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, Detour, chat, chat_by, chat_with, with_detours};
use crate::probe::{INPUT, answer, probe};

const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d } ] } }
";

/// Returns a call that uses up to `tokens` tokens.
fn using(tokens: u64) -> Request {
    let usage = json!({ "prompt_tokens": INPUT, "completion_tokens": tokens - INPUT });
    chat("ada").header("x-mock-usage", usage.to_string())
}

/// Returns all budget headers, sorted by name, without those that Envoy adds.
fn told(response: &Response) -> Vec<(String, String)> {
    let others = ["date", "server", "content-length", "x-envoy-upstream-service-time"];
    let mut told: Vec<_> = response
        .headers()
        .iter()
        .filter(|(name, _)| !others.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    told.sort();
    told
}

fn assert_told(response: &Response, expected: &[(&str, &str)]) {
    let told = told(response);
    let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(told, expected);
}

fn millis(response: &Response) -> u64 {
    response.header("retry-after-ms").unwrap().parse().unwrap()
}

/// Parses a duration such as `1m30.951s` into milliseconds.
fn go_millis(text: &str) -> u64 {
    let mut millis = 0.0;
    let mut number = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_digit() || letter == '.' {
            number.push(letter);
            continue;
        }
        let worth = match (letter, letters.peek()) {
            ('m', Some('s')) => letters.next().map_or(0.0, |_| 1.0),
            ('h', _) => 3_600_000.0,
            ('m', _) => 60_000.0,
            ('s', _) => 1_000.0,
            _ => panic!("{letter} in {text}"),
        };
        millis += core::mem::take(&mut number).parse::<f64>().unwrap() * worth;
    }
    millis.round() as u64
}

#[tokio::test]
async fn a_call_that_fits_no_budget_is_refused_for_good_and_told_so() {
    let bench = Bench::start(TOKENS).await;
    let content = "word ".repeat(1200);
    let large =
        chat_with("ada", json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 5 }));
    let (response, body) = bench.json(large).await;
    assert_eq!(response.status(), 429);
    let message = "Request too large for gpt-4o on tokens per tenant (limit `tpm`): Limit 1000 per 30d, Available 1000, \
                   Requested 1213. It cannot fit even an unused budget: make the request smaller.";
    let error = json!({ "message": message, "type": "tokens", "param": null, "code": "rate_limit_exceeded" });
    assert_eq!(body, json!({ "error": error }));
    assert_told(
        &response,
        &[
            ("content-type", "application/json"),
            ("ratelimit", "\"tpm\";r=1000;t=0"),
            ("ratelimit-policy", "\"tpm\";q=1000;qu=\"tokens\";w=2592000"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "1000"),
            ("x-ratelimit-reset-tokens", "0s"),
            ("x-should-retry", "false"),
        ],
    );
    assert_eq!(bench.left("ada").await, 1000);
}

#[tokio::test]
async fn a_refusal_names_the_limit_the_amounts_and_one_wait_in_every_place() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id }, user: { header: x-user } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: [tenant, user], max: 1000, window: 10s } ] } }
",
    )
    .await;
    // A debt of 2000 takes 20 s, and the 10 of the next call another tenth of a second.
    bench.json(using(3000).header("x-user", "u")).await;
    let (response, body) = bench.json(probe("ada").header("x-user", "u")).await;
    assert_eq!(response.status(), 429);

    let wait = millis(&response);
    assert!((15_000..=21_200).contains(&wait), "{wait} ms with at most a second of jitter");
    let message = body["error"]["message"].as_str().unwrap();
    let (said, advice) = message.split_once(" Please try again in ").unwrap();
    assert_eq!(
        said,
        "Rate limit reached for gpt-4o on tokens per tenant per user (limit `tpm`): Limit 1000 per 10s, Available 0, Requested 10."
    );
    assert_eq!(go_millis(advice.strip_suffix('.').unwrap()), wait, "{advice}");
    assert_eq!(body["error"]["type"], "tokens");
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    assert_eq!(body["error"]["param"], Value::Null);

    let seconds = wait.div_ceil(1000).to_string();
    let ratelimit = format!("\"tpm\";r=0;t={seconds}");
    let reset = response.header("x-ratelimit-reset-tokens").unwrap().to_owned();
    assert!((25_000..=30_000).contains(&go_millis(&reset)), "{reset} until it is full");
    assert_told(
        &response,
        &[
            ("content-type", "application/json"),
            ("ratelimit", &ratelimit),
            ("ratelimit-policy", "\"tpm\";q=1000;qu=\"tokens\";w=10"),
            ("retry-after", &seconds),
            ("retry-after-ms", &wait.to_string()),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", &reset),
            ("x-should-retry", "true"),
        ],
    );
}

#[tokio::test]
async fn a_refused_call_is_admitted_after_the_wait_it_was_told_and_not_much_earlier() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 100, window: 2s } ] } }
",
    )
    .await;
    bench.json(using(100)).await;
    let call = || chat_with("ada", json!({ "max_tokens": 20, "messages": long() }));
    let (first, _) = bench.json(call()).await;
    assert_eq!(first.status(), 429);
    let wait = Duration::from_millis(millis(&first));

    tokio::time::sleep_until(tokio::time::Instant::from_std(first.started() + wait.mul_f64(0.3))).await;
    let (again, _) = bench.json(call()).await;
    let true_wait = wait.mul_f64(0.9);
    if first.started().elapsed() < true_wait {
        assert_eq!(again.status(), 429);
        let shorter = Duration::from_millis(millis(&again));
        assert!(shorter < wait, "it does not start again: {wait:?}, then {shorter:?}");
    }
    tokio::time::sleep_until(tokio::time::Instant::from_std(first.started() + wait.mul_f64(0.8))).await;
    let (early, _) = bench.json(call()).await;
    if early.started().elapsed() < true_wait - wait.mul_f64(0.8) {
        assert_eq!(early.status(), 429, "a moment before");
    }
    tokio::time::sleep_until(tokio::time::Instant::from_std(
        first.started() + first.time_to_headers() + wait,
    ))
    .await;
    let (after, body) = bench.json(call()).await;
    assert_eq!(after.status(), 200, "{body}");
}

/// Returns a message of 50 words.
fn long() -> Value {
    json!([{ "role": "user", "content": "word ".repeat(50).trim() }])
}

#[tokio::test]
async fn only_short_waits_are_worth_retrying() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: short } }
tiers:
  short: { limits: [ { name: short, count: tokens, per: tenant, max: 1000, window: 50s } ] }
  long: { limits: [ { name: long, count: tokens, per: tenant, max: 1000, window: 2h } ] }
",
    )
    .await;
    for (tier, worth) in [("short", "true"), ("long", "false")] {
        bench.json(using(1990).header("x-tier", tier)).await;
        let (refused, body) = bench.json(probe("ada").header("x-tier", tier)).await;
        assert_eq!((refused.status(), refused.header("x-should-retry")), (429, Some(worth)), "{body}");
        let wait = millis(&refused);
        assert_eq!(refused.header("retry-after"), Some(wait.div_ceil(1000).to_string().as_str()));
    }
}

#[tokio::test]
async fn the_limit_with_the_longest_wait_is_the_one_that_is_named() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: minute, count: tokens, per: tenant, max: 100, window: 1m }
    - { name: hour, count: tokens, per: tenant, max: 200, window: 1h }
    - { name: calls, count: requests, per: tenant, max: 1000, window: 1h }
",
    )
    .await;
    bench.json(using(300)).await;
    let (refused, body) = bench.json(probe("ada")).await;
    assert!(body["error"]["message"].as_str().unwrap().contains("(limit `hour`)"), "{body}");
    // 110 tokens at 200 an hour.
    assert!((1_970_000..=1_981_000).contains(&millis(&refused)), "{}", millis(&refused));
    bench.wait_for_count("tollgate_refusals_total", &[("limit", "hour"), ("tier", "free")], 1).await;
    let log = bench.envoy.wait_for_access_log(2).await;
    assert_eq!(
        (&log[0]["tollgate.refused_by"], &log[1]["tollgate.refused_by"]),
        (&Value::Null, &json!("hour"))
    );
    assert_eq!(log[1]["details"], "tollgate_refused");
}

#[tokio::test]
async fn a_limit_on_requests_refuses_in_its_own_words_before_the_body_has_come() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: rpm, count: requests, per: tenant, max: 1, window: 30s } ] } }
",
    )
    .await;
    bench.json(chat("ada")).await;
    let (request, body) = Request::post("/v1/chat/completions").header("x-tenant-id", "ada").body_in_parts();
    let (response, answer) = bench.json(request).await;
    drop(body);
    assert_eq!(response.status(), 429);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("Rate limit reached on requests per tenant (limit `rpm`): Limit 1 per 30s, Available 0, Requested 1."),
        "{message}"
    );
    assert_eq!(answer["error"]["type"], "requests");
    assert_eq!(response.header("x-ratelimit-limit-requests"), Some("1"));
    assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("0"));
    assert_eq!(response.header("x-ratelimit-limit-tokens"), None);
    assert_eq!(response.header("ratelimit-policy"), Some("\"rpm\";q=1;w=30"));
}

#[tokio::test]
async fn a_limit_on_money_refuses_in_dollars() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
prices: [ { match: '*', input: 2.5, output: 10 } ]
tiers: { free: { limits: [ { name: spend, count: cost_usd, per: tenant, max: 0.5, window: 30d } ] } }
",
    )
    .await;
    let (spent, _) = bench.json(using(50_010)).await;
    assert_eq!(spent.header("ratelimit-policy"), Some("\"spend\";q=500000;qu=\"micro-usd\";w=2592000"));
    let (refused, body) = bench.json(probe("ada")).await;
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("on cost_usd per tenant (limit `spend`): Limit $0.50 per 30d, Available $0.00, Requested $0.000025."), "{message}");
    assert_eq!(body["error"]["type"], "cost");
    assert_eq!(refused.header("x-ratelimit-limit-tokens"), None);
    assert_eq!(bench.envoy.wait_for_access_log(2).await[0]["tollgate.cost_usd"], "0.500025");
}

#[tokio::test]
async fn a_call_that_passes_is_told_where_its_budgets_stand() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: calls, count: requests, per: tenant, max: 100, window: 100s }
    - { name: day, count: tokens, per: tenant, max: 100_000, window: 1000s }
    - { name: minute, count: tokens, per: tenant, max: 1000, window: 1000s }
",
    )
    .await;
    let (response, _) = bench.json(chat_with("ada", json!({ "max_tokens": 40 }))).await;
    assert_eq!(response.status(), 200);
    assert_told(
        &response,
        &[
            ("content-type", "application/json"),
            ("ratelimit", "\"minute\";r=950;t=50"),
            ("ratelimit-policy", "\"minute\";q=1000;qu=\"tokens\";w=1000"),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-requests", "99"),
            ("x-ratelimit-remaining-tokens", "950"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "50s"),
        ],
    );
}

#[tokio::test]
async fn the_providers_own_limits_are_not_shown_to_callers() {
    let theirs = ["limit", "remaining", "reset"].map(|what| {
        format!("x-ratelimit-{what}-tokens: 29999999\r\nx-ratelimit-{what}-requests: 29999999\r\n")
    });
    let answer = answer(INPUT, 5).replacen("content-type", &format!("{}content-type", theirs.concat()), 1);
    let upstream = ScriptedUpstream::start([Script::new().read_request().write(answer)]).await;
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let bench = Bench::with(Filter::yaml(TOKENS), |bootstrap| with_detours(bootstrap, &[detour])).await;
    let (response, _) = bench.json(chat_by("scripted", "ada", json!({ "max_tokens": 40 }))).await;
    let told = told(&response);
    let of_limits: Vec<_> = told.iter().filter(|(name, _)| name.starts_with("x-ratelimit")).collect();
    let values = of_limits.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>();
    assert_eq!(
        values,
        [
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining-tokens", "950"),
            ("x-ratelimit-reset-tokens", "36h0m0s"),
        ]
    );
}

#[tokio::test]
async fn a_budget_that_is_nearly_used_up_is_warned_of() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
warn_at: 0.5
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d }
    - { name: late, count: input_tokens, per: tenant, max: 40, window: 30d, warn_at: 1 }
",
    )
    .await;
    let warning = async |request: Request| {
        let (response, body) = bench.json(request).await;
        assert_eq!(response.status(), 200, "{body}");
        response.header("x-tollgate-warning").map(str::to_owned)
    };
    let call = |tokens: u64| {
        chat_with("ada", json!({ "max_tokens": tokens })).header("x-mock-output-tokens", tokens.to_string())
    };
    assert_eq!(warning(call(240)).await, None);
    assert_eq!(warning(call(239)).await, None, "499 of 1000");
    assert_eq!(warning(call(1)).await.as_deref(), Some("\"tpm\";used=51"));
    assert_eq!(warning(call(10)).await.as_deref(), Some("\"tpm\";used=53, \"late\";used=100"));
    bench.wait_for_count("tollgate_warnings_total", &[("limit", "tpm")], 2).await;
    bench.wait_for_count("tollgate_warnings_total", &[("limit", "late")], 1).await;
}

#[tokio::test]
async fn a_refusal_says_nothing_of_other_callers() {
    let bench = Bench::start(TOKENS).await;
    bench.json(using(1500)).await;
    let (refused, body) = bench.json(probe("ada")).await;
    assert_eq!(refused.status(), 429);
    let everything = format!("{:?} {body}", refused.headers());
    assert!(!everything.contains("ada"), "not even the caller's own name: {everything}");
    assert_eq!(bench.left("eve").await, 1000);
}

#[tokio::test]
async fn only_the_chosen_families_of_budget_headers_are_sent() {
    const FAMILIES: [&str; 3] = ["x-ratelimit-", "anthropic-ratelimit-", "ratelimit"];
    let families = |response: &Response| {
        let has = |family: &str| response.headers().keys().any(|name| name.as_str().starts_with(family));
        FAMILIES.map(has)
    };
    for (headers, on_openai, on_anthropic) in [
        ("[x_ratelimit, ietf, anthropic]", [true, false, true], [false, true, true]),
        ("[anthropic]", [false, false, false], [false, true, false]),
        ("[]", [false, false, false], [false, false, false]),
    ] {
        let bench = Bench::start(&format!("headers: {headers}{TOKENS}")).await;
        let message = json!({ "model": "claude-sonnet-4-5", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hi" }] });
        let message = || Request::post("/v1/messages").header("x-tenant-id", "ada").json(&message);
        for (call, expected) in [(chat("ada"), on_openai), (message(), on_anthropic)] {
            let (allowed, body) = bench.json(call).await;
            assert_eq!(allowed.status(), 200, "{body}");
            assert_eq!(families(&allowed), expected, "{headers}");
        }
        bench.json(using(3000)).await;
        for (call, expected) in [(chat("ada"), on_openai), (message(), on_anthropic)] {
            let (refused, _) = bench.json(call).await;
            assert_eq!(refused.status(), 429);
            assert_eq!(families(&refused), expected, "{headers}");
            assert!(refused.header("retry-after").is_some() && refused.header("x-should-retry").is_some());
        }
    }
}
