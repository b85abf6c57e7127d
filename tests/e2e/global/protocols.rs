//! Requests to the service before and after a call, by each protocol, and its final count.

use serde_json::json;
use tollgate_rig::client::Client;
use tollgate_rig::load::Load;
use tollgate_rig::rate_limits::{Limit, Method, ScriptedService};

use super::{DAY, PATIENT, call, limits, of, said, say_everything, tokens, tpd};
use crate::bench::{Bench, chat_with};

const MAX: u32 = 100_000;

/// The calls of ada: tokens held, tokens used, and the requests to the service.
type Calls<'a> = &'a [(u64, u64, &'a [&'a str])];

/// Makes the calls and allows no other requests. Returns the service's final count.
async fn exchange(service: ScriptedService, options: &str, ada: Calls<'_>) -> u64 {
    let bench = Bench::with_service(&tokens(MAX.into(), &format!("{options}{PATIENT}")), &service).await;
    let mut client = bench.client().await;
    let mut expected = Vec::new();
    for (holds, uses, says) in ada {
        let mut response = client.send(call("ada", *holds, *uses)).await.unwrap();
        response.body().await.unwrap();
        assert_eq!(response.status(), 200);
        expected.extend(says.iter().map(|said| (*said).to_owned()));
        service.wait_for(|asked| asked.len() >= expected.len()).await;
    }
    say_everything(&mut client, &service).await;
    assert_eq!(said(&service.requests()), expected);
    service.count(&of("ada"))
}

#[tokio::test]
async fn envoy_asks_for_what_is_held_and_tells_only_what_was_used_beyond() {
    let less: &[_] = &["ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (200)"];
    let as_much: &[_] = &["ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (50)"];
    let more: &[_] = &[
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (30)",
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (70)",
    ];
    let calls: Calls<'_> = &[(200, 30, less), (50, 50, as_much), (30, 100, more)];

    let count = exchange(ScriptedService::start([tpd(MAX)]), "", calls).await;

    assert_eq!(count, 350, "what was held too much stays charged");
}

#[tokio::test]
async fn envoy_with_refunds_also_gives_back_what_was_held_too_much() {
    let less: &[_] = &[
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (200)",
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (-170)",
    ];
    let more: &[_] = &[
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (30)",
        "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (70)",
    ];
    let service = ScriptedService::start([tpd(MAX)]).with_refunds();

    let count = exchange(service, ", refunds: true", &[(200, 30, less), (30, 100, more)]).await;

    assert_eq!(count, 130);
}

#[tokio::test]
async fn check_then_report_looks_and_tells_what_was_used() {
    let count = exchange(
        ScriptedService::start([tpd(MAX)]),
        ", protocol: check_then_report, domain: fleet",
        &[(
            100,
            30,
            &[
                "ShouldRateLimit fleet 0: tollgate_limit=free/tpd tenant=ada (0)",
                "ShouldRateLimit fleet 0: tollgate_limit=free/tpd tenant=ada (30)",
            ],
        )],
    )
    .await;
    assert_eq!(count, 30);
}

#[tokio::test]
async fn kuadrant_checks_and_reports_what_was_used() {
    let count = exchange(
        ScriptedService::start([tpd(MAX)]).like_limitador(),
        ", protocol: kuadrant",
        &[(
            100,
            30,
            &[
                "CheckRateLimit tollgate 100: tollgate_limit=free/tpd tenant=ada",
                "Report tollgate 30: tollgate_limit=free/tpd tenant=ada",
            ],
        )],
    )
    .await;
    assert_eq!(count, 30);
}

#[tokio::test]
async fn amounts_in_the_request_are_what_limitador_reads() {
    let count = exchange(
        ScriptedService::start([tpd(MAX)]).like_limitador(),
        ", hits_addend: request",
        &[(
            30,
            100,
            &[
                "ShouldRateLimit tollgate 30: tollgate_limit=free/tpd tenant=ada",
                "ShouldRateLimit tollgate 70: tollgate_limit=free/tpd tenant=ada",
            ],
        )],
    )
    .await;
    assert_eq!(count, 100);
}

/// Limits on requests, tokens and money, each with its own dimensions, and two for which the filter
/// does not ask the service.
const SEVERAL: &str = "
  { name: rpm, count: requests, per: [user, tenant], max: 100, window: 1m, scope: global },
  { name: here, count: requests, per: tenant, max: 100, window: 1m },
  { name: tpd, count: tokens, per: tenant, max: 100_000, window: 1d, scope: global },
  { name: other, count: tokens, models: claude-*, max: 100, window: 1d, scope: global },
  { name: usd, count: cost_usd, max: 5, window: 1d, scope: global } ";

async fn several(options: &str) -> (ScriptedService, Bench) {
    let service = ScriptedService::start([
        Limit::new("free/rpm", 100, core::time::Duration::from_secs(60)),
        tpd(MAX),
        Limit::new("free/usd", 5_000_000, DAY),
    ]);
    let service = if options.contains("request") { service.like_limitador() } else { service };
    let configuration = limits(SEVERAL, &format!("{options}{PATIENT}"));
    // An input token costs a millionth of a dollar, an output token two.
    let configuration = format!("{configuration}\nprices: [ {{ match: \"*\", input: 1, output: 2 }} ]\n");
    let bench = Bench::with_service(&configuration, &service).await;
    let mut response = bench.send(call("ada", 30, 100).header("x-user", "bob")).await;
    response.body().await.unwrap();
    assert_eq!(response.status(), 200);
    (service, bench)
}

#[tokio::test]
async fn one_request_asks_for_all_limits_of_a_call_in_their_order() {
    let (service, _bench) = several("").await;

    // 100 tokens are 10 of input and 90 of output.
    service.wait_for_count(&[("tollgate_limit", "free/usd")], 190).await;
    service.wait_for_count(&of("ada"), 100).await;
    let said = said(&service.requests());
    assert_eq!(
        said[0],
        "ShouldRateLimit tollgate 0: tollgate_limit=free/rpm user=bob tenant=ada (1) \
         tollgate_limit=free/tpd tenant=ada (30) tollgate_limit=free/usd (50)"
    );
    // The filter reports both differences together, in any order; the number of requests needs no
    // correction.
    assert_eq!(said.len(), 2, "{said:?}");
    for told in ["tollgate_limit=free/tpd tenant=ada (70)", "tollgate_limit=free/usd (140)"] {
        assert!(said[1].contains(told), "{said:?}");
    }
    let of_rpm = [("tollgate_limit", "free/rpm"), ("user", "bob"), ("tenant", "ada")];
    assert!(service.count(&of_rpm) <= 1, "a minute may have passed");
}

#[tokio::test]
async fn with_amounts_in_the_request_each_limit_is_asked_for_by_itself() {
    let (service, _bench) = several(", hits_addend: request").await;

    service.wait_for_count(&[("tollgate_limit", "free/usd")], 190).await;
    service.wait_for_count(&of("ada"), 100).await;
    let mut said = said(&service.requests());
    said[3..].sort();
    assert_eq!(
        said,
        [
            "ShouldRateLimit tollgate 1: tollgate_limit=free/rpm user=bob tenant=ada",
            "ShouldRateLimit tollgate 30: tollgate_limit=free/tpd tenant=ada",
            "ShouldRateLimit tollgate 50: tollgate_limit=free/usd",
            "ShouldRateLimit tollgate 140: tollgate_limit=free/usd",
            "ShouldRateLimit tollgate 70: tollgate_limit=free/tpd tenant=ada",
        ]
    );
}

#[tokio::test]
async fn with_amounts_in_the_request_a_refused_call_charges_no_limit_behind_the_one_that_refuses() {
    let service = ScriptedService::start([tpd(100), Limit::new("free/rpd", 1_000, DAY)]).like_limitador();
    let rpd = "{ name: rpd, count: requests, per: tenant, max: 1000, window: 1d, scope: global },";
    let tpd = "{ name: tpd, count: tokens, per: tenant, max: 100, window: 1d, scope: global }";
    let options = format!(", hits_addend: request{PATIENT}");
    let bench = Bench::with_service(&limits(&format!("{rpd} {tpd}"), &options), &service).await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(bench.json(call("ada", 30, 30)).await.0.status());
    }

    assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429]);
    let of_rpd = [("tollgate_limit", "free/rpd"), ("tenant", "ada")];
    assert_eq!((service.count(&of("ada")), service.count(&of_rpd)), (90, 3));
    let said = said(&service.requests());
    let first = [
        "ShouldRateLimit tollgate 30: tollgate_limit=free/tpd tenant=ada",
        "ShouldRateLimit tollgate 1: tollgate_limit=free/rpd tenant=ada",
    ];
    assert_eq!(said[..2], first);
}

#[tokio::test]
async fn what_a_limit_was_charged_for_a_call_that_another_refused_is_the_next_calls() {
    // The tokens suffice for fewer calls, but fewer requests are left than the filter can know.
    let service = ScriptedService::start([tpd(1_000), Limit::new("free/rpd", 3, DAY)]).like_limitador();
    let rpd = "{ name: rpd, count: requests, per: tenant, max: 1000, window: 1d, scope: global },";
    let tpd = "{ name: tpd, count: tokens, per: tenant, max: 1000, window: 1d, scope: global }";
    let options = format!(", hits_addend: request{PATIENT}");
    let bench = Bench::with_service(&limits(&format!("{rpd} {tpd}"), &options), &service).await;

    let outcomes =
        Load::on([bench.envoy.address()]).clients(4).calls(10).run(|_, _| call("ada", 30, 30)).await;

    assert_eq!(outcomes.count(200), 3);
    // At most the holds of four concurrent calls, however many the service refuses.
    let charged = service.count(&of("ada"));
    assert!((90..=90 + 4 * 30).contains(&charged), "{charged}");
}

#[tokio::test]
async fn a_call_that_local_limits_refuse_is_not_asked_about() {
    let service = ScriptedService::start([tpd(MAX)]);
    let here = "{ name: here, count: tokens, per: tenant, max: 60, window: 30d },";
    let global = "{ name: tpd, count: tokens, per: tenant, max: 100_000, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(&format!("{here} {global}"), PATIENT), &service).await;
    let mut client = bench.client().await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let mut response = client.send(call("ada", 40, 40)).await.unwrap();
        response.body().await.unwrap();
        statuses.push(response.status());
    }
    say_everything(&mut client, &service).await;

    assert_eq!(statuses, [200, 429, 429]);
    assert_eq!(
        said(&service.requests()),
        ["ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (40)"]
    );
}

#[tokio::test]
async fn a_call_that_fits_no_whole_budget_is_not_asked_about() {
    let service = ScriptedService::start([tpd(100)]);
    let bench = Bench::with_service(&tokens(100, PATIENT), &service).await;
    let content = "word ".repeat(200);
    let large = json!({ "messages": [{ "role": "user", "content": content }] });

    let (response, body) = bench.json(chat_with("ada", large)).await;

    assert_eq!((response.status(), response.header("retry-after")), (429, None), "{body}");
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    say_everything(&mut client, &service).await;
    assert_eq!((said(&service.requests()).len(), service.calls(Method::ShouldRateLimit)), (0, 2));
}

#[tokio::test]
async fn a_call_that_fails_is_charged_nothing_where_that_can_be() {
    let said_of = |options: &'static str| async move {
        let service = ScriptedService::start([tpd(MAX)]).with_refunds();
        let bench = Bench::with_service(&tokens(MAX.into(), &format!("{options}{PATIENT}")), &service).await;
        let mut client = bench.client().await;
        let mut failed = client.send(call("ada", 30, 30).header("x-mock-status", "500")).await.unwrap();
        failed.body().await.unwrap();
        assert_eq!(failed.status(), 500);
        service.wait_for_count(&of("ada"), if options.is_empty() { 30 } else { 0 }).await;
        say_everything(&mut client, &service).await;
        said(&service.requests()).len()
    };
    assert_eq!(said_of("").await, 1);
    assert_eq!(said_of(", refunds: true").await, 2);
    assert_eq!(said_of(", protocol: check_then_report").await, 1);
}
