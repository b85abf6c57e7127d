//! Workflows: counted once for any number of parallel calls, and budgets declared up front.

use serde_json::json;
use tollgate_rig::client::{Client, Request};

use crate::bench::{Bench, chat, chat_with};
use crate::probe::INPUT;

const WORKFLOWS: &str = "
identity: { tenant: { header: x-tenant-id }, workflow: { header: x-workflow } }
workflows: { dimension: workflow, reserve_up_to: 100_000 }
tiers:
  free:
    limits:
    - { name: prompts, count: requests, per: tenant, max: 20, window: 30d, once_per: workflow }
    - { name: tokens, count: tokens, per: tenant, max: 1000, window: 30d }
";

const RESERVE: &str = "x-tollgate-reserve-tokens";

/// Returns a call that uses and holds 10 + 5 tokens.
fn call() -> Request {
    chat_with("ada", json!({ "max_tokens": 5 })).header("x-mock-output-tokens", "5")
}

fn of(workflow: &str) -> Request {
    call().header("x-workflow", workflow)
}

impl Bench {
    /// Sends calls in parallel, each on its own connection, and returns their statuses.
    async fn at_once(&self, calls: impl IntoIterator<Item = Request>) -> Vec<u16> {
        let mut sent = Vec::new();
        for (number, request) in calls.into_iter().enumerate() {
            let address = self.envoy.address();
            sent.push(tokio::spawn(async move {
                let client =
                    if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
                let mut response = client.unwrap().send(request).await.unwrap();
                response.body().await.unwrap();
                response.status()
            }));
        }
        let mut statuses = Vec::new();
        for call in sent {
            statuses.push(call.await.unwrap());
        }
        statuses
    }

    /// Returns the requests and tokens left after one more call.
    async fn left_after(&self, call: Request) -> [u64; 2] {
        let (response, body) = self.json(call).await;
        assert_eq!(response.status(), 200, "{body}");
        ["requests", "tokens"]
            .map(|unit| response.header(&format!("x-ratelimit-remaining-{unit}")).unwrap().parse().unwrap())
    }
}

#[tokio::test]
async fn fifty_calls_of_a_workflow_at_once_are_one_request() {
    let bench = Bench::start(WORKFLOWS).await;
    assert_eq!(bench.at_once((0..50).map(|_| of("w"))).await, [200; 50]);
    assert_eq!(bench.left_after(of("w")).await, [19, 1000 - 51 * 15], "tokens are counted for each");
    assert_eq!(bench.left_after(of("v")).await, [18, 1000 - 52 * 15]);
    assert_eq!(bench.left_after(call()).await, [17, 1000 - 53 * 15], "a call of no workflow");
}

#[tokio::test]
async fn a_workflow_that_is_counted_goes_on_when_no_new_one_may_begin() {
    let bench = Bench::start(&WORKFLOWS.replace("max: 20", "max: 1")).await;
    assert_eq!(bench.json(of("w")).await.0.status(), 200);
    assert_eq!(bench.json(of("v")).await.0.status(), 429);
    assert_eq!(bench.at_once((0..8).map(|_| of("w"))).await, [200; 8]);
}

#[tokio::test]
async fn what_a_workflow_declares_is_held_and_drawn_from_by_its_calls_alone() {
    let bench = Bench::start(WORKFLOWS).await;
    // The workflow needs no more of the budget than it has declared.
    assert_eq!(bench.left_after(of("w").header(RESERVE, "600")).await[1], 400);
    let received = bench.mock.received();
    assert_eq!(received[0].header(RESERVE), None, "the header is for Tollgate");
    // Others spend the rest of the budget: 26 calls of 15 tokens.
    assert_eq!(bench.at_once((0..26).map(|_| call().header("x-workflow", "v"))).await, [200; 26]);
    let (refused, _) = bench.json(chat_with("ada", json!({ "max_tokens": 5 }))).await;
    assert_eq!(refused.status(), 429, "10 tokens are left");
    // The pool has enough left for 39 parallel calls, and together with the 10 tokens of the budget
    // not for one more.
    let statuses = bench.at_once((0..45).map(|_| of("w"))).await;
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    assert_eq!(passed, (600 - 15) / 15);
    assert_eq!(bench.left("ada").await, 10, "the calls that were refused have left nothing behind");
}

#[tokio::test]
async fn what_does_not_fit_or_cannot_be_understood_is_refused() {
    let bench = Bench::start(WORKFLOWS).await;
    assert_eq!(bench.left_after(of("w").header(RESERVE, "500")).await[1], 500);
    let (refused, body) = bench.json(of("v").header(RESERVE, "501")).await;
    let message = body["error"]["message"].as_str().unwrap();
    assert_eq!(refused.status(), 429);
    assert!(message.contains("Available 500, Requested 501."), "{message}");
    let (refused, body) = bench.json(of("v").header(RESERVE, "many")).await;
    assert_eq!((refused.status(), &body["error"]["code"]), (400, &json!("invalid_header")));
    let (refused, _) = bench.json(chat("ada").header(RESERVE, "10")).await;
    assert_eq!(refused.status(), 400, "a call of no workflow");
    assert_eq!(bench.left_after(call()).await, [18, 500 - INPUT - 5]);
}
