//! Responses over a WebSocket.

use super::*;

const PATH: &[u8] = b"/v1/responses";

/// 9 tokens of input, as OpenAI's API counts it.
fn create(lane: Option<&str>) -> Value {
    let mut event = json!({
        "type": "response.create", "model": "gpt-4o", "input": "Hi", "max_output_tokens": 100,
    });
    if let Some(lane) = lane {
        event["stream_id"] = lane.into();
    }
    event
}

/// Spends tokens by a whole response.
fn spend(bench: &mut Bench, wire: &mut Wire, tokens: u64) {
    assert_eq!(bench.up(wire, &create(None)), [Got::Json(create(None))]);
    bench.down(wire, &created(None));
    bench.down(wire, &completed(None, tokens, 0));
}

fn event(kind: &str, lane: Option<&str>, more: Value) -> Value {
    let mut event = json!({ "type": kind });
    if let Some(lane) = lane {
        event["stream_id"] = lane.into();
    }
    let Value::Object(more) = more else { panic!("{more}") };
    event.as_object_mut().unwrap().extend(more);
    event
}

fn completed(lane: Option<&str>, input: u64, output: u64) -> Value {
    let usage = json!({ "input_tokens": input, "output_tokens": output });
    event(
        "response.completed",
        lane,
        json!({ "response": { "id": "r", "status": "completed", "usage": usage } }),
    )
}

fn created(lane: Option<&str>) -> Value {
    event("response.created", lane, json!({ "response": { "id": "r", "status": "in_progress" } }))
}

fn delta(text: &str) -> Value {
    json!({ "type": "response.output_text.delta", "delta": text })
}

fn is_error(got: &[Got]) -> &Value {
    let [Got::Json(event)] = got else { panic!("no error event: {got:?}") };
    assert_eq!((&event["type"], &event["status"]), (&json!("error"), &json!(429)), "{event}");
    event
}

#[test]
fn a_response_is_charged_and_settled_like_a_call() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    assert_eq!(bench.up(&mut wire, &create(None)), [Got::Json(create(None))]);
    let held = bench.left();
    assert!(held < 1000 - 100, "{held}");
    for message in [created(None), delta("Hello"), completed(None, 9, 31)] {
        assert_eq!(bench.down(&mut wire, &message), [Got::Json(message)]);
    }
    assert_eq!(bench.left(), 960);
    assert_eq!(fact(&wire.effects, Fact::UsedInput).as_deref(), Some("9"));
    // The next one on the same socket.
    bench.up(&mut wire, &create(None));
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &completed(None, 9, 1));
    assert_eq!(bench.left(), 950);
    assert_eq!(fact(&wire.effects, Fact::UsedInput).as_deref(), Some("18"), "the socket's sum");
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 2);
    bench.hang_up(&mut wire, Some(Abort::Client));
    assert_eq!(bench.count_of(&metrics::SOCKETS, "client_abort"), 1);
    assert_eq!(bench.left(), 950);
}

#[test]
fn a_refused_response_is_dropped_and_its_client_gets_the_apis_error_at_the_next_pong() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    spend(&mut bench, &mut wire, 1000);
    let up = bench.up(&mut wire, &create(Some("a")));
    assert!(matches!(&up[..], [Got::Ping(_)]), "{up:?}");
    let down = bench.pong(&mut wire, &up);
    let event = is_error(&down);
    assert_eq!(event["stream_id"], "a");
    assert_eq!(event["error"]["code"], "rate_limit_exceeded");
    assert_eq!(bench.count_of(&metrics::CALLS, "refused"), 1);
    // The socket goes on, and the client may ask again when the wait is over.
    let wait = event["headers"]["retry-after-ms"].as_str().unwrap().parse().unwrap();
    bench.now = bench.now + Span::from_millis(wait);
    assert_eq!(bench.up(&mut wire, &create(Some("a"))), [Got::Json(create(Some("a")))]);
}

#[test]
fn the_error_does_not_wait_for_the_pong_if_the_server_says_something() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &create(Some("a")));
    spend(&mut bench, &mut wire, 1000);
    let up = bench.up(&mut wire, &create(Some("b")));
    let down = bench.down(&mut wire, &created(Some("a")));
    is_error(&down[..1]);
    assert_eq!(down[1..], [Got::Json(created(Some("a")))]);
    assert_eq!(bench.pong(&mut wire, &up), [], "the pong is Tollgate's own");
}

#[test]
fn lanes_are_settled_each_by_its_own_usage() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    for lane in ["a", "b", "c"] {
        bench.up(&mut wire, &create(Some(lane)));
    }
    for lane in ["c", "a", "b"] {
        bench.down(&mut wire, &created(Some(lane)));
    }
    bench.down(&mut wire, &completed(Some("b"), 10, 0));
    bench.down(&mut wire, &completed(Some("a"), 20, 0));
    bench.down(&mut wire, &completed(Some("c"), 40, 0));
    assert_eq!(bench.left(), 1000 - 70);
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 3);
}

#[test]
fn responses_of_one_lane_come_one_after_the_other() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &create(None));
    bench.up(&mut wire, &create(None));
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &completed(None, 10, 0));
    assert!(bench.left() < 990 - 100, "the second is still charged");
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &completed(None, 20, 0));
    assert_eq!(bench.left(), 970);
}

#[test]
fn a_response_that_the_server_refuses_costs_nothing() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &create(None));
    let error = json!({ "type": "error", "status": 400, "error": { "code": "previous_response_not_found" } });
    assert_eq!(bench.down(&mut wire, &error), [Got::Json(error.clone())]);
    assert_eq!(bench.count_of(&metrics::CALLS, "error"), 1);
    assert_eq!(bench.left(), 1000);
}

#[test]
fn an_open_response_is_settled_by_its_text_when_the_connection_ends() {
    for (abort, kind) in [(Some(Abort::Client), "client_abort"), (Some(Abort::Upstream), "upstream_reset")] {
        let mut bench = Bench::new(TOKENS);
        let mut wire = bench.open(PATH);
        bench.up(&mut wire, &create(None));
        bench.down(&mut wire, &created(None));
        bench.down(&mut wire, &delta("one two three four"));
        bench.hang_up(&mut wire, abort);
        let left = bench.left();
        assert!((980..990).contains(&left), "{left}");
        assert_eq!(bench.count_of(&metrics::CALLS, kind), 1);
        assert_eq!(bench.count_of(&metrics::SOCKETS, kind), 1);
    }
}

#[test]
fn a_response_that_nobody_asked_for_is_charged_all_the_same() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &completed(None, 30, 10));
    assert_eq!(bench.left(), 960);
}

#[test]
fn a_message_that_is_no_request_passes_untouched() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    for text in ["", "{", "[]", "null", r#"{"type":7}"#, r#"{"type":"response.cancel"}"#, "\u{feff}{}"] {
        let bytes = data_frame(Kind::Text, text.as_bytes(), KEY);
        wire.effects = bench.handle(&mut wire.exchange, Event::RequestPiece { bytes: &bytes });
        assert_eq!(wire.effects.piece, None, "{text}");
    }
    assert_eq!(bench.left(), 1000);
}

#[test]
fn a_frame_that_breaks_the_protocol_ends_both_sides() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    let unmasked = data_frame(Kind::Text, create(None).to_string().as_bytes(), None);
    let up = bench.up_bytes(&mut wire, &unmasked);
    let [Got::Close(Some(1002), reason)] = &up[..] else { panic!("{up:?}") };
    assert!(reason.contains("RFC 6455"), "{reason}");
    // The server answers the close frame, in place of which the client gets its own.
    let answer = websocket::close_frame(1002, "", None);
    let down = bench.down_bytes(&mut wire, &answer);
    assert!(matches!(&down[..], [Got::Close(Some(1002), _)]), "{down:?}");
    let create = data_frame(Kind::Text, create(None).to_string().as_bytes(), KEY);
    assert_eq!(bench.up_bytes(&mut wire, &create), [], "nothing passes any more");
    bench.hang_up(&mut wire, None);
    assert_eq!(bench.count_of(&metrics::SOCKETS, "invalid"), 1);
    assert_eq!(bench.left(), 1000);
}

#[test]
fn a_refused_handshake_gives_its_slot_back() {
    let mut bench = Bench::new(
        r#"{ "identity": { "tenant": { "header": "x-tenant-id" } }, "tiers": { "free": { "limits": [
            { "name": "sockets", "count": "concurrent_requests", "per": "tenant", "max": 1 } ] } } }"#,
    );
    let head = Request(vec![
        (":method", b"GET"),
        (":path", PATH),
        ("x-tenant-id", b"ada"),
        ("upgrade", b"websocket"),
    ]);
    let ask = |bench: &mut Bench| {
        let mut exchange = bench.exchange();
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        (exchange, effects)
    };
    let (mut first, effects) = ask(&mut bench);
    assert_eq!(effects.next, Next::Pass);
    assert_eq!(reply(&ask(&mut bench).1).0.status, 429, "the place is taken");
    bench.head_with(&mut first, 401, &[]);
    assert_eq!(bench.count_of(&metrics::SOCKETS, "not_upgraded"), 1);
    let (mut second, effects) = ask(&mut bench);
    assert_eq!(effects.next, Next::Pass, "the place is free again");
    bench.head_with(&mut second, 101, &[]);
    assert_eq!(reply(&ask(&mut bench).1).0.status, 429, "an open socket keeps it");
    let mut wire = Wire { exchange: second, effects };
    assert_eq!(bench.up(&mut wire, &create(None)), [Got::Json(create(None))]);
    for message in [created(None), completed(None, 9, 31)] {
        assert_eq!(bench.down(&mut wire, &message), [Got::Json(message)]);
    }
    let mut second = wire.exchange;
    bench.handle(&mut second, Event::End { abort: None });
    assert_eq!(ask(&mut bench).1.next, Next::Pass);
}

#[test]
fn a_response_may_wait_and_what_is_behind_it_stays_behind() {
    let config = TOKENS.replace(r#""free": {"#, r#""free": { "wait": { "max_wait": "60s" },"#);
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    spend(&mut bench, &mut wire, 1000);
    let most = create(Some("a"));
    // What is before it passes with it; what is behind it is read when it goes.
    let (other, behind) = (json!({ "type": "x" }), json!({ "type": "y" }));
    let frames = [&other, &most, &behind]
        .map(|message| data_frame(Kind::Text, message.to_string().as_bytes(), KEY))
        .concat();
    let kept = bench.up_bytes(&mut wire, &frames);
    assert_eq!(kept, [Got::Json(other.clone())]);
    let Next::Wait { until } = wire.effects.next else { panic!("{:?}", wire.effects.next) };
    assert!(wire.exchange.is_held() && wire.exchange.wants(Wanted::Due));
    bench.now = until;
    wire.effects = bench.handle(&mut wire.exchange, Event::Due);
    let passed = read(Frames::from_client(usize::MAX), wire.effects.piece.as_ref().unwrap());
    let [Got::Json(before), Got::Json(waited), Got::Ping(ping)] = &passed[..] else { panic!("{passed:?}") };
    assert_eq!((before, waited), (&other, &most));
    assert!(!wire.exchange.is_held());
    // The pong asks the client for a sign, whose place the rest takes.
    let down = bench.down_bytes(&mut wire, &pong_frame(ping, None));
    let [Got::Ping(ping)] = &down[..] else { panic!("{down:?}") };
    let up = bench.up_bytes(&mut wire, &pong_frame(ping, KEY));
    assert_eq!(up, [Got::Json(behind)]);
}

#[test]
fn a_message_too_long_to_be_held_passes_and_is_settled_without_it() {
    let config = TOKENS.replace(r#""tiers""#, r#""counting": { "hold_up_to": "1KiB" }, "tiers""#);
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    let mut long = create(None);
    long["input"] = "word ".repeat(300).into();
    let frame = data_frame(Kind::Text, long.to_string().as_bytes(), KEY);
    let mut passed = Vec::new();
    for piece in frame.chunks(700) {
        wire.effects = bench.handle(&mut wire.exchange, Event::RequestPiece { bytes: piece });
        passed.extend(wire.effects.piece.clone().unwrap_or_else(|| piece.to_vec()));
    }
    assert_eq!(passed, frame);
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &completed(None, 300, 5));
    assert_eq!(bench.left(), 695, "its usage is charged");
    // The other way: the last event is too long.
    bench.up(&mut wire, &create(None));
    bench.down(&mut wire, &created(None));
    bench.down(&mut wire, &delta("one two three four"));
    let mut last = completed(None, 9, 5);
    last["response"]["output"] = "word ".repeat(300).into();
    let text = last.to_string().replacen('{', r#"{"type":"response.completed","#, 1);
    let frame = data_frame(Kind::Text, text.as_bytes(), None);
    let mut passed = Vec::new();
    for piece in frame.chunks(700) {
        wire.effects = bench.handle(&mut wire.exchange, Event::ResponsePiece { bytes: piece, last: false });
        passed.extend(wire.effects.piece.clone().unwrap_or_else(|| piece.to_vec()));
    }
    assert_eq!(passed, frame);
    assert_eq!(bench.count_of(&metrics::USAGE_MISSING, "absent"), 1);
    assert_eq!(bench.left(), 695 - 8 - 4, "by its text");
}

#[test]
fn a_response_too_long_to_be_read_closes_the_socket_if_nothing_is_left() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    spend(&mut bench, &mut wire, 1000);
    bench.up(&mut wire, &create(Some("a")));
    // As after a request that was too long to be held; this API's responses cannot be cancelled.
    let mut down = Vec::new();
    for _ in 0..2 {
        down.extend(bench.down(&mut wire, &created(None)));
        down.extend(bench.down(&mut wire, &completed(None, 300, 0)));
    }
    assert!(down.iter().any(|got| matches!(got, Got::Close(Some(1008), _))), "{down:?}");
    bench.hang_up(&mut wire, None);
    assert_eq!(bench.count_of(&metrics::SOCKETS, "over_limit"), 1);
}

#[test]
fn a_thousand_requests_at_once_are_bounded() {
    let config = TOKENS.replace("1000", "1000000");
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    let frames = data_frame(Kind::Text, create(None).to_string().as_bytes(), KEY).repeat(1000);
    let up = bench.up_bytes(&mut wire, &frames);
    assert_eq!(up.len(), 65, "{:?}", up.last());
    assert!(matches!(up.last(), Some(Got::Close(Some(1008), _))), "{:?}", up.last());
    bench.hang_up(&mut wire, None);
    assert_eq!(bench.left(), 1_000_000 - 64 * 8, "none of them has begun");
}

#[test]
fn a_response_is_stopped_with_the_events_of_the_api_and_the_rest_of_it_is_dropped() {
    let config = TOKENS.replace(r#""tiers""#, r#""streams": { "stop_at_limit": true }, "tiers""#);
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    spend(&mut bench, &mut wire, 700);
    bench.up(&mut wire, &json!({ "type": "response.create", "model": "gpt-4o", "input": "Hi" }));
    bench.down(&mut wire, &created(None));
    let mut ended = None;
    for _ in 0..200 {
        let down = bench.down(&mut wire, &delta("one two three four five six seven eight "));
        if down.len() > 1 {
            ended = Some(down);
            break;
        }
    }
    let ended = ended.expect("it was never stopped");
    let Some(Got::Json(last)) = ended.last() else { panic!("{ended:?}") };
    assert_eq!(
        (&last["type"], &last["response"]["status"]),
        (&json!("response.incomplete"), &json!("incomplete"))
    );
    assert_eq!(bench.down(&mut wire, &delta("more")), []);
    assert_eq!(bench.down(&mut wire, &completed(None, 8, 5000)), []);
    assert_eq!(bench.count_of(&metrics::CALLS, "stopped"), 1);
    // The lane is free for the next one, when the budget allows it.
    bench.now = bench.now + Span::from_secs(120);
    assert_eq!(bench.up(&mut wire, &create(None)), [Got::Json(create(None))]);
}

#[test]
fn several_responses_that_wait_go_one_after_the_other() {
    let config = TOKENS.replace(r#""free": {"#, r#""free": { "wait": { "max_wait": "60s" },"#);
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    spend(&mut bench, &mut wire, 1000);
    let lanes = ["a", "b", "c", "d"];
    let frame = |lane| data_frame(Kind::Text, create(Some(lane)).to_string().as_bytes(), KEY);
    let mut sent = bench.up_bytes(&mut wire, &lanes.map(frame).concat());
    assert_eq!(sent, []);
    for lane in lanes {
        let Next::Wait { until } = wire.effects.next else { panic!("{lane}: {:?}", wire.effects.next) };
        bench.now = until;
        wire.effects = bench.handle(&mut wire.exchange, Event::Due);
        sent = read(Frames::from_client(usize::MAX), wire.effects.piece.as_ref().unwrap());
        assert_eq!(sent[0], Got::Json(create(Some(lane))));
        // The server answers the ping, then the client, with all that waits behind.
        if let Some(Got::Ping(ping)) = sent.get(1).cloned() {
            let down = bench.down_bytes(&mut wire, &pong_frame(&ping, None));
            if let [Got::Ping(ping)] = &down[..] {
                bench.up_bytes(&mut wire, &pong_frame(ping, KEY));
            }
        }
    }
}
