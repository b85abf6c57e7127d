//! A call of the demo and its outcome.
//!
//! In: the caller, the model, the prompt, and how the mock answers. Out: the request, and a
//! [`Call`] with its answer, read as a client reads it. Not here: sending calls and checking them
//! (`stage`).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{Request, Response};
use tollgate_rig::demo::Checks;
use tollgate_rig::mock_llm::tokens::Counter;

/// The model that most calls ask for.
pub(crate) const MODEL: &str = "gpt-4o-mini";

/// A model that costs sixteen times as much.
pub(crate) const DEARER: &str = "gpt-4o";

/// Returns a model's price in `envoy/envoy.yaml`, in nano-dollars per token of input and of output.
pub(crate) fn price(model: &str) -> (u64, u64) {
    if model == MODEL { (150, 600) } else { (2_500, 10_000) }
}

/// A caller, and the tokens that its tier allows per minute in `envoy/envoy.yaml` (limit `tpm`).
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) tenant: &'static str,
    pub(crate) tier: &'static str,
    pub(crate) per_minute: u64,
}

/// The behaviour of the model, in tokens.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// One JSON document.
    Json(u64),
    /// A stream.
    Stream(u64),
    /// A slow stream; the client hangs up after `read` tokens.
    HungUp { written: u64, read: u64 },
    /// A stream so long that Tollgate stops it.
    Stopped { written: u64 },
    /// An error with this status.
    Fails(u16),
    /// A 429 with this `retry-after`, in seconds.
    Busy { retry_after: u64 },
    /// No answer: Tollgate counts the call and refuses it.
    Unasked,
    /// No answer: Tollgate refuses the call before it counts it.
    Uncounted,
}

/// The amount that a call should hold of its budget.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Its input and its `max_tokens`.
    Asked,
    /// Its input and the output limit that Tollgate set.
    Bounded,
    /// Its input and an estimate of its output.
    Guessed,
    /// The tokens that it declares for its workflow.
    Declared(u64),
    /// Nothing, because it draws on its workflow's reservation.
    Drawn,
}

/// A call to make.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) caller: Option<Caller>,
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a str,
    pub(crate) max_tokens: u64,
    /// The names of the tools that it offers.
    pub(crate) tools: &'a [&'a str],
    /// Additional headers.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) answer: Answer,
    pub(crate) held: Held,
}

impl<'a> Ask<'a> {
    /// Returns a plain call.
    pub(crate) const fn of(caller: Option<Caller>, prompt: &'a str, max_tokens: u64, answer: Answer) -> Self {
        Self { caller, model: MODEL, prompt, max_tokens, tools: &[], headers: &[], answer, held: Held::Asked }
    }

    /// Returns the body of the request.
    pub(crate) fn body(&self) -> Value {
        let streamed =
            matches!(self.answer, Answer::Stream(_) | Answer::HungUp { .. } | Answer::Stopped { .. });
        let mut body = json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": self.prompt }],
            "max_tokens": self.max_tokens,
            "stream": streamed,
        });
        if !self.tools.is_empty() {
            let tool = |name: &&str| json!({ "type": "function", "function": { "name": name } });
            body["tools"] = self.tools.iter().map(tool).collect();
        }
        body
    }

    /// Returns the request.
    pub(crate) fn request(&self, body: &Value) -> Request {
        let mut request = Request::chat(body).header("x-mock-tokens-per-chunk", PER_CHUNK.to_string());
        if let Some(caller) = self.caller {
            request = request.header("x-tenant-id", caller.tenant).header("x-tier", caller.tier);
        }
        let mocked = match self.answer {
            Answer::Json(tokens) | Answer::Stream(tokens) => vec![("output-tokens", tokens)],
            Answer::HungUp { written, .. } => vec![("output-tokens", written), ("chunk-delay-ms", 30)],
            Answer::Stopped { written } => vec![("output-tokens", written), ("chunk-delay-ms", 2)],
            Answer::Fails(status) => vec![("status", status.into())],
            Answer::Busy { retry_after } => vec![("status", 429), ("retry-after", retry_after)],
            Answer::Unasked | Answer::Uncounted => vec![],
        };
        let request = mocked.into_iter().fold(request, |request, (name, value)| {
            request.header(&format!("x-mock-{name}"), value.to_string())
        });
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// Returns how many requests the upstream should receive.
    pub(crate) const fn reaches(&self) -> usize {
        match self.answer {
            Answer::Unasked | Answer::Uncounted => 0,
            // Envoy retries twice (`retry_policy` in `envoy/envoy.yaml`).
            Answer::Busy { .. } => 3,
            _ => 1,
        }
    }
}

/// Tokens per streamed chunk.
pub(crate) const PER_CHUNK: u64 = 40;

/// A finished call.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) caller: Option<Caller>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, if it is JSON.
    pub(crate) body: Value,
    /// The body that the upstream received.
    pub(crate) asked: Value,
    /// Output tokens that the client has read.
    pub(crate) read: u64,
    /// Whether the client received usage.
    pub(crate) told_usage: bool,
    /// The finish reason of a stream that ended with `[DONE]`.
    pub(crate) finished: Option<String>,
    /// Tokens that the call held.
    pub(crate) held: u64,
    /// Its line in Envoy's access log; for a response on a socket, which has none, its usage in the
    /// same form.
    pub(crate) log: Value,
    /// The last event of a response on a socket.
    pub(crate) event: Option<&'static str>,
    /// Tokens left in the budget after settlement.
    pub(crate) left: Option<u64>,
    /// When it was sent, and the time until its response head.
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    /// Failed checks.
    pub(crate) checks: Checks,
}

impl Call {
    /// Returns a call whose response has begun.
    pub(crate) fn begun(caller: Option<Caller>, response: &Response) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = response.headers().iter();
        Self {
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            took: response.time_to_headers(),
            ..Self::at_once(caller, response.status(), response.started())
        }
    }

    /// Returns a call with this status, of which nothing else is known yet.
    pub(crate) fn at_once(caller: Option<Caller>, status: u16, started: Instant) -> Self {
        Self {
            caller,
            status,
            headers: Vec::new(),
            body: Value::Null,
            asked: Value::Null,
            read: 0,
            told_usage: false,
            finished: None,
            held: 0,
            log: Value::Null,
            event: None,
            left: None,
            started,
            took: Duration::ZERO,
            checks: Checks::default(),
        }
    }

    /// Returns when the response began.
    pub(crate) fn at(&self) -> Instant {
        self.started + self.took
    }

    /// Returns the value of a response header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Returns the number in a response header.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// Returns a number from the access log, if the filter set it.
    pub(crate) fn logged(&self, name: &str) -> Option<u64> {
        self.log[format!("tollgate.{name}")].as_str()?.parse().ok()
    }

    /// Returns the tokens charged.
    pub(crate) fn charged(&self) -> u64 {
        [self.logged("input_tokens.used"), self.logged("output_tokens.used")].into_iter().flatten().sum()
    }

    /// Returns the limit that refused the call.
    pub(crate) fn refused_by(&self) -> Option<&str> {
        self.log["tollgate.refused_by"].as_str().filter(|limit| *limit != "-")
    }

    /// Returns whether a budget was used beyond its `warn_at`.
    pub(crate) fn has_warning(&self) -> bool {
        self.header("x-tollgate-warning").is_some() || !self.log["tollgate.warning"].is_null()
    }

    /// Reads the answer as a client does.
    pub(crate) async fn read(&mut self, response: &mut Response, answer: Answer) {
        let counter = Counter::for_model(MODEL);
        let is_stream =
            response.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
        let enough = match answer {
            Answer::HungUp { read, .. } => read,
            _ => u64::MAX,
        };
        let mut bytes = Vec::new();
        while self.read < enough {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => panic!("an answer broke: {error}"),
            };
            bytes.extend_from_slice(&chunk.data);
            if is_stream && enough < u64::MAX {
                self.read = counter.text(&Transcript::parse(&bytes).text(0)) as u64;
            }
        }
        if is_stream {
            let transcript = Transcript::parse(&bytes);
            self.read = counter.text(&transcript.text(0)) as u64;
            self.told_usage = transcript.json().any(|event| !event["usage"].is_null());
            self.finished = transcript.finish_reason(0).filter(|_| transcript.is_done());
        } else {
            self.body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            self.told_usage = !self.body["usage"].is_null();
            let content = self.body["choices"][0]["message"]["content"].as_str();
            self.read = content.map_or(0, |content| counter.text(content) as u64);
        }
    }
}
