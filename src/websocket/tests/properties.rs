//! Frames of any messages, in any fragments and pieces, with any frames inserted; and any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A message in fragments, each followed by control frames.
type Fragmented = (Kind, Vec<(Vec<u8>, Vec<Vec<u8>>)>);

fn payload_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => vec(any::<u8>(), 0..20),
        3 => vec(any::<u8>(), 120..132),
        1 => (65530..65540_usize, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
}

fn any_messages() -> impl Strategy<Value = Vec<Fragmented>> {
    let controls = vec(vec(any::<u8>(), 0..=125), 0..3);
    let kind = prop_oneof![Just(Kind::Text), Just(Kind::Binary)];
    vec((kind, vec((payload_bytes(), controls), 1..5)), 0..6)
}

/// Encodes messages with a new key for every frame.
fn encode_all(messages: &[Fragmented], is_masked: bool) -> Vec<u8> {
    let mut number = 0_u32;
    let mut key = || {
        number = number.wrapping_add(0x9e37_79b9);
        is_masked.then(|| number.to_be_bytes())
    };
    let mut bytes = Vec::new();
    for (kind, fragments) in messages {
        for (at, (payload, controls)) in fragments.iter().enumerate() {
            let opcode = match kind {
                _ if at > 0 => 0,
                Kind::Text => 1,
                Kind::Binary => 2,
            };
            let last = if at + 1 == fragments.len() { 0x80 } else { 0 };
            bytes.extend(frame(last | opcode, payload, key()));
            for control in controls {
                bytes.extend(frame(0x89 + (control.len() % 2) as u8, control, key()));
            }
        }
    }
    bytes
}

fn joined(messages: &[Fragmented]) -> Vec<(Kind, Vec<u8>)> {
    let join = |(kind, fragments): &Fragmented| {
        (*kind, fragments.iter().flat_map(|(payload, _)| payload.clone()).collect())
    };
    messages.iter().map(join).collect()
}

/// Splits bytes into pieces of these sizes, in turn.
fn pieces<'b>(mut bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*size));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), Just(vec![usize::MAX]), vec(1..40_usize, 1..6), vec(1..3000_usize, 1..6)]
}

fn any_bound() -> impl Strategy<Value = usize> {
    prop_oneof![14..60_usize, 14..400_usize, Just(BOUND)]
}

/// Returns the events in whole valid messages, independently of the code under test.
fn expected(bytes: &[u8], bound: usize) -> Vec<Event<'static>> {
    let mut events = Vec::new();
    let frames = plain_frames(bytes);
    for frames in frames.chunk_by(|_, next| !matches!(next.first & 0x0f, 1 | 2)) {
        let data: Vec<_> = frames.iter().filter(|frame| frame.first & 0x08 == 0).collect();
        let kind = if data[0].first & 0x0f == 1 { Kind::Text } else { Kind::Binary };
        let whole = data.iter().flat_map(|frame| frame.raw).copied().collect::<Vec<_>>();
        let length = data.iter().map(|frame| frame.payload.len() as u64).sum();
        let most = most_held(&data, bound);
        let mut at = 0;
        for Plain { first, raw, .. } in frames {
            let end = if first & 0x08 == 0 { at + raw.len() } else { at };
            match first & 0x0f {
                9 => events.push(ping(raw)),
                10 => events.push(control(ControlKind::Pong, raw)),
                _ if most == whole.len() && *first >= 0x80 => {
                    events.push(Event::Message(Message { kind, raw: whole.clone().into() }));
                }
                _ if most < end => {
                    if at <= most {
                        let raw = whole[..most].to_vec().into();
                        events.push(Event::Oversized(Message { kind, raw }));
                    }
                    push(&mut events, pass(&whole[at.max(most)..end]));
                    if *first >= 0x80 {
                        events.push(Event::OversizedEnd { length });
                    }
                }
                _ => {}
            }
            at = end;
        }
    }
    events
}

/// Returns the number of bytes that may be held of a message: all, or up to the bound or a header
/// without room.
fn most_held(frames: &[&Plain<'_>], bound: usize) -> usize {
    let mut held = 0;
    for Plain { payload, raw, .. } in frames {
        if held + raw.len() - payload.len() > bound {
            return held;
        }
        held += raw.len();
        if held > bound {
            return bound;
        }
    }
    held
}

proptest! {
    #[test]
    fn any_split_and_any_fragmentation_give_the_events_of_the_whole(
        sent in any_messages(), sizes in any_sizes(), bound in any_bound(), is_client: bool,
    ) {
        let bytes = encode_all(&sent, is_client);
        let events = read_pieces(&mut reader(is_client.then_some(KEY), bound), pieces(&bytes, &sizes));
        prop_assert_eq!(&events, &expected(&bytes, bound));
        let mut told = events.iter().filter_map(|event| match event {
            Event::Message(message) => Some((true, message)),
            Event::Oversized(start) => Some((false, start)),
            _ => None,
        });
        for (kind, payload) in joined(&sent) {
            let (is_whole, message) = told.next().unwrap();
            prop_assert_eq!(message.kind, kind);
            prop_assert!(payload.starts_with(&message.payload()));
            prop_assert!(!is_whole || payload.len() == message.payload().len());
        }
        prop_assert_eq!(told.next(), None);
    }

    #[test]
    fn frames_inserted_where_allowed_keep_the_stream_valid(
        sent in any_messages(), sizes in any_sizes(), bound in any_bound(), is_client: bool, closes: bool,
        swallows: bool,
    ) {
        let key = is_client.then_some(KEY);
        let mut bytes = encode_all(&sent, is_client);
        if closes {
            bytes.extend(frame(0x88, b"\x03\xe8", key));
        }
        let (data, control) = (data_frame(Kind::Text, b"inserted", key), ping_frame(b"inserted", key));
        let (mut out, mut inserted, mut swallowed) = (Vec::new(), 0, Vec::new());
        let mut frames = reader(key, bound);
        for piece in pieces(&bytes, &sizes) {
            let mut rest = piece;
            loop {
                let event = frames.read(&mut rest);
                match &event {
                    Some(Event::Message(message)) if swallows => {
                        swallowed.push((message.kind, message.payload().into_owned()));
                    }
                    _ => out.extend(output(event.as_slice())),
                }
                match frames.insertable() {
                    Insertable::Nothing => {}
                    Insertable::Control => out.extend(&control),
                    Insertable::Any => {
                        out.extend([&*control, &data].concat());
                        inserted += 1;
                    }
                }
                if event.is_none() {
                    break;
                }
            }
        }
        let (ours, theirs): (Vec<_>, Vec<_>) = accept(&out, is_client)
            .map_err(TestCaseError::fail)?
            .into_iter()
            .partition(|(_, payload)| payload == b"inserted");
        prop_assert_eq!(ours.len(), inserted);
        if swallows {
            prop_assert_eq!(theirs.len() + swallowed.len(), sent.len());
        } else {
            prop_assert_eq!(theirs, joined(&sent));
        }
    }

    #[test]
    fn any_bytes_are_survived_and_none_is_lost_whatever_the_split(
        sent in any_messages(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in vec(prop_oneof![Just(0x80_u8), Just(0x01), Just(0x88), Just(0xff), any::<u8>()], 0..60),
        sizes in any_sizes(), bound in 0..300_usize, is_client: bool,
    ) {
        let mut bytes = [encode_all(&sent, is_client), tail].concat();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let key = is_client.then_some(KEY);
        let mut frames = reader(key, bound);
        let events = read_pieces(&mut frames, pieces(&bytes, &sizes));
        let controls = events.iter().filter(|event| matches!(event, Event::Control(_))).count();
        prop_assert_eq!(&events, &read(&mut reader(key, bound), &bytes));
        let mut out = [output(&events), frames.held, frames.begun].concat();
        if controls > 0 {
            // They overtake.
            out.sort_unstable();
            bytes.sort_unstable();
        }
        prop_assert_eq!(out, bytes);
    }
}
