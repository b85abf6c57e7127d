//! Properties of calls in any order of events.

use super::*;
use crate::identity::Caller;
use crate::limits::{Account, LeaseOutcome, LeasePolicy, Subject};
use crate::units::Amount;
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
    Tasks(bool),
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
        2 => prop::bool::weighted(0.8).prop_map(Step::Tasks),
    ];
    prop::collection::vec(step, 0..60)
}

/// A call, and its open questions.
struct Open {
    exchange: Exchange,
    questions: Vec<Ask>,
}

/// Takes a step with the open calls.
fn take(step: &Step, world: &mut World, open: &mut Vec<Open>) {
    match *step {
        Step::Send => {
            let (exchange, effects) = world.bench.send(HI);
            open.push(Open { exchange, questions: asks(&effects) });
        }
        Step::Answer(call, question, how) => {
            let Some(Open { exchange, questions }) = open.get_mut(call) else { return };
            if !exchange.wants(Wanted::Answers) || question >= questions.len() {
                return;
            }
            let Ask { place, question, .. } = questions.remove(question);
            let effects = match how {
                None => world.answer(exchange, place, &question),
                Some(how) => world.on_answer(exchange, place, NO_ANSWERS[how].1),
            };
            questions.extend(asks(&effects));
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
        Step::Tasks(reachable) => world.do_tasks_if(reachable),
    }
}

/// Returns the rest of ada's lease of the limit `tpm`.
fn left_of_lease(world: &World) -> u64 {
    let tiers = world.bench.config.tiers.all();
    let mut limits = tiers.iter().flat_map(|tier| &tier.global).map(|global| &global.limit);
    let limit = limits.find(|limit| &*limit.name == "tpm").unwrap();
    let caller = Caller::new(vec![("tenant".into(), b"ada".to_vec())]);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    let table = Table::new(&world.bench.lines as &dyn Lines, world.bench.config.sets());
    let budgets = Budgets::new(&table, &world.bench.keys, world.bench.now);
    let account = Account::of(limit, &subject, &budgets);
    let takes = |amount: &u64| {
        matches!(account.take(Amount(*amount), &LeasePolicy::NOTHING, &budgets).0, LeaseOutcome::Taken(..))
    };
    (0..40).rev().map(|bit| 1 << bit).filter(takes).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However calls go, and whatever the service answers, it has charged their usage and the rest
    /// of leases, the local budget is charged their usage, and nothing stays reserved.
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
            (r#", "hits_addend": "request""#, 2_000),
        ]),
    ) {
        let hourly = |limit: &str| limit.replace("1m", "1h");
        let of_gpt = |limit: &str| hourly(limit).replacen('{', r#"{ "models": ["gpt-*"], "#, 1);
        let tpm = of_gpt(&TPM.replace("1000", &tokens.to_string()));
        let rpm = of_gpt(&TPM.replace("tpm", "rpm").replace("tokens", "requests").replace("1000", "1000000"));
        let own = hourly(&LOCAL.replace("1000", "1000000"));
        let global = format!(r#", "on_failure": "{on_failure}" {protocol}"#);
        let mut world = World::new(&global, &[&own, &tpm, &rpm]);
        // Charges of refused calls are lost.
        let keeps = protocol.contains("lease") || !protocol.contains("protocol") && !protocol.contains("refunds");
        world.service.charges_refused = !keeps;

        // Refunds are sent at most once.
        let loses = |step: &Step| matches!(step, Step::Tasks(false));
        let may_lose = protocol.contains("refunds") && steps.iter().any(loses);
        let mut open = Vec::new();
        for step in steps {
            take(&step, &mut world, &mut open);
        }
        for call in 0..open.len() {
            take(&Step::End(call, true), &mut world, &mut open);
        }
        prop_assert!(open.iter().all(|call| !call.exchange.wants(Wanted::End) && !call.exchange.wants(Wanted::Answers)));
        world.do_tasks();
        for _ in 0..20 {
            world.bench.now = world.bench.now + Span::from_secs(6);
            world.do_tasks();
        }
        prop_assert_eq!(world.report_queue.next_due(world.bench.now), None, "nothing waits to be told");

        let used = world.bench.counted.iter().filter(|(name, ..)| *name == metrics::TOKENS.name);
        let used = used.map(|(.., by)| by).sum::<u64>();
        // Charges that are not used are kept for later calls.
        let kept = if keeps { left_of_lease(&world) } else { 0 };
        let (charged, told) = (world.charged("tpm"), i64::try_from(used + kept).unwrap());
        prop_assert!(charged == told || (may_lose && charged > told), "charged {charged}, used {used}, kept {kept}: {:?}", world.service.asked);

        let ends = ["ok", "error", "client_abort", "upstream_reset", "refused"].map(|kind| world.bench.count_of(&metrics::CALLS, kind));
        prop_assert_eq!(ends.iter().sum::<u64>(), open.len() as u64, "every call ends once");

        prop_assert_eq!(local_left(&mut world), 1_000_000 - used);
    }
}
