//! Strings as YAML scalars.
//!
//! In: any string. Out: a scalar on one line, quoted if YAML 1.1 (which envoyproxy/ratelimit reads)
//! or 1.2 could read it as anything else. Not here: lists and maps, which callers write themselves.

use core::fmt::Write as _;
use std::borrow::Cow;

/// Plain words that some YAML version reads as another type.
const WORDS: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "nan", "inf"];

/// Returns the scalar for `text`.
pub(crate) fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) { text.into() } else { quoted(text).into() }
}

/// Returns whether no YAML version can misread `text`: it begins with a letter and has no special
/// characters.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns a double-quoted scalar, the only kind that can hold any character (YAML 1.2.2, section
/// 5.7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ if letter.is_alphanumeric() => quoted.push(letter),
            '\n' => quoted.push_str("\\n"),
            _ => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(letter));
            }
        }
    }
    quoted.push('"');
    quoted
}
