//! OpenAI's completions: `POST */completions`, whole or streamed.
//!
//! In: a prompt as text, token ids, or a list of either, and the requested [`Behaviour`]. Out: `n`
//! choices for each prompt. Usage counts each prompt once, and all `best_of` choices, including the
//! hidden ones. Wire format: OpenAI's API reference, "Completions". Not here: log probabilities.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received, azure, openai};

/// `POST */completions`; the table lists chat and llama.cpp before it.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && path.ends_with("/completions"),
    answer,
    error: openai::error,
};

/// OpenAI's default for `max_tokens` here.
const MAX_TOKENS: usize = 16;

fn answer(behaviour: &Behaviour, received: &Received) -> Answer {
    let request = match openai::object(&received.body) {
        Ok(request) => request,
        Err(refusal) => return refusal,
    };
    let Some(model) = request["model"].as_str().or_else(|| azure::deployment(received.uri.path())) else {
        return openai::error(StatusCode::BAD_REQUEST, "a string 'model' is required");
    };
    let Some(prompts) = prompts(&request["prompt"]) else {
        return openai::error(StatusCode::BAD_REQUEST, "'prompt' is text, token ids or a list of either");
    };
    let completion = Completion::of(&request, model, &prompts, behaviour);
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    if request["stream"] == true {
        let asked = request["stream_options"]["include_usage"] == true;
        Answer::events(status, completion.events(asked, behaviour))
    } else {
        Answer::whole(status, completion.whole())
    }
}

/// A prompt to complete or embed.
pub(super) enum Prompt<'a> {
    Text(&'a str),
    /// The number of token ids.
    Ids(usize),
}

impl Prompt<'_> {
    /// Counts its tokens.
    pub(super) fn tokens(&self, counter: Counter) -> usize {
        match self {
            Self::Text(text) => counter.text(text),
            Self::Ids(ids) => *ids,
        }
    }

    fn echo(&self) -> &str {
        match self {
            Self::Text(text) => text,
            // The text of token ids is unknown without the tokenizer's vocabulary.
            Self::Ids(_) => "",
        }
    }
}

/// Returns the prompts in `value`: one text or list of ids, or a list of either; none for other
/// values.
pub(super) fn prompts(value: &Value) -> Option<Vec<Prompt<'_>>> {
    match value {
        // A completion without a prompt starts with the end-of-text token.
        Value::Null => Some(vec![Prompt::Ids(1)]),
        Value::Array(list) if !list.iter().all(Value::is_u64) => list.iter().map(prompt).collect(),
        single => prompt(single).map(|prompt| vec![prompt]),
    }
}

fn prompt(value: &Value) -> Option<Prompt<'_>> {
    match value {
        Value::String(text) => Some(Prompt::Text(text)),
        Value::Array(ids) if ids.iter().all(Value::is_u64) => Some(Prompt::Ids(ids.len())),
        _ => None,
    }
}

struct Completion {
    model: String,
    /// The text before each choice.
    echoes: Vec<String>,
    text: Text,
    usage: Usage,
}

impl Completion {
    fn of(request: &Value, model: &str, prompts: &[Prompt<'_>], behaviour: &Behaviour) -> Self {
        let number = |name| openai::number(request, name);
        let n = number("n").unwrap_or(1).max(1);
        let made = number("best_of").unwrap_or(n).max(n);
        let text = Text::of(behaviour, Some(number("max_tokens").unwrap_or(MAX_TOKENS)));
        let usage = Usage::of(behaviour, || {
            let counter = Counter::for_model(model);
            let prompt_tokens = prompts.iter().map(|prompt| prompt.tokens(counter)).sum();
            openai::usage(prompt_tokens, counter.text(&text.whole()) * made * prompts.len())
        });
        let echo = request["echo"] == true;
        let echoes = prompts
            .iter()
            .flat_map(|prompt| core::iter::repeat_n(if echo { prompt.echo() } else { "" }, n))
            .map(str::to_owned)
            .collect();
        Self { model: model.to_owned(), echoes, text, usage }
    }

    fn whole(&self) -> String {
        let text = self.text.whole();
        let choices: Vec<_> = (0..)
            .zip(&self.echoes)
            .map(|(index, echo)| choice(index, &format!("{echo}{text}"), Some(self.finish_reason())))
            .collect();
        self.usage.write(&self.usage.within(self.envelope(&choices)))
    }

    fn events(&self, asked: bool, behaviour: &Behaviour) -> Vec<String> {
        let asked = asked && self.usage.is_some();
        let part = |index: usize, text: &str, finish_reason: Option<&str>| {
            let mut chunk = self.envelope(&[choice(index, text, finish_reason)]);
            // If the last chunk has usage, the others have `"usage": null`.
            if asked {
                chunk["usage"] = Value::Null;
            }
            openai::data(&chunk.to_string())
        };
        let mut events = Vec::new();
        for (index, echo) in self.echoes.iter().enumerate().filter(|(_, echo)| !echo.is_empty()) {
            events.push(part(index, echo, None));
        }
        for piece in self.text.pieces(behaviour) {
            events.extend((0..self.echoes.len()).map(|index| part(index, &piece, None)));
        }
        events.extend((0..self.echoes.len()).map(|index| part(index, "", Some(self.finish_reason()))));
        if asked {
            events.push(openai::data(&self.usage.write(&self.usage.within(self.envelope(&[])))));
        }
        events.push(openai::DONE.to_owned());
        events
    }

    const fn finish_reason(&self) -> &'static str {
        if self.text.cut { "length" } else { "stop" }
    }

    fn envelope(&self, choices: &[Value]) -> Value {
        json!({
            "id": "cmpl-mock",
            "object": "text_completion",
            "created": super::CREATED,
            "model": self.model,
            "choices": choices,
        })
    }
}

fn choice(index: usize, text: &str, finish_reason: Option<&str>) -> Value {
    json!({ "index": index, "text": text, "logprobs": null, "finish_reason": finish_reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_text_or_ids_or_lists_of_either() {
        let counter = Counter::for_model("gpt-4o");
        let cases = [
            (json!("Hello there"), Some(vec![2])),
            (json!(["Hello there", "Hello"]), Some(vec![2, 1])),
            (json!([11, 12, 13]), Some(vec![3])),
            (json!([[11, 12, 13], [14]]), Some(vec![3, 1])),
            (json!(null), Some(vec![1])),
            (json!({}), None),
            (json!(["Hello", 1.5]), None),
        ];
        for (value, expected) in cases {
            let counted = prompts(&value)
                .map(|prompts| prompts.iter().map(|prompt| prompt.tokens(counter)).collect::<Vec<_>>());
            assert_eq!(counted, expected, "{value}");
        }
    }
}
