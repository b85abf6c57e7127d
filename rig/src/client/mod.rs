//! A small HTTP client that can misbehave.
//!
//! In: an address, and requests with any header bytes, whole bodies or bodies in parts, and
//! trailers. Out: responses, read chunk by chunk with arrival times. One [`Client`] is one
//! connection, so a test decides which calls share one; dropping a [`Response`] aborts its call.
//! [`PATIENCE`] bounds every wait. [`socket`] opens WebSockets, [`sse`] parses streams of events,
//! and [`raw`] sends bytes that are not HTTP. Not here: TLS, redirects, pools, retries.

pub mod raw;
mod request;
pub mod socket;
pub mod sse;

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::time::Duration;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

pub use request::{BodySender, Request};

/// The longest wait anywhere in the rig, far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, which closes when it and all its responses are dropped.
pub struct Client {
    address: SocketAddr,
    sender: Sender,
    connection: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2 {
        sender: http2::SendRequest<Body>,
        /// Returns whether the server's settings offer the extended CONNECT.
        offers_sockets: Arc<dyn Fn() -> bool + Send + Sync>,
    },
}

/// Why a lock of a connection cannot be poisoned.
const UNPOISONED: &str = "hyper does not panic";

type Body = BoxBody<Bytes, GivenUp>;

impl Client {
    /// Connects by HTTP/1.1, which carries one call at a time.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn http1(address: SocketAddr) -> Result<Self, ClientError> {
        let (sender, connection) = http1::Builder::new()
            .handshake(TokioIo::new(connect(address).await?))
            .await
            .map_err(ClientError::Exchange)?;
        // The calls on the connection report how it ended.
        let connection = tokio::spawn(async move { drop(connection.await) }).abort_handle();
        Ok(Self { address, sender: Sender::Http1(sender), connection })
    }

    /// Connects by HTTP/2 without TLS, which carries any number of calls at a time.
    ///
    /// # Errors
    ///
    /// If nothing listens there, or not for HTTP/2.
    pub async fn http2(address: SocketAddr) -> Result<Self, ClientError> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(connect(address).await?))
            .await
            .map_err(ClientError::Exchange)?;
        let connection = Arc::new(Mutex::new(connection));
        let running = Arc::clone(&connection);
        let running = poll_fn(move |cx| Pin::new(&mut *running.lock().expect(UNPOISONED)).poll(cx));
        let offers_sockets =
            move || connection.lock().expect(UNPOISONED).is_extended_connect_protocol_enabled();
        let connection = tokio::spawn(async move { drop(running.await) }).abort_handle();
        let sender = Sender::Http2 { sender, offers_sockets: Arc::new(offers_sockets) };
        Ok(Self { address, sender, connection })
    }

    /// Returns another handle to the same HTTP/2 connection, for parallel calls.
    ///
    /// # Panics
    ///
    /// If the connection is HTTP/1.1, which carries one call at a time.
    #[must_use]
    pub fn same_connection(&self) -> Self {
        let Sender::Http2 { sender, offers_sockets } = &self.sender else {
            panic!("HTTP/1.1 carries one call at a time")
        };
        Self {
            address: self.address,
            sender: Sender::Http2 { sender: sender.clone(), offers_sockets: Arc::clone(offers_sockets) },
            connection: self.connection.clone(),
        }
    }

    /// Sends a request and waits for the response's headers.
    ///
    /// # Errors
    ///
    /// If the connection or the stream ends before the headers, or they do not come in time.
    pub async fn send(&mut self, request: Request) -> Result<Response, ClientError> {
        let started = Instant::now();
        let http2 = matches!(self.sender, Sender::Http2 { .. });
        let what = request.summary();
        let request = request.into_http(self.address, http2);
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                in_time(&what, async {
                    sender.ready().await?;
                    sender.send_request(request).await
                })
                .await
            }
            Sender::Http2 { sender, .. } => {
                in_time(&what, async {
                    sender.ready().await?;
                    sender.send_request(request).await
                })
                .await
            }
        }?;
        let abort_connection = (!http2).then(|| self.connection.clone());
        Ok(Response::new(response, started, abort_connection))
    }
}

/// Sends one request over its own HTTP/1.1 connection.
///
/// # Errors
///
/// As [`Client::http1`] and [`Client::send`].
pub async fn send(address: SocketAddr, request: Request) -> Result<Response, ClientError> {
    Client::http1(address).await?.send(request).await
}

/// A response whose body is read as it arrives. Dropping it before its end aborts the call:
/// HTTP/1.1 closes the connection, HTTP/2 resets the stream.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    started: Instant,
    headers_at: Instant,
    stream: Stream,
    trailers: Option<HeaderMap>,
}

/// A piece of a body as it arrived.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes.
    pub data: Bytes,
    /// When it arrived.
    pub at: Instant,
}

impl Response {
    fn new(
        response: hyper::Response<Incoming>,
        started: Instant,
        abort_connection: Option<AbortHandle>,
    ) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            started,
            headers_at: Instant::now(),
            stream: Stream { body, ended: false, abort_connection },
            trailers: None,
        }
    }

    /// Returns the status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Returns all headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the value of header `name`, if it exists and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the time between sending the request and receiving the headers.
    #[must_use]
    pub fn time_to_headers(&self) -> Duration {
        self.headers_at - self.started
    }

    /// Returns when the request was sent.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.started
    }

    /// Returns the next piece of the body, or nothing at its end.
    ///
    /// # Errors
    ///
    /// If the body is cut or does not continue in time.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, ClientError> {
        loop {
            let frame = in_time("a chunk", async { self.stream.body.frame().await.transpose() }).await;
            let Some(frame) = frame.inspect_err(|_| self.stream.ended = true)? else {
                self.stream.ended = true;
                return Ok(None);
            };
            match frame.into_data() {
                Ok(data) => return Ok(Some(Chunk { data, at: Instant::now() })),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }

    /// Returns the rest of the body.
    ///
    /// # Errors
    ///
    /// [`ClientError::Cut`] with the bytes received, if the body is cut.
    pub async fn body(&mut self) -> Result<Bytes, ClientError> {
        let mut body = BytesMut::new();
        loop {
            match self.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk.data),
                Ok(None) => return Ok(body.freeze()),
                Err(ClientError::Exchange(why)) => {
                    return Err(ClientError::Cut { received: body.freeze(), why });
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// Returns the rest of the body as JSON.
    ///
    /// # Errors
    ///
    /// As [`Response::body`].
    ///
    /// # Panics
    ///
    /// If the body is not JSON.
    pub async fn json(&mut self) -> Result<Value, ClientError> {
        let body = self.body().await?;
        let status = self.status;
        Ok(serde_json::from_slice(&body)
            .unwrap_or_else(|error| panic!("{error} in the {status} body {body:?}")))
    }

    /// Returns the rest of the body as a stream of events.
    ///
    /// # Errors
    ///
    /// As [`Response::body`].
    pub async fn transcript(&mut self) -> Result<sse::Transcript, ClientError> {
        Ok(sse::Transcript::parse(&self.body().await?))
    }

    /// Returns the trailers, which are known once the body has been read.
    #[must_use]
    pub const fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Aborts the call, as dropping does.
    pub fn abort(self) {}
}

/// The body, and the connection to abort with it.
struct Stream {
    body: Incoming,
    ended: bool,
    /// Set for HTTP/1.1, where only closing the connection aborts a call.
    abort_connection: Option<AbortHandle>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(connection) = self.abort_connection.take().filter(|_| !self.ended) {
            connection.abort();
        }
    }
}

/// The reason why a call did not complete.
#[derive(Debug)]
pub enum ClientError {
    /// Nothing accepts connections at the address.
    Connect {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        why: std::io::Error,
    },
    /// The connection or the stream broke, or the peer does not speak HTTP.
    Exchange(hyper::Error),
    /// The response's body broke off.
    Cut {
        /// The bytes received before.
        received: Bytes,
        /// The connection's error.
        why: hyper::Error,
    },
    /// Nothing happened for [`PATIENCE`].
    Hang {
        /// The event that did not happen.
        waiting_for: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { address, why } => write!(f, "cannot connect to {address}: {why}"),
            Self::Exchange(why) => write!(f, "the exchange broke: {why}"),
            Self::Cut { received, why } => {
                let text = String::from_utf8_lossy(received);
                write!(f, "the body was cut ({why}) after {} bytes: {text}", received.len())
            }
            Self::Hang { waiting_for } => write!(f, "waited {PATIENCE:?} for {waiting_for}"),
        }
    }
}

impl std::error::Error for ClientError {}

/// The error of a request body whose sender has aborted it.
#[derive(Debug)]
pub struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body was given up")
    }
}

impl std::error::Error for GivenUp {}

async fn connect(address: SocketAddr) -> Result<TcpStream, ClientError> {
    let stream = TcpStream::connect(address).await.map_err(|why| ClientError::Connect { address, why })?;
    // Send each chunk of a request when it is written.
    stream.set_nodelay(true).map_err(|why| ClientError::Connect { address, why })?;
    Ok(stream)
}

async fn in_time<T>(
    what: &str,
    call: impl Future<Output = Result<T, hyper::Error>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(result) => result.map_err(ClientError::Exchange),
        Err(_) => Err(ClientError::Hang { waiting_for: what.to_owned() }),
    }
}
