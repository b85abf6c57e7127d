//! Crowds: the filter refuses many clients of one budget together; each returns when its
//! `retry-after` says, and passes.

use core::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tollgate_rig::client::Client;

use crate::bench::{Bench, chat_with};

/// The result of a crowd: calls with a refusal, and retries of all calls.
#[derive(Debug, Default)]
struct Outcome {
    refused: u32,
    returns: u32,
    most_tries: u32,
}

/// Sends calls from this many clients at once; half of the calls fit into the budget.
async fn crowd(bench: &Bench, tier: &'static str, clients: u32, mixed: bool) -> Outcome {
    let tenant = format!("{tier}-{clients}-{mixed}");
    let mut connections = Vec::new();
    // Eight connections reach all workers.
    for _ in 0..8 {
        connections.push(Client::http2(bench.envoy.address()).await.unwrap());
    }
    let mut calls = JoinSet::new();
    for (number, connection) in (0..clients).zip(connections.iter().cycle()) {
        let mut client = connection.same_connection();
        // Fifty tokens, or ten to ninety; all clients share one body, or each has its own.
        let output = if mixed { 8 * (number % 11) } else { 40 };
        let body =
            json!({ "max_tokens": output, "user": if mixed { number.to_string() } else { String::new() } });
        let tenant = tenant.clone();
        calls.spawn(async move {
            for tries in 1.. {
                let call = chat_with(&tenant, body.clone())
                    .header("x-tier", tier)
                    .header("x-mock-output-tokens", output.to_string());
                let response = client.send(call).await.unwrap();
                if response.status() == 200 {
                    return tries;
                }
                assert_eq!(response.status(), 429);
                let told = response.header("retry-after-ms").unwrap().parse().unwrap();
                sleep(Duration::from_millis(told)).await;
            }
            unreachable!("clients come back for as long as they are refused")
        });
    }
    let mut outcome = Outcome::default();
    while let Some(tries) = calls.join_next().await {
        let tries: u32 = tries.unwrap();
        outcome.refused += u32::from(tries > 1);
        outcome.returns += tries - 1;
        outcome.most_tries = outcome.most_tries.max(tries);
    }
    outcome
}

#[tokio::test]
async fn clients_that_come_when_they_are_told_pass() {
    let tier = |algorithm| {
        let limit = |max| {
            format!(
                "{{ name: tpm, count: tokens, per: tenant, max: {max}, window: 6s, algorithm: {algorithm} }}"
            )
        };
        format!(
            "  {algorithm}_20: {{ limits: [ {} ] }}\n  {algorithm}_200: {{ limits: [ {} ] }}\n",
            limit(500),
            limit(5_000)
        )
    };
    let algorithms = ["token_bucket", "sliding_window", "fixed_window"];
    let tiers = algorithms.map(tier).concat();
    let bench = Bench::start(&format!(
        "identity: {{ tenant: {{ header: x-tenant-id }}, tier: {{ header: x-tier, default: token_bucket_20 }} }}\ntiers:\n{tiers}"
    ))
    .await;

    for mixed in [false, true] {
        let outcomes = tokio::join!(
            crowd(&bench, "token_bucket_20", 20, mixed),
            crowd(&bench, "token_bucket_200", 200, mixed),
            crowd(&bench, "sliding_window_20", 20, mixed),
            crowd(&bench, "sliding_window_200", 200, mixed),
            crowd(&bench, "fixed_window_20", 20, mixed),
            crowd(&bench, "fixed_window_200", 200, mixed),
        );
        let outcomes = <[Outcome; 6]>::from(outcomes);
        let sum = |of: fn(&Outcome) -> u32| outcomes.iter().map(of).sum::<u32>();
        assert!(outcomes.iter().all(|outcome| outcome.refused > 0), "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome.most_tries <= 8), "{outcomes:?}");
        let (returns, refused) = (sum(|outcome| outcome.returns), sum(|outcome| outcome.refused));
        assert!(returns * 10 <= refused * 13, "{returns} returns of {refused} calls: {outcomes:?}");
        println!("{outcomes:?}");
    }
}
