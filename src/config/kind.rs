//! The kinds of value that options hold: their names, the wording of their errors, their readers.
//!
//! In: a [`Node`]. Out: a typed value, or nothing and an error recorded at the node. Each function
//! can be given to [`Fields::read`](super::Fields::read); those that take a reader return one:
//! `kind::list(kind::glob)`. Not here: kinds that only one module needs; it writes a function like
//! these.

use super::glob::Glob;
use super::reader::Node;
use super::scalars::{self, NotANumber, Ratio};
use super::schema::Section;
use super::suggest;
use super::tree::Value;
use crate::units::{NanoUsd, Span};
use core::fmt;
use core::ops::RangeInclusive;

/// The kind of an option's value, for its documentation and for the error when it is missing.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false.
    Flag,
    /// Any text.
    Text,
    /// A non-empty text.
    Name,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer,
    /// An amount of money.
    Usd,
    /// A fraction of one.
    Fraction,
    /// A factor.
    Ratio,
    /// A duration.
    Duration,
    /// A size in bytes.
    Size,
    /// A pattern for names.
    Glob,
    /// A list.
    List(&'static Self),
    /// A list, or its only item without the brackets.
    Several(&'static Self),
    /// A map whose names the operator chooses.
    Map(&'static Self),
    /// A map with the options of a section.
    Section(&'static Section),
    /// Another kind, in words that follow "is not".
    Other(&'static str),
}

impl fmt::Display for Kind {
    /// Writes the kind with its article: `a duration such as 30s, 1m, 1h, 1d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "true or false",
            Self::Text => "a text",
            Self::Name => "a non-empty text",
            Self::Choice(names) => return write!(f, "one of {}", names.join(", ")),
            Self::Integer => "a whole number such as 50_000",
            Self::Usd => "an amount of US dollars such as 0.15",
            Self::Fraction => "a fraction from 0 to 1",
            Self::Ratio => "a number such as 1.2",
            Self::Duration => "a duration such as 30s, 1m, 1h, 1d",
            Self::Size => "a size such as 512B, 64KiB, 1MiB",
            Self::Glob => "a pattern such as gpt-4o*",
            Self::List(_) => "a list",
            Self::Several(one) => return write!(f, "{one} or a list of them"),
            Self::Map(_) | Self::Section(_) => "a map",
            Self::Other(words) => words,
        })
    }
}

/// Returns the words of a table of choices, for [`Kind::Choice`].
#[must_use]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only runs at compile time, where a panic is a build error; iterators are not const"
)]
pub const fn names<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = table[index].0;
        index += 1;
    }
    names
}

/// Reads `true` or `false`, also as text, because YAML templates quote them.
#[must_use]
pub fn flag(node: &Node<'_>) -> Option<bool> {
    match node.value() {
        Value::Bool(flag) => Some(*flag),
        Value::Text(text) if text == "true" => Some(true),
        Value::Text(text) if text == "false" => Some(false),
        _ => node.unexpected(Kind::Flag),
    }
}

/// Reads any text. Numbers are errors, because `1.10` would lose its zero.
#[must_use]
pub fn text(node: &Node<'_>) -> Option<String> {
    match node.value() {
        Value::Text(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => node.unexpected_because(Kind::Text, "put it in quotes"),
        _ => node.unexpected(Kind::Text),
    }
}

/// Reads a non-empty text.
#[must_use]
pub fn name(node: &Node<'_>) -> Option<String> {
    let text = text(node)?;
    if text.is_empty() { node.unexpected(Kind::Name) } else { Some(text) }
}

/// Reads a non-empty pattern.
#[must_use]
pub fn glob(node: &Node<'_>) -> Option<Glob> {
    match node.value() {
        Value::Text(text) if !text.is_empty() => Some(Glob::new(text)),
        Value::Number(_) | Value::Bool(_) => node.unexpected_because(Kind::Glob, "put it in quotes"),
        _ => node.unexpected(Kind::Glob),
    }
}

/// Reads a word and returns its value. [`names`] makes the words of [`Kind::Choice`] from the same
/// table.
pub fn choice<T: Copy>(table: &'static [(&'static str, T)]) -> impl Fn(&Node<'_>) -> Option<T> {
    move |node| {
        let words: &[&str] = match node.value() {
            Value::Text(text) => &[text.as_str()],
            // Envoy reads these words as Booleans if the YAML does not quote them.
            Value::Bool(true) => &["true", "on", "yes"],
            Value::Bool(false) => &["false", "off", "no"],
            _ => &[],
        };
        if let Some((_, value)) = table.iter().find(|(name, _)| words.contains(name)) {
            return Some(*value);
        }
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of {}", known.join(", "));
        match words.first().and_then(|word| suggest::nearest(word, known)) {
            Some(name) => node.unexpected_because(expected, format!("did you mean `{name}`?")),
            None => node.unexpected(expected),
        }
    }
}

/// Reads a whole number, zero or more, also as text and with `_`.
#[must_use]
pub fn integer(node: &Node<'_>) -> Option<u64> {
    number(node, Kind::Integer, scalars::integer)
}

/// Reads a whole number within `range`.
pub fn integer_in(range: RangeInclusive<u64>) -> impl Fn(&Node<'_>) -> Option<u64> {
    move |node| {
        let (first, last) = (range.start(), range.end());
        let expected = match *last {
            u64::MAX => format!("a whole number of at least {first}"),
            _ => format!("a whole number from {first} to {last}"),
        };
        let value = number(node, &expected, scalars::integer)?;
        if range.contains(&value) { Some(value) } else { node.unexpected(expected) }
    }
}

/// Reads an amount of US dollars, exact to a billionth, rounded up.
#[must_use]
pub fn usd(node: &Node<'_>) -> Option<NanoUsd> {
    number(node, Kind::Usd, scalars::billionths).map(NanoUsd)
}

/// Reads a fraction of one, exact to a millionth, rounded up.
#[must_use]
pub fn fraction(node: &Node<'_>) -> Option<Ratio> {
    let ratio = number(node, Kind::Fraction, scalars::ratio)?;
    if ratio <= Ratio::ONE { Some(ratio) } else { node.unexpected(Kind::Fraction) }
}

/// Reads a factor of zero or more, exact to a millionth, rounded up.
#[must_use]
pub fn ratio(node: &Node<'_>) -> Option<Ratio> {
    number(node, Kind::Ratio, scalars::ratio)
}

/// Reads a duration above zero.
#[must_use]
pub fn duration(node: &Node<'_>) -> Option<Span> {
    number(node, Kind::Duration, scalars::duration)
}

/// Reads a duration, which may be zero.
#[must_use]
pub fn duration_or_zero(node: &Node<'_>) -> Option<Span> {
    number(node, Kind::Duration, |text| match scalars::duration(text) {
        Err(NotANumber::Zero) => Ok(Span::ZERO),
        read => read,
    })
}

/// Reads a number of bytes.
#[must_use]
pub fn size(node: &Node<'_>) -> Option<u64> {
    number(node, Kind::Size, scalars::size)
}

/// Reads a list with the reader `item`. A failed item is left out; its error is recorded.
pub fn list<T>(item: impl Fn(&Node<'_>) -> Option<T>) -> impl Fn(&Node<'_>) -> Option<Vec<T>> {
    move |node| match node.items() {
        Some(items) => Some(items.filter_map(|node| node.read(&item)).collect()),
        None => node.unexpected("a list"),
    }
}

/// Reads a list with the reader `item`, or its only item without the brackets.
pub fn several<T>(item: impl Fn(&Node<'_>) -> Option<T>) -> impl Fn(&Node<'_>) -> Option<Vec<T>> {
    move |node| match node.items() {
        Some(items) => Some(items.filter_map(|node| node.read(&item)).collect()),
        None => item(node).map(|only| vec![only]),
    }
}

/// Reads a map with any names and the reader `entry`. A failed entry is left out; its error is
/// recorded.
///
/// In JSON the order is that of the document, in a `Struct` that of the names. Callers must not
/// depend on it.
pub fn map<T>(entry: impl Fn(&Node<'_>) -> Option<T>) -> impl Fn(&Node<'_>) -> Option<Vec<(String, T)>> {
    pairs(name, entry)
}

/// Reads a map whose names are values as well: `key` reads each name as if it were a text.
pub fn pairs<K, T>(
    key: impl Fn(&Node<'_>) -> Option<K>,
    entry: impl Fn(&Node<'_>) -> Option<T>,
) -> impl Fn(&Node<'_>) -> Option<Vec<(K, T)>> {
    move |node| match node.entries() {
        Some(entries) => {
            let pair = |(name, node): (&String, Node<'_>)| {
                let key = node.with_value(&Value::Text(name.clone())).read(&key);
                let value = node.read(&entry);
                Some((key?, value?))
            };
            Some(entries.filter_map(pair).collect())
        }
        None => node.unexpected("a map"),
    }
}

fn number<T>(
    node: &Node<'_>,
    expected: impl fmt::Display,
    parse: impl Fn(&str) -> Result<T, NotANumber>,
) -> Option<T> {
    let (Value::Number(text) | Value::Text(text)) = node.value() else { return node.unexpected(expected) };
    match parse(text).map_err(NotANumber::reason) {
        Ok(number) => Some(number),
        Err(Some(reason)) => node.unexpected_because(expected, reason),
        Err(None) => node.unexpected(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_tree;

    const SPEEDS: [(&str, u8); 3] = [("slow", 1), ("fast", 2), ("off", 0)];

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn read<T>(text: &str, kind: impl Fn(&Node<'_>) -> Option<T>) -> Result<T, String> {
        read_tree(&json(text), kind).map_err(|errors| errors.to_string())
    }

    fn refused<T>(problem: &str) -> Result<T, String> {
        Err(format!("configuration: {problem}"))
    }

    #[test]
    fn flags_are_read_also_from_text() {
        assert_eq!(read("true", flag), Ok(true));
        assert_eq!(read("\"false\"", flag), Ok(false));
        assert_eq!(read("\"maybe\"", flag), refused("\"maybe\" is not true or false"));
    }

    #[test]
    fn text_is_not_guessed_from_other_types() {
        assert_eq!(read("\"\"", text), Ok(String::new()));
        assert_eq!(read("1.5", text), refused("1.5 is not a text: put it in quotes"));
        assert_eq!(read("[]", text), refused("a list is not a text"));
        assert_eq!(read("\"\"", name), refused("\"\" is not a non-empty text"));
        assert_eq!(read("null", glob), refused("null is not a pattern such as gpt-4o*"));
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        assert_eq!(read("\"fast\"", choice(&SPEEDS)), Ok(2));
        assert_eq!(
            read("\"fest\"", choice(&SPEEDS)),
            refused("\"fest\" is not one of slow, fast, off: did you mean `fast`?")
        );
        assert_eq!(read("7", choice(&SPEEDS)), refused("7 is not one of slow, fast, off"));
    }

    #[test]
    fn a_choice_understands_words_that_yaml_takes_for_booleans() {
        assert_eq!(read("false", choice(&SPEEDS)), Ok(0));
        assert!(read("true", choice(&SPEEDS)).is_err());
    }

    #[test]
    fn numbers_may_be_texts() {
        assert_eq!(read("50000", integer), Ok(50_000));
        assert_eq!(read("\"50_000\"", integer), Ok(50_000));
        assert_eq!(read("\"0.15\"", usd), Ok(NanoUsd(150_000_000)));
        assert_eq!(read("0.15", usd), Ok(NanoUsd(150_000_000)));
        assert_eq!(read("\"64KiB\"", size), Ok(65_536));
        assert_eq!(read("1.2", ratio), Ok(Ratio { ppm: 1_200_000 }));
    }

    #[test]
    fn a_wrong_number_says_why() {
        assert_eq!(
            read("1.5", integer),
            refused("1.5 is not a whole number such as 50_000: it has a fraction")
        );
        assert_eq!(
            read("-1", usd),
            refused("-1 is not an amount of US dollars such as 0.15: it is negative")
        );
        assert_eq!(
            read("30", duration),
            refused("30 is not a duration such as 30s, 1m, 1h, 1d: the unit is missing")
        );
        assert!(read("\"0s\"", duration).is_err());
        assert_eq!(read("\"0s\"", duration_or_zero), Ok(Span::ZERO));
        assert_eq!(read("\"1m\"", duration_or_zero), read("\"1m\"", duration));
        assert_eq!(read("1.01", fraction), refused("1.01 is not a fraction from 0 to 1"));
        assert_eq!(read("0", integer_in(1..=9)), refused("0 is not a whole number from 1 to 9"));
        assert_eq!(read("0", integer_in(1..=u64::MAX)), refused("0 is not a whole number of at least 1"));
    }

    #[test]
    fn several_may_be_one_without_brackets() {
        assert_eq!(read("\"30s\"", several(duration)), Ok(vec![Span::from_secs(30)]));
        assert_eq!(read("[\"30s\"]", several(duration)), Ok(vec![Span::from_secs(30)]));
        assert_eq!(read("[]", several(duration)), Ok(vec![]));
        assert_eq!(read("\"30s\"", list(duration)), refused("\"30s\" is not a list"));
    }

    #[test]
    fn every_wrong_item_of_a_list_is_reported() {
        let errors = read("[\"a\", 1, \"\"]", list(name)).unwrap_err();
        assert_eq!(errors, "[1]: 1 is not a text: put it in quotes\n[2]: \"\" is not a non-empty text");
    }

    #[test]
    fn the_names_of_a_map_can_be_read_too() {
        assert_eq!(read("{\"a\": 1}", map(integer)), Ok(vec![("a".to_owned(), 1)]));
        assert_eq!(read("{\"30s\": 1}", pairs(duration, integer)), Ok(vec![(Span::from_secs(30), 1)]));
        let errors = read("{\"x\": -1, \"\": 2}", pairs(name, integer)).unwrap_err();
        let expected = "x: -1 is not a whole number such as 50_000: it is negative\n\
                        \"\": \"\" is not a non-empty text";
        assert_eq!(errors, expected);
    }
}
