//! The providers' own Python clients before the filter: they get their answers, over budget their own error and the
//! wait, and the end of a stream that is stopped as that of any other.
//!
//! In: the scripts of `tests/sdk`, run in the environment that `make sdks` sets up; each prints what its client saw. Out: nothing. Not here:
//! what the bytes look like (`refusals`, `apis`); here it only matters what the clients make of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tollgate_rig::client::{self, Request};
use tollgate_rig::envoy::{Filter, finisher};
use tollgate_rig::mock_llm::{Ending, Received};

use crate::bench::{Bench, chat};

/// What callers may spend who are to get their answers; none of it comes back within a test.
const BUDGET: u64 = 10_000;

/// A tier for each test.
const TIERS: &str = "
identity: { tenant: { header: x-tenant-id }, tier: { header: x-tier, default: roomy } }
counting: { output_reserve: { at_most: 1 } }
tiers:
  roomy: { limits: [ { name: tpm, count: tokens, per: tenant, max: 10_000, window: 30d } ] }
  tight: { limits: [ { name: tpm, count: tokens, per: tenant, max: 1000, window: 10s } ] }
  quick: { limits: [ { name: burst, count: tokens, per: tenant, max: 100, window: 2s } ] }
  soft: { extends: roomy, soften: [ { at: 0.5, model: { gpt-4o: gpt-4o-mini, \"claude-opus-*\": claude-haiku-4-5 } } ] }
  clamped: { extends: roomy, clamp_output: true }
  mail: { limits: [ { name: mail, count: tool_calls, tools: [send_email], per: tenant, max: 1, window: 30d } ] }
";

/// A call by one of the clients.
#[derive(Clone, Copy, Debug)]
struct Api {
    /// As the script calls it; the tenant, too.
    name: &'static str,
    script: &'static str,
    path: &'static str,
    /// What the script is told to be where the API is.
    base: &'static str,
    /// The members of usage that are charged.
    charged: &'static [&'static str],
}

const CHAT: Api = Api {
    name: "chat",
    script: "openai_client.py",
    path: "/v1/chat/completions",
    base: "/v1",
    charged: &["prompt_tokens", "completion_tokens"],
};

const RESPONSES: Api = Api {
    name: "responses",
    script: "openai_client.py",
    path: "/v1/responses",
    base: "/v1",
    charged: &["input_tokens", "output_tokens"],
};

const EMBEDDINGS: Api = Api {
    name: "embeddings",
    script: "openai_client.py",
    path: "/v1/embeddings",
    base: "/v1",
    charged: &["prompt_tokens"],
};

const MESSAGES: Api = Api {
    name: "messages",
    script: "anthropic_client.py",
    path: "/v1/messages",
    base: "",
    charged: &["input_tokens", "output_tokens"],
};

const GEMINI: Api = Api {
    name: "gemini",
    script: "google_client.py",
    path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    base: "",
    charged: &["prompt_token_count", "candidates_token_count"],
};

const CONVERSE: Api = Api {
    name: "converse",
    script: "bedrock_client.py",
    path: "/model/amazon.nova-lite-v1%3A0/converse-stream",
    base: "",
    charged: &["inputTokens", "outputTokens"],
};

const INVOKE: Api = Api {
    name: "invoke",
    script: "bedrock_client.py",
    path: "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
    base: "",
    charged: &["input_tokens", "output_tokens"],
};

const COHERE: Api = Api {
    name: "cohere",
    script: "cohere_client.py",
    path: "/v2/chat",
    base: "",
    charged: &["input_tokens", "output_tokens"],
};

const OLLAMA: Api = Api {
    name: "ollama",
    script: "ollama_client.py",
    path: "/api/chat",
    base: "",
    charged: &["input_tokens", "output_tokens"],
};

impl Api {
    /// Runs a scenario against what listens at `address` and reads what the client saw.
    async fn run(self, scenario: &'static str, address: SocketAddr, headers: &[(&str, &str)]) -> Value {
        self.run_with(scenario, address, headers, &[]).await
    }

    /// The same for a client that offers tools.
    async fn run_with(
        self,
        scenario: &'static str,
        address: SocketAddr,
        headers: &[(&str, &str)],
        tools: &[&str],
    ) -> Value {
        let Self { name, script, base, .. } = self;
        let mut arguments = vec![format!("http://{address}{base}"), scenario.to_owned()];
        arguments.extend(["--api".to_owned(), name.to_owned()]);
        for (name, value) in headers {
            arguments.extend(["--header".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend(tools.iter().flat_map(|tool| ["--tool".to_owned(), (*tool).to_owned()]));
        output(script, arguments).await
    }
}

/// Runs a script of `tests/sdk` and reads what it prints.
pub(crate) async fn output(script: &'static str, arguments: Vec<String>) -> Value {
    let mut command = Command::new(python());
    command
        .arg(in_repository("tests/sdk").join(script))
        .args(&arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Whatever proxy this machine has, the call goes to this machine.
        .env("NO_PROXY", "*");
    let run = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    let output = run.unwrap_or_else(|error| panic!("{script} cannot be run: {error}; {HOW_TO_GET_THEM}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {complaint}\n{HOW_TO_GET_THEM}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const HOW_TO_GET_THEM: &str = "`make sdks` installs the official Python clients into .venv/";

/// The interpreter that has the clients.
fn python() -> PathBuf {
    // What `scripts/sdks.sh` leaves behind when all is installed.
    let installed = std::fs::read_to_string(in_repository(".venv/sdks.txt")).unwrap_or_default();
    let wanted = include_str!("../sdk/requirements.txt");
    assert!(
        installed == wanted,
        "the Python clients of tests/sdk/requirements.txt are missing: {HOW_TO_GET_THEM}"
    );
    in_repository(".venv/bin/python")
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A call that leaves its tenant's budget, if it was full, this far below zero.
fn debt(tier: &str, tenant: &str, max: u64, below_zero: u64) -> Request {
    let usage = json!({ "prompt_tokens": 0, "completion_tokens": max + below_zero });
    let request = chat(tenant).header("x-tier", tier);
    request.header("x-mock-usage", usage.to_string())
}

impl Bench {
    /// What the mock makes of a request that came through Envoy, when it comes straight.
    async fn again(&self, received: &Received) -> Value {
        let request = Request::post(received.uri.path()).body(received.body.clone());
        let request =
            request.header("x-mock-output-tokens", received.header("x-mock-output-tokens").unwrap());
        client::send(self.mock.address(), request).await.unwrap().json().await.unwrap()
    }

    /// The filter's own word on the refusal of a tenant.
    async fn refusal_of(&self, tier: &str, tenant: &str) -> Value {
        let end = format!(r#""per":{{"tenant":"{tenant}"}},"tier":"{tier}","wait_ms""#);
        let line = self.envoy.wait_for_log(&end).await;
        let json = &line[line.find(r#"{"api""#).unwrap()..=line.rfind('}').unwrap()];
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json}"))
    }
}

/// Asks once and once streamed, each as a tenant who has spent so much: what the client saw.
async fn both(bench: &Bench, api: Api, tier: &str, spent: u64) -> [Value; 2] {
    let seen = |scenario: &'static str| async move {
        let tenant = format!("{}-{scenario}", api.name);
        bench.spend(tier, &tenant, spent).await;
        let headers = [("x-tenant-id", &*tenant), ("x-tier", tier), ("x-mock-output-tokens", "50")];
        api.run(scenario, bench.envoy.address(), &headers).await
    };
    let seen = tokio::join!(seen("ask"), seen("stream"));
    for seen in [&seen.0, &seen.1] {
        assert_eq!(seen["succeeded"], true, "{seen}");
        assert!(!seen["text"].as_str().unwrap().is_empty(), "{seen}");
    }
    seen.into()
}

#[tokio::test]
async fn a_softened_call_is_one_as_any_other_by_the_model_that_answers() {
    let bench = Bench::start(TIERS).await;
    for (api, model, end) in [
        (CHAT, "gpt-4o-mini", "stop"),
        (RESPONSES, "gpt-4o-mini", "completed"),
        (MESSAGES, "claude-haiku-4-5", "end_turn"),
    ] {
        for seen in both(&bench, api, "soft", BUDGET / 2).await {
            assert_eq!((&seen["model"], &seen["reason"]), (&json!(model), &json!(end)), "{seen}");
        }
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "model")], 6).await;
}

#[tokio::test]
async fn a_clamped_call_ends_for_its_length() {
    let bench = Bench::start(TIERS).await;
    for (api, end) in [(CHAT, "length"), (RESPONSES, "incomplete"), (MESSAGES, "max_tokens")] {
        for seen in both(&bench, api, "clamped", BUDGET - 45).await {
            assert_eq!(seen["reason"], end, "{seen}");
        }
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "clamp_output")], 6).await;
}

#[tokio::test]
async fn a_call_whose_tool_is_taken_out_is_answered() {
    let bench = Bench::start(TIERS).await;
    let send = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send_email"}}"#;
    for api in [CHAT, RESPONSES, MESSAGES] {
        let headers = [("x-tenant-id", api.name), ("x-tier", "mail")];
        let request =
            headers.iter().fold(Request::post("/mcp"), |request, (name, value)| request.header(name, value));
        bench.json(request.body(send)).await;
        let seen = api.run_with("ask", bench.envoy.address(), &headers, &["send_email", "look"]).await;
        assert_eq!(seen["succeeded"], true, "{seen}");
        let received = bench.mock.received().pop().unwrap();
        let tools = received.json()["tools"].as_array().unwrap().clone();
        assert_eq!(tools.len(), 1, "{tools:?}");
        assert!(tools[0].to_string().contains("\"look\""), "{tools:?}");
    }
    bench.wait_for_count("tollgate_softened_total", &[("kind", "hide_tool")], 3).await;
}

/// Asks once and, where the API has it, once streamed.
async fn answers(bench: &Bench, api: Api) {
    let is_streamed = api.name != EMBEDDINGS.name;
    let scenario = |scenario, tenant: String| async move {
        let headers = [("x-tenant-id", &*tenant), ("x-mock-output-tokens", "30")];
        api.run(scenario, bench.envoy.address(), &headers).await
    };
    let (ask, stream) = (format!("{}-ask", api.name), format!("{}-stream", api.name));
    let (asked, streamed) = tokio::join!(scenario("ask", ask.clone()), async {
        if is_streamed { Some(scenario("stream", stream.clone()).await) } else { None }
    });

    assert_eq!(asked["succeeded"], true, "{asked}");
    let received = bench.mock.received();
    let by = |tenant: &str| received.iter().find(|call| call.header("x-tenant-id") == Some(tenant)).unwrap();
    let answer = bench.again(by(&ask)).await;
    assert_eq!(asked["usage"], answer["usage"], "{}", api.name);
    let used = |usage: &Value| api.charged.iter().map(|class| usage[class].as_u64().unwrap()).sum::<u64>();
    let used = used(&answer["usage"]);
    assert!(used > 0, "{answer}");
    assert_eq!(bench.left(&ask).await, BUDGET - used, "{}", api.name);

    let Some(streamed) = streamed else {
        // This client asks for numbers as base64, and makes four bytes a number.
        let vector = STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
        assert_eq!(asked["dimensions"], json!(vector.len() / 4));
        return;
    };
    let text = [
        "/choices/0/message/content",
        "/output/0/content/0/text",
        "/content/0/text",
        "/output/message/content/0/text",
    ];
    let text = text.iter().find_map(|text| answer.pointer(text)).unwrap();
    assert_eq!(&asked["text"], text, "{}", api.name);
    assert_eq!(streamed["succeeded"], true, "{streamed}");
    assert_eq!(&streamed["text"], text, "{}", api.name);
    assert_eq!(streamed["pieces"].as_array().unwrap().len(), 30, "{streamed}");
    // Only chat has to be asked for usage, and this client did not ask.
    assert_eq!(streamed["usage_seen"], api.name != CHAT.name, "{streamed}");
    for class in api.charged.iter().filter(|_| api.name != CHAT.name) {
        assert_eq!(streamed["usage"][class], answer["usage"][class], "{streamed}");
    }
    assert_eq!(bench.left(&stream).await, BUDGET - used, "{} streamed", api.name);
}

#[tokio::test]
async fn openais_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(answers(&bench, CHAT), answers(&bench, RESPONSES), answers(&bench, EMBEDDINGS));
}

#[tokio::test]
async fn anthropics_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    answers(&bench, MESSAGES).await;
}

#[tokio::test]
async fn amazons_client_gets_its_answers() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(answers(&bench, CONVERSE), answers(&bench, INVOKE));
}

/// Calls with a debt that takes 20 s to pay.
async fn is_over_budget(bench: &Bench, api: Api) {
    let (paid, body) = bench.json(debt("tight", api.name, 1000, 2000)).await;
    assert_eq!(paid.status(), 200, "{body}");
    let headers = [("x-tenant-id", api.name), ("x-tier", "tight")];
    let seen = api.run("over_budget", bench.envoy.address(), &headers).await;
    let elapsed = paid.started().elapsed();

    let error = (&seen["succeeded"], &seen["error"], &seen["status"]);
    assert_eq!(error, (&json!(false), &json!("RateLimitError"), &json!(429)), "{seen}");
    let refusal = bench.refusal_of("tight", api.name).await;
    let (wait, needed) = (refusal["wait_ms"].as_u64().unwrap(), refusal["needed"].as_u64().unwrap());
    // A hundred tokens a second come back.
    let longest = (2000 + needed) * 10;
    let since = u64::try_from(elapsed.as_millis()).unwrap();
    assert!((longest.saturating_sub(since)..=longest).contains(&wait), "{refusal} {since} ms after the debt");
    // As much as a second of jitter is added.
    let told: u64 = seen["retry_after"].as_str().unwrap().parse().unwrap();
    assert!((wait.div_ceil(1000)..=(wait + 1000).div_ceil(1000)).contains(&told), "{seen} {refusal}");
    let message = seen["message"].as_str().unwrap();
    let limit =
        format!("on tokens per tenant (limit `tpm`): Limit 1000 per 10s, Available 0, Requested {needed}.");
    let (_, advice) = message.split_once(&limit).unwrap_or_else(|| panic!("{message}"));
    let advice = advice.strip_prefix(" Please try again in ").unwrap().split_once("s.").unwrap().0;
    assert_eq!(advice.parse::<f64>().unwrap().ceil(), told as f64, "{seen}");
}

#[tokio::test]
async fn over_budget_the_clients_raise_their_own_error_with_the_wait() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(
        is_over_budget(&bench, CHAT),
        is_over_budget(&bench, RESPONSES),
        is_over_budget(&bench, EMBEDDINGS),
        is_over_budget(&bench, MESSAGES)
    );
    assert_eq!(bench.mock.received().len(), 4, "no refused call reaches the upstream");
}

/// A way to Envoy on which the first connection has to wait until its tenant has got into debt: starting Python takes longer than a
/// small budget takes to recover.
async fn gate(bench: &Bench, listener: &TcpListener, tenant: &str) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 0.. {
        let (mut client, _) = listener.accept().await.unwrap();
        if number == 0 {
            let (paid, body) = bench.json(debt("quick", tenant, 100, 50)).await;
            assert_eq!(paid.status(), 200, "{body}");
        }
        let mut envoy = TcpStream::connect(bench.envoy.address()).await.unwrap();
        connections.spawn(async move { drop(copy_bidirectional(&mut client, &mut envoy).await) });
    }
}

/// Calls with a debt that takes a second to pay and a budget that is refilled in two.
async fn waits_and_succeeds(bench: &Bench, api: Api) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let headers = [("x-tenant-id", api.name), ("x-tier", "quick")];
    let address = listener.local_addr().unwrap();
    let seen = tokio::select! {
        seen = api.run("retry", address, &headers) => seen,
        () = gate(bench, &listener, api.name) => unreachable!("it stays open"),
    };

    assert_eq!(seen["succeeded"], true, "{seen}");
    let refusal = bench.refusal_of("quick", api.name).await;
    let (wait, needed) = (refusal["wait_ms"].as_f64().unwrap() / 1000.0, refusal["needed"].as_f64().unwrap());
    assert!(wait > needed / 50.0, "{wait} s to get {needed} tokens and out of debt at 50 tokens a second");
    let seconds = seen["seconds"].as_f64().unwrap();
    // Two more tries without regard to what they are told would have been over after two seconds.
    assert!((wait..wait + 20.0).contains(&seconds), "{seconds} s, told to wait {wait} s");
    let log = bench.envoy.wait_for_access_log(2).await;
    let refused = log.iter().filter(|call| call["path"] == api.path && call["status"] == 429).count();
    assert_eq!(refused, 1, "it came back once, when it was time: {log:?}");
}

#[tokio::test]
async fn the_clients_wait_as_told_and_succeed_by_themselves() {
    let bench = Bench::start(TIERS).await;
    tokio::join!(waits_and_succeeds(&bench, CHAT), waits_and_succeeds(&bench, MESSAGES));
}

/// Streams fifty tokens to a tenant who has forty.
async fn is_stopped(upstream: &str, filters: &str, api: Api, reason: &str) {
    let configuration = format!(
        "
identity: {{ tenant: {{ header: x-tenant-id }} }}
streams: {{ stop_at_limit: true, upstream: {upstream} }}
counting: {{ output_reserve: {{ at_most: 0.1 }} }}
tiers: {{ free: {{ limits: [ {{ name: tpm, count: tokens, per: tenant, max: 40, window: 30d }} ] }} }}
"
    );
    let bench =
        Bench::with(Filter::yaml(&configuration), |bootstrap| bootstrap.filters_before(filters)).await;
    let headers = [("x-tenant-id", api.name), ("x-mock-output-tokens", "50"), ("x-mock-chunk-delay-ms", "5")];
    let seen = api.run("stream", bench.envoy.address(), &headers).await;
    assert_eq!((&seen["succeeded"], &seen["reason"]), (&json!(true), &json!(reason)), "{seen}");
    let pieces = seen["pieces"].as_array().unwrap().len();
    assert!((20..50).contains(&pieces), "{seen}");
    bench.wait_for_calls("stopped", 1).await;
    let ending = bench.mock.received()[0].ended().await;
    assert_eq!(ending, if upstream == "reset" { Ending::Aborted } else { Ending::Finished });
}

#[tokio::test]
async fn clients_end_a_stream_that_a_finisher_ends_as_any_other() {
    let finisher = finisher();
    tokio::join!(
        is_stopped("reset", &finisher, CHAT, "length"),
        is_stopped("reset", &finisher, RESPONSES, "incomplete"),
        is_stopped("reset", &finisher, MESSAGES, "max_tokens"),
        is_stopped("reset", &finisher, GEMINI, "MAX_TOKENS"),
        is_stopped("reset", &finisher, CONVERSE, "max_tokens"),
        is_stopped("reset", &finisher, INVOKE, "max_tokens"),
        is_stopped("reset", &finisher, COHERE, "MAX_TOKENS"),
        is_stopped("reset", &finisher, OLLAMA, "length"),
    );
}

#[tokio::test]
async fn clients_that_read_up_to_done_end_a_stopped_stream_as_any_other() {
    tokio::join!(
        is_stopped("reset", "", CHAT, "length"),
        is_stopped("reset", "", RESPONSES, "incomplete"),
        is_stopped("reset", "", COHERE, "MAX_TOKENS"),
    );
}

#[tokio::test]
async fn clients_that_read_on_to_the_end_of_the_body_end_a_drained_stream_as_any_other() {
    tokio::join!(
        is_stopped("drain", "", MESSAGES, "max_tokens"),
        is_stopped("drain", "", GEMINI, "MAX_TOKENS"),
        is_stopped("drain", "", CONVERSE, "max_tokens"),
        is_stopped("drain", "", INVOKE, "max_tokens"),
        is_stopped("drain", "", OLLAMA, "length"),
    );
}
