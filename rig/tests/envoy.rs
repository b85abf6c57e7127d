//! The rig starts a real Envoy, sends calls through it, reads its admin interface and stops it.
//!
//! In: bootstraps without the filter. Out: nothing. Not here: the filter.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_rig::client::{Client, PATIENCE, Request};
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
    let envoy =
        Envoy::start(Bootstrap::to(mock.address()).own_process().log_filter_state(&["tollgate.tier"])).await;
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
    fs::write(&module, idle_module()).unwrap();
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
        // One VM for each worker, one for the main thread, and the one that Envoy clones.
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
async fn an_envoy_in_a_process_of_its_own_is_gone_when_it_is_dropped() {
    let envoy = Envoy::start(nowhere().own_process()).await;
    let (address, process, dir) = (envoy.address(), format!("/proc/{}", envoy.pid()), envoy.dir().to_owned());
    assert!(Path::new(&process).exists());

    drop(envoy);

    assert!(!Path::new(&process).exists());
    assert!(!dir.exists());
    assert!(Client::http1(address).await.is_err());
}

fn nowhere() -> Bootstrap {
    Bootstrap::to("127.0.0.1:1".parse().unwrap())
}

/// Returns a bootstrap with settings of one test, so that only its own users share the process.
fn of(test: &str) -> Bootstrap {
    nowhere().stats_tags(&format!("- {{ tag_name: {test}, regex: \"({test})\" }}\n"))
}

#[tokio::test]
async fn an_envoy_serves_the_next_at_another_address_when_it_is_dropped() {
    let first = Envoy::start(of("next")).await;
    let (address, process, dir) = (first.address(), first.pid(), first.dir().to_owned());
    Client::http1(address).await.unwrap();

    drop(first);
    let second = Envoy::start(of("next")).await;

    assert_eq!(second.pid(), process);
    assert!(!dir.exists());
    assert!(address == second.address() || Client::http1(address).await.is_err());
}

#[tokio::test]
async fn two_at_a_time_never_share_a_process_nor_do_two_that_want_different_ones() {
    let (one, other) = tokio::join!(Envoy::start(of("two")), Envoy::start(of("two")));
    let third = Envoy::start(of("three")).await;
    let more_workers = Envoy::start(of("two").concurrency(2)).await;

    let mut processes = [&one, &other, &third, &more_workers].map(Envoy::pid);
    processes.sort_unstable();
    assert!(processes.windows(2).all(|pair| pair[0] != pair[1]), "{processes:?}");
}

#[tokio::test]
async fn an_envoy_whose_configuration_was_refused_serves_the_next() {
    let refused = Envoy::try_start(of("refused").connection_manager("no_such_field: 1")).await;
    let Err(not_started) = refused else { panic!("it was accepted") };
    assert!(not_started.log.contains("no_such_field"), "{}", not_started.log);

    let next = Envoy::start(of("refused")).await;

    assert!(!next.log().contains("no_such_field"), "{}", next.log());
}

#[test]
fn the_process_of_a_test_that_fails_serves_no_other() {
    let failed = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let envoy = Envoy::start(of("failing")).await;
            panic!("{}", envoy.pid());
        })
    });

    let process = failed.join().unwrap_err().downcast::<String>().unwrap();

    assert!(!Path::new("/proc").join(*process).exists());
}

/// The variable that marks the program to kill.
const TO_BE_KILLED: &str = "TOLLGATE_RIG_TO_BE_KILLED";

#[tokio::test]
async fn no_process_outlives_a_program_that_is_killed() {
    const TEST: &str = "no_process_outlives_a_program_that_is_killed";
    if std::env::var_os(TO_BE_KILLED).is_some() {
        let (own, shared) = (Envoy::start(nowhere().own_process()).await, Envoy::start(nowhere()).await);
        println!("\n{} {}", own.pid(), shared.pid());
        std::future::pending::<()>().await;
    }
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(TO_BE_KILLED, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.split(' ').all(|id| id.parse::<u32>().is_ok()));
    let envoys: Vec<_> = line.unwrap().split(' ').map(|id| Path::new("/proc").join(id)).collect();
    assert!(envoys.iter().all(|envoy| envoy.exists()), "{envoys:?}");

    program.kill().unwrap();
    program.wait().unwrap();

    let deadline = Instant::now() + PATIENCE;
    // A process that has ended stays in `/proc` until its new parent reaps it.
    let runs = |envoy: &Path| fs::read_to_string(envoy.join("stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while envoys.iter().any(|envoy| runs(envoy)) {
        assert!(Instant::now() < deadline, "{envoys:?} go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
