//! Requests wait for the service in every form of sending; responses never wait.

use serde_json::{Value, json};
use tollgate_rig::client::{BodySender, Client, Request, Response};
use tollgate_rig::envoy::Filter;
use tollgate_rig::rate_limits::{Behaviour, Limit, Method, ScriptedService};
use tollgate_rig::upstream::{Script, ScriptedUpstream, Signal};

use super::{DAY, PATIENT, call, limits, of, said, tokens, tpd, usage};
use crate::bench::{Bench, Detour, chat_by, with_detours};
use crate::probe::{INPUT, STREAM_END, STREAM_HEAD, chunk, event};

/// A form in which a client sends a call.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Http1,
    Http2,
    /// HTTP/2 with trailers after the body.
    Trailers,
    /// HTTP/1.1 of unknown length.
    Chunked,
}

const SENDINGS: [Sending; 4] = [Sending::Http1, Sending::Http2, Sending::Trailers, Sending::Chunked];

/// Returns a body that holds 30 tokens.
fn body() -> Value {
    json!({ "model": "gpt-4o", "max_tokens": 20, "messages": [{ "role": "user", "content": "Say something." }] })
}

impl Sending {
    async fn send(self, bench: &Bench, tenant: &str) -> Response {
        let address = bench.envoy.address();
        let request = Request::post("/v1/chat/completions")
            .header("x-tenant-id", tenant)
            .header("x-mock-usage", usage(30));
        let mut client = match self {
            Self::Http1 | Self::Chunked => Client::http1(address).await.unwrap(),
            Self::Http2 | Self::Trailers => Client::http2(address).await.unwrap(),
        };
        if matches!(self, Self::Http1 | Self::Http2) {
            return client.send(request.body(body().to_string())).await.unwrap();
        }
        let (request, sender) = request.body_in_parts();
        let feeding = tokio::spawn(self.feed(sender));
        let response = client.send(request).await.unwrap();
        feeding.await.unwrap();
        response
    }

    async fn feed(self, mut sender: BodySender) {
        let text = body().to_string();
        let (head, tail) = text.split_at(text.len() / 2);
        assert!(sender.send(head.to_owned()).await);
        assert!(sender.send(tail.to_owned()).await);
        if matches!(self, Self::Trailers) {
            assert!(sender.finish_with_trailers(&[("x-end", "yes")]).await);
        }
    }
}

/// Makes calls in every form of sending: some pass, and the service refuses others.
async fn every_sending(hold: &str, holds: bool) {
    let service = ScriptedService::start([tpd(50)]);
    let configuration = format!("hold: {hold}\n{}", tokens(50, PATIENT));
    let filter = Filter::yaml(&configuration);
    let filter = if holds { filter } else { filter.without_holding() };
    let bench = Bench::with(filter, |bootstrap| bootstrap.grpc_cluster("ratelimit", service.address())).await;
    for sending in SENDINGS {
        let tenant = format!("{sending:?}");
        let mut allowed = sending.send(&bench, &tenant).await;
        let answer = allowed.json().await.unwrap();
        assert_eq!(allowed.status(), 200, "{tenant} {answer}");
        assert_eq!(allowed.header("x-ratelimit-remaining-tokens"), Some("20"), "{tenant}");
        let received = bench.mock.received().pop().unwrap();
        assert_eq!(received.json(), body(), "{tenant}");

        let mut refused = sending.send(&bench, &tenant).await;
        let problem = refused.json().await.unwrap();
        assert_eq!(refused.status(), 429, "{tenant} {problem}");
        // The service counts refused requests too.
        assert_eq!(service.count(&of(&tenant)), 60, "{tenant}");
    }
    // No refused request reached the upstream, except headers where the host cannot hold them.
    let whole = bench.mock.received().iter().filter(|received| !received.body.is_empty()).count();
    assert_eq!(whole, SENDINGS.len());
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("envoy_wasm_tollgate_vm_reload_success", &[]), 0.0);
}

#[tokio::test]
async fn held_calls_wait_for_the_answer_however_they_are_sent() {
    every_sending("auto", true).await;
}

#[tokio::test]
async fn calls_whose_headers_are_not_held_wait_with_their_bodies() {
    every_sending("never", true).await;
}

#[tokio::test]
async fn calls_wait_where_it_has_yet_to_be_found_out_that_headers_cannot_be_held() {
    every_sending("auto", false).await;
}

#[tokio::test]
async fn calls_wait_where_the_host_cannot_hold_headers_and_the_operator_says_so() {
    every_sending("never", false).await;
}

#[tokio::test]
async fn a_held_call_reaches_the_upstream_only_when_the_service_has_answered() {
    let service = ScriptedService::start([tpd(1_000)]);
    let bench = Bench::with_service(&tokens(1_000, PATIENT), &service).await;
    let answers = Signal::new();
    service.behave(Behaviour::Until(answers.clone()));

    let others = async {
        service.wait_for_calls(Method::ShouldRateLimit, 1).await;
        // Many unlimited calls overtake it, on every worker.
        for _ in 0..16 {
            bench.send(Request::get("/health")).await;
        }
        answers.fire();
    };
    let ((response, _), ()) = tokio::join!(bench.json(call("ada", 30, 30)), others);

    assert_eq!(response.status(), 200);
    let received = bench.mock.received();
    let paths: Vec<_> = received.iter().map(|received| received.uri.path()).collect();
    assert_eq!(paths.iter().position(|path| *path == "/v1/chat/completions"), Some(16), "{paths:?}");
}

#[tokio::test]
async fn a_call_without_a_body_is_asked_about_as_a_request() {
    let service = ScriptedService::start([Limit::new("free/rpd", 1, DAY)]);
    let rpd = "{ name: rpd, count: requests, per: tenant, max: 1, window: 1d, scope: global }";
    let bench = Bench::with_service(&limits(rpd, PATIENT), &service).await;
    let models = || Request::get("/v1/models").header("x-tenant-id", "ada");

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(bench.send(models()).await.status());
    }

    assert_eq!((statuses, service.calls(Method::ShouldRateLimit)), (vec![200, 429, 429], 3));
}

/// Returns an upload of `size` bytes: the first part goes at once, the rest through the sender.
fn upload(tenant: &str, size: usize) -> (Request, BodySender, Vec<u8>) {
    let mut body = b"--line\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--line\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n".to_vec();
    let end = b"\r\n--line--\r\n";
    body.resize(size - end.len(), b'a');
    body.extend(end);
    let (request, sender) = Request::post("/v1/audio/transcriptions")
        .header("x-tenant-id", tenant)
        .header("content-type", "multipart/form-data; boundary=line")
        .header("content-length", size.to_string())
        .header(
            "x-mock-usage",
            json!({ "type": "tokens", "input_tokens": 14, "output_tokens": 16, "total_tokens": 30 })
                .to_string(),
        )
        .body_in_parts();
    (request, sender, body)
}

const UPLOADS: &str = "{ name: rpd, count: requests, per: tenant, max: 1, window: 1d, scope: global }";

async fn uploads(size: usize, hold_up_to: &str) {
    let service = ScriptedService::start([Limit::new("free/rpd", 1, DAY)]);
    let configuration =
        limits(UPLOADS, PATIENT).replace("counting: {", &format!("counting: {{ hold_up_to: {hold_up_to},"));
    let bench = Bench::with_service(&configuration, &service).await;

    let (request, mut sender, body) = upload("ada", size);
    let whole = body.clone();
    let feeding = tokio::spawn(async move {
        for piece in body.chunks(16 << 10) {
            assert!(sender.send(piece.to_vec()).await);
        }
    });
    let (response, answer) = bench.json(request).await;
    feeding.await.unwrap();
    assert_eq!(response.status(), 200, "{answer}");
    let received = bench.mock.received();
    assert!(received.len() == 1 && received[0].body == whole, "other bytes arrived");

    // The filter refuses the second before its body arrives.
    let (request, mut sender, body) = upload("ada", size);
    let first = body[..1024].to_vec();
    let feeding = tokio::spawn(async move { (sender.send(first).await, sender) });
    let (response, problem) = bench.json(request).await;
    let (_, _sender) = feeding.await.unwrap();
    assert_eq!((response.status(), &problem["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    let of_rpd = [("tollgate_limit", "free/rpd"), ("tenant", "ada")];
    assert_eq!(service.count(&of_rpd), 2);
    assert_eq!(service.calls(Method::ShouldRateLimit), 2);
}

#[tokio::test]
async fn an_upload_that_fits_is_held_until_the_service_has_answered() {
    uploads(64 << 10, "1MiB").await;
}

#[tokio::test]
async fn an_upload_too_large_to_hold_goes_on_and_can_still_be_refused() {
    uploads(3 << 20, "1MiB").await;
}

/// The service answers late, but the upload has continued, and its response does not wait.
#[tokio::test]
async fn a_response_that_comes_before_the_answer_is_passed_on_and_told_afterwards() {
    let service = ScriptedService::start([tpd(1_000_000)]);
    let configuration = tokens(1_000_000, PATIENT).replace("counting: {", "counting: { hold_up_to: 1KiB,");
    let bench = Bench::with_service(&configuration, &service).await;
    service.script([Behaviour::Never]);

    let (request, mut sender, body) = upload("ada", 64 << 10);
    let feeding = tokio::spawn(async move { sender.send(body).await });
    let (response, answer) = bench.json(request).await;

    assert!(feeding.await.unwrap());
    assert_eq!(response.status(), 200, "{answer}");
    assert!(response.time_to_headers() < core::time::Duration::from_secs(9), "it waited for the service");
    assert_eq!(bench.decided("allow").await, 1.0);
    service.wait_for_count(&of("ada"), 30).await;
}

#[tokio::test]
async fn no_chunk_of_a_stream_waits_for_the_service() {
    let signals: Vec<_> = (0..10).map(|_| Signal::new()).collect();
    let events: Vec<_> = (0..10).map(|number| event(&format!("word {number}"))).collect();
    let mut script = Script::new().read_request().write(STREAM_HEAD);
    for (event, signal) in events.iter().zip(&signals) {
        script = script.write(chunk(event)).wait(signal);
    }
    let told = format!(
        "data: {}\n\n",
        json!({ "choices": [], "usage": { "prompt_tokens": INPUT, "completion_tokens": 90 } })
    );
    let upstream = ScriptedUpstream::start([script.write(chunk(&told)).write(STREAM_END)]).await;
    let service = ScriptedService::start([tpd(1_000)]);
    let detour = Detour { name: "scripted", to: Some(upstream.address()), route: "" };
    let bench = Bench::with(Filter::yaml(&tokens(1_000, ", timeout: 1s")), |bootstrap| {
        with_detours(bootstrap, &[detour]).grpc_cluster("ratelimit", service.address())
    })
    .await;
    // The service answers the question, then ignores the report until the retry.
    service.script([Behaviour::Answer, Behaviour::Never]);

    let streamed = json!({ "stream": true, "stream_options": { "include_usage": true }, "max_tokens": 20 });
    let mut response = bench.send(chat_by("scripted", "ada", streamed)).await;
    for (event, signal) in events.iter().zip(&signals) {
        assert_eq!(response.chunk().await.unwrap().unwrap().data, event.as_bytes());
        signal.fire();
    }
    assert_eq!(response.body().await.unwrap(), told.as_bytes());

    service.wait_for_count(&of("ada"), 100).await;
    let asked = "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (30)";
    let report = "ShouldRateLimit tollgate 0: tollgate_limit=free/tpd tenant=ada (70)";
    assert_eq!(said(&service.requests()), [asked, report, report]);
}
