//! Leases that are requested in the background.

use super::*;

pub(super) fn account(user: &str) -> Account {
    let (tpm, caller) = (tpm(), caller(user));
    Process::new().at(0, |budgets| Account::of(&tpm.limit, &subject(&caller), budgets))
}

pub(super) fn request(user: &str, amount: u64) -> Task {
    Task::Lease(LeaseRequest {
        of: descriptor(&tpm(), user),
        unit: &Unit::TOKENS,
        account: account(user),
        amount: Amount(amount),
    })
}

/// Returns the rest of ada's lease.
fn left(bench: &Bench, millis: u64) -> u64 {
    bench.process.at(millis, |budgets| drained(&tpm(), &POLICY, budgets))
}

/// Reports ada's remaining budget, and returns the amount to request.
fn learned(bench: &Bench, remaining: u64) -> Option<Amount> {
    let told = WindowStatus { remaining: Some(Amount(remaining)), reset: Some(Span::from_secs(60)) };
    bench.process.at(0, |budgets| account("ada").learn(Amount(1), told, &POLICY, budgets))
}

#[test]
fn a_lease_is_asked_for_on_the_next_tick_and_granted_with_the_answer() {
    let mut bench = Bench::of(leasing());

    assert_eq!(bench.push(0, request("ada", 1_800)), SOON);

    assert_eq!(bench.next_due(0), Some(0));
    assert_eq!(bench.send(5), [(1, vec![(about("ada"), 1_800)])]);
    let answer = response(PbCode::Ok, vec![status(PbCode::Ok, 100_000, 80_000, 30)]);
    assert_eq!(bench.answered(6, 1, Ok(&answer)), Some(Health::Well));
    assert_eq!(left(&bench, 6), 1_800);
    assert_eq!(bench.send(7), []);
}

#[test]
fn a_lease_is_charged_by_every_protocol() {
    for protocol in [Protocol::Envoy, Protocol::CheckThenReport, Protocol::Kuadrant] {
        let mut bench = Bench::of(Service { lease: Some(POLICY), ..speaking(protocol) });
        bench.push(0, request("ada", 1_800));

        let batches = bench.due(5);

        assert_eq!(batches[0].question.method.name, "ShouldRateLimit", "{protocol:?}");
        assert_eq!(said(&batches[0].question), [(about("ada"), 1_800)], "{protocol:?}");
    }
}

#[test]
fn where_the_service_does_not_tell_what_remains_what_was_asked_for_is_granted() {
    for protocol in [Protocol::Envoy, Protocol::CheckThenReport, Protocol::Kuadrant] {
        let mut bench = Bench::of(Service { lease: Some(POLICY), ..speaking(protocol) });
        bench.push(0, request("ada", 1_800));
        bench.send(5);

        bench.answered(6, 1, Ok(&ok()));

        assert_eq!(left(&bench, 6), 1_800, "{protocol:?}");
    }
}

#[test]
fn a_lease_that_is_refused_is_nothing_and_others_of_the_same_request_are_granted() {
    let mut bench = Bench::of(leasing());
    bench.push(0, request("bob", 1_800));
    bench.push(0, request("ada", 1_800));
    assert_eq!(bench.send(5).len(), 1);

    let statuses = vec![status(PbCode::OverLimit, 100_000, 0, 30), status(PbCode::Ok, 100_000, 80_000, 30)];
    assert_eq!(bench.answered(6, 1, Ok(&response(PbCode::OverLimit, statuses))), Some(Health::Well));

    assert_eq!(left(&bench, 6), 1_800);
    bench.process.at(6, |budgets| {
        let bob = account("bob");
        let (taken, more) = bob.take(Amount(1_800), &POLICY, budgets);
        assert!(matches!(taken, crate::limits::LeaseOutcome::Spent(..)), "{taken:?}");
        assert_eq!(more, None);
    });
}

#[test]
fn a_lease_without_an_answer_may_be_asked_for_by_the_next_call() {
    let failures: [Result<&[u8], Failure>; 4] =
        [Err(Failure::Unavailable), Ok(b""), Ok(b"\xff"), Ok(&[0x08, 0])];
    for failure in failures {
        let mut bench = Bench::of(leasing());
        let amount = learned(&bench, 50_000).unwrap();
        assert_eq!(learned(&bench, 50_000), None, "somebody is asking");
        bench.push(0, request("ada", amount.0));
        bench.send(5);

        assert_eq!(bench.answered(6, 1, failure), Some(Health::Failing));

        assert_eq!(left(&bench, 6), 0);
        assert_eq!(bench.send(7), [], "it is not asked for again by itself");
        assert_eq!(learned(&bench, 50_000), Some(amount));
    }
}

#[test]
fn a_lease_whose_answer_is_lost_may_be_asked_for_by_the_next_call() {
    let mut bench = Bench::of(leasing());
    let amount = learned(&bench, 50_000);
    bench.push(0, request("ada", 1_000));
    bench.send(0);
    bench.send(3_001);

    assert_eq!(learned(&bench, 50_000), amount);
    assert_eq!(bench.answered(3_010, 1, Ok(&ok())), None);
    assert_eq!(left(&bench, 3_010), 0);
}

#[test]
fn what_was_used_of_a_budget_is_told_before_more_of_it_is_asked_for() {
    let mut bench = Bench::of(leasing());
    bench.push(0, report("ada", 7, 60_000));
    bench.push(0, report("bob", 5, 60_000));
    bench.push(10, request("ada", 1_000));

    let sent = bench.send(10);

    assert_eq!(sent, [(1, vec![(about("ada"), 7), (about("bob"), 5)]), (2, vec![(about("ada"), 1_000)])]);
}

#[test]
fn while_the_breaker_is_open_leases_are_not_asked_for_and_the_next_call_may() {
    let breaker = BreakerPolicy { failures: 1, probe_every: Span::from_millis(1_000) };
    let mut bench = Bench::of(Service { breaker, ..leasing() });
    let _ = bench.breaker.answered(false, START);
    let amount = learned(&bench, 50_000);
    bench.push(0, request("ada", 1_000));

    assert_eq!((bench.send(5), bench.next_due(5)), (vec![], None));

    assert_eq!(learned(&bench, 50_000), amount);
}

#[test]
fn no_more_leases_wait_than_there_is_room_for() {
    let mut bench = Bench::of(leasing());
    for user in 0..MOST_WAITING + 10 {
        bench.push(0, request(&user.to_string(), 1_000));
    }
    assert_eq!(bench.report_queue.leases.len(), MOST_WAITING);
}

#[test]
fn neither_leases_nor_reports_keep_the_others_from_going() {
    let service = Service { lease: Some(POLICY), hits_addend: HitsAddend::Request, ..service() };
    let mut bench = Bench::of(service);
    for user in 0..200 {
        bench.push(0, report(&format!("reporting {user}"), 7, 60_000));
        bench.push(1_000, request(&format!("leasing {user}"), 1_000));
    }

    let sent = bench.send(1_000);

    let leases = sent.iter().filter(|(_, said)| said[0].1 == 1_000).count();
    assert_eq!((sent.len(), leases), (MOST_IN_FLIGHT, 22));
    // Those that did not fit follow when there is room.
    assert_eq!(bench.next_due(1_000), Some(0));
    for (token, _) in sent {
        bench.answered(1_001, token, Ok(&ok()));
    }
    assert_eq!(bench.send(1_002).len(), MOST_IN_FLIGHT);
}

#[test]
fn money_is_leased_in_micro_dollars() {
    let (spend, caller) = (global("spend", "cost_usd", 10_000_000_000), caller("ada"));
    let mut bench = Bench::of(leasing());
    let account = bench.process.at(0, |budgets| Account::of(&spend.limit, &subject(&caller), budgets));
    let of = descriptor(&spend, "ada");
    bench
        .push(0, Task::Lease(LeaseRequest { of, unit: &Unit::NANO_USD, account, amount: Amount(1_234_567) }));

    assert_eq!(bench.send(5)[0].1[0].1, 1_235);
    let answer = response(PbCode::Ok, vec![status(PbCode::Ok, 10_000_000, 9_000_000, 30)]);
    bench.answered(6, 1, Ok(&answer));

    bench.process.at(6, |budgets| assert_eq!(drained(&spend, &POLICY, budgets), 1_234_567));
}
