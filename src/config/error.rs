//! What is wrong with a configuration, as data: where, what was found, what was expected.
//!
//! In: nothing. Out: [`ConfigErrors`], one [`ConfigError`] per mistake, and [`Problem`], its
//! evidence. Not here: the decision that something is a mistake (`reader`, `kind` and the parts
//! that own the settings).

use core::fmt;

/// How many errors are listed; a configuration with more is broken in one way many times over.
pub const MAX_LISTED: usize = 50;

/// Everything that is wrong with a configuration, in the order of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The first [`MAX_LISTED`] of them.
    pub listed: Vec<ConfigError>,
    /// How many more there are.
    pub more: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, as in `tiers.free.limits[2].window`; empty for the configuration as a whole.
    pub path: String,
    /// The same place by positions from the root, in the order of the document. An option that is
    /// absent has the place of the map that it is missing from.
    pub place: Vec<usize>,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a path. Text out of the configuration is shortened, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The bytes are neither JSON nor a `google.protobuf.Struct`.
    Unreadable {
        /// The decoder's reason, with the position.
        reason: String,
    },
    /// A value that the option cannot take.
    Unexpected {
        /// The value as it would be shown, quotes included.
        found: String,
        /// What is accepted, after "is not": `a duration such as 30s`.
        expected: String,
        /// More about why, if there is more to say.
        reason: Option<String>,
    },
    /// A required option is absent.
    Missing {
        /// What belongs there.
        expected: String,
    },
    /// No option has this name.
    Unknown {
        /// The option that was probably meant.
        suggestion: Option<&'static str>,
        /// Every option that is known there.
        known: Vec<&'static str>,
    },
    /// The same name is given more than once.
    Repeated,
    /// An earlier item of a list leaves nothing to this one.
    Covered {
        /// The value as it would be shown.
        found: String,
        /// Where the earlier one is.
        by: String,
        /// What that one is, if it is not the same.
        with: Option<String>,
    },
    /// A rule between several options does not hold.
    Rule {
        /// The rule, so that it reads well after the path.
        rule: String,
    },
}

impl ConfigErrors {
    /// The first [`MAX_LISTED`] of `errors`, which are in document order, and the number of the
    /// others.
    #[must_use]
    pub fn listing(mut errors: Vec<ConfigError>) -> Self {
        let more = errors.len().saturating_sub(MAX_LISTED);
        errors.truncate(MAX_LISTED);
        Self { listed: errors, more }
    }

    /// The configuration as a whole cannot be read.
    pub(super) fn unreadable(reason: impl Into<String>) -> Self {
        let problem = Problem::Unreadable { reason: reason.into() };
        Self::listing(vec![ConfigError { path: String::new(), place: Vec::new(), problem }])
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    /// One line per error, without a newline at the end.
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
                write!(f, "{found} never counts, because {by} is {with}")
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
