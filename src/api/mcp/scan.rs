//! A JSON scanner as lenient as the most lenient server's parser.
//!
//! In: bytes. Out: the bytes of values, one level at a time. Not here: their content. Servers'
//! parsers differ: some accept `NaN`, bytes that are not UTF-8, an extra comma, control characters
//! in strings. The scanner must read everything that any of them reads, so it looks only at quotes,
//! brackets and colons, and does not validate the bytes between. It looks at every byte once,
//! regardless of depth.

/// A reader of values from left to right.
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    /// Creates a scanner at the beginning of `bytes`.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the next byte that is not a space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    /// Consumes the next byte that is not a space, if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    /// Returns whether a list or an object that ends with `close` continues, and consumes its end
    /// if not. None if the bytes end before it.
    pub(super) fn has_more(&mut self, close: u8) -> Option<bool> {
        while self.take(b',') {}
        self.peek()?;
        Some(!self.take(close))
    }

    /// Reads the next member of an object: its name, with quotes, and its value. None if there is
    /// none.
    pub(super) fn member(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name = (self.peek() == Some(b'"')).then(|| self.value())??;
        self.take(b':').then(|| self.value())?.map(|value| (name, value))
    }

    /// Reads the next value; none if there is none, or if the bytes end within it.
    pub(super) fn value(&mut self) -> Option<&'a [u8]> {
        let length = match self.peek()? {
            b'"' | b'{' | b'[' => self.length_of_enclosed()?,
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b",:\"{}[]".contains(byte);
                self.rest.iter().position(ends).unwrap_or(self.rest.len())
            }
        };
        let (value, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        (!value.is_empty()).then_some(value)
    }

    /// Returns the length of the next string, list or object.
    fn length_of_enclosed(&self) -> Option<usize> {
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        let last = self.rest.iter().position(|byte| {
            match (quoted, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (_, b'"') => quoted = !quoted,
                (false, b'{' | b'[') => depth = depth.saturating_add(1),
                (false, b'}' | b']') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && !quoted
        })?;
        last.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn first(bytes: &[u8]) -> Option<&[u8]> {
        Scanner::new(bytes).value()
    }

    #[test]
    fn a_value_ends_where_it_is_closed_whatever_its_strings_say() {
        for (bytes, value) in [
            (&b" \"a\\\"}\\\\\" ,1"[..], &b"\"a\\\"}\\\\\""[..]),
            (b"{\"a]\":[{}]}}", b"{\"a]\":[{}]}"),
            (b"[[],\"\\\\\"] x", b"[[],\"\\\\\"]"),
            (b"-1.5e3,", b"-1.5e3"),
            (b"NaN]", b"NaN"),
            (b"\"\xff\n\"", b"\"\xff\n\""),
        ] {
            assert_eq!(first(bytes), Some(value));
        }
    }

    #[test]
    fn what_is_not_closed_is_no_value() {
        for bytes in [&b""[..], b"  ", b"\"a", b"\"a\\\"", b"{\"a\":1", b"[[]", b":1", b","] {
            assert_eq!(first(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn depth_does_no_harm() {
        let deep = [vec![b'['; 500_000], vec![b']'; 500_000]].concat();
        assert_eq!(first(&deep), Some(&*deep));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            "[\\PC\"\\\\{}\\[\\]]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\]{0,4}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_members_of_any_object_are_those_that_a_strict_reader_finds(value in json(), pretty: bool) {
            let object = serde_json::json!({ "a": value.clone(), "b}": [value] });
            let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
            let text = text.unwrap();
            let mut scanner = Scanner::new(text.as_bytes());
            let mut found = serde_json::Map::new();
            let begins = scanner.take(b'{');
            prop_assert!(begins);
            while scanner.has_more(b'}').unwrap() {
                let (name, value) = scanner.member().unwrap();
                let value: &RawValue = serde_json::from_slice(value).unwrap();
                found.insert(serde_json::from_slice(name).unwrap(), serde_json::from_str(value.get()).unwrap());
            }
            prop_assert_eq!(Value::Object(found), object);
            prop_assert_eq!(scanner.peek(), None);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(prop_oneof![
            prop::sample::select(b"{}[]\",:\\ 1".to_vec()), any::<u8>()], 0..60)) {
            let mut scanner = Scanner::new(&bytes);
            let mut read = 0;
            while let Some(value) = scanner.value() {
                read += value.len();
            }
            prop_assert!(read <= bytes.len());
        }
    }
}
