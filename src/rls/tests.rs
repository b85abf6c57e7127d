//! Shared by the tests of this module: limits, calls, a table, and a service that charges as real
//! ones do.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::ratelimit::v3 as pb;
use envoy_types::pb::google::protobuf::Duration;
use pb::rate_limit_response::rate_limit::Unit as PerUnit;
use pb::rate_limit_response::{Code as PbCode, DescriptorStatus as PbStatus, RateLimit as PbLimit};
use prost::Message as _;

use super::*;
use crate::api::{Classes, Usage};
use crate::config::Ratio;
use crate::identity::Caller;
use crate::limits::{
    Algorithm, Budgets, Estimate, GlobalLimit, Limit, Price, Rates, Shape, Subject, Weights,
};
use crate::store::{KeyHasher, Lines, MemoryLines, Table};
use crate::units::{Amount, Span, Timestamp, Tokens};

pub(super) const START: Timestamp = Timestamp(1_800_000_000_000_000_000);
pub(super) const WINDOW: Span = Span::from_secs(60);

/// Returns a service with default options.
pub(super) fn service() -> Service {
    Service {
        cluster: "ratelimit".to_owned(),
        domain: "tollgate".to_owned(),
        protocol: Protocol::Envoy,
        refunds: false,
        hits_addend: HitsAddend::Descriptor,
        timeout: Span::from_millis(50),
        on_failure: OnFailure::Local,
        local_share: Ratio { ppm: 100_000 },
        lease: None,
        breaker: BreakerPolicy { failures: 5, probe_every: Span::from_secs(1) },
    }
}

/// Returns a service of another protocol, with amounts where it reads them.
pub(super) fn speaking(protocol: Protocol) -> Service {
    let hits_addend =
        if protocol == Protocol::Kuadrant { HitsAddend::Request } else { HitsAddend::Descriptor };
    Service { protocol, hits_addend, ..service() }
}

/// The table that the workers of a process share, under a controlled clock.
pub(super) struct Process {
    lines: MemoryLines,
    keys: KeyHasher,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { lines: MemoryLines::new(), keys: KeyHasher::new(&[3; 16]) }
    }

    /// Runs `run` at `millis` after the start.
    pub(super) fn at<T>(&self, millis: u64, run: impl FnOnce(&Budgets<'_>) -> T) -> T {
        let table = Table::new(&self.lines as &dyn Lines, 64);
        run(&Budgets::new(&table, &self.keys, START + Span::from_millis(millis)))
    }
}

pub(super) fn global(name: &str, counts: &str, max: u64) -> GlobalLimit {
    let limit = Limit::example(name, counts, max);
    let shape = Shape { algorithm: Algorithm::FixedWindow, window: WINDOW, ..limit.shape };
    GlobalLimit::new(Limit { shape, ..limit }, Ratio { ppm: 100_000 })
}

pub(super) fn shadow(global: &GlobalLimit) -> GlobalLimit {
    GlobalLimit::new(Limit { shadow: true, ..(*global.limit).clone() }, Ratio::ONE)
}

pub(super) fn caller(user: &str) -> Caller {
    Caller::new(vec![("user".into(), user.as_bytes().to_vec())])
}

pub(super) fn subject(caller: &Caller) -> Subject<'_> {
    Subject { caller, model: "gpt-4o", api: "openai_chat", body: b"" }
}

pub(super) fn descriptor(global: &GlobalLimit, user: &str) -> descriptor::Descriptor {
    descriptor::Descriptor::of(&global.limit, &subject(&caller(user)))
}

/// Returns rates at which a token costs a nano-dollar.
pub(super) fn rates() -> Rates {
    Rates {
        weights: Weights::default(),
        multiplier: Ratio::ONE,
        price: Price(Classes { input: 1_000_000, output: 1_000_000, ..Classes::default() }),
    }
}

pub(super) fn used(tokens: u64) -> Usage {
    Usage { input: tokens, requests: 1, ..Usage::default() }
}

/// Returns the estimate of a call that needs this number of tokens.
pub(super) fn estimate(tokens: u64) -> Estimate {
    Estimate {
        known: used(tokens),
        output_is_known: true,
        exact: true,
        max_output: None,
        expected_output: Tokens(0).into(),
        at_most: Ratio::ONE,
        rates: rates(),
    }
}

/// Returns a status of a server: hits of the limit, hits left, and seconds until the window ends.
pub(super) fn status(code: PbCode, limit: u32, left: u32, reset: i64) -> PbStatus {
    PbStatus {
        code: code.into(),
        current_limit: Some(PbLimit {
            requests_per_unit: limit,
            unit: PerUnit::Minute.into(),
            ..PbLimit::default()
        }),
        limit_remaining: left,
        duration_until_reset: Some(Duration { seconds: reset, nanos: 0 }),
        ..PbStatus::default()
    }
}

pub(super) fn response(overall: PbCode, statuses: Vec<PbStatus>) -> Vec<u8> {
    pb::RateLimitResponse { overall_code: overall.into(), statuses, ..Default::default() }.encode_to_vec()
}

pub(super) fn decoded(question: &Question) -> pb::RateLimitRequest {
    pb::RateLimitRequest::decode(&*question.message).unwrap()
}

/// Names a budget by the values of its entries.
pub(super) fn name(descriptor: &descriptor::Descriptor) -> String {
    descriptor.entries().map(|(_, value)| value).collect::<Vec<_>>().join(" ")
}

/// A service with counters: envoyproxy/ratelimit with amounts in descriptors, Limitador with
/// amounts in requests.
#[derive(Default)]
pub(super) struct Server {
    /// Hits by [`name`].
    pub(super) charged: HashMap<String, i128>,
    /// The maximum of each limit.
    pub(super) max: u32,
}

impl Server {
    pub(super) fn of(max: u32) -> Self {
        Self { max, ..Self::default() }
    }

    pub(super) fn charged(&self, global: &GlobalLimit, user: &str) -> i128 {
        self.charged.get(&name(&descriptor(global, user))).copied().unwrap_or_default()
    }

    /// Charges a question, and answers.
    pub(super) fn answer(&mut self, question: &Question) -> Vec<u8> {
        let request = decoded(question);
        let mut statuses = Vec::new();
        for descriptor in &request.descriptors {
            let values: Vec<_> = descriptor.entries.iter().map(|entry| entry.value.as_str()).collect();
            let in_request = u64::from(request.hits_addend.max(1));
            let hits = descriptor.hits_addend.as_ref().map_or(in_request, |hits| hits.value);
            let hits = match (question.method.name, descriptor.is_negative_hits) {
                ("CheckRateLimit", _) => 0,
                (_, true) => -i128::from(hits),
                (_, false) => i128::from(hits),
            };
            let charged = self.charged.entry(values.join(" ")).or_default();
            *charged += hits;
            let left = u32::try_from((i128::from(self.max) - *charged).max(0)).unwrap();
            let code = if *charged > i128::from(self.max) { PbCode::OverLimit } else { PbCode::Ok };
            statuses.push(status(code, self.max, left, 60));
        }
        let is_over = statuses.iter().any(|status| status.code == i32::from(PbCode::OverLimit));
        response(if is_over { PbCode::OverLimit } else { PbCode::Ok }, statuses)
    }
}

/// Decides the open limits by the server's answers.
pub(super) fn asked(
    begun: Begun,
    server: &mut Server,
    service: &Service,
    budgets: &Budgets<'_>,
    tasks: &mut Vec<Task>,
) -> Decided {
    let questions = begun.questions(service);
    let answers = questions.into_iter().map(|question| {
        let answer = question.read(&server.answer(&question));
        (question, answer)
    });
    begun.decide(answers.collect(), service, budgets, tasks).unwrap()
}

/// Begins a call of ada's.
pub(super) fn begun(
    limits: &[GlobalLimit],
    tokens: u64,
    service: &Service,
    budgets: &Budgets<'_>,
    tasks: &mut Vec<Task>,
) -> Result<Begun, crate::limits::Refusal> {
    let caller = caller("ada");
    begin(limits, &subject(&caller), &estimate(tokens), service, budgets, tasks)
}

/// Drains a lease and returns its amount.
pub(super) fn drained(
    global: &GlobalLimit,
    policy: &crate::limits::LeasePolicy,
    budgets: &Budgets<'_>,
) -> u64 {
    let account = crate::limits::Account::of(&global.limit, &subject(&caller("ada")), budgets);
    let steps = (0..40).rev().map(|bit| 1_u64 << bit);
    steps
        .filter(|step| {
            matches!(account.take(Amount(*step), policy, budgets).0, crate::limits::LeaseOutcome::Taken(..))
        })
        .sum()
}

/// Returns the content of reports: the budget, the hits, whether they are given back.
pub(super) fn reports(tasks: &[Task]) -> Vec<(String, u64, bool)> {
    let report = |task: &Task| match task {
        Task::Report(report) => Some((name(&report.of), report.hits, report.given_back)),
        Task::Lease(_) => None,
    };
    tasks.iter().filter_map(report).collect()
}

#[test]
fn the_server_of_these_tests_charges_once_what_is_said_once() {
    let (tpm, mut server) = (global("tpm", "tokens", 100), Server::of(100));
    let of = descriptor(&tpm, "ada");
    let hits = protocol_hits(&of, 70);

    for (service, charged) in [
        (speaking(Protocol::Envoy), 70),
        (speaking(Protocol::CheckThenReport), 70),
        (speaking(Protocol::Kuadrant), 70),
    ] {
        service.ask(&[hits]).iter().for_each(|question| drop(server.answer(question)));
        assert_eq!(server.charged(&tpm, "ada"), charged, "{:?}", service.protocol);
    }
    speaking(Protocol::Kuadrant).tell(&[hits]).iter().for_each(|question| drop(server.answer(question)));
    assert_eq!(server.charged(&tpm, "ada"), 140);
}

fn protocol_hits(of: &descriptor::Descriptor, hits: u64) -> Hits<'_> {
    Hits { of, hits, given_back: false }
}
