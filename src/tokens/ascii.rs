//! Splits off the next piece of a text if the piece and the character after it are ASCII and within
//! the next sixteen bytes, as most are.
//!
//! In: a full [`Window`]. Out: the length of the piece; 0 if `split` must find it. Both agree,
//! since each function restricts the expression quoted there to ASCII. Not here: `p50k_base` and
//! `r50k_base`, whose models are no longer sold.

use super::layout::class::{LETTER, LOWER, NEWLINE, NUMBER, PREFIX, SPACE, SYMBOL};
use super::table::class_of_ascii;
use super::window::{WINDOW, Window};

/// The length of a piece that is not found here.
const UNKNOWN: usize = 0;

/// Returns the length of the first piece by `o200k_base`.
#[inline]
pub(super) fn o200k(window: Window) -> usize {
    let first = class_at(window, 0);
    let start = usize::from(first & PREFIX != 0);
    let mut lower = start;
    while class_at(window, lower) & (LETTER | LOWER) == LETTER {
        lower = lower.wrapping_add(1);
    }
    let end = window.after_lower(lower.min(WINDOW));
    if end > start {
        // A contraction belongs to the word.
        return if window.byte(end) == b'\'' { UNKNOWN } else { within(window, end) };
    }
    other(window, first, true)
}

/// Returns the length of the first piece by `cl100k_base`.
#[inline]
pub(super) fn cl100k(window: Window) -> usize {
    let first = class_at(window, 0);
    let start = usize::from(first & PREFIX != 0);
    let end = window.after_letters(start);
    if end > start {
        // A contraction comes before a word with a prefix.
        return if window.byte(0) == b'\'' { UNKNOWN } else { within(window, end) };
    }
    other(window, first, false)
}

/// Returns the length of a piece that is not a word: numbers, symbols or white space.
#[inline]
fn other(window: Window, first: u8, slash_may_follow: bool) -> usize {
    if first & NUMBER != 0 {
        let mut end = 1;
        while end < 3 && class_at(window, end) & NUMBER != 0 {
            end = end.wrapping_add(1);
        }
        return if end == 3 { end } else { within(window, end) };
    }
    let after_space = usize::from(window.byte(0) == b' ');
    let end = run(window, after_space, SYMBOL);
    if end > after_space {
        let mut end = end;
        while matches!(window.byte(end), b'\r' | b'\n') || slash_may_follow && window.byte(end) == b'/' {
            end = end.wrapping_add(1);
        }
        return within(window, end);
    }
    let end = run(window, 0, SPACE);
    let end = within(window, end);
    if end < 2 {
        return end;
    }
    // Up to the last newline, or else all but the last character.
    let is_newline = |at: &usize| class_at(window, *at) & NEWLINE != 0;
    let last_newline = (0..end).rev().find(is_newline);
    last_newline.map_or_else(|| end.wrapping_sub(1), |at| at.wrapping_add(1))
}

/// Returns the end of the run of these classes that begins at `start`.
#[inline]
fn run(window: Window, start: usize, classes: u8) -> usize {
    let mut end = start;
    while class_at(window, end) & classes != 0 {
        end = end.wrapping_add(1);
    }
    end
}

/// Returns the class of an ASCII byte; none for other bytes and beyond the window.
#[inline]
fn class_at(window: Window, at: usize) -> u8 {
    if at < WINDOW { class_of_ascii(window.byte(at)) } else { 0 }
}

/// Returns the end of a piece, if an ASCII character follows within the window.
#[inline]
fn within(window: Window, end: usize) -> usize {
    if end < WINDOW && window.byte(end).is_ascii() { end } else { UNKNOWN }
}

#[cfg(test)]
mod tests {
    use super::super::split;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_pieces_are_found() {
        for (text, o200k_len, cl100k_len) in [
            (" Hello, world to all", 6, 6),
            ("helloWorld in camels", 5, 10),
            (" XMLHttp requests are", 8, 8),
            (" isn't it a contraction", 0, 4),
            ("1234 are many numbers", 3, 3),
            ("12 are not as many now", 2, 2),
            ("\":\"a string in JSON\"", 3, 3),
            (" ///\n/ comments in code", 6, 5),
            ("\n        indented code", 1, 1),
            ("    indented more code", 3, 3),
            (" \n\n  two empty lines", 3, 3),
            ("é is not ASCII, but long", 0, 0),
            (" caf\u{e9} is not ASCII but long", 0, 0),
            ("averyveryverylongword", 0, 0),
        ] {
            let window = Window::at(text.as_bytes());
            assert_eq!((o200k(window), cl100k(window)), (o200k_len, cl100k_len), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_piece_found_here_is_the_one_that_the_whole_expression_finds(
            text in prop_oneof!["[a-cX-Z' é1/\\r\\n\\t.\\x00]{17,20}", "[ -~]{17,20}", "[ \\n/a.]{17,20}", "[a-zé'B ]{17,20}"],
        ) {
            let window = Window::at(text.as_bytes());
            for (quick, whole) in [
                (o200k(window), split::o200k(text.as_bytes())),
                (cl100k(window), split::cl100k(text.as_bytes())),
            ] {
                prop_assert!(quick == UNKNOWN || quick == whole, "{} instead of {}: {:?}", quick, whole, text);
            }
        }
    }
}
