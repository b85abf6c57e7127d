//! Configuration errors as data: the place, what was found, what was expected.
//!
//! In: nothing. Out: [`ConfigErrors`], one [`ConfigError`] per mistake, and [`Problem`], its
//! evidence. Not here: the decision that something is a mistake (`reader`, `kind` and the modules
//! that own the settings).

use core::fmt;

/// The most errors that are listed. A configuration with more repeats one mistake many times.
pub const MAX_LISTED: usize = 50;

/// All errors of a configuration, in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The first [`MAX_LISTED`] errors.
    pub listed: Vec<ConfigError>,
    /// The number of errors beyond those.
    pub more: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The path, as in `tiers.free.limits[2].window`; empty for the whole configuration.
    pub path: String,
    /// The positions on the path from the root, in the order of the document. An absent option has
    /// the place of the map that lacks it.
    pub place: Vec<usize>,
    /// The error there.
    pub problem: Problem,
}

/// The error at a path. Text from the configuration is shortened, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are neither JSON nor a `google.protobuf.Struct`.
    Unreadable {
        /// The decoder's reason, with the position.
        reason: String,
    },
    /// A value that the option cannot take.
    Unexpected {
        /// The value as shown, quotes included.
        found: String,
        /// The accepted values, worded to follow "is not": `a duration such as 30s`.
        expected: String,
        /// The reason, if there is more to say.
        reason: Option<String>,
    },
    /// A required option is absent.
    Missing {
        /// The accepted values.
        expected: String,
    },
    /// No option has this name.
    Unknown {
        /// The option that was probably meant.
        suggestion: Option<&'static str>,
        /// Every option known there.
        known: Vec<&'static str>,
    },
    /// The same name occurs more than once.
    Repeated,
    /// An earlier item of the list covers this one, so that it has no effect.
    Covered {
        /// The value as shown.
        found: String,
        /// The path of the earlier item.
        by: String,
        /// The earlier item, if it differs.
        with: Option<String>,
    },
    /// A rule between several options does not hold.
    Rule {
        /// The rule, worded to follow the path.
        rule: String,
    },
}

impl ConfigErrors {
    /// Keeps the first [`MAX_LISTED`] of `errors`, which are in document order, and counts the
    /// others.
    #[must_use]
    pub fn listing(mut errors: Vec<ConfigError>) -> Self {
        let more = errors.len().saturating_sub(MAX_LISTED);
        errors.truncate(MAX_LISTED);
        Self { listed: errors, more }
    }

    /// Returns the error for an unreadable configuration.
    pub(super) fn unreadable(reason: impl Into<String>) -> Self {
        let problem = Problem::Unreadable { reason: reason.into() };
        Self::listing(vec![ConfigError { path: String::new(), place: Vec::new(), problem }])
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// Writes one line per error, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.listed.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "configuration" } else { &self.path };
        write!(f, "{path}: {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { reason } => f.write_str(reason),
            Self::Unexpected { found, expected, reason: None } => write!(f, "{found} is not {expected}"),
            Self::Unexpected { found, expected, reason: Some(reason) } => {
                write!(f, "{found} is not {expected}: {reason}")
            }
            Self::Missing { expected } => write!(f, "is missing, expected {expected}"),
            Self::Unknown { suggestion, known } => {
                f.write_str("is not a known option")?;
                if let Some(name) = suggestion {
                    write!(f, ", did you mean `{name}`?")?;
                }
                write!(f, " (known here: {})", known.join(", "))
            }
            Self::Repeated => f.write_str("is given more than once"),
            Self::Covered { found, by, with: None } => write!(f, "{found} repeats {by}"),
            Self::Covered { found, by, with: Some(with) } => {
                write!(f, "{found} has no effect, because {by} is {with}")
            }
            Self::Rule { rule } => f.write_str(rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_beyond_the_limit_are_counted_instead_of_listed() {
        let error =
            |n: usize| ConfigError { path: format!("o{n}"), place: vec![n], problem: Problem::Repeated };
        let errors = ConfigErrors::listing((0..MAX_LISTED + 12).map(error).collect());
        let text = errors.to_string();
        assert_eq!(text.lines().count(), MAX_LISTED + 1);
        assert_eq!(text.lines().next(), Some("o0: is given more than once"));
        assert_eq!(text.lines().last(), Some("and 12 more"));
    }

    #[test]
    fn an_error_without_a_path_is_about_the_configuration() {
        let text = ConfigErrors::unreadable("is not JSON").to_string();
        assert_eq!(text, "configuration: is not JSON");
    }
}
