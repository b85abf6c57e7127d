//! The headers that the service adds to a request or response, filtered.
//!
//! In: the headers of an answer. Out: names in lower case and values that can stand in a message.
//! Not here: setting them.
//!
//! The service is the operator's own, but a header that frames a message, or contains a line end,
//! would let one mistake of it corrupt a connection that others use.

use super::message::HeaderValue;
use crate::config::http::is_token;

/// Headers that frame messages or control connections (RFC 9110, section 7.6.1; RFC 9112, section
/// 6).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns the headers that may pass.
pub(super) fn passable(headers: Vec<HeaderValue>) -> Vec<HeaderValue> {
    let lowered = |header: HeaderValue| HeaderValue { key: header.key.to_ascii_lowercase(), ..header };
    headers.into_iter().map(lowered).filter(may_pass).collect()
}

fn may_pass(header: &HeaderValue) -> bool {
    let HeaderValue { key, value } = header;
    let is_line = value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    is_token(key) && is_line && !FRAMING.contains(&key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(key: &str, value: &[u8]) -> Option<String> {
        let header = HeaderValue { key: key.to_owned(), value: value.to_vec() };
        passable(vec![header]).pop().map(|header| header.key)
    }

    #[test]
    fn a_header_passes_with_its_name_in_lower_case() {
        assert_eq!(passes("X-RateLimit-Limit", b"10, 10;w=60").as_deref(), Some("x-ratelimit-limit"));
        assert_eq!(passes("x-bytes", b"\xff\t!").as_deref(), Some("x-bytes"));
    }

    #[test]
    fn what_frames_messages_or_is_no_header_does_not_pass() {
        for (key, value) in [
            ("Content-Length", b"5".as_slice()),
            ("transfer-encoding", b"chunked"),
            (":status", b"200"),
            ("", b"nameless"),
            ("two words", b"x"),
            ("x\r\ny", b"x"),
            ("x-split", b"a\r\nset-cookie: b"),
            ("x-nul", b"\0"),
        ] {
            assert_eq!(passes(key, value), None, "{key:?}: {value:?}");
        }
    }
}
