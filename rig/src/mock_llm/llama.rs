//! llama.cpp's own completions: `POST */completion`, `*/infill`, and `*/completions` unless that is
//! below `/v1`.
//!
//! In: a prompt, or a list of prompts, and the requested [`Behaviour`]. Out: one answer for a
//! single prompt, a list for several, or events without a final `[DONE]`. Each answer has its
//! counts as top-level members, beside all settings of the call, so `x-mock-usage` replaces these
//! members as it does Ollama's. If the client selects members (`response_fields`), the answer has
//! only those. Wire format: llama.cpp, `tools/server/README.md`. Not here: grammars, probabilities,
//! slots.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::completions::prompts;
use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, openai};

/// `POST */completion`, `*/infill`, and `*/completions` unless that is below `/v1` or an Azure
/// deployment.
pub(super) const FORMAT: Format = Format { serves, answer, error: openai::error };

fn serves(method: &Method, path: &str) -> bool {
    let is_shared = path.ends_with("/completions");
    let is_of_openai =
        path.ends_with("/chat/completions") || path.contains("/v1/") || path.contains("/openai/");
    let is_own = path.ends_with("/completion") || path.ends_with("/infill");
    method == Method::POST && (is_own || (is_shared && !is_of_openai))
}

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let Some(prompts) = prompts(&request["prompt"]) else {
        return openai::error(StatusCode::BAD_REQUEST, "\"prompt\" must be a string or a list");
    };
    let bounds = ["n_predict", "max_completion_tokens", "max_tokens"].map(|name| &request[name]);
    let bound = bounds.into_iter().find(|bound| !bound.is_null()).and_then(Value::as_u64);
    let text = Text::of(behaviour, bound.and_then(|bound| usize::try_from(bound).ok()));
    let counter = Counter::for_model("gpt-4o");
    let surroundings: usize = ["input_prefix", "input_suffix"]
        .map(|name| counter.text(request[name].as_str().unwrap_or_default()))
        .iter()
        .sum();
    let completions: Vec<_> = (0..)
        .zip(&prompts)
        .map(|(index, prompt)| {
            let evaluated = surroundings + prompt.tokens(counter);
            Completion { index, evaluated, text: &text, request: &request, behaviour }
        })
        .collect();
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    if request["stream"] == true {
        return Answer::events(status, completions.iter().flat_map(Completion::events).collect());
    }
    let whole: Vec<_> = completions.iter().map(|completion| completion.last(&text.whole())).collect();
    let whole = if whole.len() == 1 { whole.concat() } else { format!("[{}]", whole.join(",")) };
    Answer::whole(status, whole)
}

/// The completion of one prompt.
struct Completion<'a> {
    index: usize,
    /// The tokens of its prompt.
    evaluated: usize,
    text: &'a Text,
    request: &'a Value,
    behaviour: &'a Behaviour,
}

const COUNTS: [&str; 2] = ["tokens_predicted", "tokens_evaluated"];

impl Completion<'_> {
    fn events(&self) -> Vec<String> {
        let mut predicted = 0;
        let pieces = self.text.pieces(self.behaviour).zip(self.text.lengths(self.behaviour));
        let mut events: Vec<_> = pieces
            .map(|(content, length)| {
                predicted += length;
                let event = json!({ "index": self.index, "content": content, "tokens": [7], "stop": false, "id_slot": -1 });
                self.counted(&event, predicted)
            })
            .collect();
        events.push(self.last(""));
        events.iter().map(|event| openai::data(event)).collect()
    }

    /// Returns the answer, or the last event of a stream.
    fn last(&self, content: &str) -> String {
        let predicted = Counter::for_model("gpt-4o").text(&self.text.whole());
        let mut answer = json!({
            "index": self.index,
            "content": content,
            "tokens": [],
            "id_slot": 0,
            "stop": true,
            "model": "mock",
            "generation_settings": { "n_predict": self.request["n_predict"], "temperature": 0.8, "samplers": ["top_k", "top_p"] },
            "prompt": self.request["prompt"],
            "truncated": false,
            "stop_type": if self.text.cut { "limit" } else { "eos" },
            "stopping_word": "",
            "tokens_cached": self.evaluated + predicted,
        });
        let Some(wanted) = self.request["response_fields"].as_array().filter(|wanted| !wanted.is_empty())
        else {
            return self.counted(&answer, predicted);
        };
        let counted: Value =
            serde_json::from_str(&self.counted(&answer, predicted)).expect("an answer is JSON");
        let members = answer.as_object_mut().expect("an answer is an object");
        members.clear();
        for name in wanted.iter().filter_map(Value::as_str).filter(|name| !counted[*name].is_null()) {
            members.insert(name.to_owned(), counted[name].clone());
        }
        answer.to_string()
    }

    /// Writes `object` with its counts as top-level members.
    fn counted(&self, object: &Value, predicted: usize) -> String {
        let usage = Usage::of(self.behaviour, || json!({ COUNTS[0]: predicted, COUNTS[1]: self.evaluated }));
        usage.write_among(object, &COUNTS)
    }
}
