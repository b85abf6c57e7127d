//! Ollama: `POST */api/chat`, `*/api/generate` and `*/api/embed`.
//!
//! In: a request. Out: an [`Answer`], a stream of JSON lines unless the request says `"stream":
//! false`. The last line has the counts as top-level members, which `x-mock-usage` replaces: the
//! members of an object take their place, and any other value becomes the value of each. Chats are
//! counted by OpenAI's rule, prompts as plain text. Wire format: Ollama's API reference
//! (docs/api.md). Not here: thinking, tool calls, images, loading models by empty requests, and the
//! `/v1` imitations of other APIs.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received};

/// `POST */api/chat`.
pub(super) const CHAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/api/chat"),
    answer: |behaviour, received| generation(&AS_CHAT, behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

/// `POST */api/generate`.
pub(super) const GENERATE: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/api/generate"),
    answer: |behaviour, received| generation(&AS_TEXT, behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

/// `POST */api/embed`.
pub(super) const EMBED: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/api/embed"),
    answer: |behaviour, received| embedding(behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

/// [`super::CREATED`] in Ollama's notation.
const CREATED_AT: &str = "2023-11-14T22:13:20Z";

/// The nanoseconds that the mock reports for every duration.
const DURATION: u64 = 1_000_000;

/// The length of an embedding; real ones have hundreds of numbers.
const DIMENSIONS: usize = 8;

/// The differences between chat and generate.
struct Style {
    required: &'static str,
    prompt: fn(&Value, Counter) -> usize,
    /// Sets the text.
    say: fn(&mut Value, &str),
}

const AS_CHAT: Style = Style {
    required: "messages",
    prompt: |request, counter| counter.chat(request),
    say: |line, text| line["message"] = json!({ "role": "assistant", "content": text }),
};

const AS_TEXT: Style = Style {
    required: "prompt",
    prompt: |request, counter| {
        [&request["system"], &request["prompt"], &request["suffix"]]
            .map(|text| counter.text(text.as_str().unwrap_or_default()))
            .iter()
            .sum()
    },
    say: |line, text| line["response"] = text.into(),
};

fn generation(style: &Style, behaviour: &Behaviour, received: &Received) -> Result<Answer, Answer> {
    let request = parse(received, style.required)?;
    // Below 0 the model's output is unlimited.
    let allowed = request["options"]["num_predict"].as_u64().and_then(|n| usize::try_from(n).ok());
    let text = Text::of(behaviour, allowed);
    let usage = Usage::of(behaviour, || {
        let counter = counter(&request);
        let prompt = (style.prompt)(&request, counter);
        json!({ "prompt_eval_count": prompt, "eval_count": counter.text(&text.whole()) })
    });
    let line = |said: &str, done: bool| {
        let mut line = json!({ "model": request["model"], "created_at": CREATED_AT, "done": done });
        (style.say)(&mut line, said);
        line
    };
    let end = |said: &str| {
        let mut line = line(said, true);
        line["done_reason"] = if text.cut { "length" } else { "stop" }.into();
        for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
            line[name] = DURATION.into();
        }
        usage.write_among(&line, &["prompt_eval_count", "eval_count"])
    };
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    if request["stream"] == false {
        return Ok(Answer::whole(status, end(&text.whole())));
    }
    let lines = text.pieces(behaviour).map(|piece| line(&piece, false).to_string()).chain([end("")]);
    Ok(Answer::stream(status, "application/x-ndjson", lines.map(|line| line + "\n")))
}

fn embedding(behaviour: &Behaviour, received: &Received) -> Result<Answer, Answer> {
    let request = parse(received, "input")?;
    let inputs: Vec<&str> = match &request["input"] {
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let usage = Usage::of(behaviour, || {
        let counter = counter(&request);
        let prompt: usize = inputs.iter().map(|text| counter.text(text)).sum();
        json!({ "prompt_eval_count": prompt })
    });
    let embeddings: Vec<_> = inputs.iter().map(|_| vec![0.125; DIMENSIONS]).collect();
    let body = json!({
        "model": request["model"],
        "embeddings": embeddings,
        "total_duration": DURATION,
        "load_duration": DURATION,
    });
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    Ok(Answer::whole(status, usage.write_among(&body, &["prompt_eval_count"])))
}

/// Returns an error in Ollama's format.
fn error(status: StatusCode, message: &str) -> Answer {
    Answer::whole(status, json!({ "error": message }).to_string())
}

fn parse(received: &Received, required: &str) -> Result<Value, Answer> {
    let request: Value = serde_json::from_slice(&received.body)
        .map_err(|wrong| error(StatusCode::BAD_REQUEST, &wrong.to_string()))?;
    if !request["model"].is_string() || request[required].is_null() {
        return Err(error(StatusCode::BAD_REQUEST, &format!("model and {required} are required")));
    }
    Ok(request)
}

fn counter(request: &Value) -> Counter {
    Counter::for_model(request["model"].as_str().unwrap_or_default())
}
