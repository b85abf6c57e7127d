//! Comparisons with tiktoken-rs, over texts that are easily split wrongly, and tests of the counter
//! as a whole.

use proptest::prelude::*;
use tiktoken_rs::CoreBPE;

use super::*;

fn encodings() -> [(Encoding, &'static CoreBPE); 4] {
    [
        (Encoding::O200k, tiktoken_rs::o200k_base_singleton()),
        (Encoding::Cl100k, tiktoken_rs::cl100k_base_singleton()),
        (Encoding::P50k, tiktoken_rs::p50k_base_singleton()),
        (Encoding::R50k, tiktoken_rs::r50k_base_singleton()),
    ]
}

/// Compares counts in every encoding.
fn assert_same(text: &str) {
    let mut scratch = Scratch::default();
    for (encoding, oracle) in encodings() {
        let expected = Tokens(oracle.count_ordinary(text) as u64);
        assert_eq!(encoding.count(text, &mut scratch), expected, "{encoding:?} of {text:?}");
    }
}

/// Pieces of text at which splitters differ from each other, or regular expressions backtrack.
const FRAGMENTS: &[&str] = &[
    "'s",
    "'S",
    "'\u{17f}",
    "'t",
    "'RE",
    "'Ve",
    "'vE",
    "'m",
    "'ll",
    "'lL",
    "'l",
    "'d",
    "'",
    "''",
    "\u{2019}s",
    "a",
    "A",
    "é",
    "É",
    "e\u{301}",
    "E\u{301}",
    "\u{301}",
    "\u{301}\u{302}",
    "\u{1c5}",
    "\u{2b0}",
    "\u{aa}",
    "\u{5d0}",
    "\u{905}\u{902}",
    "中",
    "文字",
    "ひらがな",
    "カタカナ",
    "한국어",
    "ไทย",
    "Русский",
    "ΑΒΓ",
    "αβγ",
    "\u{130}",
    "ß",
    "\u{df}S",
    "\u{212a}",
    "hello",
    "World",
    "HTTP",
    "camelCase",
    "snake_case",
    "x1",
    "0",
    "12",
    "1234",
    "1234567890",
    "٣",
    "\u{b2}",
    "Ⅷ",
    "½",
    " ",
    "  ",
    "   ",
    "        ",
    "\t",
    "\t\t",
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    " \n",
    "\n ",
    "\u{b}",
    "\u{c}",
    "\u{85}",
    "\u{a0}",
    "\u{1680}",
    "\u{2003}",
    "\u{2028}",
    "\u{2029}",
    "\u{202f}",
    "\u{3000}",
    "\u{200b}",
    "\u{feff}",
    "\u{0}",
    "/",
    "//",
    "!",
    "!!",
    "?!/\n",
    "...",
    "{\"",
    "\":",
    "\\n",
    "<|endoftext|>",
    "=",
    "====",
    "-",
    "_",
    "€",
    "→",
    "😀",
    "👩\u{200d}👩\u{200d}👧",
    "🇩🇪",
    "👍🏽",
    "\u{e000}",
    "\u{10ffff}",
    "\u{fffd}",
    "aaaa",
    "abababab",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn any_text_counts_as_the_oracle_counts_it(text in any::<String>()) {
        assert_same(&text);
    }

    #[test]
    fn text_of_hard_fragments_counts_as_the_oracle_counts_it(
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..24),
    ) {
        assert_same(&fragments.concat());
    }

    #[test]
    fn text_of_few_classes_counts_as_the_oracle_counts_it(text in "[aAʰא\u{301}ǅ' \n1!ſsS]{0,24}") {
        assert_same(&text);
    }

    #[test]
    fn runs_without_a_boundary_count_as_the_oracle_counts_them(
        text in prop_oneof!["[a-c]{1,300}", "[a-z]{1,200}", "[ぁ-ん]{1,80}", "[=*_ -]{1,300}", "[\\x20]{1,300}"],
    ) {
        assert_same(&text);
    }

    #[test]
    fn runs_of_characters_of_three_bytes_count_as_the_oracle_counts_them(
        text in prop_oneof!["[一-龥]{1,40}", "[的一是不了人我在有他这中大来上国]{1,40}", "[ぁ-ヿ一-龥、。]{1,40}", "[가-힣]{1,40}", "[ก-๛]{1,40}", "[\u{900}-\u{97f}]{1,40}", "[一-三😀é]{1,40}"],
    ) {
        assert_same(&text);
    }

    #[test]
    fn text_of_tokens_counts_as_the_oracle_counts_it(
        ranks in prop::collection::vec(0..199_998_u32, 1..30),
        is_asian in any::<bool>(),
    ) {
        let oracle = tiktoken_rs::o200k_base_singleton();
        let tokens = ranks.into_iter().filter_map(|rank| String::from_utf8(oracle.decode_bytes(&[rank]).unwrap()).ok());
        let text: String = tokens.filter(|token| !is_asian || token.as_bytes()[0] >= 0xe0).collect();
        assert_same(&text);
    }

    #[test]
    fn text_counts_the_same_whatever_was_counted_before(
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(FRAGMENTS), 1..40), 1..8),
    ) {
        let mut scratch = Scratch::default();
        for text in texts.iter().map(|fragments| fragments.concat()) {
            for (encoding, oracle) in encodings() {
                prop_assert_eq!(encoding.count(&text, &mut scratch), Tokens(oracle.count_ordinary(&text) as u64));
            }
        }
    }

    #[test]
    fn a_counter_answers_the_same_when_it_has_seen_the_text(
        fragments in prop::collection::vec(prop::sample::select(FRAGMENTS), 40..80),
    ) {
        let text = fragments.concat();
        let mut counter = Counter::new([3; 16]);
        for _ in 0..2 {
            for (encoding, oracle) in encodings() {
                let expected = Tokens(oracle.count_ordinary(&text) as u64);
                prop_assert_eq!(counter.count_text(encoding, &text), expected);
            }
        }
    }
}

#[test]
fn every_pair_of_hard_fragments_counts_as_the_oracle_counts_it() {
    for first in FRAGMENTS {
        for second in FRAGMENTS {
            assert_same(&[*first, *second].concat());
        }
    }
}

#[test]
fn every_character_has_the_class_the_oracle_splits_by() {
    // Each class of character is split differently between letters, digits and spaces. The planes
    // left out have no assigned characters, or private ones only.
    let planes = (0..0x3_4000_u32).chain(0xe_0000..0xe_1000).chain(0x10_ff00..0x11_0000);
    for block in planes.step_by(64) {
        let text: String = (block..block + 64)
            .filter_map(char::from_u32)
            .flat_map(|c| ['a', c, 'B', c, '1', c, ' ', c])
            .collect();
        assert_same(&text);
    }
}

#[test]
fn every_token_of_several_characters_of_three_bytes_counts_as_the_oracle_counts_it_among_others() {
    let (oracle, mut scratch) = (tiktoken_rs::o200k_base_singleton(), Scratch::default());
    let tokens =
        (0..199_998).filter_map(|rank| String::from_utf8(oracle.decode_bytes(&[rank]).unwrap()).ok());
    let tokens: Vec<_> = tokens.filter(|token| token.len() > 3 && token.as_bytes()[0] >= 0xe0).collect();
    for (at, token) in tokens.iter().enumerate() {
        let other = &tokens[at * 7919 % tokens.len()];
        let rest: String = other.chars().skip(1).collect();
        let text = [other, token, &rest, token].map(|part| &**part).concat();
        let expected = Tokens(oracle.count_ordinary(&text) as u64);
        assert_eq!(Encoding::O200k.count(&text, &mut scratch), expected, "{text}");
    }
}

#[test]
fn very_long_runs_count_as_the_oracle_counts_them() {
    for unit in ["a", "A", "ab", " ", "\n", "=", "7", "中", "é", "qwertyuiop", "\u{301}", "'", "!\n"] {
        assert_same(&unit.repeat(4000 / unit.len()));
    }
}

#[test]
fn a_cut_in_an_endless_run_moves_the_count_by_little() {
    let mut state = 1_u32;
    let text: String = (0..100_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        })
        .collect();
    let cuts = text.len() as u64 / bpe::LONGEST_PIECE as u64;
    for (encoding, oracle) in encodings() {
        let exact = oracle.count_ordinary(&text) as u64;
        let counted = encoding.count(&text, &mut Scratch::default()).0;
        assert!(counted.abs_diff(exact) <= 2 * cuts, "{encoding:?}: {counted} instead of {exact}");
    }
}
