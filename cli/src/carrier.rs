//! Converts the values of a file as the program that reads the file does.
//!
//! In: an [`Item`]. Out: the [`Value`] that the filter's own parser sees. Not here: finding the
//! configuration in a file (`find`).

use tollgate::config::Value;

use crate::document::{Content, Item, Style};

/// The program that reads the file and passes its values to the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Envoy reads YAML and makes a `google.protobuf.Struct` of it.
    Envoy,
    /// A control plane or a tool reads JSON.
    Json,
    /// Kubernetes reads YAML and makes JSON of it.
    Kubernetes,
}

impl Carrier {
    /// Returns a value as the filter receives it.
    pub(crate) fn value(self, item: &Item) -> Value {
        match &item.content {
            Content::Scalar { text, style: Style::Plain } => self.plain(text),
            Content::Scalar { text, .. } => Value::Text(text.clone()),
            Content::List(items) => Value::List(items.iter().map(|item| self.value(item)).collect()),
            Content::Map(entries) => {
                let entry = |(key, value): (&String, &Item)| (key.clone(), self.value(value));
                Value::Map(entries.iter().map(|entry| (&entry.key, &*entry.value)).map(entry).collect())
            }
        }
    }

    /// Interprets a scalar without quotes.
    fn plain(self, text: &str) -> Value {
        if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        if let Some(flag) = flag(text, self == Self::Json) {
            return Value::Bool(flag);
        }
        let number = match self {
            Self::Envoy => envoy_integer(text).map(|number| number.to_string()),
            Self::Json => json_number(text),
            Self::Kubernetes => json_number(&text.replace('_', "")),
        };
        number.map_or_else(|| Value::Text(text.to_owned()), Value::Number)
    }
}

/// Parses a YAML 1.1 boolean in lower case, upper case or capitalized. JSON has only two of the
/// words.
fn flag(text: &str, is_json: bool) -> Option<bool> {
    const WORDS: [(&str, bool); 8] = [
        ("true", true),
        ("false", false),
        ("yes", true),
        ("no", false),
        ("on", true),
        ("off", false),
        ("y", true),
        ("n", false),
    ];
    if is_json {
        return text.parse().ok();
    }
    let lower = text.to_ascii_lowercase();
    let rest = text.get(1..)?;
    let has_usual_case =
        [lower.as_str(), &text.to_ascii_uppercase()].contains(&text) || rest == lower.get(1..)?;
    WORDS.iter().find(|(word, _)| has_usual_case && *word == lower).map(|(_, flag)| *flag)
}

/// Parses an integer as Envoy does. Fractions, and integers of more than 32 bits, stay strings.
fn envoy_integer(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("", text.get(1..)?),
        _ => ("", text),
    };
    // C++ streams derive the base from the prefix.
    let (digits, base) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (digits.get(2..)?, 16),
        [b'0', _, ..] => (digits.get(1..)?, 8),
        _ => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i32::from_str_radix(&format!("{sign}{digits}"), base).ok()
}

/// Parses a JSON number and prints it as the filter's JSON reader does.
fn json_number(text: &str) -> Option<String> {
    let starts_like_one =
        text.trim_start_matches(['-', '+']).starts_with(|first: char| first.is_ascii_digit());
    if let Ok(integer) = text.parse::<i128>() {
        return Some(integer.to_string());
    }
    let number = text.parse::<f64>().ok().filter(|number| starts_like_one && number.is_finite())?;
    Some(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::documents;

    fn read(carrier: Carrier, text: &str) -> Value {
        let item = documents(&format!("[ {text} ]")).unwrap().remove(0);
        carrier.value(&item.items()[0])
    }

    fn number(text: &str) -> Value {
        Value::Number(text.to_owned())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    /// Sorts keys, for comparison with the filter's own JSON reader.
    fn sorted(value: Value) -> Value {
        match value {
            Value::Map(mut entries) => {
                entries.sort_by(|(one, _), (other, _)| one.cmp(other));
                Value::Map(entries.into_iter().map(|(key, value)| (key, sorted(value))).collect())
            }
            Value::List(items) => Value::List(items.into_iter().map(sorted).collect()),
            scalar => scalar,
        }
    }

    /// An end-to-end test checks with the same two files that Envoy does this.
    #[test]
    fn envoy_makes_numbers_of_small_integers_only() {
        let written = documents(include_str!("../tests/carriers/envoy.yaml")).unwrap().remove(0);
        let expected = tollgate::config::parse(include_bytes!("../tests/carriers/envoy.json")).unwrap();
        assert_eq!(sorted(Carrier::Envoy.value(&written)), sorted(expected));
    }

    #[test]
    fn kubernetes_keeps_fractions_and_large_numbers() {
        for (written, expected) in [
            ("0.50", number("0.5")),
            ("50_000", number("50000")),
            ("30000000000", number("30000000000")),
            ("on", Value::Bool(true)),
            ("1m", text("1m")),
            ("'5'", text("5")),
            ("~", Value::Null),
        ] {
            assert_eq!(read(Carrier::Kubernetes, written), expected, "{written}");
        }
    }

    #[test]
    fn json_has_two_words_for_flags_and_any_number() {
        for (written, expected) in [
            ("true", Value::Bool(true)),
            ("\"on\"", text("on")),
            ("0.15", number("0.15")),
            ("1e3", number("1000")),
            ("-2", number("-2")),
            ("18446744073709551615", number("18446744073709551615")),
            ("null", Value::Null),
        ] {
            assert_eq!(read(Carrier::Json, written), expected, "{written}");
        }
    }

    #[test]
    fn maps_and_lists_keep_their_order() {
        let expected = Value::Map(vec![
            ("b".to_owned(), number("1")),
            ("a".to_owned(), Value::List(vec![text("x"), Value::Null])),
        ]);
        assert_eq!(read(Carrier::Envoy, "{ b: 1, a: [ x, ~ ] }"), expected);
    }
}
