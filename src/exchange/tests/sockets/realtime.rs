//! OpenAI's Realtime API.

use super::*;

const PATH: &[u8] = b"/v1/realtime?model=gpt-realtime";

/// 20,000 bytes of sound in base64: 416 ms of PCM at 24 kHz.
fn sound() -> String {
    "A".repeat(26_668)
}

fn create(id: &str) -> Value {
    json!({ "type": "response.create", "event_id": id, "response": { "max_output_tokens": 100 } })
}

fn created(id: &str) -> Value {
    json!({ "type": "response.created", "response": { "id": id, "status": "in_progress" } })
}

fn delta(id: &str, text: &str) -> Value {
    json!({ "type": "response.output_text.delta", "response_id": id, "delta": text })
}

fn done(id: &str, status: &str, usage: Value) -> Value {
    let mut event = json!({ "type": "response.done", "response": { "id": id, "status": status } });
    event["response"]["usage"] = usage;
    event
}

fn text(input: u64, output: u64) -> Value {
    json!({ "input_tokens": input, "output_tokens": output })
}

fn config(limits: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }}, "prices": [ {{ "match": "*",
            "input": 4, "cached_input": 0.4, "output": 16, "audio_input": 32, "audio_output": 64 }} ],
            "tiers": {{ "free": {{ "limits": [ {limits},
            {{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000000, "window": "1d" }} ] }} }} }}"#
    )
}

/// Spends tokens on a socket of its own, whose conversation is not read here.
fn spend(bench: &mut Bench, tokens: u64) {
    let mut wire = bench.open(PATH);
    assert_eq!(bench.up(&mut wire, &create("c")), [Got::Json(create("c"))]);
    bench.down(&mut wire, &created("spent"));
    bench.down(&mut wire, &done("spent", "completed", text(0, tokens)));
}

#[test]
fn a_response_reads_the_conversation_and_is_settled_by_its_classes() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    let item = json!({ "type": "conversation.item.create", "item": { "type": "message", "role": "user",
        "content": [ { "type": "input_text", "text": "one two three four five six seven eight" } ] } });
    for message in [json!({ "type": "session.update", "session": { "instructions": "Be brief." } }), item] {
        assert_eq!(bench.up(&mut wire, &message), [Got::Json(message)]);
    }
    bench.up(&mut wire, &create("c"));
    let counted: u64 = fact(&wire.effects, Fact::CountedInput).unwrap().parse().unwrap();
    assert!((10..30).contains(&counted), "{counted}");
    bench.down(&mut wire, &created("r"));
    bench.down(&mut wire, &delta("r", "Hello"));
    let usage = json!({ "input_tokens": 100, "output_tokens": 50,
        "input_token_details": { "text_tokens": 40, "audio_tokens": 60, "cached_tokens": 30,
            "cached_tokens_details": { "text_tokens": 10, "audio_tokens": 20 } },
        "output_token_details": { "text_tokens": 20, "audio_tokens": 30 } });
    bench.down(&mut wire, &done("r", "completed", usage));
    for (class, tokens) in [
        ("input", 30),
        ("cached_input", 10),
        ("audio_input", 40),
        ("cached_audio_input", 20),
        ("output", 20),
        ("audio_output", 30),
    ] {
        assert_eq!(bench.count_of(&metrics::TOKENS, class), tokens, "{class}");
    }
    assert_eq!(bench.count_of(&metrics::AUDIO, ""), 1_500);
    assert_eq!(bench.left(), 850);
    // The next response reads all of that again.
    bench.up(&mut wire, &create("d"));
    assert_eq!(fact(&wire.effects, Fact::CountedInput).unwrap().parse::<u64>().unwrap() - counted, 150);
}

#[test]
fn sound_is_counted_by_its_length_while_it_passes() {
    let limits =
        r#"{ "name": "sound", "count": "audio_seconds", "per": "tenant", "max": 10, "window": "1h" }"#;
    for (format, ms) in [("audio/pcm", 416), ("audio/pcmu", 2500)] {
        let mut bench = Bench::new(&config(limits));
        let mut wire = bench.open(PATH);
        let update = json!({ "type": "session.update", "session": {
            "audio": { "input": { "format": { "type": format } } } } });
        bench.up(&mut wire, &update);
        let append = json!({ "type": "input_audio_buffer.append", "audio": sound() });
        bench.up(&mut wire, &append);
        assert_eq!(wire.effects.piece, None, "sound passes as it came");
        bench.down(&mut wire, &created("r"));
        let usage =
            json!({ "input_tokens": 5, "output_tokens": 10, "output_token_details": { "audio_tokens": 10 } });
        bench.down(&mut wire, &done("r", "completed", usage));
        assert_eq!(bench.count_of(&metrics::AUDIO, ""), ms + 500, "{format}");
        // The next one has heard nothing new.
        bench.down(&mut wire, &created("s"));
        bench.down(&mut wire, &done("s", "completed", text(5, 0)));
        assert_eq!(bench.count_of(&metrics::AUDIO, ""), ms + 500, "{format}");
    }
}

#[test]
fn a_response_that_the_server_begins_is_cancelled_when_nothing_is_left() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    spend(&mut bench, 1000);
    bench.up(&mut wire, &json!({ "type": "input_audio_buffer.append", "audio": sound() }));
    let down = bench.down(&mut wire, &created("r"));
    let [Got::Json(event), Got::Json(error), Got::Ping(ping)] = &down[..] else { panic!("{down:?}") };
    assert_eq!(*event, created("r"));
    assert_eq!((&error["type"], &error["error"]["code"]), (&json!("error"), &json!("rate_limit_exceeded")));
    // The client's pong, or whatever it says, carries the cancellation.
    let up = bench.up_bytes(&mut wire, &pong_frame(ping, KEY));
    assert_eq!(up, [Got::Json(json!({ "type": "response.cancel", "response_id": "r" }))]);
    assert_eq!(bench.down(&mut wire, &delta("r", "Hello")), [], "its client gets no more of it");
    let cancelled = done("r", "cancelled", text(7, 3));
    assert_eq!(bench.down(&mut wire, &cancelled), [Got::Json(cancelled)]);
    assert_eq!(bench.count_of(&metrics::STREAMS_STOPPED, ""), 1);
    assert_eq!(bench.count_of(&metrics::TOKENS, "input"), 7, "what it cost is charged");
}

#[test]
fn a_refusal_names_the_clients_event() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    spend(&mut bench, 1000);
    let up = bench.up(&mut wire, &create("mine"));
    let down = bench.pong(&mut wire, &up);
    let [Got::Json(error)] = &down[..] else { panic!("{down:?}") };
    assert_eq!(error["error"]["event_id"], "mine");
    assert!(error["error"]["message"].as_str().unwrap().contains("try again"), "{error}");
}

#[test]
fn a_response_that_the_server_refuses_costs_nothing() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &create("c"));
    bench.down(&mut wire, &created("r"));
    bench.up(&mut wire, &create("d"));
    let busy = json!({ "type": "error", "error": { "code": "conversation_already_has_active_response", "event_id": "d" } });
    bench.down(&mut wire, &busy);
    assert_eq!(bench.count_of(&metrics::CALLS, "error"), 1);
    // Errors of other events change nothing.
    bench.down(&mut wire, &json!({ "type": "error", "error": { "code": "invalid_value", "event_id": "e" } }));
    bench.down(&mut wire, &json!({ "type": "error", "error": { "code": "invalid_value" } }));
    bench.down(&mut wire, &done("r", "completed", text(10, 10)));
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 1);
    assert_eq!(bench.left(), 980);
}

#[test]
fn a_transcription_is_charged_at_its_own_models_price() {
    let limits = r#"{ "name": "usd", "count": "cost_usd", "per": "tenant", "max": 1, "window": "1h" }"#;
    let prices = r#""prices": [ { "match": "whisper*", "input": 0, "output": 0, "audio_minute": 0.006 },"#;
    let mut bench = Bench::new(&config(limits).replace(r#""prices": ["#, prices));
    let mut wire = bench.open(b"/v1/realtime?intent=transcription");
    let update = json!({ "type": "session.update", "session": { "type": "transcription",
        "audio": { "input": { "transcription": { "model": "whisper-1" } } } } });
    bench.up(&mut wire, &update);
    bench.up(&mut wire, &json!({ "type": "input_audio_buffer.append", "audio": sound() }));
    let transcribed = json!({ "type": "conversation.item.input_audio_transcription.completed",
        "transcript": "Hi", "usage": { "type": "duration", "seconds": 1 } });
    bench.down(&mut wire, &transcribed);
    // 416 ms at 0.1 mUSD a second.
    assert_eq!(bench.count_of(&metrics::COST, ""), 41_600);
    assert_eq!(bench.count_of(&metrics::AUDIO, ""), 416);
}

#[test]
fn a_transcribing_socket_is_closed_when_its_budget_is_exhausted() {
    let limits =
        r#"{ "name": "sound", "count": "audio_seconds", "per": "tenant", "max": 1, "window": "1h" }"#;
    let mut bench = Bench::new(&config(limits));
    let mut wire = bench.open(b"/v1/realtime?intent=transcription");
    bench.up(&mut wire, &json!({ "type": "session.update", "session": { "type": "transcription" } }));
    let transcribed = json!({ "type": "conversation.item.input_audio_transcription.completed",
        "transcript": "Hi", "usage": { "type": "tokens", "input_tokens": 4, "output_tokens": 1 } });
    for _ in 0..2 {
        bench.up(&mut wire, &json!({ "type": "input_audio_buffer.append", "audio": sound() }));
        assert_eq!(bench.down(&mut wire, &transcribed), [Got::Json(transcribed.clone())]);
    }
    bench.up(&mut wire, &json!({ "type": "input_audio_buffer.append", "audio": sound() }));
    let down = bench.down(&mut wire, &transcribed);
    let [Got::Json(_), Got::Json(error), Got::Close(Some(1008), reason), ..] = &down[..] else {
        panic!("{down:?}")
    };
    assert_eq!(error["type"], "error");
    assert!(reason.contains("Rate limit"), "{reason}");
    bench.hang_up(&mut wire, None);
    assert_eq!(bench.count_of(&metrics::SOCKETS, "over_limit"), 1);
}

#[test]
fn a_response_is_stopped_at_the_end_of_its_budget() {
    let config = TOKENS.replace(r#""tiers""#, r#""streams": { "stop_at_limit": true }, "tiers""#);
    let mut bench = Bench::new(&config);
    let mut wire = bench.open(PATH);
    spend(&mut bench, 700);
    bench.up(&mut wire, &json!({ "type": "response.create" }));
    bench.down(&mut wire, &created("r"));
    let mut ended = None;
    for _ in 0..200 {
        let down = bench.down(&mut wire, &delta("r", "one two three four five six seven eight "));
        if let [Got::Json(_), Got::Json(event), Got::Ping(_)] = &down[..] {
            ended = Some(event.clone());
            break;
        }
    }
    let ended = ended.expect("it was never stopped");
    assert_eq!(
        (&ended["type"], &ended["response"]["status"]),
        (&json!("response.done"), &json!("incomplete"))
    );
    let up = bench.up(&mut wire, &json!({ "type": "x" }));
    assert_eq!(up.first(), Some(&Got::Json(json!({ "type": "response.cancel", "response_id": "r" }))));
    assert_eq!(bench.down(&mut wire, &delta("r", "more")), []);
    assert_eq!(bench.down(&mut wire, &done("r", "cancelled", text(1, 1))), []);
    assert_eq!(bench.count_of(&metrics::CALLS, "stopped"), 1);
}

#[test]
fn the_output_is_bounded_in_place_to_what_is_left() {
    let config = TOKENS.replace(r#""free": {"#, r#""free": { "clamp_output": true,"#);
    let mut bench = Bench::new(&config);
    for (message, path) in [
        (json!({ "type": "response.create" }), "/response/max_output_tokens"),
        (
            json!({ "type": "response.create", "response": { "max_output_tokens": "inf" } }),
            "/response/max_output_tokens",
        ),
        (
            json!({ "type": "response.create", "response": { "max_response_output_tokens": 5000 } }),
            "/response/max_response_output_tokens",
        ),
    ] {
        let mut wire = bench.open(PATH);
        spend(&mut bench, 950);
        let up = bench.up(&mut wire, &message);
        let [Got::Json(event)] = &up[..] else { panic!("{up:?}") };
        let bound = event.pointer(path).and_then(Value::as_u64).expect("a bound");
        assert!(bound <= 50, "{event}");
        bench.now = bench.now + Span::from_secs(3600);
    }
}

#[test]
fn exhausted_tools_are_hidden_in_a_session_and_in_a_response() {
    let limits = r#"{ "name": "mail", "count": "tool_calls", "tools": ["mail"], "per": "tenant", "max": 1, "window": "1h", "on_exhausted": "hide_tool" }"#;
    let mut bench = Bench::new(&config(limits));
    let mut wire = bench.open(PATH);
    spend(&mut bench, 1);
    bench.up(&mut wire, &create("c"));
    bench.down(&mut wire, &created("r"));
    let item = json!({ "type": "function_call", "call_id": "x", "name": "mail", "arguments": "{}" });
    bench.down(&mut wire, &json!({ "type": "response.output_item.done", "response_id": "r", "item": item }));
    bench.down(&mut wire, &done("r", "completed", text(1, 1)));
    let tools = json!([{ "type": "function", "name": "mail" }, { "type": "function", "name": "look" }]);
    for (kind, object) in [("session.update", "session"), ("response.create", "response")] {
        let up = bench.up(&mut wire, &json!({ "type": kind, object: { "tools": tools } }));
        let [Got::Json(event)] = &up[..] else { panic!("{up:?}") };
        assert_eq!(event[object]["tools"], json!([{ "type": "function", "name": "look" }]));
    }
}

#[test]
fn a_response_that_inherits_an_exhausted_tool_is_refused() {
    let limits = r#"{ "name": "mail", "count": "tool_calls", "tools": ["mail"], "per": "tenant", "max": 1, "window": "1h", "on_exhausted": "hide_tool" }"#;
    let mut bench = Bench::new(&config(limits));
    let mut wire = bench.open(PATH);
    let tools = json!([{ "type": "function", "name": "mail" }]);
    bench.up(&mut wire, &json!({ "type": "session.update", "session": { "tools": tools } }));
    bench.up(&mut wire, &create("c"));
    bench.down(&mut wire, &created("r"));
    let item = json!({ "type": "function_call", "call_id": "x", "name": "mail", "arguments": "{}" });
    bench.down(&mut wire, &json!({ "type": "response.output_item.done", "response_id": "r", "item": item }));
    bench.down(&mut wire, &done("r", "completed", text(1, 1)));
    assert!(matches!(&bench.up(&mut wire, &create("d"))[..], [Got::Ping(_)]), "it would offer the tool");
    let down = bench.down(&mut wire, &created("s"));
    assert_eq!(down.len(), 4, "the first error, the event, the second error, a ping: {down:?}");
    // Without the tool it goes on.
    bench.up(&mut wire, &json!({ "type": "session.update", "session": { "tools": [] } }));
    assert_eq!(bench.up(&mut wire, &create("e")), [Got::Json(create("e"))]);
}

#[test]
fn the_providers_event_about_limits_carries_the_callers_own() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    let told = |remaining: u64| {
        json!({ "type": "rate_limits.updated", "rate_limits": [
            { "name": "requests", "limit": 9, "remaining": 8, "reset_seconds": 1.0 },
            { "name": "tokens", "limit": 40_000, "remaining": remaining, "reset_seconds": 1.0 } ] })
    };
    assert_eq!(bench.down(&mut wire, &told(5)), [Got::Json(told(5))], "nothing is known yet");
    bench.up(&mut wire, &create("c"));
    let down = bench.down(&mut wire, &told(39_000));
    let [Got::Json(event)] = &down[..] else { panic!("{down:?}") };
    let limits = &event["rate_limits"];
    assert_eq!(limits[0], told(0)["rate_limits"][0]);
    assert_eq!((&limits[1]["limit"], limits[1]["remaining"].as_u64() < Some(1000)), (&json!(1000), true));
    assert_eq!(bench.down(&mut wire, &told(5)), [Got::Json(told(5))], "the lower of both");
}
