//! The scripted rate limit service counts like envoyproxy/ratelimit and Limitador, and misbehaves
//! on request.

use core::pin::pin;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use tollgate_rig::client::PATIENCE;
use tollgate_rig::rate_limits::{Behaviour, Limit, Method, ScriptedService};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, async_trait};
use tonic_prost::ProstCodec;

/// Windows begin at multiples of their length since 1970, so one of a year rarely ends during a
/// test.
const YEAR: Duration = Duration::from_secs(31_536_000);

fn service() -> ScriptedService {
    ScriptedService::start([Limit::new("free/tpm", 100, YEAR), Limit::new("free/rpm", 2, YEAR)])
}

const ADA: [(&str, &str); 2] = [("tollgate_limit", "free/tpm"), ("tenant", "ada")];
const EVE: [(&str, &str); 2] = [("tollgate_limit", "free/tpm"), ("tenant", "eve")];
const CALLS: [(&str, &str); 2] = [("tollgate_limit", "free/rpm"), ("tenant", "ada")];

fn descriptor(entries: &[(&str, &str)], hits: Option<u64>) -> RateLimitDescriptor {
    let entry = |&(key, value): &(&str, &str)| Entry { key: key.to_owned(), value: value.to_owned() };
    RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        hits_addend: hits.map(|value| UInt64Value { value }),
        ..RateLimitDescriptor::default()
    }
}

fn request(descriptors: impl Into<Vec<RateLimitDescriptor>>) -> RateLimitRequest {
    RateLimitRequest { domain: "tollgate".to_owned(), descriptors: descriptors.into(), hits_addend: 0 }
}

/// Returns a request for one descriptor with hits of its own.
fn hits(entries: &[(&str, &str)], hits: u64) -> RateLimitRequest {
    request([descriptor(entries, Some(hits))])
}

/// Returns a request for one descriptor with the hits in the request.
fn request_hits(entries: &[(&str, &str)], hits: u32) -> RateLimitRequest {
    RateLimitRequest { hits_addend: hits, ..request([descriptor(entries, None)]) }
}

fn back(mut request: RateLimitRequest) -> RateLimitRequest {
    request.descriptors[0].is_negative_hits = true;
    request
}

async fn call(
    channel: &Channel,
    method: Method,
    request: RateLimitRequest,
) -> Result<RateLimitResponse, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(method.path());
    grpc.unary(tonic::Request::new(request), path, ProstCodec::default())
        .await
        .map(tonic::Response::into_inner)
}

/// A client of the service.
#[async_trait]
trait Client {
    fn channel(&self) -> Channel;
    async fn call(&self, method: Method, request: RateLimitRequest) -> Result<RateLimitResponse, Status>;
    async fn ask(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status>;
    async fn code(&self, method: Method, request: RateLimitRequest) -> Code;
}

#[async_trait]
impl Client for ScriptedService {
    /// Opens a connection.
    fn channel(&self) -> Channel {
        Endpoint::new(format!("http://{}", self.address())).unwrap().timeout(PATIENCE).connect_lazy()
    }

    async fn call(&self, method: Method, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        call(&self.channel(), method, request).await
    }

    async fn ask(&self, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
        self.call(Method::ShouldRateLimit, request).await
    }

    async fn code(&self, method: Method, request: RateLimitRequest) -> Code {
        self.call(method, request).await.unwrap().overall_code()
    }
}

#[tokio::test]
async fn what_is_over_a_limit_is_refused_and_counts_too() {
    let service = service();

    let fits = service.ask(hits(&ADA, 100)).await.unwrap();
    assert_eq!((fits.overall_code(), fits.statuses[0].limit_remaining), (Code::Ok, 0));
    let over = service.ask(hits(&ADA, 7)).await.unwrap();
    assert_eq!((over.overall_code(), over.statuses[0].code()), (Code::OverLimit, Code::OverLimit));
    assert_eq!((service.count(&ADA), service.count(&EVE)), (107, 0));
}

#[tokio::test]
async fn no_hits_only_look_and_a_count_at_the_limit_is_not_over() {
    let service = service();
    service.ask(hits(&ADA, 100)).await.unwrap();
    assert_eq!(service.code(Method::ShouldRateLimit, hits(&ADA, 0)).await, Code::Ok);
    service.ask(hits(&ADA, 1)).await.unwrap();
    assert_eq!(service.code(Method::ShouldRateLimit, hits(&ADA, 0)).await, Code::OverLimit);
    assert_eq!(service.count(&ADA), 101);
}

#[tokio::test]
async fn hits_of_the_request_stand_for_those_that_a_descriptor_lacks_and_none_for_one() {
    let service = service();
    let mut both = request([descriptor(&ADA, None), descriptor(&EVE, Some(5))]);
    both.hits_addend = 30;
    service.ask(both).await.unwrap();
    assert_eq!((service.count(&ADA), service.count(&EVE)), (30, 5));

    service.ask(request_hits(&ADA, 0)).await.unwrap();
    assert_eq!(service.count(&ADA), 31);
}

#[tokio::test]
async fn each_descriptor_has_a_status_and_one_that_is_over_decides() {
    let service = service();
    let asked = [descriptor(&ADA, Some(40)), descriptor(&CALLS, Some(3)), descriptor(&[("x", "y")], Some(9))];

    let answer = service.ask(request(asked)).await.unwrap();

    assert_eq!(answer.overall_code(), Code::OverLimit);
    let [ada, calls, unknown] = answer.statuses.try_into().unwrap();
    assert_eq!((ada.code(), ada.limit_remaining), (Code::Ok, 60));
    let limit = ada.current_limit.unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit()), (100, Unit::Year));
    let reset = ada.duration_until_reset.unwrap().seconds;
    assert!((1..=31_536_000).contains(&reset), "{reset}");
    assert_eq!((calls.code(), calls.limit_remaining), (Code::OverLimit, 0));
    let known_to_no_limit =
        DescriptorStatus { code: 1, limit_remaining: u32::MAX, ..DescriptorStatus::default() };
    assert_eq!(unknown, known_to_no_limit);
}

#[tokio::test]
async fn a_limit_is_named_by_the_first_entry() {
    let service = service();
    let turned = [ADA[1], ADA[0]];
    let answer = service.ask(hits(&turned, 1000)).await.unwrap();
    assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::Ok, u32::MAX));
    assert_eq!(service.count(&turned), 0);
}

#[tokio::test]
async fn a_window_that_ends_leaves_nothing() {
    let service = service();
    service.ask(hits(&ADA, 200)).await.unwrap();
    service.advance(YEAR);
    assert_eq!(service.count(&ADA), 0);
    let answer = service.ask(hits(&ADA, 10)).await.unwrap();
    assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::Ok, 90));
}

#[tokio::test]
async fn negative_hits_are_charged_unless_refunds_are_known() {
    let service = service();
    service.ask(hits(&ADA, 30)).await.unwrap();
    service.ask(back(hits(&ADA, 10))).await.unwrap();
    assert_eq!(service.count(&ADA), 40);
    assert_eq!(service.requests()[1].hits(), [Some(-10)]);
}

#[tokio::test]
async fn refunds_are_given_back_down_to_nothing_and_never_refused() {
    let service = service().with_refunds();
    service.ask(hits(&ADA, 200)).await.unwrap();
    let refund = service.ask(back(hits(&ADA, 10))).await.unwrap();
    assert_eq!((service.count(&ADA), refund.overall_code()), (190, Code::Ok));
    service.ask(back(hits(&ADA, 1000))).await.unwrap();
    assert_eq!(service.count(&ADA), 0);
}

#[tokio::test]
async fn a_request_without_domain_or_descriptors_is_an_error() {
    let service = service();
    let nowhere = RateLimitRequest { domain: String::new(), ..hits(&ADA, 1) };
    for wrong in [nowhere, request([])] {
        assert_eq!(service.ask(wrong).await.unwrap_err().code(), tonic::Code::Unknown);
    }
}

#[tokio::test]
async fn like_limitador_all_is_charged_or_none_by_the_request_and_without_statuses() {
    let service = service().like_limitador();
    let fits = service.ask(request_hits(&ADA, 60)).await.unwrap();
    assert_eq!((fits.overall_code(), fits.statuses.len()), (Code::Ok, 0));
    assert_eq!(service.code(Method::ShouldRateLimit, request_hits(&ADA, 41)).await, Code::OverLimit);
    assert_eq!(service.count(&ADA), 60);

    service.ask(hits(&ADA, 1000)).await.unwrap();
    assert_eq!(service.count(&ADA), 61, "a descriptor's own hits are ignored");
    service.ask(request([descriptor(&EVE, None), descriptor(&ADA, None)])).await.unwrap();
    assert_eq!((service.count(&EVE), service.count(&ADA)), (1, 61), "only the first descriptor is looked at");

    let nowhere = RateLimitRequest { domain: String::new(), ..hits(&ADA, 1) };
    assert_eq!(service.code(Method::ShouldRateLimit, nowhere).await, Code::Unknown);
}

#[tokio::test]
async fn kuadrants_check_looks_for_one_hit_and_its_report_is_always_counted() {
    let service = service();
    for (reported, then) in [(99, Code::Ok), (0, Code::OverLimit), (50, Code::OverLimit)] {
        assert_eq!(service.code(Method::Report, request_hits(&ADA, reported)).await, Code::Ok);
        assert_eq!(service.code(Method::CheckRateLimit, request_hits(&ADA, 50)).await, then);
    }
    assert_eq!(service.count(&ADA), 150);
    assert_eq!((service.calls(Method::Report), service.calls(Method::CheckRateLimit)), (3, 3));
    assert_eq!(service.calls(Method::ShouldRateLimit), 0);
}

#[tokio::test]
async fn requests_are_kept_as_they_came_and_can_be_waited_for() {
    let service = service();
    let first = request([descriptor(&ADA, Some(0)), descriptor(&EVE, None)]);
    let made = async {
        service.ask(first.clone()).await.unwrap();
        service.call(Method::Report, request_hits(&EVE, 8)).await.unwrap();
    };
    let waits =
        async { tokio::join!(service.wait_for_calls(Method::Report, 1), service.wait_for_count(&EVE, 9)) };

    let ((), (asked, ())) = tokio::join!(made, waits);

    assert_eq!((asked[0].method, &asked[0].request), (Method::ShouldRateLimit, &first));
    assert_eq!(asked[0].hits(), [Some(0), None]);
    assert_eq!((asked[1].method, asked[1].entries(0)), (Method::Report, EVE.to_vec()));
    assert_eq!(service.wait_for(|asked| asked.len() == 2).await, asked);
}

#[tokio::test]
async fn a_late_answer_counts_at_once_and_comes_after_the_time_said() {
    let service = service();
    let late = Duration::from_millis(50);
    service.behave(Behaviour::Late(late));
    let started = Instant::now();

    let (answer, ()) = tokio::join!(service.ask(hits(&ADA, 5)), service.wait_for_count(&ADA, 5));

    assert_eq!(answer.unwrap().overall_code(), Code::Ok);
    assert!(started.elapsed() >= late);
}

#[tokio::test]
async fn a_call_that_is_never_answered_waits_while_others_go_on() {
    let service = service();
    service.script([Behaviour::Never]);
    let channel = service.channel();

    let mut waits = pin!(call(&channel, Method::ShouldRateLimit, hits(&ADA, 5)));
    tokio::select! {
        answer = &mut waits => panic!("{answer:?}"),
        _ = service.wait_for_calls(Method::ShouldRateLimit, 1) => (),
    }
    tokio::select! {
        biased;
        answer = &mut waits => panic!("{answer:?}"),
        answer = call(&channel, Method::ShouldRateLimit, hits(&ADA, 7)) => drop(answer.unwrap()),
    }
    assert_eq!(service.count(&ADA), 7, "what is never answered is not counted");
}

#[tokio::test]
async fn garbage_is_no_message() {
    let service = service();
    service.behave(Behaviour::Garbage);
    let error = service.ask(hits(&ADA, 5)).await.unwrap_err();
    assert!(error.message().contains("decode"), "{error:?}");
    assert_eq!(service.count(&ADA), 0);
}

#[tokio::test]
async fn an_empty_message_has_no_code_and_no_statuses() {
    let service = service();
    service.behave(Behaviour::Empty);
    assert_eq!(service.ask(hits(&ADA, 5)).await.unwrap(), RateLimitResponse::default());
}

#[tokio::test]
async fn unknown_is_the_code_of_all() {
    let service = service();
    service.behave(Behaviour::Unknown);
    let answer = service.ask(request([descriptor(&ADA, None), descriptor(&EVE, None)])).await.unwrap();
    assert_eq!((answer.overall_code(), answer.statuses.len()), (Code::Unknown, 2));
}

#[tokio::test]
async fn a_status_can_be_missing() {
    let service = service();
    service.behave(Behaviour::FewerStatuses);
    let both = request([descriptor(&ADA, Some(1)), descriptor(&EVE, Some(200))]);
    let answer = service.ask(both).await.unwrap();
    assert_eq!((answer.overall_code(), answer.statuses.len()), (Code::OverLimit, 1));
    assert_eq!((service.count(&ADA), service.count(&EVE)), (1, 200));
}

#[tokio::test]
async fn a_grpc_status_is_an_error_and_nothing_is_counted() {
    let service = service();
    service.behave(Behaviour::Status(14));
    assert_eq!(service.ask(hits(&ADA, 5)).await.unwrap_err().code(), tonic::Code::Unavailable);
    assert_eq!((service.count(&ADA), service.requests().len()), (0, 1));
}

#[tokio::test]
async fn headers_come_with_the_answer() {
    let service = service();
    service.behave(Behaviour::Headers {
        response: vec![("x-a", "1")],
        request: vec![("x-b", "2"), ("x-b", "3")],
    });
    let answer = service.ask(hits(&ADA, 5)).await.unwrap();
    assert_eq!((answer.overall_code(), answer.statuses[0].limit_remaining), (Code::Ok, 95));
    let response = &answer.response_headers_to_add;
    assert_eq!((response[0].key.as_str(), response[0].value.as_str()), ("x-a", "1"));
    assert_eq!(answer.request_headers_to_add.len(), 2);
}

#[tokio::test]
async fn a_script_is_used_up_call_by_call_before_the_general_behaviour() {
    let service = service();
    service.behave(Behaviour::Status(13));
    service.script([Behaviour::Answer, Behaviour::Empty]);
    let channel = service.channel();
    let ask = async || call(&channel, Method::ShouldRateLimit, hits(&ADA, 5)).await;

    assert_eq!(ask().await.unwrap().overall_code(), Code::Ok);
    assert_eq!(ask().await.unwrap().overall_code(), Code::Unknown);
    for _ in 0..2 {
        assert_eq!(ask().await.unwrap_err().code(), tonic::Code::Internal);
    }
}

#[tokio::test]
async fn a_stopped_service_breaks_its_calls_refuses_connections_and_comes_back_with_its_counters() {
    let mut service = service();
    service.ask(hits(&ADA, 5)).await.unwrap();
    service.script([Behaviour::Never]);
    let channel = service.channel();
    let waiting = tokio::spawn(async move { call(&channel, Method::ShouldRateLimit, hits(&ADA, 5)).await });
    service.wait_for_calls(Method::ShouldRateLimit, 2).await;

    service.stop().await;
    let broken = waiting.await.unwrap().unwrap_err();
    assert_ne!(
        broken.code(),
        tonic::Code::Cancelled,
        "by the service, not by the client's patience: {broken:?}"
    );
    let refused = tokio::net::TcpStream::connect(service.address()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);

    service.start_again();
    let answer = service.ask(hits(&ADA, 5)).await.unwrap();
    assert_eq!(answer.statuses[0].limit_remaining, 90);
    assert_eq!(service.requests().len(), 3);
}
