//! The tables of options: the reader accepts them, and the reference documents them.
//!
//! In: rows written as statics by the modules that own the settings. Out: [`Section`] and
//! [`OptionSpec`]. Not here: any section of Tollgate's, and the readers of values (`kind`).

use super::kind::Kind;

/// The options of one map.
#[derive(Debug)]
pub struct Section {
    /// The path in the configuration, as in `tiers.<name>.limits[]`; empty for the top level.
    pub path: &'static str,
    /// Its purpose, in a sentence or two.
    pub meaning: &'static str,
    /// One row per option.
    pub options: &'static [OptionSpec],
}

/// One option: the only place with its name and its default.
#[derive(Debug)]
pub struct OptionSpec {
    /// The name as operators write it.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// The meaning of its absence.
    pub absent: Absent,
    /// Its purpose, in a sentence or two, with the source of the default.
    pub meaning: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

/// The meaning of an option's absence; `null` counts as absent.
#[derive(Debug)]
pub enum Absent {
    /// It is an error.
    Refused,
    /// It equals this value, which is read like one from the configuration: a text, or a JSON list
    /// or map if it begins like one.
    Default(&'static str),
    /// These words say what it means.
    Means(&'static str),
}

impl Section {
    /// Creates a section at `path`.
    #[must_use]
    pub const fn new(path: &'static str, meaning: &'static str, options: &'static [OptionSpec]) -> Self {
        Self { path, meaning, options }
    }

    /// Returns the row of the option called `name`.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// Creates an option that must be given.
#[must_use]
pub const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> OptionSpec {
    OptionSpec { name, kind, absent: Absent::Refused, meaning, secret: false }
}

/// Creates an option that equals `default` if it is absent.
#[must_use]
pub const fn with_default(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, absent: Absent::Default(default), meaning, secret: false }
}

/// Creates an option without a default; `absent` says what its absence means: `none`, ``as `max`
/// ``.
#[must_use]
pub const fn optional(
    name: &'static str,
    kind: Kind,
    absent: &'static str,
    meaning: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, absent: Absent::Means(absent), meaning, secret: false }
}

impl OptionSpec {
    /// Marks the option's value as a secret, never to be shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}
