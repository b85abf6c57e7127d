//! Budgets: exact to the token under concurrent callers, and independent of one another.

use core::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::Filter;
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use crate::bench::{Bench, Detour, chat, chat_by, chat_with, with_detours};
use crate::probe::{INPUT, answer, probe, shown};

const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d } ]
";

const CLIENTS: usize = 64;

/// Returns how many concurrent calls one budget admits, and the bench after all have settled. The
/// upstream answers after the filter has decided all calls; each call reports 10 + 5 tokens.
async fn admitted_at_once(limit: &str) -> (usize, Bench) {
    let gate = Signal::new();
    let hold = Script::new().read_request().wait(&gate).write(answer(INPUT, 5));
    let upstream = ScriptedUpstream::start([hold]).await;
    let configuration = format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
prices: [ {{ match: '*', input: 1, output: 2 }} ]
tiers: {{ free: {{ limits: [ {limit} ] }} }}
"
    );
    let detour = Detour { name: "held", to: Some(upstream.address()), route: "" };
    let bench =
        Bench::with(Filter::yaml(&configuration), |bootstrap| with_detours(bootstrap, &[detour])).await;

    let mut calls = Vec::new();
    for number in 0..CLIENTS {
        let address = bench.envoy.address();
        calls.push(tokio::spawn(async move {
            let client =
                if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
            let request = chat_by("held", "ada", json!({ "max_tokens": 20 }));
            let mut response = client.unwrap().send(request).await.unwrap();
            response.body().await.unwrap();
            response.status()
        }));
    }
    let decided = |refused: f64| {
        let passed: usize = upstream.heard().iter().map(|heard| heard.requests.len()).sum();
        passed + refused as usize
    };
    bench
        .envoy
        .wait_for_metrics(|metrics| decided(metrics.sum("tollgate_refusals_total", &[])) >= CLIENTS)
        .await;
    gate.fire();
    let mut admitted = 0;
    for call in calls {
        match call.await.unwrap() {
            200 => admitted += 1,
            status => assert_eq!(status, 429),
        }
    }
    (admitted, bench)
}

#[tokio::test]
async fn parallel_clients_get_not_one_token_more_than_the_budget() {
    let limit = "{ name: tpm, count: tokens, per: tenant, max: 1000, window: 30d }";
    let (admitted, bench) = admitted_at_once(limit).await;
    assert_eq!(admitted, 1000 / 30, "calls that hold 10 + 20 tokens each");
    assert_eq!(bench.left("ada").await, 1000 - 33 * 15, "after settlement");
}

#[tokio::test]
async fn parallel_clients_get_not_one_request_more_than_the_budget() {
    let limit = "{ name: rpm, count: requests, per: tenant, max: 20, window: 30d }";
    let (admitted, bench) = admitted_at_once(limit).await;
    assert_eq!(admitted, 20);
    let (next, _) = bench.json(chat("ada")).await;
    assert_eq!((next.status(), shown(&next)), (429, 0));
}

#[tokio::test]
async fn parallel_clients_get_not_one_place_more_than_there_are_and_give_them_all_back() {
    let limit = "{ name: flight, count: concurrent_requests, per: tenant, max: 20 }";
    let (admitted, bench) = admitted_at_once(limit).await;
    assert_eq!(admitted, 20);
    let (next, _) = bench.json(chat("ada")).await;
    assert_eq!((next.status(), shown(&next)), (200, 19));
}

#[tokio::test]
async fn parallel_clients_get_not_one_dollar_more_than_the_budget() {
    // Each call holds 10 x 1 + 20 x 2 = 50 millionths of a dollar and uses 20 of them.
    let limit = "{ name: usd, count: cost_usd, per: tenant, max: 0.00104, window: 30d }";
    let (admitted, bench) = admitted_at_once(limit).await;
    assert_eq!(admitted, 20);
    let (next, _) = bench.json(probe("ada")).await;
    assert_eq!(shown(&next), 1040 - 20 * 20 - INPUT);
}

/// The number of sequential calls of each client, enough for many write conflicts between workers.
const CALLS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_is_lost_when_all_workers_write_one_budget() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: calls, count: requests, per: tenant, max: 1_000_000, window: 30d, algorithm: fixed_window }
    - { name: tokens, count: tokens, per: tenant, max: 1_000_000, window: 30d, algorithm: fixed_window }
",
    )
    .await;
    let clients = (0..CLIENTS).map(|number| {
        let address = bench.envoy.address();
        tokio::spawn(async move {
            let client =
                if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
            let mut client = client.unwrap();
            for _ in 0..CALLS {
                let request = chat_with("ada", json!({ "max_tokens": 20 }));
                let usage = r#"{"prompt_tokens":10,"completion_tokens":5}"#;
                let mut response = client.send(request.header("x-mock-usage", usage)).await.unwrap();
                assert_eq!(response.status(), 200);
                response.body().await.unwrap();
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let calls = u64::try_from(CLIENTS * CALLS).unwrap();
    let (last, _) = bench.json(probe("ada")).await;
    let left =
        |unit: &str| last.header(&format!("x-ratelimit-remaining-{unit}")).unwrap().parse::<u64>().unwrap();
    assert_eq!(left("requests"), 1_000_000 - calls - 1);
    assert_eq!(left("tokens"), 1_000_000 - 15 * calls - INPUT);
}

#[tokio::test]
async fn a_call_is_charged_what_its_usage_says() {
    let bench = Bench::start(TOKENS).await;
    let (response, body) = bench.json(chat("ada").header("x-mock-output-tokens", "30")).await;
    assert_eq!((response.status(), &body["usage"]["total_tokens"]), (200, &json!(40)));
    assert_eq!(bench.left("ada").await, 960);
    let log = &bench.envoy.wait_for_access_log(2).await[0];
    assert_eq!(log["tollgate.input_tokens.counted"], "10");
    assert_eq!(log["tollgate.input_tokens.used"], "10");
    assert_eq!(log["tollgate.output_tokens.used"], "30");
}

/// Three tiers with one limit each that differ only in the algorithm.
const ALGORITHMS: &str = "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: token_bucket } }
tiers:
  token_bucket: { limits: [ { name: tpm, count: tokens, per: tenant, max: 100, window: 2s } ] }
  sliding_window: { limits: [ { name: tpm, count: tokens, per: tenant, max: 100, window: 2s, algorithm: sliding_window } ] }
  fixed_window: { limits: [ { name: tpm, count: tokens, per: tenant, max: 100, window: 2s, algorithm: fixed_window } ] }
";

#[tokio::test]
async fn every_algorithm_refuses_until_the_time_it_names_and_admits_then() {
    let bench = Bench::start(ALGORITHMS).await;
    let refill = async |tier: &str| {
        let call = || {
            chat_with("ada", json!({ "max_tokens": 15 }))
                .header("x-tier", tier)
                .header("x-mock-output-tokens", "15")
        };
        // A window may end between two calls, but not between all of them.
        let mut admitted = 0;
        let wait = loop {
            let (response, body) = bench.json(call()).await;
            if response.status() == 429 {
                break response.header("retry-after-ms").unwrap().parse().unwrap();
            }
            assert_eq!(response.status(), 200, "{body}");
            admitted += 1;
            assert!(admitted < 40, "{tier} does not refuse");
        };
        assert!(admitted >= 4, "{tier} admits {admitted} calls of 25 tokens");
        // A sliding window frees tokens only as calls leave it, which may take two windows; jitter
        // adds up to a tenth.
        assert!(wait <= 4_400, "{tier}: {wait} ms for a window of 2 s");
        // Waits as long as the refusal says.
        sleep(Duration::from_millis(wait)).await;
        assert_eq!(bench.json(call()).await.0.status(), 200, "{tier} after {wait} ms");
    };
    tokio::join!(refill("token_bucket"), refill("sliding_window"), refill("fixed_window"));
}

const DIMENSIONS: &str = "
identity: { tenant: { header: x-tenant-id }, user: { header: x-user }, tier: { header: x-tier, default: one } }
tiers:
  none: { limits: [ { name: all, count: tokens, max: 100, window: 30d } ] }
  one: { limits: [ { name: tenant, count: tokens, per: tenant, max: 100, window: 30d } ] }
  two: { limits: [ { name: both, count: tokens, per: [tenant, user], max: 100, window: 30d } ] }
  model: { limits: [ { name: model, count: tokens, per: [model, tenant], max: 100, window: 30d } ] }
";

#[tokio::test]
async fn every_combination_of_the_dimensions_has_a_budget_of_its_own() {
    let bench = Bench::start(DIMENSIONS).await;
    let spend = async |tier: &str, tenant: &str, user: &str, model: &str| {
        let call = chat_with(tenant, json!({ "model": model, "max_tokens": 10 }));
        let call = call.header("x-tier", tier).header("x-user", user).header("x-mock-output-tokens", "10");
        let (response, body) = bench.json(call).await;
        assert_eq!(response.status(), 200, "{body}");
        response.header("x-ratelimit-remaining-tokens").unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(spend("none", "ada", "u", "gpt-4o").await, 80);
    assert_eq!(spend("none", "eve", "v", "gpt-4o").await, 60, "no dimension: one budget for all");
    assert_eq!(spend("one", "ada", "u", "gpt-4o").await, 80);
    assert_eq!(spend("one", "ada", "v", "gpt-4o").await, 60);
    assert_eq!(spend("one", "eve", "u", "gpt-4o").await, 80);
    assert_eq!(spend("two", "ada", "u", "gpt-4o").await, 80);
    assert_eq!(spend("two", "ada", "v", "gpt-4o").await, 80);
    assert_eq!(spend("two", "eve", "u", "gpt-4o").await, 80);
    assert_eq!(spend("two", "eve", "u", "gpt-4o").await, 60);
    assert_eq!(spend("model", "ada", "u", "gpt-4o").await, 80);
    assert_eq!(spend("model", "ada", "u", "gpt-4o-mini").await, 80);
    assert_eq!(spend("model", "ada", "v", "gpt-4o").await, 60);
}

const TIERS: &str = "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: free } }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 100, window: 30d }
    - { name: mini, count: tokens, per: tenant, models: ['gpt-*-mini'], max: 50, window: 30d }
  pro: { extends: free, limits: [ { name: tpm, max: 500 } ] }
";

fn of_tier(tier: &str, request: Request) -> Request {
    request.header("x-tier", tier)
}

#[tokio::test]
async fn two_tiers_and_two_tenants_do_not_touch_each_other() {
    let bench = Bench::start(TIERS).await;
    let used = of_tier("free", chat_with("ada", json!({ "max_tokens": 30 })));
    let (response, _) = bench.json(used.header("x-mock-output-tokens", "30")).await;
    assert_eq!(response.status(), 200);

    assert_eq!(bench.left_by(of_tier("free", probe("ada"))).await, 60);
    assert_eq!(bench.left_by(of_tier("free", probe("eve"))).await, 100);
    assert_eq!(bench.left_by(of_tier("pro", probe("ada"))).await, 500, "the same tenant in another tier");
}

#[tokio::test]
async fn a_tier_has_the_limits_of_the_one_it_extends_and_overrides_them_by_name() {
    let bench = Bench::start(TIERS).await;
    let call = || {
        let call = chat_with("ada", json!({ "model": "gpt-4o-mini", "max_tokens": 10 }));
        of_tier("pro", call.header("x-mock-output-tokens", "10"))
    };
    for expected in [200, 200] {
        assert_eq!(bench.json(call()).await.0.status(), expected);
    }
    let (response, body) = bench.json(call()).await;
    assert_eq!(response.status(), 429, "20 tokens do not fit what is left of free's 50");
    assert!(body["error"]["message"].as_str().unwrap().contains("(limit `mini`)"), "{body}");
    let (response, _) = bench.json(of_tier("pro", probe("ada"))).await;
    assert_eq!(response.header("x-ratelimit-limit-tokens"), Some("500"));
}

#[tokio::test]
async fn a_limit_for_some_models_leaves_the_others_alone() {
    let bench = Bench::start(TIERS).await;
    let call = |model: &str| {
        chat_with("ada", json!({ "model": model, "max_tokens": 10 })).header("x-mock-output-tokens", "10")
    };
    for expected in [200, 200, 429] {
        assert_eq!(bench.json(call("gpt-4o-mini")).await.0.status(), expected);
    }
    assert_eq!(bench.json(call("gpt-4o")).await.0.status(), 200);
}

#[tokio::test]
async fn a_tier_that_does_not_exist_is_the_default_one_and_counted() {
    let bench = Bench::start(TIERS).await;
    let (response, _) = bench.json(of_tier("platinum", probe("ada"))).await;
    assert_eq!(response.header("x-ratelimit-limit-tokens"), Some("100"));
    bench.wait_for_count("tollgate_unknown_tier_total", &[], 1).await;
    bench.wait_for_count("tollgate_calls_total", &[("tier", "free")], 1).await;
    bench.wait_for_count("tollgate_calls_total", &[("tier", "platinum")], 0).await;
}

#[tokio::test]
async fn a_call_that_uses_more_than_was_held_leaves_a_debt_that_must_flow_back_first() {
    // At 100 tokens a second, a debt of 1500 and the 10 of the next call take 15.1 s.
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 10s } ] } }
",
    )
    .await;
    let usage = r#"{"prompt_tokens":10,"completion_tokens":2490,"total_tokens":2500}"#;
    let (response, _) = bench.json(chat("ada").header("x-mock-usage", usage)).await;
    assert_eq!(response.status(), 200);
    let (refused, _) = bench.json(probe("ada")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(shown(&refused), 0);
    let wait: u64 = refused.header("retry-after-ms").unwrap().parse().unwrap();
    let elapsed = u64::try_from(response.started().elapsed().as_millis()).unwrap();
    assert!(wait + elapsed >= 15_100, "{wait} ms, {elapsed} ms after the call began");
    assert!(wait <= 16_100, "{wait} ms with at most a second of jitter");
}

#[tokio::test]
async fn what_is_held_for_output_is_learned_from_the_calls_before() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
counting: { output_reserve: { start: 200 } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] } }
",
    )
    .await;
    let mut left = 10_000;
    let mut held = Vec::new();
    for _ in 0..3 {
        // Each worker reads what was learned at most once a second.
        sleep(Duration::from_millis(1_100)).await;
        let (response, _) = bench.json(chat("ada").header("x-mock-output-tokens", "40")).await;
        held.push(left - shown(&response) - INPUT);
        left -= INPUT + 40;
    }
    // RFC 6298 sets the deviation to half of the first value; it shrinks while the values stay the
    // same.
    assert_eq!((held[0], held[1]), (200, 60));
    assert!((40..60).contains(&held[2]), "{held:?}");
    assert_eq!(bench.left("ada").await, left);
}

#[tokio::test]
async fn a_shadow_limit_never_refuses_and_is_counted() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 1000, window: 30d }
    - { name: tight, count: tokens, per: tenant, max: 45, window: 30d, enforce: shadow }
    - { name: once, count: requests, per: tenant, max: 1, window: 30d, enforce: shadow }
",
    )
    .await;
    let call = || chat_with("ada", json!({ "max_tokens": 10 })).header("x-mock-output-tokens", "10");
    for _ in 0..4 {
        let (response, _) = bench.json(call()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("x-ratelimit-limit-tokens"), Some("1000"), "shadows are not shown");
        assert_eq!(response.header("x-ratelimit-limit-requests"), None);
    }
    let shadow = "tollgate_shadow_refusals_total";
    bench.wait_for_count(shadow, &[("limit", "tight")], 2).await;
    bench.wait_for_count(shadow, &[("limit", "once")], 3).await;
    bench.wait_for_count("tollgate_refusals_total", &[], 0).await;
    assert_eq!(bench.left("ada").await, 1000 - 80);
}

#[tokio::test]
async fn a_refused_call_consumes_nothing_of_the_limits_that_would_have_let_it_pass() {
    let bench = Bench::start(
        "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits:
    - { name: rpm, count: requests, per: tenant, max: 3, window: 30d }
    - { name: day, count: tokens, per: tenant, max: 1000, window: 30d }
    - { name: tpm, count: output_tokens, per: tenant, max: 20, window: 30d }
",
    )
    .await;
    let output = |tokens: u64| {
        chat_with("ada", json!({ "max_tokens": tokens })).header("x-mock-output-tokens", tokens.to_string())
    };
    let requests_left = |(response, _): &(tollgate_rig::client::Response, Value)| {
        response.header("x-ratelimit-remaining-requests").map(str::to_owned)
    };
    let first = bench.json(output(5)).await;
    assert_eq!((first.0.status(), requests_left(&first).as_deref()), (200, Some("2")));
    bench.json(output(15)).await;
    for _ in 0..5 {
        let (refused, body) = bench.json(output(1)).await;
        assert_eq!(refused.status(), 429, "{body}");
    }
    let last = bench.json(output(0)).await;
    assert_eq!((last.0.status(), requests_left(&last).as_deref()), (200, Some("0")));
}
