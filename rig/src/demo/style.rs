//! The look of a demo on a terminal: colour, numbers, line breaks.
//!
//! In: text and numbers. Out: text. Not here: the contents.

use std::io::IsTerminal;

/// The width of the output, in columns.
pub const WIDTH: usize = 100;

/// The choice whether text has colours.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Uses colour on a terminal, unless the user has disabled it (<https://no-color.org>).
    #[must_use]
    pub fn of_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// Formats a heading.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Formats secondary text.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Formats a success.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Formats a warning.
    #[must_use]
    pub fn careful(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Formats a failure.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Formats `12345` as `12,345`.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Breaks `text` at spaces into lines of at most [`WIDTH`] columns, each indented by `indent`.
#[must_use]
pub fn wrapped(text: &str, indent: usize) -> Vec<String> {
    let room = WIDTH - indent;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let needed = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if needed <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.iter().map(|line| format!("{:indent$}{line}", "")).collect()
}
