//! HTTP terms in the configuration: names of headers, and authentication schemes.
//!
//! In: a [`Node`]. Out: a text that can occur in a message. Not here: reading headers (`identity`).

use super::kind::{self, Kind};
use super::reader::Node;

/// A header's name, for tables of options.
pub const HEADER: Kind = Kind::Other("a header's name such as x-tenant-id");

/// One word, for tables of options.
pub const WORD: Kind = Kind::Other("one word such as Bearer");

/// The pseudo-headers of a request (RFC 9113, section 8.3.1).
const PSEUDO_HEADERS: [&str; 4] = [":method", ":scheme", ":authority", ":path"];

/// Returns whether `text` is a token (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_token(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(letter)
}

/// Reads the name of a header field, in lower case (RFC 9110, section 5.1).
#[must_use]
pub fn field_name(node: &Node<'_>) -> Option<String> {
    let name = kind::text(node)?;
    if is_token(&name) { Some(name.to_ascii_lowercase()) } else { node.unexpected(HEADER) }
}

/// Reads the name of a request header: a field, or a pseudo-header such as `:path`. Envoy has the
/// value of `host` as `:authority`.
#[must_use]
pub fn request_header(node: &Node<'_>) -> Option<String> {
    let name = kind::text(node)?.to_ascii_lowercase();
    if PSEUDO_HEADERS.contains(&name.as_str()) {
        return Some(name);
    }
    match field_name(node)?.as_str() {
        "host" => Some(":authority".to_owned()),
        _ => Some(name),
    }
}

/// Reads a token, such as an authentication scheme (RFC 9110, section 11.1).
#[must_use]
pub fn word(node: &Node<'_>) -> Option<String> {
    let word = kind::text(node)?;
    if is_token(&word) { Some(word) } else { node.unexpected(WORD) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Value, read_tree};

    fn read(text: &str, reader: impl Fn(&Node<'_>) -> Option<String>) -> Result<String, String> {
        read_tree(&Value::Text(text.to_owned()), reader).map_err(|errors| errors.to_string())
    }

    #[test]
    fn names_of_headers_are_tokens_in_lower_case() {
        assert_eq!(read("X-Tenant_Id.1", field_name), Ok("x-tenant_id.1".to_owned()));
        for wrong in ["", "X Tenant:", "x-tenant:", "x-tenant ", "größe", "x\r\ny", ":path"] {
            let error = read(wrong, field_name).unwrap_err();
            assert!(error.ends_with("is not a header's name such as x-tenant-id"), "{error}");
        }
    }

    #[test]
    fn requests_have_pseudo_headers_too() {
        assert_eq!(read(":Path", request_header), Ok(":path".to_owned()));
        assert_eq!(read("X-User", request_header), Ok("x-user".to_owned()));
        assert_eq!(read("Host", request_header), Ok(":authority".to_owned()));
        for wrong in [":status", ":", "::path", "X Tenant:"] {
            assert!(read(wrong, request_header).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_scheme_is_one_word() {
        assert_eq!(read("Bearer", word), Ok("Bearer".to_owned()));
        for wrong in ["Bearer ", "", "two words"] {
            assert!(read(wrong, word).is_err(), "{wrong:?}");
        }
    }
}
