//! Answers that no sane upstream sends: each is charged by a declared fallback and counted, and
//! passes byte for byte.

use super::apis::{APIS, Api, EVENTS, PART};
use super::*;

/// The settlement of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Settled {
    input: u64,
    output: u64,
    /// The kind under which its missing usage was counted.
    missing: Option<&'static str>,
}

/// How an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    Cut,
}

const ROOMY: &str = r#"{ "counting": { "calibrate": false, "output_reserve": { "start": 100, "learn": false } },
    "tiers": { "all": { "limits": [ { "name": "tpm", "count": "tokens", "max": 1000000000, "window": "1d" } ] } } }"#;

/// Sends a call, answers it in pieces of this size, and asserts that the client gets the upstream's
/// bytes.
fn answer(api: &Api, headers: &[(&str, &str)], body: &[u8], size: usize, ending: Ending) -> Settled {
    let mut bench = Bench::new(ROOMY);
    let mut exchange = bench.exchange();
    let head = Request::chat().with(":path", api.path.as_bytes());
    let next = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false }).next;
    assert_eq!(next, Next::ReadBody, "{}", api.path);
    bench.handle(&mut exchange, Event::RequestBody { body: api.request.as_bytes(), editable: Editable::All });
    bench.head_with(&mut exchange, 200, headers);
    let mut passed = Vec::new();
    let pieces =
        body.chunks(size).map(|bytes| (bytes, false)).chain([(&[] as &[u8], ending == Ending::Whole)]);
    let mut last = Effects::default();
    for (bytes, is_last) in pieces {
        last = bench.handle(&mut exchange, Event::ResponsePiece { bytes, last: is_last });
        passed.extend(last.piece.take().unwrap_or_else(|| bytes.to_vec()));
    }
    assert!(passed == body, "{}: the client sees other bytes", api.path);
    if ending == Ending::Cut {
        last = bench.handle(&mut exchange, Event::End { abort: Some(Abort::Upstream) });
        assert_eq!(bench.count_of(&metrics::CALLS, "upstream_reset"), 1, "{}", api.path);
    } else {
        assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 1, "{}", api.path);
    }
    let used = |of| fact(&last, of).unwrap().parse().unwrap();
    let mut kinds = ["absent", "unreadable", "encoded", "pending", "unrecognised"].into_iter();
    let missing = kinds.find(|kind| bench.count_of(&metrics::USAGE_MISSING, kind) == 1);
    Settled { input: used(Fact::UsedInput), output: used(Fact::UsedOutput), missing }
}

fn streamed(api: &Api, body: &[u8], ending: Ending) -> Settled {
    answer(api, &[("content-type", api.content_type)], body, 1000, ending)
}

/// Returns the charge for a whole stream of this many parts without usage.
fn by_text(api: &Api, parts: usize) -> Settled {
    let stream = api.framed_part(PART).repeat(parts);
    let settled = streamed(api, &stream, Ending::Whole);
    assert_eq!(settled.missing, Some("absent"), "{}", api.path);
    settled
}

#[test]
fn a_stream_cut_anywhere_pays_for_the_events_that_had_come() {
    for api in &APIS {
        let parts = [api.framed_part(PART), api.framed_part(PART)];
        let (first, second) = (parts[0].len(), parts[0].len() + parts[1].len());
        let stream = [parts.concat(), api.framed_usage("70", "90")].concat();
        let (one, two) = (by_text(api, 1), by_text(api, 2));
        assert!(one.output > 0 && two.output > one.output, "{}: {one:?} {two:?}", api.path);
        // Lines end with their line feed, but an object ends before it; an event may lack the
        // second line feed.
        for cut in (0..stream.len())
            .filter(|cut| !(first - 2..first).contains(cut) && !(second - 2..second).contains(cut))
        {
            if cut >= stream.len() - 2 {
                continue;
            }
            let expected = if cut < first {
                0
            } else if cut < second {
                one.output
            } else {
                two.output
            };
            let settled = streamed(api, &stream[..cut], Ending::Cut);
            assert_eq!((settled.input, settled.output), (one.input, expected), "{} at {cut}", api.path);
        }
        let settled = streamed(api, &stream, Ending::Cut);
        assert_eq!((settled.input, settled.output), (70, 90), "{}", api.path);
    }
}

#[test]
fn a_stream_that_ends_early_as_if_it_were_whole_pays_the_same_and_is_counted() {
    for api in &APIS {
        let stream = [api.framed_part(PART), api.framed_part(PART), api.framed_usage("70", "90")].concat();
        let behind = api.framed_part(PART).len();
        let (one, two) = (by_text(api, 1), by_text(api, 2));
        // In the second event, and in a character of it.
        let at_character = behind + stream[behind..].iter().position(|byte| *byte == 0xc3).unwrap() + 1;
        for cut in [behind + 4, at_character] {
            let settled = streamed(api, &stream[..cut], Ending::Whole);
            // Without frames, the last object counts as far as it has come.
            let written = one.output..=two.output;
            assert!(written.contains(&settled.output), "{} at {cut}: {settled:?}", api.path);
            assert_eq!((settled.input, settled.missing), (one.input, one.missing), "{} at {cut}", api.path);
        }
    }
}

#[test]
fn odd_usage_is_understood_or_else_the_text_is_charged() {
    for api in &APIS {
        let counted = by_text(api, 1);
        let fallback = |missing| Settled { missing: Some(missing), ..by_text(api, 1) };
        let told = |input, output| Settled { input, output, missing: None };
        let cases = [
            (("70", "90"), told(70, 90)),
            (("70.0", "90.2"), told(70, 91)),
            (("\"70\"", "\" 90 \""), told(70, 90)),
            (("7e1", "9E1"), told(70, 90)),
            (("-70", "90"), fallback("unreadable")),
            (("70", "-90"), fallback("unreadable")),
            (("70", "-0.5"), fallback("unreadable")),
            (("70", "\"many\""), fallback("unreadable")),
            (("70", "true"), fallback("unreadable")),
            (("70", "[90]"), fallback("unreadable")),
            (("70", r#"{"a":90}"#), fallback("unreadable")),
            (("70", "18446744073709551616"), fallback("unreadable")),
            (("70", "1e308"), fallback("unreadable")),
            (("70", "null"), Settled { input: 70, ..fallback("absent") }),
            (("null", "90"), told(counted.input, 90)),
        ];
        for ((input, output), expected) in cases {
            let stream = [api.framed_part(PART), api.framed_usage(input, output)].concat();
            assert_eq!(streamed(api, &stream, Ending::Whole), expected, "{} {input} {output}", api.path);
        }
        let nothing = [api.framed_part(PART), api.framed_usage("null", "null")].concat();
        let settled = streamed(api, &nothing, Ending::Whole);
        assert_eq!((settled.input, settled.output), (counted.input, counted.output), "{}", api.path);
        assert!(settled.missing.is_some(), "{}", api.path);
    }
}

#[test]
fn of_usage_that_is_repeated_the_last_word_counts_and_nothing_is_added_up() {
    for api in &APIS {
        let usage = |input: &str, output: &str| api.framed_usage(input, output);
        let told = Settled { input: 70, output: 90, missing: None };
        let again = [usage("7", "9"), usage("70", "90"), usage("70", "90")].concat();
        assert_eq!(streamed(api, &again, Ending::Whole), told, "{}", api.path);
        // Invalid does not undo an earlier report, and a report after nonsense counts.
        for stream in [[usage("70", "90"), usage("70", "-1")], [usage("70", "-1"), usage("70", "90")]] {
            assert_eq!(streamed(api, &stream.concat(), Ending::Whole), told, "{}", api.path);
        }
    }
}

#[test]
fn an_event_that_names_its_usage_twice_tells_the_last() {
    for api in &APIS {
        let once = (api.usage)("7", "9");
        let again = (api.usage)("70", "90");
        let twice = format!("{},{}", once.strip_suffix('}').unwrap(), again.strip_prefix('{').unwrap());
        let settled = streamed(api, &(api.framed)(&twice), Ending::Whole);
        assert_eq!(settled, Settled { input: 70, output: 90, missing: None }, "{}: {twice}", api.path);
    }
}

#[test]
fn documents_cut_off_are_charged_the_text_that_has_come_and_others_the_reservation() {
    for api in &APIS {
        let json = &[("content-type", "application/json")];
        let whole = (api.whole)(PART, "");
        let text = answer(api, json, whole.as_bytes(), 1000, Ending::Whole);
        assert_eq!((text.missing, text.output), (Some("absent"), by_text(api, 1).output), "{}", api.path);
        let reserved = Settled { output: 100, missing: Some("unrecognised"), ..text };
        let begins = whole.find(PART).unwrap();
        for (cut, ending) in
            (1..whole.len()).flat_map(|cut| [Ending::Whole, Ending::Cut].map(|ending| (cut, ending)))
        {
            let settled = answer(api, json, &whole.as_bytes()[..cut], 7, ending);
            let what = format!("{} at {cut}, {ending:?}: {settled:?}", api.path);
            assert_eq!(settled.input, text.input, "{what}");
            if ending == Ending::Whole {
                let expected = if cut < begins { reserved.missing } else { text.missing };
                assert_eq!(settled.missing, expected, "{what}");
            }
            if cut < begins {
                assert_eq!(settled.output, reserved.output, "{what}");
            } else {
                // Parts of a character and of a word may be tokens of their own.
                let most = if cut > begins + PART.len() { text.output } else { text.output + 2 };
                assert!(settled.output <= most, "{what}");
            }
            if cut > begins + PART.len() {
                assert_eq!(settled.output, text.output, "{what}");
            }
        }
        for wrong in
            ["null", "7", "true", "\"text\"", "[]", "[[{}]]", "{}", r#"{"":null}"#, "NaN", "<html>", "\u{0}"]
        {
            let settled = answer(api, json, wrong.as_bytes(), 3, Ending::Whole);
            assert_eq!(settled, reserved, "{} {wrong}", api.path);
        }
    }
}

#[test]
fn a_stream_of_which_nothing_is_known_to_be_text_is_charged_the_reservation() {
    for api in &APIS {
        for nonsense in [
            "<html>busy</html>",
            "data: busy\n\ndata: busy\n\n",
            "data: {\"choices\":7}\n\n",
            "{\"a\":[]}\n{}\n",
        ] {
            let headers = &[("content-type", EVENTS)];
            let settled = answer(api, headers, nonsense.as_bytes(), 5, Ending::Whole);
            let reserved = (100, Some("unrecognised"));
            assert_eq!((settled.output, settled.missing), reserved, "{} {nonsense}", api.path);
        }
    }
}

#[test]
fn a_content_type_that_lies_hides_no_usage_of_text() {
    let lies = [
        "application/json",
        EVENTS,
        "application/x-ndjson",
        "application/octet-stream",
        "text/plain",
        "\u{fe}",
        "",
    ];
    for api in &APIS {
        let whole = (api.whole)(PART, "");
        let usage = (api.usage)("70", "90");
        let with_usage = format!("{},{}", whole.strip_suffix('}').unwrap(), usage.strip_prefix('{').unwrap());
        let stream = [api.framed_part(PART), api.framed_usage("70", "90")].concat();
        let told = Settled { input: 70, output: 90, missing: None };
        for lie in lies {
            let document = answer(api, &[("content-type", lie)], with_usage.as_bytes(), 9, Ending::Whole);
            assert_eq!(document, told, "{} as {lie}", api.path);
            let settled = answer(api, &[("content-type", lie)], &stream, 9, Ending::Whole);
            assert_eq!(settled, told, "{}'s stream as {lie}", api.path);
        }
    }
}

#[test]
fn text_that_is_said_to_be_frames_is_charged_the_reservation_or_read() {
    for api in &APIS {
        let stream = [api.framed_part(PART), api.framed_usage("70", "90")].concat();
        let headers = &[("content-type", "application/vnd.amazon.eventstream")];
        let settled = answer(api, headers, &stream, 9, Ending::Whole);
        let told = Settled { input: 70, output: 90, missing: None };
        let reserved = Settled { output: 100, missing: Some("encoded"), ..by_text(api, 1) };
        assert!([told, reserved].contains(&settled), "{}: {settled:?}", api.path);
    }
}

#[test]
fn frames_that_lie_about_their_length_are_charged_the_reservation() {
    let api = APIS.iter().find(|api| api.path.contains("converse")).unwrap();
    let (part, usage) = (api.framed_part(PART), api.framed_usage("70", "90"));
    let relabelled = |total: u32, headers: u32| {
        let lengths = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        let prelude = [lengths.clone(), crc32fast::hash(&lengths).to_be_bytes().to_vec()].concat();
        [prelude, usage[12..].to_vec()].concat()
    };
    let total = u32::try_from(usage.len()).unwrap();
    let headers = u32::from_be_bytes(*usage[4..].first_chunk().unwrap());
    let mut unchecked = usage.clone();
    unchecked[3] ^= 1;
    let reserved = Settled { output: 100, missing: Some("encoded"), ..by_text(api, 1) };
    for (what, lie) in [
        ("shorter than a frame", relabelled(3, 0)),
        ("headers longer than the frame", relabelled(total, total)),
        ("longer than frames may be", relabelled(u32::MAX, headers)),
        ("a length that was changed", unchecked),
        ("shorter than it is, so that no frame follows", relabelled(total - 5, headers)),
    ] {
        let stream = [part.clone(), lie, api.framed_usage("1", "1")].concat();
        assert_eq!(streamed(api, &stream, Ending::Whole), reserved, "{what}");
        let cut = streamed(api, &stream, Ending::Cut);
        assert_eq!((cut.input, cut.output), (reserved.input, reserved.output), "{what}");
    }
    // Longer than the stream: the frame never ends, and what came before it is charged.
    let stream = [part.clone(), relabelled(100_000, headers)].concat();
    assert_eq!(streamed(api, &stream, Ending::Whole), by_text(api, 1));
    // Too long to be kept, and without recognisable text.
    let stream = [part.clone(), relabelled(1_000_000, headers), vec![0; 40_000]].concat();
    let unrecognised = Settled { missing: Some("unrecognised"), ..by_text(api, 1) };
    assert_eq!(streamed(api, &stream, Ending::Whole), Settled { output: 100, ..unrecognised });
    // The usage before the lie counts.
    let stream = [part, usage.clone(), relabelled(3, 0)].concat();
    assert_eq!(streamed(api, &stream, Ending::Whole), Settled { input: 70, output: 90, missing: None });
}

#[test]
fn nesting_thousands_deep_hides_no_usage() {
    for api in &APIS {
        for (open, close) in
            [("[", "]"), (r#"{"a":"#, "}"), (r#"{"text":"#, "}"), (r#"{"content":"#, "}"), ("[[", "")]
        {
            let deep = format!("{}7{}", open.repeat(5_000), close.repeat(5_000));
            // Where a text belongs, and where nothing belongs.
            let text = (api.part)("").replace("\"\"", &deep);
            let other = format!("{},\"x\":{deep}}}", (api.part)(PART).strip_suffix('}').unwrap());
            for event in [text, other] {
                let deep = (api.framed)(&event);
                let stream = [deep.clone(), api.framed_usage("70", "90")].concat();
                let settled = streamed(api, &stream, Ending::Whole);
                let told = Settled { input: 70, output: 90, missing: None };
                // Objects without frames are separated by their ends, and one may have no end.
                let ends = !close.is_empty() || !api.content_type.ends_with("ndjson");
                assert!(settled == told || !ends && settled.output > 0, "{} {open}: {settled:?}", api.path);
                let settled = streamed(api, &deep, Ending::Whole);
                let is_counted = [Some("absent"), Some("unrecognised")].contains(&settled.missing);
                assert!(settled.output > 0 && is_counted, "{} {open}: {settled:?}", api.path);
            }
        }
    }
}

#[test]
fn an_event_of_many_megabytes_hides_no_usage_and_is_charged_by_its_text_without() {
    for api in &APIS {
        let long = api.framed_part(&"x".repeat(5 << 20));
        let stream = [api.framed_part(PART), long.clone(), api.framed_usage("70", "90")].concat();
        let headers = &[("content-type", api.content_type)];
        let settled = answer(api, headers, &stream, 16 << 10, Ending::Whole);
        assert_eq!(settled, Settled { input: 70, output: 90, missing: None }, "{}", api.path);
        let stream = [api.framed_part(PART), long].concat();
        for ending in [Ending::Whole, Ending::Cut] {
            let settled = answer(api, headers, &stream, 16 << 10, ending);
            // The kept part of the text is counted, and a token has eight letters; the rest is
            // measured.
            let expected = (5 << 20) / 4 - (256 << 10) / 8..(5 << 20) / 2;
            assert!(expected.contains(&settled.output), "{} {ending:?}: {settled:?}", api.path);
        }
    }
}

#[test]
fn an_event_too_long_to_be_held_back_passes_whole_though_it_only_tells_usage() {
    let padding = "x".repeat(40_000);
    let usage = format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":8,\"completion_tokens\":2}},\"x\":\"{padding}\"}}\n\n"
    );
    let stream = format!("{HELLO_CHUNK}{usage}data: [DONE]\n\n");
    for size in [1000, 20_000, 100_000] {
        let mut bench = Bench::new(ROOMY);
        let (mut exchange, _) = bench.send(HI_STREAM);
        bench.head(&mut exchange, 200, EVENTS);
        let mut passed = String::new();
        for piece in stream.as_bytes().chunks(size) {
            let piece = core::str::from_utf8(piece).unwrap();
            let effects = bench.piece(&mut exchange, piece, false);
            passed += core::str::from_utf8(&effects.piece.unwrap_or_else(|| piece.into())).unwrap();
        }
        assert!(passed == stream, "in pieces of {size}: {} of {} bytes", passed.len(), stream.len());
    }
}
