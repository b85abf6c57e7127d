//! Calls, and connections that make them one after the other.
//!
//! In: sizes of prompts, an Envoy. Out: answers and their times. Each prompt is written once and
//! made distinct by a number in each message, so that it costs the benchmark nothing. Not here:
//! measurements.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate_rig::envoy::Envoy;

/// Digits of the number that makes a message unique.
const DIGITS: usize = 10;
/// The placeholder for a number, in headers too.
pub(crate) const NO_NUMBER: &str = "0000000000";

/// The number of callers that take turns.
const TENANTS: u64 = 100;

/// The words of prompts.
const WORDS: &str = include_str!("../payloads/words.txt");

/// Connections that keep one worker busy.
pub(crate) const CONNECTIONS: u32 = 8;

/// Makes calls on many connections until each has made enough, and returns how many.
pub(crate) fn load(envoy: &Envoy, conversation: &[Call], is_enough: impl Fn(u32) -> bool + Sync) -> f64 {
    std::thread::scope(|scope| {
        let make_calls = || {
            let (mut own, mut calls) = (conversation.to_vec(), 0);
            let mut connection = Connection::open(envoy.address());
            while !is_enough(calls) {
                connection.converse(&mut own, |_| calls += 1);
            }
            f64::from(calls)
        };
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(make_calls)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a call failed")).sum()
    })
}

/// A call whose numbers can be changed in place.
#[derive(Clone)]
pub(crate) struct Call {
    bytes: Vec<u8>,
    /// Positions of the numbers; the first is the tenant's.
    numbers: Vec<usize>,
}

impl Call {
    /// Returns a call with these members before its messages, additional header lines, and messages
    /// of these sizes in bytes.
    pub(crate) fn new(members: &str, headers: &str, messages: &[usize]) -> Self {
        let messages: Vec<String> = messages
            .iter()
            .enumerate()
            .map(|(at, &length)| {
                let role = if at % 2 == 0 { "user" } else { "assistant" };
                let text = prose(length.saturating_sub(DIGITS + 2), at as u64);
                format!(r#"{{"role":"{role}","content":"{NO_NUMBER}: {text}"}}"#)
            })
            .collect();
        let body = format!(r#"{{"model":"gpt-4o-mini",{members}"messages":[{}]}}"#, messages.join(","));
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: llm.example\r\nx-tenant-id: {NO_NUMBER}\r\nauthorization: Bearer sk-proj-abcdefghijklmnopqrstuvwxyz\r\n\
             user-agent: OpenAI/Python 1.109.1\r\naccept: application/json\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head, body].concat().into_bytes();
        let is_number = |at: &usize| bytes[*at..].starts_with(NO_NUMBER.as_bytes());
        let numbers = (0..bytes.len() - DIGITS).filter(is_number).collect();
        Self { bytes, numbers }
    }

    /// Returns the call's bytes with a new number in each message, and the next tenant.
    fn numbered(&mut self, number: u64) -> &[u8] {
        for (at, &place) in self.numbers.iter().enumerate() {
            let value = if at == 0 { number % TENANTS } else { number };
            self.bytes[place..place + DIGITS].copy_from_slice(format!("{value:010}").as_bytes());
        }
        &self.bytes
    }
}

/// Returns `length` bytes of text without repetitions that tokenizes like prose with a few names
/// and numbers.
fn prose(length: usize, seed: u64) -> String {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % sides
    };
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        match dice(24) {
            0 => text.push_str(". "),
            1 => text.push_str(&format!(" {}", dice(5_000))),
            2 => text.push_str(",\\n"),
            _ => {
                text.push(' ');
                text.push_str(words[dice(words.len())]);
            }
        }
    }
    text.truncate(length);
    // Do not cut an escape.
    text.truncate(text.trim_end_matches('\\').len());
    text
}

/// The next unused number.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A keep-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    piece: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("Envoy accepts connections");
        stream.set_nodelay(true).expect("a TCP option");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
        Self { stream, received: Vec::new(), piece: vec![0; 1 << 16] }
    }

    /// Makes the calls of a conversation, one after the other, each with an unused number. Reports
    /// the time of each.
    pub(crate) fn converse(&mut self, conversation: &mut [Call], mut took: impl FnMut(Duration)) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        for call in conversation {
            let start = Instant::now();
            let head = self.begin(call, number);
            let length = field(&head, "content-length:").and_then(|length| length.parse::<usize>().ok());
            let length = length.unwrap_or_else(|| panic!("no length in {head}"));
            while self.received.len() < length {
                self.read_more();
            }
            self.received.drain(..length);
            took(start.elapsed());
        }
    }

    /// Makes a call that is answered with a stream.
    pub(crate) fn stream(&mut self, call: &mut Call) {
        let head = self.begin(call, NUMBER.fetch_add(1, Ordering::Relaxed));
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
    }

    /// Returns the next chunk of a stream, or nothing at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = loop {
            if let Some(at) = self.received.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            self.read_more();
        };
        let size = String::from_utf8_lossy(&self.received[..line]).into_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("{size:?} is no chunk size"));
        while self.received.len() < line + size + 4 {
            self.read_more();
        }
        let chunk = self.received[line + 2..line + 2 + size].to_vec();
        self.received.drain(..line + size + 4);
        (size > 0).then_some(chunk)
    }

    /// Sends a call and reads the head of its answer.
    fn begin(&mut self, call: &mut Call, number: u64) -> String {
        self.stream.write_all(call.numbered(number)).expect("Envoy reads calls");
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more();
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}{}", String::from_utf8_lossy(&self.received));
        head
    }

    fn read_more(&mut self) {
        let count = self.stream.read(&mut self.piece).expect("Envoy answers in time");
        assert!(count > 0, "Envoy closed the connection");
        self.received.extend_from_slice(&self.piece[..count]);
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}
