//! The endings that the clients of each API get, however the stream is cut into pieces.

mod invoke;

use super::*;
use crate::api::{FORMATS, Routes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tollgate_rig::mock_llm::eventstream;

/// A stream of an API: its beginning, and a piece with one more word.
struct Dialect {
    path: &'static [u8],
    request: &'static str,
    content_type: &'static str,
    begin: &'static [&'static str],
    part: &'static str,
    framing: Framing,
    /// The ending's documents: a pointer into each, and its value.
    ending: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Events,
    Frames,
    /// Frames with documents in base64.
    Chunks,
    Lines,
    List,
}

impl Framing {
    fn document(self, json: &str, first: bool) -> Vec<u8> {
        match self {
            Self::Events => format!("data: {json}\n\n").into_bytes(),
            Self::Frames => eventstream::frame(&[(":message-type", "event")], json.as_bytes()),
            Self::Chunks => {
                let payload = json!({ "bytes": STANDARD.encode(json), "p": "abc" });
                eventstream::event("chunk", &payload.to_string())
            }
            Self::Lines => format!("{json}\n").into_bytes(),
            Self::List if first => format!("[{json}").into_bytes(),
            Self::List => format!("\n,\r\n{json}").into_bytes(),
        }
    }

    /// Returns all documents, if the bytes are whole documents and nothing else.
    fn documents(self, bytes: &[u8]) -> Vec<String> {
        let text = || core::str::from_utf8(bytes).unwrap();
        match self {
            Self::Events => {
                assert!(text().ends_with("\n\n"), "{}", text());
                let data = |event: &str| {
                    event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
                };
                text().split_terminator("\n\n").map(data).collect()
            }
            Self::Frames => {
                // This verifies their checksums.
                let frames = eventstream::frames(bytes).unwrap();
                frames.into_iter().map(|frame| String::from_utf8(frame.payload).unwrap()).collect()
            }
            Self::Chunks => {
                let frames = eventstream::frames(bytes).unwrap();
                assert!(frames.iter().all(|frame| frame.header(":event-type") == Some("chunk")));
                let document = |frame: eventstream::Frame| {
                    let document = STANDARD.decode(frame.json()["bytes"].as_str().unwrap()).unwrap();
                    String::from_utf8(document).unwrap()
                };
                frames.into_iter().map(document).collect()
            }
            Self::Lines => {
                assert!(text().ends_with('\n'));
                text().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
            }
            Self::List => {
                let list: Vec<Value> =
                    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}: {}", text()));
                list.iter().map(Value::to_string).collect()
            }
        }
    }
}

static DIALECTS: [Dialect; 12] = [
    Dialect {
        path: b"/v1/chat/completions",
        request: HI_STREAM,
        content_type: "text/event-stream",
        begin: &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null},{"index":1,"delta":{},"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":1,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a"}}]}}]}"#,
        ],
        part: r#"{"id":"c","choices":[{"index":0,"delta":{"content":" word"}}]}"#,
        framing: Framing::Events,
        ending: &[
            ("/choices/0/finish_reason", "length"),
            ("/choices/0/finish_reason", "length"),
            ("", "[DONE]"),
        ],
    },
    Dialect {
        path: b"/v1/completions",
        request: r#"{"model":"gpt-3.5-turbo-instruct","prompt":"Hi","max_tokens":100,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[],
        part: r#"{"id":"c","object":"text_completion","choices":[{"index":0,"text":" word","finish_reason":null}]}"#,
        framing: Framing::Events,
        ending: &[("/choices/0/finish_reason", "length"), ("", "[DONE]")],
    },
    Dialect {
        path: b"/completions",
        request: r#"{"prompt":["Hi","Ho"],"n_predict":-1,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[r#"{"index":1,"content":"","tokens":[],"stop":false}"#],
        part: r#"{"index":0,"content":" word","tokens":[2],"stop":false}"#,
        framing: Framing::Events,
        ending: &[("/stop_type", "limit"), ("/index", "0")],
    },
    Dialect {
        path: b"/completion",
        request: r#"{"prompt":"Hi","n_predict":100,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[r#"{"index":1,"content":" a","stop":true,"stop_type":"eos"}"#],
        part: r#"{"index":0,"content":" word","tokens":[2],"stop":false,"id_slot":-1}"#,
        framing: Framing::Events,
        ending: &[("/stop", "true")],
    },
    Dialect {
        path: b"/v1/responses",
        request: r#"{"model":"gpt-4o","input":"Hi","max_output_tokens":100,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[
            r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","output":[]}}"#,
            r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"m"}}"#,
            r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":""}}"#,
        ],
        part: r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"m","output_index":0,"content_index":0,"delta":" word"}"#,
        framing: Framing::Events,
        ending: &[
            ("/type", "response.output_text.done"),
            ("/type", "response.content_part.done"),
            ("/item/status", "incomplete"),
            ("/response/incomplete_details/reason", "max_output_tokens"),
            ("", "[DONE]"),
        ],
    },
    Dialect {
        path: b"/v1/messages",
        request: r#"{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"Hi"}],"max_tokens":100,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":8,"output_tokens":1}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        ],
        part: r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":" word"}}"#,
        framing: Framing::Events,
        ending: &[
            ("/type", "content_block_stop"),
            ("/delta/stop_reason", "max_tokens"),
            ("/type", "message_stop"),
        ],
    },
    Dialect {
        path: b"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        request: GEMINI,
        content_type: "text/event-stream",
        begin: &[],
        part: GEMINI_PART,
        framing: Framing::Events,
        ending: &[("/candidates/0/finishReason", "MAX_TOKENS")],
    },
    Dialect {
        path: b"/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        request: GEMINI,
        content_type: "application/json",
        begin: &[],
        part: GEMINI_PART,
        framing: Framing::List,
        ending: &[("/candidates/0/finishReason", "MAX_TOKENS")],
    },
    Dialect {
        path: b"/model/amazon.nova-lite-v1%3A0/converse-stream",
        request: r#"{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":100}}"#,
        content_type: "application/vnd.amazon.eventstream",
        begin: &[r#"{"role":"assistant"}"#],
        part: r#"{"contentBlockIndex":0,"delta":{"text":" word"}}"#,
        framing: Framing::Frames,
        ending: &[("/contentBlockIndex", "0"), ("/stopReason", "max_tokens"), ("/metrics/latencyMs", "0")],
    },
    Dialect {
        path: b"/v2/chat",
        request: r#"{"model":"command-a-03-2025","messages":[{"role":"user","content":"Hi"}],"max_tokens":100,"stream":true}"#,
        content_type: "text/event-stream",
        begin: &[
            r#"{"id":"c","type":"message-start","delta":{"message":{"role":"assistant"}}}"#,
            r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
        ],
        part: r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" word"}}}}"#,
        framing: Framing::Events,
        ending: &[("/type", "content-end"), ("/delta/finish_reason", "MAX_TOKENS"), ("", "[DONE]")],
    },
    Dialect {
        path: b"/api/chat",
        request: r#"{"model":"llama3.2","messages":[{"role":"user","content":"Hi"}],"options":{"num_predict":100}}"#,
        content_type: "application/x-ndjson",
        begin: &[],
        part: r#"{"model":"llama3.2","created_at":"2026-09-14T08:12:44Z","message":{"role":"assistant","content":" word"},"done":false}"#,
        framing: Framing::Lines,
        ending: &[("/done_reason", "length")],
    },
    Dialect {
        path: b"/api/generate",
        request: r#"{"model":"llama3.2","prompt":"Hi","options":{"num_predict":100}}"#,
        content_type: "application/x-ndjson",
        begin: &[],
        part: r#"{"model":"llama3.2","created_at":"2026-09-14T08:12:44Z","response":" word","done":false}"#,
        framing: Framing::Lines,
        ending: &[("/done_reason", "length")],
    },
];

const GEMINI: &str =
    r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":100}}"#;
const GEMINI_PART: &str = r#"{"candidates":[{"content":{"parts":[{"text":" word"}],"role":"model"},"index":0}],"modelVersion":"gemini-2.5-flash"}"#;

impl Dialect {
    /// Returns the stream as an upstream sends it: this many words, and no end.
    fn stream(&self, words: usize) -> Vec<u8> {
        let parts = std::iter::repeat_n(&self.part, words);
        let documents = self.begin.iter().chain(parts).enumerate();
        documents.flat_map(|(at, json)| self.framing.document(json, at == 0)).collect()
    }

    /// Returns what a client gets of a stream in these pieces, and whether it was stopped.
    fn passed<'p>(&self, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<u8>, bool) {
        let (passed, bench) = self.run(pieces);
        (passed, bench.stops() == 1)
    }

    fn run<'p>(&self, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<u8>, Bench) {
        let mut bench = bench(STOPPING);
        let mut exchange = bench.exchange();
        let head = Request::chat().with(":path", self.path);
        bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        let effects = bench.handle(
            &mut exchange,
            Event::RequestBody { body: self.request.as_bytes(), editable: Editable::All },
        );
        assert_eq!(effects.next, Next::Pass);
        bench.head(&mut exchange, 200, self.content_type);
        let mut passed = Vec::new();
        for piece in pieces {
            let effects = bench.handle(&mut exchange, Event::ResponsePiece { bytes: piece, last: false });
            passed.extend(effects.piece.unwrap_or_else(|| piece.to_vec()));
        }
        (passed, bench)
    }

    /// Asserts that a client got at least some of the stream's own documents, followed by the
    /// ending.
    fn check(&self, passed: &[u8], upstream: &[u8]) {
        let documents = self.framing.documents(passed);
        let (own, ending) = documents.split_at(documents.len() - self.ending.len());
        let closed =
            if self.framing == Framing::List { [upstream, b"]"].concat() } else { upstream.to_vec() };
        let theirs = self.framing.documents(&closed);
        assert_eq!(own, &theirs[..own.len()]);
        // At the scales of their tokenizers these are at least 1050 tokens less the input.
        assert!(own.len() > 500, "{} documents", own.len());
        for (document, (pointer, expected)) in ending.iter().zip(self.ending) {
            let Ok(document) = serde_json::from_str::<Value>(document) else {
                assert_eq!((document.as_str(), *pointer), (*expected, ""));
                continue;
            };
            let found = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {document}"));
            assert_eq!(
                found.as_str().map_or_else(|| found.to_string(), str::to_owned),
                *expected,
                "{document}"
            );
        }
    }
}

fn dialects() -> impl Iterator<Item = &'static Dialect> {
    DIALECTS.iter().chain(&invoke::DIALECTS)
}

#[test]
fn every_api_gets_an_ending_of_its_own() {
    for dialect in dialects() {
        let stream = dialect.stream(1500);
        for size in [100, 333, 5000] {
            let (passed, stopped) = dialect.passed(stream.chunks(size));
            assert!(stopped, "{:?} in pieces of {size}", String::from_utf8_lossy(dialect.path));
            dialect.check(&passed, &stream);
        }
    }
}

#[test]
fn every_api_that_has_an_ending_is_tested() {
    // Those of sockets only are tested there.
    let with_ending = FORMATS.iter().filter(|format| format.ending.is_some() && !format.endpoints.is_empty());
    let with_ending = with_ending.map(|format| format.name);
    let routes = Routes::default();
    let tested = dialects().map(|dialect| routes.recognise(b"POST", dialect.path).unwrap().format.name);
    assert_eq!(tested.collect::<BTreeSet<_>>(), with_ending.collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn wherever_a_stream_is_split_its_client_gets_whole_documents(which in 0..dialects().count(), cuts in prop::collection::vec(0..200_000_usize, 1..60)) {
        let dialect = dialects().nth(which).unwrap();
        let stream = dialect.stream(1500);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % stream.len()).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let (passed, stopped) = dialect.passed(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]));
        prop_assert!(stopped);
        dialect.check(&passed, &stream);
    }
}
