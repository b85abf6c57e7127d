//! The filter identifies callers as configured, and secrets stay secret.

use serde_json::json;
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::Filter;

use crate::bench::{Bench, chat_with};
use crate::probe::shown;

/// Starts a bench that counts per `who`, with this source.
async fn start(who: &str) -> Bench {
    Bench::with(Filter::yaml(&configuration(who)), |bootstrap| bootstrap).await
}

fn configuration(who: &str) -> String {
    format!(
        "
identity: {{ who: {who} }}
tiers: {{ free: {{ limits: [ {{ name: tpm, count: tokens, per: who, max: 1000, window: 30d }} ] }} }}
"
    )
}

/// Returns a call that uses 20 tokens.
fn call() -> Request {
    chat_with("", json!({ "max_tokens": 10 })).header("x-mock-output-tokens", "10")
}

/// Returns how many calls this caller has made, including this one.
async fn calls(bench: &Bench, request: Request) -> u64 {
    let (response, body) = bench.json(request).await;
    assert_eq!(response.status(), 200, "{body}");
    (1000 - shown(&response)) / 20
}

#[tokio::test]
async fn a_header_tells_callers_apart_by_its_bytes() {
    let bench = start("{ header: X-User }").await;
    let by = |value: &[u8]| calls(&bench, call().header("x-user", value));
    assert_eq!(by(b"ada").await, 1);
    assert_eq!(by(b"eve").await, 1);
    assert_eq!(by(b"ada").await, 2);
    assert_eq!(by(b"Ada").await, 1, "values are not names: case matters");
    // Values that are not UTF-8 neither crash the filter nor share one budget.
    assert_eq!(by(b"\xff\xfe").await, 1);
    assert_eq!(by(b"\xff\xfd").await, 1);
    assert_eq!(by(b"\xff\xfe").await, 2);
    assert_eq!(by("\u{fffd}\u{fffd}".as_bytes()).await, 1);
    // Much longer than the value in a budget's key.
    assert_eq!(by(&[b'x'; 3000]).await, 1);
    assert_eq!(by(&[b'x'; 3001]).await, 1);
    assert_eq!(by(&[b'x'; 3000]).await, 2);
}

#[tokio::test]
async fn a_pseudo_header_tells_callers_apart_and_host_means_the_authority() {
    for (who, header) in [("host", "host"), (":authority", "host")] {
        let bench = start(&format!("{{ header: \"{who}\" }}")).await;
        let by = |host: &str| calls(&bench, call().header(header, host));
        assert_eq!((by("a.example.com").await, by("b.example.com").await), (1, 1), "{who}");
        assert_eq!(by("a.example.com").await, 2, "{who}");
    }
}

#[tokio::test]
async fn nothing_of_a_secret_leaves_the_filter() {
    let secret = "sk-7f3a-not-to-be-seen";
    let bench = start("{ header: authorization, scheme: Bearer, secret: true }").await;
    let by = |value: &str| call().header("authorization", value);
    assert_eq!(calls(&bench, by(&format!("Bearer {secret}"))).await, 1);
    assert_eq!(calls(&bench, by(&format!("bearer   {secret}"))).await, 2, "the scheme is not part of it");
    assert_eq!(calls(&bench, by("Bearer another")).await, 1);
    assert_eq!(calls(&bench, by(&format!("Basic {secret}"))).await, 1, "another scheme is no value");

    // A refusal logs the most details.
    let large = chat_with("", json!({ "messages": [{ "role": "user", "content": "word ".repeat(2000) }] }));
    let (refused, body) = bench.json(large.header("authorization", format!("Bearer {secret}"))).await;
    assert_eq!(refused.status(), 429);
    let line = bench.envoy.wait_for_log(r#""event":"refused""#).await;
    assert!(line.contains(r#""per":{"who":"hash:"#), "{line}");

    let mut seen = vec![format!("{:?} {body}", refused.headers()), bench.envoy.log()];
    seen.push(format!("{:?}", bench.envoy.wait_for_access_log(5).await));
    for page in ["/stats", "/stats/prometheus", "/config_dump", "/clusters", "/listeners?format=json"] {
        let mut response = client::send(bench.envoy.admin(), Request::get(page)).await.unwrap();
        assert_eq!(response.status(), 200, "{page}");
        seen.push(String::from_utf8_lossy(&response.body().await.unwrap()).into_owned());
    }
    for text in seen {
        assert!(!text.contains(secret) && !text.contains("7f3a"), "{text}");
    }
}

#[tokio::test]
async fn the_same_salt_gives_the_same_hash_in_every_process() {
    let salted = |salt: &str| format!("salt: {salt}\n{}", configuration("{ header: x-key, secret: true }"));
    let hash = async |salt: &str| {
        let bench = Bench::start(&salted(salt)).await;
        let large =
            chat_with("", json!({ "messages": [{ "role": "user", "content": "word ".repeat(2000) }] }));
        assert_eq!(bench.json(large.header("x-key", "k")).await.0.status(), 429);
        let line = bench.envoy.wait_for_log(r#""event":"refused""#).await;
        line.split_once("hash:").unwrap().1.chars().take(32).collect::<String>()
    };
    let (one, two, other) = tokio::join!(hash("fleet"), hash("fleet"), hash("other"));
    assert_eq!(one, two);
    assert_ne!(one, other);
}

#[tokio::test]
async fn the_first_of_several_sources_that_yields_a_value_decides() {
    let bench = start("{ any: [ { header: x-first }, { header: x-second } ], default: nobody }").await;
    assert_eq!(calls(&bench, call().header("x-first", "ada").header("x-second", "eve")).await, 1);
    assert_eq!(calls(&bench, call().header("x-second", "ada")).await, 2);
    assert_eq!(calls(&bench, call().header("x-first", "").header("x-second", "eve")).await, 1);
    assert_eq!(calls(&bench, call()).await, 1);
    assert_eq!(
        calls(&bench, call().header("x-second", "nobody")).await,
        2,
        "the default is a value like others"
    );
}

const HEADER_TO_METADATA: &str = r#"
- name: envoy.filters.http.header_to_metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config
    request_rules:
    - header: x-claim
      on_header_present: { metadata_namespace: rig.auth, key: sub, type: STRING }
      remove: true
- name: envoy.filters.http.set_metadata
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config
    metadata:
    - { metadata_namespace: rig.nested, value: { claims: { org: acme } } }
"#;

#[tokio::test]
async fn metadata_that_another_filter_has_set_is_read() {
    let who = "{ any: [ { metadata: [rig.auth, sub] }, { metadata: [rig.nested, claims, org] } ] }";
    let bench = Bench::with(Filter::yaml(&configuration(who)), |bootstrap| {
        bootstrap.filters_before(HEADER_TO_METADATA)
    })
    .await;
    assert_eq!(calls(&bench, call().header("x-claim", "ada")).await, 1);
    assert_eq!(calls(&bench, call().header("x-claim", "eve")).await, 1);
    assert_eq!(calls(&bench, call().header("x-claim", "ada")).await, 2);
    assert_eq!(calls(&bench, call()).await, 1);
    assert_eq!(calls(&bench, call().header("x-claim", "acme")).await, 2, "from inside a structure");
}

#[tokio::test]
async fn an_attribute_of_envoy_is_read() {
    let bench = start("{ property: [request, host] }").await;
    assert_eq!(calls(&bench, call().header("host", "a.example")).await, 1);
    assert_eq!(calls(&bench, call().header("host", "b.example")).await, 1);
    assert_eq!(calls(&bench, call().header("host", "a.example")).await, 2);
}

#[tokio::test]
async fn the_address_of_the_client_is_read_without_its_port() {
    let bench = start("{ source_ip: true }").await;
    // Every call has its own connection, and thus its own port.
    assert_eq!(calls(&bench, call()).await, 1);
    assert_eq!(calls(&bench, call()).await, 2);
    let forwarded = |address: &str| call().header("x-forwarded-for", address);
    assert_eq!(calls(&bench, forwarded("192.0.2.1")).await, 1);
    assert_eq!(calls(&bench, forwarded("2001:db8::1")).await, 1);
    assert_eq!(calls(&bench, forwarded("192.0.2.1")).await, 2);
}

#[tokio::test]
async fn callers_without_a_value_share_a_budget_or_are_turned_away() {
    let bench = start("{ header: x-user }").await;
    assert_eq!(calls(&bench, call()).await, 1);
    assert_eq!(calls(&bench, call().header("x-user", " ")).await, 2);
    assert_eq!(calls(&bench, call().header("x-user", "ada")).await, 1);

    let strict = format!("on_missing: {{ who: refuse }}\n{}", configuration("{ header: x-user }"));
    let bench = Bench::start(&strict).await;
    assert_eq!(calls(&bench, call().header("x-user", "ada")).await, 1);
    let (response, body) = bench.json(call()).await;
    assert_eq!(response.status(), 401);
    assert_eq!(
        body,
        json!({ "error": {
            "message": "The caller cannot be identified: no value for `who`.",
            "type": "authentication_error",
            "param": null,
            "code": "missing_identity",
        } })
    );
    bench.wait_for_calls("unidentified", 1).await;
    assert_eq!(bench.mock.received().len(), 1);
    // Only LLM calls must name a caller. Lists of models count as such, other pages do not.
    assert_eq!(bench.json(Request::get("/v1/models")).await.0.status(), 401);
    assert_eq!(bench.json(Request::get("/v1/files")).await.0.status(), 404);
}
