//! An upstream that plays a script at the level of TCP.
//!
//! In: for each connection a [`Script`] of steps: read a request, write these bytes, wait for a
//! signal, close, reset. Out: the requests as bytes, and signals that report the script's progress.
//! A test orders events with [`Signal`]s, never with sleeps. The upstream writes any bytes, so odd
//! framing, slow bytes, trailers and breaks in mid-stream each take one `write`. Not here: HTTP/2
//! and well-formed answers (see [`crate::mock_llm`]).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::client::PATIENCE;

/// An event that happens once. Clones share it.
#[derive(Clone, Debug)]
pub struct Signal(Arc<watch::Sender<bool>>);

impl PartialEq for Signal {
    /// Whether they are the same signal.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Signal {}

impl Signal {
    /// Returns a signal that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Fires the signal.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether the signal has fired.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the signal.
    ///
    /// # Panics
    ///
    /// If that takes longer than [`PATIENCE`].
    pub async fn wait(&self) {
        let fired = timeout(PATIENCE, self.fired()).await;
        assert!(fired.is_ok(), "a signal was not given within {PATIENCE:?}");
    }

    async fn fired(&self) {
        // The sender lives as long as this handle.
        let _ = self.0.subscribe().wait_for(|fired| *fired).await;
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::new()
    }
}

/// The steps for a connection, which closes after the last.
#[derive(Clone, Debug, Default)]
pub struct Script(Vec<Step>);

impl Script {
    /// Returns a script that closes at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one HTTP/1.1 request to the end of its body.
    #[must_use]
    pub fn read_request(self) -> Self {
        self.then(Step::ReadRequest)
    }

    /// Reads the headers of one HTTP/1.1 request.
    #[must_use]
    pub fn read_headers(self) -> Self {
        self.then(Step::ReadHeaders)
    }

    /// Reads until the peer closes or resets.
    #[must_use]
    pub fn read_until_closed(self) -> Self {
        self.then(Step::ReadUntilClosed)
    }

    /// Writes `bytes` at once.
    #[must_use]
    pub fn write(self, bytes: impl Into<Bytes>) -> Self {
        self.then(Step::Write(bytes.into()))
    }

    /// Writes `bytes` one at a time, each in its own segment as far as TCP allows.
    #[must_use]
    pub fn write_slowly(self, bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        (0..bytes.len()).fold(self, |script, at| script.write(bytes.slice(at..=at)))
    }

    /// Waits until the test fires `signal`.
    #[must_use]
    pub fn wait(self, signal: &Signal) -> Self {
        self.then(Step::Wait(signal.clone()))
    }

    /// Fires a signal when the script gets here.
    #[must_use]
    pub fn tell(self, signal: &Signal) -> Self {
        self.then(Step::Tell(signal.clone()))
    }

    /// Ends the connection with a TCP reset. The peer loses everything that it has not read.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    fn then(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }
}

#[derive(Clone, Debug)]
enum Step {
    ReadRequest,
    ReadHeaders,
    ReadUntilClosed,
    Write(Bytes),
    Wait(Signal),
    Tell(Signal),
    Reset,
}

/// A running scripted upstream, which stops and drops its connections when it is dropped.
pub struct ScriptedUpstream {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
    running: JoinHandle<()>,
}

/// The record of one connection so far.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The bytes of each step that reads: a request, its headers, or everything until the peer
    /// closed.
    pub requests: Vec<Bytes>,
    /// The reason why the script did not play to its end.
    pub broke: Option<String>,
}

impl ScriptedUpstream {
    /// Starts an upstream on a free port of 127.0.0.1. Each connection plays the next script; the
    /// last script repeats.
    ///
    /// # Panics
    ///
    /// If there is no script, or no port is free.
    pub async fn start(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts: Vec<_> = scripts.into_iter().collect();
        assert!(!scripts.is_empty(), "a scripted upstream needs a script");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound socket has an address");
        let heard = Arc::<Mutex<Vec<Heard>>>::default();
        let running = tokio::spawn(accept(listener, scripts, Arc::clone(&heard)));
        Self { address, heard, running }
    }

    /// Returns its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the records of all connections, in the order in which they were opened.
    ///
    /// # Panics
    ///
    /// If a connection's task has panicked.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no one panics while adding to a list").clone()
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(listener: TcpListener, scripts: Vec<Script>, heard: Arc<Mutex<Vec<Heard>>>) {
    let mut connections = JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let script = scripts.get(number).or_else(|| scripts.last()).cloned().unwrap_or_default();
        heard.lock().expect("no one panics while adding to a list").push(Heard::default());
        let heard = Arc::clone(&heard);
        connections.spawn(async move {
            let result = play(stream, script, |request| {
                heard.lock().expect("no one panics while adding to a list")[number].requests.push(request);
            });
            if let Err(error) = result.await {
                heard.lock().expect("no one panics while adding to a list")[number].broke =
                    Some(error.to_string());
            }
        });
    }
}

async fn play(mut stream: TcpStream, script: Script, heard: impl Fn(Bytes)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut pending = Vec::new();
    for step in script.0 {
        match step {
            Step::ReadRequest => heard(read_request(&mut stream, &mut pending).await?),
            Step::ReadHeaders => {
                let length = headers_length(&mut stream, &mut pending).await?;
                heard(pending.drain(..length).collect());
            }
            Step::ReadUntilClosed => {
                // A reset also counts as the end.
                while stream.read_buf(&mut pending).await.is_ok_and(|count| count > 0) {}
                heard(core::mem::take(&mut pending).into());
            }
            Step::Write(bytes) => stream.write_all(&bytes).await?,
            Step::Wait(signal) => signal.fired().await,
            Step::Tell(signal) => signal.fire(),
            Step::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
        }
    }
    stream.shutdown().await
}

/// Reads a request with `content-length`, chunked, or without body.
async fn read_request(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<Bytes> {
    let headers = headers_length(stream, pending).await?;
    let text = String::from_utf8_lossy(&pending[..headers]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let length = if value("transfer-encoding:").is_some_and(|coding| coding.contains("chunked")) {
        // A body could contain these bytes itself, but no test sends one.
        let end = b"\r\n0\r\n\r\n";
        // The line end before the last chunk can be the end of the headers.
        let from = headers.saturating_sub(2);
        loop {
            let found = pending[from..].windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                break from + at + end.len();
            }
            read_more(stream, pending).await?;
        }
    } else {
        headers + value("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0)
    };
    while pending.len() < length {
        read_more(stream, pending).await?;
    }
    Ok(pending.drain(..length).collect())
}

async fn headers_length(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<usize> {
    let end = b"\r\n\r\n";
    loop {
        if let Some(at) = pending.windows(end.len()).position(|window| window == end) {
            return Ok(at + end.len());
        }
        read_more(stream, pending).await?;
    }
}

async fn read_more(stream: &mut TcpStream, pending: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(pending).await? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed within a request"));
    }
    Ok(())
}
