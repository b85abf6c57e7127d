//! A call of the demo: what is asked for, and how it went.
//!
//! In: who asks for what of which model, and how that shall answer. Out: the request, and a
//! [`Call`] with its answer read as its client would. Not here: sending it and looking at what must
//! be true of it (`stage`).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_rig::client::sse::Transcript;
use tollgate_rig::client::{Request, Response};
use tollgate_rig::demo::Checks;
use tollgate_rig::mock_llm::tokens::Counter;

/// The model that most calls ask for.
pub(crate) const MODEL: &str = "gpt-4o-mini";

/// Another one, which costs sixteen times as much.
pub(crate) const DEARER: &str = "gpt-4o";

/// A model's price in `envoy/envoy.yaml`: billionths of a dollar for a token of input and of
/// output.
pub(crate) fn price(model: &str) -> (u64, u64) {
    if model == MODEL { (150, 600) } else { (2_500, 10_000) }
}

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
    /// It streams so much that it is stopped.
    Stopped { written: u64 },
    /// It fails with this status.
    Fails(u16),
    /// It refuses for so many seconds.
    Busy { retry_after: u64 },
    /// It is not expected to be asked, once the call is counted.
    Unasked,
    /// Nor is the call even counted.
    Uncounted,
}

/// What a call is expected to hold of its budget.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Its input and the output that it asks for.
    Asked,
    /// Its input and the output to which it was bounded.
    Bounded,
    /// Its input and a guess at its output.
    Guessed,
    /// What it declares for its workflow.
    Declared(u64),
    /// Nothing: it draws from what its workflow has declared.
    Drawn,
}

/// A call to be made.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) caller: Option<Caller>,
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a str,
    pub(crate) max_tokens: u64,
    /// The tools that it offers, by their names.
    pub(crate) tools: &'a [&'a str],
    /// More of its headers.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) answer: Answer,
    pub(crate) held: Held,
}

impl<'a> Ask<'a> {
    /// A plain call.
    pub(crate) const fn of(caller: Option<Caller>, prompt: &'a str, max_tokens: u64, answer: Answer) -> Self {
        Self { caller, model: MODEL, prompt, max_tokens, tools: &[], headers: &[], answer, held: Held::Asked }
    }

    /// The body of its request.
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

    /// Its request.
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

    /// How often its upstream is expected to be asked.
    pub(crate) const fn reaches(&self) -> usize {
        match self.answer {
            Answer::Unasked | Answer::Uncounted => 0,
            // Envoy tries twice more itself, as `retry_policy` in `envoy/envoy.yaml` says.
            Answer::Busy { .. } => 3,
            _ => 1,
        }
    }
}

/// Tokens in a streamed chunk.
pub(crate) const PER_CHUNK: u64 = 40;

/// A call as it went.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) caller: Option<Caller>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, where it is JSON.
    pub(crate) body: Value,
    /// The body that its upstream got.
    pub(crate) asked: Value,
    /// Tokens of output that the client has read.
    pub(crate) read: u64,
    /// Whether the client was told of its usage.
    pub(crate) told_usage: bool,
    /// Why a stream ended, if it said so, and then `[DONE]`.
    pub(crate) finished: Option<String>,
    /// What was held.
    pub(crate) held: u64,
    /// Its line in Envoy's access log.
    pub(crate) log: Value,
    /// Its tokens per minute that are left now that it is settled.
    pub(crate) left: Option<u64>,
    /// When it was sent, and how long its answer took to begin.
    pub(crate) started: Instant,
    pub(crate) took: Duration,
    /// What is not as it should be; noted while looking at the call.
    pub(crate) checks: Checks,
}

impl Call {
    /// A call whose answer has begun.
    pub(crate) fn begun(caller: Option<Caller>, response: &Response) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = response.headers().iter();
        Self {
            caller,
            status: response.status(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: Value::Null,
            asked: Value::Null,
            read: 0,
            told_usage: false,
            finished: None,
            held: 0,
            log: Value::Null,
            left: None,
            started: response.started(),
            took: response.time_to_headers(),
            checks: Checks::default(),
        }
    }

    /// When its answer began.
    pub(crate) fn at(&self) -> Instant {
        self.started + self.took
    }

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

    /// The limit that refused it.
    pub(crate) fn refused_by(&self) -> Option<&str> {
        self.log["tollgate.refused_by"].as_str().filter(|limit| *limit != "-")
    }

    /// Reads the answer as its client would.
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
