//! Opening a WebSocket, or learning why there is none.
//!
//! In: a request. Out: a [`Socket`], or an [`OpenError`]. The handshake's headers are set unless
//! the test sets them; over HTTP/2 too, where RFC 8441 needs no key, because Envoy passes the key
//! on to an upstream that speaks HTTP/1.1, and makes none itself. Not here: the socket.

use core::fmt;
use core::time::Duration;
use std::net::SocketAddr;
use std::time::Instant;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Socket;
use crate::client::{Client, ClientError, Request, Response, Sender, connect, in_time};
use crate::wire::Wire;

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

/// How long the client waits for the server's settings, which come at once.
const OFFER: Duration = Duration::from_secs(5);

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
        let Sender::Http2 { sender, offers_sockets } = &mut client.sender else {
            panic!("a socket takes all of HTTP/1.1")
        };
        let offered = async {
            while !offers_sockets() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(OFFER, offered).await.is_err() {
            return Err(OpenError::Wrong("the server does not offer the extended CONNECT".to_owned()));
        }
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

impl std::error::Error for OpenError {}

/// Adds the headers of the handshake that the test has not set.
fn with_defaults(request: Request) -> Request {
    request
        .upgrade("websocket")
        .or_header(SEC_WEBSOCKET_KEY.as_str(), KEY)
        .or_header(SEC_WEBSOCKET_VERSION.as_str(), "13")
}
