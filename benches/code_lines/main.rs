//! Plays calls natively, so that the code that one of them touches can be counted.
//!
//! In: nothing. Out: nothing; `count.py` runs this program under Callgrind and collects from the
//! entry of [`measured_call`] to its end. The call is that of `benches/wasm/calls.mjs`: a chat call
//! of 1 KiB with four limits, a JSON answer, and callers who take turns. Not here: `src/host/`,
//! which is compiled for wasm only.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::rc::Rc;

use tollgate::exchange::{Context, Editable, Effects, Event, Exchange, Next};
use tollgate::identity::Head;
use tollgate::limits::{Budgets, RecentRecords, Slots};
use tollgate::metrics::ModelLabels;
use tollgate::settings::Config;
use tollgate::store::{Cas, KeyHasher, Lines, NotStored, Table, Unavailable};
use tollgate::tokens::Counter;
use tollgate::units::{Span, Timestamp};

const LIMITS: &[u8] = include_bytes!("../payloads/limits.json");
const ANSWER: &[u8] = include_bytes!("../payloads/answer.json");
const WORDS: &str = include_str!("../payloads/words.txt");

const TENANTS: usize = 100;
/// The calls of each caller before the one that counts: its first makes its budgets.
const WARM: usize = 3;
const PROMPT: usize = 1024;

fn main() {
    let mut worker = Worker::new();
    for number in 0..WARM * TENANTS {
        worker.call(number, Worker::play);
    }
    worker.call(WARM * TENANTS, measured_call);
}

/// Plays the call that counts. Callgrind knows it by its name.
#[inline(never)]
fn measured_call(worker: &mut Worker, call: &Call<'_>) {
    // Without a difference the compiler would merge this function with `play`.
    black_box(&mut *worker).play(call);
}

/// The messages of a call.
struct Call<'a> {
    request: &'a dyn Head,
    body: &'a [u8],
    response: &'a dyn Head,
}

/// One worker.
struct Worker {
    config: Rc<Config>,
    host: FakeHost,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
    slots: RefCell<Slots>,
    recent: RefCell<RecentRecords>,
    now: Timestamp,
}

impl Worker {
    fn new() -> Self {
        Self {
            config: Rc::new(Config::read(LIMITS, b"secret").expect("the configuration is valid")),
            host: FakeHost::default(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
            slots: RefCell::default(),
            recent: RefCell::default(),
            now: Timestamp(1_700_000_000_000_000_000),
        }
    }

    /// Prepares a call and has it played.
    fn call(&mut self, number: usize, play: fn(&mut Self, &Call<'_>)) {
        let tenant = format!("{:010}", number % TENANTS);
        let body = body(number);
        let length = body.len().to_string();
        let request = FakeHost::with_headers(&[
            (":authority", "llm.example"),
            (":path", "/v1/chat/completions"),
            (":method", "POST"),
            (":scheme", "http"),
            ("x-tenant-id", &tenant),
            ("authorization", "Bearer sk-proj-abcdefghijklmnopqrstuvwxyz"),
            ("user-agent", "OpenAI/Python 1.109.1"),
            ("accept", "application/json"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "5c1c2f3e-2f0b-4c67-9d39-0d6a2f4b7a11"),
            ("content-type", "application/json"),
            ("content-length", &length),
        ]);
        let response = FakeHost::with_headers(&[
            (":status", "200"),
            ("content-type", "application/json"),
            ("content-length", &ANSWER.len().to_string()),
            ("openai-processing-ms", "512"),
            ("openai-version", "2020-10-01"),
            ("x-request-id", "req_8f31c2"),
            ("strict-transport-security", "max-age=31536000"),
            ("x-envoy-upstream-service-time", "1"),
        ]);
        play(self, &Call { request: &request, body: body.as_bytes(), response: &response });
        self.now = self.now + Span::from_millis(1);
    }

    /// Plays a call as Envoy does.
    #[inline(never)]
    fn play(&mut self, call: &Call<'_>) {
        let mut exchange = Exchange::new(self.config.clone());
        let effects = self.handle(&mut exchange, Event::RequestHead { head: call.request, ended: false });
        assert!(effects.next == Next::ReadBody);
        let event = Event::RequestBody { body: call.body, editable: Editable::All };
        let effects = self.handle(&mut exchange, event);
        assert!(effects.next == Next::Pass);
        self.handle(&mut exchange, Event::ResponseHead { status: 200, head: call.response, ended: false });
        self.handle(&mut exchange, Event::ResponsePiece { bytes: ANSWER, last: false });
        let effects = self.handle(&mut exchange, Event::ResponsePiece { bytes: b"", last: true });
        assert!(!effects.counts.is_empty());
    }

    fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> Effects {
        let table = Table::new(&self.host as &dyn Lines, self.config.sets());
        let budgets =
            Budgets::new(&table, &self.keys, self.now).with_slots(&self.slots).with_recent(&self.recent);
        let (counter, models) = (&mut self.counter, &mut self.models);
        let mut context = Context { budgets: &budgets, counter, models, jitter: 7, breaker: None };
        black_box(exchange.handle(event, &mut context))
    }
}

/// Returns the body of a call, which differs from all others in one number.
fn body(number: usize) -> String {
    let words: Vec<_> = WORDS.split_whitespace().collect();
    let mut state = 1_u32;
    let mut text = format!("{number:010}: ");
    while text.len() < PROMPT {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let number = (state >> 8) as usize;
        match number % 24 {
            0 => text.push_str(". "),
            1 => text.push_str(",\\n"),
            2 => text.push_str(&format!(" {}", number % 5000)),
            _ => text.extend([" ", words[number % words.len()]]),
        }
    }
    format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

/// A line of shared data.
struct Line {
    number: u32,
    bytes: Vec<u8>,
    version: u32,
}

/// Headers and shared data, as Envoy would give them. Its functions are compiled as a whole, so
/// that the script can leave them out by their names.
#[derive(Default)]
struct FakeHost {
    headers: Vec<(String, Vec<u8>)>,
    lines: RefCell<Vec<Line>>,
    issued: Cell<u32>,
}

impl FakeHost {
    fn with_headers(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self { headers: headers.collect(), ..Self::default() }
    }
}

impl Head for FakeHost {
    #[inline(never)]
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.into())
    }

    #[inline(never)]
    fn each_name(&self, show: &mut dyn FnMut(&[u8])) {
        self.headers.iter().for_each(|(name, _)| show(name.as_bytes()));
    }

    #[inline(never)]
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

impl Lines for FakeHost {
    #[inline(never)]
    fn load(&self, line: u32) -> Result<(Vec<u8>, Cas), Unavailable> {
        let lines = self.lines.borrow();
        Ok(match lines.iter().find(|known| known.number == line) {
            Some(line) => (line.bytes.clone(), Cas(line.version)),
            None => (Vec::new(), Cas::ABSENT),
        })
    }

    #[inline(never)]
    fn store(&self, line: u32, bytes: &[u8], cas: Cas) -> Result<(), NotStored> {
        let (mut lines, bytes) = (self.lines.borrow_mut(), bytes.to_vec());
        let version = self.issued.get() + 1;
        self.issued.set(version);
        match lines.iter_mut().find(|known| known.number == line) {
            Some(known) if known.version != cas.0 => return Err(NotStored::Lost),
            Some(known) => (known.bytes, known.version) = (bytes, version),
            None => lines.push(Line { number: line, bytes, version }),
        }
        Ok(())
    }
}
