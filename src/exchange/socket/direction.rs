//! One direction of a socket: the frames read from it, and those to insert in it.
//!
//! In: frames to insert. Out: the bytes to pass. Not here: messages.
//!
//! A frame can be inserted only while bytes of its direction pass. If they do not, a ping in the
//! other direction makes its receiver answer: RFC 6455, section 5.5.2, demands a pong as soon as is
//! practical. Tollgate takes that pong out again.

use std::collections::VecDeque;

use crate::websocket::{Frames, Insertable, Kind, close_frame, data_frame, ping_frame};

/// The most pings that are remembered until their pongs come.
const MOST_PINGS: usize = 7;

/// One direction.
pub(super) struct Direction {
    pub(super) frames: Frames,
    /// Whether its frames are masked.
    is_masked: bool,
    /// The frames to insert.
    inserts: Vec<u8>,
    /// The payloads of pings whose pongs come in the other direction.
    pings: VecDeque<[u8; 8]>,
    /// Whether the last of them is awaited, so that no further one is needed.
    is_awaited: bool,
    /// Whether its last frame is inserted, or will be.
    is_closed: bool,
    /// Whether the frames that have passed end with a whole one, and no more pass.
    is_cut: bool,
}

impl Direction {
    /// Creates the direction from the client to the server.
    pub(super) fn from_client(bound: usize) -> Self {
        Self::new(Frames::from_client(bound), true)
    }

    /// Creates the direction from the server to the client.
    pub(super) fn from_server(bound: usize) -> Self {
        Self::new(Frames::from_server(bound), false)
    }

    const fn new(frames: Frames, is_masked: bool) -> Self {
        Self {
            frames,
            is_masked,
            inserts: Vec::new(),
            pings: VecDeque::new(),
            is_awaited: false,
            is_closed: false,
            is_cut: false,
        }
    }

    /// Inserts a message, as soon as that is possible. `random` makes the mask.
    pub(super) fn insert_message(&mut self, message: &str, random: u32) {
        if !self.is_closed {
            self.inserts.extend(data_frame(Kind::Text, message.as_bytes(), self.key(random)));
        }
    }

    /// Inserts a close frame after all other frames to insert, and nothing later.
    pub(super) fn close(&mut self, code: u16, reason: &str, random: u32) {
        if !self.is_closed {
            self.inserts.extend(close_frame(code, reason, self.key(random)));
            self.is_closed = true;
        }
    }

    /// Returns whether frames are still to be inserted.
    pub(super) fn has_inserts(&self) -> bool {
        !self.inserts.is_empty()
    }

    /// Adds the frames to insert, if any may be inserted behind the bytes that have passed.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        if self.has_inserts() && self.is_insertable() {
            out.append(&mut self.inserts);
        }
    }

    /// Returns whether any frame may be inserted behind the bytes that have passed.
    pub(super) fn is_insertable(&self) -> bool {
        self.is_cut || self.frames.insertable() == Insertable::Any
    }

    /// Records that the frames that have passed end with a whole one, and that no more pass.
    pub(super) const fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Inserts a ping, unless the pong of one is awaited.
    pub(super) fn ping(&mut self, out: &mut Vec<u8>, random: u32) {
        if !self.is_awaited && !self.is_closed && self.frames.insertable() >= Insertable::Control {
            let payload = (u64::from(random) << 32 | u64::from(!random)).to_be_bytes();
            out.extend(ping_frame(&payload, self.key(random)));
            // A pong that is forgotten passes, which does no harm.
            self.pings.truncate(MOST_PINGS);
            self.pings.push_front(payload);
            self.is_awaited = true;
        }
    }

    /// Returns whether a pong answers a ping of this direction.
    pub(super) fn takes_pong(&mut self, payload: &[u8]) -> bool {
        let Some(at) = self.pings.iter().position(|ping| ping == payload) else { return false };
        self.pings.remove(at);
        self.is_awaited = false;
        true
    }

    /// Records that the pong of the last ping may have come unread.
    pub(super) const fn await_no_pong(&mut self) {
        self.is_awaited = false;
    }

    /// Returns the mask of a frame.
    pub(super) fn key(&self, random: u32) -> Option<[u8; 4]> {
        self.is_masked.then(|| random.to_ne_bytes())
    }
}
