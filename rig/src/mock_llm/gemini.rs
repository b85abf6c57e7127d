//! Google's Gemini: `POST */models/{model}:{verb}`, on the Gemini API and, with a longer path, on
//! Vertex AI.
//!
//! In: a request whose path names model and verb. Out: an [`Answer`] with counted `usageMetadata`,
//! in a stream as running totals in every chunk. With `alt=sse` streams are events, else a JSON
//! array that comes in pieces. Google publishes no tokenizer, so text counts as for gpt-4o, without
//! overhead for roles; an image or other file counts [`MEDIA_TOKENS`]. Wire format: Gemini API
//! reference, "Generating content", "Tokens", "Embeddings". Not here: function calls and grounding
//! in the answer, safety ratings, `:predict`.

use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::tokens::Counter;
use super::usage::Usage;
use super::words::Text;
use super::{Answer, Behaviour, Format, Received};

/// `POST */models/{model}:{verb}`.
pub(super) const FORMAT: Format = Format {
    serves: |method, path| method == Method::POST && Target::of(path).is_some(),
    answer: |behaviour, received| answer(behaviour, received).unwrap_or_else(|refusal| refusal),
    error,
};

/// The tokens of an image or a page (Gemini API, "Understand and count tokens": 258 up to 384 by
/// 384 pixels).
const MEDIA_TOKENS: usize = 258;

/// The tokens of the mock's thinking, if `thinkingConfig` enables it.
const THOUGHT_TOKENS: usize = 8;

/// The tokens of any `cachedContent`.
const CACHED_TOKENS: usize = 1_000;

/// The length of an embedding; real ones have 768 or more numbers.
const DIMENSIONS: usize = 8;

fn answer(behaviour: &Behaviour, received: &Received) -> Result<Answer, Answer> {
    let path = received.uri.path();
    let Target { model, verb } = Target::of(path).ok_or_else(|| refusal("the path names no model"))?;
    let request: Value = serde_json::from_slice(&received.body)
        .map_err(|wrong| refusal(&format!("Invalid JSON payload received. {wrong}")))?;
    let status = behaviour.status.unwrap_or(StatusCode::OK);
    let counter = Counter::for_model(&model);
    match verb {
        Verb::GenerateContent => {
            let generation = Generation::of(&request, &model, counter, behaviour)?;
            Ok(Answer::whole(status, generation.whole(behaviour)))
        }
        Verb::StreamGenerateContent => {
            let generation = Generation::of(&request, &model, counter, behaviour)?;
            Ok(generation.stream(status, behaviour, &received.uri))
        }
        Verb::CountTokens => {
            let counted = if request["generateContentRequest"].is_object() {
                prompt(&request["generateContentRequest"], counter)
            } else {
                prompt(&request, counter)
            };
            let details = json!([{ "modality": "TEXT", "tokenCount": counted }]);
            let body = json!({ "totalTokens": counted, "promptTokensDetails": details });
            Ok(Answer::whole(status, pretty(&body)))
        }
        Verb::EmbedContent => {
            let usage = Usage::of(behaviour, || embedding_usage(content(&request["content"], counter)));
            let body = usage.under("usageMetadata", json!({ "embedding": embedding() }));
            Ok(Answer::whole(status, usage.write_pretty(&body)))
        }
        Verb::BatchEmbedContents => {
            let requests = items(&request["requests"]);
            let usage = Usage::of(behaviour, || {
                let each = items(&request["requests"]).map(|one| content(&one["content"], counter));
                embedding_usage(each.sum())
            });
            let embeddings: Vec<_> = requests.map(|_| embedding()).collect();
            let body = usage.under("usageMetadata", json!({ "embeddings": embeddings }));
            Ok(Answer::whole(status, usage.write_pretty(&body)))
        }
    }
}

/// Returns an error in Google's format.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let name = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..500 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    };
    let error = json!({ "code": status.as_u16(), "message": message, "status": name });
    Answer::whole(status, pretty(&json!({ "error": error })))
}

fn refusal(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, message)
}

/// The model and verb that a path names.
struct Target {
    model: String,
    verb: Verb,
}

#[derive(Clone, Copy)]
enum Verb {
    GenerateContent,
    StreamGenerateContent,
    CountTokens,
    EmbedContent,
    BatchEmbedContents,
}

impl Target {
    fn of(path: &str) -> Option<Self> {
        let (before, last) = path.rsplit_once('/')?;
        // Some clients escape the colon as %3A.
        let last = percent_decode_str(last).decode_utf8().ok()?;
        let (model, verb) = last.rsplit_once(':')?;
        let verb = match verb {
            "generateContent" => Verb::GenerateContent,
            "streamGenerateContent" => Verb::StreamGenerateContent,
            "countTokens" => Verb::CountTokens,
            "embedContent" => Verb::EmbedContent,
            "batchEmbedContents" => Verb::BatchEmbedContents,
            _ => return None,
        };
        let models = before.ends_with("/models") || before.ends_with("/tunedModels");
        models.then(|| Self { model: model.to_owned(), verb })
    }
}

/// The content of an answer, before it is formatted.
struct Generation {
    model: String,
    candidates: usize,
    text: Text,
    /// The thoughts that the answer shows. Hidden thoughts count too.
    thoughts: String,
    prompt: usize,
    thought: usize,
    cached: usize,
    counter: Counter,
}

impl Generation {
    fn of(request: &Value, model: &str, counter: Counter, behaviour: &Behaviour) -> Result<Self, Answer> {
        if !request["contents"].is_array() {
            return Err(refusal("contents is not specified"));
        }
        let config = either(request, "generationConfig", "generation_config");
        let number =
            |camel, snake| either(config, camel, snake).as_u64().and_then(|n| usize::try_from(n).ok());
        let allowed = number("maxOutputTokens", "max_output_tokens");
        let thinking = either(config, "thinkingConfig", "thinking_config");
        let thought = if thinking.is_object() {
            // A budget of -1 leaves the amount to the model.
            let budget = either(thinking, "thinkingBudget", "thinking_budget").as_u64();
            let budget = budget.and_then(|n| usize::try_from(n).ok()).unwrap_or(THOUGHT_TOKENS);
            THOUGHT_TOKENS.min(budget).min(allowed.unwrap_or(THOUGHT_TOKENS))
        } else {
            0
        };
        let shown = either(thinking, "includeThoughts", "include_thoughts") == true;
        let thoughts = Text::of(&Behaviour { output_tokens: Some(thought), ..Behaviour::default() }, None);
        let uncounted = behaviour.no_usage || behaviour.usage.is_some();
        let cached =
            if either(request, "cachedContent", "cached_content").is_string() { CACHED_TOKENS } else { 0 };
        Ok(Self {
            model: model.to_owned(),
            candidates: number("candidateCount", "candidate_count").unwrap_or(1).max(1),
            text: Text::of(behaviour, allowed.map(|n| n - thought)),
            thoughts: if shown { thoughts.whole() } else { String::new() },
            prompt: if uncounted { 0 } else { cached + prompt(request, counter) },
            thought,
            cached,
            counter,
        })
    }

    fn whole(&self, behaviour: &Behaviour) -> String {
        let text = self.text.whole();
        let parts: Vec<_> = [self.thought_part(), text_part(&text)].into_iter().flatten().collect();
        let usage = self.usage(behaviour, &text);
        usage.write_pretty(&self.chunk(&usage, &parts, true))
    }

    fn stream(&self, status: StatusCode, behaviour: &Behaviour, uri: &Uri) -> Answer {
        let mut chunks: Vec<(Vec<Value>, String)> = Vec::new();
        let mut so_far = String::new();
        chunks.extend(self.thought_part().map(|part| (vec![part], String::new())));
        for piece in self.text.pieces(behaviour) {
            so_far.push_str(&piece);
            chunks.push((text_part(&piece).into_iter().collect(), so_far.clone()));
        }
        if so_far.is_empty() {
            chunks.push((Vec::new(), String::new()));
        }
        let last = chunks.len() - 1;
        let chunks = chunks.iter().enumerate().map(|(index, (parts, so_far))| {
            let usage = self.usage(behaviour, so_far);
            let chunk = self.chunk(&usage, parts, index == last);
            (usage, chunk)
        });
        let asks_for_events = |pair| pair == "alt=sse" || pair == "%24alt=sse" || pair == "$alt=sse";
        if uri.query().is_some_and(|query| query.split('&').any(asks_for_events)) {
            let events = chunks.map(|(usage, chunk)| format!("data: {}\r\n\r\n", usage.write(&chunk)));
            return Answer::stream(status, "text/event-stream", events);
        }
        let pieces = chunks.enumerate().map(|(index, (usage, chunk))| {
            let before = if index == 0 { "[" } else { ",\r\n" };
            format!("{before}{}\n", usage.write_pretty(&chunk))
        });
        Answer::stream(status, "application/json; charset=UTF-8", pieces.chain(["]".to_owned()]))
    }

    fn chunk(&self, usage: &Usage, parts: &[Value], last: bool) -> Value {
        let candidates: Vec<_> = (0..self.candidates)
            .map(|index| {
                // An empty candidate has a content without parts.
                let mut content = json!({ "role": "model" });
                if !parts.is_empty() {
                    content["parts"] = parts.into();
                }
                let mut candidate = json!({ "content": content, "index": index });
                if last {
                    candidate["finishReason"] = if self.text.cut { "MAX_TOKENS" } else { "STOP" }.into();
                }
                candidate
            })
            .collect();
        let chunk = json!({ "candidates": candidates, "modelVersion": self.model, "responseId": "mock" });
        usage.under("usageMetadata", chunk)
    }

    /// Returns the totals after `so_far`. Like Google, omits numbers that are 0.
    fn usage(&self, behaviour: &Behaviour, so_far: &str) -> Usage {
        Usage::of(behaviour, || {
            let candidates = self.counter.text(so_far) * self.candidates;
            let mut usage = json!({
                "promptTokenCount": self.prompt,
                "totalTokenCount": self.prompt + candidates + self.thought,
                "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": self.prompt }],
            });
            for (name, count) in [
                ("candidatesTokenCount", candidates),
                ("thoughtsTokenCount", self.thought),
                ("cachedContentTokenCount", self.cached),
            ] {
                if count > 0 {
                    usage[name] = count.into();
                }
            }
            usage
        })
    }

    fn thought_part(&self) -> Option<Value> {
        (!self.thoughts.is_empty()).then(|| json!({ "text": self.thoughts, "thought": true }))
    }
}

fn text_part(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!({ "text": text }))
}

/// Counts the model's input without cached content.
fn prompt(request: &Value, counter: Counter) -> usize {
    let contents: usize = items(&request["contents"]).map(|item| content(item, counter)).sum();
    let system = content(either(request, "systemInstruction", "system_instruction"), counter);
    let tools: usize = items(&request["tools"])
        .flat_map(|tool| items(either(tool, "functionDeclarations", "function_declarations")))
        .map(|declaration| counter.text(&declaration.to_string()))
        .sum();
    contents + system + tools
}

fn content(content: &Value, counter: Counter) -> usize {
    items(&content["parts"])
        .map(|part| match part["text"].as_str() {
            Some(text) => counter.text(text),
            None if !either(part, "inlineData", "inline_data").is_null() => MEDIA_TOKENS,
            None if !either(part, "fileData", "file_data").is_null() => MEDIA_TOKENS,
            None => {
                let call = either(part, "functionCall", "function_call");
                let response = either(part, "functionResponse", "function_response");
                let texts = [call, response].map(|value| match value {
                    Value::Null => 0,
                    value => counter.text(&value.to_string()),
                });
                texts.iter().sum()
            }
        })
        .sum()
}

fn embedding() -> Value {
    json!({ "values": vec![0.125; DIMENSIONS] })
}

fn embedding_usage(prompt: usize) -> Value {
    json!({ "promptTokenCount": prompt, "promptTokenDetails": [{ "modality": "TEXT", "tokenCount": prompt }] })
}

/// Returns the member by either of its names, because protobuf's JSON allows both.
pub(super) fn either<'a>(object: &'a Value, camel: &str, snake: &str) -> &'a Value {
    let value = &object[camel];
    if value.is_null() { &object[snake] } else { value }
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_model_and_verb_after_any_prefix() {
        for path in [
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/google/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/gemini-2.5-flash%3AgenerateContent",
        ] {
            assert_eq!(Target::of(path).unwrap().model, "gemini-2.5-flash", "{path}");
        }
        for path in ["/v1beta/models", "/v1beta/models/gemini:rawPredict", "/v1/files/a:generateContent"] {
            assert!(Target::of(path).is_none(), "{path}");
        }
    }
}
