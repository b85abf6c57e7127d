//! Text of an answer that its format does not read: in another shape, too long to keep, or cut off.
//!
//! In: JSON, or anything else, in pieces of any size. Out: [`Strays`], the strings under the names
//! that APIs use for a model's output, never the JSON around them. Not here: the text that a format
//! reads, and the decision to charge strays (`exchange::settle`).

use memchr::{memchr, memchr3, memrchr_iter};

/// The most text of an answer that is kept for counting if usage is missing; beyond it only the
/// length is kept.
pub(super) const LONGEST_TEXT: usize = 256 * 1024;

/// The names under which APIs put text from a model, including arguments of tools, and the text of
/// their errors. The strings directly under these names count; objects and lists under them have
/// names of their own.
const NAMES: [&str; 22] = [
    "answer",
    "arguments",
    "completion",
    "content",
    "delta",
    "error",
    "generated_text",
    "generation",
    "message",
    "output",
    "outputText",
    "output_text",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "refusal",
    "response",
    "result",
    "text",
    "thinking",
    "tool_plan",
    "transcript",
];

/// The longest of the names, in bytes.
const LONGEST_NAME: usize = 17;

/// The longest distance from the end of a cut string to the start of an incomplete escape: two of
/// `\u0000`.
const LONGEST_ESCAPE: usize = 12;

/// The text found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// The text, up to a bound.
    pub text: String,
    /// Bytes of text beyond the bound.
    pub more: u64,
    /// Whether a name of text occurred with a string, even an empty one.
    pub seen: bool,
    /// Whether they belong to documents that the format would have read if they had been shorter or
    /// complete.
    pub of_format: bool,
}

impl Strays {
    /// Appends text, and only measures the part that does not fit.
    pub(super) fn push(&mut self, text: &str) {
        if self.text.len().saturating_add(text.len()) <= LONGEST_TEXT {
            self.text.push_str(text);
        } else {
            self.more = self.more.saturating_add(text.len() as u64);
        }
    }

    /// Returns the bytes of text, kept or measured.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.more.saturating_add(self.text.len() as u64)
    }

    /// Returns whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The search for strays in bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Search {
    at: At,
    named: Named,
    /// The current string, raw: a name, or text.
    written: Vec<u8>,
    found: Strays,
}

/// The position of the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Outside,
    /// In a string that may be a name.
    Name { escaped: bool },
    /// In a string that is text.
    Text { escaped: bool },
}

/// The part received of a member with one of the [`NAMES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Named {
    #[default]
    Nothing,
    Name,
    Colon,
}

impl Search {
    /// Reads the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.at == At::Outside && self.named == Named::Nothing {
                // Only the beginning of a string matters here.
                rest = rest.get(memchr(b'"', rest).unwrap_or(rest.len())..).unwrap_or_default();
                let Some((_, behind)) = rest.split_first() else { return };
                self.at = At::Name { escaped: false };
                rest = behind;
                continue;
            }
            if matches!(self.at, At::Name { escaped: false } | At::Text { escaped: false }) {
                let (plain, special) = rest.split_at(memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len()));
                if !plain.is_empty() {
                    self.keep(plain);
                    rest = special;
                    continue;
                }
            }
            rest = behind;
            self.step(byte);
        }
    }

    /// Ends the bytes, or a document in them: an unterminated string ends here.
    pub(super) fn cut(&mut self) {
        if matches!(self.at, At::Text { .. }) {
            self.end_text(true);
        }
        self.at = At::Outside;
        self.named = Named::Nothing;
        self.written.clear();
    }

    /// Marks the strays as belonging to documents that the format would have read.
    pub(super) const fn is_of_format(&mut self) {
        self.found.of_format = true;
    }

    /// Returns the strays found so far.
    pub(super) const fn found(&self) -> &Strays {
        &self.found
    }

    /// Takes the strays.
    pub(super) fn take(&mut self) -> Strays {
        core::mem::take(&mut self.found)
    }

    fn step(&mut self, byte: u8) {
        match self.at {
            At::Outside => match (self.named, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => {}
                (Named::Name, b':') => self.named = Named::Colon,
                (named, b'"') => {
                    let is_text = named == Named::Colon;
                    self.found.seen |= is_text;
                    self.named = Named::Nothing;
                    let escaped = false;
                    self.at = if is_text { At::Text { escaped } } else { At::Name { escaped } };
                }
                _ => self.named = Named::Nothing,
            },
            // JSON strings contain no raw line end: the document was cut off, and the next line may
            // begin another.
            At::Name { .. } | At::Text { .. } if byte == b'\n' => self.cut(),
            At::Name { escaped: false } if byte == b'"' => {
                let is_name = NAMES.iter().any(|name| name.as_bytes() == self.written);
                self.named = if is_name { Named::Name } else { Named::Nothing };
                self.written.clear();
                self.at = At::Outside;
            }
            At::Text { escaped: false } if byte == b'"' => {
                self.end_text(self.written.len() == LONGEST_TEXT);
                self.at = At::Outside;
            }
            At::Name { escaped } => {
                self.keep(&[byte]);
                self.at = At::Name { escaped: byte == b'\\' && !escaped };
            }
            At::Text { escaped } => {
                self.keep(&[byte]);
                self.at = At::Text { escaped: byte == b'\\' && !escaped };
            }
        }
    }

    /// Keeps bytes of a string: of a possible name, one more than the longest name.
    fn keep(&mut self, bytes: &[u8]) {
        if matches!(self.at, At::Text { .. }) {
            let room = LONGEST_TEXT.saturating_sub(self.written.len());
            let (kept, more) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.written.extend_from_slice(kept);
            self.found.more = self.found.more.saturating_add(more.len() as u64);
            return;
        }
        let room = LONGEST_NAME.saturating_add(1).saturating_sub(self.written.len());
        self.written.extend(bytes.iter().take(room));
    }

    fn end_text(&mut self, is_cut: bool) {
        let text = unescaped(&self.written, is_cut);
        self.found.push(&text);
        self.written.clear();
    }
}

/// Returns the text of a JSON string without its quotes. At the end of a string that was cut off, a
/// character or an escape may be incomplete.
fn unescaped(written: &[u8], is_cut: bool) -> String {
    let parse = |written: &[u8]| serde_json::from_slice(&[b"\"", written, b"\""].concat()).ok();
    let written = match core::str::from_utf8(written) {
        Err(error) if is_cut && error.error_len().is_none() => written.get(..error.valid_up_to()),
        _ => None,
    }
    .unwrap_or(written);
    let before_last_escape = || {
        let earliest = written.len().saturating_sub(LONGEST_ESCAPE);
        let mut escapes = memrchr_iter(b'\\', written).take_while(|place| is_cut && *place >= earliest);
        escapes.find_map(|place| parse(written.get(..place)?))
    };
    parse(written)
        .or_else(before_last_escape)
        .unwrap_or_else(|| String::from_utf8_lossy(written).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(pieces: &[&[u8]]) -> Strays {
        let mut search = Search::default();
        pieces.iter().for_each(|piece| search.feed(piece));
        search.cut();
        search.take()
    }

    fn text(json: &str) -> Option<String> {
        let found = found(&[json.as_bytes()]);
        found.seen.then_some(found.text)
    }

    const ANSWER: &str = r#" {"id":"text","a":[{"content" :
        "Gr\u00fc\u00dfe, \"W\" \ud83d\ude00\n"},{"text":["no"],"n":{"response":"é"}}],"content":7,"x":"y"} "#;

    #[test]
    fn only_strings_under_names_of_text_are_found_wherever_they_are() {
        assert_eq!(text(ANSWER).as_deref(), Some("Grüße, \"W\" 😀\né"));
        assert_eq!(text(r#"{"error":{"message":"busy","type":"x"}}"#).as_deref(), Some("busy"));
        assert_eq!(text("data: {\"a\":\n data: {\"text\":\"a\"}\n").as_deref(), Some("a"));
    }

    #[test]
    fn an_empty_text_is_seen_and_no_text_is_not() {
        assert_eq!(text(r#"{"content":""}"#).as_deref(), Some(""));
        for none in [
            "",
            "{}",
            r#"{"content":null,"text":7,"x":"text"}"#,
            r#"["content","text"]"#,
            r#"{"contents":"a","conten\u0074":"a"}"#,
            "<html>\"text\"</html>",
        ] {
            assert_eq!(text(none), None, "{none}");
        }
    }

    #[test]
    fn a_text_that_is_cut_off_counts_as_far_as_it_has_come() {
        assert_eq!(text(r#"{"content":"Hello wo"#).as_deref(), Some("Hello wo"));
        assert_eq!(text("{\"content\":\"Hello\n{\"text\":\"!\"}").as_deref(), Some("Hello!"));
        for cut in [r"a\nb\", r"a\nb\u", r"a\nb\u00f", r"a\nb\ud83d", r"a\nb\ud83d\ude0"] {
            assert_eq!(text(&format!("{{\"content\":\"{cut}")).as_deref(), Some("a\nb"), "{cut}");
        }
        let in_character = found(&["{\"content\":\"aé".as_bytes().split_last().unwrap().1]);
        assert_eq!(in_character.text, "a");
        assert_eq!(text("{\"content\":\"a\\qb\"}").as_deref(), Some("a\\qb"), "is no JSON");
    }

    #[test]
    fn text_beyond_the_bound_is_measured() {
        let long = "x".repeat(LONGEST_TEXT - 10);
        let found = found(&[format!("{{\"text\":\"{long}\",\"content\":\"{long}\"}}").as_bytes()]);
        assert_eq!((found.text.len(), found.more), (long.len(), long.len() as u64));
        let longer = "x".repeat(LONGEST_TEXT + 10);
        let found = self::found(&[format!("{{\"text\":\"{longer}").as_bytes()]);
        assert_eq!(found.len(), longer.len() as u64);
    }

    #[test]
    fn the_longest_name_is_as_long_as_is_said() {
        assert_eq!(NAMES.iter().map(|name| name.len()).max(), Some(LONGEST_NAME));
        assert!(NAMES.is_sorted());
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same(at in 0..ANSWER.len(), then in 0..ANSWER.len()) {
            let (first, second) = (at.min(then), at.max(then));
            let bytes = ANSWER.as_bytes();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            prop_assert_eq!(found(&pieces), found(&[bytes]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b':'), Just(b'\\'), Just(b'\n'), Just(b'u'), any::<u8>()], 0..200)) {
            found(&[b"{\"text\":\"", &bytes]);
        }
    }
}
