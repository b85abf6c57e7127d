//! Calls in flight: never above the limit, and all slots free in the end, however calls and workers
//! end.
//!
//! In: calls and traps. Out: nothing. The two long tests wait in real time for two terms, which are
//! short in the module that can trap.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::sync::Arc;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tollgate_rig::client::{self, Client, ClientError, Request, Response};
use tollgate_rig::envoy::{Filter, Metrics};

use crate::bench::{Bench, chat_with, trap_module};

fn configuration(max: usize) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
tiers: {{ free: {{ limits: [ {{ name: flight, count: concurrent_requests, per: tenant, max: {max} }} ] }} }}
"
    )
}

/// Returns a stream of this many tokens, with `delay` milliseconds between them.
fn stream(tenant: &str, tokens: u32, delay: u32) -> Request {
    chat_with(tenant, json!({ "stream": true, "max_tokens": tokens }))
        .header("x-mock-output-tokens", tokens.to_string())
        .header("x-mock-chunk-delay-ms", delay.to_string())
}

/// Returns a stream that lasts until the test ends it.
fn endless(tenant: &str) -> Request {
    stream(tenant, 10_000, 500)
}

/// Opens calls of a tenant until one is refused, at most one more than `max`. Returns the admitted
/// ones.
async fn take_all(bench: &Bench, tenant: &str, max: usize) -> Vec<Response> {
    let mut taken = Vec::new();
    while taken.len() <= max {
        let response = bench.send(endless(tenant)).await;
        if response.status() != 200 {
            break;
        }
        taken.push(response);
    }
    taken
}

const CLIENTS: usize = 64;
const CALLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_clients_never_have_more_calls_in_flight_than_may_be() {
    const MAX: usize = 5;
    let bench = Bench::start(&configuration(MAX)).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let address = bench.envoy.address();
            tokio::spawn(async move {
                let client =
                    if number % 2 == 0 { Client::http1(address).await } else { Client::http2(address).await };
                let (mut client, mut passed) = (client.unwrap(), 0);
                for _ in 0..CALLS {
                    let mut response = client.send(stream("ada", 5, 1)).await.unwrap();
                    let body = response.body().await.unwrap();
                    if response.status() == 200 {
                        passed += 1;
                        continue;
                    }
                    let body = String::from_utf8_lossy(&body);
                    assert_eq!(response.status(), 429, "{body}");
                    assert!(
                        body.contains("on concurrent_requests per tenant (limit `flight`): Limit 5 at once"),
                        "{body}"
                    );
                    assert_eq!(response.header("x-should-retry"), Some("true"));
                    // One second, and up to a tenth of jitter.
                    assert_eq!(response.header("retry-after"), Some("2"));
                    client = if number % 2 == 0 { Client::http1(address).await.unwrap() } else { client };
                }
                passed
            })
        })
        .collect();
    let mut passed = 0;
    for client in clients {
        passed += client.await.unwrap();
    }

    let received = bench.mock.received();
    assert_eq!(received.len(), passed);
    assert_eq!(received.iter().map(|call| call.under_way).max(), Some(MAX), "{passed} calls passed");
    assert_eq!(take_all(&bench, "ada", MAX).await.len(), MAX, "all places are free again");
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_store_failures_total", &[]), 0.0);
}

#[tokio::test]
async fn an_upload_that_is_on_its_way_is_in_flight() {
    let bench = Bench::start(&configuration(1)).await;
    let (request, mut body) =
        Request::post("/v1/chat/completions").header("x-tenant-id", "ada").body_in_parts();
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    let upload = tokio::spawn(async move { client.send(request).await });
    assert!(body.send(r#"{"model":"#).await);
    let here = [("envoy_http_conn_manager_prefix", "main")];
    let has_begun = |metrics: &Metrics| metrics.sum("envoy_http_downstream_rq_active", &here) == 1.0;
    bench.envoy.wait_for_metrics(has_begun).await;
    assert_eq!(bench.send(stream("ada", 1, 0)).await.status(), 429);

    body.abort();

    assert!(upload.await.unwrap().is_err());
    bench.envoy.wait_for_access_log(2).await;
    assert_eq!(bench.send(stream("ada", 1, 0)).await.status(), 200);
}

/// A call of an hour would behave the same.
#[tokio::test]
async fn a_call_is_in_flight_for_as_long_as_it_lasts() {
    let filter = Filter::yaml(&configuration(1)).module(&trap_module());
    let bench = Bench::with(filter, |bootstrap| bootstrap).await;
    let begun = Instant::now();
    let mut long = bench.send(endless("ada")).await;
    assert_eq!(long.status(), 200);

    while begun.elapsed() < FORGOTTEN + Duration::from_secs(5) {
        assert_eq!(bench.send(stream("ada", 1, 0)).await.status(), 429, "after {:?}", begun.elapsed());
        long.chunk().await.unwrap();
    }

    drop(long);
    bench.wait_for_calls("client_abort", 1).await;
    assert_eq!(bench.send(stream("ada", 1, 0)).await.status(), 200);
}

/// The longest time for which calls of a trapped worker still count: two terms
/// (`src/limits/budget/shape.rs`).
const FORGOTTEN: Duration = Duration::from_secs(2 * 5);

/// The duration of the failing calls.
const SOAK: Duration = Duration::from_secs(15);

const TENANTS: usize = 12;
const MAX: usize = 4;

/// A pseudorandom generator: xorshift64 (Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// The number of workers that trap, small enough that the others make progress.
const TRAPS: u32 = 6;

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// Makes a call that may fail in any way, and ignores its result.
async fn call(
    bench: &Bench,
    traps_left: &AtomicU32,
    dice: &mut Dice,
    tenant: &str,
) -> Result<(), ClientError> {
    let address = bench.envoy.address();
    let mut client =
        if dice.below(2) == 0 { Client::http1(address).await? } else { Client::http2(address).await? };
    match dice.below(13) {
        // Complete calls.
        0 => drop(client.send(stream(tenant, 5, 1)).await?.body().await?),
        1 => drop(client.send(chat_with(tenant, json!({}))).await?.body().await?),
        // The upstream fails or breaks off.
        2 => {
            let status = ["400", "429", "500", "503"][dice.below(4) as usize];
            client.send(chat_with(tenant, json!({})).header("x-mock-status", status)).await?.body().await?;
        }
        3 => {
            let request = stream(tenant, 9, 1).header("x-mock-cut-after", dice.below(5).to_string());
            client.send(request).await?.body().await?;
        }
        // The client leaves before the answer, within it, or within its request.
        4 => {
            let request = chat_with(tenant, json!({})).header("x-mock-delay-ms", "3000");
            drop(timeout(dice.millis(100), client.send(request)).await);
        }
        5 => {
            let mut response = client.send(stream(tenant, 500, 5)).await?;
            for _ in 0..dice.below(4) {
                response.chunk().await?;
            }
        }
        6 => {
            let (request, mut body) =
                Request::post("/v1/chat/completions").header("x-tenant-id", tenant).body_in_parts();
            let pause = dice.millis(20);
            let leaving = tokio::spawn(async move {
                body.send(r#"{"model":"gpt-4o""#).await;
                sleep(pause).await;
                body.abort();
            });
            let sent = client.send(request).await;
            drop(leaving.await);
            sent?;
        }
        // The filter or the host refuses the call.
        7 => {
            let twice = r#"{"model":"a","model":"b","messages":[]}"#;
            client
                .send(Request::post("/v1/chat/completions").header("x-tenant-id", tenant).body(twice))
                .await?;
        }
        8 => {
            let (request, mut body) =
                Request::post("/v1/chat/completions").header("x-tenant-id", tenant).body_in_parts();
            let feeding = tokio::spawn(async move { while body.send(vec![b' '; 256 << 10]).await {} });
            let sent = client.send(request).await;
            feeding.abort();
            sent?;
        }
        // Without a body, or free of charge.
        9 => drop(client.send(Request::post("/v1/chat/completions").header("x-tenant-id", tenant)).await?),
        10 => {
            let models = Request::get("/v1/models").header("x-tenant-id", tenant);
            client.send(models).await?.body().await?;
        }
        // The worker traps.
        11 if take_one(traps_left) => {
            let when = ["request", "response"][dice.below(2) as usize];
            client.send(chat_with(tenant, json!({})).header("x-tollgate-trap", when)).await?.body().await?;
        }
        _ => {
            let mut first = client.send(stream(tenant, 20, 2)).await?;
            let second = client::send(address, stream(tenant, 3, 1)).await?.body().await;
            first.body().await?;
            second?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_aborts_resets_errors_and_traps_all_places_are_free_again() {
    let filter = Filter::yaml(&configuration(MAX)).module(&trap_module());
    let bench = Arc::new(Bench::with(filter, |bootstrap| bootstrap).await);
    let traps_left = Arc::new(AtomicU32::new(TRAPS));
    let tenants: Vec<_> = (0..TENANTS).map(|number| format!("tenant-{number}")).collect();
    let until = Instant::now() + SOAK;
    let clients: Vec<_> = (1..=24_u64)
        .map(|number| {
            let (bench, traps_left, tenants) = (bench.clone(), traps_left.clone(), tenants.clone());
            tokio::spawn(async move {
                let (mut dice, mut calls) = (Dice(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)), 0_u32);
                while Instant::now() < until {
                    let tenant = &tenants[dice.below(TENANTS as u64) as usize];
                    if let Err(hang @ ClientError::Hang { .. }) =
                        call(&bench, &traps_left, &mut dice, tenant).await
                    {
                        panic!("{hang}");
                    }
                    calls += 1;
                }
                calls
            })
        })
        .collect();
    let mut calls = 0;
    for client in clients {
        calls += client.await.unwrap();
    }
    let ended = Instant::now();

    let mut late = Duration::ZERO;
    for tenant in &tenants {
        loop {
            let taken = take_all(&bench, tenant, MAX).await.len();
            assert!(taken <= MAX, "{tenant} has {taken} calls in flight");
            if taken == MAX {
                break;
            }
            late = ended.elapsed();
            assert!(late < FORGOTTEN + Duration::from_secs(15), "{tenant} has lost {} places", MAX - taken);
            sleep(Duration::from_millis(200)).await;
        }
    }
    let metrics = bench.envoy.metrics().await;
    let traps = metrics.sum("envoy_wasm_tollgate_vm_reload_success", &[]);
    eprintln!("{calls} calls, {traps} traps; the last place was free {late:?} after the end");
    assert!(calls > 500 && traps >= 1.0, "{calls} calls, {traps} traps");
    assert!(metrics.sum("tollgate_refusals_total", &[("limit", "flight")]) > 0.0);
}
