//! The tables that describe options: what the reader accepts and what the reference documents.
//!
//! In: rows written as statics by the parts that own the settings. Out: [`Section`] and
//! [`OptionSpec`]. Not here: any section of Tollgate's, and how values are read (`kind`).

use super::kind::Kind;

/// Options that are written together in one map.
#[derive(Debug)]
pub struct Section {
    /// Where it is in the configuration, as in `tiers.<name>.limits[]`; empty for the top level.
    pub path: &'static str,
    /// What it is for: a sentence or two.
    pub meaning: &'static str,
    /// One row per option.
    pub options: &'static [OptionSpec],
}

/// One option: the one place that knows its name and its default.
#[derive(Debug)]
pub struct OptionSpec {
    /// As operators write it.
    pub name: &'static str,
    /// What it can hold.
    pub kind: Kind,
    /// What leaving it out means.
    pub absent: Absent,
    /// What it is for: a sentence or two, also on where the default comes from.
    pub meaning: &'static str,
    /// Whether its value is never to be shown.
    pub secret: bool,
}

/// What leaving an option out means; `null` counts as leaving it out.
#[derive(Debug)]
pub enum Absent {
    /// It is an error.
    Refused,
    /// The same as writing this, which is read like a value from the configuration: a text, or a
    /// JSON list or map if it begins like one.
    Default(&'static str),
    /// What these words say.
    Means(&'static str),
}

impl Section {
    /// A section at `path`.
    #[must_use]
    pub const fn new(path: &'static str, meaning: &'static str, options: &'static [OptionSpec]) -> Self {
        Self { path, meaning, options }
    }

    /// The row of the option called `name`.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&'static OptionSpec> {
        self.options.iter().find(|option| option.name == name)
    }
}

/// An option that has to be given.
#[must_use]
pub const fn required(name: &'static str, kind: Kind, meaning: &'static str) -> OptionSpec {
    OptionSpec { name, kind, absent: Absent::Refused, meaning, secret: false }
}

/// An option that is `default` when it is not given.
#[must_use]
pub const fn with_default(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, absent: Absent::Default(default), meaning, secret: false }
}

/// An option without a default; what its absence means is said by `absent`: `none`, ``as `max` ``.
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
    /// The same, and whatever it holds is never shown.
    #[must_use]
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}
