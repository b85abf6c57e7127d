//! OpenAI's chat completions: `POST */chat/completions`, whole or streamed.
//!
//! In: the request body and the wished [`Behaviour`]. Out: an [`Answer`] whose `usage` was really counted:
//! the prompt by the cookbook's rule, the completion over the very text that is sent. Wire format: OpenAI's
//! API reference, "Chat Completions". Not here: tool calls, refusals and audio in the answer, log
//! probabilities, obfuscation padding.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::{Answer, Behaviour, Format, openai};

/// `POST */chat/completions`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/chat/completions"),
    answer,
    error: openai::error,
};

/// How long an answer is if neither header nor request says.
const OUTPUT_TOKENS: usize = 20;

fn answer(behaviour: &Behaviour, body: &[u8]) -> Answer {
    let request: Value = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => {
            return openai::error(StatusCode::BAD_REQUEST, &format!("the body is not JSON: {error}"));
        }
    };
    if !request["model"].is_string() || !request["messages"].is_array() {
        return openai::error(
            StatusCode::BAD_REQUEST,
            "a string 'model' and an array 'messages' are required",
        );
    }
    let completion = Completion::of(&request, behaviour);
    if request["stream"] == true {
        completion.stream(&request, behaviour)
    } else {
        completion.whole(behaviour)
    }
}

/// The answer before it has a form.
struct Completion {
    model: String,
    choices: usize,
    /// The text of a choice, token by token.
    words: Vec<&'static str>,
    finish_reason: &'static str,
    /// As JSON text; none if there shall be none.
    usage: Option<String>,
}

impl Completion {
    fn of(request: &Value, behaviour: &Behaviour) -> Self {
        let number = |name: &str| request[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let wanted = behaviour.output_tokens.unwrap_or(OUTPUT_TOKENS);
        let allowed = number("max_completion_tokens").or_else(|| number("max_tokens")).unwrap_or(usize::MAX);
        let model = request["model"].as_str().unwrap_or_default().to_owned();
        let choices = number("n").unwrap_or(1).max(1);
        let words = words(wanted.min(allowed));
        let usage = match (&behaviour.usage, behaviour.no_usage) {
            (_, true) => None,
            (Some(verbatim), false) => Some(verbatim.clone()),
            (None, false) => Some(usage(request, &model, &words.concat(), choices)),
        };
        let finish_reason = if wanted > allowed { "length" } else { "stop" };
        Self { model, choices, words, finish_reason, usage }
    }

    fn whole(&self, behaviour: &Behaviour) -> Answer {
        let content = self.words.concat();
        let choices: Vec<_> = (0..self.choices)
            .map(|index| {
                let message = json!({ "role": "assistant", "content": content, "refusal": null });
                json!({ "index": index, "message": message, "logprobs": null, "finish_reason": self.finish_reason })
            })
            .collect();
        let body = self.envelope("chat.completion", &choices, self.usage.as_deref());
        Answer::whole(behaviour.status.unwrap_or(StatusCode::OK), body)
    }

    fn stream(&self, request: &Value, behaviour: &Behaviour) -> Answer {
        let asked = request["stream_options"]["include_usage"] == true;
        let usage = self.usage.as_deref().filter(|_| asked);
        let event = |choices: &[Value], usage| {
            format!("data: {}\n\n", self.envelope("chat.completion.chunk", choices, usage))
        };
        // Where the last chunk brings the usage, the others say that they do not.
        let part = |index: usize, delta: &Value, finish_reason: Option<&str>| {
            let choice =
                json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
            event(&[choice], usage.map(|_| "null"))
        };

        let mut events = Vec::new();
        for index in 0..self.choices {
            events.push(part(index, &json!({ "role": "assistant", "content": "", "refusal": null }), None));
        }
        for words in self.words.chunks(behaviour.tokens_per_chunk.unwrap_or(1)) {
            let delta = json!({ "content": words.concat() });
            events.extend((0..self.choices).map(|index| part(index, &delta, None)));
        }
        for index in 0..self.choices {
            events.push(part(index, &json!({}), Some(self.finish_reason)));
        }
        events.extend(usage.map(|usage| event(&[], Some(usage))));
        events.push("data: [DONE]\n\n".to_owned());
        Answer::events(behaviour.status.unwrap_or(StatusCode::OK), events)
    }

    /// The members around the choices. `usage` goes in as text, so that it stays what it is byte for byte.
    fn envelope(&self, object: &str, choices: &[Value], usage: Option<&str>) -> String {
        let envelope = json!({
            "id": "chatcmpl-mock",
            "object": object,
            "created": super::CREATED,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_mock",
            "choices": choices,
        });
        let mut text = envelope.to_string();
        if let Some(usage) = usage {
            text.pop();
            text.push_str(&format!(",\"usage\":{usage}}}"));
        }
        text
    }
}

fn usage(request: &Value, model: &str, text: &str, choices: usize) -> String {
    let counter = Counter::for_model(model);
    let prompt = counter.chat(request);
    let completion = counter.text(text) * choices;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
    .to_string()
}

/// So many words, each of which is one token in both current encodings.
fn words(count: usize) -> Vec<&'static str> {
    let opening = ["The"].into_iter();
    opening.chain(WORDS.iter().copied().cycle()).take(count).collect()
}

const WORDS: &[&str] = &[
    " answer",
    " to",
    " your",
    " question",
    " is",
    " that",
    " water",
    " runs",
    " down",
    " the",
    " hill",
    " and",
    " rests",
    " in",
    " a",
    " lake",
    ",",
    " where",
    " it",
    " waits",
    " for",
    " the",
    " sun",
    ".",
    " Then",
    " the",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_so_many_words_has_so_many_tokens() {
        for model in ["gpt-4", "gpt-4o"] {
            for count in [0, 1, 2, 26, 27, 28, 200] {
                assert_eq!(Counter::for_model(model).text(&words(count).concat()), count, "{model}");
            }
        }
    }

    #[test]
    fn usage_given_by_header_is_passed_on_byte_for_byte() {
        let odd = r#"{"prompt_tokens": 1e3,  "x":[]}"#;
        let behaviour = Behaviour { usage: Some(odd.to_owned()), ..Behaviour::default() };
        let Answer { chunks, .. } = answer(&behaviour, br#"{"model":"gpt-4o","messages":[]}"#);
        assert!(chunks[0].ends_with(&format!(",\"usage\":{odd}}}")), "{}", chunks[0]);
    }
}
