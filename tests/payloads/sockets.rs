//! Golden transcripts of WebSockets: the messages of both sides, and the usage that they make.
//!
//! In: `tests/golden/sockets/*.txt`. A line `GET` has the path, `>` a message of the client, `<`
//! one of the server, `=` the expected counts of tokens by class, and of calls. Out:
//! [`Transcript`]s. Not here: frames.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tollgate::exchange::Event;
use tollgate::identity::Head;
use tollgate::metrics;
use tollgate::websocket::{Kind, data_frame};

use crate::core::Core;

/// A conversation over a WebSocket.
pub(crate) struct Transcript {
    pub(crate) name: String,
    path: String,
    /// The messages, each with whether the client sends it.
    pub(crate) messages: Vec<(bool, String)>,
    expected: Value,
}

struct Handshake(String);

impl Head for Handshake {
    fn header(&self, name: &str) -> Option<std::borrow::Cow<'_, [u8]>> {
        let value = match name {
            ":method" => "GET",
            ":path" => &self.0,
            "upgrade" => "websocket",
            "x-tenant-id" => "ada",
            _ => return None,
        };
        Some(value.as_bytes().into())
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// Returns all transcripts.
pub(crate) fn transcripts() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sockets");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|file| Transcript::read(&file)).collect()
}

impl Transcript {
    fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let mut transcript = Self { name, path: String::new(), messages: vec![], expected: Value::Null };
        for line in text.lines() {
            let (sign, rest) = line.split_once(' ').unwrap();
            match sign {
                "GET" => rest.clone_into(&mut transcript.path),
                ">" | "<" => transcript.messages.push((sign == ">", rest.to_owned())),
                "=" => transcript.expected = serde_json::from_str(rest).unwrap(),
                "#" => {}
                _ => panic!("{sign} in {}", file.display()),
            }
        }
        transcript
    }

    /// Plays the conversation, and returns the counts of tokens and calls.
    fn play(&self) -> Value {
        let mut core = Core::new(&json!({
            "identity": { "tenant": { "header": "x-tenant-id" } },
            "tiers": { "free": { "limits": [
                { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1_000_000, "window": "1h" } ] } },
        }));
        let mut exchange = core.exchange();
        let mut effects = Vec::new();
        let head = &Handshake(self.path.clone());
        effects.push(core.handle(&mut exchange, Event::RequestHead { head, ended: false }));
        effects.push(core.handle(&mut exchange, Event::ResponseHead { status: 101, head, ended: false }));
        for (is_client, message) in &self.messages {
            let frame = data_frame(Kind::Text, message.as_bytes(), is_client.then_some([1, 2, 3, 4]));
            let event = if *is_client {
                Event::RequestPiece { bytes: &frame }
            } else {
                Event::ResponsePiece { bytes: &frame, last: false }
            };
            let passed = core.handle(&mut exchange, event);
            assert_eq!(passed.piece, None, "{}: {message}", self.name);
            effects.push(passed);
        }
        effects.push(core.handle(&mut exchange, Event::End { abort: None }));
        let mut counts = BTreeMap::new();
        for count in effects.iter().flat_map(|effects| &effects.counts) {
            let name = match count.metric.name {
                name if name == metrics::TOKENS.name => count.labels.kind,
                name if name == metrics::CALLS.name => "calls",
                _ => continue,
            };
            *counts.entry(name).or_insert(0) += count.by;
        }
        json!(counts)
    }
}

#[test]
fn golden_transcripts_make_the_expected_usage() {
    let transcripts = transcripts();
    assert_eq!(transcripts.len(), 3);
    for transcript in transcripts {
        assert_eq!(transcript.play(), transcript.expected, "{}", transcript.name);
    }
}
