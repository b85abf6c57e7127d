//! A request path as the upstream's router will see it.
//!
//! In: the raw `:path`. Out: the path without query, percent-decoded, in lower case, with runs of slashes folded and dot
//! segments resolved (RFC 3986 section 5.2.4), so that no spelling of a path gets past the limits. Not here: which path means
//! what.

use percent_encoding::percent_decode;

/// The path in its plain form; no trailing slash.
pub(super) fn decoded(path: &[u8]) -> String {
    let path = path.split(|&byte| byte == b'?' || byte == b'#').next().unwrap_or_default();
    let decoded = percent_decode(path).decode_utf8_lossy();
    let mut plain = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => plain.truncate(plain.rfind('/').unwrap_or(0)),
            segment => {
                plain.push('/');
                plain.push_str(segment);
            }
        }
    }
    plain.make_ascii_lowercase();
    plain
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn spellings_of_one_path_become_the_same() {
        assert_eq!(decoded(b"/v1//Chat%2Fcompletions/?q=/x"), "/v1/chat/completions");
        assert_eq!(decoded(b"/x/%2e%2e/v1/./chat/no/../completions/."), "/v1/chat/completions");
        assert_eq!(decoded(b"/../../chat"), "/chat");
    }

    #[test]
    fn bytes_that_are_not_text_stay_harmless() {
        assert_eq!(decoded(b"/\xff%ff%"), "/\u{fffd}\u{fffd}%");
        assert_eq!(decoded(b""), "");
    }
}
