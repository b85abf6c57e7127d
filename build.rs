//! Writes the tokenizer's read-only tables into `OUT_DIR`.
//!
//! In: the ranks of tiktoken's encodings, from the crate tiktoken-rs, and Unicode's classes, from
//! regex-syntax, which tiktoken-rs uses too, so both agree on the Unicode version. Out: for each
//! encoding `<name>.{buckets,records,pair_bits,pair_first,pair_ranks,joined,torn}`, and
//! `class_{ascii,blocks,index}`, all little-endian. Not here: searching the tables
//! (`src/tokens/table.rs`).

#[path = "src/tokens/layout.rs"]
mod layout;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use layout::class;
use regex_syntax::hir::{Class, HirKind};
use tiktoken_rs::CoreBPE;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/tokens/layout.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // p50k_base is r50k_base with runs of spaces added at the end, so one table serves both.
    let encodings = [
        ("o200k", tiktoken_rs::o200k_base()),
        ("cl100k", tiktoken_rs::cl100k_base()),
        ("p50k", tiktoken_rs::p50k_base()),
    ];
    for (name, encoding) in encodings {
        write_vocabulary(&out, name, &vocabulary(&encoding.expect("tiktoken-rs embeds its ranks")));
    }
    write_classes(&out);
}

/// Returns every ordinary token by its rank.
fn vocabulary(encoding: &CoreBPE) -> BTreeMap<u32, Vec<u8>> {
    let special: HashSet<Vec<u8>> =
        encoding.special_tokens().into_iter().map(|text| text.as_bytes().to_vec()).collect();
    let tokens: BTreeMap<u32, Vec<u8>> = (0..1 << layout::RANK_BITS)
        .filter_map(|rank| Some((rank, encoding.decode_bytes(&[rank]).ok()?)))
        .filter(|(_, token)| !special.contains(token))
        .collect();
    assert_eq!(tokens.values().filter(|token| token.len() == 1).count(), 256, "every byte is a token");
    assert!(tokens.values().all(|token| token.len() <= layout::LONGEST_TOKEN));
    tokens
}

/// Writes the tables of one encoding. Omits tokens of one byte, because each byte is a token.
fn write_vocabulary(out: &Path, name: &str, tokens: &BTreeMap<u32, Vec<u8>>) {
    let write = |part: &str, bytes: &[u8]| write_file(out, &format!("{name}.{part}"), bytes);

    // About 1.5 tokens per bucket halves the offsets and adds few comparisons.
    let bucket_bits = tokens.len().next_power_of_two().ilog2() - 1;
    let mut buckets = vec![(0, Vec::new()); 1 << bucket_bits];
    let mut pairs = BTreeMap::new();
    for (rank, token) in tokens {
        if let [first, second] = token[..] {
            pairs.insert(u16::from_be_bytes([first, second]), *rank);
        } else if token.len() > 2 {
            let hash = layout::hash(token);
            let tag = layout::tag(hash, token.len());
            assert_eq!(layout::tagged_len(tag), token.len());
            let bucket = usize::try_from(hash >> (64 - bucket_bits)).expect("a few bits");
            let (present, records) = &mut buckets[bucket];
            *present |= layout::presence(hash);
            records.extend((tag << layout::RANK_BITS | rank).to_le_bytes());
            records.extend(token);
        }
    }
    let mut entries = Vec::new();
    let mut records: Vec<u8> = Vec::new();
    for (present, bucket) in &buckets {
        entries.extend((present | offset(records.len())).to_le_bytes());
        records.extend(bucket);
    }
    entries.extend(offset(records.len()).to_le_bytes());
    write("buckets", &entries);
    write("records", &records);

    // A bitmap of the pairs that exist, the number of pairs before each of its words, and the
    // pairs' ranks.
    let mut words = [0_u64; 1024];
    let mut first = [0_u16; 1024];
    for pair in pairs.keys() {
        words[usize::from(pair / 64)] |= 1 << (pair % 64);
    }
    for index in 1..words.len() {
        first[index] = first[index - 1] + u16::try_from(words[index - 1].count_ones()).expect("at most 64");
    }
    write("pair_bits", &words.map(u64::to_le_bytes).concat());
    write("pair_first", &first.map(u16::to_le_bytes).concat());
    write("pair_ranks", &pairs.values().flat_map(|rank| rank.to_le_bytes()).collect::<Vec<_>>());
    let (joined, torn) = boundaries(tokens);
    write("joined", &joined);
    write("torn", &torn);
}

/// Returns the bits of the boundaries of characters that a token lies across, and of those where
/// the token does not hold both characters whole. Of a token with one byte on a side, the byte
/// beyond may be any.
fn boundaries(tokens: &BTreeMap<u32, Vec<u8>>) -> (Vec<u8>, Vec<u8>) {
    let [mut joined, mut torn] =
        [layout::JOINED_BITS, layout::TORN_BITS].map(|bits| vec![0_u8; 1 << (bits - 3)]);
    let any: Vec<u8> = (0x80..0xc0).collect();
    for token in tokens.values() {
        for at in 1..token.len() {
            let is_whole = at >= 3 && token[at - 3] >= 0xe0 && at + 3 <= token.len();
            let before = at.checked_sub(2).map_or(&any[..], |before| &token[before..=before]);
            let after = token.get(at + 1).map_or(&any[..], std::slice::from_ref);
            for (first, last) in before.iter().flat_map(|first| after.iter().map(move |last| (first, last))) {
                let around = u32::from_le_bytes([*first, token[at - 1], token[at], *last]);
                if layout::is_boundary(around) {
                    set(&mut joined, layout::boundary_bits(around, layout::JOINED_BITS));
                    if !is_whole {
                        set(&mut torn, layout::boundary_bits(around, layout::TORN_BITS));
                    }
                }
            }
        }
    }
    (joined, torn)
}

fn set(bytes: &mut [u8], bits: [usize; 2]) {
    bits.iter().for_each(|bit| bytes[bit / 8] |= 1 << (bit % 8));
}

/// Writes the class bits of every character in blocks, and stores equal blocks once.
fn write_classes(out: &Path) {
    let mut classes = vec![class::SYMBOL | class::PREFIX; 0x11_0000];
    let mut mark = |pattern: &str, bits: u8| {
        let hir = regex_syntax::parse(pattern).expect("a valid class");
        let HirKind::Class(Class::Unicode(set)) = hir.kind() else { panic!("{pattern} is not a class") };
        for range in set.ranges() {
            for character in range.start()..=range.end() {
                classes[character as usize] = bits;
            }
        }
    };
    mark(r"\p{M}", class::SYMBOL | class::PREFIX | class::UPPER | class::LOWER);
    mark(r"[\p{Lu}\p{Lt}]", class::LETTER | class::UPPER);
    mark(r"\p{Ll}", class::LETTER | class::LOWER);
    mark(r"[\p{Lm}\p{Lo}]", class::LETTER | class::UPPER | class::LOWER);
    mark(r"\p{N}", class::NUMBER);
    mark(r"\s", class::SPACE | class::PREFIX);
    mark(r"[\r\n]", class::SPACE | class::NEWLINE);

    let mut blocks: Vec<&[u8]> = Vec::new();
    let mut index = Vec::new();
    for block in classes.chunks(1 << layout::CLASS_BLOCK_BITS) {
        let at = blocks.iter().position(|known| *known == block).unwrap_or_else(|| {
            blocks.push(block);
            blocks.len() - 1
        });
        index.push(u8::try_from(at).expect("at most 256 different blocks"));
    }
    write_file(out, "class_ascii", &classes[..128]);
    write_file(out, "class_blocks", &blocks.concat());
    write_file(out, "class_index", &index);
}

fn offset(len: usize) -> u32 {
    let offset = u32::try_from(len).expect("tables are a few megabytes");
    assert!(offset >> layout::OFFSET_BITS == 0, "an offset leaves no room for presence bits");
    offset
}

fn write_file(out: &Path, name: &str, bytes: &[u8]) {
    fs::write(out.join(name), bytes).expect("OUT_DIR is writable");
}
