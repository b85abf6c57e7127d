//! Compressed answers and requests that are broken, endless, or mislabelled.

use super::*;
use std::io::Write as _;
use structured_zstd::encoding::{CompressionLevel, StreamingEncoder};
use structured_zstd::io::Write as _;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

const EVENTS: &str = "text/event-stream";

const ROOMY: &str = r#"{ "counting": { "calibrate": false, "decode_up_to": "1MiB", "output_reserve": { "start": 100, "learn": false } },
    "tiers": { "all": { "limits": [ { "name": "tpm", "count": "tokens", "max": 1000000000, "window": "1d" } ] } } }"#;

/// Compresses `plain`, flushed after each part, as streams are.
fn coded(coding: &str, parts: &[&[u8]]) -> Vec<u8> {
    let level = flate2::Compression::new(6);
    macro_rules! written {
        ($encoder:expr) => {{
            let mut encoder = $encoder;
            for part in parts {
                encoder.write_all(part).unwrap();
                encoder.flush().unwrap();
            }
            encoder
        }};
    }
    match coding {
        "gzip" => written!(flate2::write::GzEncoder::new(Vec::new(), level)).finish().unwrap(),
        "deflate" => written!(flate2::write::ZlibEncoder::new(Vec::new(), level)).finish().unwrap(),
        "br" => written!(::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20)).into_inner(),
        "zstd" => written!(StreamingEncoder::new(Vec::new(), CompressionLevel::Default)).finish().unwrap(),
        _ => unreachable!(),
    }
}

/// Compresses many megabytes into a few kilobytes.
fn bomb(coding: &str, megabytes: usize, byte: u8) -> Vec<u8> {
    let mebibyte = vec![byte; 1 << 20];
    coded(coding, &vec![mebibyte.as_slice(); megabytes])
}

/// The settlement of an answer: tokens read and written, and the kind of its missing usage.
type Settled = (u64, u64, Option<&'static str>);

/// The charge of a call whose answer cannot be decoded: 8 tokens and its `max_tokens`.
const RESERVED: Settled = (8, 100, Some("encoded"));

/// Returns the charge of a call with this answer, and asserts that its client gets the upstream's
/// bytes.
fn answer(coding: &str, body: &[u8], size: usize, abort: Option<Abort>) -> Settled {
    let mut bench = Bench::new(ROOMY);
    let (mut exchange, _) = bench.send(HI_STREAM);
    bench.head_with(&mut exchange, 200, &[("content-type", EVENTS), ("content-encoding", coding)]);
    let pieces = body.chunks(size).map(|bytes| (bytes, false)).chain([(&[] as &[u8], abort.is_none())]);
    let mut passed = Vec::new();
    let mut effects = Effects::default();
    for (bytes, last) in pieces {
        effects = bench.handle(&mut exchange, Event::ResponsePiece { bytes, last });
        passed.extend(effects.piece.take().unwrap_or_else(|| bytes.to_vec()));
    }
    assert!(passed == body, "{coding}: the client sees other bytes");
    if abort.is_some() {
        effects = bench.handle(&mut exchange, Event::End { abort });
    }
    let used = |of| fact(&effects, of).unwrap().parse().unwrap();
    let mut kinds = ["absent", "unreadable", "encoded", "pending", "unrecognised"].into_iter();
    let missing = kinds.find(|kind| bench.count_of(&metrics::USAGE_MISSING, kind) == 1);
    (used(Fact::UsedInput), used(Fact::UsedOutput), missing)
}

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":70,\"completion_tokens\":90}}\n\n";

#[test]
fn an_answer_truncated_within_its_coding_is_charged_the_reservation_unless_it_has_told() {
    for coding in CODINGS {
        let whole = coded(coding, &[HELLO_CHUNK.as_bytes(), USAGE.as_bytes(), b"data: [DONE]\n\n"]);
        assert_eq!(answer(coding, &whole, 9, None), (70, 90, None), "{coding}");
        let mut seen = Vec::new();
        for cut in 1..whole.len() {
            let settled = answer(coding, &whole[..cut], 9, None);
            assert!([RESERVED, (70, 90, None)].contains(&settled), "{coding} at {cut}: {settled:?}");
            seen.push(settled);
        }
        assert_eq!((seen[0], *seen.last().unwrap()), (RESERVED, (70, 90, None)), "{coding}");
        let turns = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(turns, 1, "{coding}: what was told once is not forgotten");
    }
}

#[test]
fn a_compressed_stream_that_its_upstream_cuts_pays_for_what_had_come() {
    for coding in CODINGS {
        let begun = coded(coding, &[HELLO_CHUNK.as_bytes()]);
        let sent = coded(coding, &[HELLO_CHUNK.as_bytes(), HELLO_CHUNK.as_bytes(), USAGE.as_bytes()]);
        let common = begun.iter().zip(&sent).take_while(|(one, other)| one == other).count();
        let settled = answer(coding, &sent[..common], 3, Some(Abort::Upstream));
        assert!(settled.0 == 8 && (0..=4).contains(&settled.1), "{coding}: {settled:?}");
        assert_eq!(answer(coding, &sent, 3, Some(Abort::Upstream)), (70, 90, None), "{coding}");
    }
}

#[test]
fn damage_to_a_compressed_answer_is_counted_and_passes_and_so_does_a_coding_that_lies() {
    for coding in CODINGS {
        let whole = coded(coding, &[HELLO_CHUNK.as_bytes(), b"data: [DONE]\n\n"]);
        assert_eq!(answer(coding, &whole, 100, None), (8, 2, Some("absent")), "{coding}");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x20;
            let (input, _, missing) = answer(coding, &damaged, 5, None);
            assert!(input == 8 && missing.is_some(), "{coding} at {at}");
        }
        // A mislabelled coding, in each direction.
        assert_eq!(answer(coding, USAGE.as_bytes(), 5, None), RESERVED, "{coding}");
        let (_, output, missing) = answer("", &whole, 5, None);
        assert!(output > 0 && missing.is_some(), "{coding}: {output} {missing:?}");
    }
}

#[test]
fn a_bomb_as_an_answer_is_charged_the_reservation_and_so_is_one_that_can_be_decoded() {
    for coding in CODINGS {
        for byte in [0, b'{', b'[', b'"', b'\n', b'x'] {
            assert_eq!(answer(coding, &bomb(coding, 8, byte), 1 << 16, None), RESERVED, "{coding} {byte}");
        }
        let unrecognised = (8, 100, Some("unrecognised"));
        assert_eq!(answer(coding, &bomb(coding, 1, b'x'), 1000, None), unrecognised, "{coding}");
        // The report before it counts.
        let mebibyte = vec![b'x'; 1 << 20];
        let parts: Vec<&[u8]> = [USAGE.as_bytes()].into_iter().chain(vec![mebibyte.as_slice(); 8]).collect();
        assert_eq!(answer(coding, &coded(coding, &parts), 1 << 16, None), (70, 90, None), "{coding}");
    }
}

/// Sends a request with this coding. Returns its count, and the bench.
fn send(coding: &'static str, body: &[u8]) -> (u64, Bench) {
    let mut bench = Bench::new(ROOMY);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("content-encoding", coding.as_bytes());
    let next = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false }).next;
    assert_eq!(next, Next::ReadBody);
    let effects = bench.handle(&mut exchange, Event::RequestBody { body, editable: Editable::All });
    assert_eq!((&effects.next, &effects.body), (&Next::Pass, &vec![]), "{coding}: it passes as it is");
    (fact(&effects, Fact::CountedInput).unwrap().parse().unwrap(), bench)
}

#[test]
fn a_request_that_is_broken_in_its_coding_is_counted_by_its_length() {
    for coding in CODINGS {
        let whole = coded(coding, &[HI_STREAM.as_bytes()]);
        let (counted, bench) = send(coding, &whole);
        assert_eq!((counted, bench.count_of(&metrics::UNREAD, "encoded")), (8, 0), "{coding}");
        assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "usage"), 1, "{coding}");
        for cut in 1..whole.len() - 1 {
            let (counted, bench) = send(coding, &whole[..cut]);
            assert_eq!(
                (counted, bench.count_of(&metrics::UNREAD, "encoded")),
                (cut as u64, 1),
                "{coding} {cut}"
            );
        }
        let (counted, bench) = send(coding, HI_STREAM.as_bytes());
        let expected = (HI_STREAM.len() as u64, 1);
        assert_eq!(
            (counted, bench.count_of(&metrics::UNREAD, "encoded")),
            expected,
            "{coding} that is plain"
        );
    }
}

#[test]
fn a_bomb_as_a_request_is_counted_by_the_bound_and_passes() {
    for coding in CODINGS {
        for byte in [0, b'[', b'x'] {
            let (counted, bench) = send(coding, &bomb(coding, 10, byte));
            assert_eq!(
                (counted, bench.count_of(&metrics::UNREAD, "oversize")),
                (1 << 20, 1),
                "{coding} {byte}"
            );
        }
        // Just within the bound, and read like any other.
        let (_, bench) = send(coding, &bomb(coding, 1, b'['));
        assert_eq!(bench.count_of(&metrics::UNREAD, "malformed"), 1, "{coding}");
    }
}

#[test]
fn a_bomb_within_a_bomb_costs_no_more_than_one() {
    for outer in CODINGS {
        for inner in CODINGS {
            let twice = coded(outer, &[&bomb(inner, 8, b'x')]);
            let both = format!("{inner}, {outer}");
            assert_eq!(answer(&both, &twice, 1 << 16, None), RESERVED, "{both}");
        }
    }
}
