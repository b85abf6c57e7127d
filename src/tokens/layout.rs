//! The table layout shared by the build script, which writes the tables, and the code that reads
//! them.
//!
//! In: bytes of a token; a character's properties. Out: the hash that places a token, the header of
//! its record, the class bits of a character. Compiled into both. Not here: reading and writing the
//! tables.

/// The class bits of a character. The end of a text has none.
pub(crate) mod class {
    /// Lu, Lt, Lm, Lo, M: characters with which a word of `o200k_base` may begin.
    pub(crate) const UPPER: u8 = 1;
    /// Ll, Lm, Lo, M: characters with which a word of `o200k_base` may end. Lm, Lo and M are in
    /// both.
    pub(crate) const LOWER: u8 = 1 << 1;
    /// `\p{L}`
    pub(crate) const LETTER: u8 = 1 << 2;
    /// `\p{N}`
    pub(crate) const NUMBER: u8 = 1 << 3;
    /// `\s`
    pub(crate) const SPACE: u8 = 1 << 4;
    /// `[\r\n]`, a subset of `\s`
    pub(crate) const NEWLINE: u8 = 1 << 5;
    /// `[^\s\p{L}\p{N}]`, marks included
    pub(crate) const SYMBOL: u8 = 1 << 6;
    /// `[^\r\n\p{L}\p{N}]`: characters that may precede a word
    pub(crate) const PREFIX: u8 = 1 << 7;
}

/// The number of characters whose classes share one block of the class table, as a power of two.
pub(crate) const CLASS_BLOCK_BITS: u32 = 7;

/// The longest token of any encoding, in bytes. A longer piece cannot be one token.
pub(crate) const LONGEST_TOKEN: usize = 128;

/// The bits of a rank in a record's header. The other bits distinguish the records of one bucket.
pub(crate) const RANK_BITS: u32 = 18;

/// The bits of the hash in a header, beside the rank and the 8 bits of the length.
const FINGERPRINT_BITS: u32 = 6;

/// Returns a 64-bit hash whose highest bits choose the bucket.
///
/// One multiplication per eight bytes costs the same in wasm as natively, and the overlapping last
/// word saves a loop over the tail. Tokens are fixed at build time, so its collisions cannot be
/// attacked.
#[inline]
pub(crate) fn hash(token: &[u8]) -> u64 {
    let mut state = mix(token.len() as u64, 0);
    let mut rest = token;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        state = mix(state, u64::from_le_bytes(*word));
        rest = after;
    }
    let last = if let Some(word) = token.last_chunk::<8>() {
        u64::from_le_bytes(*word)
    } else if let (Some(low), Some(high)) = (token.first_chunk::<4>(), token.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*low)) | u64::from(u32::from_le_bytes(*high)) << 32
    } else {
        token.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    mix(state, last)
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93);
    product ^ (product >> 32)
}

/// The bits of an offset into the records. The other bits of a bucket's entry say which hashes the
/// bucket may hold.
pub(crate) const OFFSET_BITS: u32 = 22;

/// Returns the bit that a hash sets in its bucket's entry. Most byte strings looked up while
/// merging are not tokens, and this bit rejects most of those without reading the records.
#[inline]
pub(crate) fn presence(hash: u64) -> u32 {
    let bits = 32 - OFFSET_BITS;
    let bit = ((hash as u32 & 0xffff).wrapping_mul(bits)) >> 16;
    1_u32.wrapping_shl(OFFSET_BITS.wrapping_add(bit))
}

/// The bits that say across which boundaries a token may lie, as a power of two. Each boundary has
/// two of them, so that of those without a token 3 % seem to have one (in `o200k_base`).
pub(crate) const JOINED_BITS: u32 = 17;

/// The same bits for tokens that begin or end within one of the two characters.
pub(crate) const TORN_BITS: u32 = 16;

/// Returns whether the four bytes of a text, the first in the lowest byte, lie around the boundary
/// of two characters of at least three bytes each.
#[inline]
pub(crate) fn is_boundary(around: u32) -> bool {
    around & 0x00e0_c0c0 == 0x00e0_8080
}

/// Returns the places of the two bits for the four bytes around a boundary, among 2^`bits`, of
/// which there are at most 2^17.
#[inline]
pub(crate) fn boundary_bits(around: u32, bits: u32) -> [usize; 2] {
    let hash = u64::from(around).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let mask = 1_u32.wrapping_shl(bits).wrapping_sub(1);
    [hash.wrapping_shr(47), hash.wrapping_shr(30)].map(|part| (part as u32 & mask) as usize)
}

/// Returns the part of a token's header above its rank: the length and some bits of the hash. It
/// rejects a record of another token without comparing bytes.
#[inline]
pub(crate) fn tag(hash: u64, len: usize) -> u32 {
    let fingerprint = (hash & ((1 << FINGERPRINT_BITS) - 1)) as u32;
    (len as u32 & 0xff) << FINGERPRINT_BITS | fingerprint
}

/// Returns the length in bytes of the token that a tag belongs to.
#[inline]
pub(crate) fn tagged_len(tag: u32) -> usize {
    (tag >> FINGERPRINT_BITS) as usize
}
