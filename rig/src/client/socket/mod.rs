//! A WebSocket client that can misbehave.
//!
//! In: an address and a `GET` request with any headers. Out: a [`Socket`], or the HTTP response
//! that refused it. Over HTTP/1.1 the handshake is an upgrade (RFC 6455), over HTTP/2 an extended
//! CONNECT (RFC 8441). `tungstenite` reads the frames, so bytes that break RFC 6455 end the socket
//! with [`End::Broken`]. It answers pings and close frames while the test reads. [`Socket::raw`]
//! sends any bytes; [`Frame::format`] writes odd frames. Not here: extensions, TLS.

mod opening;

use core::fmt;
use core::future::Future;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::HeaderMap;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{self, Error};

use super::{Client, PATIENCE};
use crate::wire::Wire;

pub use opening::OpenError;
pub use tungstenite::Message;
pub use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader, coding};

/// An open WebSocket. Dropping it drops its connection (HTTP/2: resets its stream) without a close
/// frame.
pub struct Socket {
    stream: WebSocketStream<Wire>,
    headers: HeaderMap,
    close: Option<CloseFrame>,
    end: Option<End>,
    pings: usize,
    pongs: Vec<Bytes>,
    /// Keeps an HTTP/2 connection that only this socket uses.
    _connection: Option<Client>,
}

/// How a socket ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By close frames. Contains the code and the reason of the peer's frame, if it had any.
    Closed(Option<(u16, String)>),
    /// The connection closed without a close frame, or was reset.
    Dropped,
    /// The peer broke RFC 6455.
    Broken(String),
}

impl Socket {
    /// Returns the headers of the handshake's response.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Sends JSON as a text message. Returns `false` if the socket has ended.
    pub async fn send(&mut self, json: &Value) -> bool {
        self.message(Message::text(json.to_string())).await
    }

    /// Sends a message: text, binary, a ping, a pong, or a single [`Frame`], which is masked.
    /// Returns `false` if the socket has ended.
    pub async fn message(&mut self, message: Message) -> bool {
        let sent = patiently("a message to be sent", self.stream.send(message)).await;
        sent.map_err(|error| self.ended(error)).is_ok()
    }

    /// Sends a text in frames of at most `size` bytes. Returns `false` if the socket has ended.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    pub async fn fragments(&mut self, text: &str, size: usize) -> bool {
        use coding::{Data, OpCode};
        let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
        for (index, piece) in pieces.iter().enumerate() {
            let data = if index == 0 { Data::Text } else { Data::Continue };
            let last = index + 1 == pieces.len();
            let frame = Frame::message(piece.to_vec(), OpCode::Data(data), last);
            if !self.message(Message::Frame(frame)).await {
                return false;
            }
        }
        true
    }

    /// Writes `bytes` to the connection as they are. Returns `false` if it has closed.
    pub async fn raw(&mut self, bytes: &[u8]) -> bool {
        let wire = self.stream.get_mut();
        patiently("bytes to be sent", async {
            wire.write_all(bytes).await?;
            wire.flush().await
        })
        .await
        .is_ok()
    }

    /// Returns the next text or binary message, or nothing once the socket has ended.
    ///
    /// # Panics
    ///
    /// If nothing comes within [`PATIENCE`].
    pub async fn next(&mut self) -> Option<Message> {
        while self.end.is_none() {
            match patiently("a message", self.stream.next()).await {
                Some(Ok(Message::Ping(_))) => self.pings += 1,
                Some(Ok(Message::Pong(payload))) => self.pongs.push(payload),
                Some(Ok(Message::Close(frame))) => {
                    self.close = frame;
                    self.end = Some(self.closed());
                    // Lets the answer to the close frame leave.
                    let _ = patiently("the close frame to be answered", self.stream.next()).await;
                }
                Some(Ok(message)) => return Some(message),
                Some(Err(error)) => self.ended(error),
                None => self.end = Some(End::Dropped),
            }
        }
        None
    }

    /// Returns the next message as JSON, or nothing once the socket has ended.
    ///
    /// # Panics
    ///
    /// If the message is not JSON, or nothing comes within [`PATIENCE`].
    pub async fn event(&mut self) -> Option<Value> {
        let data = self.next().await?.into_data();
        Some(
            serde_json::from_slice(&data).unwrap_or_else(|error| {
                panic!("{error} in the message {:?}", String::from_utf8_lossy(&data))
            }),
        )
    }

    /// Returns the events up to the first that `last` accepts.
    ///
    /// # Panics
    ///
    /// If the socket ends before, or a message is not JSON, or nothing comes within [`PATIENCE`].
    pub async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut events = Vec::new();
        while !events.last().is_some_and(&last) {
            let event = self.event().await;
            events.push(event.unwrap_or_else(|| panic!("{:?} after the events {events:?}", self.end)));
        }
        events
    }

    /// Returns the events up to the first of this `type`.
    ///
    /// # Panics
    ///
    /// As [`Socket::until`].
    pub async fn until_type(&mut self, kind: &str) -> Vec<Value> {
        self.until(|event| event["type"] == kind).await
    }

    /// Returns how the socket ended, once the test has read to the end.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Returns the number of pings so far.
    #[must_use]
    pub const fn pings(&self) -> usize {
        self.pings
    }

    /// Returns the payloads of the pongs so far.
    #[must_use]
    pub fn pongs(&self) -> &[Bytes] {
        &self.pongs
    }

    /// Closes with a code and a reason, reads to the end, and returns how the socket ended.
    ///
    /// # Panics
    ///
    /// If the peer does not close within [`PATIENCE`].
    pub async fn close(mut self, code: u16, reason: &str) -> End {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        if self.message(Message::Close(Some(frame))).await {
            while self.next().await.is_some() {}
        }
        self.end.unwrap_or(End::Dropped)
    }

    /// Reads to the end and returns how the socket ended.
    ///
    /// # Panics
    ///
    /// If nothing comes within [`PATIENCE`].
    pub async fn drained(mut self) -> End {
        while self.next().await.is_some() {}
        self.end.unwrap_or(End::Dropped)
    }

    /// Resets the TCP connection, or the stream of HTTP/2.
    pub fn reset(self) {
        self.stream.into_inner().reset();
    }

    fn ended(&mut self, error: Error) {
        let end = match error {
            Error::ConnectionClosed | Error::AlreadyClosed => self.closed(),
            Error::Io(_) | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::Dropped,
            other => End::Broken(other.to_string()),
        };
        self.end.get_or_insert(end);
    }

    fn closed(&self) -> End {
        let frame = self.close.as_ref();
        End::Closed(frame.map(|frame| (frame.code.into(), frame.reason.to_string())))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("end", &self.end).finish_non_exhaustive()
    }
}

async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
