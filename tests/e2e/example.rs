//! The published examples work: `envoy/envoy.yaml`, `envoy/envoy-global.yaml`,
//! `examples/compose.yaml`, and the filter in `README.md`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::{Bootstrap, DIR, Envoy, binary, example, example_global, wasm_module};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::tokens::Counter;
use tollgate_rig::rate_limits::{Limit, ScriptedService};

use crate::bench::{FACTS, STATS_TAGS, chat, chat_with};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_files_as_they_are_suit_envoy_from_the_repositorys_root() {
    for file in ["envoy/envoy.yaml", "envoy/envoy-global.yaml"] {
        suits_envoy(file);
    }
}

fn suits_envoy(file: &str) {
    let output =
        Command::new(binary()).args(["--mode", "validate", "-c", file]).current_dir(ROOT).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    // An example must not cause warnings, such as those about deprecated fields.
    assert!(!log.contains("[warning]"), "{log}");
}

#[tokio::test]
async fn their_stats_tags_and_access_logs_are_those_of_the_tests() {
    let mock = MockLlm::start().await;
    let ours = Bootstrap::to(mock.address()).stats_tags(STATS_TAGS).log_filter_state(&FACTS).own_process();
    let ours = bootstrap(&Envoy::start(ours).await).await;
    for example in [example(mock.address()), example_global(mock.address(), mock.address())] {
        let example = bootstrap(&Envoy::start(example).await).await;

        assert!(ours["stats_config"].is_object());
        assert_eq!(example["stats_config"], ours["stats_config"]);
        let (ours, example) = (ours.to_string(), example.to_string());
        for fact in FACTS {
            let shown = format!("\"{fact}\":\"%FILTER_STATE(wasm.{fact}:PLAIN)%\"");
            assert!(ours.contains(&shown) && example.contains(&shown), "{shown}");
        }
    }
}

#[tokio::test]
async fn the_one_for_several_envoys_asks_its_service_for_the_global_limits() {
    let mock = MockLlm::start().await;
    let day = Duration::from_secs(24 * 3_600);
    let limits = [Limit::new("free/day", 200_000, day), Limit::new("free/spend", 500_000, day)];
    let service = ScriptedService::start(limits);
    let envoy = Envoy::start(example_global(mock.address(), service.address())).await;

    let call = chat_with("acme", json!({ "model": "gpt-4o-mini", "max_tokens": 100 }));
    let response = client::send(envoy.address(), call).await.unwrap();

    assert_eq!((response.status(), response.header("x-ratelimit-limit-tokens")), (200, Some("200000")));
    let asked = service.requests().remove(0);
    let entries: Vec<_> = (0..asked.request.descriptors.len()).map(|index| asked.entries(index)).collect();
    let of = |limit| vec![("tollgate_limit", limit), ("tenant", "acme")];
    assert_eq!(
        (asked.request.domain.as_str(), entries),
        ("tollgate", vec![of("free/day"), of("free/spend")])
    );
}

#[test]
fn what_the_containers_mount_is_there_and_their_envoys_accept_their_configuration() {
    let text = std::fs::read_to_string(format!("{ROOT}/examples/compose.yaml")).unwrap();
    let compose: Value = serde_saphyr::from_str(&text).unwrap();
    let services = compose["services"].as_object().unwrap();
    // The volumes of all services, and of their common part.
    let parts = services.values().chain([&compose["x-envoy"]]);
    let volumes = parts.flat_map(|part| part["volumes"].as_array().into_iter().flatten());
    let mounted: Vec<_> = volumes.filter_map(|volume| volume.as_str()?.split(':').next()).collect();
    for file in mounted.iter().filter(|name| name.starts_with('.')) {
        assert!(Path::new(ROOT).join("examples").join(file).exists(), "{file}");
    }
    assert!(mounted.len() > 3, "{mounted:?}");
    assert_eq!(compose["x-envoy"]["image"], format!("envoyproxy/envoy:v{}", envoy_version()));

    // The same script, with the paths of this machine.
    let dir = tempfile::tempdir().unwrap();
    let written = dir.path().join("envoy.yaml");
    let written = written.to_str().unwrap();
    let script = compose["x-envoy"]["command"][0].as_str().unwrap();
    let (edit, run) = script.split_once("exec ").unwrap();
    assert_eq!(run.trim(), "envoy -c /tmp/envoy.yaml");
    let edit = edit
        .replace("/etc/envoy/envoy-global.yaml", "envoy/envoy-global.yaml")
        .replace("/tmp/envoy.yaml", written)
        .replace("|/etc/envoy/tollgate.wasm|", &format!("|{}|", wasm_module().display()));
    let status = Command::new("sh").args(["-ec", &edit]).current_dir(ROOT).status().unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(written).unwrap();
    for (address, count) in [("0.0.0.0", 2), ("llm", 1), ("ratelimit", 1), ("127.0.0.1", 0)] {
        assert_eq!(text.matches(&format!("address: {address}, ")).count(), count, "{address}");
    }
    suits_envoy(written);
}

/// Returns the version of Envoy that the tests run.
fn envoy_version() -> String {
    std::fs::read_to_string(format!("{ROOT}/.envoy-version")).unwrap().trim().to_owned()
}

#[tokio::test]
async fn with_its_snippet_for_tokens_clients_cannot_choose_who_they_are() {
    let mock = MockLlm::start().await;
    let mut setup = example(mock.address());
    setup.bootstrap = uncommented(&setup.bootstrap, "- name: remove_identity")
        .replace("/etc/envoy/jwks.json", &format!("{DIR}/jwks.json"));
    let jwks = json!({ "keys": [{ "kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(KEY) }] });
    setup.files.push(("jwks.json".to_owned(), jwks.to_string()));
    let envoy = Envoy::start(setup).await;
    let claims = |tier: Value| json!({ "iss": "https://login.example.com", "aud": "llm", "sub": "7", "tenant": "acme", "tier": tier });
    let spoofed = || chat("other").header("x-tier", "pro").header("x-user-id", "8");

    let refused = client::send(envoy.address(), spoofed()).await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(mock.received().is_empty());

    // If a token lacks the claim, Envoy still removes the client's header of that name.
    for (tier, told, limit) in [(json!("pro"), Some("pro"), "100000"), (Value::Null, None, "10000")] {
        let bearer = format!("Bearer {}", token(&claims(tier)));
        let allowed = client::send(envoy.address(), spoofed().header("authorization", bearer)).await.unwrap();
        assert_eq!((allowed.status(), allowed.header("x-ratelimit-limit-tokens")), (200, Some(limit)));
        let received = mock.received().pop().unwrap();
        let headers = ["x-tenant-id", "x-user-id", "x-tier"].map(|name| received.header(name));
        assert_eq!(headers, [Some("acme"), Some("7"), told]);
    }
}

#[tokio::test]
async fn the_readmes_filter_limits_in_both_carriers_and_without_the_flag() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let (_, section) = readme.split_once("## In your own Envoy").unwrap();
    let blocks: Vec<&str> =
        section.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let (rest, as_struct) = blocks[0].split_at(blocks[0].find("      configuration:").unwrap());
    let as_json = blocks[1];
    let mock = MockLlm::start().await;
    for (configuration, flag) in [(as_struct, true), (as_json, true), (as_struct, false)] {
        let filter = format!("{rest}{configuration}")
            .replace("/etc/envoy/tollgate.wasm", &wasm_module().display().to_string())
            .replace("stop_iteration: true", &format!("stop_iteration: {flag}"))
            // A window long enough that almost nothing refills during the test.
            .replace("1m", "30d");
        let envoy =
            Envoy::start(Bootstrap::to(mock.address()).filters_before(&filter).keep_compiled(&wasm_module()))
                .await;
        let call = |members| chat_with("acme", members).header("x-mock-output-tokens", "30");

        let streamed = call(json!({ "stream": true, "max_tokens": 100 }));
        let transcript = client::send(envoy.address(), streamed).await.unwrap().transcript().await.unwrap();
        assert!(transcript.is_done() && transcript.usage().is_none());
        let response = client::send(envoy.address(), call(json!({ "max_tokens": 100 }))).await.unwrap();

        let prompt = Counter::for_model("gpt-4o").chat(&mock.received()[0].json());
        let left = 10_000 - (prompt + 30) - (prompt + 100);
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some(&*left.to_string()), "{filter}");
    }
}

const KEY: &[u8] = b"a key of thirty-two bytes or more";

/// Returns a JSON Web Token, signed with `KEY` (RFC 7515, HS256).
fn token(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let signed = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// Returns the file with one comment uncommented: from the line that begins with `first` to the
/// comment's end.
fn uncommented(yaml: &str, first: &str) -> String {
    let mut inside = false;
    let lines = yaml.lines().map(|line| {
        let comment = line.trim_start().strip_prefix('#').map(|text| text.strip_prefix(' ').unwrap_or(text));
        inside = comment.is_some_and(|text| inside || text == first);
        match comment {
            Some(text) if inside => format!("{}{text}", &line[..line.len() - line.trim_start().len()]),
            _ => line.to_owned(),
        }
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    assert_ne!(text, yaml, "no comment begins with {first:?}");
    text
}

/// Returns the bootstrap as Envoy parsed it.
async fn bootstrap(envoy: &Envoy) -> Value {
    let mut response = client::send(envoy.admin(), Request::get("/config_dump")).await.unwrap();
    let mut dump = response.json().await.unwrap();
    let configs = dump["configs"].as_array_mut().unwrap();
    configs.iter_mut().map(|config| config["bootstrap"].take()).find(|found| !found.is_null()).unwrap()
}
