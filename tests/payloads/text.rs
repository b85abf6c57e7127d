//! Answers without usage: the call is charged the tokens of the model's text and nothing of the
//! JSON around it, in every format, whole and streamed.
//!
//! In: answers in each API's format, and their text. Out: nothing. The oracle is tiktoken-rs. Not
//! here: answers of unknown formats (`exchange::tests::response`).

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tollgate::api::FORMATS;
use tollgate_rig::mock_llm::eventstream;

use crate::cases::{Case, Headers};
use crate::charged;

/// An answer without usage.
struct Untold {
    format: &'static str,
    path: &'static str,
    request: &'static str,
    content_type: &'static str,
    /// The documents of the answer. In a stream each is one event, line or frame.
    documents: &'static [&'static str],
    /// The model's whole text, in the order of the documents.
    text: &'static str,
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// Formats without text to charge: their usage follows from the request, or is zero.
const WITHOUT_TEXT: [&str; 10] = [
    "openai_embeddings",
    "openai_speech",
    "openai_images",
    "openai_image_edits",
    "openai_moderations",
    "gemini_embed",
    "cohere_embed",
    "ollama_embed",
    "models",
    "mcp",
];

const CHAT: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"max_tokens":1000}"#;
const PROMPT: &str = r#"{"model":"gpt-4o","prompt":"Hi","max_tokens":1000}"#;
const BLOCKS: &str =
    r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":1000}}"#;
const CONTENTS: &str = r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#;

const ANSWERS: [Untold; 30] = [
    Untold {
        format: "openai_chat",
        path: "/v1/chat/completions",
        request: CHAT,
        content_type: JSON,
        documents: &[
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o","choices":[{"index":0,
            "message":{"role":"assistant","content":"Grüße, \"Welt\"","reasoning_content":"Let me think. ","refusal":null,
            "tool_calls":[{"id":"call_1","type":"function","function":{"name":"mail","arguments":"{\"to\":\"ada\"}"}}]},
            "logprobs":{"content":[{"token":"Gr","logprob":-0.1,"bytes":[71,114]}]},"finish_reason":"tool_calls"},
            {"index":1,"message":{"role":"assistant","content":null,"refusal":"I cannot."},"finish_reason":"stop"}],
            "service_tier":"default","system_fingerprint":"fp_1"}"#,
        ],
        text: "Grüße, \"Welt\"Let me think. mail{\"to\":\"ada\"}I cannot.",
    },
    Untold {
        format: "openai_chat",
        path: "/v1/chat/completions",
        request: CHAT,
        content_type: EVENTS,
        documents: &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"Let me think."}}],"obfuscation":"aBcDe"}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":" Grüße,"}}],"obfuscation":"xYz"}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":" Welt"}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"mail","arguments":""}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"to\":\"ada\"}"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ],
        text: "Let me think. Grüße, Weltmail{\"to\":\"ada\"}",
    },
    Untold {
        format: "openai_completions",
        path: "/v1/completions",
        request: PROMPT,
        content_type: JSON,
        documents: &[
            r#"{"id":"cmpl-1","object":"text_completion","choices":[{"text":" Hallo Welt","index":0,"logprobs":null},{"text":" und du","index":1}]}"#,
        ],
        text: " Hallo Welt und du",
    },
    Untold {
        format: "openai_completions",
        path: "/v1/completions",
        request: PROMPT,
        content_type: EVENTS,
        documents: &[
            r#"{"id":"cmpl-1","choices":[{"text":" Hallo","index":0}]}"#,
            r#"{"id":"cmpl-1","choices":[{"text":" Welt","index":0,"finish_reason":"stop"}]}"#,
            "[DONE]",
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "llama_completion",
        path: "/completion",
        request: PROMPT,
        content_type: JSON,
        documents: &[
            r#"{"index":0,"content":" Hallo Welt","tokens":[],"stop":true,"model":"gpt-4o","generation_settings":{"n_predict":7,"samplers":["top_k"]},"prompt":"Hi","stop_type":"limit"}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "llama_completion",
        path: "/completion",
        request: PROMPT,
        content_type: EVENTS,
        documents: &[
            r#"{"content":" Hallo","tokens":[7],"stop":false,"id_slot":0}"#,
            r#"{"content":" Welt","tokens":[8],"stop":false,"id_slot":0}"#,
            r#"{"content":"","stop":true,"id_slot":0,"generation_settings":{"n_predict":7}}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "openai_completions",
        path: "/completions",
        request: PROMPT,
        content_type: EVENTS,
        documents: &[r#"{"content":" Hallo","stop":false}"#, r#"{"content":" Welt","stop":false}"#],
        text: " Hallo Welt",
    },
    Untold {
        format: "openai_responses",
        path: "/v1/responses",
        request: r#"{"model":"gpt-4o","input":"Hi","instructions":"Be brief, and never speak of it.","max_output_tokens":1000}"#,
        content_type: JSON,
        documents: &[
            r#"{"id":"resp_1","object":"response","status":"completed","instructions":"Be brief, and never speak of it.","output":[
            {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"Thinking."}]},
            {"type":"message","id":"msg_1","role":"assistant","content":[{"type":"output_text","text":" Hallo Welt","annotations":[]},{"type":"refusal","refusal":"No."}]},
            {"type":"function_call","id":"fc_1","call_id":"call_1","name":"mail","arguments":"{\"to\":\"ada\"}"}],"text":{"format":{"type":"text"}}}"#,
        ],
        text: "Thinking. Hallo WeltNo.mail{\"to\":\"ada\"}",
    },
    Untold {
        format: "openai_responses",
        path: "/v1/responses",
        request: r#"{"model":"gpt-4o","input":"Hi","stream":true,"max_output_tokens":1000}"#,
        content_type: EVENTS,
        documents: &[
            r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress","instructions":"Be brief.","output":[]}}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"msg_1","type":"message","content":[]}}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"delta":" Hallo"}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"delta":" Welt"}"#,
            r#"{"type":"response.output_text.done","output_index":0,"text":" Hallo Welt"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":" Hallo Welt"}]}}"#,
            r#"{"type":"response.completed","response":{"id":"resp_1","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":" Hallo Welt"}]}]}}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "openai_transcriptions",
        path: "/v1/audio/transcriptions",
        request: "",
        content_type: JSON,
        documents: &[r#"{"text":"Hallo Welt.","logprobs":[{"token":"Hallo","logprob":-0.2,"bytes":[72]}]}"#],
        text: "Hallo Welt.",
    },
    Untold {
        format: "openai_transcriptions",
        path: "/v1/audio/transcriptions",
        request: "",
        content_type: EVENTS,
        documents: &[
            r#"{"type":"transcript.text.delta","delta":"Hallo"}"#,
            r#"{"type":"transcript.text.delta","delta":" Welt."}"#,
            r#"{"type":"transcript.text.done","text":"Hallo Welt."}"#,
        ],
        text: "Hallo Welt.",
    },
    Untold {
        format: "openai_transcriptions",
        path: "/v1/audio/transcriptions",
        request: "",
        content_type: "text/plain; charset=utf-8",
        documents: &["Hallo Welt.\n"],
        text: "Hallo Welt.\n",
    },
    Untold {
        format: "anthropic_messages",
        path: "/v1/messages",
        request: CHAT,
        content_type: JSON,
        documents: &[
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"gpt-4o","content":[{"type":"thinking","thinking":"Let me see.","signature":"EqQBCgIYAhIM"},
            {"type":"text","text":" Hallo Welt","citations":null},{"type":"tool_use","id":"toolu_1","name":"mail","input":{"to":"ada"}}],"stop_reason":"tool_use"}"#,
        ],
        text: "Let me see. Hallo Weltmail{\"to\":\"ada\"}",
    },
    Untold {
        format: "anthropic_messages",
        path: "/v1/messages",
        request: CHAT,
        content_type: EVENTS,
        documents: &[
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[]}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Hallo"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" Welt"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"mail","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"to\":\"ada\"}"}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
            r#"{"type":"message_stop"}"#,
        ],
        text: " Hallo Weltmail{\"to\":\"ada\"}",
    },
    Untold {
        format: "bedrock_converse",
        path: "/model/gpt-4o/converse",
        request: BLOCKS,
        content_type: JSON,
        documents: &[
            r#"{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Let me see."}}},{"text":" Hallo Welt"},
            {"toolUse":{"toolUseId":"t","name":"mail","input":{"to":"ada"}}}]}},"stopReason":"tool_use","metrics":{"latencyMs":7}}"#,
        ],
        text: "Let me see. Hallo Weltmail{\"to\":\"ada\"}",
    },
    Untold {
        format: "bedrock_converse",
        path: "/model/gpt-4o/converse-stream",
        request: BLOCKS,
        content_type: FRAMES,
        documents: &[
            r#"{"role":"assistant"}"#,
            r#"{"contentBlockIndex":0,"delta":{"text":" Hallo"}}"#,
            r#"{"contentBlockIndex":0,"delta":{"text":" Welt"}}"#,
            r#"{"stopReason":"end_turn"}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "bedrock_invoke",
        path: "/model/gpt-4o/invoke",
        request: r#"{"prompt":"Hi","max_gen_len":1000}"#,
        content_type: JSON,
        documents: &[r#"{"generation":" Hallo Welt","stop_reason":"stop"}"#],
        text: " Hallo Welt",
    },
    Untold {
        format: "bedrock_invoke",
        path: "/model/gpt-4o/invoke",
        request: r#"{"inputText":"Hi","textGenerationConfig":{"maxTokenCount":1000}}"#,
        content_type: JSON,
        documents: &[r#"{"results":[{"outputText":" Hallo Welt","completionReason":"FINISH"}]}"#],
        text: " Hallo Welt",
    },
    Untold {
        format: "bedrock_invoke",
        path: "/model/gpt-4o/invoke-with-response-stream",
        request: r#"{"prompt":"Hi","max_gen_len":1000}"#,
        content_type: FRAMES,
        documents: &[r#"{"generation":" Hallo"}"#, r#"{"generation":" Welt","stop_reason":"stop"}"#],
        text: " Hallo Welt",
    },
    Untold {
        format: "gemini",
        path: "/v1beta/models/gpt-4o:generateContent",
        request: CONTENTS,
        content_type: JSON,
        documents: &[
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Let me see.","thought":true},{"text":" Hallo Welt"},
            {"functionCall":{"name":"mail","args":{"to":"ada"}}}]},"finishReason":"STOP","index":0,"safetyRatings":[{"category":"X","probability":"LOW"}]}],"modelVersion":"gpt-4o"}"#,
        ],
        text: "Let me see. Hallo Weltmail{\"to\":\"ada\"}",
    },
    Untold {
        format: "gemini",
        path: "/v1beta/models/gpt-4o:streamGenerateContent?alt=sse",
        request: CONTENTS,
        content_type: EVENTS,
        documents: &[
            r#"{"candidates":[{"content":{"parts":[{"text":" Hallo"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":" Welt"}]},"finishReason":"STOP"}]}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "gemini",
        path: "/v1beta/models/gpt-4o:streamGenerateContent",
        request: CONTENTS,
        content_type: JSON,
        documents: &[
            r#"[{"candidates":[{"content":{"parts":[{"text":" Hallo"}]}}]},{"candidates":[{"content":{"parts":[{"text":" Welt"}]}}]}]"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "cohere_chat",
        path: "/v2/chat",
        request: CHAT,
        content_type: JSON,
        documents: &[
            r#"{"id":"c","message":{"role":"assistant","tool_plan":"I will mail.","content":[{"type":"text","text":" Hallo Welt"}],"citations":[{"text":"Welt","start":1}]},"finish_reason":"COMPLETE"}"#,
        ],
        text: "I will mail. Hallo Welt",
    },
    Untold {
        format: "cohere_chat",
        path: "/v2/chat",
        request: CHAT,
        content_type: EVENTS,
        documents: &[
            r#"{"id":"c","type":"message-start","delta":{"message":{"role":"assistant"}}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" Hallo"}}}}"#,
            r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" Welt"}}}}"#,
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "ollama_chat",
        path: "/api/chat",
        request: CHAT,
        content_type: JSON,
        documents: &[
            r#"{"model":"gpt-4o","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","thinking":"Let me see.","content":" Hallo Welt"},"done":true,"total_duration":7}"#,
        ],
        text: "Let me see. Hallo Welt",
    },
    Untold {
        format: "ollama_chat",
        path: "/api/chat",
        request: CHAT,
        content_type: LINES,
        documents: &[
            r#"{"model":"gpt-4o","message":{"role":"assistant","content":" Hallo"},"done":false}"#,
            r#"{"model":"gpt-4o","message":{"role":"assistant","content":" Welt"},"done":false}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "ollama_generate",
        path: "/api/generate",
        request: PROMPT,
        content_type: JSON,
        documents: &[r#"{"model":"gpt-4o","response":" Hallo Welt","done":true,"context":[1,2,3]}"#],
        text: " Hallo Welt",
    },
    Untold {
        format: "ollama_generate",
        path: "/api/generate",
        request: PROMPT,
        content_type: LINES,
        documents: &[r#"{"response":" Hallo","done":false}"#, r#"{"response":" Welt","done":false}"#],
        text: " Hallo Welt",
    },
    // Unknown formats: the text under names that APIs use for text.
    Untold {
        format: "openai_chat",
        path: "/v1/chat/completions",
        request: CHAT,
        content_type: JSON,
        documents: &[
            r#"{"id":7,"result":{"response":" Hallo Welt","tool_calls":[]},"success":true,"errors":[],"messages":[]}"#,
        ],
        text: " Hallo Welt",
    },
    Untold {
        format: "openai_chat",
        path: "/v1/chat/completions",
        request: CHAT,
        content_type: EVENTS,
        documents: &[
            r#"{"index":1,"token":{"id":7,"text":" Hallo","logprob":-0.1},"generated_text":null}"#,
            r#"{"index":2,"token":{"id":8,"text":" Welt","logprob":-0.1},"details":null}"#,
        ],
        text: " Hallo Welt",
    },
];

impl Untold {
    fn case(&self) -> Case {
        let format = FORMATS.iter().copied().find(|format| format.name == self.format).expect("a format");
        let upload = "--line\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--line--\r\n";
        let is_upload = self.request.is_empty();
        let request = if is_upload { upload } else { self.request };
        let content_type = if is_upload { "multipart/form-data; boundary=line" } else { JSON };
        let head = [
            (":method", "POST"),
            (":path", self.path),
            ("content-type", content_type),
            ("content-length", &request.len().to_string()),
        ];
        let fields = |fields: &[(&str, &str)]| {
            Headers(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        Case {
            folder: PathBuf::from(format!("{} {} as {}", self.format, self.path, self.content_type)),
            format,
            head: fields(&head),
            request: request.into(),
            answer_head: fields(&[("content-type", self.content_type)]),
            answer: self.documents.iter().flat_map(|document| self.framed(document)).collect(),
        }
    }

    fn framed(&self, document: &str) -> Vec<u8> {
        match self.content_type {
            EVENTS => format!("data: {document}\n\n").into_bytes(),
            LINES => format!("{document}\n").into_bytes(),
            FRAMES if self.format == "bedrock_invoke" => {
                eventstream::event("chunk", &json!({ "bytes": STANDARD.encode(document) }).to_string())
            }
            FRAMES => eventstream::event("any", document),
            _ => document.into(),
        }
    }
}

#[test]
fn an_answer_without_usage_is_charged_the_tokens_of_its_text() {
    let tokenizer = tiktoken_rs::o200k_base_singleton();
    let wrong = ANSWERS.iter().filter_map(|untold| {
        let case = untold.case();
        let (charged, _) = charged(&case, &json!([]));
        let tokens = tokenizer.encode_ordinary(untold.text).len();
        (charged["output"] != tokens).then(|| format!("{}: {tokens} tokens, {charged}", case.name()))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_format_that_writes_text_is_tested_whole_and_streamed() {
    for format in crate::cases::formats().map(|format| format.name) {
        let answers = ANSWERS.iter().filter(|untold| untold.format == format);
        let (whole, streamed): (Vec<_>, Vec<_>) = answers.partition(|untold| untold.content_type == JSON);
        let writes_text = !WITHOUT_TEXT.contains(&format);
        assert_eq!((!whole.is_empty(), !streamed.is_empty()), (writes_text, writes_text), "{format}");
    }
}
