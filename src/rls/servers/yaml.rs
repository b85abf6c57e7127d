//! Texts as YAML scalars.
//!
//! In: any text. Out: the same on one line, in quotes if it could be read as anything else than this text, by YAML 1.1
//! (which envoyproxy/ratelimit reads) or 1.2. Not here: lists and maps, which are written as they are.

use core::fmt::Write as _;
use std::borrow::Cow;

/// Plain words that one YAML or another takes for something else.
const WORDS: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "t", "f", "nan", "inf"];

/// The text as a scalar.
pub(super) fn scalar(text: &str) -> Cow<'_, str> {
    if is_plain(text) { text.into() } else { quoted(text).into() }
}

/// Whether it can be nothing but itself: begins with a letter, and has only what means nothing in YAML.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_as_they_are() {
        for name in ["free/tpm", "tollgate", "x-user.id_1", "minute"] {
            assert_eq!(scalar(name), name);
        }
    }

    #[test]
    fn what_yaml_could_take_for_something_else_is_quoted() {
        for (text, expected) in [
            ("", r#""""#),
            ("1e3", r#""1e3""#),
            ("_1", r#""_1""#),
            ("No", r#""No""#),
            ("a: b # c", r#""a: b # c""#),
            ("a\"b\\c\nd\te", r#""a\"b\\c\nd\U00000009e""#),
            ("größer", r#""größer""#),
            ("\u{feff}\u{2028}😀", r#""\U0000FEFF\U00002028\U0001F600""#),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn any_text_reads_back_as_it_was(text in prop_oneof![any::<String>(), "[a-zA-Z_./~0-9-]{1,5}"]) {
            let line = format!("{}  # tokens", scalar(&text));
            prop_assert_eq!(line.lines().count(), 1);
            let read: Result<serde_json::Value, _> = serde_saphyr::from_str(&line);
            prop_assert_eq!(read.unwrap(), serde_json::Value::String(text));
        }
    }
}
