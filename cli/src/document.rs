//! A YAML or JSON file as a tree, with the line of every value.
//!
//! In: text. Out: one [`Item`] per document of the file. Not here: the meaning of scalars, which
//! depends on the program that reads the file (`carrier`).

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

/// The deepest nesting accepted, so that a file cannot exhaust the stack.
const MAX_DEPTH: usize = 100;

/// A value and the line where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Scalar { text: String, style: Style },
    List(Vec<Rc<Item>>),
    Map(Vec<Entry>),
}

/// The notation of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes, so it can be a number, a boolean or null.
    Plain,
    /// Quoted or folded. Its lines do not match lines of the file.
    Quoted,
    /// A block whose lines are lines of the file.
    Literal,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The key's line.
    pub(crate) line: usize,
    pub(crate) value: Rc<Item>,
}

/// An error in a text that is neither YAML nor JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl SyntaxError {
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        Self { line: error.line(), message: format!("is not valid JSON: {error}") }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        Self { line: error.marker().line(), message: format!("is not valid YAML: {}", error.info()) }
    }
}

/// Parses the documents of a file and leaves out empty ones.
pub(crate) fn documents(text: &str) -> Result<Vec<Rc<Item>>, SyntaxError> {
    let mut composer = Composer { events: Parser::new_from_str(text), anchors: HashMap::new() };
    let mut documents = Vec::new();
    while let Some((event, span)) = composer.next()? {
        match event {
            Event::DocumentStart(..) => composer.anchors.clear(),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            event => {
                let document = composer.item(event, span, MAX_DEPTH)?;
                if !document.is_null() {
                    documents.push(document);
                }
            }
        }
    }
    Ok(documents)
}

/// Builds a tree from a parser's events.
struct Composer<Events> {
    events: Events,
    anchors: HashMap<usize, Rc<Item>>,
}

type Next<'t> = Result<(Event<'t>, Span), ScanError>;

impl<'t, Events: Iterator<Item = Next<'t>>> Composer<Events> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, SyntaxError> {
        Ok(self.events.next().transpose()?)
    }

    /// Reads the value that begins with `event`.
    fn item(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Rc<Item>, SyntaxError> {
        let line = span.start.line();
        let wrong = |message: &str| Err(SyntaxError { line, message: message.to_owned() });
        let Some(depth) = depth.checked_sub(1) else { return wrong("is nested too deeply") };
        let (anchor, content) = match event {
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(item) => return Ok(item.clone()),
                None => return wrong("refers to itself"),
            },
            Event::Scalar(text, style, anchor, _) => {
                (anchor, Content::Scalar { text: text.into_owned(), style: style.into() })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, Content::List(self.list(depth)?)),
            Event::MappingStart(_, anchor, _) => (anchor, Content::Map(self.map(depth)?)),
            _ => return wrong("ends too early"),
        };
        let item = Rc::new(Item { line, content });
        self.anchors.insert(anchor, item.clone());
        Ok(item)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Rc<Item>>, SyntaxError> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::SequenceEnd => break,
                event => items.push(self.item(event, span, depth)?),
            }
        }
        Ok(items)
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, SyntaxError> {
        let mut entries = Vec::new();
        while let Some((event, span)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let line = span.start.line();
            let is_ignored = event.tag().is_some_and(is_ignore);
            let key = self.item(event, span, depth)?;
            let Content::Scalar { text: key, .. } = &key.content else {
                return Err(SyntaxError { line, message: "has a key that is not a string".to_owned() });
            };
            let Some((event, span)) = self.next()? else { break };
            let value = self.item(event, span, depth)?;
            if !is_ignored {
                entries.push(Entry { key: key.clone(), line, value });
            }
        }
        Ok(entries)
    }
}

/// Recognises the tag `!ignore`. Envoy drops entries with this tag, which only hold anchors.
fn is_ignore(tag: &Tag) -> bool {
    tag.handle() == "!" && tag.suffix() == "ignore"
}

impl From<ScalarStyle> for Style {
    fn from(style: ScalarStyle) -> Self {
        match style {
            ScalarStyle::Plain => Self::Plain,
            ScalarStyle::Literal => Self::Literal,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Folded => Self::Quoted,
        }
    }
}

impl Item {
    /// Returns the value of a key. Of a repeated key it returns the last value, as lenient parsers
    /// do.
    pub(crate) fn at(&self, key: &str) -> Option<&Rc<Self>> {
        self.entries().iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// Returns the value of the first of `keys` that exists. Protobuf's JSON allows two spellings.
    pub(crate) fn at_any(&self, keys: [&str; 2]) -> Option<&Rc<Self>> {
        keys.iter().find_map(|key| self.at(key))
    }

    /// Returns the entries of a map, or nothing for other values.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar { .. } | Content::List(_) => &[],
        }
    }

    /// Returns the items of a list, or nothing for other values.
    pub(crate) fn items(&self) -> &[Rc<Self>] {
        match &self.content {
            Content::List(items) => items,
            Content::Scalar { .. } | Content::Map(_) => &[],
        }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, style: Style::Plain } if text.is_empty() || text == "~")
    }

    /// Returns the line at `place`, a path of positions in maps and lists.
    pub(crate) fn line_of(&self, place: &[usize]) -> usize {
        let (mut item, mut line) = (self, self.line);
        for &position in place {
            if let Some(entry) = item.entries().get(position) {
                (item, line) = (&entry.value, entry.line);
            } else if let Some(inner) = item.items().get(position) {
                (item, line) = (inner, inner.line);
            } else {
                break;
            }
        }
        line
    }

    /// Returns a copy with `change` applied to every line.
    pub(crate) fn with_lines(&self, change: &impl Fn(usize) -> usize) -> Self {
        let content = match &self.content {
            Content::List(items) => {
                Content::List(items.iter().map(|item| Rc::new(item.with_lines(change))).collect())
            }
            Content::Map(entries) => {
                let entry = |entry: &Entry| Entry {
                    key: entry.key.clone(),
                    line: change(entry.line),
                    value: Rc::new(entry.value.with_lines(change)),
                };
                Content::Map(entries.iter().map(entry).collect())
            }
            scalar @ Content::Scalar { .. } => scalar.clone(),
        };
        Self { line: change(self.line), content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Rc<Item> {
        let mut documents = documents(text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    #[test]
    fn everything_has_its_line() {
        let file = only("# a file\na:\n  b: 1\n\n  c: [ x,\n    y ]\nd: |\n  text\n  more\n");
        let lines = [
            (vec![0], 2),
            (vec![0, 0], 3),
            (vec![0, 1], 5),
            (vec![0, 1, 0], 5),
            (vec![0, 1, 1], 6),
            (vec![1], 7),
        ];
        for (place, line) in lines {
            assert_eq!(file.line_of(&place), line, "{place:?}");
        }
        assert_eq!(file.at("d").unwrap().text(), Some("text\nmore\n"));
    }

    #[test]
    fn json_is_read_too_and_has_lines() {
        let file = only("{\n\t\"a\": {\n\t\t\"b\": [1, \"x\\n\"]\n\t}\n}\n");
        assert_eq!(file.line_of(&[0, 0]), 3);
        assert_eq!(file.at("a").unwrap().at("b").unwrap().items()[1].text(), Some("x\n"));
    }

    #[test]
    fn aliases_stand_for_what_they_name() {
        let file = only("shared: &one { a: 1 }\nhere: *one\n");
        assert_eq!(file.at("here"), file.at("shared"));
    }

    #[test]
    fn what_envoy_ignores_is_not_there() {
        let file = only("!ignore templates: &one { a: 1 }\nhere: *one\n");
        assert_eq!(file.entries().len(), 1);
        assert_eq!(file.at("here").unwrap().at("a").unwrap().text(), Some("1"));
    }

    #[test]
    fn a_file_may_have_several_documents() {
        let documents = documents("a: 1\n---\n---\nb: 2\n").unwrap();
        let lines: Vec<_> = documents.iter().map(|document| document.line).collect();
        assert_eq!(lines, [1, 4]);
        assert!(super::documents("# nothing\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_its_line() {
        for (text, line) in [
            ("a: 1\nb: [ 1,\n", 2),
            ("a: 1\n b: 2\n", 2),
            ("a: *b\n", 1),
            ("a: &b [ *b ]\n", 1),
            ("{ [a]: 1 }\n", 1),
        ] {
            let error = documents(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
        }
        let error = documents(&"[".repeat(5_000)).unwrap_err();
        assert!(error.to_string().contains("deep") || error.to_string().contains("recursion"), "{error}");
    }
}
