//! Stopped streams: how each client ends them, with the finisher, drained, and reset.
//!
//! In: the clients of `clients`. Out: nothing. The table in `docs/streams.md` states the same. Not
//! here: the bytes of endings (`stopping`).

use serde_json::json;
use tokio::task::JoinSet;
use tollgate_rig::envoy::{Filter, finisher};
use tollgate_rig::mock_llm::Ending;

use super::clients::{
    AI_CHAT, AI_MESSAGES, AI_RESPONSES, Api, CHAT, COHERE, CONVERSE, GEMINI, INVOKE, MESSAGES, NODE_CHAT,
    NODE_MESSAGES, NODE_RESPONSES, OLLAMA, RESPONSES,
};
use crate::bench::Bench;

/// A client, the finish reason that it reports, and how far it reads a stream.
const CLIENTS: [(Api, &str, Reads); 14] = [
    (CHAT, "length", Reads::UpToDone),
    (RESPONSES, "incomplete", Reads::UpToDone),
    (COHERE, "MAX_TOKENS", Reads::UpToDone),
    (MESSAGES, "max_tokens", Reads::On),
    (GEMINI, "MAX_TOKENS", Reads::On),
    (CONVERSE, "max_tokens", Reads::On),
    (INVOKE, "max_tokens", Reads::On),
    (OLLAMA, "length", Reads::On),
    (NODE_CHAT, "length", Reads::On),
    (NODE_RESPONSES, "incomplete", Reads::On),
    (NODE_MESSAGES, "max_tokens", Reads::On),
    (AI_CHAT, "length", Reads::On),
    (AI_RESPONSES, "length", Reads::On),
    (AI_MESSAGES, "length", Reads::On),
];

/// The point up to which a client reads a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// Closes the connection at the API's last event.
    UpToDone,
    /// Waits for the end of the response.
    On,
}

/// Starts a bench with budgets of forty tokens that stops streams at their end.
async fn bench(drain_for: &str, filters: &str) -> Bench {
    let configuration = format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
streams: {{ stop_at_limit: true{drain_for} }}
counting: {{ output_reserve: {{ at_most: 0.1 }} }}
tiers: {{ free: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: 40, window: 30d }} ] }} }}
"
    );
    Bench::with(Filter::yaml(&configuration), |bootstrap| bootstrap.filters_before(filters)).await
}

#[tokio::test]
async fn clients_end_a_stopped_stream_without_an_error_unless_they_read_on_and_it_is_reset() {
    let finisher = finisher();
    let (finished, drained, reset) =
        tokio::join!(bench("", &finisher), bench("", ""), bench(", drain_for: 0s", ""));
    let benches = [&finished, &drained, &reset];
    let addresses = benches.map(|bench| bench.envoy.address());
    let mut clients = JoinSet::new();
    for (api, reason, reads) in CLIENTS {
        clients.spawn(async move {
            // Fifty tokens.
            let headers =
                [("x-tenant-id", api.name), ("x-mock-output-tokens", "50"), ("x-mock-chunk-delay-ms", "5")];
            (api, reason, reads, api.run_at("stream", &addresses, &headers, &[]).await)
        });
    }
    for (api, reason, reads, seen) in clients.join_all().await {
        let [finished_seen, drained_seen, reset_seen] = &*seen else { panic!("{seen:?}") };
        let reset_succeeds = reads == Reads::UpToDone;
        for (seen, succeeds) in [(finished_seen, true), (drained_seen, true), (reset_seen, reset_succeeds)] {
            assert_eq!(seen["succeeded"], succeeds, "{api:?} {seen}");
            if succeeds {
                assert_eq!(seen["reason"], json!(reason), "{api:?} {seen}");
                let pieces = seen["pieces"].as_array().unwrap().len();
                assert!((20..50).contains(&pieces), "{api:?} {seen}");
            }
        }
        assert_eq!(ending(&finished, api).await, Ending::Aborted, "{api:?}");
        assert_eq!(ending(&reset, api).await, Ending::Aborted, "{api:?}");
        if reads == Reads::On {
            assert_eq!(ending(&drained, api).await, Ending::Finished, "{api:?}");
        }
    }
    for bench in benches {
        bench.wait_for_calls("stopped", u32::try_from(CLIENTS.len()).unwrap()).await;
    }
}

/// Returns how the upstream's half of a client's stream ended.
async fn ending(bench: &Bench, api: Api) -> Ending {
    let received = bench.mock.received();
    let call = received.iter().find(|call| call.header("x-tenant-id") == Some(api.name)).unwrap();
    call.ended().await
}
