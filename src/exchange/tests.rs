use super::*;
use crate::metrics::{self, Metric, ModelLabels};
use crate::reply::Reply;
use crate::settings::Config;
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A filter without a host: exchanges one after the other over budgets in memory, under a clock that jumps.
struct Bench {
    config: Rc<Config>,
    lines: MemoryLines,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
    now: Timestamp,
    counted: Vec<(&'static str, String, u64)>,
}

const TOKENS: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [ { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" } ] } } }"#;

const REQUESTS: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } }, "missing": { "tenant": "refuse" },
    "tiers": { "free": { "limits": [ { "name": "rpm", "count": "requests", "per": "tenant", "max": 1, "window": "1m" } ] } } }"#;

struct Request(Vec<(&'static str, &'static [u8])>);

impl Head for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| Cow::Borrowed(*value))
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
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

impl Bench {
    fn new(config: &str) -> Self {
        Self {
            config: Rc::new(Config::read(config.as_bytes(), b"random").unwrap()),
            lines: MemoryLines::default(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
            now: Timestamp(1_700_000_000_000_000_000),
            counted: Vec::new(),
        }
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(self.config.clone())
    }

    fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> Effects {
        let table = Table::new(&self.lines as &dyn Lines, self.config.sets());
        let ledger = Ledger::new(&table, &self.keys, self.now);
        let (counter, models) = (&mut self.counter, &mut self.models);
        let effects = exchange.handle(event, &mut Means { ledger: &ledger, counter, models, jitter: 0 });
        let of = |count: &metrics::Count| (count.metric.name, count.labels.kind.to_owned(), count.by);
        self.counted.extend(effects.counts.iter().map(of));
        effects
    }

    /// Sends a call up to the upstream.
    fn send(&mut self, body: &str) -> (Exchange, Effects) {
        let mut exchange = self.exchange();
        let head = self.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
        assert_eq!(head.next, Next::ReadBody);
        let effects =
            self.handle(&mut exchange, Event::RequestBody { body: body.as_bytes(), editable: true });
        (exchange, effects)
    }

    fn head(&mut self, exchange: &mut Exchange, status: u16, content_type: &str) -> Effects {
        let content_type = Some(content_type.as_bytes());
        let event = Event::ResponseHead { status, content_type, content_encoding: None, ended: false };
        self.handle(exchange, event)
    }

    fn piece(&mut self, exchange: &mut Exchange, bytes: &str, last: bool) -> Effects {
        self.handle(exchange, Event::ResponsePiece { bytes: bytes.as_bytes(), last })
    }

    /// What ada has left, by the headers of a call of no tokens, which then fails.
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
        HeaderEdit::Set(header, value) if *header == name => Some(value.as_str()),
        _ => None,
    })
}

fn fact(effects: &Effects, fact: Fact) -> Option<&str> {
    effects.facts.iter().find(|(of, _)| *of == fact).map(|(_, value)| value.as_str())
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

#[test]
fn what_is_not_an_llm_call_passes_and_is_never_looked_at_again() {
    let mut bench = Bench::new(TOKENS);
    for head in [
        Request::chat().with(":path", b"/v1/models"),
        Request::chat().with(":method", b"GET"),
        Request::chat().with(":method", b"CONNECT"),
    ] {
        let mut exchange = bench.exchange();
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        assert_eq!(effects, Effects::default());
        assert!(!exchange.is_reading() && !exchange.is_sent());
    }
}

#[test]
fn a_call_is_held_reserved_and_settled_by_its_usage() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, effects) = bench.send(HI);
    assert_eq!((effects.next.clone(), fact(&effects, Fact::CountedInput)), (Next::Pass, Some("8")));
    let head = bench.head(&mut exchange, 200, "application/json");
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("892"));
    let last = bench.piece(&mut exchange, &answer(8, 5), true);
    assert_eq!((fact(&last, Fact::UsedInput), fact(&last, Fact::UsedOutput)), (Some("8"), Some("5")));
    assert_eq!(bench.left(), 1_000 - 13);
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 1);
}

#[test]
fn what_an_upstream_says_of_its_own_limits_is_replaced_or_removed() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    let head = bench.head(&mut exchange, 200, "application/json");
    let removes = |name| head.headers.contains(&HeaderEdit::Remove(name));
    assert!(removes("x-ratelimit-remaining-requests"), "no limit of ours counts requests");
    assert!(!removes("x-ratelimit-remaining-tokens") && !removes("ratelimit"));
}

#[test]
fn whatever_comes_after_the_end_changes_nothing() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(8, 5), true);
    let left = bench.left();
    for _ in 0..3 {
        bench.piece(&mut exchange, &answer(100, 100), true);
        bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });
    }
    assert_eq!(bench.left(), left);
}

#[test]
fn a_failed_call_costs_nothing_but_its_request() {
    let mut bench = Bench::new(TOKENS);
    for status in [400, 404, 413, 429, 500, 503, 302, 0] {
        let (mut exchange, _) = bench.send(HI);
        bench.head(&mut exchange, status, "application/json");
        bench.piece(&mut exchange, &answer(8, 5), true);
    }
    assert_eq!(bench.count_of(&metrics::CALLS, "error"), 8);
    assert_eq!(bench.left(), 1_000);
    let mut bench = Bench::new(REQUESTS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 500, "");
    bench.handle(&mut exchange, Event::End { abort: None });
    let mut second = bench.exchange();
    let effects = bench.handle(&mut second, Event::RequestHead { head: &Request::chat(), ended: false });
    assert_eq!(reply(&effects).0.status, 429);
}

#[test]
fn an_answer_without_usage_is_charged_by_its_text() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI_STREAM);
    bench.head(&mut exchange, 200, "text/event-stream");
    bench.piece(&mut exchange, HELLO_CHUNK, false);
    let last = bench.piece(&mut exchange, "data: [DONE]\n\n", true);
    assert_eq!((fact(&last, Fact::UsedInput), fact(&last, Fact::UsedOutput)), (Some("8"), Some("2")));
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "absent"), 1);
}

#[test]
fn a_document_that_says_nothing_is_charged_by_its_length() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "text/html");
    let last = bench.piece(&mut exchange, &"x".repeat(40), true);
    assert_eq!(fact(&last, Fact::UsedOutput), Some("10"));
}

#[test]
fn a_compressed_answer_is_charged_the_reservation() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    let content_encoding = Some(b"gzip".as_slice());
    let event = Event::ResponseHead { status: 200, content_type: None, content_encoding, ended: false };
    bench.handle(&mut exchange, event);
    bench.piece(&mut exchange, "\u{1f}", true);
    assert_eq!(bench.left(), 1_000 - 108);
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "encoded"), 1);
}

/// What is left after a stream was cut, by `on_abort`.
fn left_after_cut(on_abort: &str, abort: Abort, pieces: &[&str]) -> u64 {
    let config = TOKENS.replacen('{', &format!(r#"{{ "counting": {{ "on_abort": "{on_abort}" }}, "#), 1);
    let mut bench = Bench::new(&config);
    let (mut exchange, _) = bench.send(HI_STREAM);
    if !pieces.is_empty() {
        bench.head(&mut exchange, 200, "text/event-stream");
    }
    for piece in pieces {
        bench.piece(&mut exchange, piece, false);
    }
    bench.handle(&mut exchange, Event::End { abort: Some(abort) });
    bench.left()
}

#[test]
fn a_client_that_hangs_up_pays_for_what_it_was_sent() {
    assert_eq!(left_after_cut("charge_streamed", Abort::Client, &[HELLO_CHUNK, HELLO_CHUNK]), 1_000 - 8 - 4);
    assert_eq!(left_after_cut("charge_streamed", Abort::Client, &[]), 1_000 - 8);
    assert_eq!(left_after_cut("charge_reserved", Abort::Client, &[HELLO_CHUNK]), 1_000 - 108);
    assert_eq!(left_after_cut("free", Abort::Client, &[HELLO_CHUNK]), 1_000);
}

#[test]
fn a_stream_that_its_upstream_cuts_is_settled_the_same_way() {
    assert_eq!(left_after_cut("charge_streamed", Abort::Upstream, &[HELLO_CHUNK]), 1_000 - 8 - 2);
    let running =
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":77}}\n\n";
    assert_eq!(left_after_cut("charge_streamed", Abort::Upstream, &[running]), 1_000 - 85);
}

#[test]
fn usage_is_asked_for_and_its_chunk_hidden_from_who_did_not_ask() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, effects) = bench.send(HI_STREAM);
    let edited = effects.body.unwrap().apply(HI_STREAM.as_bytes());
    assert_eq!(
        serde_json::from_slice::<Value>(&edited).unwrap()["stream_options"],
        json!({ "include_usage": true })
    );
    let head = bench.head(&mut exchange, 200, "text/event-stream");
    assert!(head.headers.contains(&HeaderEdit::Remove("content-length")));
    assert_eq!(bench.piece(&mut exchange, HELLO_CHUNK, false).piece, None);
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":2}}\n\n";
    assert_eq!(bench.piece(&mut exchange, usage, false).piece, Some(vec![]));
    let last = bench.piece(&mut exchange, "data: [DONE]\n\n", true);
    assert_eq!((last.piece.clone(), fact(&last, Fact::UsedOutput)), (None, Some("2")));
}

#[test]
fn what_cannot_be_edited_is_sent_as_it_is_and_counted() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
    let effects =
        bench.handle(&mut exchange, Event::RequestBody { body: HI_STREAM.as_bytes(), editable: false });
    assert_eq!(effects.body, None);
    assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, ""), 1);
}

#[test]
fn a_refusal_consumes_nothing_and_says_why() {
    let mut bench = Bench::new(TOKENS);
    let long = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "word ".repeat(995) }] })
        .to_string();
    let (_, effects) = bench.send(&long);
    let (refusal, body) = reply(&effects);
    assert_eq!(refusal.status, 429);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Request too large for gpt-4o on tokens per tenant")
    );
    assert_eq!(fact(&effects, Fact::RefusedBy), Some("tpm"));
    assert!(effects.headers.is_empty() && effects.body.is_none());
    let log: Value = serde_json::from_str(effects.log.as_ref().unwrap()).unwrap();
    assert_eq!(
        (&log["event"], &log["limit"], &log["per"], &log["wait_ms"]),
        (&json!("refused"), &json!("tpm"), &json!({ "tenant": "ada" }), &Value::Null)
    );
    assert!(!effects.log.unwrap().contains("word"));
    assert_eq!(bench.left(), 1_000);
}

#[test]
fn a_refused_caller_may_come_back_exactly_when_it_was_told() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(8, 992), true);
    let (_, effects) = bench.send(HI);
    let wait = &reply(&effects).0.fields.iter().find(|(name, _)| *name == "retry-after-ms").unwrap().1;
    let wait = Span::from_millis(wait.parse::<u64>().unwrap());
    // 108 tokens at 1,000 a minute.
    assert_eq!(wait, Span::from_millis(6_480));
    bench.now = bench.now + Span(wait.0 - 1_000_000);
    assert!(matches!(bench.send(HI).1.next, Next::Reply(_)));
    bench.now = bench.now + Span::from_millis(1);
    assert_eq!(bench.send(HI).1.next, Next::Pass);
}

#[test]
fn bodies_that_cannot_be_read_are_counted_as_text_and_passed_on_unchanged() {
    let deep = format!(r#"{{"messages":{}}}"#, "[".repeat(2_000));
    let mut bench = Bench::new(&TOKENS.replace("1000", "100000"));
    for body in [
        "",
        "{",
        "nonsense",
        r#"{"model":"gpt-4o"}"#,
        r#"{"messages":[{"role":"user","content":[1,2,3]}],"max_tokens":NaN}"#,
        &deep,
    ] {
        let (exchange, effects) = bench.send(body);
        assert_eq!((effects.next.clone(), effects.body.clone()), (Next::Pass, None), "{body}");
        assert!(exchange.is_sent());
        let counted = fact(&effects, Fact::CountedInput).unwrap().parse::<u64>().unwrap();
        assert_eq!(counted > 0, !body.is_empty(), "{body}");
    }
    assert_eq!(bench.count_of(&metrics::UNREAD, "malformed"), 6);
}

#[test]
fn an_ambiguous_body_is_refused_in_the_apis_dialect() {
    let mut bench = Bench::new(TOKENS);
    let (_, effects) = bench.send(r#"{"model":"gpt-4o","model":"cheap","messages":[]}"#);
    let (refusal, body) = reply(&effects);
    assert_eq!((refusal.status, &body["error"]["param"]), (400, &json!("model")));
    assert_eq!(bench.count_of(&metrics::CALLS, "bad_request"), 1);
}

#[test]
fn large_and_compressed_bodies_are_counted_by_length_and_never_refused_for_ever() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("content-length", b"8000000");
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    assert_eq!((effects.next.clone(), fact(&effects, Fact::CountedInput)), (Next::Pass, Some("2000000")));
    assert!(exchange.is_sent() && bench.count_of(&metrics::UNREAD, "oversize") == 1);
    bench.now = bench.now + Span::from_secs(60);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("content-encoding", b"gzip");
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let effects = bench.handle(&mut exchange, Event::RequestBody { body: &[0x1f; 300], editable: true });
    assert_eq!((effects.next.clone(), fact(&effects, Fact::CountedInput)), (Next::Pass, Some("300")));
    assert_eq!(bench.count_of(&metrics::UNREAD, "encoded"), 1);
}

#[test]
fn a_call_without_a_body_is_decided_at_once() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: true });
    assert_eq!(effects.next, Next::Pass);
    assert!(exchange.is_sent());
}

#[test]
fn headers_alone_can_refuse_before_the_body_is_read() {
    let mut bench = Bench::new(REQUESTS);
    let (_exchange, first) = bench.send(HI);
    assert_eq!(first.next, Next::Pass);
    let mut second = bench.exchange();
    let effects = bench.handle(&mut second, Event::RequestHead { head: &Request::chat(), ended: false });
    assert_eq!(reply(&effects).0.status, 429);
    for (head, status) in [
        (Request::chat().with("x-tenant-id", b""), 401),
        (Request::chat().with("upgrade", b"websocket"), 400),
    ] {
        let mut exchange = bench.exchange();
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        assert_eq!(reply(&effects).0.status, status);
        assert!(effects.headers.is_empty());
    }
}

#[test]
fn a_tier_that_does_not_exist_is_limited_by_the_default_and_counted() {
    let config = TOKENS.replacen(
        r#""identity": {"#,
        r#""identity": { "tier": { "header": "x-tier", "default": "free" },"#,
        1,
    );
    let mut bench = Bench::new(&config);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("x-tier", b"platinum");
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    assert_eq!(fact(&effects, Fact::Tier), Some("free"));
    assert_eq!(bench.count_of(&metrics::UNKNOWN_TIER, ""), 1);
}

#[test]
fn a_budget_that_cannot_be_read_refuses_for_a_moment() {
    let mut bench = Bench::new(TOKENS);
    bench.lines.fail(true);
    let (_, effects) = bench.send(HI);
    let (refusal, _) = reply(&effects);
    assert_eq!(refusal.fields.iter().find(|(name, _)| *name == "retry-after").unwrap().1, "1");
    assert!(bench.count_of(&metrics::STORE_FAILURES, "reserve") > 0);
}

#[test]
fn only_models_that_answered_have_labels() {
    let mut bench = Bench::new(TOKENS);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 404, "application/json");
    let failed = bench.handle(&mut exchange, Event::End { abort: None });
    let model = |effects: &Effects| {
        effects
            .counts
            .iter()
            .find(|count| count.metric == &metrics::CALLS)
            .unwrap()
            .labels
            .model
            .clone()
            .unwrap()
    };
    assert_eq!(&*model(&failed), "other");
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    assert_eq!(&*model(&bench.piece(&mut exchange, &answer(8, 1), true)), "gpt-4o");
}

#[derive(Clone, Debug)]
enum Step {
    Head(u16, bool),
    Piece(&'static str, bool),
    Later(u64),
    End(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (prop_oneof![Just(200_u16), Just(500), Just(404)], any::<bool>())
            .prop_map(|(status, ended)| Step::Head(status, ended)),
        (
            prop_oneof![
                Just(HELLO_CHUNK),
                Just("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":3}}\n\n"),
                Just("junk")
            ],
            any::<bool>()
        )
            .prop_map(|(piece, last)| Step::Piece(piece, last)),
        (0..5_u64).prop_map(Step::Later),
        any::<bool>().prop_map(Step::End),
    ];
    prop::collection::vec(step, 0..8)
}

proptest! {
    /// However an exchange goes, its end leaves charged what was used and nothing else: a minute later all has flowed back.
    #[test]
    fn nothing_stays_held_after_the_end_in_any_order_of_events(steps in steps()) {
        let mut bench = Bench::new(TOKENS);
        let (mut exchange, _) = bench.send(HI_STREAM);
        for step in steps.into_iter().chain([Step::End(true)]) {
            match step {
                Step::Head(status, ended) => {
                    let content_type = Some(b"text/event-stream".as_slice());
                    bench.handle(&mut exchange, Event::ResponseHead { status, content_type, content_encoding: None, ended });
                }
                Step::Piece(piece, last) => { bench.piece(&mut exchange, piece, last); }
                Step::Later(seconds) => bench.now = bench.now + Span::from_secs(seconds),
                Step::End(client) => {
                    let abort = Some(if client { Abort::Client } else { Abort::Upstream });
                    bench.handle(&mut exchange, Event::End { abort });
                }
            }
        }
        let settled: u64 = bench.counted.iter().filter(|(name, ..)| *name == metrics::CALLS.name).map(|(.., by)| by).sum();
        prop_assert_eq!(settled, 1);
        let used: u64 = bench.counted.iter().filter(|(name, ..)| *name == metrics::TOKENS.name).map(|(.., by)| by).sum();
        prop_assert!(bench.left() >= 1_000 - used, "{} left after {used}", bench.left());
        bench.now = bench.now + Span::from_secs(60);
        prop_assert_eq!(bench.left(), 1_000);
    }
}
