//! Lists whose items must all be distinct.
//!
//! In: the items of a list and, for rows, the option that distinguishes them. Out: the list, or an
//! error at each item that an earlier one covers, with the paths of both. Not here: the keys of
//! maps, which no document may repeat (`tree`).

use super::reader::Node;

/// Reads a list of distinct items, or its only item without the brackets.
pub fn set<T: PartialEq>(item: impl Fn(&Node<'_>) -> Option<T>) -> impl Fn(&Node<'_>) -> Option<Vec<T>> {
    move |node| {
        let Some(items) = node.items() else { return item(node).map(|only| vec![only]) };
        let items = items.filter_map(|node| Some((node.read(&item)?, node))).collect();
        Some(uncovered(items, T::eq))
    }
}

/// Reads a list of rows that their option `name` distinguishes. No row may be covered by an earlier
/// one.
pub fn rows<T>(
    name: &'static str,
    row: impl Fn(&Node<'_>) -> Option<T>,
    covers: impl Fn(&T, &T) -> bool,
) -> impl Fn(&Node<'_>) -> Option<Vec<T>> {
    move |node| match node.items() {
        Some(items) => {
            let rows = items.filter_map(|node| Some((node.read(&row)?, node.entry(name)?)));
            Some(uncovered(rows.collect(), &covers))
        }
        None => node.unexpected("a list"),
    }
}

/// Returns the items and reports each one that an earlier one covers, at its node.
pub fn uncovered<T>(items: Vec<(T, Node<'_>)>, covers: impl Fn(&T, &T) -> bool) -> Vec<T> {
    for (position, (item, node)) in items.iter().enumerate() {
        let first = items.iter().take(position).find(|(earlier, _)| covers(earlier, item));
        if let Some((_, earlier)) = first {
            node.covered_by::<()>(earlier);
        }
    }
    items.into_iter().map(|(item, _)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Glob, Kind, Section, Value, kind, read_tree, required};

    fn read<T>(text: &str, list: impl Fn(&Node<'_>) -> Option<Vec<T>>) -> Result<Vec<T>, String> {
        let tree: Value = serde_json::from_str(text).unwrap();
        read_tree(&tree, list).map_err(|errors| errors.to_string())
    }

    static ROW: Section = Section::new("rows[]", "", &[required("match", Kind::Glob, "")]);

    fn globs(text: &str) -> Result<Vec<Glob>, String> {
        let row = |node: &Node<'_>| node.section(&ROW).read("match", kind::glob);
        read(text, rows("match", row, Glob::covers))
    }

    #[test]
    fn an_item_that_is_given_twice_is_reported_with_both_paths() {
        assert_eq!(read(r#"["a", "b"]"#, set(kind::name)), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read(r#""a""#, set(kind::name)), Ok(vec!["a".to_owned()]));
        assert_eq!(
            read(r#"["a", "b", "a", "a"]"#, set(kind::name)),
            Err("[2]: \"a\" repeats [0]\n[3]: \"a\" repeats [0]".to_owned())
        );
    }

    #[test]
    fn a_row_that_an_earlier_one_covers_is_reported_with_both_paths() {
        let specific_first = r#"[{ "match": "gpt-4o-mini*" }, { "match": "gpt-4o*" }, { "match": "*" }]"#;
        assert_eq!(globs(specific_first).map(|globs| globs.len()), Ok(3));
        assert_eq!(
            globs(r#"[{ "match": "gpt-*" }, { "match": "o1" }, { "match": "gpt-4o*" }, { "match": "o1" }]"#),
            Err("[2].match: \"gpt-4o*\" has no effect, because [0].match is \"gpt-*\"\n\
                 [3].match: \"o1\" repeats [1].match"
                .to_owned())
        );
    }

    #[test]
    fn an_item_that_cannot_be_read_is_reported_for_that_alone() {
        assert_eq!(
            read(r#"["a", 1, "a"]"#, set(kind::name)),
            Err("[1]: 1 is not a text: put it in quotes\n[2]: \"a\" repeats [0]".to_owned())
        );
        assert_eq!(globs("7"), Err("configuration: 7 is not a list".to_owned()));
    }
}
