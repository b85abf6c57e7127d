//! The switches that only WebSockets have.
//!
//! In: the text of a switch. Out: a field of [`SocketBehaviour`]. A handshake's headers set them
//! for the whole socket, an event's `metadata` for one response. Not here: carrying them out, which
//! `connection.rs` does.

use core::time::Duration;

use crate::mock_llm::behaviour::{Switch, milliseconds, positive};

/// The requested behaviour of one socket, or of one response on it.
#[derive(Clone, Debug, Default)]
pub struct SocketBehaviour {
    /// What happens after [`cut_after`](crate::mock_llm::Behaviour::cut_after) events of a
    /// response.
    pub cut: Cut,
    /// The size of the frames that a message is split into.
    pub frame_bytes: Option<usize>,
    /// The number of pings before each frame.
    pub pings: usize,
    /// The size of a member that makes a response's first event large.
    pub padding: Option<usize>,
    /// Something else to send before each event of a response.
    pub noise: Option<Noise>,
    /// How late a ping is answered.
    pub pong_delay: Duration,
    /// Whether messages come in binary frames. The default is the API's.
    pub binary: Option<bool>,
    /// The milliseconds of sound that voice detection takes for one turn.
    pub turn_ms: Option<usize>,
    /// Whether the usage of Gemini Live adds up over the socket.
    pub total_usage: bool,
}

/// How a response ends early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// The connection closes without a close frame.
    #[default]
    Drop,
    /// The connection is reset (HTTP/2: the stream).
    Reset,
    /// Nothing more comes. The socket stays open, and the response can be cancelled.
    Stall,
    /// A close frame with this code.
    Close(u16),
}

/// What a client does not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// An event of a type that no API has, with a usage.
    Unknown,
    /// A text message that is not JSON.
    Text,
    /// A binary message of bytes that are neither JSON nor UTF-8.
    Binary,
    /// A text frame that is not UTF-8, which breaks RFC 6455.
    Utf8,
    /// Bytes that are not a frame.
    Wire,
}

/// All switches of WebSockets.
pub const SOCKET_SWITCHES: &[Switch] = &[
    Switch {
        header: "x-mock-socket-cut",
        value: "drop, reset, stall or a close code",
        meaning: "WebSocket: how x-mock-cut-after ends the socket after so many events of a response (default drop)",
        apply: |b, text, _| {
            b.socket.cut = match text {
                "drop" => Cut::Drop,
                "reset" => Cut::Reset,
                "stall" => Cut::Stall,
                code => Cut::Close(code.parse().ok()?),
            };
            Some(())
        },
    },
    Switch {
        header: "x-mock-socket-frame-bytes",
        value: "a number of bytes, at least 1",
        meaning: "WebSocket: send messages in frames of this size",
        apply: |b, text, _| positive(text).map(|n| b.socket.frame_bytes = Some(n)),
    },
    Switch {
        header: "x-mock-socket-pings",
        value: "a number of pings",
        meaning: "WebSocket: send so many pings before each frame",
        apply: |b, text, _| text.parse().ok().map(|n| b.socket.pings = n),
    },
    Switch {
        header: "x-mock-socket-padding",
        value: "a number of bytes",
        meaning: "WebSocket: make a response's first event so much larger",
        apply: |b, text, _| text.parse().ok().map(|n| b.socket.padding = Some(n)),
    },
    Switch {
        header: "x-mock-socket-noise",
        value: "unknown, text, binary, utf8 or wire",
        meaning: "WebSocket: before each event of a response, send an event of unknown type, a text that is not JSON, bytes that are not UTF-8 in a binary or a text frame, or bytes that are not a frame",
        apply: |b, text, _| {
            b.socket.noise = Some(match text {
                "unknown" => Noise::Unknown,
                "text" => Noise::Text,
                "binary" => Noise::Binary,
                "utf8" => Noise::Utf8,
                "wire" => Noise::Wire,
                _ => return None,
            });
            Some(())
        },
    },
    Switch {
        header: "x-mock-socket-pong-delay-ms",
        value: "milliseconds",
        meaning: "WebSocket: answer pings so late (in the handshake only)",
        apply: |b, text, _| milliseconds(text).map(|time| b.socket.pong_delay = time),
    },
    Switch {
        header: "x-mock-socket-binary",
        value: "true or false",
        meaning: "WebSocket: send messages in binary frames (default true for Gemini Live, else false)",
        apply: |b, text, _| text.parse().ok().map(|yes| b.socket.binary = Some(yes)),
    },
    Switch {
        header: "x-mock-socket-turn-ms",
        value: "milliseconds of sound, at least 1",
        meaning: "WebSocket: voice detection takes so much sound for one turn (default 500; in the handshake only)",
        apply: |b, text, _| positive(text).map(|n| b.socket.turn_ms = Some(n)),
    },
    Switch {
        header: "x-mock-socket-usage",
        value: "turn or total",
        meaning: "Gemini Live: usageMetadata counts the turn, or adds up over the socket (default turn)",
        apply: |b, text, _| {
            b.socket.total_usage = match text {
                "turn" => false,
                "total" => true,
                _ => return None,
            };
            Some(())
        },
    },
];

/// The sound that makes a turn if the test sets nothing.
const TURN_MS: usize = 500;

impl SocketBehaviour {
    /// Returns the milliseconds of sound in a turn.
    pub(super) fn turn_ms(&self) -> usize {
        self.turn_ms.unwrap_or(TURN_MS)
    }
}
