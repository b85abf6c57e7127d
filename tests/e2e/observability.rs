//! Metrics with bounded labels, facts in the access log, a log line for each refusal, flat memory.

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_rig::client::{self, Client, Request};
use tollgate_rig::envoy::{Envoy, Filter, Metrics};
use tollgate_rig::mock_llm::MockLlm;

use crate::bench::{Bench, bootstrap, chat, chat_with};

const TIERS: &str = "
identity:
  tenant: { header: x-tenant-id }
  key: { header: authorization, scheme: Bearer, secret: true }
  tier: { header: x-tier, default: free }
on_missing: { tenant: refuse }
tiers:
  free:
    limits:
    - { name: rpm, count: requests, per: [tenant, key], max: 5, window: 30d, warn_at: 0.7 }
    - { name: shy, count: tokens, per: tenant, max: 70, window: 30d, enforce: shadow }
  pro: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1_000_000, window: 30d } ] }
prices: [ { match: \"gpt-4o*\", input: 2.5, output: 10 } ]
";

#[tokio::test]
async fn every_kind_of_ending_is_counted_under_its_labels() {
    let bench = Bench::start(TIERS).await;
    let pro = |request: Request| request.header("x-tier", "pro");
    let ok = |request| async {
        let mut response = bench.send(request).await;
        assert_eq!(response.status(), 200);
        response.body().await.unwrap();
    };
    let twenty = || json!({ "max_tokens": 20 });
    for _ in 0..5 {
        ok(chat_with("ada", twenty())).await;
    }
    assert_eq!(bench.send(chat_with("ada", twenty())).await.status(), 429);
    assert_eq!(bench.send(pro(chat("bob")).header("x-mock-status", "500")).await.status(), 500);
    ok(pro(chat("bob")).header("x-mock-no-usage", "true")).await;
    ok(pro(chat("bob")).header("x-mock-encoding", "gzip")).await;
    ok(pro(chat("bob")).header("x-mock-usage", "\"none\"")).await;
    ok(pro(chat("bob")).header("x-mock-usage", r#"{"prompt_tokens":9,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":5}}"#)).await;
    assert_eq!(bench.send(Request::chat(&json!({}))).await.status(), 401);
    assert_eq!(
        bench.send(chat("bob").header("upgrade", "h3").header("connection", "upgrade")).await.status(),
        403
    );
    assert_eq!(
        bench
            .send(
                pro(Request::post("/v1/chat/completions"))
                    .header("x-tenant-id", "bob")
                    .body(r#"{"n":1,"n":2}"#)
            )
            .await
            .status(),
        400
    );
    ok(chat("eve").header("x-tier", "platinum").header("x-mock-output-tokens", "1")).await;
    let mut cut =
        bench.send(pro(chat_with("bob", json!({ "stream": true }))).header("x-mock-cut-after", "3")).await;
    assert!(cut.body().await.is_err());
    let mut gone = bench
        .send(pro(chat_with("bob", json!({ "stream": true }))).header("x-mock-chunk-delay-ms", "50"))
        .await;
    gone.chunk().await.unwrap();
    gone.abort();

    bench.envoy.wait_for_metrics(|metrics| calls(metrics, &[("kind", "client_abort")]) > 0.0).await;
    let metrics = bench.envoy.metrics().await;
    let gpt = ("model", "gpt-4o");
    for (labels, count) in [
        (&[("tier", "free"), gpt, ("kind", "ok")] as &[_], 6.0),
        (&[("tier", "free"), ("kind", "refused")], 1.0),
        (&[("tier", "pro"), gpt, ("kind", "ok")], 4.0),
        (&[("tier", "pro"), ("kind", "error")], 1.0),
        (&[("tier", "pro"), ("kind", "upstream_reset")], 1.0),
        (&[("tier", "pro"), ("kind", "client_abort")], 1.0),
        (&[("kind", "unidentified")], 1.0),
        (&[("kind", "bad_request")], 1.0),
    ] {
        assert_eq!(calls(&metrics, labels), count, "{labels:?}");
    }
    for (name, labels, count) in [
        ("tollgate_refusals_total", &[("tier", "free"), ("limit", "rpm")] as &[_], 1.0),
        ("tollgate_shadow_refusals_total", &[("tier", "free"), ("limit", "shy")], 3.0),
        // The fourth and the fifth call; the refused one does not count.
        ("tollgate_warnings_total", &[("tier", "free"), ("limit", "rpm")], 2.0),
        ("tollgate_unknown_tier_total", &[], 1.0),
        ("tollgate_usage_missing_total", &[("kind", "absent")], 1.0),
        // The filter reads a compressed answer.
        ("tollgate_usage_missing_total", &[("kind", "encoded")], 0.0),
        ("tollgate_usage_missing_total", &[("kind", "unreadable")], 1.0),
        ("tollgate_tokens_total", &[("tier", "free"), gpt, ("kind", "input")], 60.0),
        ("tollgate_tokens_total", &[("tier", "free"), gpt, ("kind", "output")], 101.0),
        ("tollgate_tokens_total", &[("tier", "pro"), gpt, ("kind", "cached_input")], 4.0),
        ("tollgate_tokens_total", &[("tier", "pro"), gpt, ("kind", "reasoning")], 5.0),
        ("tollgate_cost_nano_usd_total", &[("tier", "free"), gpt], 60.0 * 2_500.0 + 101.0 * 10_000.0),
        ("tollgate_estimate_error_tokens_total", &[gpt, ("kind", "over")], 1.0),
        ("tollgate_store_failures_total", &[], 0.0),
    ] {
        assert_eq!(metrics.sum(name, labels), count, "{name} {labels:?}");
    }
}

fn calls(metrics: &Metrics, labels: &[(&str, &str)]) -> f64 {
    metrics.sum("tollgate_calls_total", labels)
}

fn label_values(metrics: &Metrics, label: &str) -> Vec<String> {
    let ours = metrics.of_filter();
    let mut values: Vec<_> = ours.filter_map(|sample| sample.label(label).map(str::to_owned)).collect();
    values.sort();
    values.dedup();
    values
}

#[tokio::test]
async fn made_up_names_do_not_grow_the_metrics() {
    let bench = Bench::start(TIERS).await;
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    for number in 0..300 {
        let model = format!("made-up-{number}");
        let request = chat_with(&model, json!({ "model": model }));
        // The upstream does not know these models.
        let request = request.header("x-tier", format!("tier-{number}")).header("x-mock-status", "404");
        client.send(request).await.unwrap().body().await.unwrap();
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(calls(&metrics, &[("kind", "error"), ("model", "other")]), 300.0);
    assert_eq!(label_values(&metrics, "model"), ["other"]);
    assert_eq!(label_values(&metrics, "tier"), ["free"]);
    assert_eq!(metrics.sum("tollgate_unknown_tier_total", &[]), 300.0);

    // The number of labels has a bound, even if an upstream answers to any name.
    for number in 0..300 {
        let request =
            chat_with("ada", json!({ "model": format!("obliging-{number}") })).header("x-tier", "pro");
        client.send(request.header("x-mock-no-usage", "true")).await.unwrap().body().await.unwrap();
    }
    let metrics = bench.envoy.metrics().await;
    assert_eq!(label_values(&metrics, "model").len(), 101);
    assert_eq!(calls(&metrics, &[("kind", "ok"), ("model", "other")]), 200.0);
}

#[tokio::test]
async fn the_access_log_tells_what_was_counted_and_charged() {
    let bench = Bench::start(TIERS).await;
    let call = || chat("ada").header("x-mock-output-tokens", "30");
    for _ in 0..6 {
        bench.send(call()).await.body().await.unwrap();
    }
    bench.send(Request::get("/v1/files")).await.body().await.unwrap();
    let log = bench.envoy.wait_for_access_log(7).await;
    let facts = |line: &Value| {
        ["tier", "input_tokens.counted", "input_tokens.used", "output_tokens.used", "cost_usd", "refused_by"]
            .map(|fact| line[format!("tollgate.{fact}")].clone())
    };
    let text = |text: &str| Value::from(text);
    assert_eq!(
        facts(&log[0]),
        [text("free"), text("10"), text("10"), text("30"), text("0.000325"), Value::Null]
    );
    assert_eq!(log[5]["status"], 429);
    assert_eq!(log[5]["details"], "tollgate_refused");
    assert_eq!(facts(&log[5])[0], "free");
    assert_eq!(facts(&log[5])[2..], [Value::Null, Value::Null, Value::Null, text("rpm")]);
    assert_eq!(facts(&log[6]), [const { Value::Null }; 6]);
}

#[tokio::test]
async fn each_refusal_and_each_crossing_is_one_line_of_json_without_prompt_or_secret() {
    let bench = Bench::start(TIERS).await;
    let call = || {
        chat_with("ada", json!({ "messages": [{ "role": "user", "content": "my darkest thoughts" }] }))
            .header("authorization", "Bearer sk-hunter2")
    };
    for _ in 0..7 {
        bench.send(call()).await.body().await.unwrap();
    }
    bench.envoy.wait_for_access_log(7).await;
    let log = bench.envoy.log();
    let mut lines: Vec<Value> = log
        .lines()
        .filter(|line| line.contains("[wasm]"))
        .map(|line| {
            let start = line.find("{\"").unwrap_or_else(|| panic!("not JSON: {line}"));
            serde_json::from_str(&line[start..]).unwrap()
        })
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    let mut warning = lines.remove(0);
    assert!(warning["per"]["key"].take().as_str().unwrap().starts_with("hash:"), "{warning}");
    assert_eq!(
        warning,
        json!({
            "event": "warning", "tier": "free", "limit": "rpm", "counts": "requests",
            "per": { "tenant": "ada", "key": null }, "max": 5, "available": 1, "used_percent": 80,
        })
    );
    for mut line in lines {
        let key = line["per"]["key"].take();
        assert!(key.as_str().unwrap().starts_with("hash:"), "{key}");
        assert!(line["wait_ms"].take().as_u64().unwrap() > 1_000);
        assert_eq!(
            line,
            json!({
                "event": "refused", "tier": "free", "limit": "rpm", "counts": "requests",
                "per": { "tenant": "ada", "key": null }, "api": "openai_chat", "model": "",
                "max": 5, "available": 0, "needed": 1, "wait_ms": null,
            })
        );
    }
    assert!(!log.contains("hunter2") && !log.contains("darkest"));
}

const SMALL: &str = "
identity: { tenant: { header: x-tenant-id } }
table_size: 1024
tiers: { free: { limits: [ { name: rpm, count: requests, per: tenant, max: 10, window: 30d } ] } }
";

#[tokio::test]
async fn a_flood_of_made_up_callers_takes_the_places_of_the_table_and_no_budget_that_is_in_use() {
    let bench = Bench::start(SMALL).await;
    let call = |tenant: &str| chat(tenant).header("x-mock-status", "404");
    let status = async |tenant: &str| bench.send(call(tenant)).await.status();
    for _ in 0..10 {
        assert_eq!(status("ada").await, 404);
    }
    assert_eq!(status("ada").await, 429);

    let mut clients = JoinSet::new();
    for lane in 0..8 {
        let address = bench.envoy.address();
        clients.spawn(async move {
            let mut client = Client::http2(address).await.unwrap();
            for number in (lane..5_000).step_by(8) {
                let request = chat(&format!("made-up-{number}")).header("x-mock-status", "404");
                client.send(request).await.unwrap().body().await.unwrap();
            }
        });
    }
    clients.join_all().await;

    assert_eq!(status("ada").await, 429, "a budget that is in use made room for made-up ones");
    let metrics = bench.envoy.metrics().await;
    let taken = metrics.sum("tollgate_table_places", &[("kind", "taken")]);
    assert!((900.0..=1024.0).contains(&taken), "{taken} places");
    assert!(metrics.sum("tollgate_evictions_total", &[]) > 0.0);
}

#[tokio::test]
async fn a_gauge_shows_the_scale_that_was_learned_and_all_workers_write_the_same_one() {
    let bench = Bench::start(TIERS).await;
    let text = "How many tokens is this? ".repeat(40);
    let body = json!({ "model": "claude-sonnet-4-5", "messages": [{ "role": "user", "content": text }], "max_tokens": 5 });
    // Far above the bound of twice the model's known factor, 1.2 tokens for each of `o200k_base`.
    let usage = r#"{"prompt_tokens":5000,"completion_tokens":1}"#;
    for _ in 0..40 {
        let request = chat_with("ada", body.clone()).header("x-tier", "pro").header("x-mock-usage", usage);
        let mut response = bench.send(request).await;
        assert_eq!(response.status(), 200);
        response.body().await.unwrap();
    }
    let gauge = "tollgate_input_scale_percent";
    let metrics = bench.envoy.wait_for_metrics(|metrics| metrics.sum(gauge, &[]) > 220.0).await;
    let shown = metrics.only(gauge, &[("model", "claude-sonnet-4-5")]);
    assert!(shown.is_some_and(|percent| percent <= 240.0), "{shown:?}");
}

#[tokio::test]
async fn the_last_counts_of_a_configuration_are_written_when_it_ends() {
    let mock = MockLlm::start().await;
    let with = |salt: u32| {
        let configuration = format!("salt: s{salt}\n{TIERS}");
        bootstrap(mock.address(), Filter::yaml(&configuration)).reloadable().drains_at_once()
    };
    let envoy = Envoy::start(with(0)).await;
    let slow = chat_with("ada", json!({ "stream": true })).header("x-mock-chunk-delay-ms", "20");
    let mut cut = client::send(envoy.address(), slow.header("x-mock-output-tokens", "5000")).await.unwrap();
    cut.chunk().await.unwrap();

    // Envoy closes the connection, so the call is counted when its configuration has no more ticks.
    assert!(envoy.reload(&with(1)).await);

    assert!(cut.body().await.is_err(), "the stream goes on");
    envoy.wait_for_metrics(|metrics| calls(metrics, &[]) == 1.0).await;
}
