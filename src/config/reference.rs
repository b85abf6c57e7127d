//! The reference of all options in Markdown, generated from the tables that the reader uses.
//!
//! In: sections, in the order of the reference. Out: one heading and one table for each. Not here:
//! the file that holds the reference; a test compares them.

use super::kind::Kind;
use super::schema::{Absent, OptionSpec, Section};
use core::fmt::{self, Write as _};

/// Documents `sections`. The text ends with a newline and is the same for the same tables.
#[must_use]
pub fn markdown(sections: &[&Section]) -> String {
    let mut page = String::new();
    for section in sections {
        if !page.is_empty() {
            page.push('\n');
        }
        // Writing to a String does not fail.
        let _ = write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &Section) -> fmt::Result {
    match section.path {
        "" => writeln!(page, "## Top level")?,
        path => writeln!(page, "## `{path}`")?,
    }
    writeln!(page, "\n{}\n", section.meaning)?;
    writeln!(page, "| option | value | default | meaning |\n|---|---|---|---|")?;
    section.options.iter().try_for_each(|option| write_option(page, option))
}

fn write_option(page: &mut String, option: &OptionSpec) -> fmt::Result {
    let default = match option.absent {
        Absent::Refused => "**required**".to_owned(),
        Absent::Default(text) => format!("`{text}`"),
        Absent::Means(words) => words.to_owned(),
    };
    let secret = if option.secret { " A secret: never shown." } else { "" };
    let (name, kind) = (option.name, value(&option.kind));
    writeln!(page, "| `{name}` | {} | {} | {}{secret} |", cell(&kind), cell(&default), cell(option.meaning))
}

/// Describes a kind in more detail than an error message has room for.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
        Kind::List(item) => format!("list, each: {}", value(item)),
        Kind::Several(item) => format!("{}, or a list of them", value(item)),
        Kind::Map(entry) => format!("map, each: {}", value(entry)),
        Kind::Section(section) => format!("see `{}`", section.path),
        _ => kind.to_string(),
    }
}

/// Escapes text for a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{optional, required, with_default};

    static QUEUE: Section = Section::new(
        "queues.<name>",
        "Calls that wait.",
        &[
            required("max", Kind::Integer, "How many."),
            with_default("order", Kind::Choice(&["fifo", "lifo"]), "fifo", "Who goes first: old | new."),
            optional("models", Kind::Several(&Kind::Glob), "all", "Which calls."),
            optional("key", Kind::Text, "none", "Opens it.").secret(),
        ],
    );
    static TOP: Section = Section::new(
        "",
        "Everything.",
        &[with_default("queues", Kind::Map(&Kind::Section(&QUEUE)), "{}", "The queues.")],
    );

    #[test]
    fn every_section_becomes_a_table() {
        let expected = "\
## Top level

Everything.

| option | value | default | meaning |
|---|---|---|---|
| `queues` | map, each: see `queues.<name>` | `{}` | The queues. |

## `queues.<name>`

Calls that wait.

| option | value | default | meaning |
|---|---|---|---|
| `max` | a whole number such as 50_000 | **required** | How many. |
| `order` | `fifo` or `lifo` | `fifo` | Who goes first: old \\| new. |
| `models` | a pattern such as gpt-4o*, or a list of them | all | Which calls. |
| `key` | a text | none | Opens it. A secret: never shown. |
";
        assert_eq!(markdown(&[&TOP, &QUEUE]), expected);
    }
}
