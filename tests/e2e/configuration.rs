//! Configurations: both carriers reach the filter, Envoy refuses and explains wrong ones, and new
//! ones keep the spent budget.

use serde_json::{Value, json};
use tollgate_rig::client::{Client, Request};
use tollgate_rig::envoy::{Bootstrap, Envoy, Filter, NotStarted};
use tollgate_rig::mock_llm::MockLlm;

use crate::bench::{Bench, bootstrap, chat_with};

const YAML: &str = "
identity:
  tenant: { header: x-tenant-id }
  api_key: { header: authorization, scheme: Bearer, secret: true }
salt: pepper
on_missing: { tenant: refuse }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: 9_000, window: 30d }
    - { name: spend, count: cost_usd, per: [tenant, api_key], max: 0.5, window: 1h, algorithm: fixed_window }
    - { name: large, count: input_tokens, max: 30_000_000_000, window: 1h, enforce: shadow }
warn_at: 0.75
counting: { weights: { output: 2, cached_input: 0.1 }, output_reserve: { learn: false } }
prices: [ { match: \"gpt-4o*\", input: 2.5, output: 10 } ]
";

/// Returns the same configuration as [`YAML`].
fn as_json() -> Value {
    json!({
        "identity": {
            "tenant": { "header": "x-tenant-id" },
            "api_key": { "header": "authorization", "scheme": "Bearer", "secret": true },
        },
        "salt": "pepper",
        "on_missing": { "tenant": "refuse" },
        "tiers": { "free": { "limits": [
            { "name": "tpm", "count": "tokens", "per": "tenant", "max": 9000, "window": "30d" },
            { "name": "spend", "count": "cost_usd", "per": ["tenant", "api_key"], "max": 0.5, "window": "1h", "algorithm": "fixed_window" },
            { "name": "large", "count": "input_tokens", "max": 30_000_000_000_u64, "window": "1h", "enforce": "shadow" },
        ] } },
        "warn_at": 0.75,
        "counting": { "weights": { "output": 2, "cached_input": 0.1 }, "output_reserve": { "learn": false } },
        "prices": [ { "match": "gpt-4o*", "input": 2.5, "output": 10 } ],
    })
}

#[tokio::test]
async fn both_carriers_give_the_same_behaviour() {
    let mut seen = Vec::new();
    for filter in [Filter::yaml(YAML), Filter::json(&as_json())] {
        let bench = Bench::with(filter, |bootstrap| bootstrap).await;
        let mut answers = Vec::new();
        for request in [
            chat_with("ada", json!({ "max_tokens": 100 })),
            chat_with("ada", json!({ "max_tokens": 4_000 })),
            chat_with("ada", json!({ "messages": [{ "role": "user", "content": "word ".repeat(9_000) }] })),
            Request::chat(&json!({})),
        ] {
            let (response, mut body) = bench.json(request.header("x-mock-output-tokens", "100")).await;
            let told = [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "ratelimit-policy",
                "x-should-retry",
            ]
            .map(|name| response.header(name).map(str::to_owned));
            if let Some(message) = body["error"]["message"].take().as_str() {
                // The wait differs between runs.
                answers.push(message.split("Please").next().unwrap().to_owned());
            }
            answers.push(format!("{} {told:?}", response.status()));
        }
        let costs = bench
            .envoy
            .wait_for_access_log(4)
            .await
            .into_iter()
            .map(|mut line| line["tollgate.cost_usd"].take());
        seen.push((answers, costs.collect::<Vec<_>>()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1[0], "0.001025");
}

/// A configuration with several errors; the report must list all of them and must not show the
/// secret.
const WRONG: &str = "
identity: { tenant: { heeder: x-tenant-id }, tier: { header: x-tier, default: gold } }
salt: [ hunter2 ]
on_missing: { tenant: maybe }
tiers:
  free:
    limits:
    - { name: tpm, count: tokens, per: tenant, max: -5, window: 1 fortnight }
    - { name: \"two words\", count: beans, max: 1, window: 1m }
warn_at: 80%
hold: perhaps
";

const EXPLAINED: &str = r#"the configuration is refused:
hold: "perhaps" is not one of auto, always, never
identity.tenant: needs one of header, metadata, property, source_ip, any
identity.tenant.heeder: is not a known option, did you mean `header`? (known here: header, scheme, metadata, property, source_ip, any, secret, default)
on_missing.tenant: "maybe" is not one of share, refuse
salt: a list is not a text
tiers.free.limits[0].max: -5 is not a whole number such as 50_000: it is negative
tiers.free.limits[0].window: "1 fortnight" is not a duration such as 30s, 1m, 1h, 1d
tiers.free.limits[1].count: "beans" is not one of requests, tokens, input_tokens, output_tokens, cost_usd, characters, audio_seconds, concurrent_requests, tool_calls
tiers.free.limits[1].name: "two words" is not a name of letters, digits, `_`, `-` and `.`, at most 64
warn_at: "80%" is not a fraction from 0 to 1"#;

fn explanation(log: &str) -> String {
    let start = log.find("the configuration is refused:").expect("an explanation in the log");
    log[start..]
        .lines()
        .take_while(|line| !line.starts_with("[20") || line.contains("refused"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn envoy_does_not_start_with_a_wrong_configuration_and_its_log_says_all_that_is_wrong() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let Err(NotStarted { log, .. }) =
        Envoy::try_start(Bootstrap::to(nowhere).filter(Filter::yaml(WRONG)).own_process()).await
    else {
        panic!("it was accepted")
    };
    assert_eq!(explanation(&log), EXPLAINED);
    assert!(!log.contains("hunter2"));
}

#[tokio::test]
async fn what_is_not_a_configuration_at_all_is_refused() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let not_an_object = "configuration: is text but not a JSON object, which begins with `{` (YAML goes in a google.protobuf.Struct)";
    for (text, expected) in [
        ("", "tiers: is missing, expected a map"),
        ("tiers:\n  free: {}", not_an_object),
        ("[]", not_an_object),
        (
            "{\"tiers\":{\"free\":{}}",
            "configuration: is not valid JSON: EOF while parsing an object at line 1 column 20",
        ),
        ("{\"tiers\":{\"free\":{}},\"tiers\":{\"free\":{}}}", "tiers: is given more than once"),
    ] {
        let filter = Bootstrap::to(nowhere).filter(Filter::text(text));
        let Err(NotStarted { log, .. }) = Envoy::try_start(filter).await else {
            panic!("{text:?} was accepted")
        };
        assert_eq!(explanation(&log), format!("the configuration is refused:\n{expected}"), "{text:?}");
    }
}

fn tokens(max: u64) -> String {
    format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
tiers: {{ free: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: {max}, window: 30d }} ] }} }}
"
    )
}

fn reloadable(mock: &MockLlm, configuration: &str) -> Bootstrap {
    bootstrap(mock.address(), Filter::yaml(configuration)).reloadable()
}

/// Sends a call and reads it to its end. Returns the remaining budget, or the status of a refusal.
async fn remaining(envoy: &Envoy, reserving: u64) -> Result<u64, u16> {
    let mut client = Client::http1(envoy.address()).await.unwrap();
    let request = chat_with("ada", json!({ "max_tokens": reserving }))
        .header("x-mock-output-tokens", reserving.to_string());
    let mut response = client.send(request).await.unwrap();
    response.body().await.unwrap();
    let told = response.header("x-ratelimit-remaining-tokens").map(|told| told.parse().unwrap());
    if response.status() == 200 { Ok(told.unwrap()) } else { Err(response.status()) }
}

#[tokio::test]
async fn a_wrong_reload_is_refused_and_the_configuration_before_keeps_serving() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(reloadable(&mock, &tokens(1_000))).await;
    // Ten tokens of prompt and ten of answer.
    assert_eq!(remaining(&envoy, 10).await, Ok(980));

    assert!(!envoy.reload(&reloadable(&mock, WRONG)).await);

    envoy.wait_for_log("warn_at: \"80%\" is not").await;
    assert_eq!(remaining(&envoy, 10).await, Ok(960));
    assert_eq!(remaining(&envoy, 10).await, Ok(940));
}

/// Returns the same configuration with more options of the limit.
fn tokens_with(max: u64, options: &str) -> String {
    tokens(max).replace("window: 30d", &format!("window: 30d, {options}"))
}

#[tokio::test]
async fn a_reload_changes_limits_and_keeps_what_was_spent() {
    const ALGORITHMS: [&str; 3] = ["token_bucket", "sliding_window", "fixed_window"];
    for (position, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let mock = MockLlm::start().await;
        let of = |max| reloadable(&mock, &tokens_with(max, &format!("algorithm: {algorithm}")));
        let envoy = Envoy::start(of(1_000)).await;
        assert_eq!(remaining(&envoy, 190).await, Ok(800), "{algorithm}");

        // Usage stays charged under the new size: 200 tokens, then 20 more.
        assert!(envoy.reload(&of(5_000)).await);
        assert_eq!(remaining(&envoy, 10).await, Ok(4_780), "{algorithm}, raised");
        assert!(envoy.reload(&of(100)).await);
        assert_eq!(remaining(&envoy, 10).await, Err(429), "{algorithm}, lowered");

        // Another algorithm keeps it too.
        let other = ALGORITHMS[(position + 1) % ALGORITHMS.len()];
        let changed = tokens_with(1_000, &format!("algorithm: {other}"));
        assert!(envoy.reload(&reloadable(&mock, &changed)).await);
        assert_eq!(remaining(&envoy, 10).await, Ok(760), "{algorithm}, then {other}");
    }
}

#[tokio::test]
async fn a_reload_of_burst_or_window_keeps_what_was_spent_and_one_of_whom_it_is_per_does_not() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(reloadable(&mock, &tokens(1_000))).await;
    assert_eq!(remaining(&envoy, 190).await, Ok(800));

    assert!(envoy.reload(&reloadable(&mock, &tokens_with(1_000, "burst: 3_000"))).await);
    assert_eq!(remaining(&envoy, 10).await, Ok(2_780));
    assert!(envoy.reload(&reloadable(&mock, &tokens(1_000).replace("30d", "60d"))).await);
    assert_eq!(remaining(&envoy, 10).await, Ok(760));
    assert!(
        envoy.reload(&reloadable(&mock, &tokens(1_000).replace("per: tenant", "per: [tenant, api]"))).await
    );
    assert_eq!(remaining(&envoy, 10).await, Ok(980), "other budgets");
}

/// `tollgate check` must read YAML as Envoy does; `cli/src/carrier.rs` uses the same files.
#[tokio::test]
async fn envoy_makes_of_scalars_what_the_check_of_configurations_takes_them_for() {
    let written = include_str!("../../cli/tests/carriers/envoy.yaml").replace('\n', "\n        ");
    let expected: Value = serde_json::from_str(include_str!("../../cli/tests/carriers/envoy.json")).unwrap();
    let cluster = format!(
        "- name: scalars
  type: STATIC
  load_assignment: {{ cluster_name: scalars }}
  metadata:
    filter_metadata:
      scalars:
        {written}
"
    );
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let envoy = Envoy::start(Bootstrap::to(nowhere).clusters(&cluster).own_process()).await;

    let dump = envoy.admin_json("/config_dump?resource=static_clusters").await;

    let mut clusters = dump["configs"].as_array().unwrap().iter().map(|config| &config["cluster"]);
    let scalars = clusters.find(|cluster| cluster["name"] == "scalars").unwrap();
    assert_eq!(scalars["metadata"]["filter_metadata"]["scalars"], expected);
}

#[tokio::test]
async fn a_stream_that_is_under_way_is_settled_under_the_configuration_it_began_with() {
    let mock = MockLlm::start().await;
    let envoy = Envoy::start(reloadable(&mock, &tokens(1_000))).await;
    let mut client = Client::http1(envoy.address()).await.unwrap();
    let request = chat_with("ada", json!({ "stream": true, "max_tokens": 40 }))
        .header("x-mock-output-tokens", "40")
        .header("x-mock-chunk-delay-ms", "10");
    let mut stream = client.send(request).await.unwrap();
    stream.chunk().await.unwrap();

    assert!(envoy.reload(&reloadable(&mock, &tokens(2_000))).await);

    assert!(stream.transcript().await.unwrap().is_done());
    let line = envoy.wait_for_access_log(1).await.remove(0);
    assert_eq!(
        (&line["tollgate.input_tokens.used"], &line["tollgate.output_tokens.used"]),
        (&json!("10"), &json!("40"))
    );
    assert_eq!(remaining(&envoy, 10).await, Ok(2_000 - 50 - 20));
}
