//! The stage: a rate limit service, two Envoys that use it, a mock LLM, and the calls between them.
//!
//! In: the calls to make, and at which Envoy. Out: a finished [`Call`]. Every call is checked here:
//! its charge against the mock's own counter, and the requests that reach the mock. Not here: the
//! list of calls (`scenes`), printing them (`report`).

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::demo::{Checks, Style};
use tollgate_rig::envoy::{Envoy, Metrics, example_global};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::tokens::Counter;

use crate::service::Service;

/// The model that all calls ask for.
const MODEL: &str = "gpt-4o-mini";

/// The prompt of all calls.
const QUESTION: &str = "Why does a request that costs a hundred times as much count as one?";

/// A caller, and the tokens that its tier allows per day in `envoy/envoy-global.yaml` (limit
/// `day`).
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) tenant: &'static str,
    pub(crate) tier: &'static str,
    pub(crate) per_day: u64,
}

/// One of the two Envoys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    A,
    B,
}

impl At {
    /// Both Envoys.
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// A finished call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) at: At,
    pub(crate) caller: Caller,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, which is JSON.
    pub(crate) body: Value,
    /// The counted input and the allowed output.
    pub(crate) held: u64,
    /// Tokens charged, from the access log.
    pub(crate) charged: u64,
    /// Failed checks.
    pub(crate) checks: Checks,
}

impl Call {
    /// Returns the value of a response header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the number in a response header.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// Returns the remaining tokens that the client sees, after the call's own reservation.
    pub(crate) fn left(&self) -> Option<u64> {
        self.number("x-ratelimit-remaining-tokens")
    }
}

/// The processes, with counts of the calls so far.
pub(crate) struct Stage {
    pub(crate) style: Style,
    pub(crate) envoys: [Envoy; 2],
    pub(crate) service: Service,
    pub(crate) mock: MockLlm,
    /// Rows of the table so far.
    pub(crate) rows: usize,
    /// Calls made so far, by Envoy.
    pub(crate) calls: [usize; 2],
    pub(crate) wrong: usize,
}

impl Stage {
    /// Starts everything. Each Envoy has one worker, so that every run behaves the same.
    pub(crate) async fn set(style: Style) -> Self {
        let mock = MockLlm::start().await;
        let service = Service::start().await;
        let mut setup = example_global(mock.address(), service.process.address());
        setup.concurrency = 1;
        let envoys = [Envoy::start(setup.clone()).await, Envoy::start(setup).await];
        Self { style, envoys, service, mock, rows: 0, calls: [0, 0], wrong: 0 }
    }

    pub(crate) const fn envoy(&self, at: At) -> &Envoy {
        &self.envoys[at as usize]
    }

    /// Returns a request that allows `max_tokens` and that the mock answers with `output` tokens.
    pub(crate) fn request(caller: Caller, max_tokens: u64, output: u64) -> Request {
        Request::chat(&body(max_tokens))
            .header("x-tenant-id", caller.tenant)
            .header("x-tier", caller.tier)
            .header("x-mock-output-tokens", output.to_string())
    }

    /// Returns the prompt tokens of such a request.
    pub(crate) fn input() -> u64 {
        Counter::for_model(MODEL).chat(&body(1)) as u64
    }

    /// Makes a call and runs the checks for every call.
    pub(crate) async fn call(&mut self, at: At, caller: Caller, max_tokens: u64, output: u64) -> Call {
        let reached = self.mock.received().len();
        let request = Self::request(caller, max_tokens, output);
        let response = client::send(self.envoy(at).address(), request).await;
        let mut response = response.unwrap_or_else(|error| panic!("a call failed: {error}"));
        let body = response.json().await.unwrap_or_else(|error| panic!("an answer broke: {error}"));
        self.calls[at as usize] += 1;
        let log = self.envoy(at).wait_for_access_log(self.calls[at as usize]).await;
        let log = log.last().expect("at least one line");
        let logged = |name: &str| log[format!("tollgate.{name}")].as_str()?.parse::<u64>().ok();
        let headers = response.headers().iter();
        let call = Call {
            at,
            caller,
            status: response.status(),
            headers: headers
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body,
            held: Self::input() + max_tokens,
            charged: [logged("input_tokens.used"), logged("output_tokens.used")].into_iter().flatten().sum(),
            checks: Checks::default(),
        };
        let is_answered = call.status == 200;
        let charged = if is_answered { Self::input() + output } else { 0 };
        call.checks.expect("tokens charged", charged, call.charged);
        call.checks.expect(
            "calls that reach the upstream",
            usize::from(is_answered),
            self.mock.received().len() - reached,
        );
        call
    }

    /// Returns the metrics of both Envoys.
    pub(crate) async fn metrics(&self) -> [Metrics; 2] {
        [self.envoys[0].metrics().await, self.envoys[1].metrics().await]
    }
}

fn body(max_tokens: u64) -> Value {
    json!({ "model": MODEL, "messages": [{ "role": "user", "content": QUESTION }], "max_tokens": max_tokens })
}
