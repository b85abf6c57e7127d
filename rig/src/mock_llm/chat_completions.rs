//! OpenAI's chat completions: `POST */chat/completions`, whole or streamed.
//!
//! In: the request body and the requested [`Behaviour`]. Out: an [`Answer`] with counted `usage`:
//! the prompt by the cookbook's rule, the completion from the text sent. Wire format: OpenAI's API
//! reference, "Chat Completions"; vLLM's documentation for `continuous_usage_stats`. Not here: tool
//! calls, refusals and audio in the answer, log probabilities, obfuscation padding.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, openai};

/// `POST */chat/completions`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/chat/completions"),
    answer,
    error: openai::error,
};

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    openai::object(&received.body)
        .and_then(|request| Completion::of(&request, behaviour))
        .map_or_else(|refusal| refusal, |completion| completion.answer(behaviour, None, |_| ()))
}

/// The content of an answer, before it is formatted.
pub(super) struct Completion {
    model: String,
    choices: usize,
    text: Text,
    streamed: bool,
    /// Whether the client requested usage in a stream.
    asked: bool,
    /// The tokens of the prompt, if each chunk should carry the usage so far, as vLLM does on
    /// request.
    continuous: Option<usize>,
    usage: Usage,
}

impl Completion {
    /// Answers `request`, or returns its error.
    pub(super) fn of(request: &Value, behaviour: &Behaviour) -> Result<Self, Answer> {
        if !request["model"].is_string() || !request["messages"].is_array() {
            let missing = "a string 'model' and an array 'messages' are required";
            return Err(openai::error(StatusCode::BAD_REQUEST, missing));
        }
        let number = |name: &str| openai::number(request, name);
        let model = request["model"].as_str().unwrap_or_default().to_owned();
        let choices = number("n").unwrap_or(1).max(1);
        let allowed = number("max_completion_tokens").or_else(|| number("max_tokens"));
        let text = Text::of(behaviour, allowed);
        let mut continuous = None;
        let usage = Usage::of(behaviour, || {
            let counter = Counter::for_model(&model);
            let prompt = counter.chat(request);
            continuous = Some(prompt).filter(|_| request["stream_options"]["continuous_usage_stats"] == true);
            openai::usage(prompt, counter.text(&text.whole()) * choices)
        });
        let streamed = request["stream"] == true;
        let asked = request["stream_options"]["include_usage"] == true;
        Ok(Self { model, choices, text, streamed, asked, continuous, usage })
    }

    /// Formats the answer as a whole or a stream, as requested. `edit` changes the whole and
    /// `opening` precedes the stream.
    pub(super) fn answer(
        &self,
        behaviour: &Behaviour,
        opening: Option<String>,
        edit: impl FnOnce(&mut Value),
    ) -> Answer {
        let status = behaviour.status.unwrap_or(StatusCode::OK);
        if self.streamed {
            return Answer::events(status, opening.into_iter().chain(self.events(behaviour)).collect());
        }
        let mut whole = self.whole();
        edit(&mut whole);
        Answer::whole(status, self.usage.write(&whole))
    }

    fn whole(&self) -> Value {
        let content = self.text.whole();
        let choices: Vec<_> = (0..self.choices)
            .map(|index| {
                let message = json!({ "role": "assistant", "content": content, "refusal": null });
                let finish_reason = self.finish_reason();
                json!({ "index": index, "message": message, "logprobs": null, "finish_reason": finish_reason })
            })
            .collect();
        self.usage.within(self.envelope("chat.completion", &choices))
    }

    fn events(&self, behaviour: &Behaviour) -> Vec<String> {
        let asked = self.asked && self.usage.is_some();
        let part = |index: usize, delta: &Value, finish_reason: Option<&str>, so_far: usize| {
            let choice =
                json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
            let mut chunk = self.envelope("chat.completion.chunk", &[choice]);
            // If only the last chunk has usage, the others have `"usage": null`.
            if asked {
                chunk["usage"] = self
                    .continuous
                    .map_or(Value::Null, |prompt| openai::usage(prompt, so_far * self.choices));
            }
            openai::data(&chunk.to_string())
        };

        let all = 0..self.choices;
        let opening = json!({ "role": "assistant", "content": "", "refusal": null });
        let mut events: Vec<_> = all.clone().map(|index| part(index, &opening, None, 0)).collect();
        let mut so_far = 0;
        for (piece, tokens) in self.text.pieces(behaviour).zip(self.text.lengths(behaviour)) {
            so_far += tokens;
            let delta = json!({ "content": piece });
            events.extend(all.clone().map(|index| part(index, &delta, None, so_far)));
        }
        events.extend(all.map(|index| part(index, &json!({}), Some(self.finish_reason()), so_far)));
        if asked {
            let last = self.usage.within(self.envelope("chat.completion.chunk", &[]));
            events.push(openai::data(&self.usage.write(&last)));
        }
        events.push(openai::DONE.to_owned());
        events
    }

    const fn finish_reason(&self) -> &'static str {
        if self.text.cut { "length" } else { "stop" }
    }

    fn envelope(&self, object: &str, choices: &[Value]) -> Value {
        json!({
            "id": "chatcmpl-mock",
            "object": object,
            "created": super::CREATED,
            "model": self.model,
            "service_tier": "default",
            "system_fingerprint": "fp_mock",
            "choices": choices,
        })
    }
}
