//! Streams of InvokeModel, one for each form of the models on Bedrock.

use super::*;

const fn dialect(
    path: &'static [u8],
    request: &'static str,
    begin: &'static [&'static str],
    part: &'static str,
    ending: &'static [(&'static str, &'static str)],
) -> Dialect {
    let content_type = "application/vnd.amazon.eventstream";
    Dialect { path, request, content_type, begin, part, framing: Framing::Chunks, ending }
}

/// A pointer to Amazon's count, which only the last document has.
const RESOURCES: &str = "/amazon-bedrock-invocationMetrics/invocationLatency";

const CLAUDE: &str = r#"{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"Hi"}],"max_tokens":100}"#;
const CHAT: &str = r#"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":100}"#;
const PROMPT: &str = r#"{"prompt":"Hi","max_tokens":100}"#;

pub(super) static DIALECTS: [Dialect; 11] = [
    dialect(
        b"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke-with-response-stream",
        CLAUDE,
        &[
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":8,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        ],
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":" word"}}"#,
        &[("/type", "content_block_stop"), ("/delta/stop_reason", "max_tokens"), (RESOURCES, "0")],
    ),
    dialect(
        b"/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream",
        r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":100}}"#,
        &[r#"{"messageStart":{"role":"assistant"}}"#],
        r#"{"contentBlockDelta":{"delta":{"text":" word"},"contentBlockIndex":0}}"#,
        &[
            ("/contentBlockStop/contentBlockIndex", "0"),
            ("/messageStop/stopReason", "max_tokens"),
            (RESOURCES, "0"),
        ],
    ),
    dialect(
        b"/model/meta.llama3-8b-instruct-v1%3A0/invoke-with-response-stream",
        r#"{"prompt":"Hi","max_gen_len":100}"#,
        &[],
        r#"{"generation":" word","prompt_token_count":null,"generation_token_count":null,"stop_reason":null}"#,
        &[("/stop_reason", "length")],
    ),
    dialect(
        b"/model/amazon.titan-text-express-v1/invoke-with-response-stream",
        r#"{"inputText":"Hi","textGenerationConfig":{"maxTokenCount":100}}"#,
        &[],
        r#"{"outputText":" word","index":0,"totalOutputTextTokenCount":null,"completionReason":null,"inputTextTokenCount":null}"#,
        &[("/completionReason", "LENGTH")],
    ),
    dialect(
        b"/model/mistral.mistral-7b-instruct-v0%3A2/invoke-with-response-stream",
        PROMPT,
        &[],
        r#"{"outputs":[{"text":" word","stop_reason":null}]}"#,
        &[("/outputs/0/stop_reason", "length")],
    ),
    dialect(
        b"/model/mistral.mistral-large-2407-v1%3A0/invoke-with-response-stream",
        CHAT,
        &[],
        r#"{"choices":[{"index":0,"message":{"role":"assistant","content":" word"},"stop_reason":null}]}"#,
        &[("/choices/0/stop_reason", "length")],
    ),
    dialect(
        b"/model/us.deepseek.r1-v1%3A0/invoke-with-response-stream",
        PROMPT,
        &[],
        r#"{"choices":[{"index":0,"text":" word","stop_reason":null}]}"#,
        &[("/choices/0/stop_reason", "length")],
    ),
    dialect(
        b"/model/openai.gpt-oss-20b-1%3A0/invoke-with-response-stream",
        CHAT,
        &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}],"usage":null}"#,
        ],
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}"#,
        &[("/choices/0/finish_reason", "length")],
    ),
    dialect(
        b"/model/cohere.command-text-v14/invoke-with-response-stream",
        r#"{"prompt":"Hi","max_tokens":100,"stream":true}"#,
        &[],
        r#"{"is_finished":false,"text":" word"}"#,
        &[("/finish_reason", "MAX_TOKENS")],
    ),
    dialect(
        b"/model/cohere.command-r-plus-v1%3A0/invoke-with-response-stream",
        r#"{"message":"Hi","max_tokens":100}"#,
        &[r#"{"event_type":"stream-start","is_finished":false,"generation_id":"g"}"#],
        r#"{"event_type":"text-generation","is_finished":false,"text":" word"}"#,
        &[("/response/finish_reason", "MAX_TOKENS")],
    ),
    dialect(
        b"/model/anthropic.claude-v2%3A1/invoke-with-response-stream",
        r#"{"prompt":"Hi","max_tokens_to_sample":100}"#,
        &[],
        r#"{"type":"completion","completion":" word","stop_reason":null,"stop":null}"#,
        &[("/stop_reason", "max_tokens")],
    ),
];

#[test]
fn a_stream_of_no_known_form_goes_on_and_is_counted_once() {
    let path = b"/model/ai21.j2-ultra-v1/invoke-with-response-stream";
    let other = dialect(path, PROMPT, &[], r#"{"completions":[{"data":{"text":" word"}}]}"#, &[]);
    let stream = other.stream(4000);
    let (passed, bench) = other.run(stream.chunks(1000));
    assert_eq!(passed, stream);
    assert_eq!((bench.stops(), bench.count_of(&metrics::STREAMS_UNSTOPPABLE, "")), (0, 1));
}
