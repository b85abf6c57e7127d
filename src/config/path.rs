//! Paths in the configuration.
//!
//! In: steps from the root, by name or by index. Out: [`Path`], shown as
//! `tiers.free.limits[2].window`, and its [place](Path::place) in the order of the document. Not
//! here: the values at a path.

use super::error::{ConfigError, Problem};
use core::fmt;
use std::rc::Rc;

/// The most characters of a configured name or value that are shown.
const MAX_SHOWN: usize = 40;

/// Steps from the root; cheap to clone and extend.
#[derive(Clone, Default)]
pub(super) struct Path(Option<Rc<Step>>);

struct Step {
    parent: Path,
    /// The position among its siblings; `None` if it is not in the document.
    position: Option<usize>,
    /// `None` for an item of a list.
    name: Option<String>,
}

impl Path {
    /// Returns the path of the entry number `position` of the map here.
    pub(super) fn entry(&self, position: usize, name: &str) -> Self {
        self.step(Some(position), Some(name.to_owned()))
    }

    /// Returns the path of the item number `position` of the list here.
    pub(super) fn item(&self, position: usize) -> Self {
        self.step(Some(position), None)
    }

    /// Returns the path of an entry that the map here lacks.
    pub(super) fn absent(&self, name: &str) -> Self {
        self.step(None, Some(name.to_owned()))
    }

    /// Returns the positions from the root, which document order compares. An absent entry has the
    /// place of its map.
    fn place(&self) -> Vec<usize> {
        let mut place: Vec<usize> = self.steps().filter_map(|step| step.position).collect();
        place.reverse();
        place
    }

    /// Returns an error at this path.
    pub(super) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError { path: self.to_string(), place: self.place(), problem }
    }

    fn step(&self, position: Option<usize>, name: Option<String>) -> Self {
        Self(Some(Rc::new(Step { parent: self.clone(), position, name })))
    }

    /// Iterates from the last step to the first.
    fn steps(&self) -> impl Iterator<Item = &Step> {
        core::iter::successors(self.0.as_deref(), |step| step.parent.0.as_deref())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(step) = &self.0 else { return Ok(()) };
        step.parent.fmt(f)?;
        let Some(name) = &step.name else {
            return write!(f, "[{}]", step.position.unwrap_or_default());
        };
        if step.parent.0.is_some() {
            f.write_str(".")?;
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.len() <= MAX_SHOWN && !name.is_empty() && name.chars().all(is_plain) {
            f.write_str(name)
        } else {
            f.write_str(&quoted(name))
        }
    }
}

/// Returns `text` in quotes, escaped, and cut if it is long.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

/// Returns `text`, cut if it is long.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_as_operators_would_write_it() {
        let limit = Path::default().entry(0, "tiers").entry(1, "free").entry(0, "limits").item(2);
        assert_eq!(limit.entry(3, "window").to_string(), "tiers.free.limits[2].window");
        assert_eq!(limit.place(), [0, 1, 0, 2]);
    }

    #[test]
    fn unusual_names_are_quoted() {
        let models = Path::default().entry(0, "models");
        assert_eq!(models.entry(0, "gpt-4.1 \n").to_string(), "models.\"gpt-4.1 \\n\"");
        assert_eq!(models.entry(0, "").to_string(), "models.\"\"");
        assert_eq!(
            models.entry(0, &"é".repeat(50)).to_string(),
            format!("models.\"{}…\"", "é".repeat(MAX_SHOWN))
        );
    }

    #[test]
    fn what_is_absent_is_placed_where_its_map_begins() {
        let tier = Path::default().entry(4, "free");
        assert_eq!(tier.absent("name").place(), tier.place());
        assert_eq!(tier.absent("name").to_string(), "free.name");
    }
}
