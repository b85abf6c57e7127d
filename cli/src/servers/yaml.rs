//! Texts as YAML scalars.
//!
//! In: any text. Out: the same on one line, in quotes if it could be read as anything else than
//! this text, by YAML 1.1 (which envoyproxy/ratelimit reads) or 1.2. Not here: lists and maps,
//! which are written as they are.

use core::fmt::Write as _;
use std::borrow::Cow;

/// Plain words that one YAML or another takes for something else.
const WORDS: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "nan", "inf"];

/// The text as a scalar.
pub(crate) fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) { text.into() } else { quoted(text).into() }
}

/// Whether it can be nothing but itself: begins with a letter, and has only what means nothing in
/// YAML.
fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A double-quoted scalar, the only kind that can have any character: YAML 1.2.2, section 5.7.
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
