//! The wire format of Protocol Buffers: messages as numbered fields.
//!
//! In: the bytes of a message, or its fields. Out: its fields, or its bytes. Not here: any
//! particular message; `config` knows `google.protobuf.Struct`, `rls` those of the rate limit
//! service. Groups, which proto3 does not have, are errors.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

/// The reason why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The position of the error in bytes.
    pub at: usize,
    /// The error.
    pub what: &'static str,
}

/// The unread bytes of one message, and their position in the whole input.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The value of a field, by wire type.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// An integer, Boolean or enumeration.
    Varint(u64),
    /// Eight bytes, such as a double.
    Fixed64(u64),
    /// Four bytes, such as a float.
    Fixed32(u32),
    /// Text, bytes or a message.
    Bytes(Message<'a>),
}

impl<'a> Message<'a> {
    /// Creates a reader of a whole message.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Reads the next field and its number; `None` at the end.
    ///
    /// # Errors
    /// [`Malformed`] if the next bytes are not a field.
    pub fn field(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0);
        let Some(number) = number else { return Err(self.malformed("not a field's number")) };
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.chunk()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| self.malformed("cut short"))?;
                let (bytes, rest) =
                    self.bytes.split_at_checked(length).ok_or_else(|| self.malformed("cut short"))?;
                let inner = Message { bytes, at: self.at };
                self.advance_to(rest);
                Field::Bytes(inner)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.chunk()?)),
            _ => return Err(self.malformed("an unknown wire type")),
        };
        Ok(Some((number, field)))
    }

    /// Returns the unread bytes.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the unread bytes as text.
    ///
    /// # Errors
    /// [`Malformed`] if they are not UTF-8, as the text of a message must be.
    pub fn text(self) -> Result<&'a str, Malformed> {
        core::str::from_utf8(self.bytes).map_err(|_| self.malformed("a text is not UTF-8"))
    }

    /// Returns an error at this position.
    #[must_use]
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// Reads a little-endian number of 7 bits per byte; the high bit says that more bytes follow.
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.chunk()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed("a number of more than 64 bits"))
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (chunk, rest) = self.bytes.split_first_chunk().ok_or_else(|| self.malformed("cut short"))?;
        self.advance_to(rest);
        Ok(*chunk)
    }

    fn advance_to(&mut self, rest: &'a [u8]) {
        self.at = self.at.saturating_add(self.bytes.len().saturating_sub(rest.len()));
        self.bytes = rest;
    }
}

/// Writes a message, field by field. Fields should come in the order of their numbers. Values equal
/// to proto3's default are left out.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes a number; nothing if it is zero.
    pub fn number(&mut self, field: u32, value: u64) {
        if value > 0 {
            self.tag(field, 0);
            self.varint(value);
        }
    }

    /// Writes a text; nothing if it is empty.
    pub fn text(&mut self, field: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Writes a nested message, even an empty one, because its presence carries meaning.
    pub fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.bytes);
    }

    /// Returns the whole message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    fn varint(&mut self, mut number: u64) {
        while let more @ 1.. = number >> 7 {
            self.bytes.push(number.to_le_bytes()[0] | 0x80);
            number = more;
        }
        self.bytes.push(number.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_field(bytes: &[u8]) -> Result<(u32, Field<'_>), &'static str> {
        let mut message = Message::new(bytes);
        let field = message.field().map_err(|malformed| malformed.what)?;
        assert!(message.field().unwrap().is_none());
        Ok(field.unwrap())
    }

    #[test]
    fn a_written_number_reads_as_it_was() {
        for number in [1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut writer = Writer::default();
            writer.number(16, number);
            let bytes = writer.finish();
            assert!(matches!(only_field(&bytes), Ok((16, Field::Varint(read))) if read == number));
        }
    }

    #[test]
    fn defaults_are_left_out_and_empty_messages_are_not() {
        let mut writer = Writer::default();
        writer.number(1, 0);
        writer.text(2, "");
        writer.message(3, |inner| inner.number(1, 0));
        assert_eq!(writer.finish(), [0x1a, 0]);
    }

    #[test]
    fn a_message_longer_than_127_bytes_has_a_length_of_two() {
        let mut writer = Writer::default();
        writer.message(1, |inner| inner.text(1, &"x".repeat(200)));
        let bytes = writer.finish();
        assert_eq!(bytes[..6], [0x0a, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
        let Ok((1, Field::Bytes(mut inner))) = only_field(&bytes) else { panic!("a message") };
        let Ok(Some((1, Field::Bytes(text)))) = inner.field() else { panic!("a text") };
        assert_eq!(text.text().unwrap().len(), 200);
    }

    #[test]
    fn every_wire_type_of_proto3_is_read() {
        assert!(matches!(only_field(&[0x08, 5]), Ok((1, Field::Varint(5)))));
        assert!(matches!(
            only_field(&[0x09, 5, 0, 0, 0, 0, 0, 0, 1]),
            Ok((1, Field::Fixed64(0x0100_0000_0000_0005)))
        ));
        assert!(matches!(only_field(&[0x0d, 5, 0, 0, 1]), Ok((1, Field::Fixed32(0x0100_0005)))));
        assert!(matches!(only_field(&[0x0a, 1, 7]), Ok((1, Field::Bytes(bytes))) if bytes.bytes() == [7]));
    }

    #[test]
    fn what_is_no_field_is_an_error_with_its_reason() {
        let ten = [0xff; 10];
        for (bytes, reason) in [
            (&[0x08][..], "cut short"),
            (&[0x09, 0, 0], "cut short"),
            (&[0x0d, 0, 0], "cut short"),
            (&[0x0a, 2, 0], "cut short"),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], "cut short"),
            (&[0x0b, 0x0c], "an unknown wire type"),
            (&[0x00, 0], "not a field's number"),
            (&[0xf8, 0xff, 0xff, 0xff, 0xff, 0x7f, 0], "not a field's number"),
            (&ten, "a number of more than 64 bits"),
        ] {
            assert_eq!(only_field(bytes).map(|_| ()), Err(reason), "{bytes:?}");
        }
    }
}
