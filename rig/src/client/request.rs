//! Requests as tests write them.
//!
//! In: method, path, headers as text or bytes, a body that is whole or comes in parts. Out: the
//! request that the connection sends. `content-length` is set for whole bodies unless the test sets
//! it. Not here: names and values that HTTP libraries refuse to write; [`super::raw`] sends those.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Full};
use hyper::ext::Protocol;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::{HeaderMap, Method, Uri};
use serde_json::Value;

use super::{Body, GivenUp};

/// A request to send.
pub struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Body,
    upgrade: Option<&'static str>,
}

impl Request {
    /// Returns a request without body.
    ///
    /// # Panics
    ///
    /// If `method` is not a valid method.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let method = method.parse().unwrap_or_else(|_| panic!("{method:?} is not a method"));
        Self {
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: whole(Bytes::new()),
            upgrade: None,
        }
    }

    /// Returns a `GET` request.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// Returns a `POST` request.
    #[must_use]
    pub fn post(path: &str) -> Self {
        Self::new("POST", path)
    }

    /// Returns a chat completions request with this body.
    #[must_use]
    pub fn chat(body: &Value) -> Self {
        Self::post("/v1/chat/completions").json(body)
    }

    /// Adds a header. The value may be any bytes that HTTP can carry, UTF-8 or not.
    ///
    /// # Panics
    ///
    /// If the name is invalid or the value has control bytes.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let key: HeaderName = name.parse().unwrap_or_else(|_| panic!("{name:?} is not a header name"));
        let value = HeaderValue::from_bytes(value.as_ref());
        self.headers.append(key, value.unwrap_or_else(|_| panic!("the value of {name} has control bytes")));
        self
    }

    /// Adds a header unless the test has set it.
    pub(in crate::client) fn or_header(self, name: &str, value: &str) -> Self {
        if self.headers.contains_key(name) { self } else { self.header(name, value) }
    }

    /// Requests another protocol, such as `websocket`: by `Connection: Upgrade` over HTTP/1.1, by
    /// an extended CONNECT (RFC 8441) over HTTP/2, where the server must have offered that before.
    #[must_use]
    pub const fn upgrade(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    /// Sets a whole body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = whole(body.into());
        self
    }

    /// Sets a whole JSON body and its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json").body(body.to_string())
    }

    /// Sets a body that the returned sender sends in parts during the call. The body ends when the
    /// sender is dropped.
    #[must_use]
    pub fn body_in_parts(mut self) -> (Self, BodySender) {
        let (sender, body) = Channel::new(1);
        self.body = body.boxed();
        (self, BodySender(sender))
    }

    pub(super) fn summary(&self) -> String {
        format!("the response headers of {} {}", self.method, self.path)
    }

    pub(super) fn into_http(self, address: SocketAddr, http2: bool) -> hyper::Request<Body> {
        let mut request = hyper::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.headers_mut() = self.headers;
        // HTTP/2 derives `:authority` from the address; HTTP/1.1 has the host header.
        let target = if http2 { format!("http://{address}{}", self.path) } else { self.path };
        match self.upgrade {
            Some(protocol) if http2 => {
                *request.method_mut() = Method::CONNECT;
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            Some(protocol) => {
                request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
                request.headers_mut().insert(UPGRADE, HeaderValue::from_static(protocol));
            }
            None => {}
        }
        *request.uri_mut() = target.parse::<Uri>().unwrap_or_else(|error| panic!("{target}: {error}"));
        if !http2 {
            let host = HeaderValue::from_str(&address.to_string()).expect("an address is text");
            request.headers_mut().entry(HOST).or_insert(host);
        }
        request
    }
}

/// The sender of a body in parts.
pub struct BodySender(Sender<Bytes, GivenUp>);

impl BodySender {
    /// Sends a part once there is room. Returns `false` if the call has ended.
    pub async fn send(&mut self, part: impl Into<Bytes>) -> bool {
        self.0.send_data(part.into()).await.is_ok()
    }

    /// Ends the body with trailers. HTTP/1.1 sends only trailers that a `trailer` header announces.
    ///
    /// # Panics
    ///
    /// If a name or value is invalid.
    pub async fn finish_with_trailers(mut self, trailers: &[(&str, &str)]) -> bool {
        let trailers = trailers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap_or_else(|_| panic!("{name:?} is not a header name"));
            (name, HeaderValue::from_str(value).unwrap_or_else(|_| panic!("{value:?} is not a header value")))
        });
        self.0.send_trailers(trailers.collect()).await.is_ok()
    }

    /// Aborts the request: HTTP/1.1 closes the connection, HTTP/2 resets the stream. Parts still
    /// queued are lost; [`super::raw`] gives exact control.
    pub fn abort(self) {
        self.0.abort(GivenUp);
    }
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed()
}
