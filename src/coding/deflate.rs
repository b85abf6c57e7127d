//! The coding `deflate`, and the inflater that gzip shares.
//!
//! In: zlib data, or deflate data without that wrapper. Out: the inflated bytes. Not here: gzip's wrapper.
//!
//! Memory: about 43 KiB, of which 32 KiB are the window.
//!
//! Source: RFC 1950 and 1951; RFC 9110, section 8.4.1.2, whose note says that bare deflate data are sent, too.

use super::{BLOCK, Fault, Sink};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// Deflate data in pieces.
pub(super) struct Inflater(Box<InflateState>);

impl Inflater {
    pub(super) fn new(format: DataFormat) -> Self {
        Self(InflateState::new_boxed(format))
    }

    pub(super) fn reset(&mut self, format: DataFormat) {
        self.0.reset(format);
    }

    /// Inflates what there is. At the end of the deflate data gives the bytes behind them, before it nothing.
    pub(super) fn feed<'a>(&mut self, piece: &'a [u8], out: &mut Sink<'_>) -> Result<Option<&'a [u8]>, Fault> {
        let mut block = [0; BLOCK];
        let mut rest = piece;
        loop {
            let step = inflate(&mut self.0, rest, &mut block, MZFlush::None);
            rest = rest.get(step.bytes_consumed..).unwrap_or_default();
            let inflated = block.get(..step.bytes_written).unwrap_or_default();
            if !inflated.is_empty() {
                out(inflated)?;
            }
            match step.status {
                Ok(MZStatus::StreamEnd) => return Ok(Some(rest)),
                // The error says that nothing could be done, for want of input.
                Ok(_) | Err(MZError::Buf) => {}
                Err(_) => return Err(Fault::Corrupt),
            }
            if rest.is_empty() && inflated.len() < BLOCK {
                return Ok(None);
            }
            if step.bytes_consumed == 0 && inflated.is_empty() {
                return Err(Fault::Corrupt);
            }
        }
    }
}

/// The state of a body coded with `deflate`.
pub(super) enum Deflate {
    /// Which of the two formats it is shows in the first two bytes; the first one may be here.
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

/// Tells the formats apart by the header that zlib begins with. Deflate data could begin so only with a stored block
/// whose padding is not zero, which no encoder writes.
const fn format(cmf: u8, flg: u8) -> DataFormat {
    let is_deflate_in_zlib = cmf & 0x0f == 8 && cmf >> 4 <= 7;
    if is_deflate_in_zlib && u16::from_be_bytes([cmf, flg]).is_multiple_of(31) { DataFormat::Zlib } else { DataFormat::Raw }
}
