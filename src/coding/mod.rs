//! Content codings: decodes compressed bodies while they pass.
//!
//! In: the `content-encoding` of a message and its body in pieces of any size. Out: the decoded
//! bytes in blocks, each as soon as the pieces so far contain it, or the reason why there are none.
//! Not here: changes to the message. The peer gets the coded bytes as they were sent; the decoded
//! ones are only read, so bytes behind the end of the coded data are ignored.
//!
//! A coded body is untrusted input. No bytes can make a decoder panic, and its time is bounded by
//! its input and its bounded output. Each coding's module says how much memory one stream needs.
//!
//! Source: RFC 9110, sections 8.4 and 8.4.1.

mod brotli;
mod deflate;
mod gzip;
mod zstd;

use std::fmt;

/// The most codings that a body may have. Two are already rare, and each costs a decoder.
const DEEPEST: usize = 3;

/// The size in bytes of the blocks in which brotli and zstd return decoded data. Blocks of deflate
/// are at most as long as its window.
const BLOCK: usize = 8 * 1024;

/// The bytes that a watched body may decode to at once, whatever its length: about 40 ms of
/// reading.
const UNSUSPICIOUS: usize = 4 * 1024 * 1024;

/// The bytes that a watched body may decode to beyond [`UNSUSPICIOUS`], per byte of its own.
/// Flushed events that repeat each other reach 20 or 30, a decompression bomb 1,000 and more.
const LARGEST_RATIO: usize = 64;

/// The bound grows after every `STEP` bytes of the body, so that it does not depend on how the body
/// is cut.
const STEP: usize = 4 * 1024;

/// A content coding that this module can decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, also called `x-gzip`.
    Gzip,
    /// `deflate`: zlib, or the bare deflate data that some servers send under this name.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// The codings of a body, one to three, in the order in which they were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

/// The meaning of a `content-encoding` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The body is not coded.
    Identity,
    /// The body can be decoded.
    Coded(Codings),
    /// An unknown coding, or more codings than the limit.
    Unknown,
}

impl Encoding {
    /// Parses the value of `content-encoding`. Several fields are joined with commas; a missing
    /// field is empty.
    pub fn parse(field: &[u8]) -> Self {
        let mut codings = Vec::new();
        for name in field.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            let coding = match name.to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Coding::Gzip,
                b"deflate" => Coding::Deflate,
                b"br" => Coding::Brotli,
                b"zstd" => Coding::Zstd,
                _ => return Self::Unknown,
            };
            if codings.len() == DEEPEST {
                return Self::Unknown;
            }
            codings.push(coding);
        }
        if codings.is_empty() { Self::Identity } else { Self::Coded(Codings(codings)) }
    }
}

/// The reason why a stream yields no more decoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The data violate their coding, or need more memory than the decoder may use.
    Corrupt,
    /// The body ended within the coded data.
    Truncated,
    /// The decoded bytes exceed the bound. Those up to the bound were passed on.
    TooLarge,
}

/// Receives decoded bytes; an error stops the decoder at once.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

/// Decodes one body.
pub struct Decoder {
    /// From the outermost coding to the innermost.
    stages: Vec<Stage>,
    fault: Option<Fault>,
    /// The bytes of the bound that are not granted yet.
    withheld: usize,
    /// The bytes of the body to read before more is granted.
    until_more: usize,
}

impl Decoder {
    /// Creates a decoder that yields at most `bound` bytes. The same bound holds for every inner
    /// coding, so that a bomb within a bomb costs no more time than one.
    pub fn new(codings: &Codings, bound: usize) -> Self {
        Self::granting(codings, bound, 0)
    }

    /// Creates a decoder that yields at most `bound` bytes, granted step by step as the body
    /// arrives. A few bytes that stand for many megabytes would otherwise block the worker.
    pub fn watching(codings: &Codings, bound: usize) -> Self {
        let granted = bound.min(UNSUSPICIOUS);
        Self::granting(codings, granted, bound.saturating_sub(granted))
    }

    fn granting(codings: &Codings, granted: usize, withheld: usize) -> Self {
        let stage = |&coding| Stage { codec: Codec::new(coding), left: granted };
        Self { stages: codings.0.iter().rev().map(stage).collect(), fault: None, withheld, until_more: 0 }
    }

    /// Decodes the next piece of the body and calls `out` with each block. Does nothing once the
    /// stream is broken.
    pub fn feed(&mut self, piece: &[u8], out: &mut dyn FnMut(&[u8])) {
        let mut rest = piece;
        while self.fault.is_none() && !rest.is_empty() {
            if self.until_more == 0 {
                self.grant_more();
            }
            let (step, behind) = rest.split_at_checked(self.until_more).unwrap_or((rest, &[]));
            self.until_more = self.until_more.saturating_sub(step.len());
            self.fault = push(&mut self.stages, step, out).err();
            rest = behind;
        }
    }

    fn grant_more(&mut self) {
        let more = self.withheld.min(STEP.saturating_mul(LARGEST_RATIO));
        self.withheld = self.withheld.saturating_sub(more);
        for stage in &mut self.stages {
            stage.left = stage.left.saturating_add(more);
        }
        self.until_more = STEP;
    }

    /// Ends the body. An empty body is complete, as in the response to a HEAD request.
    pub fn finish(&mut self) {
        if self.fault.is_none() && !self.stages.iter().all(|stage| stage.codec.is_complete()) {
            self.fault = Some(Fault::Truncated);
        }
    }

    /// Returns whether an error, the bound or an early end has stopped the decoder.
    pub const fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    /// Returns why the stream is broken, if it is.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("stages", &self.stages.len()).field("fault", &self.fault).finish()
    }
}

/// The reason why a body could not be decoded completely, with the part that could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its coding is not known.
    Unknown,
    /// It is corrupt or truncated.
    Broken {
        /// The bytes before the damage, perhaps without the last few.
        decoded: Vec<u8>,
    },
    /// It exceeds the bound.
    TooLarge {
        /// Its first bytes, up to the bound.
        decoded: Vec<u8>,
    },
}

/// Decodes a complete body, up to `bound` bytes.
pub fn decode_whole(encoding: &Encoding, body: &[u8], bound: usize) -> Result<Vec<u8>, Failure> {
    let mut decoded = Vec::new();
    let fault = match encoding {
        Encoding::Unknown => return Err(Failure::Unknown),
        Encoding::Identity => {
            decoded.extend(body.iter().take(bound));
            (body.len() > bound).then_some(Fault::TooLarge)
        }
        Encoding::Coded(codings) => {
            let mut decoder = Decoder::new(codings, bound);
            decoder.feed(body, &mut |block| decoded.extend_from_slice(block));
            decoder.finish();
            decoder.fault()
        }
    };
    match fault {
        None => Ok(decoded),
        Some(Fault::TooLarge) => Err(Failure::TooLarge { decoded }),
        Some(Fault::Corrupt | Fault::Truncated) => Err(Failure::Broken { decoded }),
    }
}

/// Feeds the first stage, whose output feeds the next one, and so on.
fn push(stages: &mut [Stage], bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
    let Some((stage, inner)) = stages.split_first_mut() else {
        out(bytes);
        return Ok(());
    };
    let left = &mut stage.left;
    stage.codec.feed(bytes, &mut |block| {
        let fits = block.get(..*left).unwrap_or(block);
        *left = left.saturating_sub(fits.len());
        if !fits.is_empty() {
            push(inner, fits, out)?;
        }
        if fits.len() < block.len() { Err(Fault::TooLarge) } else { Ok(()) }
    })
}

/// One coding of a body, and the bytes that it may still yield.
struct Stage {
    codec: Codec,
    left: usize,
}

enum Codec {
    Gzip(gzip::Gzip),
    Deflate(deflate::Deflate),
    Brotli(brotli::Brotli),
    Zstd(Box<zstd::Zstd>),
}

impl Codec {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(gzip::Gzip::new()),
            Coding::Deflate => Self::Deflate(deflate::Deflate::new()),
            Coding::Brotli => Self::Brotli(brotli::Brotli::new()),
            Coding::Zstd => Self::Zstd(Box::new(zstd::Zstd::new())),
        }
    }

    fn feed(&mut self, piece: &[u8], out: &mut Sink<'_>) -> Result<(), Fault> {
        match self {
            Self::Gzip(codec) => codec.feed(piece, out),
            Self::Deflate(codec) => codec.feed(piece, out),
            Self::Brotli(codec) => codec.feed(piece, out),
            Self::Zstd(codec) => codec.feed(piece, out),
        }
    }

    /// Returns whether the body may end here.
    fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(codec) => codec.is_complete(),
            Self::Deflate(codec) => codec.is_complete(),
            Self::Brotli(codec) => codec.is_complete(),
            Self::Zstd(codec) => codec.is_complete(),
        }
    }
}

#[cfg(test)]
#[path = "coding_tests.rs"]
mod tests;
