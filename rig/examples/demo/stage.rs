//! The stage: the mock, Envoy with Tollgate, and the calls between them.
//!
//! In: the calls to make. Out: a [`Call`] with its line of Envoy's access log. Every call is
//! checked here: tokens, money and the rest of the budget, all against the mock's own counter. Not
//! here: the list of calls (`scenes`, `softer`, `voice`), printing them (`report`).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::{self, Request};
use tollgate_rig::demo::Style;
use tollgate_rig::envoy::{Envoy, example};
use tollgate_rig::mock_llm::MockLlm;
use tollgate_rig::mock_llm::tokens::Counter;

use crate::call::{Answer, Ask, Call, Caller, Held, PER_CHUNK, price};

/// The mock and Envoy, with the calls so far.
pub(crate) struct Stage {
    pub(crate) style: Style,
    pub(crate) envoy: Envoy,
    pub(crate) mock: MockLlm,
    /// The calls so far that the table shows.
    pub(crate) calls: Vec<Call>,
    /// Calls beside them that the table does not show.
    pub(crate) beside: Vec<Call>,
    pub(crate) wrong: usize,
    /// The lines of the access log that were read.
    lines: usize,
    /// By tenant: the tokens left, and when.
    left: HashMap<&'static str, (u64, Instant)>,
}

impl Stage {
    /// Starts mock and Envoy.
    pub(crate) async fn set(style: Style) -> Self {
        let mock = MockLlm::start().await;
        let envoy = Envoy::start(example(mock.address())).await;
        let (calls, beside) = (Vec::new(), Vec::new());
        Self { style, envoy, mock, calls, beside, wrong: 0, lines: 0, left: HashMap::new() }
    }

    /// Returns the tokens that a tenant had left after its last call.
    pub(crate) fn left(&self, caller: Caller) -> u64 {
        self.left.get(caller.tenant).map_or(caller.per_minute, |(left, _)| *left)
    }

    /// Returns the tokens that a tenant has left now.
    pub(crate) fn left_now(&self, caller: Caller) -> u64 {
        let left = self.left.get(caller.tenant);
        left.map_or(caller.per_minute, |(left, at)| left + flowed(caller, at.elapsed()))
    }

    /// Makes a call and runs the checks for every call.
    pub(crate) async fn call(&mut self, ask: &Ask<'_>) -> Call {
        let body = ask.body();
        let counted = Counter::for_model(ask.model).chat(&body) as u64;
        let before = self.mock.received().len();
        let response = client::send(self.envoy.address(), ask.request(&body)).await;
        let mut response = response.unwrap_or_else(|error| panic!("a call failed: {error}"));
        let mut call = Call::begun(ask.caller, &response);
        call.read(&mut response, ask.answer).await;
        response.abort();
        call.log = self.next_log().await;

        let received = self.mock.received();
        call.checks.expect("calls that reach the upstream", ask.reaches(), received.len() - before);
        if let Some(last) = received.last().filter(|_| received.len() > before) {
            call.asked = last.json();
        }
        if let Some(caller) = ask.caller {
            let counted = (!matches!(ask.answer, Answer::Uncounted)).then_some(counted);
            call.checks.expect("input tokens counted", counted, call.logged("input_tokens.counted"));
            call.checks.expect("tier", Some(caller.tier), call.log["tollgate.tier"].as_str());
            check_charge(ask, &call);
            call.held = held(ask, counted.unwrap_or(0), &call);
            if counted.is_some() {
                self.check_left(caller, ask.held, &mut call);
            }
        }
        call
    }

    /// Calls a tool by MCP.
    pub(crate) async fn call_tool(&mut self, caller: Caller, tool: &str) -> Call {
        let params = json!({ "name": tool, "arguments": { "to": "ops@example.com" } });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params });
        let request = Request::post("/mcp").json(&body);
        let request = request.header("x-tenant-id", caller.tenant).header("x-tier", caller.tier);
        let response = client::send(self.envoy.address(), request).await;
        let mut response = response.unwrap_or_else(|error| panic!("a call of a tool failed: {error}"));
        let mut call = Call::begun(Some(caller), &response);
        call.read(&mut response, Answer::Uncounted).await;
        call.log = self.next_log().await;
        call.checks.expect("id", Some(7), call.body["id"].as_u64());
        call
    }

    /// Returns the access log line of the call that has just ended.
    pub(crate) async fn next_log(&mut self) -> Value {
        self.lines += 1;
        self.envoy.wait_for_access_log(self.lines).await.swap_remove(self.lines - 1)
    }

    /// Notes that a tenant has spent tokens on a socket, whose responses do not say what is left.
    pub(crate) fn spend(&mut self, caller: Caller, tokens: u64) {
        let left = self.left_now(caller).min(caller.per_minute);
        self.left.insert(caller.tenant, (left.saturating_sub(tokens), Instant::now()));
    }

    /// Checks the remaining tokens that the client sees against those after the last call and the
    /// refill since.
    fn check_left(&mut self, caller: Caller, held: Held, call: &mut Call) {
        let of_budget = match held {
            _ if call.refused_by().is_some() => 0,
            Held::Drawn => 0,
            _ => call.held,
        };
        let full = caller.per_minute - of_budget;
        let (low, high) = match self.left.get(caller.tenant) {
            None => (full, full),
            Some(&(left, at)) => {
                // Allow one token either way, because tokens flow back in fractions.
                let at_least = left + flowed(caller, call.started.saturating_duration_since(at));
                let at_most = left + flowed(caller, call.at() - at + SETTLING);
                let low = at_least.saturating_sub(of_budget + 1).min(full);
                (low, (at_most + 1).saturating_sub(of_budget).min(full))
            }
        };
        let told = call.number("x-ratelimit-remaining-tokens");
        call.checks.expect_between("the tokens left while it runs", (low, high), told);
        if let Some(told) = told {
            // A workflow keeps the unused part of its reservation.
            let left = match held {
                Held::Declared(_) | Held::Drawn => told,
                _ => (told + of_budget).saturating_sub(call.charged()),
            };
            call.left = Some(left);
            self.left.insert(caller.tenant, (left, call.at()));
        }
    }
}

/// Envoy charges a call slightly before the client sees the answer.
const SETTLING: Duration = Duration::from_millis(50);

/// Returns the tokens that flow back in `time`.
pub(crate) fn flowed(caller: Caller, time: Duration) -> u64 {
    (caller.per_minute as f64 / 60.0 * time.as_secs_f64()) as u64
}

fn held(ask: &Ask<'_>, counted: u64, call: &Call) -> u64 {
    match (ask.held, ask.caller) {
        (Held::Asked | Held::Drawn, _) => counted + ask.max_tokens,
        (Held::Bounded, _) => counted + call.asked["max_tokens"].as_u64().unwrap_or(0),
        (Held::Declared(tokens), _) => tokens,
        (Held::Guessed, Some(caller)) => {
            let told = call.number("x-ratelimit-remaining-tokens").unwrap_or(0);
            let held = caller.per_minute.saturating_sub(told);
            // `counting.output_reserve.at_most` is a quarter of the budget.
            let most = counted + caller.per_minute / 4;
            call.checks.expect_between("tokens held", (counted, most), Some(held));
            held
        }
        (Held::Guessed, None) => 0,
    }
}

/// Checks the charge against the upstream's input and output.
fn check_charge(ask: &Ask<'_>, call: &Call) {
    let model = call.asked["model"].as_str().unwrap_or(ask.model);
    let asked = call.asked.is_object().then(|| Counter::for_model(model).chat(&call.asked) as u64);
    let used = call.logged("output_tokens.used");
    let (input, output) = match ask.answer {
        Answer::Json(written) | Answer::Stream(written) => {
            let written = written.min(call.asked["max_tokens"].as_u64().unwrap_or(0));
            call.checks.expect("output tokens read", written, call.read);
            (asked, Some(written))
        }
        // A few chunks are in transit when the client hangs up.
        Answer::HungUp { read, .. } => {
            call.checks.expect_between("output tokens charged", (call.read, read + 5 * PER_CHUNK), used);
            (asked, used)
        }
        Answer::Stopped { .. } => {
            call.checks.expect("output tokens charged", Some(call.read), used);
            (asked, used)
        }
        Answer::Fails(_) | Answer::Busy { .. } => (Some(0), Some(0)),
        Answer::Unasked | Answer::Uncounted => (None, None),
    };
    call.checks.expect("input tokens charged", input, call.logged("input_tokens.used"));
    call.checks.expect("output tokens charged", output, used);
    let (per_input, per_output) = price(model);
    let cost = input.zip(output).map(|(input, output)| input * per_input + output * per_output);
    let logged = call.log["tollgate.cost_usd"].as_str().and_then(|usd| usd.parse::<f64>().ok());
    call.checks.expect("nano-dollars charged", cost, logged.map(|usd| (usd * 1e9).round() as u64));
}
