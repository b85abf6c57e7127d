//! Budgets are enforced and settled.

use serde_json::json;

use crate::bench::{Bench, chat, chat_with};

const TOKENS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers:
  free:
    limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 1h } ]
";

#[tokio::test]
async fn a_call_is_charged_what_its_usage_says() {
    let bench = Bench::start(TOKENS).await;
    let (response, body) = bench.json(chat("ada").header("x-mock-output-tokens", "30")).await;
    assert_eq!(response.status(), 200);
    println!("{:?} {body}", response.header("x-ratelimit-remaining-tokens"));
    let used = body["usage"]["total_tokens"].as_u64().unwrap();
    let (response, _) = bench.json(chat_with("ada", json!({ "max_tokens": 0 }))).await;
    let remaining: u64 = response.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
    let input = body["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(remaining, 1000 - used - input);
    println!("{:?}", bench.envoy.wait_for_access_log(2).await);
}
