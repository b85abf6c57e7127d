//! Bedrock's `invoke` and `invoke-with-response-stream`: the models' native dialects, with counts
//! around them.
//!
//! In: a model's id and a native request. Out: an [`Answer`] in the same dialect: Anthropic's for
//! requests with `anthropic_version`, Llama's for those with `prompt`, Titan's for all others. The
//! counts are also in headers, and in a stream in the last chunk, if the answer has usage; chunks
//! are base64 inside frames. Wire format: Amazon Bedrock API reference, "InvokeModel",
//! "InvokeModelWithResponseStream", and its user guide, "Inference request parameters". Not here:
//! other families of models.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::{StatusCode, Uri};
use serde_json::{Value, json};

use super::bedrock::{LATENCY_MS, padding, refusal};
use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Received, anthropic, eventstream};

/// Answers `invoke`.
pub(super) fn whole(
    model: &str,
    request: &Value,
    behaviour: &Behaviour,
    received: &Received,
) -> Result<Answer, Answer> {
    let native = native(model, request, behaviour, received, false)?;
    let [body] = native.as_slice() else { return Err(refusal("an answer is one document")) };
    let mut answer = Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), body.clone());
    for (name, count) in Counts::default().and(body).named() {
        answer = answer.header(name.header, &count.to_string());
    }
    Ok(answer.header("x-amzn-bedrock-invocation-latency", &LATENCY_MS.to_string()))
}

/// Answers `invoke-with-response-stream`.
pub(super) fn stream(
    model: &str,
    request: &Value,
    behaviour: &Behaviour,
    received: &Received,
) -> Result<Answer, Answer> {
    let mut native = native(model, request, behaviour, received, true)?;
    let counts = native.iter().fold(Counts::default(), |counts, chunk| counts.and(chunk));
    let mut metrics = json!({});
    for (name, count) in counts.named() {
        metrics[name.metric] = count.into();
    }
    if let Some(last) = native.last_mut().filter(|_| metrics["outputTokenCount"].is_u64()) {
        metrics["invocationLatency"] = LATENCY_MS.into();
        metrics["firstByteLatency"] = LATENCY_MS.into();
        last.pop();
        last.push_str(&format!(",\"amazon-bedrock-invocationMetrics\":{metrics}}}"));
    }
    let frames = native.iter().map(|chunk| {
        let payload = json!({ "bytes": STANDARD.encode(chunk), "p": padding(chunk.len()) });
        eventstream::event("chunk", &payload.to_string())
    });
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let answer = Answer::stream(status, eventstream::CONTENT_TYPE, frames);
    Ok(answer.header("x-amzn-bedrock-content-type", "application/json"))
}

/// Counts the input of a native request.
pub(super) fn input(model: &str, request: &Value, received: &Received) -> Result<usize, Answer> {
    let body = native(model, request, &Behaviour::default(), received, false)?.concat();
    let counts = Counts::default().and(&body);
    let all = [counts.input, counts.cache_read, counts.cache_write];
    Ok(all.into_iter().flatten().sum::<u64>().try_into().unwrap_or(usize::MAX))
}

/// Returns the answer's documents: several for a stream, else one.
fn native(
    model: &str,
    request: &Value,
    behaviour: &Behaviour,
    received: &Received,
    streamed: bool,
) -> Result<Vec<String>, Answer> {
    if !request["anthropic_version"].is_null() || model.contains("anthropic.") {
        return as_anthropic(model, request, behaviour, received, streamed);
    }
    let family = if request["prompt"].is_string() {
        &LLAMA
    } else if request["inputText"].is_string() {
        &TITAN
    } else {
        return Err(refusal("Malformed input request: anthropic_version, prompt or inputText is required"));
    };
    let counter = Counter::for_model(model);
    let counted = behaviour.usage.is_none() && !behaviour.no_usage;
    let prompt = request[family.prompt].as_str().filter(|_| counted);
    let input = prompt.map_or(0, |prompt| counter.text(prompt));
    if model.contains("embed") {
        let usage = Usage::of(behaviour, || json!({ family.input: input }));
        return Ok(vec![usage.write_among(&json!({ "embedding": [0.125, 0.125] }), &[family.input])]);
    }
    let text = Text::of(behaviour, (family.allowed)(request).as_u64().and_then(|n| usize::try_from(n).ok()));
    let reason = if text.cut { family.cut } else { family.complete };
    let document = |piece: &str, so_far: &str, reason: Option<&str>| {
        let usage =
            Usage::of(behaviour, || json!({ family.input: input, family.output: counter.text(so_far) }));
        let document = json!({ family.said: piece, family.reason: reason });
        usage.write_among(&document, &[family.input, family.output])
    };
    if !streamed {
        let whole = text.whole();
        if !family.nested {
            return Ok(vec![document(&whole, &whole, Some(reason))]);
        }
        let mut result = json!({ family.said: whole, family.reason: reason });
        if counted {
            result["tokenCount"] = counter.text(&whole).into();
        }
        let usage = Usage::of(behaviour, || json!({ family.input: input }));
        return Ok(vec![usage.write_among(&json!({ "results": [result] }), &[family.input])]);
    }
    let mut so_far = String::new();
    let mut documents = Vec::new();
    for piece in text.pieces(behaviour) {
        so_far.push_str(&piece);
        documents.push(document(&piece, &so_far, None));
    }
    documents.push(document("", &so_far, Some(reason)));
    Ok(documents)
}

/// The member names of a dialect with flat documents.
struct Family {
    prompt: &'static str,
    allowed: fn(&Value) -> &Value,
    said: &'static str,
    input: &'static str,
    output: &'static str,
    /// Whether a whole answer nests its text one level deeper, with its own count.
    nested: bool,
    reason: &'static str,
    complete: &'static str,
    cut: &'static str,
}

const LLAMA: Family = Family {
    prompt: "prompt",
    allowed: |request| &request["max_gen_len"],
    said: "generation",
    input: "prompt_token_count",
    output: "generation_token_count",
    nested: false,
    reason: "stop_reason",
    complete: "stop",
    cut: "length",
};

const TITAN: Family = Family {
    prompt: "inputText",
    allowed: |request| &request["textGenerationConfig"]["maxTokenCount"],
    said: "outputText",
    input: "inputTextTokenCount",
    output: "totalOutputTextTokenCount",
    nested: true,
    reason: "completionReason",
    complete: "FINISH",
    cut: "LENGTH",
};

/// Returns the answer of Anthropic's own API, without the framing of server-sent events.
fn as_anthropic(
    model: &str,
    request: &Value,
    behaviour: &Behaviour,
    received: &Received,
    streamed: bool,
) -> Result<Vec<String>, Answer> {
    let mut request = request.clone();
    request["model"] = model.into();
    request["stream"] = streamed.into();
    let mut native = received.clone();
    native.uri = Uri::from_static("/v1/messages");
    native.body = request.to_string().into();
    let answer = (anthropic::MESSAGES.answer)(behaviour, &native);
    let texts = answer.chunks.iter().map(|chunk| String::from_utf8_lossy(chunk));
    if answer.status.is_client_error() {
        return Err(refusal(&texts.collect::<String>()));
    }
    if !streamed {
        return Ok(texts.map(String::from).collect());
    }
    let data = |event: &str| event.lines().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
    // Bedrock's streams have no pings.
    Ok(texts.filter(|event| !event.starts_with("event: ping")).filter_map(|event| data(&event)).collect())
}

/// The counts in native documents.
#[derive(Default)]
struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

/// The names of a count.
struct Name {
    header: &'static str,
    metric: &'static str,
}

impl Counts {
    /// Returns these counts, updated by those in `document`.
    fn and(self, document: &str) -> Self {
        let document: Value = serde_json::from_str(document).unwrap_or_default();
        let find =
            |pointers: &[&str]| pointers.iter().find_map(|pointer| document.pointer(pointer)?.as_u64());
        let anthropic = |name: &str| find(&[&format!("/usage/{name}"), &format!("/message/usage/{name}")]);
        let flat = |names: fn(&Family) -> &str| {
            find(&[&format!("/{}", names(&LLAMA)), &format!("/{}", names(&TITAN))])
        };
        Self {
            input: anthropic("input_tokens").or_else(|| flat(|family| family.input)).or(self.input),
            output: anthropic("output_tokens")
                .or_else(|| flat(|family| family.output))
                .or_else(|| find(&["/results/0/tokenCount"]))
                .or(self.output),
            cache_read: anthropic("cache_read_input_tokens").or(self.cache_read),
            cache_write: anthropic("cache_creation_input_tokens").or(self.cache_write),
        }
    }

    fn named(&self) -> impl Iterator<Item = (Name, u64)> {
        let name = |header, metric| Name { header, metric };
        [
            (name("x-amzn-bedrock-input-token-count", "inputTokenCount"), self.input),
            (name("x-amzn-bedrock-output-token-count", "outputTokenCount"), self.output),
            (
                name("x-amzn-bedrock-cache-read-input-token-count", "cacheReadInputTokenCount"),
                self.cache_read,
            ),
            (
                name("x-amzn-bedrock-cache-write-input-token-count", "cacheWriteInputTokenCount"),
                self.cache_write,
            ),
        ]
        .into_iter()
        .filter_map(|(name, count)| Some((name, count?)))
    }
}
