//! Calls of workflows: counted once, and drawing from the tokens that one of them has declared.

use super::*;

const WORKFLOWS: &str = r#"{
    "identity": { "tenant": { "header": "x-tenant-id" }, "workflow": { "header": "x-workflow" } },
    "workflows": { "dimension": "workflow", "reserve_up_to": 800 },
    "tiers": { "free": { "limits": [
        { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" },
        { "name": "prompts", "count": "requests", "per": "tenant", "max": 2, "window": "1d", "once_per": "workflow" }
    ] } } }"#;

const RESERVE: &str = "x-tollgate-reserve-tokens";

impl Bench {
    /// Sends a call of a workflow until it goes upstream, or is refused. Returns the effects of its
    /// head and its body.
    fn send_of(&mut self, head: &Request) -> (Exchange, [Effects; 2]) {
        let mut exchange = self.exchange();
        let at_head = self.handle(&mut exchange, Event::RequestHead { head, ended: false });
        if at_head.next != Next::ReadBody {
            return (exchange, [at_head, Effects::default()]);
        }
        let body = Event::RequestBody { body: HI.as_bytes(), editable: Editable::All };
        let at_body = self.handle(&mut exchange, body);
        (exchange, [at_head, at_body])
    }

    /// Answers as the upstream. Returns the rest of tokens and of requests by the answer's headers.
    fn answered(&mut self, mut exchange: Exchange, completion: u64) -> [u64; 2] {
        let head = self.head(&mut exchange, 200, "application/json");
        self.piece(&mut exchange, &answer(8, completion), true);
        ["tokens", "requests"]
            .map(|unit| header(&head, &format!("x-ratelimit-remaining-{unit}")).unwrap().parse().unwrap())
    }
}

fn of(workflow: &'static [u8]) -> Request {
    Request::chat().with("x-workflow", workflow)
}

#[test]
fn calls_of_a_workflow_are_one_request_and_each_has_its_tokens() {
    let mut bench = Bench::new(WORKFLOWS);
    for call in 0..5 {
        let (exchange, [_, at_body]) = bench.send_of(&of(b"w"));
        assert_eq!(at_body.next, Next::Pass);
        // 8 + 100 held, 8 + 12 used.
        assert_eq!(bench.answered(exchange, 12), [1000 - 20 * call - 108, 1]);
    }
}

#[test]
fn a_new_workflow_is_refused_before_its_body_is_read_and_a_known_one_is_not() {
    let mut bench = Bench::new(WORKFLOWS);
    for workflow in [b"v".as_slice(), b"w"] {
        let (exchange, _) = bench.send_of(&of(workflow));
        bench.answered(exchange, 1);
    }
    let (_, [at_head, _]) = bench.send_of(&of(b"x"));
    assert_eq!(
        (reply(&at_head).0.status, fact(&at_head, Fact::RefusedBy).as_deref()),
        (429, Some("prompts"))
    );
    let (_, [at_head, _]) = bench.send_of(&of(b""));
    assert_eq!(reply(&at_head).0.status, 429, "a call of no workflow counts for itself");
    let (exchange, [_, at_body]) = bench.send_of(&of(b"w"));
    assert_eq!(at_body.next, Next::Pass);
    assert_eq!(bench.answered(exchange, 1)[1], 0);
}

#[test]
fn ids_as_long_as_a_header_may_be_and_of_any_bytes_are_told_apart() {
    let mut bench = Bench::new(WORKFLOWS);
    let long: &'static [u8] = Box::leak(vec![0xff; 60_000].into_boxed_slice());
    for (workflow, left) in [(long, 1), (&long[1..], 0), (long, 0)] {
        let (exchange, _) = bench.send_of(&of(workflow));
        assert_eq!(bench.answered(exchange, 1)[1], left);
    }
}

#[test]
fn what_a_workflow_declares_is_held_and_drawn_from_and_the_header_goes_no_further() {
    let mut bench = Bench::new(WORKFLOWS);
    let (exchange, [at_head, _]) = bench.send_of(&of(b"w").with(RESERVE, b" 600 "));
    assert!(at_head.headers.contains(&HeaderEdit::Remove(RESERVE.into())));
    assert_eq!(bench.answered(exchange, 492)[0], 400);
    // 500 are used, and 100 left, but 108 are needed.
    let (second, _) = bench.send_of(&of(b"w"));
    let (mut third, _) = bench.send_of(&of(b"w"));
    assert_eq!(bench.answered(second, 12)[0], 392);
    bench.handle(&mut third, Event::End { abort: Some(Abort::Upstream) });
    // The unused part of both is back where it came from: the budget lacks the declared tokens and
    // the 8 of the call that was cut short, which the pool did not cover.
    let (exchange, _) = bench.send_of(&Request::chat());
    assert_eq!(bench.answered(exchange, 1)[0], 1000 - 600 - 8 - 108);
}

#[test]
fn more_is_not_held_than_the_configuration_allows() {
    let mut bench = Bench::new(WORKFLOWS);
    let (exchange, _) = bench.send_of(&of(b"w").with(RESERVE, b"99999999999999999999999999"));
    assert_eq!(bench.answered(exchange, 1)[0], 200);
}

#[test]
fn what_is_declared_and_does_not_fit_is_refused_and_consumes_nothing() {
    let mut bench = Bench::new(WORKFLOWS);
    let (exchange, _) = bench.send_of(&of(b"v").with(RESERVE, b"500"));
    bench.answered(exchange, 1);
    let (_, [_, at_body]) = bench.send_of(&of(b"w").with(RESERVE, b"600"));
    let (refusal, body) = reply(&at_body);
    assert_eq!(refusal.status, 429);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Available 500, Requested 600."), "{message}");
    let (exchange, _) = bench.send_of(&of(b"x"));
    assert_eq!(bench.answered(exchange, 1), [392, 0], "w is not counted");
}

#[test]
fn a_client_that_leaves_while_its_declared_tokens_are_asked_for_leaves_nothing_held() {
    let mut bench =
        Bench::new(&WORKFLOWS.replace(r#""free": {"#, r#""free": { "wait": { "max_wait": "1m" },"#));
    let (exchange, _) = bench.send_of(&of(b"v").with(RESERVE, b"800"));
    bench.answered(exchange, 1);
    let (mut waiting, [_, at_body]) = bench.send_of(&of(b"w").with(RESERVE, b"800"));
    assert!(matches!(at_body.next, Next::Wait { .. }));
    bench.handle(&mut waiting, Event::End { abort: Some(Abort::Client) });
    let (exchange, _) = bench.send_of(&of(b"x"));
    assert_eq!(bench.answered(exchange, 1), [92, 0]);
}

#[test]
fn a_declaration_that_cannot_be_understood_is_refused_in_the_apis_own_words() {
    let mut bench = Bench::new(WORKFLOWS);
    for declared in [b"many".as_slice(), b"", b"-1", b"1.5", b"10, 20", b"\xff"] {
        let (_, [at_head, _]) = bench.send_of(&of(b"w").with(RESERVE, declared));
        let (refusal, body) = reply(&at_head);
        assert_eq!((refusal.status, &body["error"]["code"]), (400, &json!("invalid_header")));
        let message = body["error"]["message"].as_str().unwrap();
        assert_eq!(message, "The header `x-tollgate-reserve-tokens` is not a whole number of tokens.");
    }
    let messages = of(b"w").with(":path", b"/v1/messages").with(RESERVE, b"many");
    let (_, [at_head, _]) = bench.send_of(&messages);
    assert_eq!(reply(&at_head).1["error"]["type"], "invalid_request_error");
    assert_eq!(bench.count_of(&metrics::CALLS, "bad_request"), 7);
}

#[test]
fn a_declaration_for_no_workflow_is_refused() {
    let mut bench = Bench::new(WORKFLOWS);
    let (_, [at_head, _]) = bench.send_of(&Request::chat().with(RESERVE, b"500"));
    let (refusal, body) = reply(&at_head);
    assert_eq!(refusal.status, 400);
    assert!(body["error"]["message"].as_str().unwrap().contains("no value for `workflow`"), "{body}");
}

#[test]
fn the_header_means_nothing_where_workflows_are_not_configured_or_the_call_is_none() {
    let mut bench = Bench::new(TOKENS);
    let (exchange, [at_head, at_body]) = bench.send_of(&of(b"w").with(RESERVE, b"many"));
    assert!(!at_head.headers.contains(&HeaderEdit::Remove(RESERVE.into())));
    assert_eq!(at_body.next, Next::Pass);
    drop(exchange);
    let mut bench = Bench::new(WORKFLOWS);
    let (_, [at_head, _]) = bench.send_of(&of(b"w").with(":path", b"/health").with(RESERVE, b"many"));
    assert_eq!(format!("{at_head:?}"), format!("{:?}", Effects::default()));
}

#[test]
fn a_signed_request_keeps_the_header() {
    let mut bench = Bench::new(WORKFLOWS);
    let signed = of(b"w").with("authorization", b"AWS4-HMAC-SHA256 Credential=k").with(RESERVE, b"600");
    let (exchange, [at_head, _]) = bench.send_of(&signed);
    assert_eq!(at_head.headers, []);
    assert_eq!(bench.answered(exchange, 1)[0], 400);
}
