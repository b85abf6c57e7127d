//! A call of every API that the mock speaks, in the form its clients send, and the charge for its
//! answer.
//!
//! In: nothing. Out: [`Call`]s. Not here: chat completions, which most other tests cover, and other
//! expectations (`apis`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_rig::client::Request;
use tollgate_rig::mock_llm::eventstream;

/// A call of one API.
pub(crate) struct Call {
    pub path: &'static str,
    pub body: Bytes,
    content_type: &'static str,
    /// The names of the charged numbers in the answer, each with its weight in tokens.
    told: &'static [(&'static str, u64)],
    /// Tokens charged without a report from the answer.
    untold: u64,
}

impl Call {
    /// Returns a call with a JSON body.
    pub(crate) fn json(path: &'static str, body: &Value, told: &'static [(&'static str, u64)]) -> Self {
        Self { path, body: body.to_string().into(), content_type: "application/json", told, untold: 0 }
    }

    /// Returns the request, with its own tenant.
    pub(crate) fn request(&self) -> Request {
        self.request_of(self.path, "")
    }

    /// Returns the request for this tenant, through a detour.
    pub(crate) fn request_of(&self, tenant: &str, detour: &str) -> Request {
        let path = format!("{detour}{}", self.path);
        let request = if self.body.is_empty() { Request::get(&path) } else { Request::post(&path) };
        let request = request.header("x-tenant-id", tenant).header("content-type", self.content_type);
        request.body(self.body.clone())
    }

    /// Returns whether the call costs no tokens.
    pub(crate) const fn is_free(&self) -> bool {
        self.told.is_empty() && self.untold == 0
    }

    /// Returns the charge for an answer with this body.
    pub(crate) fn charged(&self, answer: &[u8]) -> u64 {
        let answer = readable(answer);
        let told = self.told.iter().map(|(name, worth)| worth * last(&answer, name));
        told.sum::<u64>() + self.untold
    }
}

/// Returns an answer as text, including the contents of binary frames and the base64 inside them.
pub(crate) fn readable(answer: &[u8]) -> String {
    let Ok(frames) = eventstream::frames(answer) else { return String::from_utf8_lossy(answer).into_owned() };
    let payloads = frames.iter().map(|frame| match frame.json()["bytes"].as_str() {
        Some(native) => STANDARD.decode(native).unwrap(),
        None => frame.payload.clone(),
    });
    payloads.map(|payload| String::from_utf8(payload).unwrap()).collect()
}

/// Returns the last number under this member name: streams report totals.
pub(crate) fn last(answer: &str, name: &str) -> u64 {
    let (_, value) =
        answer.rsplit_once(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {answer}"));
    let digits: String = value.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|error| panic!("{error}: {name} in {answer}"))
}

const OPENAI: &[(&str, u64)] = &[("prompt_tokens", 1), ("completion_tokens", 1)];
const IN_AND_OUT: &[(&str, u64)] = &[("input_tokens", 1), ("output_tokens", 1)];
const ANTHROPIC: &[(&str, u64)] = &[
    ("input_tokens", 1),
    ("cache_creation_input_tokens", 1),
    ("cache_read_input_tokens", 1),
    ("output_tokens", 1),
];
const GEMINI: &[(&str, u64)] =
    &[("promptTokenCount", 1), ("candidatesTokenCount", 1), ("thoughtsTokenCount", 1)];
const BEDROCK: &[(&str, u64)] = &[("inputTokens", 1), ("outputTokens", 1)];
const LLAMA: &[(&str, u64)] = &[("tokens_evaluated", 1), ("tokens_predicted", 1)];
const OLLAMA: &[(&str, u64)] = &[("prompt_eval_count", 1), ("eval_count", 1)];

/// The prompt of every call.
pub(crate) const QUESTION: &str = "Where does the water go?";

/// Adds members to an object.
fn with(mut body: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("{members} has no members") };
    body.as_object_mut().unwrap().extend(members);
    body
}

/// Returns the calls of OpenAI, and those of Azure that differ.
pub(crate) fn of_openai() -> Vec<Call> {
    let responses = json!({ "model": "gpt-4o", "input": QUESTION });
    let completions = json!({ "model": "gpt-3.5-turbo-instruct", "prompt": [QUESTION, "Why?"], "n": 2 });
    let asking = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let speech = |model: &str| json!({ "model": model, "voice": "alloy", "input": "Hello there" });
    let image = json!({ "model": "gpt-image-1", "prompt": "A hill", "quality": "low" });
    vec![
        Call::json("/v1/responses", &responses, IN_AND_OUT),
        Call::json("/stream/v1/responses", &with(responses.clone(), json!({ "stream": true })), IN_AND_OUT),
        Call::json("/v1/completions", &completions, OPENAI),
        Call::json("/stream/v1/completions", &with(completions, asking), OPENAI),
        Call::json(
            "/v1/embeddings",
            &json!({ "model": "text-embedding-3-small", "input": [QUESTION, "Why?"] }),
            &[("prompt_tokens", 1)],
        ),
        Call::json(
            "/openai/deployments/embed/embeddings?api-version=2024-10-21",
            &json!({ "input": [[1, 2, 3], [4]] }),
            &[("prompt_tokens", 1)],
        ),
        // Audio answers report no usage: two tokens of text, and eleven letters at 1,250 tokens for
        // 900.
        Call { untold: 2 + 16, ..Call::json("/v1/audio/speech", &speech("gpt-4o-mini-tts"), &[]) },
        Call::json(
            "/stream/v1/audio/speech",
            &with(speech("gpt-4o-mini-tts"), json!({ "stream_format": "sse" })),
            IN_AND_OUT,
        ),
        transcription("/v1/audio/transcriptions", "gpt-4o-transcribe", "", IN_AND_OUT),
        transcription("/whisper/v1/audio/transcriptions", "whisper-1", "", &[("seconds", 10)]),
        transcription("/stream/v1/audio/transcriptions", "gpt-4o-transcribe", "true", IN_AND_OUT),
        Call::json("/v1/images/generations", &image, IN_AND_OUT),
        Call::json("/stream/v1/images/generations", &with(image, json!({ "stream": true })), IN_AND_OUT),
        Call::json("/v1/moderations", &json!({ "input": QUESTION }), &[]),
        Call { body: Bytes::new(), ..Call::json("/v1/models", &json!({}), &[]) },
    ]
}

/// Returns an upload of one or two seconds of audio.
fn transcription(
    path: &'static str,
    model: &str,
    stream: &str,
    told: &'static [(&'static str, u64)],
) -> Call {
    let field = |name: &str, value: &str| {
        format!("--line\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = "--line\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let fields = field("model", model) + &field("prompt", "Hello there") + &field("stream", stream);
    let body = [fields.as_bytes(), file.as_bytes(), &[0xfe; 50_000], b"\r\n--line--\r\n"].concat();
    let content_type = "multipart/form-data; boundary=line";
    Call { content_type, body: body.into(), ..Call::json(path, &json!({}), told) }
}

/// Returns the calls of all other APIs.
pub(crate) fn of_others() -> Vec<Call> {
    let messages = json!([{ "role": "user", "content": QUESTION }]);
    let stream = |body: Value| with(body, json!({ "stream": true }));
    let claude = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 50, "messages": messages,
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral" } }],
    });
    let thinking = with(claude.clone(), json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }));
    let contents = json!([{ "role": "user", "parts": [{ "text": QUESTION }] }]);
    let gemini = json!({ "contents": contents, "generationConfig": { "thinkingConfig": {} } });
    let embedded = json!({ "content": { "parts": [{ "text": QUESTION }] } });
    let native = json!({ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": messages });
    let llama = json!({ "prompt": QUESTION });
    let prompt_and_generation: &[_] = &[("prompt_token_count", 1), ("generation_token_count", 1)];
    let cohere = json!({ "model": "command-r", "messages": messages });
    let ollama = json!({ "model": "llama3.2", "messages": messages });
    let native_prompt = json!({ "prompt": QUESTION, "n_predict": 120 });
    vec![
        Call::json("/v1/messages", &claude, ANTHROPIC),
        Call::json("/stream/v1/messages", &stream(claude.clone()), ANTHROPIC),
        Call::json("/thinking/v1/messages", &stream(thinking), ANTHROPIC),
        Call::json("/v1/publishers/anthropic/models/claude-sonnet-4-5:streamRawPredict", &native, ANTHROPIC),
        Call::json("/v1beta/models/gemini-2.5-flash:generateContent", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-2.5-flash:streamGenerateContent", &gemini, GEMINI),
        Call::json("/v1beta/models/gemini-embedding-001:embedContent", &embedded, &[("promptTokenCount", 1)]),
        Call::json("/model/amazon.nova-lite-v1%3A0/converse", &converse(), BEDROCK),
        Call::json("/model/amazon.nova-lite-v1%3A0/converse-stream", &converse(), BEDROCK),
        Call::json("/model/anthropic.claude-sonnet-4/invoke", &native, ANTHROPIC),
        Call::json("/model/anthropic.claude-sonnet-4/invoke-with-response-stream", &native, ANTHROPIC),
        Call::json("/model/meta.llama3-8b-instruct-v1%3A0/invoke", &llama, prompt_and_generation),
        Call::json("/model/meta.llama3/invoke-with-response-stream", &llama, prompt_and_generation),
        // The last numbers in the answer are the model's tokens; the billed ones come before.
        Call::json("/v2/chat", &cohere, IN_AND_OUT),
        Call::json("/stream/v2/chat", &stream(cohere.clone()), IN_AND_OUT),
        Call::json("/completion", &native_prompt, LLAMA),
        Call::json("/stream/completion", &stream(native_prompt.clone()), LLAMA),
        Call::json("/completions", &native_prompt, LLAMA),
        Call::json("/stream/completions", &stream(native_prompt), LLAMA),
        Call::json("/infill", &json!({ "input_prefix": QUESTION, "input_suffix": "Why?" }), LLAMA),
        Call::json("/api/chat", &ollama, OLLAMA),
        Call::json("/whole/api/chat", &with(ollama, json!({ "stream": false })), OLLAMA),
        Call::json("/api/generate", &json!({ "model": "llama3.2", "prompt": QUESTION }), OLLAMA),
        Call::json(
            "/api/embed",
            &json!({ "model": "llama3.2", "input": QUESTION }),
            &[("prompt_eval_count", 1)],
        ),
    ]
}

/// Returns the body of a Bedrock Converse call.
pub(crate) fn converse() -> Value {
    json!({ "messages": [{ "role": "user", "content": [{ "text": QUESTION }] }] })
}
