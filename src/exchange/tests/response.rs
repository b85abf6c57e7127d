//! The response's half: usage, hiding, and the settlement of every ending.

use super::*;
use crate::api::Edit;

#[test]
fn a_call_is_held_reserved_and_settled_by_its_usage() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, effects) = bench.send(HI);
    assert_eq!(
        (effects.next.clone(), fact(&effects, Fact::CountedInput).as_deref()),
        (Next::Pass, Some("8"))
    );
    let head = bench.head(&mut exchange, 200, "application/json");
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("892"));
    let last = bench.piece(&mut exchange, &answer(8, 5), true);
    assert_eq!(
        (fact(&last, Fact::UsedInput).as_deref(), fact(&last, Fact::UsedOutput).as_deref()),
        (Some("8"), Some("5"))
    );
    assert_eq!(bench.left(), 1_000 - 13);
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 1);
}

#[test]
fn what_an_upstream_says_of_its_own_limits_is_replaced_or_removed() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    let theirs = [("x-ratelimit-remaining-requests", "7"), ("x-ratelimit-remaining-tokens", "8")];
    let head = bench.head_with(&mut exchange, 200, &theirs);
    let removed: Vec<_> = head.headers.iter().filter(|edit| matches!(edit, HeaderEdit::Remove(_))).collect();
    assert_eq!(
        removed,
        [&HeaderEdit::Remove("x-ratelimit-remaining-requests".into())],
        "no limit of ours counts requests"
    );
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("892"));
}

#[test]
fn without_headers_of_our_own_an_upstreams_are_removed_all_the_same() {
    let mut bench = Bench::new(&TOKENS.replacen('{', r#"{ "headers": [], "#, 1));
    let (mut exchange, _) = bench.send(HI);
    let head = bench.head_with(&mut exchange, 200, &[("x-ratelimit-remaining-tokens", "8")]);
    assert_eq!(head.headers, [HeaderEdit::Remove("x-ratelimit-remaining-tokens".into())]);
}

#[test]
fn whatever_comes_after_the_end_changes_nothing() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(8, 5), true);
    let left = bench.left();
    for _ in 0..3 {
        bench.piece(&mut exchange, &answer(100, 100), true);
        bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });
    }
    assert_eq!(bench.left(), left);
}

#[test]
fn a_failed_call_costs_nothing_but_its_request() {
    let mut bench = Bench::new(TOKENS);
    for status in [400, 404, 413, 429, 500, 503, 302, 0] {
        let (mut exchange, _) = bench.send(HI);
        bench.head(&mut exchange, status, "application/json");
        bench.piece(&mut exchange, &answer(8, 5), true);
    }
    assert_eq!(bench.count_of(&metrics::CALLS, "error"), 8);
    assert_eq!(bench.left(), 1_000);
    let mut bench = Bench::new(REQUESTS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 500, "");
    bench.handle(&mut exchange, Event::End { abort: None });
    let mut second = bench.exchange();
    let effects = bench.handle(&mut second, Event::RequestHead { head: &Request::chat(), ended: false });
    assert_eq!(reply(&effects).0.status, 429);
}

#[test]
fn an_answer_without_usage_is_charged_by_its_text() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI_STREAM);
    bench.head(&mut exchange, 200, "text/event-stream");
    bench.piece(&mut exchange, HELLO_CHUNK, false);
    let last = bench.piece(&mut exchange, "data: [DONE]\n\n", true);
    assert_eq!(
        (fact(&last, Fact::UsedInput).as_deref(), fact(&last, Fact::UsedOutput).as_deref()),
        (Some("8"), Some("2"))
    );
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "absent"), 1);
}

#[test]
fn a_document_that_says_nothing_is_charged_the_reservation() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "text/html");
    let last = bench.piece(&mut exchange, &"x".repeat(40), true);
    assert_eq!(fact(&last, Fact::UsedOutput).as_deref(), Some("100"));
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "unrecognised"), 1);
}

/// Returns the output charged for a whole answer of this content type and body, and the kind of its
/// missing usage.
fn charged(content_type: &str, body: &str) -> (u64, Option<&'static str>) {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, content_type);
    let last = bench.piece(&mut exchange, body, true);
    let mut missing = ["absent", "unrecognised"].into_iter();
    let missing = missing.find(|kind| bench.count_of(&metrics::USAGE_MISSING, kind) == 1);
    (fact(&last, Fact::UsedOutput).unwrap().parse().unwrap(), missing)
}

#[test]
fn of_an_answer_in_another_shape_its_text_is_charged_and_never_the_json_around_it() {
    const TEXT: (u64, Option<&str>) = (2, Some("absent"));
    const NONE: (u64, Option<&str>) = (100, Some("unrecognised"));
    let events = "text/event-stream";
    let ids = format!("[{}]", ["123456"; 500].join(","));
    for (content_type, body, expected) in [
        ("application/json", r#"[{"generated_text":"Hello there"}]"#, TEXT),
        ("application/json", r#"{"result":{"response":"Hello there"},"success":true,"errors":[]}"#, TEXT),
        ("application/json", r#"{"object":"x","choices":{"0":{"text":"Hello there"}}}"#, TEXT),
        ("application/json", r#"{"error":{"message":"Hello there","type":"server_error","code":500}}"#, TEXT),
        (
            events,
            "data: {\"token\":{\"id\":7,\"text\":\"Hello\"}}\n\ndata: {\"token\":{\"text\":\" there\"}}\n\n",
            TEXT,
        ),
        (events, "event: error\ndata: {\"error\":{\"message\":\"Hello there\"}}\n\n", TEXT),
        ("application/x-ndjson", "{\"text\":\"Hello\"}\n{\"text\":\" there\"}\n", TEXT),
        ("text/plain; charset=utf-8", "Hello there", TEXT),
        ("text/vtt", "Hello there", TEXT),
        ("application/json", r#"{"choices":[{"message":{"content":""}}]}"#, (0, Some("absent"))),
        ("application/json", &format!(r#"{{"tokens":{ids}}}"#), NONE),
        ("application/json", "\"Hello there\"", NONE),
        ("text/html", "<p>Hello there</p>", NONE),
        ("text/plain", "<p>Hello there</p>", NONE),
        ("application/octet-stream", "\u{1}\u{2}\u{3}", NONE),
        (events, "data: [DONE]\n\n", NONE),
        ("application/json", "", (0, Some("absent"))),
    ] {
        assert_eq!(charged(content_type, body), expected, "{content_type} {body}");
    }
}

#[test]
fn what_a_format_reads_is_charged_once_though_other_documents_repeat_it() {
    let chunk = r#"data: {"choices":[{"delta":{"content":"Hello there"}}]}"#;
    let repeated = r#"data: {"message":{"content":"Hello there"},"text":"Hello there"}"#;
    let begun = r#"data: {"choices":[{"delta":{"role":"assistant"}}],"message":"wait"}"#;
    for events in [[begun, chunk, repeated], [repeated, begun, chunk], [chunk, repeated, repeated]] {
        assert_eq!(charged("text/event-stream", &(events.join("\n\n") + "\n\n")), (2, Some("absent")));
    }
}

#[test]
fn an_answer_in_an_unknown_coding_is_charged_the_reservation() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head_with(&mut exchange, 200, &[("content-encoding", "unheard-of")]);
    bench.piece(&mut exchange, "\u{1f}", true);
    assert_eq!(bench.left(), 1_000 - 108);
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "encoded"), 1);
}

/// Returns the rest after a stream was cut, by `on_abort`.
fn left_after_cut(on_abort: &str, abort: Abort, pieces: &[&str]) -> u64 {
    let config = TOKENS.replacen('{', &format!(r#"{{ "counting": {{ "on_abort": "{on_abort}" }}, "#), 1);
    let mut bench = Bench::new(&config);
    let (mut exchange, _) = bench.send(HI_STREAM);
    if !pieces.is_empty() {
        bench.head(&mut exchange, 200, "text/event-stream");
    }
    for piece in pieces {
        bench.piece(&mut exchange, piece, false);
    }
    bench.handle(&mut exchange, Event::End { abort: Some(abort) });
    bench.left()
}

#[test]
fn a_client_that_hangs_up_pays_for_what_it_was_sent() {
    assert_eq!(left_after_cut("charge_streamed", Abort::Client, &[HELLO_CHUNK, HELLO_CHUNK]), 1_000 - 8 - 4);
    assert_eq!(left_after_cut("charge_streamed", Abort::Client, &[]), 1_000 - 8);
    assert_eq!(left_after_cut("charge_reserved", Abort::Client, &[HELLO_CHUNK]), 1_000 - 108);
    assert_eq!(left_after_cut("free", Abort::Client, &[HELLO_CHUNK]), 1_000);
}

#[test]
fn a_stream_that_its_upstream_cuts_is_settled_the_same_way() {
    assert_eq!(left_after_cut("charge_streamed", Abort::Upstream, &[HELLO_CHUNK]), 1_000 - 8 - 2);
    let running =
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":77}}\n\n";
    assert_eq!(left_after_cut("charge_streamed", Abort::Upstream, &[running]), 1_000 - 85);
}

#[test]
fn usage_is_asked_for_and_its_chunk_hidden_from_who_did_not_ask() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, effects) = bench.send(HI_STREAM);
    let edited = Edit::apply_all(&effects.body, HI_STREAM.as_bytes());
    assert_eq!(
        serde_json::from_slice::<Value>(&edited).unwrap()["stream_options"],
        json!({ "include_usage": true })
    );
    let head = bench.head(&mut exchange, 200, "text/event-stream");
    assert!(head.headers.contains(&HeaderEdit::Remove("content-length".into())));
    assert_eq!(bench.piece(&mut exchange, HELLO_CHUNK, false).piece, None);
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2}}\n\n";
    assert_eq!(bench.piece(&mut exchange, usage, false).piece, Some(vec![]));
    let last = bench.piece(&mut exchange, "data: [DONE]\n\n", true);
    assert_eq!((last.piece.clone(), fact(&last, Fact::UsedOutput).as_deref()), (None, Some("2")));
}

#[test]
fn only_models_that_answered_have_labels() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 404, "application/json");
    let failed = bench.handle(&mut exchange, Event::End { abort: None });
    let model = |effects: &Effects| {
        effects
            .counts
            .iter()
            .find(|count| count.metric == &metrics::CALLS)
            .unwrap()
            .labels
            .model
            .clone()
            .unwrap()
    };
    assert_eq!(&*model(&failed), "other");
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    assert_eq!(&*model(&bench.piece(&mut exchange, &answer(8, 1), true)), "gpt-4o");
}

/// Sends a call to this path, with this body.
fn send_to(bench: &mut Bench, path: &'static [u8], body: &str) -> Exchange {
    let mut exchange = bench.exchange();
    let head = Request::chat().with(":path", path);
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    bench.handle(&mut exchange, Event::RequestBody { body: body.as_bytes(), editable: Editable::All });
    exchange
}

#[test]
fn an_answer_that_another_call_will_ask_for_is_charged_the_reservation() {
    let mut bench = Bench::new(TOKENS);
    let body = r#"{"model":"gpt-4o","input":"Hi","background":true,"max_output_tokens":100}"#;
    let mut exchange = send_to(&mut bench, b"/v1/responses", body);
    bench.head(&mut exchange, 200, "application/json");
    let queued = r#"{"id":"resp_1","object":"response","status":"queued","output":[],"usage":null}"#;
    bench.piece(&mut exchange, queued, true);
    assert_eq!(bench.left(), 1_000 - 108);
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "pending"), 1);
}

#[test]
fn of_a_call_without_output_only_its_input_is_held() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange =
        send_to(&mut bench, b"/v1/embeddings", r#"{"model":"text-embedding-3-small","input":"Hi"}"#);
    let head = bench.head(&mut exchange, 200, "application/json");
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("999"));
    bench.piece(&mut exchange, r#"{"data":[],"usage":{"prompt_tokens":1,"total_tokens":1}}"#, true);
    assert_eq!(bench.left(), 999);
}

#[test]
fn an_upload_costs_what_the_model_named_in_it_costs() {
    let prices = r#"{ "prices": [ { "match": "dear", "input": 1000, "output": 1000 },
        { "match": "whisper-1", "input": 10, "output": 0 } ], "#;
    let mut bench = Bench::new(&TOKENS.replacen('{', prices, 1).replace("1000,", "1000000,"));
    let head = Request::chat()
        .with(":path", b"/v1/audio/transcriptions")
        .with("content-type", b"multipart/form-data; boundary=b");
    let mut exchange = bench.exchange();
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    assert_eq!(effects.next, Next::Pass);
    assert!(exchange.wants(Wanted::RequestPieces));
    for bytes in
        [b"--b\r\ncontent-disposition: form-data; name=\"mod".as_slice(), b"el\"\r\n\r\nwhisper-1\r\n--b--"]
    {
        bench.handle(&mut exchange, Event::RequestPiece { bytes });
    }
    bench.head(&mut exchange, 200, "application/json");
    let last = bench.piece(&mut exchange, r#"{"text":"","usage":{"type":"duration","seconds":60}}"#, true);
    // A minute at 0.006 USD, OpenAI's list price.
    assert_eq!(fact(&last, Fact::Cost).as_deref(), Some("0.006"));
}
