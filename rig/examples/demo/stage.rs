//! The stage: mock, Envoy with Tollgate, and the calls that are made between them.
//!
//! In: who calls and with what. Out: a [`Call`] as it went, with what Envoy's access log says of it. What must be true of every
//! call is checked here: tokens, money and the budget that is left, all against the mock's own counter. Not here: which
//! calls there are (`scenes`), how they are shown (`report`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{self, Request, Response};
use tollgate_rig::demo::{Checks, Style};
use tollgate_rig::envoy::{Envoy, example};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::tokens::Counter;

/// The model that all calls ask for.
pub(crate) const MODEL: &str = "gpt-4o-mini";

/// Its price in `envoy/envoy.yaml`: billionths of a dollar for a token of input and of output.
const PRICE: (u64, u64) = (150, 600);

/// A caller, with the tokens that `envoy/envoy.yaml` lets its tier use in a minute (limit `tpm`).
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) tenant: &'static str,
    pub(crate) tier: &'static str,
    pub(crate) per_minute: u64,
}

/// What the model does, in tokens.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// It answers as one document.
    Json(u64),
    /// It streams.
    Stream(u64),
    /// It streams slowly, and the client hangs up when it has `read`.
    HungUp { written: u64, read: u64 },
    /// It fails with this status.
    Fails(u16),
    /// It is not expected to be asked.
    Unasked,
}

/// A call to be made.
pub(crate) struct Ask<'a> {
    pub(crate) caller: Option<Caller>,
    pub(crate) prompt: &'a str,
    pub(crate) max_tokens: u64,
    pub(crate) answer: Answer,
}

/// A call as it went.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) caller: Option<Caller>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, where it is JSON.
    pub(crate) body: Value,
    /// Tokens of output that the client has read.
    pub(crate) read: u64,
    /// Whether the client was told of its usage.
    pub(crate) told_usage: bool,
    /// What was held: the input as counted and what the request allows as output.
    pub(crate) held: u64,
    /// Its line in Envoy's access log.
    pub(crate) log: Value,
    /// Its tokens per minute that are left now that it is settled.
    pub(crate) left: Option<u64>,
    /// When its answer began.
    pub(crate) at: Instant,
    /// What is not as it should be; noted while looking at the call.
    pub(crate) checks: Checks,
}

impl Call {
    /// The value of a response header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The number in a response header.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// A number that the access log has for this call; none where the filter told none.
    pub(crate) fn logged(&self, name: &str) -> Option<u64> {
        self.log[format!("tollgate.{name}")].as_str()?.parse().ok()
    }

    /// Tokens charged.
    pub(crate) fn charged(&self) -> u64 {
        [self.logged("input_tokens.used"), self.logged("output_tokens.used")].into_iter().flatten().sum()
    }
}

/// Where the calls are made.
pub(crate) struct Stage {
    pub(crate) style: Style,
    pub(crate) envoy: Envoy,
    pub(crate) mock: MockLlm,
    pub(crate) calls: Vec<Call>,
    pub(crate) wrong: usize,
    /// By tenant: what was left, and when.
    left: HashMap<&'static str, (u64, Instant)>,
}

impl Stage {
    /// Starts mock and Envoy.
    pub(crate) async fn set(style: Style) -> Self {
        let mock = MockLlm::start().await;
        let envoy = Envoy::start(example(mock.address())).await;
        Self { style, envoy, mock, calls: Vec::new(), wrong: 0, left: HashMap::new() }
    }

    /// What a tenant has left as far as is known.
    pub(crate) fn left(&self, caller: Caller) -> u64 {
        self.left.get(caller.tenant).map_or(caller.per_minute, |(left, _)| *left)
    }

    /// Makes a call and checks what must be true of every call.
    pub(crate) async fn call(&mut self, ask: &Ask<'_>) -> Call {
        let streamed = matches!(ask.answer, Answer::Stream(_) | Answer::HungUp { .. });
        let body = json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": ask.prompt }],
            "max_tokens": ask.max_tokens,
            "stream": streamed,
        });
        let input = Counter::for_model(MODEL).chat(&body) as u64;
        let before = self.mock.received().len();
        let response = client::send(self.envoy.address(), request(&body, ask)).await;
        let mut response = response.unwrap_or_else(|error| panic!("a call failed: {error}"));

        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
        let started = response.started();
        let mut call = Call {
            caller: ask.caller,
            status: response.status(),
            headers,
            body: Value::Null,
            read: 0,
            told_usage: false,
            held: input + ask.max_tokens,
            log: Value::Null,
            left: None,
            at: started + response.time_to_headers(),
            checks: Checks::default(),
        };
        read(&mut response, ask, &mut call).await;
        response.abort();
        call.log = self.envoy.wait_for_access_log(self.calls.len() + 1).await.pop().expect("at least one");

        let reached = self.mock.received().len() - before;
        call.checks.expect("calls that reach the upstream", usize::from(is_let_through(ask)), reached);
        if let Some(caller) = ask.caller {
            call.checks.expect("input tokens counted", Some(input), call.logged("input_tokens.counted"));
            call.checks.expect("tier", Some(caller.tier), call.log["tollgate.tier"].as_str());
            self.check_charge(ask, input, &call);
            self.check_left(caller, started, &mut call);
        }
        call
    }

    fn check_charge(&self, ask: &Ask<'_>, input: u64, call: &Call) {
        let used = call.logged("output_tokens.used");
        let (input, output) = match ask.answer {
            Answer::Json(written) | Answer::Stream(written) => {
                call.checks.expect("output tokens read", written, call.read);
                (Some(input), Some(written))
            }
            // A few chunks are under way when the client goes.
            Answer::HungUp { read, .. } => {
                call.checks.expect_between("output tokens charged", (call.read, read + 5 * PER_CHUNK), used);
                (Some(input), used)
            }
            Answer::Fails(_) => (Some(0), Some(0)),
            Answer::Unasked => (None, None),
        };
        call.checks.expect("input tokens charged", input, call.logged("input_tokens.used"));
        call.checks.expect("output tokens charged", output, used);
        let cost = input.zip(output).map(|(input, output)| input * PRICE.0 + output * PRICE.1);
        let logged = call.log["tollgate.cost_usd"].as_str().and_then(|usd| usd.parse::<f64>().ok());
        call.checks.expect("nano-dollars charged", cost, logged.map(|usd| (usd * 1e9).round() as u64));
    }

    /// What the client is told to have left, against what it had after the last call and what has flowed back since.
    fn check_left(&mut self, caller: Caller, started: Instant, call: &mut Call) {
        let held = if is_held(call) { call.held } else { 0 };
        let full = caller.per_minute - held;
        let (low, high) = match self.left.get(caller.tenant) {
            None => (full, full),
            Some(&(left, at)) => {
                // One token more or less, because tokens flow back in fractions.
                let at_least = left + flowed(caller, started.saturating_duration_since(at));
                let at_most = left + flowed(caller, call.at - at + SETTLING);
                ((at_least.saturating_sub(held + 1)).min(full), (at_most + 1).saturating_sub(held).min(full))
            }
        };
        let told = call.number("x-ratelimit-remaining-tokens");
        call.checks.expect_between("the tokens left while it runs", (low, high), told);
        if let Some(told) = told {
            let left = (told + held).saturating_sub(call.charged());
            call.left = Some(left);
            self.left.insert(caller.tenant, (left, call.at));
        }
    }
}

/// Tokens in a streamed chunk.
const PER_CHUNK: u64 = 40;

/// A call is counted at Envoy a little before its answer is here.
const SETTLING: Duration = Duration::from_millis(50);

/// What flows back into a budget in a time.
fn flowed(caller: Caller, time: Duration) -> u64 {
    (caller.per_minute as f64 / 60.0 * time.as_secs_f64()) as u64
}

const fn is_let_through(ask: &Ask<'_>) -> bool {
    !matches!(ask.answer, Answer::Unasked)
}

/// Refused calls hold nothing.
fn is_held(call: &Call) -> bool {
    call.log["tollgate.refused_by"].as_str().is_none_or(|limit| limit == "-")
}

fn request(body: &Value, ask: &Ask<'_>) -> Request {
    let mut request = Request::chat(body).header("x-mock-tokens-per-chunk", PER_CHUNK.to_string());
    if let Some(caller) = ask.caller {
        request = request.header("x-tenant-id", caller.tenant).header("x-tier", caller.tier);
    }
    match ask.answer {
        Answer::Json(tokens) | Answer::Stream(tokens) => {
            request.header("x-mock-output-tokens", tokens.to_string())
        }
        Answer::HungUp { written, .. } => {
            request.header("x-mock-output-tokens", written.to_string()).header("x-mock-chunk-delay-ms", "30")
        }
        Answer::Fails(status) => request.header("x-mock-status", status.to_string()),
        Answer::Unasked => request,
    }
}

/// Reads the answer as its client would.
async fn read(response: &mut Response, ask: &Ask<'_>, call: &mut Call) {
    let counter = Counter::for_model(MODEL);
    let is_stream = response.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let enough = match ask.answer {
        Answer::HungUp { read, .. } => read,
        _ => u64::MAX,
    };
    let mut bytes = Vec::new();
    while call.read < enough {
        let chunk = response.chunk().await.unwrap_or_else(|error| panic!("an answer broke: {error}"));
        let Some(chunk) = chunk else { break };
        bytes.extend_from_slice(&chunk.data);
        if is_stream {
            call.read = counter.text(&Transcript::parse(&bytes).text(0)) as u64;
        }
    }
    if is_stream {
        call.told_usage = Transcript::parse(&bytes).json().any(|event| !event["usage"].is_null());
    } else {
        call.body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        call.told_usage = !call.body["usage"].is_null();
        let content = call.body["choices"][0]["message"]["content"].as_str();
        call.read = content.map_or(0, |content| counter.text(content) as u64);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
