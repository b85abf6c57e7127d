//! Real payloads of every API format: the folders `tests/golden/<format>/<case>/`.
//!
//! In: files. Out: [`Case`]s. Not here: testing them. A case consists of
//!
//! - `request.json`, or another extension for bodies that are not JSON;
//! - `answer.json`, or `.sse`, `.ndjson`, `.eventstream`, `.bin`; the extension decides the content
//!   type;
//! - `call.json`, if needed: `path`, `method`, `request_headers`, and `headers` of the answer;
//! - `expected.json`, the readings of both, written by `UPDATE=1` and reviewed by people;
//! - `bill.json`, in some: prices, and the cost of the call by a manual bill.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::api::{Endpoint, FORMATS, Format};
use tollgate::identity::Head;

/// A case.
pub(crate) struct Case {
    /// The folder of its files.
    pub(crate) folder: PathBuf,
    pub(crate) format: &'static Format,
    /// The request's headers, including pseudo-headers.
    pub(crate) head: Headers,
    /// The request's body.
    pub(crate) request: Vec<u8>,
    /// The answer's headers.
    pub(crate) answer_head: Headers,
    /// The answer's body.
    pub(crate) answer: Vec<u8>,
}

/// Header fields in the core's form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers(pub(crate) Vec<(String, String)>);

impl Head for Headers {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_bytes().into())
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// Returns the formats of calls by HTTP. Those of WebSockets have transcripts instead (`sockets`).
pub(crate) fn formats() -> impl Iterator<Item = &'static Format> {
    FORMATS.iter().copied().filter(|format| !format.endpoints.is_empty())
}

/// Returns all cases of a format, by name.
pub(crate) fn of(format: &'static Format) -> Vec<Case> {
    let folder = Path::new("tests/golden").join(format.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut folders: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders.into_iter().map(|folder| Case::read(folder, format)).collect()
}

impl Case {
    fn read(folder: PathBuf, format: &'static Format) -> Self {
        let call: Value = fs::read(folder.join("call.json"))
            .map_or_else(|_| json!({}), |json| serde_json::from_slice(&json).expect("call.json is JSON"));
        let text = |name: &str| call[name].as_str().map(str::to_owned);
        let fields = |name: &str| {
            let fields = call[name].as_object().into_iter().flatten();
            fields.map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned()))
        };
        let (_, request) = file(&folder, "request").unwrap_or_default();
        let (ending, answer) = file(&folder, "answer").unwrap_or_default();
        let path_end = |endpoint: &Endpoint| endpoint.path_end().without_model();
        let ends: Vec<_> = format.endpoints.iter().filter_map(path_end).collect();
        // A path that ends like another one is particular to a provider.
        let is_usual = |end: &str| !ends.iter().any(|other| *other != end && end.ends_with(other));
        let endpoint = format.endpoints.iter().find(|endpoint| path_end(endpoint).is_some_and(is_usual));
        let path = text("path").or_else(|| Some(format!("/v1{}", path_end(endpoint?)?)));
        let method = text("method").or_else(|| Some(endpoint?.method().to_owned()));
        let mut head: Vec<(String, String)> = fields("request_headers").collect();
        head.push((":path".to_owned(), path.unwrap_or_else(|| panic!("{}: no path", folder.display()))));
        head.push((":method".to_owned(), method.unwrap_or_else(|| "POST".to_owned())));
        head.push(("content-length".to_owned(), request.len().to_string()));
        let mut answer_head: Vec<(String, String)> = fields("headers").collect();
        if !answer_head.iter().any(|(name, _)| name == "content-type") {
            answer_head.push(("content-type".to_owned(), content_type(&ending).to_owned()));
        }
        Self { folder, format, head: Headers(head), request, answer_head: Headers(answer_head), answer }
    }

    /// Returns the name for messages.
    pub(crate) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    /// Reads a JSON file of the case's folder.
    pub(crate) fn json(&self, name: &str) -> Option<Value> {
        let json = fs::read(self.folder.join(name)).ok()?;
        Some(serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{}/{name}: {error}", self.name())))
    }
}

/// Returns the extension and the content of the file with this stem.
fn file(folder: &Path, stem: &str) -> Option<(String, Vec<u8>)> {
    let mut found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let path = found.find(|path| path.file_stem().is_some_and(|of| of == stem))?;
    Some((path.extension()?.to_string_lossy().into_owned(), fs::read(path).unwrap()))
}

fn content_type(ending: &str) -> &'static str {
    match ending {
        "sse" => "text/event-stream",
        "ndjson" => "application/x-ndjson",
        "eventstream" => "application/vnd.amazon.eventstream",
        "bin" => "application/octet-stream",
        _ => "application/json; charset=utf-8",
    }
}
