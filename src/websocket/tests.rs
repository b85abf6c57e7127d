//! The reader and the writer by examples. Properties are in a file of their own.

mod properties;

use std::borrow::Cow::Borrowed;

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const BOUND: usize = 1 << 20;

/// Creates the reader of a side that masks with this key.
fn reader(key: Option<[u8; 4]>, bound: usize) -> Frames {
    if key.is_some() { Frames::from_client(bound) } else { Frames::from_server(bound) }
}

/// Encodes a frame independently of the code under test.
fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![first];
    let masked = if key.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=65535 => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(key.iter().flatten());
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ key.map_or(0, |key| key[at % 4])));
    frame
}

/// Reads pieces; returns the events, with neighbouring bytes to pass on joined.
fn read_pieces<'p>(frames: &mut Frames, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    for mut rest in pieces {
        while let Some(event) = frames.read(&mut rest) {
            push(&mut events, event);
            assert_memory(frames);
        }
        assert!(rest.is_empty());
        assert_memory(frames);
    }
    events
}

fn assert_memory(frames: &Frames) {
    assert!(frames.held.capacity() <= frames.bound && frames.begun.capacity() <= 2 * (LONGEST_HEADER + 125));
}

fn push(events: &mut Vec<Event<'static>>, event: Event<'_>) {
    let own = |raw: Cow<'_, [u8]>| raw.into_owned().into();
    let event = match (events.last_mut(), event) {
        (Some(Event::Pass(last)), Event::Pass(bytes)) => return last.to_mut().extend_from_slice(&bytes),
        (_, Event::Pass(bytes)) => Event::Pass(own(bytes)),
        (_, Event::Message(Message { kind, raw })) => Event::Message(Message { kind, raw: own(raw) }),
        (_, Event::Oversized(Message { kind, raw })) => Event::Oversized(Message { kind, raw: own(raw) }),
        (_, Event::Control(Control { kind, raw })) => Event::Control(Control { kind, raw: own(raw) }),
        (_, Event::OversizedEnd { length }) => Event::OversizedEnd { length },
        (_, Event::Violation { rule, raw }) => Event::Violation { rule, raw },
    };
    events.push(event);
}

fn read(frames: &mut Frames, bytes: &[u8]) -> Vec<Event<'static>> {
    read_pieces(frames, [bytes])
}

/// Returns the bytes that a caller sends on if it passes everything.
fn output(events: &[Event<'_>]) -> Vec<u8> {
    let bytes = |event: &Event<'_>| match event {
        Event::Message(Message { raw, .. })
        | Event::Oversized(Message { raw, .. })
        | Event::Control(Control { raw, .. })
        | Event::Pass(raw) => raw.to_vec(),
        Event::Violation { raw, .. } => raw.clone(),
        Event::OversizedEnd { .. } => Vec::new(),
    };
    events.iter().flat_map(bytes).collect()
}

fn messages(events: &[Event<'_>]) -> Vec<(Kind, Vec<u8>)> {
    let message = |event: &Event<'_>| match event {
        Event::Message(message) => Some((message.kind, message.payload().into_owned())),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

/// A frame as an independent parser sees it.
struct Plain<'b> {
    first: u8,
    key: Option<[u8; 4]>,
    payload: Vec<u8>,
    raw: &'b [u8],
}

/// Parses whole frames independently of the code under test. Panics if the last one is not whole.
fn plain_frames(mut bytes: &[u8]) -> Vec<Plain<'_>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (length, mut at) = match bytes[1] & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes[2..4].try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), 10),
            length => (u64::from(length), 2),
        };
        let key = (bytes[1] >= 0x80).then(|| bytes[at..at + 4].try_into().unwrap());
        at += if key.is_some() { 4 } else { 0 };
        let (raw, behind) = bytes.split_at(at + length as usize);
        let unmask = |(at, byte)| byte ^ key.map_or(0, |key: [u8; 4]| key[at % 4]);
        let payload = raw[at..].iter().enumerate().map(unmask).collect();
        frames.push(Plain { first: raw[0], key, payload, raw });
        bytes = behind;
    }
    frames
}

/// Returns the messages in whole frames if these keep all rules, independently of the code under
/// test.
fn accept(bytes: &[u8], is_masked: bool) -> Result<Vec<(Kind, Vec<u8>)>, String> {
    let (mut messages, mut open, mut is_closed) = (Vec::new(), None, false);
    for (number, Plain { first, key, payload, .. }) in plain_frames(bytes).into_iter().enumerate() {
        if is_closed || key.is_some() != is_masked {
            return Err(format!("frame {number} ({first:#x}) is closed ({is_closed}) or has the wrong mask"));
        }
        let is_final = first >= 0x80;
        let (kind, joined) = match (first & 0x7f, open.take()) {
            (0, Some((kind, start))) => (kind, [start, payload].concat()),
            (1, None) => (Kind::Text, payload),
            (2, None) => (Kind::Binary, payload),
            (8..=10, before) if is_final && payload.len() <= 125 => {
                is_closed = first == 0x88;
                open = before;
                continue;
            }
            _ => return Err(format!("frame {number} ({first:#x}) may not come here")),
        };
        if is_final { messages.push((kind, joined)) } else { open = Some((kind, joined)) }
    }
    Ok(messages)
}

fn pass(bytes: &[u8]) -> Event<'static> {
    Event::Pass(bytes.to_vec().into())
}

fn control(kind: ControlKind, raw: &[u8]) -> Event<'static> {
    Event::Control(Control { kind, raw: raw.to_vec().into() })
}

fn ping(raw: &[u8]) -> Event<'static> {
    control(ControlKind::Ping, raw)
}

fn text(raw: &[u8]) -> Event<'static> {
    Event::Message(Message { kind: Kind::Text, raw: raw.to_vec().into() })
}

fn oversized(raw: &[u8]) -> Event<'static> {
    Event::Oversized(Message { kind: Kind::Text, raw: raw.to_vec().into() })
}

#[test]
fn the_examples_of_the_specification_are_read() {
    let unmasked = &b"\x81\x05Hello"[..];
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let fragmented = b"\x01\x03Hel\x80\x02lo";
    for (bytes, key) in [(unmasked, None), (masked, Some(KEY)), (fragmented, None)] {
        let events = read(&mut reader(key, BOUND), bytes);
        assert_eq!(events, [text(bytes)]);
        assert_eq!(messages(&events), [(Kind::Text, b"Hello".to_vec())]);
    }
    let unmasked = &b"\x89\x05Hello"[..];
    let masked = b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    for (bytes, key, kind) in [(unmasked, None, ControlKind::Ping), (masked, Some(KEY), ControlKind::Pong)] {
        let events = read(&mut reader(key, BOUND), bytes);
        assert_eq!(events, [control(kind, bytes)]);
        assert!(matches!(&events[..], [Event::Control(control)] if *control.payload() == *b"Hello"));
    }
    for (header, length) in [(&b"\x82\x7e\x01\x00"[..], 256), (b"\x82\x7f\0\0\0\0\0\x01\0\0", 65536)] {
        let events = read(&mut Frames::from_server(BOUND), &[header, &vec![7; length]].concat());
        assert_eq!(messages(&events), [(Kind::Binary, vec![7; length])]);
    }
}

#[test]
fn the_examples_of_the_specification_are_written() {
    assert_eq!(data_frame(Kind::Text, b"Hello", None), b"\x81\x05Hello");
    assert_eq!(data_frame(Kind::Text, b"Hello", Some(KEY)), b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    assert_eq!(ping_frame(b"Hello", None), b"\x89\x05Hello");
    assert_eq!(data_frame(Kind::Binary, &[0; 256], None)[..4], *b"\x82\x7e\x01\x00");
    assert_eq!(data_frame(Kind::Binary, &[0; 65536], None)[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
}

#[test]
fn a_written_frame_has_the_shortest_length_and_reads_as_it_was() {
    for length in [0, 1, 125, 126, 65535, 65536, 65537] {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        for key in [None, Some(KEY)] {
            let written = data_frame(Kind::Binary, &payload, key);
            assert_eq!(written, frame(0x82, &payload, key));
            assert_eq!(messages(&read(&mut reader(key, BOUND), &written)), [(Kind::Binary, payload.clone())]);
        }
    }
}

#[test]
fn a_close_frame_has_its_code_and_as_much_of_the_reason_as_fits() {
    assert_eq!(close_frame(1008, "over budget", None), b"\x88\x0d\x03\xf0over budget");
    let masked = close_frame(1008, "over budget", Some(KEY));
    assert_eq!(masked, frame(0x88, b"\x03\xf0over budget", Some(KEY)));
    let long = close_frame(1000, &"é".repeat(100), None);
    assert_eq!(long, frame(0x88, &[b"\x03\xe8", "é".repeat(61).as_bytes()].concat(), None));
}

#[test]
fn a_ping_frame_has_as_much_of_the_payload_as_fits() {
    assert_eq!(ping_frame(&[7; 125], Some(KEY)), frame(0x89, &[7; 125], Some(KEY)));
    assert_eq!(ping_frame(&[7; 126], None), frame(0x89, &[7; 125], None));
}

#[test]
fn a_frame_that_lies_whole_in_one_piece_is_not_copied() {
    for key in [None, Some(KEY)] {
        let sizes = [200, 10 << 10, 0, 100_000];
        let sent = sizes.map(|size| [frame(0x81, &vec![b'x'; size], key), frame(0x8a, b"?", key)]);
        let bytes = sent.concat().concat();
        let longest = frame(0x81, &[b'x'; 100_000], key).len();
        let (mut frames, mut rest) = (reader(key, longest), &*bytes);
        for [message, control] in &sent {
            let Some(Event::Message(Message { raw: Borrowed(raw), kind })) = frames.read(&mut rest) else {
                panic!("not borrowed");
            };
            assert_eq!(raw, message);
            let payload = Message { kind, raw: raw.into() }.payload().as_ptr();
            assert_eq!(raw.as_ptr_range().contains(&payload) || raw.len() == 2, key.is_none());
            let Some(Event::Control(Control { raw: Borrowed(raw), .. })) = frames.read(&mut rest) else {
                panic!("not borrowed");
            };
            assert_eq!(raw, control);
        }
        assert_eq!(frames.read(&mut rest), None);
        assert_eq!((frames.held.capacity(), frames.begun.capacity()), (0, 0));
    }
}

#[test]
fn the_payload_of_one_frame_without_mask_is_not_copied_either_if_it_came_in_pieces() {
    let bytes = frame(0x81, &[b'x'; 1000], None);
    let events = read_pieces(&mut Frames::from_server(BOUND), bytes.chunks(300));
    let [Event::Message(message)] = &events[..] else { panic!("{events:?}") };
    assert!(matches!(message.payload(), Borrowed(payload) if payload == [b'x'; 1000]));
}

#[test]
fn control_frames_overtake_a_message_that_is_held_back() {
    for (key, other) in [(Some(KEY), Some([1, 2, 3, 4])), (None, None)] {
        let (start, end) = (frame(0x01, b"Hel", key), frame(0x80, b"lo", other));
        let interrupting = frame(0x89, b"?", other);
        let events = read(&mut reader(key, BOUND), &[&*start, &interrupting, &end].concat());
        assert_eq!(events, [ping(&interrupting), text(&[start, end].concat())]);
        assert_eq!(messages(&events), [(Kind::Text, b"Hello".to_vec())]);
    }
}

#[test]
fn a_close_frame_has_a_code_or_none_and_nothing_is_insertable_behind_it() {
    for (payload, code) in
        [(&b"\x03\xf0why"[..], Some(1008)), (b"\x03\xe8", Some(1000)), (b"\x03", None), (b"", None)]
    {
        for key in [None, Some(KEY)] {
            let bytes = frame(0x88, payload, key);
            for size in [1, 100] {
                let mut frames = reader(key, BOUND);
                let events = read_pieces(&mut frames, bytes.chunks(size));
                assert_eq!(events, [control(ControlKind::Close { code }, &bytes)]);
                assert!(matches!(&events[..], [Event::Control(control)] if *control.payload() == *payload));
                assert_eq!(frames.insertable(), Insertable::Nothing);
            }
        }
    }
}

#[test]
fn a_violation_is_told_once_and_all_behind_it_passes_unread() {
    let key = Some(KEY);
    let open = frame(0x01, b"Hel", key);
    let long = [0; 126];
    for (before, bad, rule) in [
        (&b""[..], frame(0xc1, b"x", key), Violation::ReservedBit),
        (b"", frame(0xa1, b"x", key), Violation::ReservedBit),
        (b"", frame(0x91, b"x", key), Violation::ReservedBit),
        (b"", frame(0x83, b"x", key), Violation::ReservedOpcode(3)),
        (b"", frame(0x8b, b"x", key), Violation::ReservedOpcode(11)),
        (b"", frame(0x81, b"x", None), Violation::Unmasked),
        (b"", b"\x81\xff\x80\0\0\0\0\0\0\0keyx".to_vec(), Violation::Length(1 << 63)),
        (&open, frame(0x09, b"x", key), Violation::FragmentedControl),
        (&open, frame(0x89, &long, key), Violation::LongControl(126)),
        (&open, frame(0x81, b"x", key), Violation::UnfinishedMessage),
        (b"", frame(0x80, b"x", key), Violation::NothingToContinue),
        (&frame(0x81, b"x", key), frame(0x00, b"x", key), Violation::NothingToContinue),
    ] {
        assert_violation(Sender::Client, before, &bad, rule);
    }
    assert_violation(Sender::Server, b"\x01\x00", &frame(0x80, b"x", key), Violation::Masked);
}

fn assert_violation(sender: Sender, before: &[u8], bad: &[u8], rule: Violation) {
    let unread = [frame(0x81, b"unread", None), frame(0x81, b"unread", Some(KEY))].concat();
    let bytes = [before, bad, &unread].concat();
    for size in [1, 3, 1000] {
        let mut frames = Frames::new(sender, BOUND);
        let events = read_pieces(&mut frames, bytes.chunks(size));
        let [earlier @ .., Event::Violation { rule: found, raw }, Event::Pass(rest)] = &events[..] else {
            panic!("{rule:?}: {events:?}");
        };
        assert_eq!(*found, rule);
        assert!(earlier.iter().all(|event| matches!(event, Event::Message(_))));
        assert_eq!([&*output(earlier), raw, rest].concat(), bytes);
        assert!(bad.ends_with(&rest[..rest.len() - unread.len()]));
        assert_eq!(frames.insertable(), Insertable::Nothing);
    }
}

#[test]
fn a_violation_within_an_oversized_message_is_told() {
    let (first, bad) = (frame(0x01, &[b'x'; 100], None), frame(0x81, b"x", None));
    assert_eq!(
        read_pieces(&mut Frames::from_server(50), [&*first, &bad].concat().chunks(7)),
        [
            oversized(&first[..50]),
            pass(&first[50..]),
            Event::Violation { rule: Violation::UnfinishedMessage, raw: bad[..2].to_vec() },
            pass(&bad[2..]),
        ]
    );
}

#[test]
fn a_length_in_more_bytes_than_necessary_is_read() {
    for header in [&b"\x81\x7e\x00\x05"[..], b"\x81\x7f\0\0\0\0\0\0\0\x05"] {
        let events = read(&mut Frames::from_server(BOUND), &[header, b"Hello"].concat());
        assert_eq!(messages(&events), [(Kind::Text, b"Hello".to_vec())]);
    }
}

#[test]
fn a_message_of_the_bound_is_whole_and_a_longer_one_is_not() {
    for key in [None, Some(KEY)] {
        for size in [1, 1000] {
            let fits = |bytes: &[u8]| {
                let events = read_pieces(&mut reader(key, 100), bytes.chunks(size));
                matches!(events[..], [Event::Message(_)])
            };
            let header = frame(0x81, b"", key).len();
            assert!(fits(&frame(0x81, &vec![b'x'; 100 - header], key)));
            assert!(!fits(&frame(0x81, &vec![b'x'; 101 - header], key)));
            let first = frame(0x01, &vec![b'x'; 100 - 2 * header], key);
            assert!(fits(&[&*first, &frame(0x80, b"", key)].concat()));
            assert!(!fits(&[&*first, &frame(0x80, b"x", key)].concat()));
        }
    }
}

#[test]
fn an_oversized_message_passes_with_its_start_and_its_length_told() {
    let payload: Vec<u8> = (0..300).map(|at| at as u8).collect();
    for key in [None, Some(KEY)] {
        let (first, second) = (frame(0x01, &payload[..200], key), frame(0x80, &payload[200..], key));
        let (interrupting, next) = (frame(0x89, b"", key), frame(0x81, b"next", key));
        let events = read(&mut reader(key, 100), &[&*first, &interrupting, &second, &next].concat());
        assert_eq!(
            events,
            [
                oversized(&first[..100]),
                pass(&first[100..]),
                ping(&interrupting),
                pass(&second),
                Event::OversizedEnd { length: 300 },
                text(&next),
            ]
        );
        let Event::Oversized(start) = &events[0] else { unreachable!() };
        assert_eq!(*start.payload(), payload[..if key.is_some() { 92 } else { 96 }]);
    }
}

#[test]
fn a_header_without_room_ends_the_holding_of_its_message() {
    for key in [None, Some(KEY)] {
        let (first, second) = (frame(0x01, &[b'x'; 90], key), frame(0x80, b"yy", key));
        let events = read(&mut reader(key, first.len() + 1), &[&*first, &second].concat());
        assert_eq!(events, [oversized(&first), pass(&second), Event::OversizedEnd { length: 92 }]);
    }
}

#[test]
fn a_length_that_exceeds_the_memory_passes_without_end() {
    for length in [i64::MAX as u64, 1 << 32, (1 << 32) + 5] {
        for (mut frames, header) in [
            (Frames::from_client(100), [&b"\x81\xff"[..], &length.to_be_bytes(), b"keyy"].concat()),
            (Frames::from_server(100), [&b"\x81\x7f"[..], &length.to_be_bytes()].concat()),
        ] {
            let bytes = [header, vec![0; 1000]].concat();
            assert_eq!(read(&mut frames, &bytes), [oversized(&bytes[..100]), pass(&bytes[100..])]);
            assert_eq!(read(&mut frames, &[1; 1000]), [pass(&[1; 1000])]);
            assert_eq!(frames.insertable(), Insertable::Nothing);
        }
    }
}

#[test]
fn no_bound_is_too_small_for_a_header() {
    let bytes = frame(0x81, &[b'x'; 9], Some(KEY));
    assert_eq!(
        read(&mut Frames::from_client(0), &bytes),
        [oversized(&bytes[..14]), pass(&bytes[14..]), Event::OversizedEnd { length: 9 }]
    );
}

#[test]
fn a_message_in_tiny_pieces_is_moved_a_few_times_only() {
    let mut frames = Frames::from_client(BOUND);
    let mut moves = 0;
    for byte in frame(0x82, &[1; 100_000], Some(KEY)).chunks(1) {
        let capacity = frames.held.capacity();
        read(&mut frames, byte);
        moves += usize::from(frames.held.capacity() > capacity);
    }
    assert!(moves < 20, "{moves}");
}

#[test]
fn endless_empty_fragments_take_no_memory() {
    for key in [None, Some(KEY)] {
        let mut frames = reader(key, 1000);
        let bytes = [frame(0x01, b"x", key), frame(0x00, b"", key).repeat(100_000)].concat();
        let events = read_pieces(&mut frames, bytes.chunks(7));
        assert_eq!(output(&events).len() + frames.begun.len(), bytes.len());
        let end = read(&mut frames, &frame(0x80, b"", key));
        assert_eq!(end.last(), Some(&Event::OversizedEnd { length: 1 }));
    }
}

#[test]
fn hostile_pieces_and_fragments_are_read_in_linear_time() {
    // With quadratic work this would not end.
    let one_by_one = frame(0x82, &vec![1; 2_000_000], Some(KEY));
    let fragments = [frame(0x01, b"x", Some(KEY)), frame(0x00, b"x", Some(KEY)).repeat(300_000)].concat();
    let tiny = frame(0x81, b"x", Some(KEY)).repeat(300_000);
    let fragments = [fragments, frame(0x80, b"", Some(KEY))].concat();
    for (bytes, length) in [(one_by_one, 2_000_000), (fragments, 300_001), (tiny, 300_000)] {
        let mut frames = Frames::from_client(4 * BOUND);
        let events = read_pieces(&mut frames, bytes.chunks(1));
        assert!(events.iter().all(|event| matches!(event, Event::Message(_))));
        assert_eq!(output(&events), bytes);
        assert_eq!(messages(&events).iter().map(|(_, payload)| payload.len()).sum::<usize>(), length);
        let mut frames = Frames::from_client(4 * BOUND);
        assert_eq!(read(&mut frames, &bytes), events);
    }
}

#[test]
fn frames_are_insertable_between_messages_and_control_frames_between_fragments() {
    use Insertable::{Any, Control, Nothing};
    for (key, header) in [(None, 2), (Some(KEY), 6)] {
        let insertable = |bound: usize, bytes: &[u8]| {
            let mut frames = reader(key, bound);
            let mut places = vec![frames.insertable()];
            for byte in bytes.chunks(1) {
                read(&mut frames, byte);
                places.push(frames.insertable());
            }
            places
        };
        let (start, end) = (frame(0x01, &[0; 20], key), frame(0x80, b"x", key));
        let bytes = [&*start, &frame(0x89, b"?", key), &end].concat();
        // Nothing of a message that is held has passed.
        assert_eq!(insertable(BOUND, &bytes), vec![Any; bytes.len() + 1]);
        // The reader tells of the excess with the byte that fills the bound.
        let places = insertable(header + 14, &bytes);
        let (held, passing) = places.split_at(header + 14);
        assert_eq!(held, vec![Any; header + 14]);
        let (inside, between) = passing.split_at(6);
        assert_eq!(inside, [Nothing; 6]);
        // The ping and the header behind it are held until they are whole.
        let (between, last) = between.split_at(1 + (header + 1) + (header - 1));
        assert_eq!(between, vec![Control; between.len()]);
        assert_eq!(last, [Nothing, Any]);
    }
}
