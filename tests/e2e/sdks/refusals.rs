//! Calls over budget: the clients raise their own error, or retry after the wait in the refusal.

use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tollgate_rig::client::Request;

use super::TIERS;
use super::clients::{
    AI_CHAT, AI_MESSAGES, AI_RESPONSES, Api, CHAT, EMBEDDINGS, MESSAGES, NODE_CHAT, NODE_MESSAGES,
    NODE_RESPONSES, RESPONSES,
};
use crate::bench::{Bench, chat};

/// Returns a call that leaves its tenant's full budget `below_zero` tokens in debt.
fn debt(tier: &str, tenant: &str, max: u64, below_zero: u64) -> Request {
    let usage = json!({ "prompt_tokens": 0, "completion_tokens": max + below_zero });
    let request = chat(tenant).header("x-tier", tier);
    request.header("x-mock-usage", usage.to_string())
}

/// Returns a part of the filter's log line about a refusal that occurs in no other line.
fn refusal_line(tier: &str, tenant: &str) -> String {
    format!(r#""per":{{"tenant":"{tenant}"}},"tier":"{tier}","wait_ms""#)
}

impl Bench {
    /// Returns the filter's log line about the refusal of a tenant.
    async fn refusal_of(&self, tier: &str, tenant: &str) -> Value {
        let line = self.envoy.wait_for_log(&refusal_line(tier, tenant)).await;
        let json = &line[line.find(r#"{"api""#).unwrap()..=line.rfind('}').unwrap()];
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"))
    }
}

/// Calls with a debt that takes 50 s to pay: the interpreter of a client starts slowly on a busy
/// machine.
async fn is_over_budget(bench: &Bench, api: Api) {
    let (paid, body) = bench.json(debt("tight", api.name, 1000, 5000)).await;
    assert_eq!(paid.status(), 200, "{body}");
    let headers = [("x-tenant-id", api.name), ("x-tier", "tight")];
    let seen = api.run("over_budget", bench.envoy.address(), &headers).await;
    let elapsed = paid.started().elapsed();

    let error = (&seen["succeeded"], &seen["error"], &seen["status"]);
    assert_eq!(error, (&json!(false), &json!(api.error), &json!(429)), "{seen}");
    let refusal = bench.refusal_of("tight", api.name).await;
    let (wait, needed) = (refusal["wait_ms"].as_u64().unwrap(), refusal["needed"].as_u64().unwrap());
    // A hundred tokens a second flow back.
    let longest = (5000 + needed) * 10;
    let since = u64::try_from(elapsed.as_millis()).unwrap();
    assert!((longest.saturating_sub(since)..=longest).contains(&wait), "{refusal} {since} ms after the debt");
    // The filter adds up to a second of jitter.
    let told: u64 = seen["retry_after"].as_str().unwrap().parse().unwrap();
    assert!((wait.div_ceil(1000)..=(wait + 1000).div_ceil(1000)).contains(&told), "{seen} {refusal}");
    let message = seen["message"].as_str().unwrap();
    let limit =
        format!("on tokens per tenant (limit `tpm`): Limit 1000 per 10s, Available 0, Requested {needed}.");
    let (_, advice) = message.split_once(&limit).unwrap_or_else(|| panic!("{message}"));
    let advice = advice.strip_prefix(" Please try again in ").unwrap().split_once("s.").unwrap().0;
    // The message has a wait of less than a second in milliseconds, "950ms".
    let seconds = match advice.strip_suffix('m') {
        Some(millis) => millis.parse::<f64>().unwrap() / 1000.0,
        None => advice.parse::<f64>().unwrap(),
    };
    assert_eq!(seconds.ceil(), told as f64, "{seen}");
}

#[tokio::test]
async fn over_budget_the_clients_raise_their_own_error_with_the_wait() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(
        is_over_budget(&bench, CHAT),
        is_over_budget(&bench, RESPONSES),
        is_over_budget(&bench, EMBEDDINGS),
        is_over_budget(&bench, MESSAGES),
        is_over_budget(&bench, NODE_CHAT),
        is_over_budget(&bench, NODE_RESPONSES),
        is_over_budget(&bench, NODE_MESSAGES),
        is_over_budget(&bench, AI_CHAT),
        is_over_budget(&bench, AI_RESPONSES),
        is_over_budget(&bench, AI_MESSAGES)
    );
    assert_eq!(bench.mock.received().len(), 10, "no refused call reaches the upstream");
}

/// Forwards to Envoy, and delays the first connection until its tenant is in debt, because starting
/// an interpreter takes longer than a small budget takes to recover.
async fn gate(bench: &Bench, listener: &TcpListener, tenant: &str) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let (mut client, _) = listener.accept().await.unwrap();
        if number == 0 {
            let (paid, body) = bench.json(debt("quick", tenant, 100, 50)).await;
            assert_eq!(paid.status(), 200, "{body}");
        }
        let mut envoy = TcpStream::connect(bench.envoy.address()).await.unwrap();
        connections.spawn(async move { drop(copy_bidirectional(&mut client, &mut envoy).await) });
    }
}

/// Calls with a debt that takes a second to pay and a budget that refills in two.
async fn waits_and_succeeds(bench: &Bench, api: Api) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let headers = [("x-tenant-id", api.name), ("x-tier", "quick")];
    let address = listener.local_addr().unwrap();
    let seen = tokio::select! {
        seen = api.run("retry", address, &headers) => seen,
        () = gate(bench, &listener, api.name) => unreachable!("it stays open"),
    };

    assert_eq!(seen["succeeded"], true, "{seen}");
    let refusal = bench.refusal_of("quick", api.name).await;
    let (wait, needed) = (refusal["wait_ms"].as_f64().unwrap() / 1000.0, refusal["needed"].as_f64().unwrap());
    assert!(wait > needed / 50.0, "{wait} s to get {needed} tokens and out of debt at 50 tokens a second");
    let seconds = seen["seconds"].as_f64().unwrap();
    // Two retries without regard to the wait would have ended after two seconds.
    assert!((wait..wait + 20.0).contains(&seconds), "{seconds} s, told to wait {wait} s");
    let log = bench.envoy.log();
    let refusals = log.matches(&refusal_line("quick", api.name)).count();
    assert_eq!(refusals, 1, "it came back once, when it was time: {log}");
}

#[tokio::test]
async fn the_clients_wait_as_told_and_succeed_by_themselves() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(
        waits_and_succeeds(&bench, CHAT),
        waits_and_succeeds(&bench, MESSAGES),
        waits_and_succeeds(&bench, NODE_CHAT),
        waits_and_succeeds(&bench, NODE_MESSAGES),
        waits_and_succeeds(&bench, AI_RESPONSES),
        waits_and_succeeds(&bench, AI_MESSAGES)
    );
}
