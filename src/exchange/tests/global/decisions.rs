//! The effects of the service's answers on the caller: refusals, budget headers, the service's own
//! headers, shadow limits.

use super::*;

#[test]
fn a_remote_refusal_is_a_429_that_names_the_limit_and_gives_the_local_budget_back() {
    let mut world = World::new("", &[LOCAL, TPM]);
    world.use_up(8, 92);
    world.service.limits.insert("free/tpm".to_owned(), (110, 60));
    world.bench.tasks.clear();

    let (exchange, effects) = world.call(HI);

    let (refusal, body) = reply(&effects);
    assert_eq!((refusal.status, refusal.details), (429, "tollgate_refused"));
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("(limit `tpm`)") && message.contains("Available 2"), "{message}");
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("tpm"));
    // 20 seconds of this minute are over.
    assert_eq!(
        (field(&effects, "retry-after"), field(&effects, "retry-after-ms")),
        (Some("40"), Some("40000"))
    );
    assert_eq!(field(&effects, "x-ratelimit-remaining-tokens"), Some("2"));
    assert_eq!(field(&effects, "ratelimit"), Some("\"tpm\";r=2;t=40"));
    assert!(!exchange.wants(Wanted::End) && effects.headers.is_empty() && effects.body.is_empty());
    assert_eq!(world.decided("asked"), 2);
    assert_eq!(world.tasks(), [""; 0]);
    // 1,000 less the first call's 100, less the 108 of this one, which the service is configured to
    // admit.
    world.service.limits.insert("free/tpm".to_owned(), (10_000, 60));
    assert_eq!(header(&world.use_up(8, 5), "x-ratelimit-remaining-tokens"), Some("792"));
}

#[test]
fn a_refusal_of_which_the_service_tells_nothing_takes_the_limits_own_window() {
    let mut world = World::new("", &[&TPM.replace("1m", "1h")]);
    let (mut exchange, _) = world.bench.send(HI);

    let effects = world.on_answer(&mut exchange, 0, Ok(b"\x08\x02"));

    assert_eq!((reply(&effects).0.status, field(&effects, "retry-after")), (429, Some("3600")));
}

#[test]
fn of_several_limits_that_refuse_the_one_to_be_waited_for_longest_is_told() {
    let hourly = TPM.replace("tpm", "tph").replace("1m", "1h");
    let daily = TPM.replace("tpm", "tpd").replace("1m", "24h");
    let mut world = World::new("", &[TPM, &hourly, &daily]);
    for name in ["free/tpm", "free/tph"] {
        world.service.limits.get_mut(name).unwrap().0 = 50;
    }

    let (_, effects) = world.call(HI);

    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("tph"));
    let second = world.bench.now.0 / 1_000_000_000 % 3_600;
    assert_eq!(field(&effects, "retry-after"), Some(&*(3_600 - second).to_string()));
}

#[test]
fn what_other_answers_have_charged_for_a_refused_call_is_given_back_where_the_service_takes_it() {
    let rpm = TPM.replace("tpm", "rpm").replace("tokens", "requests");
    for (global, given_back) in [
        (r#", "hits_addend": "request", "refunds": true"#, &["free/tpm ada -108"][..]),
        (r#", "hits_addend": "request""#, &[]),
        (r#", "protocol": "kuadrant""#, &[]),
    ] {
        let mut world = World::new(global, &[TPM, &rpm]);
        world.service.limits.get_mut("free/rpm").unwrap().0 = 0;

        let (_, effects) = world.call(HI);

        assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("rpm"));
        assert_eq!(world.tasks(), given_back, "{global}");
    }
}

#[test]
fn the_services_headers_are_on_responses_on_refusals_and_on_requests() {
    let mut world = World::new("", &[TPM]);
    world.service.response_headers = vec![("x-service", "told"), ("x-more", "1")];
    world.service.request_headers = vec![("x-upstream", "told")];

    let (mut exchange, effects) = world.call(HI);
    assert_eq!(effects.headers, [HeaderEdit::Set("x-upstream".into(), b"told".as_slice().into())]);
    let head = world.bench.head(&mut exchange, 200, "application/json");
    assert_eq!((header(&head, "x-service"), header(&head, "x-more")), (Some("told"), Some("1")));

    world.service.limits.get_mut("free/tpm").unwrap().0 = 0;
    let (_, effects) = world.call(HI);
    let added = [("x-service", "told"), ("x-more", "1")]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    assert_eq!(reply(&effects).0.added, added);
    assert!(effects.headers.is_empty());
}

#[test]
fn the_services_header_stands_where_the_upstream_sends_one_of_the_same_name() {
    let mut world = World::new("", &[TPM]);
    world.service.response_headers = vec![("x-ratelimit-limit", "10, 10;w=60")];
    let (mut exchange, _) = world.call(HI);

    let head = world.bench.head_with(&mut exchange, 200, &[("x-ratelimit-limit", "7")]);

    let edits: Vec<_> =
        head.headers.iter().filter(|edit| format!("{edit:?}").contains("\"x-ratelimit-limit\"")).collect();
    assert_eq!(
        edits.last(),
        Some(&&HeaderEdit::Set("x-ratelimit-limit".into(), b"10, 10;w=60".as_slice().into()))
    );
}

#[test]
fn a_signed_request_is_given_no_headers_of_the_service() {
    let mut world = World::new("", &[TPM]);
    world.service.request_headers = vec![("x-upstream", "told")];
    world.service.response_headers = vec![("x-service", "told")];
    let signature = b"AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/bedrock/aws4_request";
    let head = Request::chat().with("authorization", signature);
    let mut exchange = world.bench.exchange();
    world.bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let effects = world
        .bench
        .handle(&mut exchange, Event::RequestBody { body: HI.as_bytes(), editable: Editable::All });

    let effects = world.answer_all(&mut exchange, effects);

    assert_eq!((effects.next, effects.headers), (Next::Pass, vec![]));
    let head = world.bench.head(&mut exchange, 200, "application/json");
    assert_eq!(header(&head, "x-service"), Some("told"));
}

#[test]
fn budget_headers_tell_the_most_constrained_of_local_and_global_limits() {
    for (local, global, expected) in [(1_000, 500, ("tpm", "392")), (500, 1_000, ("own", "392"))] {
        let max = |limit: &str, max: u64| limit.replace("1000", &max.to_string());
        let mut world = World::new("", &[&max(LOCAL, local), &max(TPM, global)]);

        let head = world.use_up(8, 5);

        assert_eq!(header(&head, "x-ratelimit-remaining-tokens"), Some(expected.1));
        let most = header(&head, "ratelimit").unwrap();
        assert!(most.starts_with(&format!("\"{}\";r={}", expected.0, expected.1)), "{most}");
    }
}

#[test]
fn a_global_budget_used_beyond_its_warning_is_warned_of_and_counted() {
    let mut world = World::new("", &[TPM]);
    world.service.limits.insert("free/tpm".to_owned(), (150, 60));

    let head = world.use_up(8, 5);

    assert_eq!(header(&head, "x-tollgate-warning"), Some("\"tpm\";used=95"));
    assert_eq!(world.bench.count_of(&metrics::WARNINGS, ""), 1);
}

#[test]
fn a_global_budget_used_beyond_its_warning_is_logged_once_in_a_window() {
    let mut world = World::new("", &[TPM]);
    world.service.limits.insert("free/tpm".to_owned(), (300, 60));

    world.use_up(8, 5);
    world.use_up(8, 5);
    let lines = |world: &World| world.bench.logged.iter().filter(|line| line.contains("warning")).count();
    assert_eq!(lines(&world), 1, "{:?}", world.bench.logged);

    world.bench.now = world.bench.now + Span::from_secs(60);
    world.service.limits.insert("free/tpm".to_owned(), (300, 60));
    world.use_up(8, 5);
    assert_eq!(lines(&world), 2, "{:?}", world.bench.logged);
}

#[test]
fn a_limit_that_the_service_does_not_tell_of_is_not_in_budget_headers() {
    let mut world = World::new("", &[LOCAL, TPM]);
    world.service.hides_statuses = true;

    let head = world.use_up(8, 5);

    assert_eq!(header(&head, "ratelimit").map(|most| most.contains("own")), Some(true));
    assert!(!header(&head, "ratelimit-policy").unwrap().contains("tpm"));
}

#[test]
fn a_limit_that_the_service_does_not_have_lets_calls_pass_and_is_counted() {
    let mut world = World::new("", &[TPM]);
    world.service.limits.clear();

    let head = world.use_up(8, 5);

    assert_eq!(world.bench.count_of(&metrics::GLOBAL_UNKNOWN, ""), 1);
    assert_eq!(header(&head, "ratelimit"), None);
}

#[test]
fn a_call_larger_than_the_whole_budget_is_refused_for_ever_without_asking() {
    let mut world = World::new("", &[LOCAL, &TPM.replace("1000", "50")]);
    let long = HI.replace("Hi", &"word ".repeat(60));

    let (_, effects) = world.bench.send(&long);

    assert_eq!(
        (fact(&effects, Fact::RefusedBy).as_deref(), field(&effects, "retry-after")),
        (Some("tpm"), None)
    );
    assert_eq!(field(&effects, "x-should-retry"), Some("false"));
    assert_eq!(world.bench.count_of(&metrics::GLOBAL_REQUESTS, "ask"), 0);
    // The local budget is untouched: of 50 tokens, 8 and a quarter for output are held.
    assert_eq!(header(&world.use_up(8, 5), "x-ratelimit-remaining-tokens"), Some("29"));
    assert_eq!(local_left(&mut world), 1_000 - 13);
}

#[test]
fn a_limit_that_only_watches_never_refuses_and_is_asked_by_itself() {
    let shadow = TPM.replace("tpm", "seen").replacen('{', r#"{ "enforce": "shadow", "#, 1);
    for protocol in ["envoy", "check_then_report", "kuadrant"] {
        let mut world = World::new(&format!(r#", "protocol": "{protocol}""#), &[TPM, &shadow]);
        world.service.limits.get_mut("free/seen").unwrap().0 = 0;

        let head = world.use_up(8, 5);

        assert_eq!(world.service.asked.len(), 2);
        assert_eq!(world.bench.count_of(&metrics::SHADOW_REFUSALS, ""), 1, "{protocol}");
        assert!(header(&head, "ratelimit").unwrap().contains("\"tpm\""));
        let told: Vec<_> = world.tasks().into_iter().filter(|told| told.contains("seen")).collect();
        assert_eq!(told, [""; 0], "a call that it would have refused is not charged to it");
    }
}

#[test]
fn a_limit_that_only_watches_refuses_nothing_when_the_service_fails() {
    let shadow = TPM.replacen('{', r#"{ "enforce": "shadow", "#, 1);
    for on_failure in ["local", "allow", "deny"] {
        for (_, answer) in NO_ANSWERS {
            let mut world = World::new(&format!(r#", "on_failure": "{on_failure}""#), &[&shadow]);
            let (mut exchange, _) = world.bench.send(HI);

            assert_eq!(world.on_answer(&mut exchange, 0, answer).next, Next::Pass, "{on_failure}");
        }
    }
}
