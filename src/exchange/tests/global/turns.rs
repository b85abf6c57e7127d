//! Limits that are asked one after the other, because the service reads one amount in each request.

use super::*;

const REQUEST: &str = r#", "hits_addend": "request""#;

fn of(name: &str, counts: &str, max: u64, window: &str) -> String {
    let limit = TPM.replace("tpm", name).replace("\"tokens\"", &format!("\"{counts}\""));
    limit.replace("1000", &max.to_string()).replace("1m", window)
}

/// Limits of ten calls of 108 tokens a day, and this many requests.
fn tokens_and_requests(requests: u64) -> [String; 2] {
    [of("rpd", "requests", requests, "1d"), of("tpd", "tokens", 1_100, "1d")]
}

fn world(global: &str, limits: &[String]) -> World {
    let limits: Vec<_> = limits.iter().map(String::as_str).collect();
    World::new(&format!("{REQUEST}{global}"), &limits)
}

/// Makes calls one after the other; returns the number that pass.
fn passed(world: &mut World, calls: usize) -> usize {
    let mut passed = 0;
    for _ in 0..calls {
        let (mut exchange, effects) = world.call(HI);
        if effects.next == Next::Pass {
            passed += 1;
            world.bench.head(&mut exchange, 200, "application/json");
            world.bench.piece(&mut exchange, &answer(8, 100), true);
        }
        world.do_tasks();
    }
    passed
}

#[test]
fn each_question_follows_the_answer_to_the_one_before() {
    let limits = [
        of("day", "tokens", 100_000, "1d"),
        of("rpm", "requests", 100, "1m"),
        of("tpm", "tokens", 1_000, "1m"),
    ];
    let mut world = world("", &limits);

    let (mut exchange, mut effects) = world.bench.send(HI);

    for place in 0..3 {
        let asks = asks(&effects);
        let [ask] = &asks[..] else { panic!("{asks:?}") };
        assert_eq!(
            (ask.place, world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask")),
            (place, place as u64 + 1)
        );
        effects = world.answer(&mut exchange, place, &ask.question);
    }
    assert_eq!(effects.next, Next::Pass);
    // Short windows first, and of equal ones the one with room for fewer such calls.
    let asked = ["tpm ada +108", "rpm ada +1", "day ada +108"];
    assert_eq!(world.service.asked, asked.map(|said| format!("ShouldRateLimit, free/{said}")));
}

#[test]
fn a_call_that_the_likeliest_limit_refuses_charges_no_other() {
    let mut world = world("", &tokens_and_requests(1_000));

    assert_eq!(passed(&mut world, 30), 10);

    assert_eq!((world.charged("tpd"), world.charged("rpd")), (1_080, 10));
}

#[test]
fn what_a_limit_was_charged_for_a_call_that_another_refuses_is_kept_for_the_next() {
    // There are tokens for fewer calls of this size, but requests run out first.
    let mut world = world("", &tokens_and_requests(11));
    world.service.limits.insert("free/rpd".to_owned(), (4, 86_400));

    assert_eq!(passed(&mut world, 30), 4);

    assert_eq!((world.charged("rpd"), world.charged("tpd")), (4, 5 * 108));
    // Another request is allowed, and its tokens are there.
    world.service.limits.insert("free/rpd".to_owned(), (5, 86_400));
    world.bench.now = world.bench.now + Span::from_secs(11);
    assert_eq!(passed(&mut world, 1), 1);
    assert_eq!((world.charged("rpd"), world.charged("tpd")), (5, 5 * 108));
}

#[test]
fn what_another_limit_was_charged_is_given_back_where_the_service_takes_it() {
    let mut world = world(r#", "refunds": true"#, &tokens_and_requests(11));
    world.service.limits.insert("free/rpd".to_owned(), (4, 86_400));

    assert_eq!(passed(&mut world, 30), 4);

    assert_eq!((world.charged("rpd"), world.charged("tpd")), (4, 4 * 108));
}

#[test]
fn what_a_call_held_too_much_is_kept_for_the_next_too() {
    let mut world = world("", &[of("tpd", "tokens", 1_000, "1d")]);
    world.use_up(8, 5);
    assert_eq!(world.charged("tpd"), 108);

    // 95 are left of it.
    let (_exchange, effects) = world.bench.send(&HI.replace("100", "80"));

    assert_eq!(effects.next, Next::Pass);
    assert_eq!(world.charged("tpd"), 108);
}

#[test]
fn a_limit_that_only_watches_is_asked_last_and_stops_nothing() {
    let watch = of("watch", "tokens", 1_000, "1m").replacen('{', r#"{ "enforce": "shadow", "#, 1);
    let mut world =
        world("", &[watch, of("tpd", "tokens", 100_000, "1d"), of("rpd", "requests", 1_000_000, "1d")]);
    world.service.limits.insert("free/watch".to_owned(), (1, 60));

    let (_exchange, effects) = world.call(HI);

    assert_eq!(effects.next, Next::Pass);
    let asked: Vec<_> = world.service.asked.iter().map(|said| said.split('/').nth(1).unwrap()).collect();
    assert_eq!(asked, ["tpd ada +108", "rpd ada +1", "watch ada +108"]);
}

#[test]
fn all_questions_together_take_no_longer_than_one() {
    let mut world = world(r#", "timeout": "50ms", "on_failure": "allow""#, &tokens_and_requests(1_000));
    let (mut exchange, effects) = world.bench.send(HI);
    let first = asks(&effects).remove(0);
    assert_eq!(first.timeout, Span::from_millis(50));
    world.bench.now = world.bench.now + Span::from_millis(30);

    let effects = world.answer(&mut exchange, 0, &first.question);

    let second = asks(&effects).remove(0);
    assert_eq!((second.place, second.timeout), (1, Span::from_millis(20)));
}

#[test]
fn when_the_time_is_up_or_an_answer_fails_the_limits_that_are_left_are_undecided() {
    for fails in [false, true] {
        let mut world = world(r#", "timeout": "50ms", "on_failure": "allow""#, &tokens_and_requests(1_000));
        let (mut exchange, effects) = world.bench.send(HI);
        let first = asks(&effects).remove(0);

        let effects = if fails {
            world.on_answer(&mut exchange, 0, Err(Failure::Unavailable))
        } else {
            world.bench.now = world.bench.now + Span::from_millis(50);
            world.answer(&mut exchange, 0, &first.question)
        };

        assert_eq!((effects.next, world.decided("allow")), (Next::Pass, 1));
        assert_eq!(world.bench.count_of(&metrics::GLOBAL_FAILURES, "not_asked"), u64::from(!fails));
        world.bench.head(&mut exchange, 200, "application/json");
        world.bench.piece(&mut exchange, &answer(8, 100), true);
        world.do_tasks();
        // The part not asked for is reported.
        assert_eq!((world.charged("tpd"), world.charged("rpd")), (108, 1));
    }
}

#[test]
fn a_client_that_leaves_between_two_questions_leaves_the_first_to_others() {
    let mut world = world("", &tokens_and_requests(1_000));
    let (mut exchange, effects) = world.bench.send(HI);
    world.answer(&mut exchange, 0, &asks(&effects)[0].question);

    world.bench.handle(&mut exchange, Event::End { abort: Some(Abort::Client) });

    assert_eq!(world.tasks(), [""; 0]);
    let (_exchange, effects) = world.bench.send(HI);
    assert!(asks(&effects)[0].question.covers == [0], "only requests are asked for: {effects:?}");
    assert_eq!(world.charged("tpd"), 108);
}

#[test]
fn an_answer_that_waits_for_the_next_tells_of_a_window_that_ends_as_much_sooner() {
    let lease = r#", "timeout": "10s", "lease": { "share": 0.2, "at_least": 100 }"#;
    let mut world = world(lease, &tokens_and_requests(1_000));
    let (mut slow, effects) = world.bench.send(HI);
    world.answer(&mut slow, 0, &asks(&effects)[0].question);
    // Another call learns of the same window, and a lease is granted.
    let (mut other, effects) = world.bench.send(HI);
    world.answer_all(&mut other, effects);
    world.do_tasks();
    let leased = world.charged("tpd") - 2 * 108;
    assert!(leased > 0);

    world.bench.now = world.bench.now + Span::from_secs(5);
    world.bench.handle(&mut slow, Event::End { abort: Some(Abort::Client) });

    // The lease is still there, with the charge of the slow call.
    let mut calls = 0;
    let asked = |world: &World| world.service.asked.iter().filter(|said| said.contains("tpd")).count();
    let before = asked(&world);
    while asked(&world) == before {
        world.call(HI);
        calls += 1;
    }
    assert_eq!(calls - 1, (leased + 108) / 108);
}

/// A call asks, is refused, and finds that a lease has arrived meanwhile.
#[test]
fn what_the_service_refuses_is_taken_from_a_lease_that_has_come_meanwhile() {
    let lease = r#", "protocol": "kuadrant", "lease": { "share": 0.2, "at_least": 100 }"#;
    let mut world = world(lease, &[of("tpd", "tokens", 1_000, "1d")]);
    let (mut first, effects) = world.bench.send(HI);
    let (mut second, effects_of_second) = world.bench.send(HI);
    world.answer_all(&mut first, effects);
    world.do_tasks();
    world.service.limits.insert("free/tpd".to_owned(), (0, 86_400));

    let effects = world.answer_all(&mut second, effects_of_second);

    assert_eq!(effects.next, Next::Pass);
    // 179 of the 892 that the first had left.
    assert_eq!(world.charged("tpd"), 108 + 179);
}
