//! Splits off the first piece of a text; an encoding never merges across pieces.
//!
//! In: a text, or the rest of one. Out: the length of its first piece. Each splitter accepts
//! exactly the language of the encoding's regular expression, in time linear in the text. The
//! expressions are from OpenAI's tiktoken, `openai_public.py`, and quoted at the functions. They
//! are kept out of the loop over the pieces, most of which `ascii` finds. Not here: tokens.

use super::layout::class::{LETTER, LOWER, NEWLINE, NUMBER, PREFIX, SPACE, SYMBOL, UPPER};
use super::table::{class_of, class_of_ascii};

/// Returns the length of the first piece by `o200k_base`:
///
/// ```text
///   [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// | [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// | \p{N}{1,3} | ?[^\s\p{L}\p{N}]+[\r\n/]* | \s*[\r\n]+ | \s+(?!\S) | \s+
/// ```
#[inline(never)]
pub(super) fn o200k(text: &[u8]) -> usize {
    let start = Cursor { text, at: 0 };
    if let Some(word) = start.cased_word() {
        return word.contraction(Case::Any).unwrap_or(word).at;
    }
    start
        .up_to_three_numbers()
        .or_else(|| start.symbols(b"\r\n/"))
        .unwrap_or_else(|| start.spaces(Newlines::BeforeEnd))
        .at
}

/// Returns the length of the first piece by `cl100k_base`:
///
/// ```text
/// '(?i:[sdmt]|ll|ve|re) | [^\r\n\p{L}\p{N}]?+\p{L}++ | \p{N}{1,3}+ | ?[^\s\p{L}\p{N}]++[\r\n]*+
/// | \s++$ | \s*[\r\n] | \s+(?!\S) | \s
/// ```
#[inline(never)]
pub(super) fn cl100k(text: &[u8]) -> usize {
    let start = Cursor { text, at: 0 };
    start
        .contraction(Case::Any)
        .or_else(|| start.after_one(PREFIX).run(LETTER))
        .or_else(|| start.up_to_three_numbers())
        .or_else(|| start.symbols(b"\r\n"))
        .unwrap_or_else(|| start.spaces(Newlines::AfterEnd))
        .at
}

/// Returns the length of the first piece by `p50k_base` and `r50k_base`:
///
/// ```text
/// '(?:[sdmt]|ll|ve|re) | ?\p{L}++ | ?\p{N}++ | ?[^\s\p{L}\p{N}]++ | \s++$ | \s+(?!\S) | \s
/// ```
#[inline(never)]
pub(super) fn p50k(text: &[u8]) -> usize {
    let start = Cursor { text, at: 0 };
    let after_space = start.after_byte(b' ');
    start
        .contraction(Case::Lower)
        .or_else(|| after_space.run(LETTER))
        .or_else(|| after_space.run(NUMBER))
        .or_else(|| start.symbols(b""))
        .unwrap_or_else(|| start.spaces(Newlines::LikeSpaces))
        .at
}

/// Whether a contraction may be in capitals.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    Any,
    Lower,
}

/// When newlines in a run of white space end the piece, with everything before them.
#[derive(Clone, Copy, PartialEq)]
enum Newlines {
    /// Always, even if only white space follows until the text's end.
    BeforeEnd,
    /// Unless only white space follows until the text's end.
    AfterEnd,
    /// Never: they count like other white space.
    LikeSpaces,
}

/// A position in a text, always between two characters.
#[derive(Clone, Copy)]
struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Returns the class of the next character and its length; `(0, 0)` at the end.
    #[inline]
    fn look(self) -> (u8, usize) {
        match self.text.get(self.at) {
            None => (0, 0),
            Some(&byte) if byte < 0x80 => (class_of_ascii(byte), 1),
            Some(&lead) => self.look_beyond_ascii(lead),
        }
    }

    fn look_beyond_ascii(self, lead: u8) -> (u8, usize) {
        let byte = |offset| {
            u32::from(self.text.get(self.at.wrapping_add(offset)).copied().unwrap_or_default()) & 0x3f
        };
        let lead = u32::from(lead);
        let (character, width) = match lead {
            ..0xe0 => ((lead & 0x1f) << 6 | byte(1), 2),
            0xe0..0xf0 => ((lead & 0x0f) << 12 | byte(1) << 6 | byte(2), 3),
            _ => ((lead & 0x07) << 18 | byte(1) << 12 | byte(2) << 6 | byte(3), 4),
        };
        (class_of(character), width)
    }

    #[inline]
    fn byte(self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn skip(self, bytes: usize) -> Self {
        Self { at: self.at.wrapping_add(bytes), ..self }
    }

    /// Skips one character of these classes, if it is next.
    #[inline]
    fn after_one(self, classes: u8) -> Self {
        let (class, width) = self.look();
        if class & classes == 0 { self } else { self.skip(width) }
    }

    /// Skips this byte, if it is next.
    #[inline]
    fn after_byte(self, byte: u8) -> Self {
        if self.byte() == Some(byte) { self.skip(1) } else { self }
    }

    /// Skips all characters of these classes; `None` if there are none.
    #[inline]
    fn run(self, classes: u8) -> Option<Self> {
        let mut cursor = self;
        loop {
            let (class, width) = cursor.look();
            if class & classes == 0 {
                return (cursor.at != self.at).then_some(cursor);
            }
            cursor = cursor.skip(width);
        }
    }

    /// Matches the first two alternatives of `o200k_base` without their contraction.
    ///
    /// Lm, Lo and M may stand in both halves of a word, and the first half is greedy. If no
    /// character follows that only the second half accepts, the first half gives back up to its
    /// last such character. A mark is also a possible prefix; the prefix gives it back if there is
    /// no other match.
    #[inline]
    fn cased_word(self) -> Option<Self> {
        let (first_class, first_width) = self.look();
        let head = if first_class & PREFIX == 0 { self } else { self.skip(first_width) };
        let mut cursor = head;
        let mut after_last_of_both = None;
        let class = loop {
            let (class, width) = cursor.look();
            if class & UPPER == 0 {
                break class;
            }
            cursor = cursor.skip(width);
            if class & LOWER != 0 {
                after_last_of_both = Some(cursor);
            }
        };
        if class & LOWER != 0 {
            return cursor.run(LOWER);
        }
        if after_last_of_both.is_some() {
            return after_last_of_both;
        }
        let is_mark = first_class & PREFIX != 0 && first_class & LOWER != 0;
        if is_mark {
            return Some(head);
        }
        (cursor.at != head.at).then_some(cursor)
    }

    /// Matches `'s`, `'t`, `'m`, `'d`, `'ll`, `'ve`, `'re`. [`Case::Any`] includes `ſ`, which folds
    /// to `s`.
    #[inline]
    fn contraction(self, case: Case) -> Option<Self> {
        if self.byte() != Some(b'\'') {
            return None;
        }
        let rest = self.text.get(self.at.wrapping_add(1)..)?;
        let fold = |byte: u8| if case == Case::Any { byte.to_ascii_lowercase() } else { byte };
        let letters = match *rest {
            [0xc5, 0xbf, ..] if case == Case::Any => 2,
            [one, ..] if matches!(fold(one), b's' | b'd' | b'm' | b't') => 1,
            [one, two, ..] if matches!(&[fold(one), fold(two)], b"ll" | b"ve" | b"re") => 2,
            _ => return None,
        };
        Some(self.skip(letters).skip(1))
    }

    /// Matches `\p{N}{1,3}`.
    #[inline]
    fn up_to_three_numbers(self) -> Option<Self> {
        let end = self.after_one(NUMBER).after_one(NUMBER).after_one(NUMBER);
        (end.at != self.at).then_some(end)
    }

    /// Matches ` ?[^\s\p{L}\p{N}]+`, then any of the trailing bytes.
    #[inline]
    fn symbols(self, trailing: &[u8]) -> Option<Self> {
        let mut cursor = self.after_byte(b' ').run(SYMBOL)?;
        while cursor.byte().is_some_and(|byte| trailing.contains(&byte)) {
            cursor = cursor.skip(1);
        }
        Some(cursor)
    }

    /// Matches the alternatives for white space: a whole run at the end of the text, or up to the
    /// run's last newline, or else all but the last character, which may begin the next piece. A
    /// run of one character matches whole.
    fn spaces(self, newlines: Newlines) -> Self {
        let mut cursor = self;
        let mut before_last = self;
        let mut after_newline = None;
        let at_end = loop {
            let (class, width) = cursor.look();
            if class & SPACE == 0 {
                break width == 0;
            }
            before_last = cursor;
            cursor = cursor.skip(width);
            if class & NEWLINE != 0 {
                after_newline = Some(cursor);
            }
        };
        let after_newline = match newlines {
            Newlines::BeforeEnd => after_newline,
            Newlines::AfterEnd if !at_end => after_newline,
            Newlines::AfterEnd | Newlines::LikeSpaces => None,
        };
        let whole = at_end || before_last.at == self.at;
        after_newline.unwrap_or(if whole { cursor } else { before_last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(first: fn(&[u8]) -> usize, text: &str) -> Vec<&str> {
        let mut rest = text;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(first(rest.as_bytes()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }

    #[test]
    fn o200k_cuts_words_where_capitals_begin_and_keeps_contractions() {
        assert_eq!(pieces(o200k, "HelloWorld isn't XMLHttp"), ["Hello", "World", " isn't", " XMLHttp"]);
    }

    #[test]
    fn a_mark_before_capitals_is_a_word_of_its_own_in_o200k() {
        assert_eq!(pieces(o200k, "\u{301}AB"), ["\u{301}", "AB"]);
        assert_eq!(pieces(o200k, "AB\u{301}CD"), ["AB\u{301}", "CD"]);
    }

    #[test]
    fn cl100k_cuts_contractions_off_in_any_case() {
        assert_eq!(pieces(cl100k, "don'T it'\u{17f} 'lla"), ["don", "'T", " it", "'\u{17f}", " '", "lla"]);
    }

    #[test]
    fn p50k_knows_contractions_in_lower_case_only() {
        assert_eq!(pieces(p50k, "don't DON'T"), ["don", "'t", " DON", "'", "T"]);
    }

    #[test]
    fn numbers_come_in_threes_except_in_p50k() {
        assert_eq!(pieces(o200k, " 12345"), [" ", "123", "45"]);
        assert_eq!(pieces(cl100k, "12345"), ["123", "45"]);
        assert_eq!(pieces(p50k, " 12345"), [" 12345"]);
    }

    #[test]
    fn newlines_at_the_end_of_a_text_stay_with_spaces_in_cl100k_only() {
        assert_eq!(pieces(o200k, "a \n  "), ["a", " \n", "  "]);
        assert_eq!(pieces(cl100k, "a \n  "), ["a", " \n  "]);
        assert_eq!(pieces(cl100k, "a \n  b"), ["a", " \n", " ", " b"]);
        assert_eq!(pieces(p50k, "a \n  b"), ["a", " \n ", " b"]);
    }
}
