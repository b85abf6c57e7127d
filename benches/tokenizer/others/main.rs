//! Compares the filter's own tokenizer with three crates, natively, in one run.
//!
//! In: the texts of the other benchmark (`../corpus.rs`). Out, to standard output: a table with the
//! megabytes of each text that are counted in a second in `o200k_base`, as medians. The crates take
//! turns, so that a busy machine slows all of them. A crate that counts differently from
//! tiktoken-rs is marked with the difference. Not here: V8 and start-up (`../main.rs`).

#[path = "../corpus.rs"]
mod corpus;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use tollgate::tokens::{Encoding, Scratch};

const ROUNDS: usize = 15;
/// Long enough for the clock, and short enough that most rounds run without a stall.
const ROUND: Duration = Duration::from_millis(20);

/// Returns the number of tokens of a text.
type Count<'a> = Box<dyn FnMut(&str) -> usize + 'a>;

fn main() {
    let oracle = tiktoken_rs::o200k_base().expect("it embeds its ranks");
    let bpe_openai = bpe_openai::o200k_base();
    let tiktoken = tiktoken::get_encoding("o200k_base").expect("a feature of the crate");
    let mut scratch = Scratch::default();
    let mut crates: [(&str, Count<'_>); 4] = [
        ("tollgate", Box::new(|text| Encoding::O200k.count(text, &mut scratch).0 as usize)),
        ("tiktoken-rs", Box::new(|text| oracle.count_ordinary(text))),
        ("bpe-openai", Box::new(|text| bpe_openai.count(text))),
        ("tiktoken", Box::new(|text| tiktoken.count(text))),
    ];

    println!("| o200k_base, MB/s | {} |", crates.each_ref().map(|(name, _)| *name).join(" | "));
    println!("|---|{}", "---:|".repeat(crates.len()));
    for (name, text) in corpus::texts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."), &oracle) {
        let expected = oracle.count_ordinary(&text);
        let cells = speeds(&mut crates, &text).into_iter().zip(&mut crates).map(|(speed, (_, count))| {
            match count(&text).abs_diff(expected) {
                0 => format!("{speed:.0}"),
                off => format!("{speed:.0} ({off} tokens of {expected} off)"),
            }
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

/// Returns the megabytes that each of the crates counts in a second.
fn speeds(crates: &mut [(&str, Count<'_>)], text: &str) -> Vec<f64> {
    let mut rounds = vec![Vec::new(); crates.len()];
    // The first round warms up.
    for round in 0..=ROUNDS {
        for ((_, count), rounds) in crates.iter_mut().zip(&mut rounds) {
            let (start, mut bytes) = (Instant::now(), 0);
            while bytes == 0 || start.elapsed() < ROUND {
                black_box(count(black_box(text)));
                bytes += text.len();
            }
            if round > 0 {
                rounds.push(bytes as f64 / start.elapsed().as_secs_f64() / 1e6);
            }
        }
    }
    let median = |mut rounds: Vec<f64>| {
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    };
    rounds.into_iter().map(median).collect()
}
