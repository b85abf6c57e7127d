//! An upstream at minimal cost: prepared answers from one thread per connection.
//!
//! In: HTTP/1.1 requests with a `content-length`. Out: one chat completion, the same for all; or,
//! for a request with the header [`STREAM`], a stream in which the benchmark permits each event.
//! Not here: the rest of HTTP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The header that requests a stream.
pub(crate) const STREAM: &str = "x-stream: 1\r\n";

/// A chat completion.
const ANSWER: &str = include_str!("../payloads/answer.json");

/// Events with text in each stream.
pub(crate) const EVENTS: usize = 100;

/// A running upstream; its threads end with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Permits the next event of a stream.
    pub(crate) permit: Sender<()>,
    /// The time of each written event, and its bytes as a chunk.
    pub(crate) written: Receiver<(Instant, Vec<u8>)>,
}

struct Gate {
    permitted: Mutex<Receiver<()>>,
    written: Sender<(Instant, Vec<u8>)>,
}

impl Gate {
    fn pass(&self) -> io::Result<()> {
        let permitted = self.permitted.lock().unwrap_or_else(PoisonError::into_inner);
        permitted.recv().map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Upstream {
    /// Listens on a port of the system's choice.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("a bound socket has an address");
        let ((permit, permitted), (tell, written)) = (channel(), channel());
        let gate = Arc::new(Gate { permitted: Mutex::new(permitted), written: tell });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let gate = Arc::clone(&gate);
                // A connection ends when Envoy exits.
                std::thread::spawn(move || drop(serve(stream, &gate)));
            }
        });
        Self { address, permit, written }
    }
}

fn serve(mut stream: TcpStream, gate: &Gate) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = completion();
    let (mut received, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let head = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if read_more(&mut stream, &mut received, &mut piece)? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&received[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let end = head + length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0);
        while received.len() < end {
            if read_more(&mut stream, &mut received, &mut piece)? == 0 {
                return Ok(());
            }
        }
        if text.contains(STREAM) {
            let wants_usage =
                String::from_utf8_lossy(&received[head..end]).contains("\"include_usage\":true");
            write_stream(&mut stream, wants_usage, gate)?;
        } else {
            stream.write_all(&answer)?;
        }
        received.drain(..end);
    }
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>, piece: &mut [u8]) -> io::Result<usize> {
    let count = stream.read(piece)?;
    received.extend_from_slice(&piece[..count]);
    Ok(count)
}

/// Returns a chat completion with the headers that matter to proxies.
fn completion() -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nopenai-processing-ms: 512\r\nopenai-version: 2020-10-01\r\nx-request-id: req_8f31c2\r\nstrict-transport-security: max-age=31536000\r\n\r\n{ANSWER}",
        ANSWER.len()
    )
    .into_bytes()
}

fn write_stream(stream: &mut TcpStream, wants_usage: bool, gate: &Gate) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let usage = if wants_usage { r#","usage":null"# } else { "" };
    for number in 0..EVENTS {
        let event = format!(
            "data: {{\"id\":\"chatcmpl-CBv1\",\"object\":\"chat.completion.chunk\",\"created\":1760428800,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_560af6e559\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\"logprobs\":null,\"finish_reason\":null}}]{usage}}}\n\n"
        );
        gate.pass()?;
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        let now = Instant::now();
        stream.write_all(chunk.as_bytes())?;
        let _ = gate.written.send((now, event.into_bytes()));
    }
    let last = if wants_usage {
        "data: {\"id\":\"chatcmpl-CBv1\",\"choices\":[],\"usage\":{\"prompt_tokens\":250,\"completion_tokens\":100,\"total_tokens\":350}}\n\n"
    } else {
        ""
    };
    let last = format!("{last}data: [DONE]\n\n");
    gate.pass()?;
    stream.write_all(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).as_bytes())
}
