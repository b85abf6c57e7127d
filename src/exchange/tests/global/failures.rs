//! Calls that the service does not decide: `on_failure`, and the breaker.

use super::*;

/// Sends a call that the service does not decide.
fn undecided(world: &mut World, answer: Result<&[u8], Failure>) -> (Exchange, Effects) {
    let (mut exchange, _) = world.bench.send(HI);
    let effects = world.on_answer(&mut exchange, 0, answer);
    (exchange, effects)
}

/// Returns a world with a breaker that stays closed, a share of the limits enforced here, and calls
/// that reserve 108 of any budget.
fn sharing(share: &str, limits: &[&str]) -> World {
    let global = format!(r#", "local_share": {share}, "breaker": {{ "failures": 1000 }}"#);
    let counting = r#"{ "counting": { "output_reserve": { "at_most": 1 } }, "#;
    World::of(&config(&global, limits).replacen('{', counting, 1))
}

#[test]
fn on_failure_allow_lets_calls_pass_and_still_tells_what_they_used() {
    for (kind, answer) in NO_ANSWERS {
        let mut world = World::new(r#", "on_failure": "allow""#, &[LOCAL, TPM]);

        let (mut exchange, effects) = undecided(&mut world, answer);

        assert_eq!(effects.next, Next::Pass, "{kind}");
        assert_eq!((world.decided("allow"), world.decided("asked")), (1, 0), "{kind}");
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, kind), 1);
        let head = world.bench.head(&mut exchange, 200, "application/json");
        assert_eq!(header(&head, "ratelimit-policy"), Some("\"own\";q=1000;qu=\"tokens\";w=60"));
        world.bench.piece(&mut exchange, &self::answer(8, 5), true);
        assert_eq!(world.tasks(), ["free/tpm ada +13"], "{kind}");
    }
}

#[test]
fn on_failure_deny_refuses_for_as_long_as_until_the_next_probe() {
    for (kind, answer) in NO_ANSWERS {
        let global = r#", "on_failure": "deny", "breaker": { "probe_every": "3s" }"#;
        let mut world = World::new(global, &[LOCAL, TPM]);

        let (_, effects) = undecided(&mut world, answer);

        let (refusal, body) = reply(&effects);
        assert_eq!((refusal.status, field(&effects, "retry-after")), (429, Some("3")), "{kind}");
        assert_eq!(
            body["error"]["message"],
            "Limit `tpm` cannot be checked at the moment. Please try again in 3s."
        );
        for unknown in ["ratelimit", "ratelimit-policy", "x-ratelimit-remaining-tokens"] {
            assert_eq!(field(&effects, unknown), None, "{kind}");
        }
        assert_eq!((world.decided("deny"), fact(&effects, Fact::RefusedBy).as_deref()), (1, Some("tpm")));
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, kind), 1);
        let log: Value = serde_json::from_str(&effects.log[0]).unwrap();
        assert_eq!((&log["limit"], &log["available"]), (&json!("tpm"), &Value::Null));
        assert_eq!(world.tasks(), [""; 0]);
        let left = header(&world.use_up(8, 5), "ratelimit").unwrap().to_owned();
        assert!(left.contains("r=892"), "{kind}: the local budget was given back: {left}");
    }
}

#[test]
fn on_failure_local_enforces_a_share_here_and_says_no_more_of_it_than_when_to_come_back() {
    for (kind, answer) in NO_ANSWERS {
        // 300 of 1,000: two calls of 108, and no third.
        let mut world = sharing("0.3", &[TPM]);
        let calls: Vec<_> = (0..3).map(|_| undecided(&mut world, answer)).collect();

        let [(mut first, allowed), (_, also_allowed), (_, refused)] = calls.try_into().ok().unwrap();

        assert_eq!((&allowed.next, &also_allowed.next), (&Next::Pass, &Next::Pass), "{kind}");
        assert_eq!((reply(&refused).0.status, field(&refused, "retry-after")), (429, Some("40")), "{kind}");
        assert_eq!(fact(&refused, Fact::RefusedBy).as_deref(), Some("tpm"));
        assert_eq!((field(&refused, "ratelimit"), field(&refused, "x-ratelimit-limit-tokens")), (None, None));
        assert_eq!((world.decided("local"), world.decided("asked")), (3, 0));
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, kind), 3);
        let head = world.bench.head(&mut first, 200, "application/json");
        assert_eq!(header(&head, "ratelimit"), None);
        world.bench.piece(&mut first, &self::answer(8, 5), true);
        assert_eq!(world.tasks(), ["free/tpm ada +13"], "{kind}");
        assert_eq!(
            undecided(&mut world, answer).1.next,
            Next::Pass,
            "usage settles the share: 13 + 108 + 108"
        );
    }
}

#[test]
fn a_call_too_large_for_the_local_share_may_come_back() {
    let mut world = World::new(r#", "local_share": 0.05"#, &[TPM]);
    let (mut exchange, _) = world.bench.send(&HI.replace("Hi", &"word ".repeat(100)));

    let effects = world.on_answer(&mut exchange, 0, Err(Failure::Unavailable));

    let (refusal, body) = reply(&effects);
    assert_eq!((refusal.status, field(&effects, "retry-after")), (429, Some("1")));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(!message.contains("smaller"), "the budget is large enough: {message}");
}

#[test]
fn the_local_share_is_enforced_besides_local_limits_and_all_comes_back() {
    let mut world = sharing("0.2", &[LOCAL, TPM]);
    let (_first, _) = undecided(&mut world, Err(Failure::Unavailable));

    let (_, refused) = undecided(&mut world, Err(Failure::Unavailable));

    assert_eq!(reply(&refused).0.status, 429);
    let head = world.use_up(8, 5);
    let own = header(&head, "x-ratelimit-remaining-tokens");
    assert_eq!(own, Some("784"), "of the local limit two calls are held");
}

#[test]
fn one_question_without_an_answer_leaves_only_its_own_limits_undecided() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    let global = r#", "hits_addend": "request", "on_failure": "deny", "refunds": true"#;
    let mut world = World::new(global, &[TPM, &rpm]);
    let (mut exchange, effects) = world.bench.send(HI);
    let questions = questions(&effects);
    world.answer(&mut exchange, 0, &questions[0]);

    let effects = world.on_answer(&mut exchange, 1, Err(Failure::Unavailable));

    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("rpm"));
    assert_eq!(world.tasks(), ["free/tpm ada -108"], "what the other has charged is given back");
}

#[test]
fn a_refusal_by_one_answer_counts_more_than_a_failure_of_another() {
    for on_failure in ["local", "allow", "deny"] {
        let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
        let global = format!(r#", "protocol": "kuadrant", "on_failure": "{on_failure}""#);
        let mut world = World::new(&global, &[TPM, &rpm]);
        let (mut exchange, _) = world.bench.send(HI);
        world.on_answer(&mut exchange, 0, Err(Failure::Unavailable));

        let effects = world.on_answer(&mut exchange, 1, Ok(b"\x08\x02"));

        assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("rpm"), "{on_failure}");
        assert_eq!((world.decided("asked"), world.decided(on_failure)), (1, 0));
    }
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_closes_with_a_probe_that_succeeds() {
    let global = r#", "on_failure": "allow", "breaker": { "failures": 3, "probe_every": "2s" }"#;
    let mut world = World::new(global, &[TPM]);
    for (_, answer) in NO_ANSWERS.into_iter().take(3) {
        undecided(&mut world, answer);
    }
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_BREAKER, "opened"), 1);

    let (mut without, effects) = world.bench.send(HI);
    assert_eq!(effects.next, Next::Pass, "it is not asked");
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, "not_asked"), 1);
    assert_eq!(world.decided("allow"), 4);
    world.bench.head(&mut without, 200, "application/json");
    world.bench.piece(&mut without, &answer(8, 5), true);
    assert_eq!(world.tasks(), ["free/tpm ada +13"]);

    world.bench.now = world.bench.now + Span::from_secs(2);
    let (mut probe, effects) = world.bench.send(HI);
    assert!(matches!(effects.next, Next::Ask { .. }));
    assert_eq!(world.bench.send(HI).1.next, Next::Pass, "one probe at a time");
    world.answer_all(&mut probe, effects);
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_BREAKER, "closed"), 1);
    assert!(matches!(world.bench.send(HI).1.next, Next::Ask { .. }));
}

#[test]
fn without_asking_on_failure_holds_as_it_does_without_an_answer() {
    for (on_failure, passes) in [("local", true), ("allow", true), ("deny", false)] {
        let global =
            format!(r#", "on_failure": "{on_failure}", "local_share": 0.2, "breaker": {{ "failures": 1 }}"#);
        let mut world = World::new(&global, &[TPM]);
        undecided(&mut world, Err(Failure::Unavailable));

        let (_exchange, effects) = world.bench.send(&HI.replace("100", "10"));

        assert_eq!(effects.next == Next::Pass, passes, "{on_failure}");
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, "not_asked"), 1);
        assert_eq!(world.decided(on_failure), 2);
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask"), 1);
    }
}

#[test]
fn a_call_that_local_limits_refuse_is_not_the_probe() {
    let global = r#", "on_failure": "allow", "breaker": { "failures": 1 }"#;
    let mut world = World::new(global, &[&LOCAL.replace("1000", "200"), TPM]);
    undecided(&mut world, Err(Failure::Unavailable));
    world.bench.now = world.bench.now + Span::from_secs(1);

    let (_, refused) = world.bench.send(&HI.replace("Hi", &"word ".repeat(300)));
    assert_eq!(fact(&refused, Fact::RefusedBy).as_deref(), Some("own"));

    let (_, small) = world.bench.send(&HI.replace("100", "10"));
    assert!(matches!(small.next, Next::Ask { .. }));
}
