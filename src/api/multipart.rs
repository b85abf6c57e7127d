//! Extracts one small field of a form upload as the upload passes.
//!
//! In: the content type of a `multipart/form-data` body, and the body in pieces of any size. Out:
//! the value of one text field, such as `model`. Not here: files, which are only scanned for their
//! end; other fields; a value in a charset other than UTF-8 or with a transfer encoding (RFC 7578,
//! section 4.7, deprecates the latter).
//!
//! Of a field named twice the last value counts, because Starlette, which vLLM and most servers in
//! Python use, makes a dictionary of the fields in order. A part with a file name is a file,
//! regardless of its field's name.
//!
//! Source: RFC 7578, sections 4.1 and 4.2; RFC 2046, section 5.1.1, for the boundary and the lines
//! around it.

use memchr::{memchr, memchr2};

/// The longest value that is kept: model names have some tens of characters.
const LONGEST_VALUE: usize = 256;

/// The longest line of a part's header that is kept. The parser skips a longer one.
const LONGEST_LINE: usize = 1024;

/// The longest boundary (RFC 2046, section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// The search for a field in a passing body.
#[derive(Debug)]
pub struct Peek {
    field: &'static str,
    /// The bytes between two parts: a line end, two hyphens and the boundary.
    delimiter: Vec<u8>,
    at: At,
    value: Option<String>,
}

/// The position of the next byte in the body.
#[derive(Debug)]
enum At {
    /// In a part's content or before the first part.
    Content {
        /// The number of delimiter bytes that the last bytes match.
        matched: usize,
        /// The content of a part that is the field, unless it is too long for a value.
        text: Option<Vec<u8>>,
    },
    /// After a delimiter, on the same line.
    Delimiter(Tail),
    /// In a part's header.
    Header {
        line: Vec<u8>,
        /// Whether the line is too long to keep.
        is_overlong: bool,
        is_field: bool,
    },
    /// After the last part, or after invalid multipart syntax.
    Ended,
}

/// The bytes received after a delimiter.
#[derive(Clone, Copy, Debug)]
enum Tail {
    Nothing,
    Padding,
    Return,
}

impl Peek {
    /// Creates a search for `field` in bodies of this content type; none if it is not a multipart
    /// form.
    pub fn new(content_type: &[u8], field: &'static str) -> Option<Self> {
        let (media_type, parameters) = split_at_byte(b';', content_type);
        if !media_type.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, b"boundary")?;
        // A boundary with a line end would be ambiguous with the line end before it.
        let is_boundary = (1..=LONGEST_BOUNDARY).contains(&boundary.len())
            && boundary.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        if !is_boundary {
            return None;
        }
        let delimiter = [b"\r\n--", boundary.as_slice()].concat();
        // The body begins as if a line end preceded it.
        Some(Self { field, delimiter, at: At::Content { matched: 2, text: None }, value: None })
    }

    /// Reads the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((&byte, behind)) = rest.split_first() {
            match &mut self.at {
                At::Ended => return,
                At::Content { matched, text } => {
                    rest = content(&self.delimiter, matched, text, rest);
                    if *matched == self.delimiter.len() {
                        if let Some(text) = text.take() {
                            self.value = String::from_utf8(text).ok();
                        }
                        self.at = At::Delimiter(Tail::Nothing);
                    }
                }
                At::Delimiter(tail) => {
                    rest = behind;
                    self.at = match (*tail, byte) {
                        (Tail::Nothing | Tail::Padding, b' ' | b'\t') => At::Delimiter(Tail::Padding),
                        (Tail::Nothing | Tail::Padding, b'\r') => At::Delimiter(Tail::Return),
                        (Tail::Return, b'\n') => {
                            At::Header { line: Vec::new(), is_overlong: false, is_field: false }
                        }
                        // The first of the two hyphens after the last part, or syntax that servers
                        // refuse to read.
                        _ => At::Ended,
                    };
                }
                At::Header { line, is_overlong, is_field } => {
                    let end = memchr(b'\n', rest);
                    let (head, behind) =
                        rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
                    rest = behind.get(1..).unwrap_or_default();
                    if line.len().saturating_add(head.len()) > LONGEST_LINE {
                        *is_overlong = true;
                        line.clear();
                    } else if !*is_overlong {
                        line.extend_from_slice(head);
                    }
                    if end.is_none() {
                        return;
                    }
                    if !*is_overlong && line.trim_ascii_end().is_empty() {
                        self.at = At::Content { matched: 0, text: is_field.then(Vec::new) };
                        continue;
                    }
                    *is_field |= is_disposition_of(self.field, line);
                    *is_overlong = false;
                    line.clear();
                }
            }
        }
    }

    /// Returns the value of the field, once its part has ended: at most 256 bytes of UTF-8.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Reads content up to the end of the delimiter or of `bytes`; returns the rest.
fn content<'a>(
    delimiter: &[u8],
    matched: &mut usize,
    text: &mut Option<Vec<u8>>,
    bytes: &'a [u8],
) -> &'a [u8] {
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        if *matched > 0 && delimiter.get(*matched) == Some(&byte) {
            *matched = matched.saturating_add(1);
            rest = behind;
            if *matched == delimiter.len() {
                break;
            }
            continue;
        }
        // The partial match was content. A carriage return occurs only at the start of a delimiter,
        // so no other delimiter can have begun within it.
        keep(text, delimiter.get(..*matched).unwrap_or_default());
        *matched = 0;
        let Some(at) = memchr(b'\r', rest) else {
            keep(text, rest);
            return &[];
        };
        let (before, tail) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        keep(text, before);
        *matched = 1;
        rest = tail.get(1..).unwrap_or_default();
    }
    rest
}

/// Appends to a value; a value that becomes too long turns into none.
fn keep(text: &mut Option<Vec<u8>>, bytes: &[u8]) {
    if let Some(kept) = text {
        if kept.len().saturating_add(bytes.len()) > LONGEST_VALUE {
            *text = None;
        } else {
            kept.extend_from_slice(bytes);
        }
    }
}

/// Returns whether a line of a part's header identifies the part as this field, and not a file.
fn is_disposition_of(field: &str, line: &[u8]) -> bool {
    let (name, value) = split_at_byte(b':', line);
    let (disposition, parameters) = split_at_byte(b';', value);
    name.trim_ascii().eq_ignore_ascii_case(b"content-disposition")
        && disposition.trim_ascii().eq_ignore_ascii_case(b"form-data")
        && parameter(parameters, b"name").is_some_and(|name| name == field.as_bytes())
        && parameter(parameters, b"filename").is_none()
        && parameter(parameters, b"filename*").is_none()
}

/// Returns a parameter from `name=value; other="quoted value"`.
fn parameter(parameters: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let mut rest = parameters;
    while let Some(end) = memchr2(b'=', b';', rest) {
        let (name, behind) = rest.split_at_checked(end)?;
        let (separator, behind) = behind.split_first()?;
        rest = behind;
        if *separator == b';' {
            continue;
        }
        let value = match rest.trim_ascii_start().split_first() {
            Some((b'"', quoted)) => {
                let (value, behind) = unquote(quoted)?;
                (_, rest) = split_at_byte(b';', behind);
                value
            }
            _ => {
                let (value, behind) = split_at_byte(b';', rest);
                rest = behind;
                value.trim_ascii().to_vec()
            }
        };
        if name.trim_ascii().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
    None
}

/// Returns the text up to the closing quotation mark, and the rest.
fn unquote(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some((text, behind)),
            // Browsers do not escape a backslash in a file's name, so before other characters it
            // stands for itself.
            [b'\\', byte @ (b'"' | b'\\'), behind @ ..] | [byte, behind @ ..] => {
                text.push(*byte);
                behind
            }
            [] => return None,
        }
    }
}

/// Splits at the first such byte; without one, everything is before it.
fn split_at_byte(byte: u8, bytes: &[u8]) -> (&[u8], &[u8]) {
    memchr(byte, bytes)
        .and_then(|at| bytes.split_at_checked(at))
        .map_or((bytes, &[]), |(before, tail)| (before, tail.get(1..).unwrap_or_default()))
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;
