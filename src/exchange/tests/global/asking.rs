//! When the service is asked, the questions, and how its answers reach the call.

use super::*;

#[test]
fn a_call_that_a_local_limit_refuses_asks_nothing() {
    let mut world = World::new("", &[&LOCAL.replace("1000", "50"), TPM]);
    let long = HI.replace("Hi", &"word ".repeat(60));

    let (exchange, effects) = world.bench.send(&long);

    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("own"));
    assert!(!exchange.wants(Wanted::Answers) && world.bench.tasks.is_empty());
    assert_eq!((world.decided("asked"), world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask")), (0, 0));
}

#[test]
fn a_call_waits_with_its_local_budget_held_and_then_passes() {
    let mut world = World::new("", &[LOCAL, TPM]);

    let (mut exchange, effects) = world.bench.send(HI_STREAM);

    assert!(matches!(effects.next, Next::Ask { hold: true, ref questions } if questions.len() == 1));
    assert!(exchange.wants(Wanted::Answers) && exchange.wants(Wanted::End) && !effects.body.is_empty());
    let effects = world.answer_all(&mut exchange, effects);
    assert_eq!(effects.next, Next::Pass);
    assert!(!exchange.wants(Wanted::Answers) && exchange.wants(Wanted::End));
    assert_eq!(world.service.asked, ["ShouldRateLimit, free/tpm ada +108"]);
    assert_eq!((world.decided("asked"), world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask")), (1, 1));
}

#[test]
fn a_call_without_global_limits_or_for_other_models_asks_nothing() {
    let other_models = TPM.replacen('{', r#"{ "models": ["claude-*"], "#, 1);
    for limits in [&[LOCAL][..], &[LOCAL, &other_models][..]] {
        let mut world = World::new("", limits);

        let (_, effects) = world.bench.send(HI);

        assert_eq!(effects.next, Next::Pass);
        assert_eq!(world.decided("asked") + world.decided("leased"), 0);
    }
}

#[test]
fn limits_for_models_are_asked_for_by_the_models_that_they_name() {
    let chat = TPM.replacen('{', r#"{ "models": ["gpt-4*"], "#, 1).replace("tpm", "chat");
    let mut world = World::new("", &[&chat, &TPM.replacen('{', r#"{ "models": ["claude-*"], "#, 1)]);

    world.call(HI);
    world.call(&HI.replace("gpt-4o", "claude-sonnet-4-5"));
    world.call(&HI.replace("gpt-4o", ""));

    let asked: Vec<_> = world.service.asked.iter().map(|said| said.matches("free/").count()).collect();
    assert_eq!(asked, [1, 1, 2], "{:?}", world.service.asked);
    assert!(world.service.asked[0].contains("free/chat") && world.service.asked[1].contains("free/tpm"));
}

#[test]
fn several_limits_are_one_question_or_one_each_where_the_service_reads_one_amount() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let cases: [(&str, &[&str]); 3] = [
        ("", &["ShouldRateLimit, free/tpm ada +108, free/rpm ada +1"]),
        (
            r#", "hits_addend": "request""#,
            &["ShouldRateLimit, free/tpm ada +108", "ShouldRateLimit, free/rpm ada +1"],
        ),
        (
            r#", "protocol": "kuadrant""#,
            &["CheckRateLimit, free/tpm ada +108", "CheckRateLimit, free/rpm ada +1"],
        ),
    ];
    for (global, asked) in cases {
        let mut world = World::new(global, &[TPM, &rpm]);

        let (_, effects) = world.call(HI);

        assert_eq!(effects.next, Next::Pass);
        assert_eq!(world.service.asked, asked);
    }
}

#[test]
fn money_is_asked_for_in_micro_dollars() {
    let spend = TPM.replace("tpm", "spend").replace("tokens", "cost_usd").replace("1000", "0.01");
    let config = config("", &[&spend]).replacen(
        '{',
        r#"{ "prices": [ { "match": "gpt-4o", "input": 2.5, "output": 10 } ], "#,
        1,
    );
    let mut world = World::of(&config);

    world.use_up(8, 5);

    // 8 at 2.5 USD a million and 100 at 10.
    assert_eq!(world.service.asked, ["ShouldRateLimit, free/spend ada +1020"]);
}

/// Returns a call that asks three questions.
fn three_questions() -> (World, Exchange, Vec<Question>) {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let out = TPM.replace("tpm", "out").replace("tokens", "output_tokens");
    let mut world = World::new(r#", "protocol": "kuadrant""#, &[LOCAL, TPM, &rpm, &out]);
    let (exchange, effects) = world.bench.send(HI);
    let questions = questions(&effects);
    assert_eq!(questions.len(), 3);
    (world, exchange, questions)
}

#[test]
fn answers_may_come_in_any_order_and_the_last_one_decides() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut world, mut exchange, questions) = three_questions();
        for place in [order[0], order[1]] {
            assert!(waits(&world.answer(&mut exchange, place, &questions[place])), "{order:?}");
        }

        let effects = world.answer(&mut exchange, order[2], &questions[order[2]]);

        assert_eq!(effects.next, Next::Pass, "{order:?}");
        assert_eq!(world.decided("asked"), 1);
    }
}

#[test]
fn a_second_answer_to_a_question_and_one_to_none_are_ignored() {
    let (mut world, mut exchange, questions) = three_questions();
    world.answer(&mut exchange, 1, &questions[1]);

    // Each would refuse, or fail, if it counted.
    for (place, answer) in [
        (1, Ok(&b"\x08\x02"[..])),
        (1, Err(Failure::Unavailable)),
        (3, Ok(b"\x08\x02")),
        (usize::MAX, Ok(b"")),
    ] {
        let effects = world.on_answer(&mut exchange, place, answer);
        assert!(waits(&effects) && effects.counts.is_empty(), "the call waits on: {effects:?}");
    }

    world.answer(&mut exchange, 0, &questions[0]);
    assert_eq!(world.answer(&mut exchange, 2, &questions[2]).next, Next::Pass);
}

#[test]
fn an_answer_that_comes_after_the_decision_has_no_effect() {
    let mut world = World::new("", &[TPM]);
    let (mut exchange, _) = world.call(HI);
    let late = |world: &mut World, exchange: &mut Exchange| {
        let effects = world.on_answer(exchange, 0, Ok(b"\x08\x02"));
        assert_eq!(format!("{effects:?}"), format!("{:?}", Effects::default()));
    };

    late(&mut world, &mut exchange);
    world.bench.head(&mut exchange, 200, "application/json");
    late(&mut world, &mut exchange);
    world.bench.piece(&mut exchange, &answer(8, 100), true);
    late(&mut world, &mut exchange);

    assert_eq!(world.charged("tpm"), 108);
}

#[test]
fn a_client_that_leaves_while_the_service_is_asked_costs_nothing_here() {
    let mut world = World::new("", &[LOCAL, TPM]);
    let (mut exchange, effects) = world.bench.send(HI);
    let questions = questions(&effects);

    world.bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });

    assert!(!exchange.wants(Wanted::End) && !exchange.wants(Wanted::Answers));
    assert_eq!(world.bench.count_of(&metrics::CALLS, "client_abort"), 1);
    let late = world.answer(&mut exchange, 0, &questions[0]);
    assert_eq!(format!("{late:?}"), format!("{:?}", Effects::default()));
    assert_eq!(world.tasks(), [""; 0]);
    assert_eq!(local_left(&mut world), 1_000);
}

#[test]
fn what_was_answered_before_the_client_left_is_given_back_where_the_service_takes_it() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let mut world = World::new(r#", "refunds": true, "hits_addend": "request""#, &[TPM, &rpm]);
    let (mut exchange, effects) = world.bench.send(HI);
    world.answer(&mut exchange, 0, &questions(&effects)[0]);

    world.bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });

    assert_eq!(world.tasks(), ["free/tpm ada -108"]);
}

#[test]
fn a_response_that_comes_before_the_answers_is_settled_as_if_there_were_none() {
    let mut world = World::new("", &[LOCAL, TPM]);
    let (mut exchange, effects) = world.bench.send(HI);

    let head = world.bench.head(&mut exchange, 200, "application/json");

    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("892"), "the local budget's");
    assert_eq!(world.decided("allow"), 1);
    let late = world.answer(&mut exchange, 0, &questions(&effects)[0]);
    assert_eq!(late.next, Next::Pass);
    world.bench.piece(&mut exchange, &answer(8, 5), true);
    assert_eq!(world.tasks(), ["free/tpm ada +13"]);
    assert_eq!(local_left(&mut world), 987);
}

#[test]
fn a_refusal_that_no_longer_stops_a_call_does_not_keep_its_usage_from_being_told() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let mut world = World::new(r#", "protocol": "kuadrant""#, &[LOCAL, TPM, &rpm]);
    let (mut exchange, _) = world.bench.send(HI);
    assert!(waits(&world.on_answer(&mut exchange, 0, Ok(b"\x08\x02"))));

    world.bench.head(&mut exchange, 200, "application/json");
    world.bench.piece(&mut exchange, &answer(8, 5), true);

    let mut told = world.tasks();
    told.sort();
    assert_eq!(told, ["free/rpm ada +1", "free/tpm ada +13"]);
}

const UPLOAD: &str = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--";

/// Starts an upload that passes while the service is asked.
fn upload(world: &mut World) -> (Exchange, Effects) {
    let head = Request::chat()
        .with(":path", b"/v1/audio/transcriptions")
        .with("content-type", b"multipart/form-data; boundary=b")
        .with("content-length", b"80000000");
    let mut exchange = world.bench.exchange();
    let effects = world.bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    (exchange, effects)
}

#[test]
fn an_upload_that_passes_is_asked_for_while_it_passes_and_its_form_is_read() {
    let mut world = World::of(&config("", &[TPM]).replacen(
        '{',
        r#"{ "prices": [ { "match": "dear", "input": 1000, "output": 1000 }, { "match": "whisper-1", "input": 10, "output": 0 } ], "#,
        1,
    ));
    let (mut exchange, effects) = upload(&mut world);
    assert!(matches!(effects.next, Next::Ask { hold: false, .. }));
    assert!(exchange.wants(Wanted::RequestPieces) && exchange.wants(Wanted::Answers));
    let (first, second) = UPLOAD.as_bytes().split_at(50);
    world.bench.handle(&mut exchange, Event::RequestPiece { bytes: first });

    assert_eq!(world.answer_all(&mut exchange, effects).next, Next::Pass);

    assert!(exchange.wants(Wanted::RequestPieces), "the form goes on");
    world.bench.handle(&mut exchange, Event::RequestPiece { bytes: second });
    world.bench.head(&mut exchange, 200, "application/json");
    let last =
        world.bench.piece(&mut exchange, r#"{"text":"","usage":{"type":"duration","seconds":60}}"#, true);
    assert_eq!(fact(&last, Fact::Cost).as_deref(), Some("0.006"));
}

#[test]
fn an_upload_and_a_body_too_long_to_be_held_can_still_be_refused() {
    let mut world = World::new("", &[TPM]);
    for path in ["/v1/audio/transcriptions", "/v1/chat/completions"] {
        let head = Request::chat().with(":path", path.as_bytes()).with("content-length", b"80000000");
        let mut exchange = world.bench.exchange();

        let effects = world.bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });

        assert!(matches!(effects.next, Next::Ask { hold: false, .. }), "{path}: {effects:?}");
        let effects = world.on_answer(&mut exchange, 0, Ok(b"\x08\x02"));
        assert_eq!(reply(&effects).0.status, 429, "{path}");
        assert!(!exchange.wants(Wanted::End) && !exchange.wants(Wanted::RequestPieces));
    }
}
