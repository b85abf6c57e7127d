//! What is said to the service before and after a call, by each protocol, and what its answers do.

use serde_json::json;
use tollgate_rig::rate_limits::{Method, ScriptedService};

use super::{of, tokens, tpd};
use crate::bench::{Bench, chat, chat_with};
use crate::probe::INPUT;

/// The tokens that the mock says an answer of [`chat`] has.
async fn output(bench: &Bench) -> u64 {
    let (response, body) = bench.json(chat("nobody")).await;
    assert_eq!(response.status(), 200, "{body}");
    body["usage"]["completion_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn a_call_asks_for_what_it_holds_and_tells_what_it_used_beyond() {
    let service = ScriptedService::start([tpd(100_000)]);
    let bench = Bench::with_service(&tokens(100_000, ""), &service).await;
    let output = output(&bench).await;

    let (response, body) = bench.json(chat_with("ada", json!({ "max_tokens": output - 1 }))).await;

    assert_eq!(response.status(), 200, "{body}");
    let used = INPUT + body["usage"]["completion_tokens"].as_u64().unwrap();
    service.wait_for_count(&of("ada"), used).await;
}

#[tokio::test]
async fn a_call_over_the_global_budget_is_refused_with_the_services_wait() {
    let service = ScriptedService::start([tpd(50)]);
    let bench = Bench::with_service(&tokens(50, ""), &service).await;

    let (allowed, _) = bench.json(chat_with("ada", json!({ "max_tokens": 20 }))).await;
    service.wait_for_count(&of("ada"), INPUT + 20).await;
    let (refused, body) = bench.json(chat_with("ada", json!({ "max_tokens": 20 }))).await;

    assert_eq!(allowed.status(), 200);
    assert_eq!(refused.status(), 429, "{body}");
    assert!(refused.header("retry-after").is_some());
    // Two questions, and what the first call used beyond what it held.
    assert_eq!(service.calls(Method::ShouldRateLimit), 3);
}
