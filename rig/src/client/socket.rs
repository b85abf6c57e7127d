//! A WebSocket client that can misbehave.
//!
//! In: an address and a `GET` request with any headers. Out: a [`Socket`], or the HTTP response
//! that refused it. Over HTTP/1.1 the handshake is an upgrade (RFC 6455), over HTTP/2 an extended
//! CONNECT (RFC 8441). `tungstenite` reads the frames, so bytes that break RFC 6455 end the socket
//! with [`End::Broken`]. It answers pings and close frames while the test reads. [`Socket::raw`]
//! sends any bytes; [`Frame::format`] writes odd frames. Not here: extensions, TLS.

use core::fmt;
use core::future::Future;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Error};

use super::{Client, ClientError, PATIENCE, Request, Response, Sender, connect, in_time};
use crate::wire::Wire;

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

/// The reason why no socket opened.
pub enum OpenError {
    /// The server answered with an HTTP response.
    Refused(Box<Response>),
    /// The exchange broke.
    Failed(ClientError),
    /// The server accepted in a way that RFC 6455 forbids.
    Wrong(String),
}

/// The key of every handshake: the example of RFC 6455.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl Socket {
    /// Opens a socket over a new HTTP/1.1 connection.
    ///
    /// # Errors
    ///
    /// If the server refuses or does not answer.
    pub async fn http1(address: SocketAddr, request: Request) -> Result<Self, OpenError> {
        let (mut sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(connect(address).await?))
            .await
            .map_err(ClientError::Exchange)?;
        let connection = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let (what, started) = (request.summary(), Instant::now());
        let request = with_defaults(request).into_http(address, false);
        let response = in_time(&what, sender.send_request(request)).await?;
        let accept = derive_accept_key(KEY.as_bytes());
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).is_some_and(|key| *key == *accept);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !accepted {
            return Err(OpenError::Wrong(format!("sec-websocket-accept is not {accept}")));
        }
        let abort = Some(connection.abort_handle());
        Self::of(response, StatusCode::SWITCHING_PROTOCOLS, started, abort).await
    }

    /// Opens a socket over a new HTTP/2 connection.
    ///
    /// # Errors
    ///
    /// As [`Socket::http1`].
    pub async fn http2(address: SocketAddr, request: Request) -> Result<Self, OpenError> {
        let mut client = Client::http2(address).await?;
        let mut socket = Self::beside(&mut client, request).await?;
        socket._connection = Some(client);
        Ok(socket)
    }

    /// Opens a socket over an HTTP/2 connection that has other calls.
    ///
    /// # Errors
    ///
    /// As [`Socket::http1`].
    ///
    /// # Panics
    ///
    /// If the connection is HTTP/1.1.
    pub async fn beside(client: &mut Client, request: Request) -> Result<Self, OpenError> {
        let Sender::Http2(sender) = &mut client.sender else { panic!("a socket takes all of HTTP/1.1") };
        let (what, started) = (request.summary(), Instant::now());
        let request = with_defaults(request).into_http(client.address, true);
        let response = in_time(&what, async {
            sender.ready().await?;
            sender.send_request(request).await
        });
        Self::of(response.await?, StatusCode::OK, started, None).await
    }

    async fn of(
        mut response: hyper::Response<Incoming>,
        accepted: StatusCode,
        started: Instant,
        abort: Option<AbortHandle>,
    ) -> Result<Self, OpenError> {
        if response.status() != accepted {
            return Err(OpenError::Refused(Box::new(Response::new(response, started, abort))));
        }
        let headers = response.headers().clone();
        let upgraded = in_time("the upgrade", hyper::upgrade::on(&mut response)).await?;
        let (wire, first) = Wire::of_client(upgraded);
        let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let stream = WebSocketStream::from_partially_read(wire, first, Role::Client, Some(limits)).await;
        Ok(Self { stream, headers, close: None, end: None, pings: 0, pongs: Vec::new(), _connection: None })
    }

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

impl OpenError {
    /// Returns the response that refused the socket.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn refusal(self) -> Response {
        match self {
            Self::Refused(response) => *response,
            other => panic!("{other}"),
        }
    }
}

impl From<ClientError> for OpenError {
    fn from(error: ClientError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) => write!(f, "the server answered with {}", response.status()),
            Self::Failed(error) => error.fmt(f),
            Self::Wrong(what) => f.write_str(what),
        }
    }
}

impl fmt::Debug for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("end", &self.end).finish_non_exhaustive()
    }
}

impl std::error::Error for OpenError {}

/// Adds the headers of the handshake that the test has not set.
fn with_defaults(request: Request) -> Request {
    request
        .upgrade("websocket")
        .or_header(SEC_WEBSOCKET_KEY.as_str(), KEY)
        .or_header(SEC_WEBSOCKET_VERSION.as_str(), "13")
}

async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
