//! Calls that are decided from leases of this process.

use super::*;

/// A share of a fiftieth.
const LEASE: &str = r#", "lease": { "share": 0.02, "at_least": 100 }"#;

/// Returns a limit of 100,000 tokens a minute.
fn large() -> String {
    TPM.replace("1000", "100000")
}

/// Returns a world with a granted lease.
fn leased(global: &str) -> World {
    let mut world = World::new(&format!("{LEASE} {global}"), &[&large()]);
    world.use_up(8, 5);
    world.do_tasks();
    world
}

#[test]
fn the_first_call_asks_for_itself_and_a_lease_is_asked_for_in_the_background() {
    let mut world = World::new(LEASE, &[&large()]);

    let (_exchange, effects) = world.call(HI);

    assert_eq!(effects.next, Next::Pass);
    assert_eq!(world.service.asked, ["ShouldRateLimit, free/tpm ada +108"]);
    // A fiftieth of the 99,892 that remain, rounded up.
    assert_eq!(world.tasks(), ["free/tpm ada lease 1998"]);
    assert_eq!((world.decided("asked"), world.decided("leased")), (1, 0));
}

#[test]
fn the_second_call_asks_nothing_and_is_told_where_the_budget_stands() {
    let mut world = leased("");
    let asked = world.service.asked.clone();
    assert_eq!(asked, ["ShouldRateLimit, free/tpm ada +108", "ShouldRateLimit, free/tpm ada +1998"]);

    let (mut exchange, effects) = world.bench.send(HI);

    assert_eq!((effects.next, exchange.wants(Wanted::Answers)), (Next::Pass, false));
    assert_eq!((world.decided("asked"), world.decided("leased")), (1, 1));
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask"), 1);
    let head = world.bench.head(&mut exchange, 200, "application/json");
    // The charges count as used, except for 95 of the first call; this one reserves 108.
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some(&*(100_000_u32 - 13 - 108).to_string()));
    world.bench.piece(&mut exchange, &answer(8, 5), true);
    assert_eq!(world.tasks(), [""; 0], "the lease pays");
}

#[test]
fn more_is_asked_for_before_the_lease_runs_out_so_that_steady_load_asks_hardly_ever() {
    let mut world = leased("");
    for _ in 0..1_000 {
        world.use_up(8, 5);
        world.do_tasks();
    }

    assert_eq!(world.decided("asked"), 1, "only the first call waited");
    assert!(world.service.asked.len() <= 1_000 / 50, "{} requests", world.service.asked.len());
    let used = 13 * 1_001;
    let charged = world.charged("tpm");
    assert!((used..=used + 2 * 1_998).contains(&charged), "{charged}");
}

#[test]
fn what_a_lease_cannot_pay_is_told_and_what_a_call_did_not_need_is_the_next_ones() {
    let mut world = leased("");
    world.use_up(8, 3_000);

    // 1,998 and the 95 that the first call left were leased.
    assert_eq!(world.tasks(), ["free/tpm ada +915"]);
}

#[test]
fn every_protocol_charges_in_advance_what_it_leases_and_what_calls_hold() {
    for (protocol, says) in [("check_then_report", "ShouldRateLimit"), ("kuadrant", "Report")] {
        let mut world = leased(&format!(r#", "protocol": "{protocol}""#));
        let asked = ["ShouldRateLimit, free/tpm ada +108", "ShouldRateLimit, free/tpm ada +1998"];
        assert_eq!(world.service.asked, asked, "{protocol}");

        // 2,093 are leased, with the rest of the first call's 108.
        world.use_up(8, 2_000);
        assert_eq!(world.tasks(), [""; 0], "the lease pays");
        world.use_up(8, 5_000);
        world.do_tasks();

        // It held 108, and 85 were left.
        let told = format!("{says}, free/tpm ada +4815");
        assert!(world.service.asked.contains(&told), "{:?}", world.service.asked);
    }
}

#[test]
fn a_client_that_leaves_and_a_refusal_by_another_limit_give_the_lease_back() {
    // Nothing of 4,000 input tokens is leased, so each call asks.
    let input = TPM.replace("tpm", "in").replace("tokens", "input_tokens").replace("1000", "4000");
    let global = r#", "on_failure": "deny", "lease": { "share": 0.02, "at_least": 5000 }"#;
    let mut world = World::new(global, &[&large(), &input]);
    world.use_up(8, 20_000);
    world.do_tasks();
    let stands = |world: &mut World| {
        let (mut exchange, _) = world.call(HI);
        let head = world.bench.head(&mut exchange, 500, "");
        world.bench.handle(&mut exchange, Event::End { abort: None });
        header(&head, "ratelimit").map(str::to_owned)
    };
    let before = stands(&mut world);
    assert!(before.as_ref().unwrap().starts_with("\"tpm\";"), "{before:?}");

    // More input than the earlier calls have left over.
    let longer = HI.replace("Hi", "How are you today, and tomorrow?");
    let (mut left, effects) = world.bench.send(&longer);
    assert_eq!(questions(&effects)[0].covers.len(), 1, "only the input is asked for");
    world.bench.handle(&mut left, Event::End { abort: Some(Abort::Client) });
    assert_eq!(stands(&mut world), before);

    let (mut refused, _) = world.bench.send(&longer);
    let effects = world.on_answer(&mut refused, 0, Err(Failure::Unavailable));
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("in"));
    assert_eq!(stands(&mut world), before);
}

#[test]
fn a_budget_that_is_known_to_be_spent_refuses_here_without_asking() {
    let mut world = World::new(LEASE, &[LOCAL, TPM]);
    world.service.limits.insert("free/tpm".to_owned(), (120, 60));
    let (_held, _) = world.call(HI);
    let (_, refused) = world.call(HI);
    assert_eq!(fact(&refused, Fact::RefusedBy).as_deref(), Some("tpm"));
    assert_eq!(world.service.asked.len(), 2);

    let (_, effects) = world.bench.send(HI);

    // The next window, in 40 seconds, has room for both as far as this process knows.
    assert_eq!(field(&refused, "retry-after"), Some("40"));
    assert_eq!((reply(&effects).0.status, field(&effects, "retry-after")), (429, Some("40")));
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("tpm"));
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask"), 2, "the third is not asked for");
    let (mut smaller, effects) = world.bench.send(&HI.replace("100", "1"));
    assert!(matches!(effects.next, Next::Ask { .. }), "a smaller call may still fit");
    let effects = world.answer_all(&mut smaller, effects);
    assert_eq!(effects.next, Next::Pass);
    let head = world.bench.head(&mut smaller, 500, "");
    assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some("3"));
}

#[test]
fn a_lease_is_not_spent_in_the_next_window() {
    let mut world = leased("");
    world.bench.now = world.bench.now + Span::from_secs(40);

    let (_, effects) = world.bench.send(HI);

    assert!(matches!(effects.next, Next::Ask { .. }));
}

#[test]
fn a_lease_goes_on_when_the_service_is_gone() {
    let mut world = leased(r#", "on_failure": "deny", "breaker": { "failures": 1 }"#);
    world.bench.breaker.as_mut().unwrap().answered(false, world.bench.now);

    world.use_up(8, 5);

    assert_eq!((world.decided("leased"), world.decided("deny")), (1, 0));
}
