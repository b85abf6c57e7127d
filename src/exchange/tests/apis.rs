//! The APIs' calls and the parts of their answers, for tests that combine them wrongly.

use tollgate_rig::mock_llm::eventstream;

/// An API, and the form of its upstream's answers.
pub(super) struct Api {
    pub(super) path: &'static str,
    /// A call whose answer is streamed.
    pub(super) request: &'static str,
    pub(super) content_type: &'static str,
    /// Formats a piece of text of a stream.
    pub(super) part: fn(&str) -> String,
    /// Formats the usage report of a stream, with the two counts as given.
    pub(super) usage: fn(&str, &str) -> String,
    /// Formats a whole answer with this text and more members.
    pub(super) whole: fn(&str, &str) -> String,
    pub(super) framed: fn(&str) -> Vec<u8>,
}

pub(super) const APIS: [Api; 5] = [
    Api {
        path: "/v1/chat/completions",
        request: r#"{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}],"max_tokens":100}"#,
        content_type: EVENTS,
        part: |text| format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#),
        usage: |input, output| {
            format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{input},"completion_tokens":{output}}}}}"#)
        },
        whole: |text, more| format!(r#"{{"choices":[{{"message":{{"content":"{text}"}}}}]{more}}}"#),
        framed: event,
    },
    Api {
        path: "/v1/messages",
        request: r#"{"model":"claude-sonnet-4-5","stream":true,"messages":[{"role":"user","content":"Hi"}],"max_tokens":100}"#,
        content_type: EVENTS,
        part: |text| {
            format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
            )
        },
        usage: |input, output| {
            format!(
                r#"{{"type":"message_delta","delta":{{}},"usage":{{"input_tokens":{input},"output_tokens":{output}}}}}"#
            )
        },
        whole: |text, more| {
            format!(r#"{{"type":"message","content":[{{"type":"text","text":"{text}"}}]{more}}}"#)
        },
        framed: event,
    },
    Api {
        path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        request: r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":100}}"#,
        content_type: EVENTS,
        part: |text| format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]}}"#),
        usage: |input, output| {
            format!(
                r#"{{"candidates":[],"usageMetadata":{{"promptTokenCount":{input},"candidatesTokenCount":{output}}}}}"#
            )
        },
        whole: |text, more| {
            format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}}}}]{more}}}"#)
        },
        framed: event,
    },
    Api {
        path: "/model/amazon.nova-lite-v1%3A0/converse-stream",
        request: r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":100}}"#,
        content_type: "application/vnd.amazon.eventstream",
        part: |text| format!(r#"{{"contentBlockIndex":0,"delta":{{"text":"{text}"}}}}"#),
        usage: |input, output| format!(r#"{{"usage":{{"inputTokens":{input},"outputTokens":{output}}}}}"#),
        whole: |text, more| {
            format!(
                r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"{text}"}}]}}}}{more}}}"#
            )
        },
        framed: |json| eventstream::event("any", json),
    },
    Api {
        path: "/api/chat",
        request: r#"{"model":"llama3.2","messages":[{"role":"user","content":"Hi"}],"options":{"num_predict":100}}"#,
        content_type: "application/x-ndjson",
        part: |text| format!(r#"{{"message":{{"role":"assistant","content":"{text}"}},"done":false}}"#),
        usage: |input, output| {
            format!(r#"{{"done":true,"prompt_eval_count":{input},"eval_count":{output}}}"#)
        },
        whole: |text, more| format!(r#"{{"message":{{"role":"assistant","content":"{text}"}}{more}}}"#),
        framed: |json| format!("{json}\n").into_bytes(),
    },
];

pub(super) const EVENTS: &str = "text/event-stream";

/// Two tokens in all encodings that are used here, and a character of two bytes.
pub(super) const PART: &str = "Hello é";

fn event(json: &str) -> Vec<u8> {
    format!("data: {json}\n\n").into_bytes()
}

impl Api {
    pub(super) fn framed_part(&self, text: &str) -> Vec<u8> {
        (self.framed)(&(self.part)(text))
    }

    pub(super) fn framed_usage(&self, input: &str, output: &str) -> Vec<u8> {
        (self.framed)(&(self.usage)(input, output))
    }
}
