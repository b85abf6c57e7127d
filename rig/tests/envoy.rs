//! The rig starts a real Envoy, sends calls through it, reads its admin interface and stops it. Not
//! here: the filter.

use serde_json::json;
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter};
use tollgate_rig::mock_llm::{Ending, MockLlm};
use tollgate_rig::upstream::{Script, ScriptedUpstream};

fn chat() -> Request {
    let messages = json!([{ "role": "user", "content": "Hello there" }]);
    let options = json!({ "include_usage": true });
    Request::chat(
        &json!({ "model": "gpt-4o", "messages": messages, "stream": true, "stream_options": options }),
    )
}

#[tokio::test]
async fn calls_pass_over_both_versions_of_http_on_both_sides() {
    let mock = MockLlm::start().await;
    for upstream_http2 in [false, true] {
        let bootstrap = Bootstrap::to(mock.address()).concurrency(2);
        let bootstrap = if upstream_http2 { bootstrap.upstream_http2() } else { bootstrap };
        let envoy = Envoy::start(bootstrap).await;

        let mut http1 = Client::http1(envoy.address()).await.unwrap();
        let mut http2 = Client::http2(envoy.address()).await.unwrap();
        for client in [&mut http1, &mut http2] {
            let transcript = client.send(chat()).await.unwrap().transcript().await.unwrap();
            assert_eq!(transcript.usage().unwrap()["prompt_tokens"], 9);
            let seen = mock.received().pop().unwrap();
            assert_eq!(seen.version == hyper::Version::HTTP_2, upstream_http2);
            assert_eq!(seen.ended().await, Ending::Finished);
        }
    }
}

#[tokio::test]
async fn envoy_tells_what_it_did() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(Bootstrap::to(mock.address()).log_filter_state(&["tollgate.tier"])).await;
    let mut client = Client::http1(envoy.address()).await.unwrap();
    client.send(Request::get("/v1/models").header("x-raw", b"\xff")).await.unwrap().body().await.unwrap();

    let line = &envoy.wait_for_access_log(1).await[0];
    assert_eq!((&line["path"], &line["status"]), (&json!("/v1/models"), &json!(200)));
    assert!(line.as_object().unwrap().contains_key("tollgate.tier"));
    let labels = [("envoy_cluster_name", "upstream"), ("envoy_response_code", "200")];
    let metrics = envoy.wait_for_metrics(|m| m.sum("envoy_cluster_upstream_rq", &labels) > 0.0).await;
    assert_eq!(metrics.only("envoy_cluster_upstream_rq", &labels), Some(1.0));
    assert!(envoy.resources().resident > 10_000_000);
    envoy.wait_for_log("starting main dispatch loop").await;
}

#[tokio::test]
async fn listeners_are_replaced_in_place_or_refused() {
    let mock = MockLlm::start().await;
    let bootstrap = Bootstrap::to(mock.address()).reloadable();
    let envoy = Envoy::start(bootstrap.clone()).await;

    assert!(envoy.reload(&bootstrap.clone().connection_manager("server_name: other")).await);
    let mut client = Client::http1(envoy.address()).await.unwrap();
    let response = client.send(Request::get("/v1/models")).await.unwrap();
    assert_eq!(response.header("server"), Some("other"));

    assert!(!envoy.reload(&bootstrap.connection_manager("max_request_headers_kb: 1000000")).await);
    let response = Client::http1(envoy.address()).await.unwrap().send(Request::get("/")).await.unwrap();
    assert_eq!(response.header("server"), Some("other"));
}

#[tokio::test]
async fn trailers_pass_if_they_are_let() {
    let response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-end: yes\r\n\r\n";
    let upstream = ScriptedUpstream::start([Script::new().read_request().write(response)]).await;
    let envoy = Envoy::start(Bootstrap::to(upstream.address()).http1_trailers()).await;
    let mut client = Client::http2(envoy.address()).await.unwrap();

    let mut response = client.send(Request::get("/")).await.unwrap();

    assert_eq!(response.body().await.unwrap(), "ab");
    assert_eq!(response.trailers().unwrap()["x-end"], "yes");
}

/// The smallest module that Envoy accepts as a filter: `(memory 1)`, the ABI's version and an
/// allocator, no callbacks.
fn idle_module() -> Vec<u8> {
    let mut exports = vec![3, 6];
    exports.extend(b"memory\x02\x00");
    exports.extend(b"\x17proxy_abi_version_0_2_1\x00\x00");
    exports.extend(b"\x18proxy_on_memory_allocate\x00\x01");
    let sections: [(u8, &[u8]); 5] = [
        (1, b"\x02\x60\x00\x00\x60\x01\x7f\x01\x7f"),
        (3, b"\x02\x00\x01"),
        (5, b"\x01\x00\x01"),
        (7, &exports),
        (10, b"\x02\x02\x00\x0b\x05\x00\x41\x80\x08\x0b"),
    ];
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    for (id, bytes) in sections {
        module.extend([id, u8::try_from(bytes.len()).unwrap()]);
        module.extend(bytes);
    }
    module
}

#[tokio::test]
async fn envoy_understands_every_option_of_a_bootstrap() {
    let mock = MockLlm::start().await;
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("idle.wasm");
    std::fs::write(&module, idle_module()).unwrap();
    let lua = |name: &str| {
        let code = format!("function envoy_on_response(r) r:headers():add('x-{name}', 'yes') end");
        format!(
            "- name: {name}
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
    default_source_code: {{ inline_string: \"{code}\" }}
"
        )
    };
    let carriers = [
        Filter::yaml("tiers:\n  free:\n    limits: []\nsalt: s\n"),
        Filter::json(&json!({ "salt": "with \"quotes\", a \\ and ü" })),
    ];
    for filter in carriers {
        let filter = filter
            .module(&module)
            .vm_id("other")
            .without_holding()
            .fields("capability_restriction_config: {}");
        let bootstrap = Bootstrap::to(mock.address())
            .filter(filter)
            .concurrency(2)
            .reloadable()
            .upstream_http2()
            .http1_trailers()
            .body_limit(8 << 20)
            .filters_before(&lua("before"))
            .filters_after(&lua("after"))
            .upgrade("websocket")
            .upgrade("CONNECT")
            .routes_before("- match: { path: /short }\n  direct_response: { status: 418 }")
            .route("retry_policy: { retry_on: 5xx, num_retries: 2 }")
            .connection_manager("server_name: rig\nstream_idle_timeout: 60s")
            .listener("per_connection_buffer_limit_bytes: 65536")
            .clusters("- name: other\n  type: STATIC\n  connect_timeout: 1s")
            .stats_tags("- tag_name: tier\n  regex: \"(tier=\\\\.=(.*?);\\\\.;)\"")
            .log_filter_state(&["tollgate.tier"])
            .component_log_level("wasm:debug");
        let envoy = Envoy::start(bootstrap).await;

        let mut client = Client::http1(envoy.address()).await.unwrap();
        let mut response = client.send(chat()).await.unwrap();
        assert_eq!(
            (response.status(), response.header("x-before"), response.header("x-after")),
            (200, Some("yes"), Some("yes"))
        );
        assert!(response.transcript().await.unwrap().is_done());
        assert_eq!(client.send(Request::get("/short")).await.unwrap().status(), 418);

        let metrics = envoy.metrics().await;
        // One VM for each worker, the main thread's, and the one that the others are cloned from.
        assert_eq!(metrics.only("envoy_wasm_envoy_wasm_runtime_v8_active", &[]), Some(4.0));
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_explained_by_the_log() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let bootstrap = Bootstrap::to(nowhere).connection_manager("no_such_field: 1");

    let Err(not_started) = Envoy::try_start(bootstrap).await else { panic!("it was accepted") };

    assert!(not_started.log.contains("no_such_field"), "{}", not_started.log);
}

#[tokio::test]
async fn envoy_is_gone_when_it_is_dropped() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let envoy = Envoy::start(Bootstrap::to(nowhere)).await;
    let (address, process, dir) = (envoy.address(), format!("/proc/{}", envoy.pid()), envoy.dir().to_owned());
    assert!(std::path::Path::new(&process).exists());

    drop(envoy);

    assert!(!std::path::Path::new(&process).exists());
    assert!(!dir.exists());
    assert!(Client::http1(address).await.is_err());
}
