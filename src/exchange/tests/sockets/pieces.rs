//! Messages in any fragments, and frames in any pieces, give the same usage.

use proptest::prelude::*;

use super::*;

/// Encodes a message in fragments of these sizes, with a ping after each.
fn fragments(message: &Value, sizes: &[usize], key: Option<[u8; 4]>) -> Vec<u8> {
    let text = message.to_string().into_bytes();
    let mut rest = &text[..];
    let mut frames = Vec::new();
    let mut sizes = sizes.iter().copied().chain(core::iter::repeat(usize::MAX));
    let mut is_first = true;
    loop {
        let size = sizes.next().unwrap().min(rest.len());
        let (part, behind) = rest.split_at(size);
        let mut frame = data_frame(Kind::Text, part, key);
        frame[0] = u8::from(is_first) | if behind.is_empty() { 0x80 } else { 0 };
        frames.extend(frame);
        if behind.is_empty() {
            return frames;
        }
        frames.extend(ping_frame(b"x", key));
        (rest, is_first) = (behind, false);
    }
}

/// The messages of a conversation, each with whether the client sends it.
fn conversation() -> Vec<(bool, Value)> {
    let create = |lane: &str| json!({ "type": "response.create", "model": "gpt-4o", "input": "Hi", "stream_id": lane });
    let event = |kind: &str, lane: &str, usage: Value| json!({ "type": kind, "stream_id": lane, "response": { "status": "completed", "usage": usage } });
    let delta = json!({ "type": "response.output_text.delta", "stream_id": "a", "delta": "Hello" });
    vec![
        (true, create("a")),
        (true, create("b")),
        (false, event("response.created", "b", Value::Null)),
        (false, event("response.created", "a", Value::Null)),
        (false, delta),
        (false, event("response.completed", "a", json!({ "input_tokens": 9, "output_tokens": 31 }))),
        (true, json!({ "type": "unknown" })),
        (false, event("response.completed", "b", json!({ "input_tokens": 5, "output_tokens": 15 }))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_and_any_fragmentation_give_the_same_usage(
        sizes in prop::collection::vec(0_usize..40, 0..6),
        piece in 1_usize..200,
    ) {
        let mut bench = Bench::new(TOKENS);
        let mut wire = bench.open(b"/v1/responses");
        for (is_client, message) in conversation() {
            let frames = fragments(&message, &sizes, if is_client { KEY } else { None });
            let mut passed = Vec::new();
            for bytes in frames.chunks(piece) {
                let event = if is_client {
                    Event::RequestPiece { bytes }
                } else {
                    Event::ResponsePiece { bytes, last: false }
                };
                let effects = bench.handle(&mut wire.exchange, event);
                passed.extend(effects.piece.unwrap_or_else(|| bytes.to_vec()));
            }
            let frames = if is_client { Frames::from_client(usize::MAX) } else { Frames::from_server(usize::MAX) };
            let got = read(frames, &passed);
            prop_assert!(got.contains(&Got::Json(message)));
        }
        prop_assert_eq!(bench.left(), 940);
        prop_assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 2);
    }

    #[test]
    fn no_bytes_of_either_side_make_a_socket_panic_or_grow(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        path in 0_usize..3,
    ) {
        const PATHS: [&[u8]; 3] = [
            b"/v1/responses",
            b"/v1/realtime?model=m",
            b"/ws/google.ai.generativelanguage.v1.GenerativeService.BidiGenerateContent",
        ];
        let mut bench = Bench::new(TOKENS);
        let mut wire = bench.open(PATHS[path]);
        for (is_client, bytes) in pieces {
            let framed = data_frame(Kind::Text, &bytes, if is_client { KEY } else { None });
            for bytes in [&framed, &bytes] {
                let event = if is_client {
                    Event::RequestPiece { bytes }
                } else {
                    Event::ResponsePiece { bytes, last: false }
                };
                let effects = bench.handle(&mut wire.exchange, event);
                // A close frame, an error and a ping may be added.
                prop_assert!(effects.piece.is_none_or(|piece| piece.len() <= 10 * (bytes.len() + 200)));
            }
        }
        bench.hang_up(&mut wire, None);
        prop_assert_eq!(bench.left(), 1000);
    }
}
