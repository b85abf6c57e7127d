//! Exchanges without a host: one after the other over budgets in memory, under a controlled clock.

mod apis;
mod bad_answers;
mod calibration;
mod compressed;
mod global;
mod in_flight;
mod noticed;
mod properties;
mod request;
mod response;
mod sockets;
mod softening;
mod stopping;
mod tools;
mod upstreams;
mod waiting;
mod warnings;
mod workflows;

use super::*;
use crate::limits::Budgets;
use crate::metrics::{Metric, ModelLabels};
use crate::reply::Reply;
use crate::rls::{Breaker, Task};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::tokens::Counter;
use crate::units::{Span, Timestamp};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A filter without a host: exchanges one after the other over budgets in memory, under a
/// controlled clock.
struct Bench {
    config: Rc<Config>,
    lines: MemoryLines,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
    now: Timestamp,
    jitter: u32,
    counted: Vec<(&'static str, String, u64)>,
    /// The breaker of the configured rate limit service, if any.
    breaker: Option<Breaker>,
    /// All tasks since they were last taken.
    tasks: Vec<Task>,
    /// All lines for the log.
    logged: Vec<String>,
}

const TOKENS: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [ { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" } ] } } }"#;

const REQUESTS: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } }, "on_missing": { "tenant": "refuse" },
    "tiers": { "free": { "limits": [ { "name": "rpm", "count": "requests", "per": "tenant", "max": 1, "window": "1m" } ] } } }"#;

struct Request(Vec<(&'static str, &'static [u8])>);

impl Head for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| Cow::Borrowed(*value))
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.header(&path.join("/")).map(Cow::into_owned)
    }
}

impl Request {
    fn chat() -> Self {
        Self(vec![(":method", b"POST"), (":path", b"/v1/chat/completions"), ("x-tenant-id", b"ada")])
    }

    fn with(mut self, name: &'static str, value: &'static [u8]) -> Self {
        self.0.retain(|(header, _)| *header != name);
        self.0.push((name, value));
        self
    }
}

struct Answered<'a>(&'a [(&'a str, &'a str)]);

impl Head for Answered<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes().into())
    }
    fn each_name(&self, show: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|(name, _)| show(name.as_bytes()));
    }
    fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        self.header(&path.join("/")).map(Cow::into_owned)
    }
}

impl Bench {
    fn new(config: &str) -> Self {
        let config = Rc::new(Config::read(config.as_bytes(), b"random").unwrap());
        Self {
            breaker: config.global.as_ref().map(|service| Breaker::new(service.breaker)),
            tasks: Vec::new(),
            logged: Vec::new(),
            config,
            lines: MemoryLines::default(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
            now: Timestamp(1_700_000_000_000_000_000),
            jitter: 0,
            counted: Vec::new(),
        }
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.config.clone())
    }

    fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> Effects {
        let table = Table::new(&self.lines as &dyn Lines, self.config.sets());
        let budgets = Budgets::new(&table, &self.keys, self.now);
        let (counter, models) = (&mut self.counter, &mut self.models);
        let (jitter, breaker) = (self.jitter, self.breaker.as_mut());
        let mut effects =
            exchange.handle(event, &mut Context { budgets: &budgets, counter, models, jitter, breaker });
        self.tasks.append(&mut effects.tasks);
        self.logged.extend(effects.log.iter().cloned());
        let of = |count: &metrics::Count| (count.metric.name, count.labels.kind.to_owned(), count.by);
        self.counted.extend(effects.counts.iter().map(of));
        effects
    }

    /// Sends a call until it goes upstream.
    fn send(&mut self, body: &str) -> (Exchange, Effects) {
        let mut exchange = self.exchange();
        let head = self.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
        assert_eq!(head.next, Next::ReadBody);
        let effects =
            self.handle(&mut exchange, Event::RequestBody { body: body.as_bytes(), editable: Editable::All });
        (exchange, effects)
    }

    fn head(&mut self, exchange: &mut Exchange, status: u16, content_type: &str) -> Effects {
        self.head_with(exchange, status, &[("content-type", content_type)])
    }

    fn head_with(&mut self, exchange: &mut Exchange, status: u16, headers: &[(&str, &str)]) -> Effects {
        self.handle(exchange, Event::ResponseHead { status, head: &Answered(headers), ended: false })
    }

    fn piece(&mut self, exchange: &mut Exchange, bytes: &str, last: bool) -> Effects {
        self.handle(exchange, Event::ResponsePiece { bytes: bytes.as_bytes(), last })
    }

    /// Returns the rest of ada's budget, by the headers of a call of no tokens, which then fails.
    fn left(&mut self) -> u64 {
        let (mut exchange, effects) = self.send(r#"{"model":"gpt-4o","messages":[],"max_tokens":0}"#);
        assert_eq!(effects.next, Next::Pass, "the probe is refused");
        let head = self.head(&mut exchange, 500, "");
        let left = header(&head, "x-ratelimit-remaining-tokens").unwrap().parse::<u64>().unwrap();
        self.handle(&mut exchange, Event::End { abort: None });
        left
    }

    fn count_of(&self, metric: &Metric, kind: &str) -> u64 {
        self.counted
            .iter()
            .filter(|(name, of, _)| *name == metric.name && of == kind)
            .map(|(.., by)| by)
            .sum()
    }
}

fn header<'e>(effects: &'e Effects, name: &str) -> Option<&'e str> {
    effects.headers.iter().find_map(|edit| match edit {
        HeaderEdit::Set(header, value) if *header == name => core::str::from_utf8(value).ok(),
        _ => None,
    })
}

fn fact(effects: &Effects, fact: Fact) -> Option<String> {
    effects.facts.iter().find(|(of, _)| *of == fact).map(|(_, value)| value.text().into_owned())
}

fn reply(effects: &Effects) -> (&Reply, Value) {
    let Next::Reply(reply) = &effects.next else { panic!("no reply: {effects:?}") };
    (reply, serde_json::from_str(&reply.body).unwrap())
}

/// 8 tokens: frame 3, "user" 1, "Hi" 1, primer 3.
const HI: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"max_tokens":100}"#;
const HI_STREAM: &str =
    r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"max_tokens":100,"stream":true}"#;

fn answer(prompt: u64, completion: u64) -> String {
    json!({ "choices": [{ "message": { "content": "Hello" } }], "usage": { "prompt_tokens": prompt, "completion_tokens": completion } })
        .to_string()
}

const HELLO_CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello there\"}}]}\n\n";
