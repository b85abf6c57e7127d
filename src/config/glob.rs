//! Patterns for names, with `*` only.
//!
//! In: a pattern such as `gpt-4o*`. Out: [`Glob`], which matches texts. Not here: `?`, character
//! classes and escapes, because no model or tool name needs them.

use core::fmt;

use memchr::memmem;

/// A pattern in which `*` stands for any text, including none. Everything else stands for itself,
/// case included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Creates a pattern; every text is valid.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// Returns whether the pattern matches the whole of `text`. Takes time linear in both lengths,
    /// because each piece between two stars is searched once, from the end of the piece before it.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.as_bytes().split(|&byte| byte == b'*');
        let Some(rest) = pieces.next().and_then(|prefix| text.as_bytes().strip_prefix(prefix)) else {
            return false;
        };
        let Some(suffix) = pieces.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(suffix) else { return false };
        for piece in pieces {
            let Some(at) = memmem::find(rest, piece) else { return false };
            rest = rest.get(at.saturating_add(piece.len())..).unwrap_or_default();
        }
        true
    }

    /// Returns whether it matches every text that `other` matches. Only a `*` of its own matches a
    /// `*` of the other, so it is enough to match the other as a text.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }

    /// Returns the pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_without_star_matches_only_itself() {
        assert!(Glob::new("gpt-4o").matches("gpt-4o"));
        assert!(!Glob::new("gpt-4o").matches("gpt-4o-mini"));
        assert!(!Glob::new("gpt-4o").matches("GPT-4o"));
        assert!(Glob::new("").matches(""));
        assert!(!Glob::new("").matches("a"));
    }

    #[test]
    fn a_star_matches_any_text_also_none() {
        assert!(Glob::new("*").matches(""));
        assert!(Glob::new("gpt-*").matches("gpt-"));
        assert!(Glob::new("*-mini").matches("gpt-4o-mini"));
        assert!(Glob::new("a*b*c").matches("a-b-b-c"));
        assert!(!Glob::new("a*b*c").matches("a-c-b"));
    }

    #[test]
    fn prefix_and_suffix_may_not_share_letters() {
        assert!(!Glob::new("ab*bc").matches("abc"));
        assert!(Glob::new("ab*bc").matches("abbc"));
    }

    #[test]
    fn a_pattern_covers_those_that_are_more_particular() {
        let covers = |one: &str, other: &str| Glob::new(one).covers(&Glob::new(other));
        assert!(covers("*", "gpt-4o") && covers("gpt-*", "gpt-4*-mini") && covers("a*", "a*"));
        assert!(!covers("gpt-4o", "gpt-*") && !covers("a*b", "a*") && !covers("*a", "a*"));
    }

    #[test]
    fn the_pattern_is_given_back_as_written() {
        assert_eq!(Glob::new("a**b").to_string(), "a**b");
    }

    /// Matches by the definition, in exponential time.
    fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                matches_by_definition(rest, text)
                    || text.split_first().is_some_and(|(_, text)| matches_by_definition(pattern, text))
            }
            ([p, pattern @ ..], [t, text @ ..]) => p == t && matches_by_definition(pattern, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = matches_by_definition(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }

        #[test]
        fn what_a_covered_pattern_matches_is_matched(one in "[ab*]{0,5}", other in "[ab*]{0,5}", text in "[ab]{0,6}") {
            let (one, other) = (Glob::new(&one), Glob::new(&other));
            prop_assert!(!one.covers(&other) || !other.matches(&text) || one.matches(&text));
        }
    }
}
