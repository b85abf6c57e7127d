//! Amazon's event stream: binary frames, parsed from pieces of any size.
//!
//! In: the bytes of an `application/vnd.amazon.eventstream` as they arrive. Out: the payload of
//! each frame, and the frame's end in the current piece; in reverse, a frame around a payload. Not
//! here: the meaning of a payload, and the frame's headers. The parser treats events and exceptions
//! alike, because only their payload can report usage. It also skips the checksum over a whole
//! frame: the client verifies that, and the parser reads every frame with a correct length and
//! prelude as well as it can.
//!
//! Source: AWS SDKs, "Event stream encoding" (prelude, limits of 128 KiB for headers and 24 MiB for
//! payload).

use super::strays::{Search, Strays};

/// The longest frame whose payload is kept. The parser skips longer ones; usage needs a few hundred
/// bytes.
const LARGEST_KEPT: usize = 256 * 1024;

/// The longest headers of a frame.
const LARGEST_HEADERS: usize = 128 * 1024;

/// The longest payload of a frame.
const LARGEST_PAYLOAD: usize = 24 * 1024 * 1024;

/// The size of the prelude: two lengths and their checksum.
const PRELUDE: usize = 12;

/// The size of the checksum over all preceding bytes.
const CHECKSUM: usize = 4;

/// The state between two pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    at: At,
    /// The bytes received so far of the prelude or the payload.
    held: Vec<u8>,
    /// The number of bytes in frames that were too long to keep.
    passed_over: u64,
    /// The search through those frames.
    search: Search,
}

/// The part of a frame that the next byte belongs to, and the number of bytes still missing.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Prelude,
    Headers {
        left: usize,
        payload: usize,
    },
    Payload {
        left: usize,
    },
    Checksum {
        left: usize,
    },
    /// In a frame that is too long to keep.
    Passing {
        left: usize,
    },
    /// After an invalid prelude, where frame boundaries are unknown.
    Broken,
}

impl Splitter {
    /// Reads the next piece and calls `frame` for each frame that ends in it, with the frame's
    /// payload and the number of bytes of `piece` up to the frame's end.
    pub(super) fn feed(&mut self, piece: &[u8], mut frame: impl FnMut(&[u8], usize)) {
        let mut rest = piece;
        loop {
            self.at = match self.at {
                At::Broken => return,
                At::Prelude => {
                    if !self.hold(&mut rest, PRELUDE) {
                        return;
                    }
                    let at = prelude(&self.held).unwrap_or(At::Broken);
                    self.held.clear();
                    at
                }
                At::Headers { left, payload } => match pass(&mut rest, left) {
                    0 => At::Payload { left: payload },
                    left => At::Headers { left, payload },
                },
                At::Payload { left } => {
                    let whole = self.held.len().saturating_add(left);
                    let is_whole = self.hold(&mut rest, whole);
                    let left = whole.saturating_sub(self.held.len());
                    if is_whole { At::Checksum { left: CHECKSUM } } else { At::Payload { left } }
                }
                At::Checksum { left } => match pass(&mut rest, left) {
                    0 => {
                        frame(&self.held, piece.len().saturating_sub(rest.len()));
                        self.held.clear();
                        At::Prelude
                    }
                    left => At::Checksum { left },
                },
                At::Passing { left } => {
                    let before = rest;
                    let left = pass(&mut rest, left);
                    let passed = before.get(..before.len().saturating_sub(rest.len())).unwrap_or_default();
                    self.passed_over = self.passed_over.saturating_add(passed.len() as u64);
                    self.search.is_of_format();
                    self.search.feed(passed);
                    if left > 0 {
                        At::Passing { left }
                    } else {
                        self.search.cut();
                        At::Prelude
                    }
                }
            };
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Returns whether the stream is unreadable from here on because of an invalid prelude.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.at, At::Broken)
    }

    /// Returns the number of bytes in frames that were too long to keep.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Takes the text found in frames that were too long to keep.
    pub(super) fn take_strays(&mut self) -> Strays {
        self.search.take()
    }

    /// Moves bytes from `rest` to the held bytes until those have the length `whole`; returns
    /// whether they do.
    fn hold(&mut self, rest: &mut &[u8], whole: usize) -> bool {
        let missing = whole.saturating_sub(self.held.len());
        let (taken, behind) = rest.split_at_checked(missing).unwrap_or((*rest, &[]));
        self.held.extend_from_slice(taken);
        *rest = behind;
        self.held.len() >= whole
    }
}

/// Skips up to `left` bytes of `rest`; returns the number of bytes still to come.
fn pass(rest: &mut &[u8], left: usize) -> usize {
    let (passed, behind) = rest.split_at_checked(left).unwrap_or((*rest, &[]));
    *rest = behind;
    left.saturating_sub(passed.len())
}

/// Returns the state after this prelude; none if the prelude is invalid.
fn prelude(bytes: &[u8]) -> Option<At> {
    let (lengths, checksum) = bytes.split_at_checked(8)?;
    if crc32fast::hash(lengths) != u32::from_be_bytes(*checksum.first_chunk()?) {
        return None;
    }
    let length = |at: &[u8]| usize::try_from(u32::from_be_bytes(*at.first_chunk()?)).ok();
    let (total, headers) = (length(lengths)?, length(lengths.get(4..)?)?);
    let left = total.checked_sub(PRELUDE)?;
    let payload = left.checked_sub(CHECKSUM)?.checked_sub(headers)?;
    if headers > LARGEST_HEADERS || payload > LARGEST_PAYLOAD {
        return None;
    }
    if total > LARGEST_KEPT {
        return Some(At::Passing { left });
    }
    Some(At::Headers { left: headers, payload })
}

/// Encodes a frame with string headers, as the service writes it. Header names must be shorter than
/// 256 bytes, values shorter than 64 KiB.
pub(crate) fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    const STRING: u8 = 7;
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut fields = Vec::new();
    for (name, value) in headers {
        fields.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        fields.extend_from_slice(name.as_bytes());
        fields.push(STRING);
        fields.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    let mut frame = Vec::new();
    frame.extend_from_slice(&length(
        [PRELUDE, fields.len(), payload.len(), CHECKSUM].into_iter().fold(0, usize::saturating_add),
    ));
    frame.extend_from_slice(&length(fields.len()));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&fields);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payloads(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::default();
        let mut payloads = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |payload, end| {
                assert!(end <= piece.len());
                payloads.push(payload.to_vec());
            });
        }
        payloads
    }

    #[test]
    fn text_in_a_frame_that_is_too_long_to_be_kept_is_found() {
        let payload = format!(r#"{{"x":"{}","text":"Hi"}}"#, "x".repeat(LARGEST_KEPT));
        let frame = encode(&[(":event-type", "any")], payload.as_bytes());
        let mut splitter = Splitter::default();
        frame.chunks(1000).for_each(|piece| splitter.feed(piece, |_, _| panic!("it is kept")));
        let strays = splitter.take_strays();
        assert_eq!((strays.text.as_str(), strays.of_format), ("Hi", true));
    }

    fn prelude_of(total: u32, headers: u32) -> Vec<u8> {
        let lengths = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        [lengths.as_slice(), &crc32fast::hash(&lengths).to_be_bytes()].concat()
    }

    fn stream() -> Vec<u8> {
        [
            encode(
                &[(":message-type", "event"), (":event-type", "messageStart")],
                br#"{"role":"assistant"}"#,
            ),
            encode(&[], b""),
            encode(&[(":message-type", "exception")], br#"{"message":"slow down"}"#),
            encode(&[(":event-type", "metadata")], br#"{"usage":{"inputTokens":7}}"#),
        ]
        .concat()
    }

    const PAYLOADS: [&[u8]; 4] =
        [br#"{"role":"assistant"}"#, b"", br#"{"message":"slow down"}"#, br#"{"usage":{"inputTokens":7}}"#];

    #[test]
    fn the_smallest_frame_is_the_one_of_the_documentation() {
        // The specification's test vector for an empty message.
        assert_eq!(encode(&[], b""), b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff");
    }

    #[test]
    fn every_frame_gives_its_payload() {
        assert_eq!(payloads(&[&stream()]), PAYLOADS);
    }

    #[test]
    fn the_end_of_a_frame_is_told_in_bytes_of_the_piece() {
        let frame = encode(&[("a", "b")], b"payload");
        let (head, tail) = frame.split_at(frame.len() - 1);
        let mut splitter = Splitter::default();
        let mut ends = Vec::new();
        splitter.feed(head, |_, end| ends.push(end));
        splitter.feed(&[tail, &frame, head].concat(), |_, end| ends.push(end));
        assert_eq!(ends, [1, 1 + frame.len()]);
    }

    #[test]
    fn an_overlong_frame_is_passed_over_and_the_next_one_found() {
        let long = encode(&[("a", "b")], &vec![b'x'; LARGEST_KEPT]);
        let stream = [long, encode(&[], b"next")].concat();
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in stream.chunks(1000) {
            splitter.feed(piece, |payload, _| found.push(payload.to_vec()));
            assert!(splitter.held.capacity() < 1000);
        }
        assert_eq!(found, [b"next"]);
    }

    #[test]
    fn the_longest_frame_that_may_be_is_passed_over() {
        let mut splitter = Splitter::default();
        let total = 16 + LARGEST_HEADERS + LARGEST_PAYLOAD;
        splitter.feed(
            &prelude_of(total.try_into().unwrap(), LARGEST_HEADERS.try_into().unwrap()),
            |_, _| panic!(),
        );
        assert!(!splitter.is_broken());
    }

    #[test]
    fn a_prelude_that_lies_ends_the_reading_for_good() {
        let too_many_headers = u32::try_from(LARGEST_HEADERS + 1).unwrap();
        let too_long = u32::try_from(16 + LARGEST_PAYLOAD + 1).unwrap();
        let lies = [
            (0, 0),
            (11, 0),
            (15, 0),
            (16, 1),
            (100, 85),
            (100, u32::MAX),
            (1 << 20, too_many_headers),
            (too_long, 0),
            (u32::MAX, 0),
        ];
        for (total, headers) in lies {
            let mut splitter = Splitter::default();
            splitter.feed(&prelude_of(total, headers), |_, _| panic!("{total} {headers}"));
            assert!(splitter.is_broken(), "{total} {headers}");
            splitter.feed(&stream(), |_, _| panic!("{total} {headers}"));
            assert_eq!(splitter.held.len(), 0);
        }
    }

    #[test]
    fn a_prelude_whose_checksum_is_wrong_ends_the_reading() {
        let mut frame = encode(&[], b"payload");
        frame[11] ^= 1;
        let mut splitter = Splitter::default();
        splitter.feed(&frame, |_, _| panic!());
        assert!(splitter.is_broken());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_payloads(mut cuts in prop::collection::vec(0..200_usize, 0..8)) {
            let stream = stream();
            cuts.extend([0, stream.len()]);
            cuts.iter_mut().for_each(|cut| *cut = stream.len().min(*cut));
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(payloads(&pieces), PAYLOADS);
        }

        #[test]
        fn any_bytes_behind_any_prelude_are_survived(
            frames in prop::collection::vec((0..200_u32, 0..100_u32, prop::collection::vec(any::<u8>(), 0..200)), 0..6),
            size in 1..50_usize,
        ) {
            let stream: Vec<u8> = frames
                .iter()
                .flat_map(|(total, headers, bytes)| [prelude_of(*total, *headers), bytes.clone()].concat())
                .collect();
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(payloads(&pieces), payloads(&[&stream]));
        }
    }
}
