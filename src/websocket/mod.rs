//! WebSocket frames, read in one direction of an upgraded connection from pieces of any size, and
//! written.
//!
//! In: the bytes of one direction as they arrive. Out: whole messages and control frames, each with
//! the bytes that carry it; the places where a proxy may insert a frame; the first error of the
//! sender. In reverse, a data, close or ping frame around a payload.
//!
//! Nothing passes by itself: the reader holds a message back until it is whole, so that the caller
//! can replace or swallow it. Control frames overtake it. The reader stops holding a message that
//! exceeds a bound and lets the rest of it pass. It borrows a message or control frame that lies
//! whole in one piece as one frame.
//!
//! Not here: the meaning of a message, UTF-8, the handshake, and extensions. The handshake must
//! offer none: a reserved bit is an error.
//!
//! Source: RFC 6455, sections 5.2 to 5.5 (frames, masks, fragments, control frames) and 7.4 (close
//! codes).

mod wire;

use std::borrow::Cow;
use std::mem::take;

use wire::{Frame, LONGEST_HEADER, Opcode, Sender, payload, split};
pub use wire::{Kind, Violation, close_frame, data_frame, ping_frame};

/// The reader of one direction.
#[derive(Debug)]
pub struct Frames {
    sender: Sender,
    /// The number of bytes to hold of one message, frame headers included.
    bound: usize,
    at: At,
    /// The bytes received so far of a header, or of a control frame.
    begun: Vec<u8>,
    /// The message that has begun and not ended.
    open: Option<Open>,
    /// The frames of the open message, without those in `begun`.
    held: Vec<u8>,
    is_closed: bool,
}

/// The part of the stream that the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A header, or a control frame.
    Header,
    /// The payload of a data frame.
    Payload { left: u64, is_final: bool },
    /// The bytes after a violation, where frame boundaries mean nothing.
    Unread,
}

/// A message that has begun and not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    kind: Kind,
    /// The length of the payload in its frames so far.
    length: u64,
    is_oversized: bool,
}

/// An event in the bytes of one direction. The reader holds the bytes of an event until then: they
/// reach the receiver only if the caller passes them on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'p> {
    /// A message is whole. Pass `raw` on, or something else, or nothing.
    Message(Message<'p>),
    /// A control frame is whole. Pass `raw` on, or something else, or nothing. It comes before a
    /// message whose fragments it interrupts.
    Control(Control<'p>),
    /// A message exceeds the bound. Pass `raw`, its start, on: the rest follows as
    /// [`Event::Pass`].
    Oversized(Message<'p>),
    /// Pass these bytes on: they belong to an oversized message or follow a violation.
    Pass(Cow<'p, [u8]>),
    /// A message that exceeded the bound is over.
    OversizedEnd {
        /// The length of its payload in bytes.
        length: u64,
    },
    /// The sender broke the protocol. Pass `raw` on and leave the judgement to the receiver, or end
    /// the connection. From here on everything comes as [`Event::Pass`], unread.
    Violation {
        /// The broken rule.
        rule: Violation,
        /// The bytes held back, up to the end of the bad header.
        raw: Vec<u8>,
    },
}

/// A message, or its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'p> {
    /// The kind.
    pub kind: Kind,
    /// The frames that carry it, as received. Borrowed if they lie in one piece as one frame.
    pub raw: Cow<'p, [u8]>,
}

/// A control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control<'p> {
    /// The kind.
    pub kind: ControlKind,
    /// The frame as received. Borrowed if it lies in one piece.
    pub raw: Cow<'p, [u8]>,
}

/// The kind of a control frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or only shows that the sender lives.
    Pong,
    /// Closes the connection. The sender may send no frame behind it.
    Close {
        /// The code; none if the frame has none.
        code: Option<u16>,
    },
}

/// The frames that a proxy may insert behind the bytes passed so far, fewest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Insertable {
    /// No frame: inside a frame, after a close frame, or after a violation.
    Nothing,
    /// A control frame only: between the fragments of a message.
    Control,
    /// Any frame.
    Any,
}

impl Message<'_> {
    /// Returns the payload of all fragments, without masks. Copies it on every call, except from a
    /// single frame without a mask.
    #[must_use]
    pub fn payload(&self) -> Cow<'_, [u8]> {
        payload(&self.raw)
    }
}

impl Control<'_> {
    /// Returns the payload without mask. That of a close frame starts with the code.
    #[must_use]
    pub fn payload(&self) -> Cow<'_, [u8]> {
        payload(&self.raw)
    }
}

impl Frames {
    /// Creates a reader of the bytes that a client sends. It holds back up to `bound` bytes of a
    /// message, frame headers included; no bound is smaller than a header.
    #[must_use]
    pub fn from_client(bound: usize) -> Self {
        Self::new(Sender::Client, bound)
    }

    /// Creates a reader of the bytes that a server sends, with the same `bound`.
    #[must_use]
    pub fn from_server(bound: usize) -> Self {
        Self::new(Sender::Server, bound)
    }

    fn new(sender: Sender, bound: usize) -> Self {
        Self {
            sender,
            bound: bound.max(LONGEST_HEADER),
            at: At::Header,
            begun: Vec::new(),
            open: None,
            held: Vec::new(),
            is_closed: false,
        }
    }

    /// Reads up to the next event and leaves the unread bytes in `rest`. Call it until it returns
    /// none, also when `rest` is empty: then all of the piece is read.
    pub fn read<'p>(&mut self, rest: &mut &'p [u8]) -> Option<Event<'p>> {
        loop {
            match self.at {
                At::Header => {
                    if let Some(event) = self.read_whole(rest).or_else(|| self.read_begun()) {
                        return Some(event);
                    }
                    if matches!(self.at, At::Header) {
                        let (byte, behind) = rest.split_first()?;
                        self.begun.push(*byte);
                        *rest = behind;
                    }
                }
                At::Payload { left: 0, is_final } => {
                    self.at = At::Header;
                    if is_final {
                        return self.end();
                    }
                }
                At::Payload { left, is_final } => {
                    let is_oversized = self.is_oversized();
                    let most = if is_oversized { left } else { left.min(self.room() as u64) };
                    if most == 0 {
                        return self.exceed();
                    }
                    let taken = split(rest, most);
                    if taken.is_empty() {
                        return None;
                    }
                    self.at = At::Payload { left: left.saturating_sub(taken.len() as u64), is_final };
                    if is_oversized {
                        return Some(Event::Pass(taken.into()));
                    }
                    self.reserve(taken.len());
                    self.held.extend_from_slice(taken);
                }
                At::Unread => {
                    let all = take(rest);
                    return (!all.is_empty()).then(|| Event::Pass(all.into()));
                }
            }
        }
    }

    /// Returns the frames that may be inserted behind the events so far. Ask after handling an
    /// event. A close frame and the bytes of an oversized message count as passed on.
    #[must_use]
    pub fn insertable(&self) -> Insertable {
        match self.at {
            At::Unread => Insertable::Nothing,
            _ if self.is_closed => Insertable::Nothing,
            _ if !self.is_oversized() => Insertable::Any,
            At::Payload { .. } => Insertable::Nothing,
            At::Header => Insertable::Control,
        }
    }

    /// Takes a frame off `rest` that lies whole in it and is an event by itself. This only saves
    /// the copy: the general way gives the same event.
    fn read_whole<'p>(&mut self, rest: &mut &'p [u8]) -> Option<Event<'p>> {
        if !self.begun.is_empty() {
            return None;
        }
        let (frame, mut behind) = Frame::parse(rest)?;
        frame.check(self.sender, self.open.is_some()).ok()?;
        if (split(&mut behind, frame.length).len() as u64) < frame.length {
            return None;
        }
        let raw = rest.get(..rest.len().saturating_sub(behind.len()))?;
        let event = match frame.opcode {
            Opcode::Data(kind) if frame.is_final && raw.len() <= self.bound => {
                Event::Message(Message { kind, raw: raw.into() })
            }
            _ => self.control(frame.opcode, raw.into())?,
        };
        *rest = behind;
        Some(event)
    }

    /// Reads the frame in `begun`: a control frame that is whole, or the header of a data frame.
    fn read_begun<'p>(&mut self) -> Option<Event<'p>> {
        let (frame, received) = Frame::parse(&self.begun)?;
        if let Err(rule) = frame.check(self.sender, self.open.is_some()) {
            return Some(self.violate(rule));
        }
        if !frame.is_control() {
            return self.begin(frame);
        }
        if (received.len() as u64) < frame.length {
            return None;
        }
        let raw = take(&mut self.begun).into();
        self.control(frame.opcode, raw)
    }

    /// Returns the event of a control frame; none for another opcode.
    fn control<'p>(&mut self, opcode: Opcode, raw: Cow<'p, [u8]>) -> Option<Event<'p>> {
        let kind = match opcode {
            Opcode::Ping => ControlKind::Ping,
            Opcode::Pong => ControlKind::Pong,
            Opcode::Close => {
                self.is_closed = true;
                let code = payload(&raw).first_chunk().map(|code| u16::from_be_bytes(*code));
                ControlKind::Close { code }
            }
            _ => return None,
        };
        Some(Event::Control(Control { kind, raw }))
    }

    /// Begins the data frame whose header is whole. Without room for the header, only ends the
    /// holding of its message; the next call begins the frame.
    fn begin<'p>(&mut self, frame: Frame) -> Option<Event<'p>> {
        if let Opcode::Data(kind) = frame.opcode {
            self.open = Some(Open { kind, length: 0, is_oversized: false });
        }
        let is_oversized = self.is_oversized();
        if !is_oversized && self.room() < self.begun.len() {
            return self.exceed();
        }
        self.at = At::Payload { left: frame.length, is_final: frame.is_final };
        if let Some(open) = &mut self.open {
            open.length = open.length.saturating_add(frame.length);
        }
        if is_oversized {
            return Some(Event::Pass(take(&mut self.begun).into()));
        }
        self.reserve(self.begun.len());
        self.held.append(&mut self.begun);
        None
    }

    /// Ends the open message.
    fn end<'p>(&mut self) -> Option<Event<'p>> {
        let Open { kind, length, is_oversized } = self.open.take()?;
        if is_oversized {
            return Some(Event::OversizedEnd { length });
        }
        Some(Event::Message(Message { kind, raw: take(&mut self.held).into() }))
    }

    /// Stops holding the open message.
    fn exceed<'p>(&mut self) -> Option<Event<'p>> {
        let open = self.open.as_mut()?;
        open.is_oversized = true;
        Some(Event::Oversized(Message { kind: open.kind, raw: take(&mut self.held).into() }))
    }

    fn violate<'p>(&mut self, rule: Violation) -> Event<'p> {
        self.at = At::Unread;
        let mut raw = take(&mut self.held);
        raw.append(&mut self.begun);
        Event::Violation { rule, raw }
    }

    fn is_oversized(&self) -> bool {
        self.open.is_some_and(|open| open.is_oversized)
    }

    fn room(&self) -> usize {
        self.bound.saturating_sub(self.held.len())
    }

    /// Makes place for bytes for which there is room: `held` doubles up to the bound.
    fn reserve(&mut self, more: usize) {
        let length = self.held.len().saturating_add(more);
        if length > self.held.capacity() {
            let doubled = self.held.capacity().saturating_mul(2).min(self.bound);
            self.held.reserve_exact(doubled.max(length).saturating_sub(self.held.len()));
        }
    }
}

#[cfg(test)]
mod tests;
