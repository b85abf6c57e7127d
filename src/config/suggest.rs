//! Guesses which name was meant by a misspelt one.
//!
//! In: a word and the names that exist. Out: the nearest name, if it is near enough to be a slip of the
//! fingers. Not here: any knowledge of what the names are for.

/// Longer words than any name could be are not compared: the work grows with their length.
const MAX_COMPARED: usize = 64;

/// The name that differs least from `word`, if at most a third of its letters differ.
pub(super) fn nearest(word: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let near = |name: &&str| 1.max(name.chars().count() / 3);
    names
        .into_iter()
        .map(|name| (distance(word, name), name))
        .filter(|(distance, name)| *distance <= near(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters, ignoring case and taking `-` for `_`, which cost nothing to mix up.
fn distance(from: &str, to: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let to: Vec<char> = to.chars().map(fold).collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().map(fold).enumerate() {
        // `diagonal` and `left` are the neighbours in the matrix of which `costs` keeps only one row.
        let mut diagonal = row;
        let mut left = row.saturating_add(1);
        let mut cells = costs.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, &target) in cells.zip(&to) {
            let substituted = diagonal.saturating_add(usize::from(letter != target));
            diagonal = *cell;
            left = substituted.min(left.saturating_add(1)).min(cell.saturating_add(1));
            *cell = left;
        }
    }
    costs.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_and_substitutions() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "max"), 3);
        assert_eq!(distance("max", ""), 3);
        assert_eq!(distance("On-Abort", "on_abort"), 0);
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        assert_eq!(nearest("windw", ["max", "window", "win"]), Some("window"));
        assert_eq!(nearest("mx", ["max", "window"]), Some("max"));
    }

    #[test]
    fn a_word_unlike_every_name_gets_no_suggestion() {
        assert_eq!(nearest("colour", ["max", "window"]), None);
        assert_eq!(nearest(&"max".repeat(100), ["max"]), None);
    }
}
