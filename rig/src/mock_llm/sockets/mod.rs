//! The APIs that speak WebSocket: one file or folder and one row in `APIS` each.
//!
//! In: a handshake, by the upgrade of HTTP/1.1 (RFC 6455) or by the extended CONNECT of HTTP/2 (RFC
//! 8441), and messages. Out: the API's events, and a [`ReceivedSocket`]. `x-mock-` headers of the
//! handshake make a socket misbehave, members of an event's `metadata` with these names a single
//! response; [`SOCKET_SWITCHES`] are those that only sockets have. `x-mock-status` from 400 up
//! refuses the upgrade, or makes a response an error. Not here: extensions such as compression,
//! which the mock never accepts, and limits on the time or the number of responses.

mod connection;
mod frames;
mod live;
mod modality;
mod realtime;
mod received;
mod responses;
mod switches;

use std::sync::Mutex;

use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::header::{
    CONNECTION, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::playback::{Playback, Witness};
use super::received::Records;
use super::{Answer, Behaviour, Received, play};
use connection::{Connection, Session};
pub use received::ReceivedSocket;
pub(super) use received::SocketRecords;
pub use switches::{Cut, Noise, SOCKET_SWITCHES, SocketBehaviour};

/// The APIs. The first that serves a path answers.
const APIS: &[Api] = &[responses::API, realtime::API, live::API];

/// An API that speaks WebSocket.
pub(super) struct Api {
    serves: fn(path: &str) -> bool,
    /// Begins a session, or says why the handshake is wrong.
    open: fn(&Behaviour, &Received) -> Opened,
    error: fn(StatusCode, message: &str) -> Answer,
    /// Whether its messages come in binary frames.
    binary: bool,
    /// The subprotocol that the server chooses, if the client offers it.
    protocol: Option<&'static str>,
}

type Opened = Result<Box<dyn Session>, String>;

/// Returns whether a request asks for a WebSocket.
pub(super) fn is_handshake(request: &Request<Incoming>) -> bool {
    if request.method() == Method::CONNECT {
        let protocol = request.extensions().get::<Protocol>();
        return protocol.is_some_and(|protocol| protocol.as_str().eq_ignore_ascii_case("websocket"));
    }
    let upgrade = request.headers().get(UPGRADE);
    request.method() == Method::GET
        && upgrade.is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Returns the API that serves `path`.
pub(super) fn api(path: &str) -> Option<&'static Api> {
    APIS.iter().find(|api| (api.serves)(path))
}

/// Answers a handshake, and runs the session if it succeeds.
pub(super) async fn answer(
    api: &'static Api,
    received: Received,
    upgrade: OnUpgrade,
    records: &Records,
    sessions: &Sessions,
    witness: Witness,
) -> Response<Playback> {
    let behaviour = match Behaviour::from_headers(&received.headers) {
        Ok(behaviour) => behaviour,
        Err(wrong) => return refuse(api, StatusCode::BAD_REQUEST, &wrong, witness),
    };
    tokio::time::sleep(behaviour.delay).await;
    if let Some(status) = behaviour.status.filter(|status| status.as_u16() >= 400) {
        let mut answer = (api.error)(status, "failed on request of x-mock-status");
        answer.headers.extend(behaviour.retry_after.clone().map(|told| (RETRY_AFTER, told)));
        return play(answer, &Behaviour::default(), witness);
    }
    let accept = match accept_key(&received) {
        Ok(accept) => accept,
        Err((status, wrong)) => return refuse(api, status, wrong, witness),
    };
    let session = match (api.open)(&behaviour, &received) {
        Ok(session) => session,
        Err(wrong) => return refuse(api, StatusCode::BAD_REQUEST, &wrong, witness),
    };

    let mut response = Response::new(Playback::unwatched());
    if received.version == Version::HTTP_11 {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().extend(accept.map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    }
    let offered = received.header(SEC_WEBSOCKET_PROTOCOL.as_str()).unwrap_or_default();
    if let Some(protocol) = api.protocol.filter(|name| offered.split(',').any(|one| one.trim() == *name)) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    let record = records.sockets.add(&received);
    let binary = behaviour.socket.binary.unwrap_or(api.binary);
    sessions.spawn(async move {
        // The client can be gone before the connection is upgraded.
        if let Ok(upgraded) = upgrade.await {
            Connection::of(upgraded, behaviour, binary, record, witness).await.run(session).await;
        }
    });
    response
}

fn refuse(api: &Api, status: StatusCode, message: &str, witness: Witness) -> Response<Playback> {
    play((api.error)(status, message), &Behaviour::default(), witness)
}

/// Returns the answer to the handshake's key, which HTTP/2 does without.
fn accept_key(received: &Received) -> Result<Option<HeaderValue>, (StatusCode, &'static str)> {
    if received.header(SEC_WEBSOCKET_VERSION.as_str()) != Some("13") {
        return Err((StatusCode::UPGRADE_REQUIRED, "sec-websocket-version is not 13"));
    }
    match received.headers.get(SEC_WEBSOCKET_KEY) {
        Some(key) => {
            let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
            Ok(Some(accept.expect("base64 is text")))
        }
        None if received.version == Version::HTTP_2 => Ok(None),
        None => Err((StatusCode::BAD_REQUEST, "sec-websocket-key is missing")),
    }
}

/// The running sessions of one connection.
#[derive(Default)]
pub(super) struct Sessions(Mutex<JoinSet<()>>);

impl Sessions {
    fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().expect("no one panics while adding to a set").spawn(session);
    }

    /// Waits until all have ended. Dropping the future ends them.
    pub(super) async fn ended(&self) {
        let sessions = core::mem::take(&mut *self.0.lock().expect("no one panics while adding to a set"));
        sessions.join_all().await;
    }
}
