//! The allocations of one call, counted, so that a change that adds some is seen.
//!
//! In: a chat call with four limits, answered in JSON, after others that have warmed the caches.
//! Out: the number of allocations for each of its events. Not here: the host's own allocations, one
//! for each header map, body and line of shared data that it hands over.

use std::alloc::{GlobalAlloc, Layout, System};
use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use tollgate::exchange::{Context, Editable, Effects, Event, Exchange, Next};
use tollgate::identity::Head;
use tollgate::limits::Budgets;
use tollgate::metrics::ModelLabels;
use tollgate::settings::Config;
use tollgate::store::{KeyHasher, Lines, MemoryLines, Table};
use tollgate::tokens::Counter;
use tollgate::units::Timestamp;

/// The most allocations for each event. When a change needs fewer, lower the bound.
const BOUNDS: [(&str, usize); 4] =
    [("request's head", 9), ("request's body", 33), ("response's head", 12), ("response's body", 44)];

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONFIGURATION: &str = r#"{
    "identity": { "tenant": { "header": "x-tenant-id" } },
    "prices": [ { "match": "gpt-4o*", "input": 2.5, "output": 10 } ],
    "tiers": { "free": { "limits": [
        { "name": "rpm", "count": "requests", "per": "tenant", "max": 1000000, "window": "1m" },
        { "name": "tpm", "count": "tokens", "per": "tenant", "max": 100000000, "window": "1m" },
        { "name": "out", "count": "output_tokens", "per": "tenant", "max": 100000000, "window": "1h" },
        { "name": "spend", "count": "cost_usd", "per": "tenant", "max": 100000, "window": "30d" }
    ] } }
}"#;

const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"Hello there"},"finish_reason":"stop"}],"usage":{"prompt_tokens":240,"completion_tokens":3,"total_tokens":243}}"#;

struct Headers<'a>(&'a [(&'static str, &'static [u8])]);

impl Head for Headers<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| Cow::Borrowed(*value))
    }

    fn each_name(&self, show: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|(name, _)| show(name.as_bytes()));
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

/// One worker.
struct Worker {
    config: Rc<Config>,
    lines: MemoryLines,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
    now: Timestamp,
}

impl Worker {
    fn new() -> Self {
        Self {
            config: Rc::new(Config::read(CONFIGURATION.as_bytes(), b"secret").unwrap()),
            lines: MemoryLines::new(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
            now: Timestamp(1_700_000_000_000_000_000),
        }
    }

    /// Handles an event. Returns its effects and the number of its allocations.
    fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> (Effects, usize) {
        let before = COUNT.get();
        let table = Table::new(&self.lines as &dyn Lines, self.config.sets());
        let budgets = Budgets::new(&table, &self.keys, self.now);
        let (counter, models) = (&mut self.counter, &mut self.models);
        let mut context = Context { budgets: &budgets, counter, models, jitter: 0, breaker: None };
        let effects = exchange.handle(event, &mut context);
        (effects, COUNT.get() - before)
    }

    /// Makes a call. Returns the number of allocations for each of its events.
    fn call(&mut self, body: &[u8]) -> [usize; 4] {
        let request = Headers(&[
            (":method", b"POST"),
            (":path", b"/v1/chat/completions"),
            ("content-type", b"application/json"),
            ("content-length", b"1024"),
            ("x-tenant-id", b"ada"),
        ]);
        let response = Headers(&[(":status", b"200"), ("content-type", b"application/json")]);
        let mut exchange = Exchange::new(self.config.clone());
        let head = Event::RequestHead { head: &request, ended: false };
        let (effects, of_head) = self.handle(&mut exchange, head);
        assert_eq!(effects.next, Next::ReadBody);
        let (effects, of_body) =
            self.handle(&mut exchange, Event::RequestBody { body, editable: Editable::All });
        assert_eq!(effects.next, Next::Pass);
        let head = Event::ResponseHead { status: 200, head: &response, ended: false };
        let (effects, of_response) = self.handle(&mut exchange, head);
        assert_eq!(effects.headers.len(), 8);
        let (effects, of_answer) =
            self.handle(&mut exchange, Event::ResponsePiece { bytes: ANSWER, last: true });
        assert!(!effects.counts.is_empty());
        self.now.0 += 1_000_000;
        [of_head, of_body, of_response, of_answer]
    }
}

#[test]
fn a_call_makes_no_more_allocations_than_stated() {
    let content = "What is the weather like today? ".repeat(30);
    let body = serde_json::json!({
        "model": "gpt-4o",
        "max_tokens": 100,
        "messages": [{ "role": "user", "content": content }],
    });
    let body = body.to_string().into_bytes();
    let mut worker = Worker::new();
    for _ in 0..100 {
        worker.call(&body);
    }
    let mut fewest = [usize::MAX; 4];
    for _ in 0..20 {
        // Lists that grow now and then do not count.
        let counted = worker.call(&body);
        fewest.iter_mut().zip(counted).for_each(|(fewest, counted)| *fewest = counted.min(*fewest));
    }
    println!("{fewest:?}");
    for ((event, most), counted) in BOUNDS.into_iter().zip(fewest) {
        assert!(counted <= most, "the {event} takes {counted} allocations instead of {most}");
    }
}
