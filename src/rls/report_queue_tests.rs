use std::collections::HashMap;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code as PbCode;

use super::*;
use crate::config::Ratio;
use crate::limits::{Account, GlobalLimit, LeasePolicy, Unit};
use crate::rls::breaker::BreakerPolicy;
use crate::rls::service::{HitsAddend, Protocol};
use crate::rls::tests::{
    Process, START, caller, decoded, descriptor, drained, global, name, response, service, speaking, status,
    subject,
};
use crate::units::Amount;

#[path = "report_queue_lease_tests.rs"]
mod leases;
#[path = "report_queue_outage_tests.rs"]
mod outages;

const POLICY: LeasePolicy = LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) };

fn leasing() -> Service {
    Service { lease: Some(POLICY), ..service() }
}

/// Returns a report of hits to a user's budget; its window ends at `until` milliseconds.
fn report(user: &str, hits: u64, until: u64) -> Task {
    let until = START + Span::from_millis(until);
    Task::Report(Report { of: descriptor(&tpm(), user), hits, given_back: false, until })
}

fn tpm() -> GlobalLimit {
    global("tpm", "tokens", 100_000)
}

/// A report queue, its service, and a clock.
struct Bench {
    process: Process,
    service: Service,
    report_queue: ReportQueue,
    breaker: Breaker,
    tokens: u32,
}

impl Bench {
    fn of(service: Service) -> Self {
        let (process, report_queue) = (Process::new(), ReportQueue::default());
        Self { process, breaker: Breaker::new(service.breaker), service, report_queue, tokens: 0 }
    }

    fn push(&mut self, millis: u64, task: Task) -> Span {
        self.report_queue.push(task, START + Span::from_millis(millis))
    }

    fn due(&mut self, millis: u64) -> Vec<Batch> {
        let Self { process, service, report_queue, breaker, .. } = self;
        process.at(millis, |budgets| report_queue.due(service, breaker, budgets))
    }

    /// Sends the due batches. Returns the tokens, and the content of each request.
    fn send(&mut self, millis: u64) -> Vec<(u32, Vec<(String, u64)>)> {
        let batches = self.due(millis);
        let mut sent = vec![];
        for batch in batches {
            self.tokens += 1;
            sent.push((self.tokens, said(&batch.question)));
            self.report_queue.sent(batch, self.tokens, START + Span::from_millis(millis));
        }
        sent
    }

    /// Returns the hits sent for ada's budget alone, if any.
    fn hits(&mut self, millis: u64) -> Option<u64> {
        let sent = self.send(millis);
        assert!(sent.len() <= 1, "{sent:?}");
        Some(sent.first()?.1.first()?.1)
    }

    fn answered(&mut self, millis: u64, token: u32, answer: Result<&[u8], Failure>) -> Option<Health> {
        let Self { process, service, report_queue, .. } = self;
        process.at(millis, |budgets| report_queue.answered(token, answer, service, budgets))
    }

    /// Fails the last request.
    fn fail(&mut self, millis: u64) {
        assert_eq!(self.answered(millis, self.tokens, Err(Failure::Unavailable)), Some(Health::Failing));
    }

    fn next_due(&self, millis: u64) -> Option<u64> {
        let span = self.report_queue.next_due(START + Span::from_millis(millis))?;
        Some(span.0 / 1_000_000)
    }

    /// Returns the counts, by metric and kind.
    fn counts(&mut self) -> HashMap<(&'static str, &'static str), u64> {
        let mut counts = HashMap::new();
        for count in self.report_queue.take_counts() {
            *counts.entry((count.metric.name, count.labels.kind)).or_default() += count.by;
        }
        counts
    }

    fn dropped(&mut self) -> u64 {
        let key = (metrics::GLOBAL_REPORTS.name, "dropped");
        self.counts().get(&key).copied().unwrap_or_default()
    }
}

fn said(question: &Question) -> Vec<(String, u64)> {
    let request = decoded(question);
    let mut said = vec![];
    for descriptor in request.descriptors {
        let values: Vec<_> = descriptor.entries.iter().map(|entry| entry.value.as_str()).collect();
        let hits = descriptor.hits_addend.map_or_else(|| u64::from(request.hits_addend), |hits| hits.value);
        said.push((values.join(" "), hits));
    }
    said
}

fn about(user: &str) -> String {
    name(&descriptor(&tpm(), user))
}

fn ok() -> Vec<u8> {
    response(PbCode::Ok, vec![])
}

#[test]
fn an_empty_outbox_has_nothing_to_send_and_nothing_to_wait_for() {
    let mut bench = Bench::of(service());
    assert_eq!(bench.send(0), []);
    assert_eq!(bench.next_due(0), None);
}

#[test]
fn a_report_is_sent_on_the_next_tick_with_what_has_been_added_to_it() {
    for service in [service(), leasing()] {
        let mut bench = Bench::of(service);

        assert_eq!(bench.push(0, report("ada", 7, 60_000)), SOON);
        assert_eq!(bench.push(4, report("ada", 5, 60_000)), SOON);

        assert_eq!(bench.next_due(4), Some(0));
        assert_eq!(bench.send(5), [(1, vec![(about("ada"), 12)])]);
        assert_eq!(bench.send(6), [], "it is sent once");
    }
}

#[test]
fn reports_of_many_budgets_go_in_one_request_and_what_is_given_back_by_itself() {
    let mut bench = Bench::of(Service { refunds: true, ..service() });
    let until = START + Span::from_millis(60_000);
    let given_back = Report { of: descriptor(&tpm(), "ada"), hits: 3, given_back: true, until };
    bench.push(0, report("ada", 7, 60_000));
    bench.push(0, Task::Report(given_back));
    bench.push(0, report("bob", 5, 60_000));

    let batches = bench.due(5);

    let [batch] = &batches[..] else { panic!("{batches:?}") };
    let request = decoded(&batch.question);
    let mut hits: Vec<_> = request
        .descriptors
        .iter()
        .map(|descriptor| (descriptor.hits_addend.unwrap().value, descriptor.is_negative_hits))
        .collect();
    hits.sort_unstable();
    assert_eq!(hits, [(3, true), (5, false), (7, false)]);
}

#[test]
fn a_report_that_was_answered_is_done_whatever_the_answer_says() {
    for answer in [ok(), response(PbCode::OverLimit, vec![]), vec![], b"\xff".to_vec()] {
        let mut bench = Bench::of(service());
        bench.push(0, report("ada", 7, 60_000));
        assert_eq!(bench.hits(5), Some(7));

        assert_eq!(bench.answered(6, 1, Ok(&answer)), Some(Health::Well));

        assert_eq!((bench.send(30_000), bench.next_due(30_000)), (vec![], None));
    }
}

#[test]
fn answers_to_others_are_left_alone() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    bench.send(5);

    assert_eq!(bench.answered(6, 99, Ok(&ok())), None);
    assert_eq!(bench.answered(6, 1, Ok(&ok())), Some(Health::Well));
    assert_eq!(bench.answered(6, 1, Ok(&ok())), None, "only once");
}

#[test]
fn no_more_budgets_wait_than_there_is_room_for() {
    let mut bench = Bench::of(service());
    for user in 0..MOST_WAITING + 3 {
        bench.push(0, report(&user.to_string(), 1, 60_000));
    }
    assert_eq!(bench.dropped(), 3);
    // A budget that waits always has room for more.
    bench.push(0, report("0", 1, 60_000));
    assert_eq!(bench.dropped(), 0);
    let sent = bench.send(5);
    assert_eq!(sent.iter().map(|(_, said)| said.len()).sum::<usize>(), MOST_WAITING);
}

#[test]
fn no_more_requests_are_in_flight_than_there_is_room_for() {
    let mut bench = Bench::of(speaking(Protocol::Kuadrant));
    for user in 0..MOST_IN_FLIGHT + 10 {
        bench.push(user as u64, report(&user.to_string(), 1, 60_000));
    }

    let first = bench.send(1_000);
    assert_eq!(first.len(), MOST_IN_FLIGHT);
    assert_eq!(bench.send(1_001), []);
    for (token, _) in &first[..4] {
        bench.answered(1_002, *token, Ok(&ok()));
    }
    let then = bench.send(1_002);

    assert_eq!(then.len(), 4);
    // Those that waited longest go first.
    let users = |sent: &[(u32, Vec<(String, u64)>)]| {
        sent.iter().map(|(_, said)| said[0].0.clone()).collect::<HashSet<_>>()
    };
    let expected = |from: usize, to: usize| (from..to).map(|user| about(&user.to_string())).collect();
    assert_eq!(users(&first), expected(0, MOST_IN_FLIGHT));
    assert_eq!(users(&then), expected(MOST_IN_FLIGHT, MOST_IN_FLIGHT + 4));
}

#[test]
fn requests_are_counted_by_what_they_are_for() {
    let mut bench = Bench::of(service());
    bench.push(0, report("ada", 7, 60_000));
    bench.push(0, leases::request("bob", 1_000));
    bench.send(5);

    let counts = bench.counts();
    assert_eq!(counts[&(metrics::GLOBAL_REQUESTS.name, "report")], 1);
    assert_eq!(counts[&(metrics::GLOBAL_REQUESTS.name, "lease")], 1);
    assert!(bench.counts().is_empty(), "told once");
}
