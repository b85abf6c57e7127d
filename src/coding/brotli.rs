//! The coding `br`.
//!
//! In: one brotli stream. Out: its bytes. Not here: large windows and shared dictionaries, which
//! the content coding does not use.
//!
//! Memory: 40 to 80 KiB for a small body, tables of up to about 100 KiB, and a window of at most 16
//! MiB, half as much again while it grows. The window is allocated by the size that the stream
//! announces, before the data are decoded; common encoders stay at 4 MiB.
//!
//! Source: RFC 7932.

use super::{BLOCK, Fault, Sink};
use brotli_decompressor::{
    BrotliDecoderHasMoreOutput, BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc,
};

/// The state of a body coded with `br`.
pub(super) struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    has_begun: bool,
    has_ended: bool,
}

impl Brotli {
    pub(super) fn new() -> Self {
        let alloc = StandardAlloc::default;
        let state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
        Self { state, has_begun: false, has_ended: false }
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Sink<'_>) -> Result<(), Fault> {
        self.has_begun |= !piece.is_empty();
        let mut block = [0; BLOCK];
        let mut rest = piece;
        while !self.has_ended {
            let (mut unread, mut read) = (rest.len(), 0);
            let (mut room, mut written, mut total) = (BLOCK, 0, 0);
            let result = BrotliDecompressStream(
                &mut unread,
                &mut read,
                rest,
                &mut room,
                &mut written,
                &mut block,
                &mut total,
                &mut self.state,
            );
            rest = rest.get(read..).unwrap_or_default();
            let decoded = block.get(..written).unwrap_or_default();
            if !decoded.is_empty() {
                out(decoded)?;
            }
            match result {
                BrotliResult::ResultSuccess => self.has_ended = true,
                // With a block too small for the output, the decoder asks for input although output
                // is waiting.
                BrotliResult::NeedsMoreInput if !BrotliDecoderHasMoreOutput(&self.state) => return Ok(()),
                BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput if !decoded.is_empty() => {}
                _ => return Err(Fault::Corrupt),
            }
        }
        Ok(())
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.has_ended || !self.has_begun
    }
}
