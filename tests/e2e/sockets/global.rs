//! Global limits on sockets: each response asks the rate limit service.

use tollgate_rig::rate_limits::ScriptedService;

use super::*;
use crate::global::{self, PATIENT, tpd};

#[tokio::test]
async fn each_response_asks_the_service_and_a_refused_one_is_dropped() {
    let service = ScriptedService::start([tpd(100)]);
    let address = service.address();
    let bench = Bench::with(Filter::yaml(&global::tokens(100, PATIENT)), |bootstrap| {
        with_sockets(bootstrap).grpc_cluster("ratelimit", address)
    })
    .await;
    for http in BOTH {
        let request = request("/v1/responses", &format!("{http:?}")).header("x-mock-output-tokens", "30");
        let mut socket = bench.socket(http, request).await;
        let mut admitted = 0;
        // Two at once: the second stays behind the first until the service has answered.
        for _ in 0..4 {
            assert!(socket.send(&create(30)).await);
        }
        for _ in 0..4 {
            let is_last = |event: &Value| event["type"] == "response.completed" || event["type"] == "error";
            let events = socket.until(is_last).await;
            admitted += u32::from(events.last().unwrap()["type"] == "response.completed");
        }
        assert_eq!(admitted, 2, "41 tokens each of 100: {http:?}");
        socket.close(1000, "").await;
    }
    assert_eq!(bench.decided("asked").await, 8.0);
    let reached: usize = bench.mock.sockets().iter().map(|socket| socket.events().len()).sum();
    assert_eq!(reached, 4);
}
