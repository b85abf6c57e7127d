//! Server-sent events, parsed from pieces of any size.
//!
//! In: the bytes of a stream as they arrive. Out: the data of each event, and the event's end in
//! the current piece. Not here: the meaning of the data. The parser keeps only `data`; it skips
//! names, ids, retry times and comments, because no LLM API needs them to report usage.
//!
//! Source: WHATWG HTML, "Parsing an event stream" and "Interpreting an event stream".

use memchr::memchr2;

use super::strays::{Search, Strays};

/// The longest event whose data is kept. The parser skips longer ones, so that a stream without
/// line ends needs no more memory than this. Usage needs a few hundred bytes, but the last event of
/// a response repeats all of it, images included.
const LARGEST_EVENT: usize = 4 * 1024 * 1024;

/// The state between two pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The current line, without its end.
    line: Vec<u8>,
    /// The data lines of the current event, each followed by a line feed.
    data: Vec<u8>,
    /// Whether the current event is too long to keep.
    overlong: bool,
    /// The number of bytes in events that were too long to keep.
    passed_over: u64,
    /// The search through those events.
    search: Search,
    /// Whether the last piece ended in a carriage return, whose line feed may follow.
    after_return: bool,
    /// Whether the first line, which may start with a byte order mark, has ended.
    begun: bool,
}

impl Splitter {
    /// Reads the next piece and calls `event` for each event that ends in it, with the event's data
    /// and the number of bytes of `piece` up to the event's end.
    pub(super) fn feed(&mut self, piece: &[u8], mut event: impl FnMut(&[u8], usize)) {
        let mut rest = piece;
        if self.after_return && rest.first() == Some(&b'\n') {
            rest = rest.get(1..).unwrap_or_default();
        }
        if !piece.is_empty() {
            self.after_return = false;
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (head, tail) = rest.split_at(end);
            rest = match tail {
                [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => behind,
                [] => tail,
            };
            self.after_return = tail == b"\r";
            self.extend_line(head);
            if self.end_line() {
                event(
                    self.data.strip_suffix(b"\n").unwrap_or_default(),
                    piece.len().saturating_sub(rest.len()),
                );
                self.data.clear();
            }
        }
        self.extend_line(rest);
    }

    /// Returns whether a piece has ended in a carriage return, so that a line feed at the start of
    /// the next one belongs to the same line end.
    pub(super) const fn is_after_return(&self) -> bool {
        self.after_return
    }

    /// Returns the number of bytes in events that were too long to keep.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Takes the text found in events that were too long to keep.
    pub(super) fn take_strays(&mut self) -> Strays {
        self.search.take()
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        let length = self.line.len().saturating_add(self.data.len()).saturating_add(bytes.len());
        if self.overlong || length > LARGEST_EVENT {
            self.overlong = true;
            self.passed_over = self.passed_over.saturating_add(length as u64);
            self.search.is_of_format();
            [&*self.data, &*self.line, bytes].into_iter().for_each(|bytes| self.search.feed(bytes));
            // Free their memory, too: a stream may continue for a long time.
            (self.line, self.data) = (Vec::new(), Vec::new());
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    /// Ends the current line; returns whether that ends an event with data.
    fn end_line(&mut self) -> bool {
        let line = self.line.as_slice();
        let line = if self.begun { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.begun = true;
        if self.overlong {
            // Only an empty line ends the event, and the content of an overlong line is unknown:
            // the event ends with that line.
            self.overlong = false;
            self.search.cut();
            return false;
        }
        if line.is_empty() {
            return !self.data.is_empty();
        }
        if let Some(value) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        }
        self.line.clear();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for piece in pieces {
            splitter.feed(piece, |data, _| events.push(String::from_utf8_lossy(data).into_owned()));
        }
        events
    }

    const STREAM: &str = "\u{feff}data: one\n\n: comment\nevent: x\ndata:two\r\ndata: half\r\n\r\nid: 7\rdata:  é\r\rdata\n\ndata: [DONE]\n\ndata: cut";

    #[test]
    fn events_are_found_whatever_their_line_ends() {
        assert_eq!(events(&[STREAM.as_bytes()]), ["one", "two\nhalf", " é", "[DONE]"]);
    }

    #[test]
    fn an_overlong_event_is_passed_over_and_the_next_one_found() {
        let long = format!("data: {}\n\ndata: next\n\n", "x".repeat(LARGEST_EVENT));
        assert_eq!(events(&[long.as_bytes()]), ["next"]);
        let many_lines = format!("{}\ndata: next\n\n", "data: 0123456789\n".repeat(LARGEST_EVENT / 10));
        assert_eq!(events(&[many_lines.as_bytes()]).last().unwrap(), "next");
    }

    #[test]
    fn the_end_of_an_event_is_told_in_bytes_of_the_piece() {
        let mut splitter = Splitter::default();
        let mut ends = Vec::new();
        splitter.feed(b"data: a\n", |_, end| ends.push(end));
        splitter.feed(b"\ndata: b\r\n\r\nda", |_, end| ends.push(end));
        assert_eq!(ends, [1, 12]);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(mut cuts in prop::collection::vec(0..STREAM.len(), 0..8)) {
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[STREAM.as_bytes()]));
        }

        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b'd'), any::<u8>()], 0..20), 0..20)) {
            let mut splitter = Splitter::default();
            for piece in &pieces {
                splitter.feed(piece, |_, end| assert!(end <= piece.len()));
            }
        }
    }
}
