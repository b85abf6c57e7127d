//! Suggests a name for a misspelt one.
//!
//! In: a word and the names that exist. Out: the nearest name, if it is near enough to be a typing
//! error. Not here: the meaning of the names.

/// The longest word in bytes that is compared. The work grows with the length, and no name is
/// longer.
const MAX_COMPARED: usize = 64;

/// Returns the name that differs least from `word`, if at most a third of its letters differ.
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

/// Counts the characters to insert, delete, replace or swap with their neighbour. Ignores case, and
/// treats `-` as `_`.
fn distance(from: &str, to: &str) -> usize {
    let fold = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let cost = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX);
    let to: Vec<char> = to.chars().map(fold).collect();
    // Three rows of the matrix: `row[n]` turns the letters of `from` so far into the first `n` of
    // `to`.
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (index, letter) in from.chars().map(fold).enumerate() {
        let mut left = index.saturating_add(1);
        let mut row = vec![left];
        let mut neighbour = None;
        for (at, &target) in to.iter().enumerate() {
            let replaced = cost(&above, at).saturating_add(usize::from(letter != target));
            let deleted = cost(&above, at.saturating_add(1)).saturating_add(1);
            left = replaced.min(deleted).min(left.saturating_add(1));
            if previous == Some(target) && neighbour == Some(letter) {
                left = left.min(cost(&before, at.saturating_sub(1)).saturating_add(1));
            }
            row.push(left);
            neighbour = Some(target);
        }
        before = core::mem::replace(&mut above, row);
        previous = Some(letter);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_replacements_and_swaps() {
        assert_eq!(distance("hihg", "high"), 1);
        assert_eq!(distance("iwndwo", "window"), 2);
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
