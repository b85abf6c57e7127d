//! A slot of a call in flight: acquired before the body is read, released at every ending.

use super::*;
use proptest::prelude::*;

/// One call of each tenant at a time, and 1,000 tokens a minute.
const FLIGHT: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [
        { "name": "slot", "count": "concurrent_requests", "per": "tenant", "max": 1 },
        { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" } ] } } }"#;

/// One call of each model at a time, of any tenant.
const PER_MODEL: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [
        { "name": "rpm", "count": "requests", "per": "tenant", "max": 100, "window": "1m" },
        { "name": "slot", "count": "concurrent_requests", "per": "model", "max": 1 },
        { "name": "mini", "count": "concurrent_requests", "max": 2, "models": ["*-mini"] } ] } } }"#;

const OF_NO_TOKENS: &str = r#"{"model":"gpt-4o","messages":[],"max_tokens":0}"#;

impl Bench {
    /// Sends the headers of a call.
    fn begin(&mut self) -> (Exchange, Effects) {
        let mut exchange = self.exchange();
        let effects = self.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
        (exchange, effects)
    }

    /// Returns whether a slot is free.
    fn is_free(&mut self) -> bool {
        let (mut exchange, effects) = self.begin();
        self.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });
        match effects.next {
            Next::ReadBody => true,
            Next::Reply(reply) => {
                assert_eq!(reply.status, 429);
                false
            }
            next => panic!("{next:?}"),
        }
    }

    fn body(&mut self, exchange: &mut Exchange, body: &str) -> Effects {
        self.handle(exchange, Event::RequestBody { body: body.as_bytes(), editable: Editable::All })
    }

    fn end(&mut self, exchange: &mut Exchange, abort: Option<Abort>) {
        self.handle(exchange, Event::End { abort });
    }
}

#[test]
fn a_place_is_taken_before_the_body_is_read() {
    let mut bench = Bench::new(FLIGHT);
    let (mut first, effects) = bench.begin();
    assert_eq!(effects.next, Next::ReadBody);
    assert!(first.wants(Wanted::End) && first.wants(Wanted::RequestBody));

    let (second, effects) = bench.begin();

    let (refusal, body) = reply(&effects);
    assert_eq!(refusal.status, 429);
    let field = |name: &str| refusal.fields.iter().find(|(of, _)| *of == name).map(|(_, value)| &**value);
    assert_eq!((field("retry-after"), field("x-should-retry")), (Some("1"), Some("true")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("concurrent_requests per tenant (limit `slot`)"), "{message}");
    assert!(message.contains("Limit 1 at once, Available 0, Requested 1."), "{message}");
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("slot"));
    assert!(!second.wants(Wanted::End));

    bench.end(&mut first, Some(Abort::Client));
    assert!(bench.is_free());
}

#[test]
fn callers_have_places_of_their_own() {
    let mut bench = Bench::new(FLIGHT);
    let (_first, _) = bench.begin();
    let mut other = bench.exchange();
    let bob = Request::chat().with("x-tenant-id", b"bob");
    let effects = bench.handle(&mut other, Event::RequestHead { head: &bob, ended: false });
    assert_eq!(effects.next, Next::ReadBody);
}

/// The events of a call from its headers to its end.
type Ending = fn(&mut Bench, &mut Exchange);

/// Endings without a further event, because the answer was complete or the call was refused; the
/// slot must be free by then.
const BEFORE_THE_END: &[(&str, Ending)] = &[
    ("a whole answer", |bench, call| {
        bench.body(call, HI);
        bench.head(call, 200, "application/json");
        assert!(!bench.is_free());
        bench.piece(call, &answer(8, 3), true);
    }),
    ("a stream", |bench, call| {
        bench.body(call, HI_STREAM);
        bench.head(call, 200, "text/event-stream");
        bench.piece(call, HELLO_CHUNK, false);
        assert!(!bench.is_free());
        bench.piece(call, "data: [DONE]\n\n", true);
    }),
    ("an error of the upstream", |bench, call| {
        bench.body(call, HI);
        bench.head(call, 503, "");
        assert!(!bench.is_free());
        bench.piece(call, "sorry", true);
    }),
    ("an error without a body", |bench, call| {
        bench.body(call, HI);
        let head = &Answered(&[]);
        bench.handle(call, Event::ResponseHead { status: 502, head, ended: true });
    }),
    ("a budget that refuses", |bench, call| {
        let long =
            json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": "word ".repeat(2_000) }] });
        assert_eq!(reply(&bench.body(call, &long.to_string())).0.status, 429);
    }),
    ("an ambiguous body", |bench, call| {
        assert_eq!(reply(&bench.body(call, r#"{"model":"a","model":"b","messages":[]}"#)).0.status, 400);
    }),
];

/// Endings that need [`Event::End`].
const AT_THE_END: &[(&str, Ending)] = &[
    ("a client that leaves within its body", |bench, call| bench.end(call, Some(Abort::Client))),
    ("a connection that breaks within the body", |bench, call| bench.end(call, Some(Abort::Upstream))),
    ("a body that the host refuses", |bench, call| {
        bench.head(call, 413, "text/plain");
        bench.piece(call, "Payload Too Large", true);
        bench.end(call, Some(Abort::Upstream));
    }),
    ("a client that leaves before the answer", |bench, call| {
        bench.body(call, HI);
        bench.end(call, Some(Abort::Client));
    }),
    ("a client that leaves within a stream", |bench, call| {
        bench.body(call, HI_STREAM);
        bench.head(call, 200, "text/event-stream");
        bench.piece(call, HELLO_CHUNK, false);
        bench.end(call, Some(Abort::Client));
    }),
    ("an upstream that resets within a stream", |bench, call| {
        bench.body(call, HI_STREAM);
        bench.head(call, 200, "text/event-stream");
        bench.piece(call, HELLO_CHUNK, false);
        bench.end(call, Some(Abort::Upstream));
    }),
    ("an upstream that resets within an error", |bench, call| {
        bench.body(call, HI);
        bench.head(call, 500, "");
        bench.end(call, Some(Abort::Upstream));
    }),
    ("a body that cannot be read", |bench, call| {
        bench.body(call, "nonsense");
        bench.end(call, None);
    }),
    ("an answer that cannot be read", |bench, call| {
        bench.body(call, HI);
        bench.head_with(call, 200, &[("content-encoding", "x-unknown")]);
        bench.piece(call, "\u{1}\u{2}", false);
        bench.end(call, None);
    }),
];

#[test]
fn a_place_is_given_back_once_at_every_ending() {
    let mut bench = Bench::new(FLIGHT);
    for (ending, run) in BEFORE_THE_END.iter().chain(AT_THE_END) {
        let (mut call, effects) = bench.begin();
        assert_eq!(effects.next, Next::ReadBody, "{ending}");
        assert!(!bench.is_free(), "{ending}");

        run(&mut bench, &mut call);

        assert!(bench.is_free(), "{ending}");
        // If a second slot were released, two would be free.
        let (mut next, _) = bench.begin();
        bench.end(&mut call, Some(Abort::Client));
        assert!(!bench.is_free(), "{ending}");
        bench.end(&mut next, None);
        bench.now = bench.now + Span::from_secs(120);
    }
}

#[test]
fn calls_that_are_decided_by_their_headers_have_places_too() {
    let mut bench = Bench::new(FLIGHT);
    let heads = [
        (Request::chat(), true),
        (Request::chat().with("content-length", b"8000000"), false),
        (Request::chat().with(":path", b"/v1/audio/transcriptions").with("content-length", b"500"), false),
        (Request::chat().with(":path", b"/v1/moderations").with("content-length", b"500"), false),
        (Request::chat().with(":path", b"/v1/models").with(":method", b"GET"), true),
    ];
    for (head, ended) in heads {
        let mut call = bench.exchange();
        let effects = bench.handle(&mut call, Event::RequestHead { head: &head, ended });
        assert_eq!(effects.next, Next::Pass, "{:?}", head.0);
        assert!(!bench.is_free(), "{:?}", head.0);
        bench.end(&mut call, Some(Abort::Client));
        assert!(bench.is_free(), "{:?}", head.0);
        // Its guess is a debt, which is not the point here.
        bench.now = bench.now + Span::from_secs(365 * 86_400);
    }
}

#[test]
fn a_call_that_is_refused_by_its_headers_takes_no_place() {
    let limits = r#"{ "name": "rps", "count": "requests", "per": "tenant", "max": 1, "window": "1s" }, { "name": "slot""#;
    let config = FLIGHT.replace(r#"{ "name": "slot""#, limits).replace("\"max\": 1 }", "\"max\": 2 }");
    let mut bench = Bench::new(&config);
    let refused_by = |bench: &mut Bench| {
        let (mut call, effects) = bench.begin();
        bench.body(&mut call, OF_NO_TOKENS);
        fact(&effects, Fact::RefusedBy)
    };
    assert_eq!(refused_by(&mut bench), None);
    for _ in 0..3 {
        assert_eq!(refused_by(&mut bench).as_deref(), Some("rps"));
    }
    bench.now = bench.now + Span::from_secs(1);
    assert_eq!(refused_by(&mut bench), None);
    bench.now = bench.now + Span::from_secs(1);
    assert_eq!(refused_by(&mut bench).as_deref(), Some("slot"));
}

#[test]
fn a_limit_that_depends_on_the_model_is_decided_when_the_body_is_there() {
    let mut bench = Bench::new(PER_MODEL);
    let call = |model: &str| format!(r#"{{"model":"{model}","messages":[],"max_tokens":0}}"#);
    let (mut first, effects) = bench.send(&call("gpt-4o"));
    assert_eq!(effects.next, Next::Pass);

    let (_, refused) = bench.send(&call("gpt-4o"));
    assert_eq!(fact(&refused, Fact::RefusedBy).as_deref(), Some("slot"));
    let (mut other, effects) = bench.send(&call("o3"));
    assert_eq!(effects.next, Next::Pass);

    bench.head(&mut first, 500, "");
    bench.end(&mut first, None);
    let (_again, effects) = bench.send(&call("gpt-4o"));
    assert_eq!(effects.next, Next::Pass);
    bench.end(&mut other, Some(Abort::Client));
    assert_eq!(bench.send(&call("o3")).1.next, Next::Pass);
}

#[test]
fn a_limit_for_some_models_gives_back_what_others_of_the_call_held() {
    let mut bench = Bench::new(PER_MODEL);
    let call = |model: &str| format!(r#"{{"model":"{model}","messages":[],"max_tokens":0}}"#);
    let (_one, _) = bench.send(&call("a-mini"));
    let (_two, _) = bench.send(&call("b-mini"));
    for _ in 0..3 {
        let (_, refused) = bench.send(&call("c-mini"));
        // Its own slot, of `slot`, was free and is again.
        assert_eq!(fact(&refused, Fact::RefusedBy).as_deref(), Some("mini"));
    }
    bench.now = bench.now + Span::from_secs(5);
    assert_eq!(bench.send(&call("c")).1.next, Next::Pass);
}

#[test]
fn a_limit_that_only_watches_counts_and_never_refuses() {
    let mut bench = Bench::new(&FLIGHT.replace("\"max\": 1 }", "\"max\": 1, \"enforce\": \"shadow\" }"));
    let (mut first, _) = bench.send(OF_NO_TOKENS);
    let (mut second, effects) = bench.send(OF_NO_TOKENS);
    assert_eq!(effects.next, Next::Pass);
    assert_eq!(bench.count_of(&metrics::SHADOW_REFUSALS, ""), 1);
    for call in [&mut first, &mut second] {
        bench.end(call, None);
    }
    bench.send(OF_NO_TOKENS);
    assert_eq!(bench.count_of(&metrics::SHADOW_REFUSALS, ""), 1);
}

#[test]
fn a_place_that_could_not_be_given_back_is_free_again_after_a_while() {
    let mut bench = Bench::new(FLIGHT);
    let (mut call, _) = bench.begin();
    bench.lines.fail(true);
    bench.end(&mut call, None);
    bench.lines.fail(false);
    assert_eq!(bench.count_of(&metrics::STORE_FAILURES, "settle"), 1);
    assert!(!bench.is_free());
    bench.now = bench.now + Span::from_secs(60);
    assert!(bench.is_free());
}

#[derive(Clone, Debug)]
enum Step {
    Head(bool),
    Body(&'static str, Editable),
    Due,
    Answer(u16, bool),
    Piece(&'static str, bool),
    Later(u64),
    End,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bodies = prop_oneof![
        Just(HI),
        Just(HI_STREAM),
        Just("junk"),
        Just(r#"{"model":"a","model":"b"}"#),
        Just(r#"{"model":"gpt-4o","messages":[],"max_tokens":250}"#),
    ];
    let step = prop_oneof![
        any::<bool>().prop_map(Step::Head),
        (bodies, prop_oneof![Just(Editable::All), Just(Editable::Body), Just(Editable::Nothing)])
            .prop_map(|(body, editable)| Step::Body(body, editable)),
        Just(Step::Due),
        (prop_oneof![Just(200_u16), Just(413), Just(503)], any::<bool>())
            .prop_map(|(status, ended)| Step::Answer(status, ended)),
        (prop_oneof![Just(HELLO_CHUNK), Just("junk")], any::<bool>())
            .prop_map(|(piece, last)| Step::Piece(piece, last)),
        (0..9_u64).prop_map(Step::Later),
        Just(Step::End),
    ];
    prop::collection::vec(step, 0..9)
}

proptest! {
    /// Two calls at a time in any state, with any events, in any order: at the end all is free.
    #[test]
    fn nothing_is_taken_after_the_end_in_any_order_of_events(
        steps in prop::collection::vec((any::<bool>(), steps()), 1..6),
    ) {
        let wait = r#""wait": { "max_wait": "20s", "max_waiting": 1 }, "limits""#;
        let config = FLIGHT.replace("\"limits\"", wait).replace("\"max\": 1 }", "\"max\": 2 }");
        let mut bench = Bench::new(&config);
        let mut calls = [bench.exchange(), bench.exchange()];
        for (which, steps) in steps {
            let call = &mut calls[usize::from(which)];
            for step in [Step::Head(false)].into_iter().chain(steps) {
                match step {
                    Step::Head(ended) => { bench.handle(call, Event::RequestHead { head: &Request::chat(), ended }); }
                    Step::Body(body, editable) => { bench.handle(call, Event::RequestBody { body: body.as_bytes(), editable }); }
                    Step::Due => { bench.handle(call, Event::Due); }
                    Step::Answer(status, ended) => { bench.handle(call, Event::ResponseHead { status, head: &Answered(&[]), ended }); }
                    Step::Piece(piece, last) => { bench.piece(call, piece, last); }
                    Step::Later(seconds) => bench.now = bench.now + Span::from_secs(seconds),
                    Step::End => {
                        bench.end(call, Some(Abort::Client));
                        *call = bench.exchange();
                    }
                }
            }
        }
        for call in &mut calls {
            bench.end(call, Some(Abort::Upstream));
        }
        // Both slots, and the one among the waiting calls.
        let (mut first, effects) = bench.begin();
        prop_assert_eq!(effects.next, Next::ReadBody);
        prop_assert!(bench.is_free());
        bench.end(&mut first, None);
        let waits = |bench: &Bench, kind| bench.count_of(&metrics::WAITS, kind);
        prop_assert_eq!(waits(&bench, "held"), waits(&bench, "passed") + waits(&bench, "left"));
        bench.now = bench.now + Span::from_secs(200);
        prop_assert_eq!(bench.left(), 1_000);
    }
}
