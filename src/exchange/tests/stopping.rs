//! Streams whose caller's budget is spent: when they are stopped, what is charged, and what their clients get.

use super::*;
use crate::api::FORMATS;
use crate::coding::Encoding;
use proptest::prelude::*;
use tollgate_rig::mock_llm::eventstream;

/// What a call of these tests is charged for its input: see [`HI`].
const INPUT: u64 = 8;

fn config(streams: &str, window: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }}, "streams": {streams},
            "counting": {{ "output_reserve": {{ "at_most": 0.1 }} }},
            "tiers": {{ "free": {{ "limits": [ {{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "{window}" }} ] }} }} }}"#
    )
}

const STOPPING: &str = r#"{ "stop_at_limit": true }"#;

/// A bench whose budget does not come back within a test.
fn bench(streams: &str) -> Bench {
    Bench::new(&config(streams, "30d"))
}

/// An event of one token.
fn word(id: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

impl Bench {
    /// A stream that has begun.
    fn stream(&mut self, body: &str) -> Exchange {
        let (mut exchange, effects) = self.send(body);
        assert_eq!(effects.next, Next::Pass, "{effects:?}");
        self.head(&mut exchange, 200, "text/event-stream");
        exchange
    }

    /// Feeds up to so many words; the number of words before the stop and its effects, if there was one.
    fn words(&mut self, exchange: &mut Exchange, count: u64) -> Option<(u64, Effects)> {
        (1..=count).find_map(|number| {
            let effects = self.piece(exchange, &word("c"), false);
            fact(&effects, Fact::StoppedBy).is_some().then_some((number, effects))
        })
    }

    fn stops(&self) -> u64 {
        self.counted
            .iter()
            .filter(|(name, ..)| *name == metrics::STREAMS_STOPPED.name)
            .map(|(.., by)| by)
            .sum()
    }
}

fn charged(effects: &Effects) -> u64 {
    let tokens = |of| fact(effects, of).unwrap().parse::<u64>().unwrap();
    tokens(Fact::UsedInput) + tokens(Fact::UsedOutput)
}

#[test]
fn a_stream_is_stopped_when_the_budget_and_its_grace_are_spent_and_soon_after() {
    for (grace, most) in [("0", 1000), ("0.05", 1050), ("1", 2000)] {
        let mut bench = bench(&format!(r#"{{ "stop_at_limit": true, "grace": {grace} }}"#));
        let mut exchange = bench.stream(HI_STREAM);
        let (words, effects) = bench.words(&mut exchange, 5000).unwrap();
        assert_eq!(charged(&effects), INPUT + words, "what was streamed is charged");
        // A hundredth of the budget is a step, and text is counted eight words at a time.
        assert!((most + 1..=most + 20).contains(&(INPUT + words)), "{words} words at grace {grace}");
        assert_eq!(bench.stops(), 1);
        assert_eq!(bench.count_of(&metrics::CALLS, "stopped"), 1);
        assert_eq!(fact(&effects, Fact::StoppedBy), Some("tpm"));
    }
}

#[test]
fn what_is_streamed_stays_charged_and_refuses_the_next_call() {
    let mut bench = bench(STOPPING);
    let mut exchange = bench.stream(HI_STREAM);
    bench.words(&mut exchange, 5000).unwrap();
    bench.handle(&mut exchange, Event::End { abort: Some(Abort::Upstream) });
    assert_eq!(bench.count_of(&metrics::CALLS, "upstream_reset"), 0, "settled once");
    let (_, effects) = bench.send(HI);
    assert_eq!(reply(&effects).0.status, 429);
}

#[test]
fn nothing_is_stopped_unless_that_is_configured() {
    let mut bench = Bench::new(&config("{}", "30d"));
    let mut exchange = bench.stream(HI_STREAM);
    assert!(bench.words(&mut exchange, 3000).is_none());
}

#[test]
fn a_budget_that_is_refilled_meanwhile_stops_nothing() {
    let mut bench = Bench::new(&config(STOPPING, "1m"));
    let mut exchange = bench.stream(HI_STREAM);
    for _ in 0..100 {
        assert!(bench.words(&mut exchange, 40).is_none());
        // 50 tokens come back.
        bench.now = bench.now + Span::from_secs(3);
    }
    assert_eq!(bench.stops(), 0);
}

#[test]
fn a_call_that_uses_less_than_it_holds_is_left_alone_whatever_others_do() {
    let mut bench = bench(STOPPING);
    let mut small = bench.stream(HI_STREAM);
    let mut large = bench.stream(HI_STREAM);
    bench.words(&mut large, 5000).unwrap();
    assert!(bench.words(&mut small, 40).is_none(), "it holds a hundred");
}

#[test]
fn what_other_calls_hold_and_owe_counts() {
    let mut bench = bench(STOPPING);
    let mut one = bench.stream(HI_STREAM);
    let mut other = bench.stream(HI_STREAM);
    let (words, _) = bench.words(&mut one, 5000).unwrap();
    assert!((1050 - 108 - INPUT..=1050 - 108 - INPUT + 20).contains(&words), "{words}: the other holds 108");
    let (others, _) = bench.words(&mut other, 5000).unwrap();
    assert!((40..=120).contains(&others), "{others}");
}

#[test]
fn limits_in_shadow_stop_nothing() {
    let config = config(STOPPING, "30d").replace("\"max\"", "\"enforce\": \"shadow\", \"max\"");
    let mut bench = Bench::new(&config);
    let mut exchange = bench.stream(HI_STREAM);
    assert!(bench.words(&mut exchange, 3000).is_none());
}

#[test]
fn the_ending_of_a_chat_has_what_its_chunks_had_and_usage_for_who_asked() {
    for asks in [false, true] {
        let mut bench = bench(STOPPING);
        let body = if asks {
            HI_STREAM
                .replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}")
        } else {
            HI_STREAM.to_owned()
        };
        let mut exchange = bench.stream(&body);
        let with_usage = word("c").replace("]}\n\n", "],\"usage\":null}\n\n");
        bench.piece(&mut exchange, &with_usage, false);
        let (_, effects) = bench.words(&mut exchange, 5000).unwrap();
        let piece = String::from_utf8(effects.piece.unwrap()).unwrap();
        let ending = piece.strip_prefix(&word("c")).unwrap();
        let data: Vec<_> =
            ending.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
        let (done, chunks) = data.split_last().unwrap();
        assert_eq!(*done, "[DONE]");
        let chunks: Vec<Value> = chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
        assert_eq!(
            chunks[0],
            json!({ "id": "c", "object": "chat.completion.chunk", "created": 7, "model": "gpt-4o-mini",
                "choices": [ { "index": 0, "delta": {}, "logprobs": null, "finish_reason": "length" } ] })
        );
        assert_eq!(chunks.len(), if asks { 2 } else { 1 });
        if asks {
            assert_eq!(chunks[1]["choices"], json!([]));
            let usage = &chunks[1]["usage"];
            let total = usage["total_tokens"].as_u64().unwrap();
            assert_eq!(usage["prompt_tokens"], INPUT);
            assert!(total > 1050);
        }
    }
}

#[test]
fn what_comes_behind_the_ending_is_dropped_and_the_response_reset() {
    for (upstream, resets) in [("reset", true), ("drain", false)] {
        let mut bench = bench(&format!(r#"{{ "stop_at_limit": true, "upstream": "{upstream}" }}"#));
        let mut exchange = bench.stream(HI_STREAM);
        let (_, effects) = bench.words(&mut exchange, 5000).unwrap();
        assert!(!effects.reset, "the ending has yet to be passed on");
        for _ in 0..2 {
            assert!(exchange.is_answering());
            let effects = bench.piece(&mut exchange, &word("c"), false);
            assert_eq!((effects.piece.as_deref(), effects.reset), (Some(&b""[..]), resets));
        }
        let effects = bench.piece(&mut exchange, "", true);
        assert!(!effects.reset, "it has ended by itself");
        bench.handle(&mut exchange, Event::End { abort: None });
        assert!(!exchange.is_answering());
    }
}

#[test]
fn a_log_line_tells_who_was_stopped_and_why() {
    let mut bench = bench(STOPPING);
    let mut exchange = bench.stream(HI_STREAM);
    let (words, effects) = bench.words(&mut exchange, 5000).unwrap();
    let mut line: Value = serde_json::from_str(&effects.log[0]).unwrap();
    let used = line.as_object_mut().unwrap().remove("used").unwrap().as_u64().unwrap();
    assert!(used.abs_diff(INPUT + words) <= 8, "{used}");
    assert_eq!(
        line,
        json!({ "event": "stopped", "tier": "free", "limit": "tpm", "counts": "tokens", "per": { "tenant": "ada" },
            "api": "openai_chat", "model": "gpt-4o", "max": 1000 })
    );
}

#[test]
fn a_stream_that_has_ended_by_itself_is_not_ended_again() {
    let mut bench = bench(r#"{ "stop_at_limit": true, "grace": 0 }"#);
    let mut exchange = bench.stream(HI_STREAM);
    // All in one piece, which ends the stream and the budget.
    let stop = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let effects = bench.piece(&mut exchange, &format!("{}{stop}", word("c").repeat(2000)), false);
    assert_eq!((effects.piece, bench.stops()), (None, 0));
    bench.piece(&mut exchange, "data: [DONE]\n\n", true);
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 1);
}

#[test]
fn the_last_piece_is_never_replaced() {
    let mut bench = bench(STOPPING);
    let mut exchange = bench.stream(HI_STREAM);
    let effects = bench.piece(&mut exchange, &word("c").repeat(2000), true);
    assert_eq!((effects.piece, bench.count_of(&metrics::CALLS, "ok")), (None, 1));
}

#[test]
fn a_compressed_stream_goes_on_and_is_counted_once() {
    let mut bench = bench(STOPPING);
    let (mut exchange, _) = bench.send(HI_STREAM);
    let head = [("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    assert!(matches!(Encoding::parse(b"gzip"), Encoding::Coded(_)));
    bench.head_with(&mut exchange, 200, &head);
    let plain = word("c").repeat(4000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, plain.as_bytes()).unwrap();
    for piece in gzip.finish().unwrap().chunks(300) {
        let effects = bench.handle(&mut exchange, Event::ResponsePiece { bytes: piece, last: false });
        assert_eq!(effects.piece, None);
    }
    assert_eq!((bench.stops(), bench.count_of(&metrics::STREAMS_UNSTOPPABLE, "")), (0, 1));
}

#[test]
fn a_told_length_is_removed_from_what_may_be_stopped_and_from_nothing_else() {
    let removal = HeaderEdit::Remove("content-length".into());
    for (content_type, removed) in [("text/event-stream", true), ("application/json", false)] {
        let mut bench = bench(STOPPING);
        let (mut exchange, _) = bench.send(HI);
        let head = [("content-type", content_type), ("content-length", "77")];
        let effects = bench.head_with(&mut exchange, 200, &head);
        assert_eq!(effects.headers.contains(&removal), removed, "{content_type}");
    }
}

/// A stream of an API: what begins it, and a piece with one more word.
struct Dialect {
    path: &'static [u8],
    request: &'static str,
    content_type: &'static str,
    begin: &'static [&'static str],
    part: &'static str,
    framing: Framing,
    /// The ending's documents: a pointer into each, and what is there.
    ending: &'static [(&'static str, &'static str)],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Events,
    Frames,
    Lines,
    List,
}

impl Framing {
    fn document(self, json: &str, first: bool) -> Vec<u8> {
        match self {
            Self::Events => format!("data: {json}\n\n").into_bytes(),
            Self::Frames => eventstream::frame(&[(":message-type", "event")], json.as_bytes()),
            Self::Lines => format!("{json}\n").into_bytes(),
            Self::List if first => format!("[{json}").into_bytes(),
            Self::List => format!("\n,\r\n{json}").into_bytes(),
        }
    }

    /// All documents, if the bytes are whole documents and nothing else.
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
                // Their checksums are checked.
                let frames = eventstream::frames(bytes).unwrap();
                frames.into_iter().map(|frame| String::from_utf8(frame.payload).unwrap()).collect()
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

const DIALECTS: [Dialect; 10] = [
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
    /// The stream as an upstream sends it: so many words, and no end.
    fn stream(&self, words: usize) -> Vec<u8> {
        let parts = std::iter::repeat_n(&self.part, words);
        let documents = self.begin.iter().chain(parts).enumerate();
        documents.flat_map(|(at, json)| self.framing.document(json, at == 0)).collect()
    }

    /// What a client gets of a stream in these pieces, and whether it was stopped.
    fn passed<'p>(&self, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<u8>, bool) {
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
        (passed, bench.stops() == 1)
    }

    /// Checks that a client got the stream's own documents, some at least, and behind them the ending.
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

#[test]
fn every_api_gets_an_ending_of_its_own() {
    for dialect in &DIALECTS {
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
    let endings = FORMATS.iter().filter(|format| format.ending.is_some()).count();
    // Gemini has two framings.
    assert_eq!(endings + 1, DIALECTS.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn wherever_a_stream_is_split_its_client_gets_whole_documents(which in 0..DIALECTS.len(), cuts in prop::collection::vec(0..200_000_usize, 1..60)) {
        let dialect = &DIALECTS[which];
        let stream = dialect.stream(1500);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % stream.len()).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let (passed, stopped) = dialect.passed(cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]));
        prop_assert!(stopped);
        dialect.check(&passed, &stream);
    }
}
