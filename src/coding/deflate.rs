//! The coding `deflate`, and the inflater that gzip shares.
//!
//! In: zlib data, or deflate data without that wrapper. Out: the inflated bytes. Not here: gzip's
//! wrapper.
//!
//! Memory: 43 KiB, of which 32 KiB are the window.
//!
//! Source: RFC 1950 and 1951; RFC 9110, section 8.4.1.2, whose note says that some servers send
//! bare deflate data.

use super::{Fault, Sink};
use miniz_oxide::DataFormat;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// The window of deflate in bytes: how far back the data can refer.
const WINDOW: usize = 32 * 1024;

/// Inflates deflate data in pieces.
pub(super) struct Inflater {
    state: Box<DecompressorOxide>,
    /// A ring of the bytes inflated last. Blocks are passed on from here, so that everything before
    /// a fault is passed on.
    window: Box<[u8]>,
    /// The position in the window of the next byte.
    at: usize,
    flags: u32,
}

impl Inflater {
    pub(super) fn new(format: DataFormat) -> Self {
        let flags = match format {
            DataFormat::Raw => inflate_flags::TINFL_FLAG_IGNORE_ADLER32,
            _ => inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER | inflate_flags::TINFL_FLAG_COMPUTE_ADLER32,
        };
        // More input may always follow. Without the flag its absence would be a fault.
        let flags = flags | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        Self { state: Box::default(), window: vec![0; WINDOW].into(), at: 0, flags }
    }

    /// Resets the state for other data of the same format.
    pub(super) fn reset(&mut self) {
        self.state.init();
        self.at = 0;
    }

    /// Inflates `piece`. Returns the bytes behind the deflate data once they have ended, `None`
    /// before.
    pub(super) fn feed<'a>(
        &mut self,
        piece: &'a [u8],
        out: &mut Sink<'_>,
    ) -> Result<Option<&'a [u8]>, Fault> {
        let mut rest = piece;
        loop {
            let (status, read, written) =
                decompress(&mut self.state, rest, &mut self.window, self.at, self.flags);
            rest = rest.get(read..).unwrap_or_default();
            let end = self.at.saturating_add(written);
            let inflated = self.window.get(self.at..end).unwrap_or_default();
            if !inflated.is_empty() {
                out(inflated)?;
            }
            self.at = if end < WINDOW { end } else { 0 };
            match status {
                TINFLStatus::Done => return Ok(Some(rest)),
                TINFLStatus::NeedsMoreInput => return Ok(None),
                TINFLStatus::HasMoreOutput if written > 0 => {}
                _ => return Err(Fault::Corrupt),
            }
        }
    }
}

/// The state of a body coded with `deflate`.
pub(super) enum Deflate {
    /// The first two bytes tell the two formats apart; the first one may be here.
    Start(Option<u8>),
    Data(Inflater),
    Ended,
}

impl Deflate {
    pub(super) const fn new() -> Self {
        Self::Start(None)
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Sink<'_>) -> Result<(), Fault> {
        match self {
            Self::Ended => Ok(()),
            Self::Data(inflater) => {
                if inflater.feed(piece, out)?.is_some() {
                    *self = Self::Ended;
                }
                Ok(())
            }
            Self::Start(first) => {
                let held = *first;
                let mut bytes = held.into_iter().chain(piece.iter().copied());
                let (Some(cmf), Some(flg)) = (bytes.next(), bytes.next()) else {
                    *first = held.or_else(|| piece.first().copied());
                    return Ok(());
                };
                *self = Self::Data(Inflater::new(format(cmf, flg)));
                if let Some(byte) = held {
                    self.feed(&[byte], out)?;
                }
                self.feed(piece, out)
            }
        }
    }

    pub(super) const fn is_complete(&self) -> bool {
        matches!(self, Self::Start(None) | Self::Ended)
    }
}

/// Tells the formats apart by zlib's header. Deflate data could begin like it only with a stored
/// block whose padding is not zero, and no encoder writes one.
const fn format(cmf: u8, flg: u8) -> DataFormat {
    let is_deflate_in_zlib = cmf & 0x0f == 8 && cmf >> 4 <= 7;
    if is_deflate_in_zlib && u16::from_be_bytes([cmf, flg]).is_multiple_of(31) {
        DataFormat::Zlib
    } else {
        DataFormat::Raw
    }
}
