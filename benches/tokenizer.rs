//! Compares the filter's own tokenizer with tiktoken-rs.
//!
//! In: texts of the kinds that prompts consist of. Out, to standard output: nanoseconds per KiB of
//! each, their ratio, time for hostile texts by length, and the start-up cost of tiktoken-rs. All
//! are medians of several rounds, because a shared machine stalls. Run by `cargo bench --bench
//! tokenizer`. Not here: checking the counts (`src/tokens/`).

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Debug;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tiktoken_rs::CoreBPE;
use tollgate::tokens::{Counter, Encoding, Scratch};

const ROUNDS: usize = 15;
/// Long enough for the clock, and short enough that most rounds run without a stall.
const ROUND: Duration = Duration::from_millis(20);

const ENGLISH: &str = "You are a careful assistant for a shipping company. Answer the customer's question in at \
    most three sentences, don't invent order numbers, and say so plainly if the parcel's location isn't known. \
    If the customer asks for a refund, explain that refunds take between five and ten business days, and offer \
    to open a ticket. Today is Tuesday, the 14th of October; the warehouse in Rotterdam was closed on Monday.\n";
const CODE: &str = "impl Iterator for Pieces<'_> {\n    type Item = usize;\n\n    fn next(&mut self) -> Option<usize> {\n        \
    let end = self.rest.find(|c: char| !c.is_alphanumeric())?; // keep the separator\n        if end > 0x7f && self.strict \
    { return None; }\n        self.count += 1;\n        Some(end)\n    }\n}\n";
const JSON: &str = r#"{"id":"ord_8f31c2","status":"in_transit","items":[{"sku":"TX-4471-B","quantity":2,"price_eur":19.95},{"sku":"AA-0032","quantity":1,"price_eur":104.5}],"shipped_at":"2025-10-13T08:41:22Z","address":{"city":"Rotterdam","postal_code":"3011 AD"}}"#;
const CHINESE: &str = "你是一家物流公司的客服助手。请用不超过三句话回答客户的问题，不要编造订单号；如果不知道包裹在哪里，就直接说明。\
    退款需要五到十个工作日，可以为客户开立工单。今天是十月十四日星期二，鹿特丹的仓库星期一休息。\n";
const EMOJI: &str =
    "Great news 🎉🎉 your order 📦 is on its way 🚚💨! Thanks 🙏🏽 from all of us 👩‍👩‍👧‍👦 🇳🇱🇩🇪 ❤️ 👍🏻👍🏿 🤷‍♀️\n";
const BASE64: &str = "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==";

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
    for (encoding, oracle) in [(Encoding::O200k, &o200k), (Encoding::Cl100k, &cl100k)] {
        compare(encoding, oracle);
    }
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

fn compare(encoding: Encoding, oracle: &CoreBPE) {
    println!("\n{encoding:?}, 1 KiB of   tokens     ours ns   tiktoken-rs ns   times faster");
    let mut scratch = Scratch::default();
    for (name, unit) in [
        ("English", ENGLISH),
        ("code", CODE),
        ("JSON", JSON),
        ("Chinese", CHINESE),
        ("emoji", EMOJI),
        ("base64", BASE64),
    ] {
        let text = kibibyte(unit);
        let tokens = encoding.count(&text, &mut scratch);
        assert_eq!(tokens.0, oracle.count_ordinary(&text) as u64, "{name}");
        let ours = median_ns(|| {
            black_box(encoding.count(black_box(&text), &mut scratch));
        });
        let theirs = median_ns(|| {
            black_box(oracle.count_ordinary(black_box(&text)));
        });
        println!("{name:16} {:>10} {ours:>11.0} {theirs:>16.0} {:>14.1}", tokens.0, theirs / ours);
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
    let mut state = 1_u64;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("below 26"))
    };
    (0..len).map(|_| letter()).collect()
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
