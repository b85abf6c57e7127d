//! Texts to count, of the kinds that prompts consist of.
//!
//! In: this repository, and the tokens of `o200k_base`. Out: texts of up to 512 KiB, which hold
//! more words than any cache. English, code and JSON are the repository's own. Other languages are
//! made of the tokens in their script, the frequent ones more often by Zipf's law, with rarer words
//! in between, for there is no text of them at hand. Not here: hostile texts.

use std::fs;
use std::path::Path;

use tiktoken_rs::CoreBPE;

const LONGEST: usize = 512 * 1024;

/// Each text, with its name; `root` is the folder of this repository.
pub(crate) fn texts(root: &Path, o200k: &CoreBPE) -> Vec<(&'static str, String)> {
    let mut texts = vec![
        (
            "English",
            read(
                &[root.join("docs").as_path(), &root.join("ARCHITECTURE.md"), &root.join("README.md")],
                "md",
            ),
        ),
        ("code", read(&[&root.join("src")], "rs")),
        ("JSON", read(&[&root.join("tests/golden")], "json")),
    ];
    let tokens: Vec<String> =
        (256..199_000).filter_map(|rank| String::from_utf8(o200k.decode_bytes(&[rank]).ok()?).ok()).collect();
    for (name, script, comma, stop) in SCRIPTS {
        texts.push((name, made(&tokens, *script, comma, stop)));
    }
    texts
}

/// A language's name, the letters of its script, its comma and its full stop.
type Script = (&'static str, fn(char) -> bool, &'static str, &'static str);

const SCRIPTS: &[Script] = &[
    ("Chinese", |c| matches!(c, '\u{4e00}'..='\u{9fff}'), "，", "。\n"),
    ("Japanese", |c| matches!(c, '\u{3041}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}'), "、", "。\n"),
    ("Korean", |c| matches!(c, '\u{ac00}'..='\u{d7a3}' | ' '), ",", ".\n"),
    ("Russian", |c| matches!(c, '\u{410}'..='\u{44f}' | ' '), ",", ".\n"),
    ("Arabic", |c| matches!(c, '\u{621}'..='\u{64a}' | ' '), "،", ".\n"),
    ("Hindi", |c| matches!(c, '\u{900}'..='\u{97f}' | ' '), ",", "।\n"),
];

/// Returns the files of a kind in folders, in the order of their names, up to [`LONGEST`] bytes.
fn read(places: &[&Path], extension: &str) -> String {
    let mut text = String::new();
    for place in places {
        add(place, extension, &mut text);
    }
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

fn add(place: &Path, extension: &str, text: &mut String) {
    if place.is_dir() {
        let entries = fs::read_dir(place).expect("the repository is readable");
        let mut inside: Vec<_> = entries.map(|entry| entry.expect("the same").path()).collect();
        inside.sort();
        inside.iter().for_each(|place| add(place, extension, text));
    } else if place.extension().is_some_and(|found| found == extension) {
        text.push_str(&fs::read_to_string(place).expect("the same"));
    }
}

/// Returns a text of words in a script. A word is a token, or now and then several rare ones.
fn made(tokens: &[String], is_of_script: fn(char) -> bool, comma: &str, stop: &str) -> String {
    let words: Vec<&str> = tokens
        .iter()
        .map(String::as_str)
        .filter(|word| word.chars().all(is_of_script) && *word != " ")
        .collect();
    let mut random = Random(1);
    let mut text = String::new();
    for place in 1.. {
        if text.len() >= LONGEST {
            break;
        }
        let frequent = (words.len() as f64).powf(random.fraction()) as usize - 1;
        let rare = random.fraction() < 0.08;
        text.push_str(words[frequent]);
        if rare {
            for _ in 0..2 {
                text.push_str(words[(words.len() as f64 * random.fraction()) as usize].trim_start());
            }
        }
        text.push_str(if place % 30 == 0 {
            stop
        } else if place % 8 == 0 {
            comma
        } else {
            ""
        });
    }
    text
}

/// A generator of numbers that look random, the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below 2^31.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }

    /// Returns a number from 0 to below 1.
    fn fraction(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 31) as f64
    }
}
