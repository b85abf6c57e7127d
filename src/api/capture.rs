//! Captures selected top-level members of JSON objects that arrive in pieces, and nothing else.
//!
//! In: bytes in pieces of any size: one object, a list of objects, or consecutive objects, with
//! anything between them. Out: a small JSON object with only those members, for each object. Memory
//! is bounded: an answer of any length needs no more than [`LARGEST_MEMBER`] for each captured
//! member. From the text in all other bytes it collects [`Strays`]. Not here: the meaning of the
//! members. Input that is not JSON gives arbitrary output, never a failure; the reader of the
//! result validates it.

use memchr::{memchr, memchr3};

use super::strays::{Search, Strays};

/// The most bytes kept of one member. Usage needs a few hundred bytes. The filter reads the text of
/// an answer only if usage is missing, and may estimate text beyond this limit.
const LARGEST_MEMBER: usize = 256 * 1024;

/// The longest top-level key that is compared with the selected ones.
const LONGEST_KEY: usize = 64;

/// The state of a scan through one JSON document.
#[derive(Debug)]
pub(super) struct Capture {
    chosen: &'static [&'static str],
    kept: Vec<(&'static str, Vec<u8>)>,
    depth: u32,
    string: Option<Inside>,
    place: Place,
    key: Vec<u8>,
    passed_over: u64,
    /// The search through all bytes that are not kept.
    search: Search,
}

/// The state within a string: whether the last byte was a backslash that escapes the next.
#[derive(Clone, Copy, Debug, Default)]
struct Inside {
    escaped: bool,
}

/// The position of the scan in the outermost object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before, in or after a key.
    Key,
    /// In the value of a member that is not captured.
    Skipped,
    /// In the value of the member begun last.
    Kept,
    /// In the value of a captured member that has grown too long.
    Overlong,
}

impl Capture {
    pub(super) fn new(chosen: &'static [&'static str]) -> Self {
        Self {
            chosen,
            kept: Vec::new(),
            depth: 0,
            string: None,
            place: Place::Key,
            key: Vec::new(),
            passed_over: 0,
            search: Search::default(),
        }
    }

    /// Returns the number of bytes in selected members that were too long to keep.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Takes the text found outside of the captured members.
    pub(super) fn take_strays(&mut self) -> Strays {
        self.search.take()
    }

    /// Reads the next bytes and calls `object` for each object that ends in them, with its captured
    /// members and the number of bytes up to its end.
    pub(super) fn feed(&mut self, bytes: &[u8], mut object: impl FnMut(&[u8], usize)) {
        let mut rest = bytes;
        loop {
            if self.depth == 0 {
                rest = rest.get(memchr(b'{', rest).unwrap_or(rest.len())..).unwrap_or_default();
            }
            let Some((&byte, behind)) = rest.split_first() else { return };
            rest = behind;
            self.step(byte);
            if self.depth == 0 {
                object(&self.document(), bytes.len().saturating_sub(rest.len()));
                self.forget();
            }
            if matches!(self.string, Some(Inside { escaped: false })) {
                // An answer is mostly text, and within text only its end and escapes matter.
                let (text, behind) = rest.split_at(memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len()));
                self.keep(text, true);
                rest = behind;
            }
        }
    }

    /// Ends the input. Calls `object` for an incomplete object, without the member in which it was
    /// cut off.
    pub(super) fn finish(&mut self, mut object: impl FnMut(&[u8])) {
        self.cut();
        if self.depth > 0 {
            object(&self.document());
            self.forget();
        }
    }

    fn forget(&mut self) {
        let search = core::mem::take(&mut self.search);
        *self = Self { passed_over: self.passed_over, search, ..Self::new(self.chosen) };
    }

    /// Ends an object at an invalid place: the text in the member being captured becomes a stray.
    fn cut(&mut self) {
        if let (Place::Kept, Some((_, value))) = (self.place, self.kept.last()) {
            self.search.feed(value);
            self.search.is_of_format();
        }
        self.search.cut();
    }

    /// Returns the captured members as a JSON object.
    fn document(&self) -> Vec<u8> {
        let unfinished = usize::from(self.place == Place::Kept);
        let finished = self.kept.len().saturating_sub(unfinished);
        let mut document = vec![b'{'];
        for (name, value) in self.kept.iter().take(finished) {
            if document.len() > 1 {
                document.push(b',');
            }
            document.push(b'"');
            document.extend_from_slice(name.as_bytes());
            document.extend_from_slice(b"\":");
            document.extend_from_slice(value);
        }
        document.push(b'}');
        document
    }

    fn step(&mut self, byte: u8) {
        if let Some(Inside { escaped }) = self.string {
            if byte == b'\n' {
                // JSON strings contain no raw line feed: the object was cut off, and the next line
                // may begin another.
                self.cut();
                self.depth = 0;
                return;
            }
            self.string = match byte {
                b'"' if !escaped => None,
                b'\\' => Some(Inside { escaped: !escaped }),
                _ => Some(Inside { escaped: false }),
            };
            self.keep(&[byte], self.string.is_some());
            return;
        }
        match byte {
            b'"' => {
                if self.place == Place::Key && self.depth == 1 {
                    self.key.clear();
                }
                self.string = Some(Inside::default());
                self.keep(&[byte], false);
            }
            b':' if self.depth == 1 && self.place == Place::Key => self.begin_value(),
            b',' if self.depth == 1 => {
                self.place = Place::Key;
                self.search.feed(b",");
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.keep(&[byte], false);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    self.place = Place::Key;
                }
                self.keep(&[byte], false);
            }
            b':' | b',' => self.keep(&[byte], false),
            // Numbers and white space reveal nothing about text.
            _ if self.place == Place::Skipped => {}
            _ => self.keep(&[byte], false),
        }
    }

    /// Keeps bytes of a captured value, or of the text of a key, and searches all others.
    fn keep(&mut self, bytes: &[u8], of_text: bool) {
        match self.place {
            Place::Key => {
                if of_text && self.depth == 1 {
                    let room = LONGEST_KEY.saturating_sub(self.key.len());
                    self.key.extend(bytes.iter().take(room));
                }
                self.search.feed(bytes);
            }
            Place::Kept => {
                let Some((_, value)) = self.kept.last_mut() else { return };
                if value.len().saturating_add(bytes.len()) <= LARGEST_MEMBER {
                    value.extend_from_slice(bytes);
                    return;
                }
                let begun = core::mem::take(value);
                self.kept.pop();
                self.place = Place::Overlong;
                self.search.is_of_format();
                self.pass_over(&begun);
                self.pass_over(bytes);
            }
            Place::Overlong => self.pass_over(bytes),
            Place::Skipped => self.search.feed(bytes),
        }
    }

    fn pass_over(&mut self, bytes: &[u8]) {
        self.passed_over = self.passed_over.saturating_add(bytes.len() as u64);
        self.search.feed(bytes);
    }

    fn begin_value(&mut self) {
        self.search.feed(b":");
        let chosen = self.chosen.iter().find(|name| name.as_bytes() == self.key);
        let Some(name) = chosen else {
            self.place = Place::Skipped;
            return;
        };
        // Of a member named twice the later one counts, as in most parsers.
        self.kept.retain(|(kept, _)| kept != name);
        self.kept.push((name, Vec::new()));
        self.place = Place::Kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captured(pieces: &[&[u8]]) -> String {
        let mut capture = Capture::new(&["usage", "choices"]);
        let mut found = String::new();
        let mut object = |object: &[u8]| found.push_str(core::str::from_utf8(object).unwrap());
        for piece in pieces {
            capture.feed(piece, |found, _| object(found));
        }
        capture.finish(&mut object);
        found
    }

    /// Returns the text outside of the captured members, and whether it was in a selected member.
    fn strays(pieces: &[&[u8]]) -> (String, bool) {
        let mut capture = Capture::new(&["usage", "choices"]);
        pieces.iter().for_each(|piece| capture.feed(piece, |_, _| ()));
        capture.finish(|_| ());
        let strays = capture.take_strays();
        assert_eq!(strays.more, 0);
        (strays.text, strays.of_format)
    }

    #[test]
    fn text_in_members_that_are_not_kept_is_found() {
        let other = r#"{"content":"a\n","n":[1,{"text":"b"}],"choices":[{"text":"no"}],"text":"c"}"#;
        assert_eq!(strays(&[other.as_bytes()]), ("a\nbc".to_owned(), false));
        assert_eq!(strays(&[b"[{\"text\":\"a\"},{\"text\":\"b\"}]"]), ("ab".to_owned(), false));
    }

    #[test]
    fn text_in_members_that_are_too_long_or_cut_off_is_found() {
        let long =
            format!(r#"{{"choices":[{{"text":"ab"}},"{}",{{"text":"c"}}]}}"#, "x".repeat(LARGEST_MEMBER));
        for size in [1000, LARGEST_MEMBER * 2] {
            let pieces: Vec<&[u8]> = long.as_bytes().chunks(size).collect();
            assert_eq!(strays(&pieces), ("abc".to_owned(), true), "{size}");
        }
        let cut = [r#"{"choices":[{"text":"ab"#, "\n{\"usage\":{},\"choices\":[{\"text\":\"c"].concat();
        assert_eq!(strays(&[cut.as_bytes()]), ("abc".to_owned(), true));
    }

    const ANSWER: &str = r#" { "id":"a \"usage\": {", "choices" : [{"x":"}],\\"},{"usage":1}] ,"n":{"usage":2}, "usage":{"prompt_tokens":3} }"#;

    #[test]
    fn only_chosen_members_of_the_outermost_object_are_kept() {
        let kept = r#"{"choices": [{"x":"}],\\"},{"usage":1}] ,"usage":{"prompt_tokens":3} }"#;
        assert_eq!(captured(&[ANSWER.as_bytes()]), kept);
    }

    #[test]
    fn a_member_cut_off_is_left_out() {
        assert_eq!(captured(&[br#"{"choices":[],"usage":{"prompt_tokens":1"#]), r#"{"choices":[]}"#);
    }

    #[test]
    fn a_member_too_long_to_keep_is_left_out_and_the_next_one_found() {
        let long = format!(r#"{{"choices":["{}"],"usage":{{}}}}"#, "x".repeat(LARGEST_MEMBER));
        assert_eq!(captured(&[long.as_bytes()]), r#"{"usage":{}}"#);
    }

    #[test]
    fn lists_and_lines_give_each_of_their_objects() {
        let both = r#"{"usage":1}{"usage":2}"#;
        assert_eq!(captured(&[b" [{\"usage\":1}\n,\r\n{\"x\":[{}],\"usage\":2}]"]), both);
        assert_eq!(captured(&[b"{\"usage\":1}\n{\"usage\":2}\n"]), both);
    }

    #[test]
    fn a_line_cut_off_in_a_string_does_not_swallow_the_next() {
        assert_eq!(captured(&[b"{\"choices\":[{\"x\":\"cut\n{\"usage\":2}\n"]), r#"{}{"usage":2}"#);
    }

    proptest! {
        #[test]
        fn any_split_keeps_the_same(at in 0..ANSWER.len(), then in 0..ANSWER.len()) {
            let (first, second) = (at.min(then), at.max(then));
            let bytes = ANSWER.as_bytes();
            prop_assert_eq!(captured(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), captured(&[bytes]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b':'), Just(b','), Just(b'\\'), any::<u8>()], 0..200)) {
            let mut capture = Capture::new(&["usage"]);
            capture.feed(&bytes, |_, end| assert!(end <= bytes.len()));
            capture.finish(|_| ());
        }
    }
}
