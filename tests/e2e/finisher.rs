//! The finisher: a second module that ends the streams which the filter stops.

use serde_json::json;
use tokio::task::JoinSet;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::{Filter, finisher};
use tollgate_rig::mock_llm::Ending;

use crate::bench::{Bench, chat, chat_with};
use crate::stopping::{assert_ends, calls, configuration};

async fn bench() -> Bench {
    Bench::with(Filter::yaml(&configuration("0s")), |bootstrap| bootstrap.filters_before(&finisher())).await
}

/// Returns a chat completions call that outgrows its tenant's budget.
fn endless_chat(tenant: &str) -> Request {
    let [(request, _), ..] = calls();
    request.header("x-tenant-id", tenant)
}

/// Returns a call whose answer fits the budget.
fn streamed(tenant: &str) -> Request {
    chat_with(tenant, json!({ "stream": true }))
}

#[tokio::test]
async fn a_stopped_stream_ends_as_any_other_and_its_upstream_is_reset() {
    let bench = bench().await;
    let address = bench.envoy.address();
    let mut count = 0;
    for http2 in [false, true] {
        let mut client =
            if http2 { Client::http2(address).await } else { Client::http1(address).await }.unwrap();
        // All calls share one HTTP/1.1 connection, which a cut would close.
        for (request, ending) in calls() {
            count += 1;
            let tenant = format!("tenant-{count}");
            let mut response = client.send(request.header("x-tenant-id", &tenant)).await.unwrap();
            let body = response.body().await.unwrap_or_else(|error| panic!("{ending:?}: {error}"));
            assert_ends(&response, &body, ending);
            let received = &bench.mock.wait_for(count).await[count - 1];
            assert_eq!(received.ended().await, Ending::Aborted, "{ending:?}");
            let line = &bench.envoy.wait_for_access_log(count).await[count - 1];
            assert_eq!(line["tollgate.stopped_by"], "tpm");
            assert_eq!((&line["details"], &line["flags"]), (&"via_upstream".into(), &"-".into()));
        }
    }
    bench.wait_for_calls("stopped", 18).await;
}

#[tokio::test]
async fn it_may_stand_behind_the_filter_as_well() {
    let filter = Filter::yaml(&configuration("0s"));
    let bench = Bench::with(filter, |bootstrap| bootstrap.filters_after(&finisher())).await;
    bench.send(endless_chat("ada")).await.body().await.unwrap();
    assert_eq!(bench.mock.wait_for(1).await[0].ended().await, Ending::Aborted);
}

#[tokio::test]
async fn a_stream_ends_behind_its_ending_without_waiting_for_the_upstream_to_go_on() {
    let bench = bench().await;
    let request =
        streamed("ada").header("x-mock-output-tokens", "2000").header("x-mock-tokens-per-chunk", "100");
    // One piece holds about ten of these chunks; the next comes an hour later.
    let request = request.header("x-mock-split-bytes", "8000").header("x-mock-chunk-delay-ms", "3600000");
    let body = bench.send(request).await.body().await.unwrap();
    assert!(body.ends_with(b"[DONE]\n\n"), "{}", String::from_utf8_lossy(&body));
    assert_eq!(bench.mock.wait_for(1).await[0].ended().await, Ending::Aborted);
}

#[tokio::test]
async fn what_is_not_stopped_passes_as_it_is() {
    let bench = bench().await;
    let body = bench.send(streamed("ada")).await.body().await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert!(body.contains("\"finish_reason\":\"stop\"") && body.ends_with("[DONE]\n\n"), "{body}");
    assert_eq!(bench.json(chat("bob")).await.1["choices"][0]["finish_reason"], "stop");
    for received in bench.mock.wait_for(2).await {
        assert_eq!(received.ended().await, Ending::Finished);
    }
}

#[tokio::test]
async fn many_streams_are_ended_side_by_side_and_clients_that_leave_do_not_matter() {
    let bench = bench().await;
    let address = bench.envoy.address();
    let shared = Client::http2(address).await.unwrap();
    let mut streams = JoinSet::new();
    for number in 0..60 {
        let mut client = shared.same_connection();
        streams.spawn(async move {
            if number % 2 == 0 {
                client = Client::http1(address).await.unwrap();
            }
            let mut response = client.send(endless_chat(&format!("tenant-{number}"))).await.unwrap();
            if number % 3 == 0 {
                response.chunk().await.unwrap();
                response.abort();
                return;
            }
            let body = response.body().await.unwrap();
            assert!(
                body.ends_with(b"[DONE]\n\n"),
                "{} {}",
                response.status(),
                String::from_utf8_lossy(&body)
            );
        });
    }
    streams.join_all().await;
    for received in bench.mock.wait_for(60).await {
        assert_eq!(received.ended().await, Ending::Aborted);
    }
    bench.wait_for_calls("stopped", 40).await;
}
