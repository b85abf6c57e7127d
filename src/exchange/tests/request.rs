//! The request's half: what passes, what is refused, and the fallback counts.

use super::*;

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
        assert_eq!(format!("{effects:?}"), format!("{:?}", Effects::default()));
        assert!(!exchange.wants(Wanted::RequestBody) && !exchange.wants(Wanted::End));
    }
}

#[test]
fn what_cannot_be_edited_is_sent_as_it_is_and_counted() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
    let effects = bench.handle(
        &mut exchange,
        Event::RequestBody { body: HI_STREAM.as_bytes(), editable: Editable::Nothing },
    );
    assert_eq!(effects.body, []);
    assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "usage"), 1);
}

#[test]
fn an_upstream_that_would_refuse_the_question_is_not_asked_for_usage() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    let path = b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-06-01";
    let head = Request::chat().with(":path", path);
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let body = Event::RequestBody { body: HI_STREAM.as_bytes(), editable: Editable::All };
    assert_eq!(bench.handle(&mut exchange, body).body, []);
    assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "usage"), 0);
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
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("tpm"));
    assert!(effects.headers.is_empty() && effects.body.is_empty());
    let log: Value = serde_json::from_str(&effects.log[0]).unwrap();
    assert_eq!(
        (&log["event"], &log["limit"], &log["per"], &log["wait_ms"]),
        (&json!("refused"), &json!("tpm"), &json!({ "tenant": "ada" }), &Value::Null)
    );
    assert!(!effects.log[0].contains("word"));
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
        assert_eq!((effects.next.clone(), effects.body.clone()), (Next::Pass, vec![]), "{body}");
        assert!(exchange.wants(Wanted::End));
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
    assert_eq!(
        (effects.next.clone(), fact(&effects, Fact::CountedInput).as_deref()),
        (Next::Pass, Some("2000000"))
    );
    assert!(exchange.wants(Wanted::End) && bench.count_of(&metrics::UNREAD, "oversize") == 1);
    bench.now = bench.now + Span::from_secs(60);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("content-encoding", b"gzip");
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let effects =
        bench.handle(&mut exchange, Event::RequestBody { body: &[0x1f; 300], editable: Editable::All });
    assert_eq!(
        (effects.next.clone(), fact(&effects, Fact::CountedInput).as_deref()),
        (Next::Pass, Some("300"))
    );
    assert_eq!(bench.count_of(&metrics::UNREAD, "encoded"), 1);
    bench.now = bench.now + Span::from_secs(60);
    let mut exchange = bench.exchange();
    let head = Request::chat().with("content-encoding", b"gzip").with("content-length", b"8000000");
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    assert_eq!(fact(&effects, Fact::CountedInput).as_deref(), Some("8000000"));
}

#[test]
fn a_call_without_a_body_is_decided_at_once() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = bench.exchange();
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: true });
    assert_eq!(effects.next, Next::Pass);
    assert!(exchange.wants(Wanted::End));
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
        (Request::chat().with("upgrade", b"websocket"), 426),
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
    assert_eq!(fact(&effects, Fact::Tier).as_deref(), Some("free"));
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
fn a_request_that_carries_a_signature_of_itself_is_not_changed() {
    let signed = [
        Request::chat().with(
            "authorization",
            b"AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/bedrock/aws4_request",
        ),
        Request::chat()
            .with(":path", b"/v1/chat/completions?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a"),
    ];
    for head in signed {
        let mut bench = Bench::new(TOKENS);
        let mut exchange = bench.exchange();
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        assert_eq!((effects.next, effects.headers), (Next::ReadBody, vec![]));
        let body = Event::RequestBody { body: HI_STREAM.as_bytes(), editable: Editable::All };
        assert_eq!(bench.handle(&mut exchange, body).body, []);
        assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "usage"), 1);
    }
}

#[test]
fn what_providers_do_not_charge_for_costs_its_request_and_no_more() {
    let config = REQUESTS.replacen(
        '{',
        r#"{ "prices": [ { "match": "*", "input": 1, "output": 1, "request": 1 } ], "#,
        1,
    );
    let mut bench = Bench::new(&config);
    let list = || Request::chat().with(":method", b"GET").with(":path", b"/v1/models");
    let mut exchange = bench.exchange();
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &list(), ended: true });
    assert_eq!(effects.next, Next::Pass);
    bench.head(&mut exchange, 200, "application/json");
    let last = bench.piece(&mut exchange, r#"{"data":[]}"#, true);
    assert_eq!(
        (fact(&last, Fact::UsedInput).as_deref(), fact(&last, Fact::Cost).as_deref()),
        (Some("0"), Some("0.00"))
    );
    let second = bench.handle(&mut bench.exchange(), Event::RequestHead { head: &list(), ended: true });
    assert_eq!(reply(&second).0.status, 429);
}

#[test]
fn the_configuration_can_say_what_is_spoken_below_a_path() {
    let rows = r#"{ "apis": [ { "path_prefix": "/ours/free", "format": "none" }, { "path_prefix": "/Ours", "format": "openai_chat" } ], "#;
    let mut bench = Bench::new(&TOKENS.replacen('{', rows, 1));
    let mut next = |path| {
        let head = Request::chat().with(":path", path);
        bench.handle(&mut bench.exchange(), Event::RequestHead { head: &head, ended: false }).next
    };
    assert_eq!(next(b"/ours/ask?x=1"), Next::ReadBody);
    assert_eq!(next(b"/ours/free/v1/chat/completions"), Next::Pass);
    assert_eq!(next(b"/theirs/ask"), Next::Pass);
}
