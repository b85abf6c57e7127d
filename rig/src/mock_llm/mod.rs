//! A mock LLM server, and MCP server: real HTTP/1.1 and HTTP/2, real token counts, and failures on
//! request.
//!
//! In: requests as clients of LLM APIs send them, with `x-mock-` headers for failures (the tables
//! are [`behaviour::switches`]). Out: answers in the API's own format, and a [`Received`] per
//! request, which also records how the exchange ended. Each API format has one file and one row in
//! `FORMATS`; [`sockets`] has the APIs that speak WebSocket. Not here: TLS, keys, limits, and
//! anything random or dependent on the time: equal requests get equal answers.

mod anthropic;
mod azure;
mod bedrock;
mod bedrock_invoke;
pub mod behaviour;
mod chat_completions;
pub mod coding;
mod cohere;
mod completions;
mod embeddings;
pub mod eventstream;
mod gemini;
mod images;
mod llama;
mod mcp;
mod moderations;
mod ollama;
mod openai;
mod playback;
mod received;
mod responses;
pub mod sockets;
mod speech;
pub mod tokens;
mod transcriptions;
mod usage;
mod words;

use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use behaviour::Behaviour;
pub use playback::Ending;
use playback::{Playback, Step, Witness};
pub use received::Received;
use received::Records;
pub use sockets::ReceivedSocket;
use sockets::Sessions;

/// A running mock, which stops and drops its connections when it is dropped.
pub struct MockLlm {
    address: SocketAddr,
    records: Arc<Records>,
    serving: JoinHandle<()>,
}

impl MockLlm {
    /// Starts a mock on a free port of 127.0.0.1 that records its requests.
    ///
    /// # Panics
    ///
    /// If no port is free.
    pub async fn start() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::listen(address, Arc::new(Records::kept())).await.expect("a free port on 127.0.0.1")
    }

    /// Starts a mock on `address` that does not record requests, so that it can run for long.
    ///
    /// # Errors
    ///
    /// If it cannot listen on `address`.
    pub async fn forgetful(address: SocketAddr) -> io::Result<Self> {
        Self::listen(address, Arc::new(Records::forgotten())).await
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the requests so far, in the order in which they were complete.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.records.all()
    }

    /// Waits for `count` requests and returns all requests.
    ///
    /// # Panics
    ///
    /// If they do not come within [`crate::client::PATIENCE`].
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        self.records.wait_for(count).await
    }

    /// Returns the WebSockets so far, in the order in which they were opened. Their handshakes are
    /// among [`MockLlm::received`] too.
    #[must_use]
    pub fn sockets(&self) -> Vec<ReceivedSocket> {
        self.records.sockets.all()
    }

    /// Waits for `count` WebSockets and returns all of them.
    ///
    /// # Panics
    ///
    /// If they do not come within [`crate::client::PATIENCE`].
    pub async fn wait_for_sockets(&self, count: usize) -> Vec<ReceivedSocket> {
        self.records.sockets.wait_for(count).await
    }

    /// Serves until the process ends.
    pub async fn serve(mut self) {
        // The task ends only with its runtime, so there is nothing to report.
        let _ = (&mut self.serving).await;
    }

    async fn listen(address: SocketAddr, records: Arc<Records>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(accept(listener, Arc::clone(&records)));
        Ok(Self { address, records, serving })
    }
}

impl Drop for MockLlm {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The API formats. The first that serves a path answers.
const FORMATS: &[Format] = &[
    azure::CHAT,
    chat_completions::FORMAT,
    llama::FORMAT,
    completions::FORMAT,
    responses::CREATE,
    responses::RETRIEVE,
    responses::INPUT_TOKENS,
    embeddings::FORMAT,
    speech::FORMAT,
    transcriptions::FORMAT,
    images::FORMAT,
    moderations::FORMAT,
    anthropic::MESSAGES,
    anthropic::COUNT_TOKENS,
    gemini::FORMAT,
    bedrock::FORMAT,
    cohere::FORMAT,
    ollama::CHAT,
    ollama::GENERATE,
    ollama::EMBED,
    openai::MODELS,
    mcp::FORMAT,
];

/// An API format.
struct Format {
    serves: fn(&Method, path: &str) -> bool,
    answer: fn(&Behaviour, &Received) -> Answer,
    error: fn(StatusCode, message: &str) -> Answer,
}

/// An answer before compression and timing.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    /// The API's own headers.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The chunks of a stream, or a single one.
    chunks: Vec<Bytes>,
    streamed: bool,
}

impl Answer {
    fn whole(status: StatusCode, json: String) -> Self {
        Self {
            status,
            content_type: "application/json",
            headers: Vec::new(),
            chunks: vec![json.into()],
            streamed: false,
        }
    }

    fn events(status: StatusCode, events: Vec<String>) -> Self {
        Self::stream(status, "text/event-stream; charset=utf-8", events)
    }

    fn stream(
        status: StatusCode,
        content_type: &'static str,
        chunks: impl IntoIterator<Item: Into<Bytes>>,
    ) -> Self {
        let chunks = chunks.into_iter().map(Into::into).collect();
        Self { status, content_type, headers: Vec::new(), chunks, streamed: true }
    }

    /// Adds a header.
    fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("the mock's own headers are text");
        self.headers.push((HeaderName::from_static(name), value));
        self
    }
}

/// The creation time of every answer, constant so that answers compare equal.
const CREATED: u64 = 1_700_000_000;

/// The wait before a cut, which lets the last bytes leave: a reset discards queued bytes.
const BEFORE_CUT: Duration = Duration::from_millis(20);

async fn accept(listener: TcpListener, records: Arc<Records>) {
    // Dropped with this task, which ends the connections.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // Accepting fails if the peer is gone already, or while no descriptor is free.
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.spawn(serve_connection(stream, Arc::clone(&records)));
    }
}

async fn serve_connection(stream: TcpStream, records: Arc<Records>) {
    // Without it a streamed chunk would wait for the acknowledgement of the previous one.
    let _ = stream.set_nodelay(true);
    let sessions = Arc::new(Sessions::default());
    let running = Arc::clone(&sessions);
    let service = service_fn(move |request| {
        let (records, running) = (Arc::clone(&records), Arc::clone(&running));
        async move { Ok::<_, core::convert::Infallible>(respond(request, &records, &running).await) }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    // More than any test or benchmark has in flight over one connection.
    server.http2().max_concurrent_streams(10_000).enable_connect_protocol();
    // A requested cut is an error of the connection.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
    // Over HTTP/1.1 a WebSocket begins where HTTP ends.
    sessions.ended().await;
}

async fn respond(
    mut request: Request<Incoming>,
    records: &Records,
    sessions: &Sessions,
) -> Response<Playback> {
    let (witness, ending) = Witness::new();
    let upgrade = sockets::is_handshake(&request).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let (received, complete) = match upgrade {
        Some(_) => (Received::handshake(parts, ending), true),
        None => received::read(parts, body, ending).await,
    };
    records.add(&received);
    if !complete {
        witness.saw(Ending::RequestIncomplete);
    }
    if let Some(upgrade) = upgrade
        && let Some(api) = sockets::api(received.uri.path())
    {
        return sockets::answer(api, received, upgrade, records, sessions, witness).await;
    }

    let path = received.uri.path().to_owned();
    let format = FORMATS.iter().find(|format| (format.serves)(&received.method, &path));
    let error = format.map_or(openai::error as fn(_, &str) -> _, |format| format.error);
    let behaviour = match Behaviour::from_headers(&received.headers) {
        Ok(behaviour) => behaviour,
        Err(wrong) => return play(error(StatusCode::BAD_REQUEST, &wrong), &Behaviour::default(), witness),
    };
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
    let body = match coding::decoded(&received.headers, received.body.clone()) {
        Ok(body) => body,
        Err(wrong) => return play(error(StatusCode::BAD_REQUEST, &wrong), &behaviour, witness),
    };
    let mut received = received;
    received.body = body;
    let answer = match (format, behaviour.status) {
        (_, Some(status)) if status.as_u16() >= 400 => {
            let mut answer = error(status, "failed on request of x-mock-status");
            answer.headers.extend(behaviour.retry_after.clone().map(|told| (RETRY_AFTER, told)));
            answer
        }
        (None, _) => {
            error(StatusCode::NOT_FOUND, &format!("Unknown request URL: {} {path}.", received.method))
        }
        // Benchmarks need no counts, so take the shortest way.
        (Some(format), _) if behaviour.usage.is_some() || behaviour.no_usage => {
            (format.answer)(&behaviour, &received)
        }
        (Some(format), _) => {
            let (wish, answer) = (behaviour.clone(), format.answer);
            // Counting a long prompt takes a while; keep it off the thread that sends other calls'
            // chunks.
            tokio::task::spawn_blocking(move || answer(&wish, &received))
                .await
                .expect("an answer can be made")
        }
    };
    play(answer, &behaviour, witness)
}

/// Turns an answer into a response with its bytes and timing.
fn play(answer: Answer, behaviour: &Behaviour, witness: Witness) -> Response<Playback> {
    let chunks = match behaviour.encoding {
        Some(coding) => coding.encode(&answer.chunks),
        None => answer.chunks,
    };
    let length: usize = chunks.iter().map(Bytes::len).sum();
    let writes = match behaviour.split_bytes {
        None => chunks,
        Some(size) => chunks.concat().chunks(size).map(Bytes::copy_from_slice).collect(),
    };

    let mut steps = Vec::new();
    for (index, bytes) in writes.into_iter().enumerate() {
        if behaviour.cut_after == Some(index) {
            steps.extend([Step::Pause(BEFORE_CUT), Step::Cut]);
            break;
        }
        if index > 0 && !behaviour.chunk_delay.is_zero() {
            steps.push(Step::Pause(behaviour.chunk_delay));
        }
        steps.push(Step::Write(bytes));
    }

    let mut response = Response::new(Playback::new(steps, witness));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(coding) = behaviour.encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    headers.extend(answer.headers);
    if !answer.streamed {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
