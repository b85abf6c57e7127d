//! Streams whose caller's budget is exhausted: when they are stopped, their charges, and what their
//! clients get.

mod endings;

use super::*;
use crate::coding::Encoding;

/// The charge for the input of a call in these tests: see [`HI`].
const INPUT: u64 = 8;

fn config(streams: &str, window: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }}, "streams": {streams},
            "counting": {{ "output_reserve": {{ "at_most": 0.1 }} }},
            "tiers": {{ "free": {{ "limits": [ {{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "{window}" }} ] }} }} }}"#
    )
}

const STOPPING: &str = r#"{ "stop_at_limit": true }"#;

/// Returns a bench whose budget does not refill within a test.
fn bench(streams: &str) -> Bench {
    Bench::new(&config(streams, "30d"))
}

/// Formats an event of one token.
fn word(id: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4o-mini\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

impl Bench {
    /// Starts a stream.
    fn stream(&mut self, body: &str) -> Exchange {
        self.stream_with(body, &[])
    }

    /// Starts a stream with more headers.
    fn stream_with(&mut self, body: &str, head: &[(&'static str, &str)]) -> Exchange {
        let (mut exchange, effects) = self.send(body);
        assert_eq!(effects.next, Next::Pass, "{effects:?}");
        let head = [&[("content-type", "text/event-stream")], head].concat();
        self.head_with(&mut exchange, 200, &head);
        exchange
    }

    /// Feeds up to `count` words. Returns the number of words before the stop and its effects, if
    /// there was one.
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
        assert_eq!(fact(&effects, Fact::StoppedBy).as_deref(), Some("tpm"));
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
fn a_stopped_stream_drains_its_upstream_for_a_while_and_is_reset_after_it() {
    let finisher = &[("filter_state/tollgate.finisher", "1")][..];
    for (drain_for, state, kept_at, reset_at) in [
        ("", &[][..], Some(29), Some(30)),
        (r#", "drain_for": "2m""#, &[], Some(119), Some(120)),
        (r#", "drain_for": "0s""#, &[], None, Some(0)),
        (r#", "drain_for": "0s""#, finisher, Some(3600), None),
    ] {
        let mut bench = bench(&format!(r#"{{ "stop_at_limit": true{drain_for} }}"#));
        let mut exchange = bench.stream_with(HI_STREAM, state);
        let (_, effects) = bench.words(&mut exchange, 5000).unwrap();
        assert!(!effects.reset, "the ending has yet to be passed on");
        let stopped = bench.now;
        for (after, resets) in [(kept_at, false), (reset_at, true)] {
            let Some(after) = after else { continue };
            bench.now = stopped + Span::from_secs(after);
            assert!(exchange.wants(Wanted::ResponsePieces));
            let effects = bench.piece(&mut exchange, &word("c"), false);
            let seen = (effects.piece.as_deref(), effects.reset);
            assert_eq!(seen, (Some(&b""[..]), resets), "{drain_for} {after} s");
        }
        let effects = bench.piece(&mut exchange, "", true);
        assert!(!effects.reset, "it has ended by itself");
        bench.handle(&mut exchange, Event::End { abort: None });
        assert!(!exchange.wants(Wanted::ResponsePieces));
    }
}

#[test]
fn a_drained_piece_is_charged_to_nobody_and_counted() {
    let mut bench = bench(STOPPING);
    let mut exchange = bench.stream(HI_STREAM);
    bench.words(&mut exchange, 5000).unwrap();
    let charged = bench.count_of(&metrics::TOKENS, "output");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9000}}\n\n";
    bench.piece(&mut exchange, usage, false);
    assert_eq!(bench.count_of(&metrics::STREAMS_CUT, ""), 0);
    bench.now = bench.now + Span::from_secs(30);
    bench.piece(&mut exchange, "data: [DONE]\n\n", false);
    bench.handle(&mut exchange, Event::End { abort: Some(Abort::Upstream) });
    assert_eq!(bench.count_of(&metrics::TOKENS, "output"), charged);
    let drained = u64::try_from(usage.len() + 14).unwrap();
    assert_eq!(bench.count_of(&metrics::DRAINED_BYTES, ""), drained);
    assert_eq!(bench.count_of(&metrics::STREAMS_CUT, ""), 1);
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
