//! The mock's record of its requests.
//!
//! In: requests as they arrive. Out: a [`Received`] for each, readable as soon as its body is
//! complete or has broken off, and how the exchange ended once that is known. Not here: the
//! answers.

use std::sync::{Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Uri, Version};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use super::playback::Ending;
use super::sockets::SocketRecords;
use crate::client::PATIENCE;

/// A request as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// Path and query; with HTTP/2 also scheme and authority.
    pub uri: Uri,
    /// The HTTP version that Envoy spoke to the upstream.
    pub version: Version,
    /// The headers, without HTTP/2's pseudo headers.
    pub headers: HeaderMap,
    /// The body, or the part of it that came.
    pub body: Bytes,
    /// The trailers, if any came.
    pub trailers: Option<HeaderMap>,
    /// How many calls the mock had in progress when this one was complete, including this one.
    pub under_way: usize,
    ending: watch::Receiver<Option<Ending>>,
}

impl Received {
    /// Returns the record of a WebSocket's handshake, which has no body.
    pub(super) fn handshake(parts: Parts, ending: watch::Receiver<Option<Ending>>) -> Self {
        let Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers, body: Bytes::new(), trailers: None, under_way: 1, ending }
    }

    /// Returns the value of header `name`, if it exists and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the request body {:?}", self.body))
    }

    /// Returns how the exchange ended, or nothing while it lasts.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        *self.ending.borrow()
    }

    /// Waits until the exchange has ended.
    ///
    /// # Panics
    ///
    /// If it lasts longer than [`PATIENCE`].
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.clone();
        let seen = timeout(PATIENCE, ending.wait_for(Option::is_some)).await;
        let seen =
            seen.unwrap_or_else(|_| panic!("{} {} has not ended after {PATIENCE:?}", self.method, self.uri));
        seen.ok().and_then(|ending| *ending).expect("a witness speaks before it goes")
    }
}

/// Reads a request to its end. Also returns whether that end was reached.
pub(super) async fn read(
    parts: Parts,
    mut body: Incoming,
    ending: watch::Receiver<Option<Ending>>,
) -> (Received, bool) {
    let mut bytes = BytesMut::new();
    let mut trailers = None;
    let complete = loop {
        match body.frame().await {
            None => break true,
            Some(Err(_)) => break false,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
        }
    };
    let Parts { method, uri, version, headers, .. } = parts;
    let body = bytes.freeze();
    (Received { method, uri, version, headers, body, trailers, under_way: 1, ending }, complete)
}

/// The list of requests, and a way to wait for more.
pub(super) struct Records {
    /// None if the mock keeps no requests.
    list: Option<Mutex<Vec<Received>>>,
    count: watch::Sender<usize>,
    /// The WebSockets.
    pub(super) sockets: SocketRecords,
}

impl Records {
    pub(super) fn kept() -> Self {
        Self { list: Some(Mutex::default()), count: watch::Sender::new(0), sockets: SocketRecords::kept() }
    }

    pub(super) fn forgotten() -> Self {
        Self { list: None, count: watch::Sender::new(0), sockets: SocketRecords::forgotten() }
    }

    pub(super) fn add(&self, received: &Received) {
        if let Some(mut list) = self.locked() {
            let under_way = list.iter().filter(|other| other.ending().is_none()).count() + 1;
            list.push(Received { under_way, ..received.clone() });
            self.count.send_replace(list.len());
        }
    }

    pub(super) fn all(&self) -> Vec<Received> {
        self.locked().map(|list| list.clone()).unwrap_or_default()
    }

    pub(super) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let enough =
            timeout(PATIENCE, self.count.subscribe().wait_for(|so_far| *so_far >= count)).await.is_ok();
        let all = self.all();
        assert!(enough, "{} requests instead of {count} reached the mock in {PATIENCE:?}", all.len());
        all
    }

    fn locked(&self) -> Option<MutexGuard<'_, Vec<Received>>> {
        self.list.as_ref().map(|list| list.lock().expect("no one panics while adding to a list"))
    }
}
