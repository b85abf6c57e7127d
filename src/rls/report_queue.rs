//! Tasks for the service: collected, sent together on a tick, retried when they fail.
//!
//! ```text
//! push ──▶ waiting ──▶ due ──▶ Batch ──▶ sent(token) ──▶ in flight ──▶ answered(token)
//!             ▲                                               │
//!             └────────────── failed reports ─────────────────┘
//! ```
//!
//! In: [`Task`]s, answers, the time. Out: [`Batch`]es to send, credited leases, and counts for
//! metrics. Not here: sending.
//!
//! # Guarantees
//!
//! - Reports of one budget are added up while they wait, so that the queue has at most one entry
//!   per budget and direction, and at most [`MOST_WAITING`]. Reports beyond that are dropped and
//!   counted.
//! - A report is sent at least once before its window ends, if the service can be reached. An
//!   unanswered report is sent again, although the service may have charged it. Amounts given back
//!   are sent at most once, because sent twice they would enlarge the budget. After its window a
//!   report means nothing, and is dropped and counted with all that was added to it: the next
//!   window does not pay for an outage of many windows.
//! - A lease is requested once. Without an answer, another worker requests it.
//! - At most [`MOST_IN_FLIGHT`] requests are in flight. Leases do not keep reports from going, nor
//!   reports leases.
//! - A failing service gets one request at a time, as the [`Breaker`] allows.

use std::collections::{HashMap, HashSet};

use super::breaker::Breaker;
use super::descriptor::Descriptor;
use super::protocol::{Answer, Failure, Hits, Question};
use super::service::Service;
use super::task::{LeaseRequest, Report, Task};
use crate::limits::{Budgets, WindowStatus};
use crate::metrics::{self, Count, Labels, Metric};
use crate::units::{Span, Timestamp};

/// The most budgets with waiting reports: some hundred bytes each, and as many as the callers of a
/// few seconds of an outage.
const MOST_WAITING: usize = 4_096;

/// The most requests in flight. More would only wait in the host.
const MOST_IN_FLIGHT: usize = 64;

/// The part of the requests that may be leases, if enough leases wait: each has at most two reports
/// of its budget with it.
const LEASES_ONE_OF: usize = 3;

/// The time for which tasks are collected before they are sent.
pub const SOON: Span = Span::from_millis(5);

/// The latest time before the end of its window at which a report is sent.
pub(super) const LAST_MOMENT: Span = Span::from_millis(100);

/// The delay before a failed report is sent again. It doubles each time, up to the longest.
const FIRST_RETRY: Span = Span::from_millis(100);
const LONGEST_RETRY: Span = Span::from_millis(5_000);

/// The longest wait of a task for its answer. No call waits for it, and an answer slower than calls
/// can wait for still counts, because a report taken for lost is sent twice. It is not longer than
/// the time for which others wait to request the same lease (`limits::lease`).
pub const TASK_TIMEOUT: Span = Span::from_secs(2);

/// The time after its deadline at which an answer is lost. The host drops calls silently when it
/// removes a configuration.
const LOST_AFTER: Span = Span::from_millis(1_000);

/// The tasks of one VM for one service.
#[derive(Debug, Default)]
pub struct ReportQueue {
    reports: HashMap<About, DueReport>,
    leases: Vec<LeaseRequest>,
    in_flight: Vec<(u32, Timestamp, Batch)>,
    counts: Vec<Count>,
}

/// A budget, and whether hits are given back to it.
type About = (Descriptor, bool);

/// The waiting reports of one budget.
#[derive(Clone, Copy, Debug)]
struct DueReport {
    hits: u64,
    until: Timestamp,
    due: Timestamp,
    tries: u32,
}

/// The service's health as an answer shows it, apart from budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers in time for calls.
    Well,
    /// It answers, but later than calls wait.
    Slow,
    /// It does not answer, or decides nothing.
    Failing,
}

/// A request to send, with the tasks that it covers.
#[derive(Debug)]
pub struct Batch {
    /// The request.
    pub question: Question,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Reports(Vec<(About, DueReport)>),
    Leases(Vec<LeaseRequest>),
}

impl ReportQueue {
    /// Queues a task. Returns the time until it is due.
    pub fn push(&mut self, task: Task, now: Timestamp) -> Span {
        match task {
            Task::Lease(request) => {
                // Another worker requests a lease that does not fit, after a while.
                if self.leases.len() < MOST_WAITING {
                    self.leases.push(request);
                }
            }
            Task::Report(Report { of, hits, given_back, until }) => {
                self.wait((of, given_back), DueReport { hits, until, due: now, tries: 0 }, now);
            }
        }
        SOON
    }

    /// Returns the batches to send now. Report each batch with [`ReportQueue::sent`] or
    /// [`ReportQueue::not_sent`].
    pub fn due(&mut self, service: &Service, breaker: &mut Breaker, budgets: &Budgets<'_>) -> Vec<Batch> {
        let now = budgets.now();
        self.give_up(budgets);
        let is_idle = self.leases.is_empty() && !self.reports.values().any(|waiting| waiting.due <= now);
        let room = MOST_IN_FLIGHT.saturating_sub(self.in_flight.len());
        if is_idle || room == 0 {
            return Vec::new();
        }
        let room = if breaker.is_open() { 1 } else { room };
        if !breaker.may_ask(now) {
            self.leases.drain(..).for_each(|request| request.account.not_granted(budgets));
            self.put_off(now + FIRST_RETRY.min(service.breaker.probe_every));
            return Vec::new();
        }
        let leases = self.take_leases(room.div_ceil(LEASES_ONE_OF), service);
        let taken = leases.len().div_ceil(service.together());
        let reports = self.take_reports(room.saturating_sub(taken), &leases, service, now);
        let mut batches = tell(service, &reports);
        batches.extend(ask(service, &leases));
        batches
    }

    /// Records that a batch was sent; its answer will come under this number.
    pub fn sent(&mut self, batch: Batch, token: u32, now: Timestamp) {
        let kind = match &batch.contents {
            Contents::Reports(_) => "report",
            Contents::Leases(_) => "lease",
        };
        self.count(&metrics::GLOBAL_REQUESTS, kind, 1);
        self.in_flight.push((token, now, batch));
    }

    /// Records that a batch could not be sent.
    pub fn not_sent(&mut self, batch: Batch, budgets: &Budgets<'_>) {
        self.count(&metrics::GLOBAL_FAILURES, Failure::Unavailable.name(), 1);
        self.take_back(batch.contents, budgets);
    }

    /// Handles an answer. Returns the service's health, if the answer is for a batch of this queue.
    pub fn answered(
        &mut self,
        token: u32,
        answer: Result<&[u8], Failure>,
        service: &Service,
        budgets: &Budgets<'_>,
    ) -> Option<Health> {
        let place = self.in_flight.iter().position(|(of, ..)| *of == token)?;
        let (_, at, Batch { question, contents }) = self.in_flight.swap_remove(place);
        let is_slow = budgets.now().since(at) > service.timeout;
        let health = if is_slow { Health::Slow } else { Health::Well };
        let failure = match (answer, &contents) {
            // The answer to a report does not matter: the report is charged.
            (Ok(_), Contents::Reports(_)) => return Some(health),
            (Ok(bytes), Contents::Leases(requests)) => match question.read(bytes) {
                Ok(answer) => {
                    credit(requests, &answer, budgets);
                    return Some(health);
                }
                Err(failure) => failure,
            },
            (Err(failure), _) => failure,
        };
        self.count(&metrics::GLOBAL_FAILURES, failure.name(), 1);
        self.take_back(contents, budgets);
        Some(Health::Failing)
    }

    /// Returns the time until the next work, or `None` if there is none.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Span> {
        let leases = (!self.leases.is_empty()).then_some(Span::ZERO);
        let reports = self.reports.values().map(|waiting| waiting.due.since(now)).min();
        let slots = (!self.in_flight.is_empty()).then_some(LOST_AFTER);
        [leases, reports, slots].into_iter().flatten().min()
    }

    /// Returns the counts since the last call.
    pub fn take_counts(&mut self) -> Vec<Count> {
        core::mem::take(&mut self.counts)
    }

    /// Takes leases to request, for at most this number of requests.
    fn take_leases(&mut self, requests: usize, service: &Service) -> Vec<LeaseRequest> {
        let most = requests.saturating_mul(service.together());
        self.leases.drain(..self.leases.len().min(most)).collect()
    }

    /// Takes reports to send, for at most this number of requests. Reports of budgets whose leases
    /// are requested come first, because the service should know the usage before it grants more;
    /// then those that have waited longest.
    fn take_reports(
        &mut self,
        requests: usize,
        leases: &[LeaseRequest],
        service: &Service,
        now: Timestamp,
    ) -> Vec<(About, DueReport)> {
        let leased: HashSet<_> = leases.iter().map(|request| &request.of).collect();
        let rank = |(about, waiting): (&About, &DueReport)| {
            let is_leased = leased.contains(&about.0);
            (is_leased || waiting.due <= now).then(|| ((!is_leased, waiting.due), about.clone()))
        };
        let mut due: Vec<_> = self.reports.iter().filter_map(rank).collect();
        due.sort_by_key(|(rank, _)| *rank);
        due.truncate(requests.saturating_mul(service.together()));
        due.into_iter().filter_map(|(_, about)| self.reports.remove_entry(&about)).collect()
    }

    /// Delays reports that are due.
    fn put_off(&mut self, until: Timestamp) {
        for waiting in self.reports.values_mut() {
            waiting.due = waiting.due.max(until.min(last_moment(waiting.until)));
        }
    }

    /// Fails requests whose answers are lost, and drops reports whose windows have ended.
    fn give_up(&mut self, budgets: &Budgets<'_>) {
        let now = budgets.now();
        let patience = TASK_TIMEOUT + LOST_AFTER;
        let lost: Vec<_> = self.in_flight.extract_if(.., |(_, at, _)| now.since(*at) > patience).collect();
        for (.., batch) in lost {
            self.count(&metrics::GLOBAL_FAILURES, Failure::Unavailable.name(), 1);
            self.take_back(batch.contents, budgets);
        }
        let before = self.reports.len();
        self.reports.retain(|_, waiting| !waiting.is_over(now));
        self.drop_reports(before.saturating_sub(self.reports.len()));
    }

    fn take_back(&mut self, contents: Contents, budgets: &Budgets<'_>) {
        match contents {
            Contents::Leases(requests) => {
                requests.iter().for_each(|request| request.account.not_granted(budgets));
            }
            Contents::Reports(reports) => {
                let (given_back, charged): (Vec<_>, Vec<_>) =
                    reports.into_iter().partition(|((_, given_back), _)| *given_back);
                self.drop_reports(given_back.len());
                self.count(&metrics::GLOBAL_REPORTS, "retried", charged.len() as u64);
                let now = budgets.now();
                for (about, mut waiting) in charged {
                    let delay = FIRST_RETRY.times(1 << waiting.tries.min(16)).min(LONGEST_RETRY);
                    waiting.tries = waiting.tries.saturating_add(1);
                    // The delay must not pass the last moment.
                    waiting.due = (now + delay).min(last_moment(waiting.until)).max(now + FIRST_RETRY);
                    self.wait(about, waiting, now);
                }
            }
        }
    }

    fn wait(&mut self, about: About, waiting: DueReport, now: Timestamp) {
        if waiting.is_over(now) {
            return self.drop_reports(1);
        }
        if self.reports.get(&about).is_some_and(|there| there.is_over(now)) {
            self.reports.remove(&about);
            self.drop_reports(1);
        }
        let has_room = self.reports.len() < MOST_WAITING;
        match self.reports.get_mut(&about) {
            Some(there) => there.join(&waiting),
            None if has_room => {
                self.reports.insert(about, waiting);
            }
            None => self.drop_reports(1),
        }
    }

    fn drop_reports(&mut self, reports: usize) {
        self.count(&metrics::GLOBAL_REPORTS, "dropped", reports as u64);
    }

    fn count(&mut self, metric: &'static Metric, kind: &'static str, by: u64) {
        if by > 0 {
            self.counts.push(Count { metric, labels: Labels { kind, ..Labels::default() }, by });
        }
    }
}

impl DueReport {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// Adds a report of the same budget.
    fn join(&mut self, other: &Self) {
        self.hits = self.hits.saturating_add(other.hits);
        // Of several reported ends of one window, the earliest is the closest to the truth. A later
        // one would keep a report alive through an outage as long as something is added to it.
        self.until = self.until.min(other.until);
        // A new report does not delay a waiting one, but a failed one must wait.
        if other.tries > self.tries {
            (self.due, self.tries) = (other.due, other.tries);
        } else if self.tries == 0 {
            self.due = self.due.min(other.due);
        }
    }
}

/// Returns the latest time at which a report must be sent.
fn last_moment(until: Timestamp) -> Timestamp {
    Timestamp(until.0.saturating_sub(LAST_MOMENT.0))
}

fn tell(service: &Service, reports: &[(About, DueReport)]) -> Vec<Batch> {
    let told: Vec<_> = reports
        .iter()
        .map(|((of, given_back), waiting)| Hits { of, hits: waiting.hits, given_back: *given_back })
        .collect();
    let batch = |question: Question| {
        let covered = question.covers.iter().filter_map(|place| reports.get(*place).cloned());
        Batch { contents: Contents::Reports(covered.collect()), question }
    };
    service.tell(&told).into_iter().map(batch).collect()
}

fn ask(service: &Service, leases: &[LeaseRequest]) -> Vec<Batch> {
    let asked: Vec<_> = leases
        .iter()
        .map(|request| Hits {
            of: &request.of,
            hits: request.unit.wholes_ceil(request.amount),
            given_back: false,
        })
        .collect();
    let batch = |question: Question| {
        let covered = question.covers.iter().filter_map(|place| leases.get(*place).cloned());
        Batch { contents: Contents::Leases(covered.collect()), question }
    };
    service.ask(&asked).into_iter().map(batch).collect()
}

/// Credits granted leases to their accounts.
fn credit(requests: &[LeaseRequest], answer: &Answer, budgets: &Budgets<'_>) {
    for (request, decision) in requests.iter().zip(&answer.decisions) {
        let LeaseRequest { unit, account, amount, .. } = request;
        let remaining = decision.remaining.map(|hits| unit.amount(hits));
        let told = WindowStatus { remaining, reset: decision.reset };
        if decision.allowed {
            account.granted(*amount, told, budgets);
        } else {
            let _ = account.refused(*amount, told, budgets);
            account.not_granted(budgets);
        }
    }
}

#[cfg(test)]
#[path = "report_queue_tests.rs"]
mod tests;
