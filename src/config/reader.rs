//! Walks the tree of a configuration with its path, and collects every error.
//!
//! In: the bytes or the tree, and a reader of the root. Out: the reader's result, or all
//! [`ConfigErrors`]. Not here: the kinds of value (`kind`) and the options (`schema`).
//!
//! A reader is any `fn(&Node<'_>) -> Option<T>`. It returns `None` only after it has recorded an
//! error. To report everything at once, read all options first and use `?` after that:
//!
//! ```
//! use tollgate::config::{self, Kind, Node, Section, kind, required, with_default};
//!
//! struct Wait { queue: String, max_waiting: u64 }
//!
//! static WAIT: Section = Section::new("wait", "Holds calls instead of refusing them.", &[
//!     required("queue", Kind::Name, "Names the queue."),
//!     with_default("max_waiting", Kind::Integer, "100", "Calls that wait at a time."),
//! ]);
//!
//! fn wait(node: &Node<'_>) -> Option<Wait> {
//!     let fields = node.section(&WAIT);
//!     let queue = fields.read("queue", kind::name);
//!     let max_waiting = fields.read("max_waiting", kind::integer);
//!     Some(Wait { queue: queue?, max_waiting: max_waiting? })
//! }
//!
//! let read = config::read(br#"{ "queue": "batch" }"#, wait).unwrap();
//! assert_eq!((read.queue.as_str(), read.max_waiting), ("batch", 100));
//! let errors = config::read(br#"{ "max_watiing": 5 }"#, wait).err().unwrap();
//! assert_eq!(errors.to_string(), "\
//! queue: is missing, expected a non-empty text
//! max_watiing: is not a known option, did you mean `max_waiting`? (known here: queue, max_waiting)");
//! ```

use super::error::{ConfigError, ConfigErrors, Problem};
use super::path::{Path, quoted, shortened};
use super::schema::{Absent, OptionSpec, Section};
use super::suggest;
use super::tree::{self, Value};
use core::cell::RefCell;
use core::fmt::Display;

/// Parses `bytes` in either carrier and reads the tree with `root`.
pub fn read<T>(bytes: &[u8], root: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, ConfigErrors> {
    read_tree(&tree::parse(bytes)?, root)
}

/// Reads a tree with `root`. Any recorded error is a failure, whatever `root` returns.
pub fn read_tree<T>(tree: &Value, root: impl FnOnce(&Node<'_>) -> Option<T>) -> Result<T, ConfigErrors> {
    let log = Log::default();
    let result = Node { value: tree, path: Path::default(), secret: false, log: &log }.read(root);
    match (result, log.into_sorted()) {
        (Some(result), errors) if errors.is_empty() => Ok(result),
        (_, errors) => Err(ConfigErrors::listing(errors)),
    }
}

/// A value and its path.
#[derive(Clone)]
pub struct Node<'a> {
    value: &'a Value,
    path: Path,
    secret: bool,
    log: &'a Log,
}

impl<'a> Node<'a> {
    /// Returns the value.
    #[must_use]
    pub const fn value(&self) -> &'a Value {
        self.value
    }

    /// Returns the options written here, and reports those that `section` does not have. `null` is
    /// a section without options, because YAML reads `free:` as `null`.
    #[must_use]
    pub fn section(&self, section: &'static Section) -> Fields<'a> {
        let (entries, is_map): (&[_], _) = match self.value {
            Value::Map(entries) => (entries, true),
            Value::Null => (&[], true),
            _ => (&[], self.unexpected::<()>("a map").is_some()),
        };
        for (position, (name, _)) in entries.iter().enumerate() {
            if section.option(name).is_none() {
                let known: Vec<_> = section.options.iter().map(|option| option.name).collect();
                let suggestion = suggest::nearest(name, known.iter().copied());
                self.log.record(&self.path.entry(position, name), Problem::Unknown { suggestion, known });
            }
        }
        Fields { node: self.clone(), section, entries, is_map, errors_before: self.log.len() }
    }

    /// Returns the items, if this is a list.
    #[must_use]
    pub fn items(&self) -> Option<impl Iterator<Item = Node<'a>>> {
        let Value::List(items) = self.value else { return None };
        let node = self.clone();
        Some(items.iter().enumerate().map(move |(at, value)| node.child(value, node.path.item(at), false)))
    }

    /// Returns the entries with their names, if this is a map.
    #[must_use]
    pub fn entries(&self) -> Option<impl Iterator<Item = (&'a String, Node<'a>)>> {
        let Value::Map(entries) = self.value else { return None };
        let node = self.clone();
        let entry = move |(position, (name, value)): (usize, &'a (String, Value))| {
            (name, node.child(value, node.path.entry(position, name), false))
        };
        Some(entries.iter().enumerate().map(entry))
    }

    /// Returns the entry called `name`, if this is a map that has it.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<Self> {
        self.entries()?.find(|(key, _)| *key == name).map(|(_, node)| node)
    }

    /// Returns a node with another value at the same path.
    #[must_use]
    pub fn with_value<'b>(&self, value: &'b Value) -> Node<'b>
    where
        'a: 'b,
    {
        Node { value, path: self.path.clone(), secret: self.secret, log: self.log }
    }

    /// Applies a reader, and records an error if it fails without one.
    pub fn read<T>(&self, reader: impl FnOnce(&Self) -> Option<T>) -> Option<T> {
        let before = self.log.len();
        let result = reader(self);
        if result.is_none() && self.log.len() == before {
            return self.rule("is refused for no known reason; please report this as a defect of Tollgate");
        }
        result
    }

    /// Records that the value is not `expected`, in words such as `a duration`. Always `None`.
    pub fn unexpected<T>(&self, expected: impl Display) -> Option<T> {
        self.refuse(expected, None)
    }

    /// Does the same and records the reason.
    pub fn unexpected_because<T>(&self, expected: impl Display, reason: impl Into<String>) -> Option<T> {
        self.refuse(expected, Some(reason.into()))
    }

    /// Records that a rule does not hold; the words follow the path. Always `None`.
    pub fn rule<T>(&self, rule: impl Into<String>) -> Option<T> {
        self.log.record(&self.path, Problem::Rule { rule: rule.into() });
        None
    }

    /// Records that an earlier item of the list covers this one. Always `None`.
    pub fn covered_by<T>(&self, earlier: &Self) -> Option<T> {
        let (found, with) = (self.shown(), earlier.shown());
        let with = (with != found).then_some(with);
        let problem = Problem::Covered { found, by: earlier.path.to_string(), with };
        self.log.record(&self.path, problem);
        None
    }

    fn refuse<T>(&self, expected: impl Display, reason: Option<String>) -> Option<T> {
        let problem = Problem::Unexpected { found: self.shown(), expected: expected.to_string(), reason };
        self.log.record(&self.path, problem);
        None
    }

    /// Returns the value for an error message, shortened, and never a secret.
    fn shown(&self) -> String {
        match self.value {
            Value::Null => "null".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) if self.secret => quoted("…"),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(text) => shortened(text),
            Value::Text(text) => quoted(text),
        }
    }

    fn child<'b>(&self, value: &'b Value, path: Path, secret: bool) -> Node<'b>
    where
        'a: 'b,
    {
        Node { value, path, secret: secret || self.secret, log: self.log }
    }
}

/// The options of one section, as written.
pub struct Fields<'a> {
    node: Node<'a>,
    section: &'static Section,
    entries: &'a [(String, Value)],
    /// If false, the error is recorded, and errors that follow from it are suppressed.
    is_map: bool,
    /// The number of errors when the section was opened.
    errors_before: usize,
}

impl<'a> Fields<'a> {
    /// Reads the option `name` with `reader`, or its default. Returns `None` if that failed, and
    /// also if an option without a default is absent. A reader need not distinguish the two,
    /// because any recorded error makes the whole configuration fail. To suppress misleading errors
    /// that follow from another, see [`Fields::has_failed`].
    pub fn read<T>(&self, name: &str, reader: impl FnOnce(&Node<'_>) -> Option<T>) -> Option<T> {
        let spec = self.spec(name)?;
        if let Some(node) = self.given(name) {
            return node.read(reader);
        }
        match &spec.absent {
            Absent::Default(text) => {
                let value = default_value(text);
                self.node.child(&value, self.node.path.absent(name), spec.secret).read(reader)
            }
            Absent::Refused if self.is_map => {
                let expected = spec.kind.to_string();
                self.node.log.record(&self.node.path.absent(name), Problem::Missing { expected });
                None
            }
            Absent::Refused | Absent::Means(_) => None,
        }
    }

    /// Reads the option `name` with `reader` if it is given; ignores its default.
    pub fn read_given<T>(&self, name: &str, reader: impl FnOnce(&Node<'_>) -> Option<T>) -> Option<T> {
        self.given(name)?.read(reader)
    }

    /// Returns whether an error was recorded in this section since it was opened.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.node.log.len() > self.errors_before
    }

    /// Returns whether the option `name` is given and not `null`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Returns the value of the option `name`, if it is given and not `null`.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<Node<'a>> {
        let spec = self.spec(name)?;
        let (position, (_, value)) = self.entries.iter().enumerate().find(|(_, (key, _))| key == name)?;
        let path = self.node.path.entry(position, name);
        (*value != Value::Null).then(|| self.node.child(value, path, spec.secret))
    }

    /// Returns the only one of `names` that is given. Records an error if none or several are.
    #[must_use]
    pub fn exactly_one(&self, names: &[&'static str]) -> Option<&'static str> {
        if !self.is_map {
            return None;
        }
        let given: Vec<_> = names.iter().copied().filter(|name| self.has(name)).collect();
        match given.as_slice() {
            [only] => Some(only),
            [] => self.node.rule(format!("needs one of {}", names.join(", "))),
            _ => self.node.rule(format!("takes only one of {}", given.join(", "))),
        }
    }

    /// Records at the option `name`, given or not, that a rule does not hold. Always `None`.
    pub fn rule<T>(&self, name: &str, rule: impl Into<String>) -> Option<T> {
        let path = self.given(name).map_or_else(|| self.node.path.absent(name), |node| node.path);
        self.node.log.record(&path, Problem::Rule { rule: rule.into() });
        None
    }

    /// Returns the section's node.
    #[must_use]
    pub const fn node(&self) -> &Node<'a> {
        &self.node
    }

    /// Returns the row of the table. A missing row is a defect, which the first test that reads the
    /// section reveals.
    fn spec(&self, name: &str) -> Option<&'static OptionSpec> {
        let spec = self.section.option(name);
        if spec.is_none() {
            let rule = format!("is read as an option but not in the table of `{}`", self.section.path);
            self.node.log.record(&self.node.path.absent(name), Problem::Rule { rule });
        }
        spec
    }
}

/// Parses a default, which is written as an operator would write it.
fn default_value(text: &str) -> Value {
    match text.bytes().next() {
        Some(b'[' | b'{') => serde_json::from_str(text).unwrap_or_else(|_| Value::Text(text.to_owned())),
        _ => Value::Text(text.to_owned()),
    }
}

/// The errors so far, with their places in the document.
#[derive(Default)]
struct Log(RefCell<Vec<ConfigError>>);

impl Log {
    fn record(&self, path: &Path, problem: Problem) {
        self.0.borrow_mut().push(path.error(problem));
    }

    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn into_sorted(self) -> Vec<ConfigError> {
        let mut errors = self.0.into_inner();
        errors.sort_by(|one, other| one.place.cmp(&other.place));
        // A value that several others depend on may be read, and refused, several times.
        errors.dedup();
        errors
    }
}
