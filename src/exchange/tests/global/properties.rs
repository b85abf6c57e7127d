//! What holds for calls in any order of events.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Send,
    /// The service answers one of the call's open questions, or one of [`NO_ANSWERS`] comes.
    Answer(usize, usize, Option<usize>),
    Respond(usize, u64),
    Fail(usize),
    Stream(usize),
    End(usize, bool),
    Later(u64),
    Errands(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = || 0..5_usize;
    let step = prop_oneof![
        4 => Just(Step::Send),
        6 => (call(), 0..2_usize, prop::option::weighted(0.3, 0..4_usize))
            .prop_map(|(call, question, how)| Step::Answer(call, question, how)),
        3 => (call(), 0..300_u64).prop_map(|(call, output)| Step::Respond(call, output)),
        1 => call().prop_map(Step::Fail),
        1 => call().prop_map(Step::Stream),
        1 => (call(), any::<bool>()).prop_map(|(call, client)| Step::End(call, client)),
        1 => (0..900_u64).prop_map(Step::Later),
        2 => prop::bool::weighted(0.8).prop_map(Step::Errands),
    ];
    prop::collection::vec(step, 0..60)
}

/// A call, and the questions that it waits for.
struct Open {
    exchange: Exchange,
    questions: Vec<(usize, Question)>,
}

/// Takes a step with the calls that are open.
fn take(step: &Step, world: &mut World, open: &mut Vec<Open>) {
    match *step {
        Step::Send => {
            let (exchange, effects) = world.bench.send(HI);
            let questions = questions(&effects).into_iter().enumerate().collect();
            open.push(Open { exchange, questions });
        }
        Step::Answer(call, question, how) => {
            let Some(Open { exchange, questions }) = open.get_mut(call) else { return };
            if !exchange.is_asking() || question >= questions.len() {
                return;
            }
            let (place, question) = questions.remove(question);
            match how {
                None => drop(world.answer(exchange, place, &question)),
                Some(how) => drop(world.hear(exchange, place, NO_ANSWERS[how].1)),
            }
        }
        Step::Respond(call, output) => {
            let Some(Open { exchange, .. }) = open.get_mut(call) else { return };
            world.bench.head(exchange, 200, "application/json");
            world.bench.piece(exchange, &answer(8, output), true);
        }
        Step::Fail(call) => {
            let Some(Open { exchange, .. }) = open.get_mut(call) else { return };
            world.bench.head(exchange, 503, "");
        }
        Step::Stream(call) => {
            let Some(Open { exchange, .. }) = open.get_mut(call) else { return };
            world.bench.head(exchange, 200, "text/event-stream");
            world.bench.piece(exchange, HELLO_CHUNK, false);
        }
        Step::End(call, client) => {
            let Some(Open { exchange, .. }) = open.get_mut(call) else { return };
            let abort = Some(if client { Abort::Client } else { Abort::Upstream });
            world.bench.handle(exchange, Event::End { abort });
        }
        Step::Later(millis) => world.bench.now = world.bench.now + Span::from_millis(millis),
        Step::Errands(reachable) => world.do_errands_if(reachable),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However calls go, and whatever the service answers: it has been told what they used, the local budget is charged what
    /// they used, and nothing stays held.
    #[test]
    fn the_service_and_the_local_budget_know_what_was_used_and_nothing_else(
        steps in steps(),
        on_failure in prop::sample::select(vec!["local", "allow", "deny"]),
        (protocol, tokens) in prop::sample::select(vec![
            (r#", "protocol": "check_then_report""#, 50),
            (r#", "protocol": "kuadrant""#, 50),
            (r#", "protocol": "check_then_report", "lease": { "share": 0.2, "at_least": 200 }"#, 2_000),
            (r#", "protocol": "kuadrant", "lease": { "share": 0.2, "at_least": 200 }"#, 2_000),
            (r#", "refunds": true"#, 1_000_000),
            (r#", "refunds": true, "hits_addend": "request""#, 1_000_000),
        ]),
    ) {
        let hourly = |limit: &str| limit.replace("1m", "1h");
        let of_gpt = |limit: &str| hourly(limit).replacen('{', r#"{ "models": ["gpt-*"], "#, 1);
        let tpm = of_gpt(&TPM.replace("1000", &tokens.to_string()));
        let rpm = of_gpt(&TPM.replace("tpm", "rpm").replace("tokens", "requests").replace("1000", "1000000"));
        let own = hourly(&LOCAL.replace("1000", "1000000"));
        let global = format!(r#", "on_failure": "{on_failure}" {protocol}"#);
        let mut world = World::new(&global, &[&own, &tpm, &rpm]);
        world.service.charges_refused = true;

        // What is given back is told at most once.
        let loses = |step: &Step| matches!(step, Step::Errands(false));
        let may_lose = protocol.contains("refunds") && steps.iter().any(loses);
        let mut open = Vec::new();
        for step in steps {
            take(&step, &mut world, &mut open);
        }
        for call in 0..open.len() {
            take(&Step::End(call, true), &mut world, &mut open);
        }
        prop_assert!(open.iter().all(|call| !call.exchange.is_held() && !call.exchange.is_asking()));
        world.do_errands();
        for _ in 0..20 {
            world.bench.now = world.bench.now + Span::from_secs(6);
            world.do_errands();
        }
        prop_assert_eq!(world.outbox.next_due(world.bench.now), None, "nothing waits to be told");

        let used = world.bench.counted.iter().filter(|(name, ..)| *name == metrics::TOKENS.name);
        let used = used.map(|(.., by)| by).sum::<u64>();
        let (charged, told) = (world.charged("tpm"), i64::try_from(used).unwrap());
        prop_assert!(charged == told || (may_lose && charged > told), "charged {charged}, used {told}");

        let ends = ["ok", "error", "client_abort", "upstream_reset", "refused"].map(|kind| world.bench.count_of(&metrics::CALLS, kind));
        prop_assert_eq!(ends.iter().sum::<u64>(), open.len() as u64, "every call ends once");

        prop_assert_eq!(local_left(&mut world), 1_000_000 - used);
    }
}
