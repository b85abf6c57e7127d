//! Cohere's chat, version 2: `POST */v2/chat`, whole or streamed.
//!
//! In: a request. Out: an [`Answer`] with both usages that Cohere reports, as floating-point
//! numbers: `tokens` is everything that the model read, counted here by OpenAI's rule for chats;
//! `billed_units` is the text without the template's additions. Wire format: Cohere API reference,
//! "Chat" and "Chat with streaming". Not here: tool calls, citations and log probabilities in the
//! answer, version 1 of the API.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received};

/// `POST */v2/chat`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/v2/chat"),
    answer: |behaviour, received| answer(behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

fn answer(behaviour: &Behaviour, received: &Received) -> Result<Answer, Answer> {
    let refusal = |message: &str| error(StatusCode::BAD_REQUEST, message);
    let request: Value = serde_json::from_slice(&received.body)
        .map_err(|wrong| refusal(&format!("invalid json syntax: {wrong}")))?;
    if !request["model"].is_string() || !request["messages"].is_array() {
        return Err(refusal("invalid request: model and messages are required"));
    }
    let allowed = request["max_tokens"].as_u64().and_then(|n| usize::try_from(n).ok());
    let text = Text::of(behaviour, allowed);
    let usage = Usage::of(behaviour, || usage(&request, &text.whole()));
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    if request["stream"] == true {
        return Ok(Answer::stream(status, "text/event-stream", events(&text, &usage, behaviour)));
    }
    let content = json!([{ "type": "text", "text": text.whole() }]);
    let body = json!({
        "id": "mock",
        "finish_reason": finish_reason(&text),
        "message": { "role": "assistant", "content": content },
    });
    Ok(Answer::whole(status, usage.write(&usage.within(body))))
}

/// Returns an error in Cohere's format.
fn error(status: StatusCode, message: &str) -> Answer {
    Answer::whole(status, json!({ "id": "mock", "message": message }).to_string())
}

fn events(text: &Text, usage: &Usage, behaviour: &Behaviour) -> Vec<String> {
    let event = |value: &Value| {
        let name = value["type"].as_str().unwrap_or_default();
        format!("event: {name}\ndata: {}\n\n", usage.write(value))
    };
    let message =
        json!({ "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [] });
    let mut events = vec![
        event(&json!({ "type": "message-start", "id": "mock", "delta": { "message": message } })),
        event(&content("content-start", &json!({ "type": "text", "text": "" }))),
    ];
    events.extend(
        text.pieces(behaviour).map(|piece| event(&content("content-delta", &json!({ "text": piece })))),
    );
    events.push(event(&json!({ "type": "content-end", "index": 0 })));
    let end = usage.within(json!({ "finish_reason": finish_reason(text) }));
    events.push(event(&json!({ "type": "message-end", "id": "mock", "delta": end })));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn content(kind: &str, content: &Value) -> Value {
    json!({ "type": kind, "index": 0, "delta": { "message": { "content": content } } })
}

const fn finish_reason(text: &Text) -> &'static str {
    if text.cut { "MAX_TOKENS" } else { "COMPLETE" }
}

fn usage(request: &Value, said: &str) -> Value {
    let counter = Counter::for_model(request["model"].as_str().unwrap_or_default());
    let documents: usize = items(&request["documents"])
        .map(|document| counter.text(document.as_str().unwrap_or(&document.to_string())))
        .sum();
    let billed: usize = items(&request["messages"])
        .map(|message| match &message["content"] {
            Value::String(text) => counter.text(text),
            parts => {
                items(parts).filter_map(|part| part["text"].as_str()).map(|text| counter.text(text)).sum()
            }
        })
        .sum();
    let float = |count: usize| Value::from(u32::try_from(count).map_or(f64::MAX, f64::from));
    let output = float(counter.text(said));
    json!({
        "billed_units": { "input_tokens": float(billed + documents), "output_tokens": output },
        "tokens": { "input_tokens": float(counter.chat(request) + documents), "output_tokens": output },
        "cached_tokens": 0.0,
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
