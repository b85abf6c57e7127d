//! Content codings: compressed bodies made readable as they pass.
//!
//! In: the `content-encoding` of a message and its body in any pieces. Out: the decoded bytes in
//! blocks, each as soon as the pieces so far contain it; or why there are none. Not here: changing
//! what passes. The peer gets the coded bytes as they were sent; what is decoded is only read, so
//! bytes behind the end of the coded data are not judged.
//!
//! A coded body is foreign input: no bytes can make a decoder panic, use more time than its input
//! and its bounded output are worth, or use more memory than said with its coding. Those numbers
//! are for one stream.
//!
//! Source: RFC 9110, sections 8.4 and 8.4.1.

mod brotli;
mod deflate;
mod gzip;
mod zstd;

use std::fmt;

/// How many codings may lie upon each other. Two are already rare; each costs a decoder.
const DEEPEST: usize = 3;

/// The size of the blocks in which brotli and zstd hand on decoded bytes; deflate's are as long as
/// its window at most.
const BLOCK: usize = 8 * 1024;

/// How many bytes a watched body may give at once, whatever its length: some 40 ms of reading.
const UNSUSPICIOUS: usize = 4 * 1024 * 1024;

/// How many bytes a watched body may give beyond that for each byte of its own. Events that repeat
/// each other come to 20 or 30, since each is flushed; a bomb has 1,000 and more.
const LARGEST_RATIO: usize = 64;

/// In steps of how many bytes of the body more is granted, so that it does not matter how the body
/// is cut.
const STEP: usize = 4 * 1024;

/// A way of coding a body that can be decoded here.
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

/// The codings of a body, in the order in which they were applied: at least one, at most three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

/// What `content-encoding` says of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The body is as it is.
    Identity,
    /// The body can be decoded.
    Coded(Codings),
    /// A coding that is not known, or more of them than are decoded.
    Unknown,
}

impl Encoding {
    /// Reads the value of `content-encoding`; several fields are joined with commas, a missing one
    /// is empty.
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

/// Why a stream gives no more decoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The data are not what their coding allows, or ask for more memory than is granted.
    Corrupt,
    /// The body ended within the coded data.
    Truncated,
    /// There is more than the bound allows. All up to the bound has been handed on.
    TooLarge,
}

/// Takes decoded bytes; an error ends the decoding at once.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), Fault> + 'a;

/// Decodes one body.
pub struct Decoder {
    /// From the outermost coding to the innermost.
    stages: Vec<Stage>,
    fault: Option<Fault>,
    /// How many bytes of the bound have not been granted yet.
    withheld: usize,
    /// How many bytes of the body come before more is granted.
    until_more: usize,
}

impl Decoder {
    /// A decoder that hands on at most `bound` bytes. Codings that lie under others may give no
    /// more either, so that a bomb within a bomb costs no more time than one.
    pub fn new(codings: &Codings, bound: usize) -> Self {
        Self::granting(codings, bound, 0)
    }

    /// A decoder that hands on at most `bound` bytes, and so many only of a body that is itself of
    /// some length: a few bytes that stand for many megabytes would keep whoever decodes them busy
    /// all at once.
    pub fn watching(codings: &Codings, bound: usize) -> Self {
        let granted = bound.min(UNSUSPICIOUS);
        Self::granting(codings, granted, bound.saturating_sub(granted))
    }

    fn granting(codings: &Codings, granted: usize, withheld: usize) -> Self {
        let stage = |&coding| Stage { codec: Codec::new(coding), left: granted };
        Self { stages: codings.0.iter().rev().map(stage).collect(), fault: None, withheld, until_more: 0 }
    }

    /// Takes the next piece of the body and calls `out` with what can be decoded now, in blocks.
    /// Does nothing once the stream is broken.
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

    /// The body has ended. A body without a single byte is whole, as in the answer to a HEAD
    /// request.
    pub fn finish(&mut self) {
        if self.fault.is_none() && !self.stages.iter().all(|stage| stage.codec.is_complete()) {
            self.fault = Some(Fault::Truncated);
        }
    }

    /// Whether nothing more can be decoded because of an error, a bound or an early end.
    pub const fn is_broken(&self) -> bool {
        self.fault.is_some()
    }

    /// Why the stream is broken, if it is.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("stages", &self.stages.len()).field("fault", &self.fault).finish()
    }
}

/// Why a body could not be decoded as a whole, with what could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its coding is not known.
    Unknown,
    /// It is corrupt or ends early.
    Broken {
        /// The bytes before the place where it breaks; the last of them may be lost with it.
        decoded: Vec<u8>,
    },
    /// It is longer than the bound.
    TooLarge {
        /// Its first bytes, as many as the bound allows.
        decoded: Vec<u8>,
    },
}

/// Decodes a body that is there as a whole, up to `bound` bytes.
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

/// One coding of a body, and how many bytes it may still give.
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

    /// Whether the body may end here.
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
