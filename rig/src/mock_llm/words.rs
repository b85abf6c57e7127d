//! The text of answers: a requested number of words, each of them one token.
//!
//! In: the requested [`Behaviour`] and the request's own bound. Out: a [`Text`], whole or in the
//! pieces of a stream, and whether the bound cut it. Not here: counting it, which the formats do on
//! the text sent.

use super::Behaviour;

/// The length of an answer if neither header nor request sets one.
const OUTPUT_TOKENS: usize = 20;

/// An answer's text.
pub(super) struct Text {
    words: Vec<&'static str>,
    /// Whether the request's bound cut the text.
    pub(super) cut: bool,
}

impl Text {
    /// Returns a text of the requested length, at most `allowed`.
    pub(super) fn of(behaviour: &Behaviour, allowed: Option<usize>) -> Self {
        let wanted = behaviour.output_tokens.unwrap_or(OUTPUT_TOKENS);
        let allowed = allowed.unwrap_or(usize::MAX);
        Self { words: words(wanted.min(allowed)), cut: wanted > allowed }
    }

    /// Returns the whole text.
    pub(super) fn whole(&self) -> String {
        self.words.concat()
    }

    /// Returns the pieces of a stream, one per chunk.
    pub(super) fn pieces(&self, behaviour: &Behaviour) -> impl Iterator<Item = String> {
        self.words.chunks(behaviour.tokens_per_chunk.unwrap_or(1)).map(<[_]>::concat)
    }

    /// Returns the number of tokens in each piece.
    pub(super) fn lengths(&self, behaviour: &Behaviour) -> impl Iterator<Item = usize> {
        self.words.chunks(behaviour.tokens_per_chunk.unwrap_or(1)).map(<[_]>::len)
    }
}

/// Returns `count` words, each of which is one token in both current encodings.
fn words(count: usize) -> Vec<&'static str> {
    let opening = ["The"].into_iter();
    opening.chain(WORDS.iter().copied().cycle()).take(count).collect()
}

const WORDS: &[&str] = &[
    " answer",
    " to",
    " your",
    " question",
    " is",
    " that",
    " water",
    " runs",
    " down",
    " the",
    " hill",
    " and",
    " rests",
    " in",
    " a",
    " lake",
    ",",
    " where",
    " it",
    " waits",
    " for",
    " the",
    " sun",
    ".",
    " Then",
    " the",
];

#[cfg(test)]
mod tests {
    use super::super::tokens::Counter;
    use super::*;

    #[test]
    fn a_text_of_so_many_words_has_so_many_tokens() {
        for model in ["gpt-4", "gpt-4o"] {
            for count in [0, 1, 2, 26, 27, 28, 200] {
                assert_eq!(Counter::for_model(model).text(&words(count).concat()), count, "{model}");
            }
        }
    }

    #[test]
    fn the_pieces_of_a_text_are_the_text() {
        let behaviour =
            Behaviour { output_tokens: Some(7), tokens_per_chunk: Some(3), ..Behaviour::default() };
        let text = Text::of(&behaviour, None);
        let pieces: Vec<_> = text.pieces(&behaviour).collect();
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces.concat(), text.whole());
    }

    #[test]
    fn a_text_is_cut_only_if_less_is_allowed_than_wished() {
        let behaviour = Behaviour { output_tokens: Some(7), ..Behaviour::default() };
        assert!(Text::of(&behaviour, Some(6)).cut);
        assert!(!Text::of(&behaviour, Some(7)).cut);
        assert!(!Text::of(&behaviour, None).cut);
    }
}
