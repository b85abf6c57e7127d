//! Budgets and metrics, read from outside.
//!
//! In: a [`Bench`]. Out: a tenant's remaining budget, to the token, and counts of metrics. Not
//! here: the expected values.

use serde_json::json;
use tollgate_rig::client::{Request, Response};
use tollgate_rig::envoy::Metrics;

use crate::bench::{Bench, chat_with};

/// The input tokens of [`crate::bench::chat`] by OpenAI's published rule: 3 for the message, 1 for
/// its role, 3 for its text, 3 for the answer's beginning.
pub(crate) const INPUT: u64 = 10;

/// Returns a call that costs only its request: the mock answers it with an error.
pub(crate) fn probe(tenant: &str) -> Request {
    chat_with(tenant, json!({ "max_tokens": 0 })).header("x-mock-status", "400")
}

impl Bench {
    /// Returns a tenant's remaining tokens.
    pub(crate) async fn left(&self, tenant: &str) -> u64 {
        self.left_by(probe(tenant)).await
    }

    /// Returns the remaining tokens, read by the given probe.
    pub(crate) async fn left_by(&self, probe: Request) -> u64 {
        let (response, body) = self.json(probe).await;
        let shown: u64 = response.header("x-ratelimit-remaining-tokens").unwrap().parse().unwrap();
        match response.status() {
            // The header excludes the probe's own hold.
            400 => shown + INPUT,
            429 => shown,
            status => panic!("the probe is answered with {status}: {body}"),
        }
    }

    /// Waits until this many calls have ended in this way and settled.
    pub(crate) async fn wait_for_calls(&self, kind: &str, count: u32) {
        self.wait_for_count("tollgate_calls_total", &[("kind", kind)], count).await;
    }

    /// Waits until a metric has reached `count`.
    pub(crate) async fn wait_for_count(&self, metric: &str, labels: &[(&str, &str)], count: u32) {
        let seen = |metrics: &Metrics| metrics.sum(metric, labels);
        let metrics = self.envoy.wait_for_metrics(|metrics| seen(metrics) >= f64::from(count)).await;
        assert_eq!(seen(&metrics), f64::from(count), "{metric} {labels:?}");
    }
}

/// Returns the remainder in an answer's `ratelimit` field.
pub(crate) fn shown(response: &Response) -> u64 {
    let field = response.header("ratelimit").unwrap();
    let left = field.split(';').find_map(|part| part.strip_prefix("r=")).unwrap();
    left.parse().unwrap()
}

/// Returns the bytes of a whole answer that reports this usage.
pub(crate) fn answer(input: u64, output: u64) -> String {
    let usage =
        json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    let body = json!({ "choices": [], "usage": usage }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// The head of a chunked stream.
pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// The end of a chunked stream.
pub(crate) const STREAM_END: &str = "0\r\n\r\n";

/// Returns a chunk of a stream.
pub(crate) fn chunk(bytes: &str) -> String {
    format!("{:x}\r\n{bytes}\r\n", bytes.len())
}

/// Returns an event with a piece of the answer's text.
pub(crate) fn event(text: &str) -> String {
    format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": text } }] }))
}
