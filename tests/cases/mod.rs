//! Real payloads of every API format: the folders `tests/golden/<format>/<case>/`.
//!
//! In: files. Out: [`Case`]s, and the ways to run one through the filter's core. A case is
//!
//! - `request.json`, or another ending for bodies that are no JSON;
//! - `answer.json`, or `.sse`, `.ndjson`, `.eventstream`, `.bin`; the ending decides on the content type;
//! - `call.json`, where needed: `path`, `method`, `request_headers`, and `headers` of the answer;
//! - `expected.json`, what is found in them, written by `UPDATE=1` and read by people;
//! - `bill.json`, in some: prices, and what the call costs by a bill made by hand.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Value, json};
use tollgate::api::Format;
use tollgate::exchange::{Effects, Event, Exchange, Means, Next};
use tollgate::identity::Head;
use tollgate::limits::Ledger;
use tollgate::metrics::ModelLabels;
use tollgate::settings::Config;
use tollgate::store::{KeyHasher, Lines, MemoryLines, Table};
use tollgate::tokens::Counter;
use tollgate::units::Timestamp;

/// One case.
pub(crate) struct Case {
    /// Where its files are.
    pub(crate) folder: PathBuf,
    /// The format that its folder names.
    pub(crate) format: &'static Format,
    /// The request's headers, pseudo-headers among them.
    pub(crate) head: Headers,
    /// The request's body.
    pub(crate) request: Vec<u8>,
    /// The answer's headers.
    pub(crate) answer_head: Headers,
    /// The answer's body.
    pub(crate) answer: Vec<u8>,
}

/// Header fields as the core asks for them.
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

/// All cases of a format, by name.
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
        let endpoint = format.endpoints.iter().find(|endpoint| !endpoint.path_end().contains('{'));
        let path = text("path").or_else(|| Some(format!("/v1{}", endpoint?.path_end())));
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

    /// The name in messages.
    pub(crate) fn name(&self) -> String {
        self.folder.display().to_string()
    }

    /// A file of its folder.
    pub(crate) fn json(&self, name: &str) -> Option<Value> {
        let json = fs::read(self.folder.join(name)).ok()?;
        Some(serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{}/{name}: {error}", self.name())))
    }
}

/// The ending and the content of the file with this stem.
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

/// The filter's core without a host: budgets in memory, the time standing still.
pub(crate) struct Core {
    config: Rc<Config>,
    lines: MemoryLines,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
}

impl Core {
    /// One with this configuration.
    pub(crate) fn new(config: &Value) -> Self {
        let config = Config::read(config.to_string().as_bytes(), b"random").expect("a configuration");
        Self {
            config: Rc::new(config),
            lines: MemoryLines::default(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
        }
    }

    /// An exchange.
    pub(crate) fn exchange(&self) -> Exchange {
        Exchange::new(self.config.clone())
    }

    /// Has an exchange take an event.
    pub(crate) fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> Effects {
        let table = Table::new(&self.lines as &dyn Lines, self.config.sets());
        let ledger = Ledger::new(&table, &self.keys, Timestamp(1_700_000_000_000_000_000));
        let (counter, models) = (&mut self.counter, &mut self.models);
        exchange.handle(event, &mut Means { ledger: &ledger, counter, models, jitter: 0 })
    }

    /// Sends a case's request as far as the upstream; all effects of it together.
    pub(crate) fn send(&mut self, case: &Case) -> (Exchange, Vec<Effects>) {
        let mut exchange = self.exchange();
        let head = self
            .handle(&mut exchange, Event::RequestHead { head: &case.head, ended: case.request.is_empty() });
        let mut effects = vec![head];
        if effects[0].next == Next::ReadBody {
            let event = Event::RequestBody { body: &case.request, editable: true };
            effects.push(self.handle(&mut exchange, event));
        }
        (exchange, effects)
    }

    /// Has the upstream answer; all effects of it together.
    pub(crate) fn answer(&mut self, case: &Case, exchange: &mut Exchange) -> Vec<Effects> {
        let head = Event::ResponseHead { status: 200, head: &case.answer_head, ended: false };
        let head = self.handle(exchange, head);
        vec![head, self.handle(exchange, Event::ResponsePiece { bytes: &case.answer, last: true })]
    }
}
