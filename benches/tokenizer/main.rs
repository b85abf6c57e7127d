//! Compares the filter's own tokenizer, natively and in V8, with tiktoken-rs.
//!
//! In: texts of the kinds that prompts consist of (`corpus`). Out, to standard output: megabytes
//! per second of each, time for hostile texts by length, and the start-up cost of tiktoken-rs. All
//! are medians of several rounds, because a shared machine stalls. Run by `cargo bench --bench
//! tokenizer`, which builds the filter's tokenizer for wasm and runs it in Node; without Node there
//! are no numbers of V8. Not here: checking the counts beyond these texts (`src/tokens/`).
//!
//! Measured in V8 (Node 20) on two busy cores, MB/s of processor time in `o200k_base`, without and
//! with what `ascii`, `pieces` and `Vocabulary::first_cut` do, in turns: English 42 and 101, code
//! 31 and 97, JSON 37 and 74, Chinese 9 and 20, Japanese 11 and 31, Korean 26 and 35, Russian 16
//! and 15. Only the ratios hold on other machines.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod corpus;
mod v8;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Debug;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corpus::Random;
use tiktoken_rs::CoreBPE;
use tollgate::tokens::{Counter, Encoding, Scratch};

const ROUNDS: usize = 15;
/// Long enough for the clock, and short enough that most rounds run without a stall.
const ROUND: Duration = Duration::from_millis(20);

const ENGLISH: &str = "You are a careful assistant for a shipping company. Answer the customer's question in at \
    most three sentences, don't invent order numbers, and say so plainly if the parcel's location isn't known. \
    If the customer asks for a refund, explain that refunds take between five and ten business days, and offer \
    to open a ticket. Today is Tuesday, the 14th of October; the warehouse in Rotterdam was closed on Monday.\n";

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// An allocator that counts the bytes in use.
struct Counting;

#[expect(
    unsafe_code,
    reason = "the only way to see what is allocated; each call is the system allocator's own"
)]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller guarantees it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller guarantees it.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn main() {
    let o200k = start_up("o200k_base", tiktoken_rs::o200k_base);
    let cl100k = start_up("cl100k_base", tiktoken_rs::cl100k_base);
    own_start_up();
    let texts = corpus::texts(Path::new(env!("CARGO_MANIFEST_DIR")), &o200k);
    compare(&[(Encoding::O200k, o200k), (Encoding::Cl100k, cl100k)], &texts);
    hostile_texts();
    remembering();
}

fn start_up<E: Debug>(name: &str, build: fn() -> Result<CoreBPE, E>) -> CoreBPE {
    let (before, start) = (ALLOCATED.load(Ordering::Relaxed), Instant::now());
    let encoding = build().expect("tiktoken-rs embeds its ranks");
    let (took, grown) = (start.elapsed(), ALLOCATED.load(Ordering::Relaxed).saturating_sub(before));
    println!("start-up of tiktoken-rs {name}: {took:.1?}, {:.1} MiB of heap", grown as f64 / 1_048_576.0);
    encoding
}

fn own_start_up() {
    let (before, start) = (ALLOCATED.load(Ordering::Relaxed), Instant::now());
    let mut counter = Counter::new([1; 16]);
    black_box(counter.count_text(Encoding::O200k, ENGLISH));
    let (took, grown) = (start.elapsed(), ALLOCATED.load(Ordering::Relaxed).saturating_sub(before));
    println!("start-up of ours and a first call: {took:.1?}, {:.1} MiB of heap", grown as f64 / 1_048_576.0);
}

/// Compares, and prints the tokens of each text and the megabytes counted in a second.
fn compare(oracles: &[(Encoding, CoreBPE)], texts: &[(&str, String)]) {
    let in_v8 = v8::times(texts);
    for (at, (encoding, oracle)) in oracles.iter().enumerate() {
        println!("\n{encoding:?}, MB/s        KiB    tokens       ours   ours in V8   tiktoken-rs");
        let mut scratch = Scratch::default();
        for (place, (name, text)) in texts.iter().enumerate() {
            let tokens = encoding.count(text, &mut scratch).0;
            assert_eq!(tokens, oracle.count_ordinary(text) as u64, "{name}");
            let speed = |ns: f64| text.len() as f64 * 1000.0 / ns;
            let ours = speed(median_ns(|| {
                black_box(encoding.count(black_box(text), &mut scratch));
            }));
            let theirs = speed(median_ns(|| {
                black_box(oracle.count_ordinary(black_box(text)));
            }));
            let timed = in_v8.get(place * oracles.len() + at);
            let v8 = timed.map_or_else(String::new, |(counted, ns)| {
                assert_eq!(*counted, tokens, "{name} in V8");
                format!("{:.1}", speed(*ns))
            });
            println!("{name:16} {:>6} {tokens:>9} {ours:>10.1} {v8:>12} {theirs:>13.1}", text.len() / 1024);
        }
    }
}

/// Measures hostile texts. Time per KiB must not grow with the length, or one request could block a
/// worker.
fn hostile_texts() {
    println!("\nO200k, hostile           us of 1 KiB   us of 16 KiB    ms of 1 MiB");
    let mut scratch = Scratch::default();
    let letters = random_letters(1 << 20);
    for (name, text) in [
        ("random letters", letters.as_str()),
        ("one letter", &"a".repeat(1 << 20)),
        ("one capital", &"A".repeat(1 << 20)),
        ("spaces", &" ".repeat(1 << 20)),
        ("one mark", &"\u{301}".repeat(1 << 19)),
        ("rare characters", &"\u{a65e}\u{10a0}".repeat(1 << 17)),
    ] {
        let mut microseconds = |len: usize| {
            let part = &text[..text.floor_char_boundary(len)];
            median_ns(|| {
                black_box(Encoding::O200k.count(black_box(part), &mut scratch));
            }) / 1000.0
        };
        let (small, middle, large) = (microseconds(1 << 10), microseconds(1 << 14), microseconds(1 << 20));
        println!("{name:20} {small:>15.1} {middle:>14.1} {:>14.1}", large / 1000.0);
    }
}

/// Finds the length from which remembering a count pays for its hash.
fn remembering() {
    println!("\nO200k, bytes of English   counted ns   remembered ns");
    let (mut counter, mut scratch) = (Counter::new([1; 16]), Scratch::default());
    let text = kibibyte(ENGLISH);
    for len in [64, 128, 256, 1024] {
        let part = &text[..len];
        let counted = median_ns(|| {
            black_box(Encoding::O200k.count(black_box(part), &mut scratch));
        });
        let remembered = median_ns(|| {
            black_box(counter.count_text(Encoding::O200k, black_box(part)));
        });
        println!("{len:>23} {counted:>12.0} {remembered:>15.0}");
    }
}

fn kibibyte(unit: &str) -> String {
    let text = unit.repeat(1024_usize.div_ceil(unit.len()));
    text[..text.floor_char_boundary(1024)].to_owned()
}

fn random_letters(len: usize) -> String {
    let mut random = Random(1);
    (0..len).map(|_| char::from(b'a' + u8::try_from(random.next() % 26).expect("below 26"))).collect()
}

fn median_ns(mut run: impl FnMut()) -> f64 {
    run();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut runs) = (Instant::now(), 0_u32);
            while runs == 0 || start.elapsed() < ROUND {
                run();
                runs += 1;
            }
            start.elapsed().as_nanos() as f64 / f64::from(runs)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
