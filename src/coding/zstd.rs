//! The coding `zstd`.
//!
//! In: zstd frames and skippable frames, one after the other. Out: the frames' bytes, block by
//! block. Not here: dictionaries, which the content coding does not use, and the verification of
//! checksums, since the transport already detects such errors.
//!
//! Memory: 14 KiB for a small body; one block, up to 128 KiB coded and as much decoded; tables of
//! about 100 KiB; and a window of up to 8 MiB, briefly twice that while it grows. The window grows
//! with the decoded data, unless a frame declares its content size; then it is allocated at once.
//!
//! Source: RFC 8878, section 3.1; RFC 9659 for the largest window.

use super::{BLOCK, Fault, Sink};
use structured_zstd::decoding::FrameDecoder;

/// The largest window of the content coding in bytes (RFC 9659, section 3).
const LARGEST_WINDOW: u64 = 8 * 1024 * 1024;

const MAGIC: u32 = 0xfd2f_b528;
/// The first of the sixteen magic numbers of skippable frames.
const MAGIC_SKIPPABLE: u32 = 0x184d_2a50;

/// The state of a body coded with `zstd`.
pub(super) struct Zstd {
    frame: FrameDecoder,
    at: At,
    /// The part of a header, block or checksum that has arrived; it is not complete yet.
    held: Vec<u8>,
}

#[derive(Clone, Copy)]
enum At {
    /// Between frames, or in a frame's header.
    Header,
    Blocks,
    /// In a skippable frame, with this many bytes to come.
    Skippable(usize),
}

impl Zstd {
    pub(super) fn new() -> Self {
        let mut frame = FrameDecoder::new();
        // Fails only for sizes that no frame can have.
        let _: Result<(), _> = frame.set_max_window_size(LARGEST_WINDOW);
        Self { frame, at: At::Header, held: Vec::new() }
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Sink<'_>) -> Result<(), Fault> {
        let mut rest = piece;
        loop {
            if let At::Skippable(left) = self.at {
                let (skipped, behind) = rest.split_at_checked(left).unwrap_or((rest, &[]));
                rest = behind;
                let left = left.saturating_sub(skipped.len());
                if left > 0 {
                    self.at = At::Skippable(left);
                    return Ok(());
                }
                self.at = At::Header;
            }
            let whole = match self.at {
                At::Blocks => self.frame.input_needed(&self.held),
                At::Header | At::Skippable(_) => header_length(&self.held)?,
            };
            let missing = whole.saturating_sub(self.held.len());
            if missing > 0 {
                if rest.is_empty() {
                    return Ok(());
                }
                let (taken, behind) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
                self.held.extend_from_slice(taken);
                rest = behind;
                continue;
            }
            match self.at {
                At::Blocks => self.decode_step(out)?,
                At::Header | At::Skippable(_) => self.begin_frame()?,
            }
            self.held.clear();
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.at, At::Header) && self.held.is_empty()
    }

    /// Parses the complete header in `held`.
    fn begin_frame(&mut self) -> Result<(), Fault> {
        if let [m0, m1, m2, m3, l0, l1, l2, l3] = *self.held.as_slice()
            && is_skippable(u32::from_le_bytes([m0, m1, m2, m3]))
        {
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            self.at = At::Skippable(usize::try_from(length).map_err(|_| Fault::Corrupt)?);
            return Ok(());
        }
        self.frame.reset(self.held.as_slice()).map_err(|_| Fault::Corrupt)?;
        self.at = At::Blocks;
        Ok(())
    }

    /// Decodes the complete block in `held`, or reads the checksum there.
    fn decode_step(&mut self, out: &mut Sink<'_>) -> Result<(), Fault> {
        let mut block = [0; BLOCK];
        let mut rest = self.held.as_slice();
        loop {
            let (read, written) = self.frame.decode_from_to(rest, &mut block).map_err(|_| Fault::Corrupt)?;
            rest = rest.get(read..).unwrap_or_default();
            let decoded = block.get(..written).unwrap_or_default();
            if !decoded.is_empty() {
                out(decoded)?;
            } else if !rest.is_empty() && read == 0 {
                return Err(Fault::Corrupt);
            }
            if rest.is_empty() && written < BLOCK {
                break;
            }
        }
        if self.frame.is_finished() {
            self.at = At::Header;
        }
        Ok(())
    }
}

/// Returns the length of the frame's header in bytes, as far as its first bytes tell: at least one
/// byte more than `held`, or the whole length.
fn header_length(held: &[u8]) -> Result<usize, Fault> {
    let Some(&magic) = held.first_chunk() else { return Ok(4) };
    let magic = u32::from_le_bytes(magic);
    if is_skippable(magic) {
        return Ok(8);
    }
    if magic != MAGIC {
        return Err(Fault::Corrupt);
    }
    let Some(&descriptor) = held.get(4) else { return Ok(5) };
    let is_single_segment = descriptor & 1 << 5 != 0;
    let window_descriptor = usize::from(!is_single_segment);
    let dictionary = match descriptor & 3 {
        0 => 0,
        1 => 1,
        2 => 2,
        _ => 4,
    };
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    Ok([5, window_descriptor, dictionary, content_size].iter().sum())
}

const fn is_skippable(magic: u32) -> bool {
    magic & !0xf == MAGIC_SKIPPABLE
}
