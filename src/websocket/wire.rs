//! The bytes of WebSocket frames.
//!
//! In: the bytes of a header or of whole frames. Out: the header and the rules that it breaks, or
//! the payload. In reverse, a frame around a payload. Not here: frames in pieces.
//!
//! Source: RFC 6455, sections 5.1 to 5.5 and 7.4 (close codes).

use std::borrow::Cow;

/// The longest header: two bytes, a length of eight and a key of four.
pub(super) const LONGEST_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455, section 5.5).
const LONGEST_CONTROL: usize = 125;

/// The bit that ends a message, and the bit that announces a mask.
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8, which the reader does not check.
    Text,
    /// Any bytes.
    Binary,
}

/// The end of the connection that sends a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// A rule of RFC 6455 that a frame breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit is set, and no extension gives it a meaning (5.2).
    ReservedBit,
    /// An opcode without meaning (5.2).
    ReservedOpcode(u8),
    /// A length of 2^63 or more (5.2).
    Length(u64),
    /// A client's frame without mask (5.1).
    Unmasked,
    /// A server's frame with a mask (5.1).
    Masked,
    /// A control frame in fragments (5.5).
    FragmentedControl,
    /// A control frame with a payload of this length, more than 125 bytes (5.5).
    LongControl(u64),
    /// A continuation of no message (5.4).
    NothingToContinue,
    /// A new message before the end of the last one (5.4).
    UnfinishedMessage,
}

/// A frame's header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) has_reserved_bit: bool,
    pub(super) is_final: bool,
    pub(super) key: Option<[u8; 4]>,
    pub(super) length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Data(Kind),
    Close,
    Ping,
    Pong,
    Reserved(u8),
}

impl Frame {
    pub(super) const fn is_control(self) -> bool {
        matches!(self.opcode, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    /// Parses a header; returns it and the bytes behind it, or none if it is not whole. Accepts a
    /// length in more bytes than necessary: senders must not write it, but receivers read it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first, second], bytes) = bytes.split_first_chunk()?;
        let (length, bytes) = match second & !MASKED {
            126 => {
                let (length, bytes) = bytes.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*length)), bytes)
            }
            127 => {
                let (length, bytes) = bytes.split_first_chunk()?;
                (u64::from_be_bytes(*length), bytes)
            }
            length => (u64::from(length), bytes),
        };
        let (key, bytes) = if second & MASKED == 0 {
            (None, bytes)
        } else {
            let (key, bytes) = bytes.split_first_chunk()?;
            (Some(*key), bytes)
        };
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Data(Kind::Text),
            2 => Opcode::Data(Kind::Binary),
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            opcode => Opcode::Reserved(opcode),
        };
        let has_reserved_bit = first & 0x70 != 0;
        Some((Self { opcode, has_reserved_bit, is_final: first & FINAL != 0, key, length }, bytes))
    }

    /// Returns an error if the frame may not come from this sender, or not here. `is_open` tells
    /// whether a message has begun and not ended.
    pub(super) fn check(self, sender: Sender, is_open: bool) -> Result<(), Violation> {
        let is_control = self.is_control();
        let rule = match (self.opcode, sender) {
            _ if self.has_reserved_bit => Violation::ReservedBit,
            (Opcode::Reserved(opcode), _) => Violation::ReservedOpcode(opcode),
            _ if self.length > u64::MAX / 2 => Violation::Length(self.length),
            (_, Sender::Client) if self.key.is_none() => Violation::Unmasked,
            (_, Sender::Server) if self.key.is_some() => Violation::Masked,
            _ if is_control && !self.is_final => Violation::FragmentedControl,
            _ if is_control && self.length > LONGEST_CONTROL as u64 => Violation::LongControl(self.length),
            (Opcode::Continuation, _) if !is_open => Violation::NothingToContinue,
            (Opcode::Data(_), _) if is_open => Violation::UnfinishedMessage,
            _ => return Ok(()),
        };
        Err(rule)
    }
}

/// Joins the payload of frames, without masks; borrows that of one frame without a mask. The last
/// frame may be cut short.
pub(super) fn payload(mut frames: &[u8]) -> Cow<'_, [u8]> {
    if let Some((Frame { key: None, length, .. }, behind)) = Frame::parse(frames)
        && behind.len() as u64 <= length
    {
        return behind.into();
    }
    let mut payload = Vec::with_capacity(frames.len());
    while let Some((frame, behind)) = Frame::parse(frames) {
        frames = behind;
        let start = payload.len();
        payload.extend_from_slice(split(&mut frames, frame.length));
        mask(payload.get_mut(start..).unwrap_or_default(), frame.key);
    }
    payload.into()
}

/// Sets or removes the mask of a payload (RFC 6455, section 5.3).
fn mask(payload: &mut [u8], key: Option<[u8; 4]>) {
    let Some([a, b, c, d]) = key else { return };
    let wide = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
    let (blocks, tail) = payload.as_chunks_mut();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(wide)).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

/// Takes up to `most` bytes off `rest`.
pub(super) fn split<'p>(rest: &mut &'p [u8], most: u64) -> &'p [u8] {
    let at = usize::try_from(most).unwrap_or(usize::MAX);
    let (taken, behind) = rest.split_at_checked(at).unwrap_or((*rest, &[]));
    *rest = behind;
    taken
}

/// Encodes a message in one frame: with a key for a server, without one for a client.
#[must_use]
pub fn data_frame(kind: Kind, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let opcode = match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
    };
    encode(opcode, payload, key)
}

/// Encodes a close frame: with a key for a server, without one for a client. Cuts the reason to the
/// 123 bytes that a control frame has for it.
#[must_use]
pub fn close_frame(code: u16, reason: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    let reason = reason.get(..reason.floor_char_boundary(123)).unwrap_or_default();
    encode(8, &[&code.to_be_bytes(), reason.as_bytes()].concat(), key)
}

/// Encodes a ping frame: with a key for a server, without one for a client. Cuts the payload to the
/// 125 bytes of a control frame.
#[must_use]
pub fn ping_frame(payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    encode(9, payload.get(..LONGEST_CONTROL).unwrap_or(payload), key)
}

fn encode(opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LONGEST_HEADER.saturating_add(payload.len()));
    frame.push(FINAL | opcode);
    let masked = if key.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => frame.push(masked | length),
        (_, Ok(length)) => {
            frame.push(masked | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(key.as_ref().map_or(&[], |key| key.as_slice()));
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask(frame.get_mut(start..).unwrap_or_default(), key);
    frame
}
