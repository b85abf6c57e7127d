//! Colours on terminals.
//!
//! In: text. Out: the same text, coloured on a terminal. Not here: the wording.

use std::env;

/// The choice whether text has colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    has_colours: bool,
}

impl Style {
    /// Uses colours on a terminal, unless `NO_COLOR` is set (no-color.org).
    pub(crate) fn of(is_terminal: bool) -> Self {
        let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { has_colours: is_terminal && !is_refused }
    }

    pub(crate) fn title(self, text: &str) -> String {
        self.painted("1", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.painted("1;31", text)
    }

    pub(crate) fn notable(self, text: &str) -> String {
        self.painted("33", text)
    }

    pub(crate) fn quiet(self, text: &str) -> String {
        self.painted("2", text)
    }

    /// Wraps text in a "select graphic rendition" sequence of ECMA-48.
    fn painted(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
