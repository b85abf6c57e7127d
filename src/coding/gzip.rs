//! The coding `gzip`.
//!
//! In: gzip members, one after the other. Out: the inflated bytes. Not here: the fields of a
//! member's header, which are skipped without being stored, however long they are.
//!
//! Memory: 43 KiB, that of the inflater.
//!
//! Source: RFC 1952, section 2.3; section 2.2 for several members.

use super::deflate::Inflater;
use super::{Fault, Sink};
use miniz_oxide::DataFormat;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// The state of a body coded with `gzip`.
pub(super) struct Gzip {
    at: At,
    inflater: Inflater,
    crc: crc32fast::Hasher,
    /// The bytes that the member has yielded, modulo 2^32 as in its trailer.
    size: u32,
}

/// The part of a member that the next byte belongs to. The flags name the header's fields that are
/// still to come.
#[derive(Clone, Copy)]
enum At {
    /// Before the first member.
    Start,
    /// The fixed part of the header, and the number of its bytes that have arrived.
    Fixed {
        come: u8,
        flags: u8,
    },
    /// The length of the extra field, and its first byte once that has arrived.
    ExtraLength {
        low: Option<u8>,
        flags: u8,
    },
    /// The extra field.
    Extra {
        left: u16,
        flags: u8,
    },
    /// The file's name or a comment, each terminated by a zero.
    Text {
        flags: u8,
    },
    /// The header's checksum.
    HeaderCrc {
        left: u8,
    },
    Data,
    /// The trailer: the bytes so far as a little-endian number, filled from the top.
    Trailer {
        come: u8,
        bytes: u64,
    },
    /// After a member, where another one may begin.
    Between,
    /// After all members: padding, which gzip(1) accepts as well.
    Ended,
}

impl Gzip {
    pub(super) fn new() -> Self {
        let inflater = Inflater::new(DataFormat::Raw);
        Self { at: At::Start, inflater, crc: crc32fast::Hasher::new(), size: 0 }
    }

    pub(super) fn feed(&mut self, piece: &[u8], out: &mut Sink<'_>) -> Result<(), Fault> {
        let mut rest = piece;
        while let Some((&byte, behind)) = rest.split_first() {
            match self.at {
                At::Ended => return Ok(()),
                At::Data => {
                    let Some(behind_data) = self.inflate(rest, out)? else { return Ok(()) };
                    rest = behind_data;
                    self.at = At::Trailer { come: 0, bytes: 0 };
                }
                _ => {
                    rest = behind;
                    self.at = self.step(byte)?;
                }
            }
        }
        Ok(())
    }

    pub(super) const fn is_complete(&self) -> bool {
        matches!(self.at, At::Start | At::Between | At::Ended)
    }

    fn inflate<'a>(&mut self, piece: &'a [u8], out: &mut Sink<'_>) -> Result<Option<&'a [u8]>, Fault> {
        let Self { inflater, crc, size, .. } = self;
        inflater.feed(piece, &mut |block| {
            crc.update(block);
            *size = size.wrapping_add(u32::try_from(block.len()).unwrap_or_default());
            out(block)
        })
    }

    /// Reads one byte of a header or trailer and returns the state after it.
    fn step(&mut self, byte: u8) -> Result<At, Fault> {
        Ok(match self.at {
            At::Start => fixed(0, 0, byte)?,
            At::Between if byte == 0x1f => At::Fixed { come: 1, flags: 0 },
            At::Between | At::Ended => At::Ended,
            At::Fixed { come: 9, flags } => {
                self.begin();
                field(flags)
            }
            At::Fixed { come, flags } => fixed(come, flags, byte)?,
            At::ExtraLength { low: None, flags } => At::ExtraLength { low: Some(byte), flags },
            At::ExtraLength { low: Some(low), flags } => match u16::from_le_bytes([low, byte]) {
                0 => field(flags),
                left => At::Extra { left, flags },
            },
            At::Extra { left: 0 | 1, flags } => field(flags),
            At::Extra { left, flags } => At::Extra { left: left.saturating_sub(1), flags },
            At::Text { flags } if byte == 0 => field(flags),
            at @ (At::Text { .. } | At::Data) => at,
            At::HeaderCrc { left: 0 | 1 } => At::Data,
            At::HeaderCrc { left } => At::HeaderCrc { left: left.saturating_sub(1) },
            At::Trailer { come, bytes } => {
                let bytes = bytes >> 8 | u64::from(byte) << 56;
                if come < 7 {
                    return Ok(At::Trailer { come: come.saturating_add(1), bytes });
                }
                let found = u64::from(self.size) << 32 | u64::from(self.crc.clone().finalize());
                if bytes != found {
                    return Err(Fault::Corrupt);
                }
                At::Between
            }
        })
    }

    /// Starts the data of a member.
    fn begin(&mut self) {
        self.inflater.reset();
        self.crc.reset();
        self.size = 0;
    }
}

/// Reads byte number `come` of the fixed part.
const fn fixed(come: u8, flags: u8, byte: u8) -> Result<At, Fault> {
    let (is_right, flags) = match come {
        0 => (byte == 0x1f, flags),
        1 => (byte == 0x8b, flags),
        2 => (byte == 8, flags),
        3 => (byte & RESERVED == 0, byte),
        // Time, extra flags and system do not matter for the data.
        _ => (true, flags),
    };
    if is_right { Ok(At::Fixed { come: come.saturating_add(1), flags }) } else { Err(Fault::Corrupt) }
}

/// Returns the state in which the next field of the header begins, or else the data.
const fn field(flags: u8) -> At {
    if flags & FEXTRA != 0 {
        At::ExtraLength { low: None, flags: flags & !FEXTRA }
    } else if flags & FNAME != 0 {
        At::Text { flags: flags & !FNAME }
    } else if flags & FCOMMENT != 0 {
        At::Text { flags: flags & !FCOMMENT }
    } else if flags & FHCRC != 0 {
        At::HeaderCrc { left: 2 }
    } else {
        At::Data
    }
}
