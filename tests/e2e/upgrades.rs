//! Requests for another protocol: refused on the paths of LLM APIs, in their dialects, and passed
//! unchanged elsewhere. Calls on paths of no API: refused if the configuration says so.

use serde_json::{Value, json};
use tollgate_rig::client::raw::RawConnection;
use tollgate_rig::client::{Client, Request, Response};
use tollgate_rig::envoy::{Envoy, Filter};
use tollgate_rig::upstream::{Script, ScriptedUpstream};

use crate::bench::{Bench, bootstrap, chat};
use crate::sockets::with_sockets;

const TIERS: &str = "
identity: { tenant: { header: x-tenant-id } }
tiers: { free: { limits: [ { name: tpm, count: tokens, per: tenant, max: 100_000, window: 30d } ] } }
";

const WORDS: &str = "LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket.";

fn openai() -> Value {
    json!({ "error": {
        "message": WORDS, "type": "invalid_request_error", "param": null, "code": "upgrade_not_allowed",
    } })
}

/// Returns an HTTP/2 connection whose server has announced extended CONNECT.
async fn http2(bench: &Bench) -> Client {
    let mut client = Client::http2(bench.envoy.address()).await.unwrap();
    client.send(chat("ada")).await.unwrap().body().await.unwrap();
    client
}

#[tokio::test]
async fn an_upgrade_on_the_path_of_an_llm_api_is_refused_in_its_dialect() {
    let bench = Bench::with(Filter::yaml(TIERS), with_sockets).await;
    let gemini = json!({ "error": { "code": 426, "message": WORDS, "status": "FAILED_PRECONDITION" } });
    let anthropic =
        json!({ "type": "error", "error": { "type": "invalid_request_error", "message": WORDS } });
    let cases = [
        ("/v1/chat/completions", openai()),
        ("/V1/Chat/Completions?x=1", openai()),
        ("/v1/realtime/translations?model=x", openai()),
        ("/v1/live/sessions", openai()),
        ("/v1/messages", anthropic),
        ("/model/amazon.nova-lite-v1%3A0/converse", json!({ "message": WORDS })),
        ("/api/chat", json!({ "error": WORDS })),
        ("/v1beta/models/gemini-2.5-flash:generateContent", gemini.clone()),
        ("/ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateMusic", gemini),
    ];
    let mut connection = http2(&bench).await;
    let mut refused = 0;
    let check = async |mut response: Response, body: &Value, what: &str| {
        assert_eq!(response.status(), 426, "{what}");
        assert_eq!(response.json().await.unwrap(), *body, "{what}");
    };
    for (path, body) in &cases {
        for method in ["GET", "POST"] {
            let request = Request::new(method, path).upgrade("websocket");
            check(bench.send(request).await, body, path).await;
        }
        let response = connection.send(Request::get(path).upgrade("websocket")).await.unwrap();
        check(response, body, path).await;
        refused += 3;
    }
    assert_eq!(bench.mock.received().len(), 1, "an upgrade reached the upstream");
    // The connection stays usable.
    assert_eq!(connection.send(chat("ada")).await.unwrap().status(), 200);

    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "upgrade")]), f64::from(refused));
    let log = bench.envoy.wait_for_access_log(refused as usize + 2).await;
    let lines: Vec<_> = log.iter().filter(|line| line["status"] == 426).collect();
    assert_eq!(lines.len(), refused as usize);
    for line in lines {
        assert_eq!(
            (&line["details"], &line["tollgate.refused_by"]),
            (&json!("tollgate_upgrade_refused"), &json!("protocol upgrade"))
        );
    }
    let told = r#"{"api":"openai_realtime","event":"upgrade_refused","protocol":"websocket"}"#;
    assert_eq!(bench.envoy.log().matches(told).count(), 6);
}

#[tokio::test]
async fn a_path_of_no_api_is_refused_where_the_configuration_says_so() {
    let rows = "unrecognised: refuse\napis: [ { path_prefix: /healthz, format: none } ]";
    let bench = Bench::with(Filter::yaml(&format!("{rows}{TIERS}")), with_sockets).await;
    let mut refused = 0;
    for (method, path) in [("POST", "/v1/batches"), ("GET", "/v1/files"), ("POST", "/v1/realtime/calls")] {
        let mut response = bench.send(Request::new(method, path).body("{}")).await;
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.json().await.unwrap()["error"]["code"], "unknown_url");
        refused += 1;
    }
    for upgrade in ["/socket", "/v1/realtime/sessions"] {
        assert_eq!(bench.send(Request::get(upgrade).upgrade("websocket")).await.status(), 404, "{upgrade}");
        refused += 1;
    }
    assert!(bench.mock.received().is_empty(), "a call reached the upstream");
    // Whatever the upstream answers: the calls reach it.
    for passing in [Request::get("/healthz"), Request::new("OPTIONS", "/v1/chat/completions")] {
        bench.send(passing).await;
    }
    assert_eq!(bench.mock.received().len(), 2);
    assert_eq!(bench.send(chat("ada")).await.status(), 200);
    let metrics = bench.envoy.metrics().await;
    assert_eq!(metrics.sum("tollgate_calls_total", &[("kind", "unrecognised")]), f64::from(refused));
    let told = r#"{"event":"unrecognised_refused","method":"POST","path":"/v1/batches"}"#;
    assert!(bench.envoy.log().contains(told));
}

#[tokio::test]
async fn an_offer_of_http2_is_no_upgrade() {
    let bench = Bench::with(Filter::yaml(TIERS), with_sockets).await;
    // Some clients request `h2c` with every first call; Envoy removes the request.
    let request = chat("ada").upgrade("h2c").header("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA");
    assert_eq!(bench.send(request).await.status(), 200);
}

#[tokio::test]
async fn upgrades_and_tunnels_that_are_not_calls_pass_untouched() {
    let echo = |answer: &'static str| Script::new().read_headers().write(answer).read_until_closed();
    const SWITCHED: &str =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    let upstream =
        ScriptedUpstream::start([echo(SWITCHED), echo("HTTP/1.1 200 OK\r\n\r\nhello"), echo(SWITCHED)]).await;
    let tunnel = "- match: { connect_matcher: {} }\n  route: { cluster: upstream, upgrade_configs: [ { upgrade_type: CONNECT } ] }";
    let direct = "- match: { path: /hello }\n  direct_response: { status: 200 }";
    let bootstrap = with_sockets(bootstrap(upstream.address(), Filter::yaml(TIERS)))
        .upgrade("CONNECT")
        .routes_before(&format!("{direct}\n{tunnel}"));
    let envoy = Envoy::start(bootstrap).await;
    for (head, answer) in [
        (
            "GET /socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "HTTP/1.1 101",
        ),
        ("CONNECT api:443 HTTP/1.1\r\nhost: api:443\r\n\r\n", "HTTP/1.1 200"),
    ] {
        let mut connection = RawConnection::open(envoy.address()).await.unwrap();
        connection.write(head.as_bytes()).await.unwrap();
        connection.read_until(answer).await;
        connection.read_until("hello").await;
        connection.write(b"not HTTP").await.unwrap();
        drop(connection);
    }
    let mut client = Client::http2(envoy.address()).await.unwrap();
    assert_eq!(client.send(Request::get("/hello")).await.unwrap().status(), 200);
    let response = client.send(Request::get("/socket").upgrade("websocket")).await.unwrap();
    assert_eq!(response.status(), 200);
    drop((response, client));

    envoy.wait_for_access_log(4).await;
    let heard = String::from_utf8_lossy(&upstream.heard()[2].requests[0]).to_ascii_lowercase();
    assert!(heard.starts_with("get /socket ") && heard.contains("\r\nupgrade: websocket\r\n"), "{heard}");
    assert_eq!(envoy.metrics().await.sum("tollgate_calls_total", &[]), 0.0);
}
