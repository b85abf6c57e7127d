//! The scenes of the demo, in order, with their checks.
//!
//! In: a stage. Out: the refused call, which the report shows in full. The budgets are those of
//! `envoy/envoy-global.yaml`: tier `free` has 200,000 tokens a day and tier `pro` 5,000,000,
//! through both Envoys together.

use std::time::Instant;

use tollgate_rig::demo::{Checks, number};
use tollgate_rig::envoy::Metrics;
use tollgate_rig::load::Load;

use crate::report::{Many, Row, row, rows, scene};
use crate::stage::{At, Call, Caller, Stage};

const ACME: Caller = Caller { tenant: "acme", tier: "free", per_day: 200_000 };
const ZENITH: Caller = Caller { tenant: "zenith", tier: "pro", per_day: 5_000_000 };
const NOVA: Caller = Caller { tenant: "nova", tier: "free", per_day: 200_000 };

/// From `global.lease` in `envoy/envoy-global.yaml`.
const LEASE_AT_LEAST: u64 = 1_000;

const DAY: u64 = 86_400;

/// Returns the lease that an Envoy takes when `remaining` is left: `share` of it, rounded up, or
/// `at_least`.
const fn lease_of(remaining: u64) -> u64 {
    let share = remaining.div_ceil(50);
    if share > LEASE_AT_LEAST { share } else { LEASE_AT_LEAST }
}

pub(crate) async fn play(stage: &mut Stage) -> Call {
    scene(stage, "One budget, spent through both Envoys");
    let known = both_begin(stage).await;
    decided_from_the_lease(stage, known).await;
    spent(stage).await;
    let refused = refused_at_both(stage).await;

    scene(stage, "Leases");
    many_calls(stage).await;

    scene(stage, "The service goes down");
    stage.service.process.kill();
    leases_go_on(stage).await;
    let used = local_shares(stage).await;

    scene(stage, "The service comes back");
    reports_arrive(stage, used).await;
    decided_by_the_service_again(stage, used).await;
    refused
}

/// Makes a first call at each Envoy, which asks the service and then takes a lease. Returns what
/// each Envoy then knows to be left, including its lease.
async fn both_begin(stage: &mut Stage) -> [u64; 2] {
    let (mut counted, mut known) = (0, [0, 0]);
    for (at, known) in At::BOTH.into_iter().zip(&mut known) {
        let call = stage.call(at, ACME, 2_000, 2_000).await;
        call.checks.expect("status", 200, call.status);
        let left = ACME.per_day - counted - call.held;
        call.checks.expect("tokens left", Some(left), call.left());
        let lease = lease_of(left);
        *known = left;
        counted += call.held + lease;
        let is = stage.service.wait_for(ACME, counted).await;
        call.checks.expect("tokens that the service has counted", counted, is);
        let why = match at {
            At::A => format!(
                "A asked the service, which charged {}. Then A leased {}: 2 % of what remained.",
                number(call.held),
                number(lease)
            ),
            At::B => format!("The service told B what both have left. B leased {}.", number(lease)),
        };
        let does = match at {
            At::A => "first call at A",
            At::B => "first call at B",
        };
        row(stage, Row { does, why: &why, counted: Some(is) }, &call);
    }
    known
}

async fn decided_from_the_lease(stage: &mut Stage, [known, _]: [u64; 2]) {
    let before = stage.service.counted(ACME).await;
    let asked = requests(stage).await;
    let call = stage.call(At::A, ACME, 1_000, 1_000).await;
    call.checks.expect("status", 200, call.status);
    call.checks.expect("requests to the service", asked, requests(stage).await);
    let counted = stage.service.counted(ACME).await;
    call.checks.expect("tokens that the service has counted", before, counted);
    call.checks.expect("tokens left", Some(known - call.held), call.left());
    let why = "Paid from A's lease without asking. A has not heard of B, so its idea of what is left is old.";
    row(stage, Row { does: "another call at A", why, counted: Some(counted) }, &call);
}

/// Makes calls larger than a lease, which ask the service and learn the exact rest of the budget.
async fn spent(stage: &mut Stage) {
    let turns = [
        (At::B, "Larger than B's lease, so the service decides. What is left is now exact."),
        (At::A, "A learns what went through B."),
        (At::B, "B learns what went through A."),
    ];
    for (at, why) in turns {
        let before = stage.service.counted(ACME).await;
        let call = stage.call(at, ACME, 49_000, 49_000).await;
        call.checks.expect("status", 200, call.status);
        let counted = stage.service.wait_for(ACME, before + call.held).await;
        call.checks.expect("tokens that the service has counted", before + call.held, counted);
        call.checks.expect("tokens left", Some(ACME.per_day - counted), call.left());
        row(stage, Row { does: "large call", why, counted: Some(counted) }, &call);
    }
}

async fn refused_at_both(stage: &mut Stage) -> Call {
    let mut refused = Vec::new();
    for at in At::BOTH {
        let before = stage.service.counted(ACME).await;
        let call = stage.call(at, ACME, 49_000, 49_000).await;
        call.checks.expect("status", 429, call.status);
        // The service's window began with the first call; the filter adds up to a second.
        let wait = call.number("retry-after");
        call.checks.expect_between("retry-after", (DAY - 60, DAY + 1), wait);
        call.checks.expect(
            "refusal",
            true,
            call.header("ratelimit").is_some_and(|told| told.starts_with("\"day\"")),
        );
        let counted = stage.service.counted(ACME).await;
        call.checks.expect("tokens that the service has counted", before, counted);
        let why = match at {
            At::A => format!(
                "The budget is spent, mostly through B. retry-after: {}, when the service's window ends.",
                number(wait.unwrap_or(0))
            ),
            At::B => "B refuses it too. A refused call costs nothing.".to_owned(),
        };
        row(stage, Row { does: "one large call too many", why: &why, counted: Some(counted) }, &call);
        refused.push(call);
    }
    refused.swap_remove(0)
}

const CLIENTS: usize = 8;
const CALLS: usize = 1_200;
const SMALL: u64 = 50;

/// Makes one call at each Envoy, then many at once.
async fn many_calls(stage: &mut Stage) {
    let before = requests(stage).await;
    let checks = Checks::default();
    for (turn, at) in At::BOTH.into_iter().enumerate() {
        let call = stage.call(at, ZENITH, SMALL, SMALL).await;
        checks.expect("status", 200, call.status);
        let both = lease_of(ZENITH.per_day) / 2;
        // The Envoy takes its lease in the background.
        stage.service.wait_until(ZENITH, |counted| counted > both * (2 * turn as u64 + 1)).await;
    }
    let addresses = At::BOTH.map(|at| stage.envoy(at).address());
    let began = Instant::now();
    let load = Load::on(addresses).clients(CLIENTS).calls(CALLS / CLIENTS);
    let outcomes = load.run(|_, _| Stage::request(ZENITH, SMALL, SMALL)).await;
    let took = began.elapsed();
    stage.calls.iter_mut().for_each(|calls| *calls += CALLS / 2);

    let calls = CALLS as u64 + 2;
    let used = calls * (Stage::input() + SMALL);
    let asked = requests(stage).await - before;
    let counted = stage.service.counted(ZENITH).await;
    let metrics = stage.metrics().await;
    let charged: f64 =
        metrics.iter().map(|metrics| metrics.sum("tollgate_tokens_total", &[("tier", "pro")])).sum();
    checks.expect("calls answered", CALLS, outcomes.count(200));
    checks.expect("tokens charged", used as f64, charged);
    checks.expect_between("requests to the service", (2, calls / 50), Some(asked));
    let most = used + 2 * lease_of(ZENITH.per_day);
    checks.expect_between("tokens that the service has counted", (used, most), Some(counted));
    let why = format!(
        "One at each Envoy, then {CLIENTS} clients at once for {:.1} s. The service got {asked} requests, one per {} \
         calls. It has also counted the unspent rest of the leases, up to 2 % of the budget for each Envoy.",
        took.as_secs_f64(),
        calls / asked.max(1),
    );
    let does = format!("{} calls", number(calls));
    let many = Many {
        at: "A+B",
        caller: ZENITH,
        does: &does,
        charged: Some(used),
        counted: Some(counted),
        answer: "200",
    };
    rows(stage, &many, &why, &checks);
}

async fn leases_go_on(stage: &mut Stage) {
    let call = stage.call(At::B, ZENITH, SMALL, SMALL).await;
    call.checks.expect("status", 200, call.status);
    let why = "B spends its lease and does not need the service.";
    row(stage, Row { does: "call within the lease", why, counted: None }, &call);
}

/// The size of a call without a lease; four of them fit into the half that each Envoy enforces
/// itself.
const LARGE: u64 = 24_000;
const FIT: u64 = 4;

/// Spends both halves without the service and returns the tokens used.
async fn local_shares(stage: &mut Stage) -> u64 {
    let mut used = 0;
    for at in At::BOTH {
        let checks = Checks::default();
        let mut charged = 0;
        for turn in 0..=FIT {
            let call = stage.call(at, NOVA, LARGE, LARGE).await;
            checks.join(&call.checks);
            let fits = turn < FIT;
            checks.expect("status", if fits { 200 } else { 429 }, call.status);
            checks.expect("x-ratelimit-remaining-tokens is present", false, call.left().is_some());
            charged += call.charged;
        }
        let metrics = stage.envoy(at).metrics().await;
        let local = metrics.sum("tollgate_global_decisions_total", &[("kind", "local")]);
        checks.expect("calls decided by this Envoy's half", (FIT + 1) as f64, local);
        let why = match at {
            At::A => {
                "A has no lease and cannot reach the service, so it enforces its own half of the budget, 100,000 \
 tokens. The fifth call is one too many."
            }
            At::B => "B enforces the other half, so both together keep to the budget.",
        };
        let does = format!("{} calls of {} each", FIT + 1, number(LARGE));
        let many = Many {
            at: at.name(),
            caller: NOVA,
            does: &does,
            charged: Some(charged),
            counted: None,
            answer: "200, 429",
        };
        rows(stage, &many, why, &checks);
        used += charged;
    }
    used
}

/// Restarts the service after both Envoys have failed to report, and waits for their reports.
async fn reports_arrive(stage: &mut Stage, used: u64) {
    for at in At::BOTH {
        let has_tried = |metrics: &Metrics| {
            metrics.sum("tollgate_global_reports_total", &[("kind", "retried")]) > 0.0
                && metrics.sum("tollgate_global_breaker_total", &[("kind", "opened")]) > 0.0
        };
        stage.envoy(at).wait_for_metrics(has_tried).await;
    }
    stage.service.process.restart().await;
    let began = Instant::now();
    let forgotten = stage.service.counted(ACME).await == 0;
    let counted = stage.service.wait_for(NOVA, used).await;
    let took = began.elapsed();
    let checks = Checks::default();
    checks.expect("tokens that the service has counted", used, counted);
    checks.expect("earlier counts are lost", !stage.service.keeps(), forgotten);
    let kept = if stage.service.keeps() {
        "Redis still has the earlier counts."
    } else {
        "The earlier counts were in memory and are lost."
    };
    let why = format!(
        "Within {:.1} s both Envoys have reported what was used meanwhile; earlier attempts had failed. {kept}",
        took.as_secs_f64()
    );
    let many = Many {
        at: "A+B",
        caller: NOVA,
        does: "(no call)",
        charged: None,
        counted: Some(counted),
        answer: "",
    };
    rows(stage, &many, &why, &checks);
}

async fn decided_by_the_service_again(stage: &mut Stage, used: u64) {
    let call = stage.call(At::B, NOVA, 2_000, 2_000).await;
    call.checks.expect("status", 200, call.status);
    let left = NOVA.per_day - used - call.held;
    call.checks.expect("tokens left", Some(left), call.left());
    let should = used + call.held + lease_of(left);
    let counted = stage.service.wait_for(NOVA, should).await;
    call.checks.expect("tokens that the service has counted", should, counted);
    let why = "The service decides again, and knows what both Envoys have used.";
    row(stage, Row { does: "small call", why, counted: Some(counted) }, &call);

    let call = stage.call(At::A, NOVA, LARGE, LARGE).await;
    call.checks.expect("status", 429, call.status);
    let why = "The whole budget counts again, no longer halves, and too little of it is left.";
    let counted = stage.service.counted(NOVA).await;
    row(stage, Row { does: "call for 24,000 tokens", why, counted: Some(counted) }, &call);
}

/// Returns the number of requests that both Envoys have made to the service.
async fn requests(stage: &Stage) -> u64 {
    let metrics = stage.metrics().await;
    metrics.iter().map(|metrics| metrics.sum("tollgate_global_requests_total", &[])).sum::<f64>() as u64
}
