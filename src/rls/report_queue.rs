//! Errands on their way to the service: gathered, sent together on a tick, tried again when they
//! fail.
//!
//! ```text
//! push ──▶ waiting ──▶ due ──▶ Batch ──▶ sent(token) ──▶ in flight ──▶ answered(token)
//!             ▲                                               │
//!             └────────── reports that failed ────────────────┘
//! ```
//!
//! In: [`Task`]s, answers, the time. Out: [`Batch`]s to be sent, leases credited, and what
//! happened, as counts. Not here: sending.
//!
//! # What is promised
//!
//! - Reports of one budget are added up while they wait, so that the queue holds as many entries as
//!   there are budgets, and at most [`MOST_WAITING`]. What does not fit is dropped, and counted.
//! - A report is told at least once before its window ends, if the service can be reached: one
//!   without an answer is sent again, though the service may have charged it. What is given back is
//!   told at most once: told twice, it would enlarge the budget. After its window it means nothing,
//!   and is dropped and counted, with what has been added to it: an outage of many windows is not
//!   charged to the one after it.
//! - A lease is asked for once. If no answer comes, somebody else asks.
//! - There are at most [`MOST_IN_FLIGHT`] requests in flight, of which leases do not keep reports
//!   from going, nor reports leases.
//! - A service that fails is tried by one request at a time, as the [`Breaker`] says.

use std::collections::{HashMap, HashSet};

use super::breaker::Breaker;
use super::descriptor::Descriptor;
use super::protocol::{Answer, Failure, Hits, Question};
use super::service::Service;
use super::task::{LeaseRequest, Report, Task, amount_of, hits_of};
use crate::limits::{Budgets, WindowStatus};
use crate::metrics::{self, Count, Labels, Metric};
use crate::units::{Span, Timestamp};

/// How many budgets can have reports waiting: some hundred bytes each, and as many as callers that
/// come in a few seconds of an outage.
const MOST_WAITING: usize = 4_096;

/// How many requests can be in flight: more would only wait in the host.
const MOST_IN_FLIGHT: usize = 64;

/// One of so many requests that could be sent now may be for leases, if there are so many: each has
/// at most two reports of its budget with it.
const LEASES_ONE_OF: usize = 3;

/// How soon tasks are done: so long they are gathered.
pub const SOON: Span = Span::from_millis(5);

/// So long before its window ends a report is sent at the latest.
pub(super) const LAST_MOMENT: Span = Span::from_millis(100);

/// How long a report that failed waits before it is sent again; twice as long each time, up to the
/// longest.
const FIRST_RETRY: Span = Span::from_millis(100);
const LONGEST_RETRY: Span = Span::from_millis(5_000);

/// How long a task waits for its answer. Nobody else waits, and a service that is slower than calls
/// can wait for still counts: a report taken for lost would be told twice. Not longer than others
/// wait with asking for the same lease (`limits::lease`).
pub const ERRAND_TIMEOUT: Span = Span::from_secs(2);

/// Beyond its deadline an answer does not come any more: the host has ended the call without a
/// word, as it does when it takes a configuration away.
const LOST_AFTER: Span = Span::from_millis(1_000);

/// Errands of one VM for one service.
#[derive(Debug, Default)]
pub struct ReportQueue {
    reports: HashMap<About, Waiting>,
    leases: Vec<LeaseRequest>,
    in_flight: Vec<(u32, Timestamp, Batch)>,
    counts: Vec<Count>,
}

/// Which budget, and whether hits are given back to it.
type About = (Descriptor, bool);

/// Reports of one budget that wait.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    hits: u64,
    until: Timestamp,
    due: Timestamp,
    tries: u32,
}

/// What an answer says of the service, besides what it says of budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers as calls need it.
    Well,
    /// It answers, but later than calls wait.
    Slow,
    /// It does not answer, or decides nothing.
    Failing,
}

/// A request to be sent, and what it is about.
#[derive(Debug)]
pub struct Batch {
    /// The request.
    pub question: Question,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Reports(Vec<(About, Waiting)>),
    Leases(Vec<LeaseRequest>),
}

impl ReportQueue {
    /// Takes a task; it is due after the time that is returned.
    pub fn push(&mut self, task: Task, now: Timestamp) -> Span {
        match task {
            Task::Lease(request) => {
                // For one that does not fit somebody else asks after a while.
                if self.leases.len() < MOST_WAITING {
                    self.leases.push(request);
                }
            }
            Task::Report(Report { of, hits, given_back, until }) => {
                self.wait((of, given_back), Waiting { hits, until, due: now, tries: 0 }, now);
            }
        }
        SOON
    }

    /// What is to be sent now. Every batch must be told as [`ReportQueue::sent`] or
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

    /// A batch is on its way; its answer will come under this number.
    pub fn sent(&mut self, batch: Batch, token: u32, now: Timestamp) {
        let kind = match &batch.contents {
            Contents::Reports(_) => "report",
            Contents::Leases(_) => "lease",
        };
        self.count(&metrics::GLOBAL_REQUESTS, kind, 1);
        self.in_flight.push((token, now, batch));
    }

    /// A batch could not be sent.
    pub fn not_sent(&mut self, batch: Batch, budgets: &Budgets<'_>) {
        self.count(&metrics::GLOBAL_FAILURES, Failure::Unavailable.name(), 1);
        self.take_back(batch.contents, budgets);
    }

    /// An answer has come. What it says of the service, if it is one to a batch of this box.
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
            // What a report is answered does not matter: it is charged.
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

    /// How long until something is to be done; none if there is nothing.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Span> {
        let leases = (!self.leases.is_empty()).then_some(Span::ZERO);
        let reports = self.reports.values().map(|waiting| waiting.due.since(now)).min();
        let slots = (!self.in_flight.is_empty()).then_some(LOST_AFTER);
        [leases, reports, slots].into_iter().flatten().min()
    }

    /// What has happened since this was asked last.
    pub fn take_counts(&mut self) -> Vec<Count> {
        core::mem::take(&mut self.counts)
    }

    /// Leases to be asked for, with so many requests.
    fn take_leases(&mut self, requests: usize, service: &Service) -> Vec<LeaseRequest> {
        let most = requests.saturating_mul(service.together());
        self.leases.drain(..self.leases.len().min(most)).collect()
    }

    /// Reports to be told, with so many requests: those first of budgets of which more is asked
    /// for, as the service should know before what was used of it; then those that wait longest.
    fn take_reports(
        &mut self,
        requests: usize,
        leases: &[LeaseRequest],
        service: &Service,
        now: Timestamp,
    ) -> Vec<(About, Waiting)> {
        let leased: HashSet<_> = leases.iter().map(|request| &request.of).collect();
        let rank = |(about, waiting): (&About, &Waiting)| {
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

    /// Requests whose answers do not come any more have failed; reports of windows that have ended
    /// are dropped.
    fn give_up(&mut self, budgets: &Budgets<'_>) {
        let now = budgets.now();
        let patience = ERRAND_TIMEOUT + LOST_AFTER;
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
                    // The last chance is not slept through.
                    waiting.due = (now + delay).min(last_moment(waiting.until)).max(now + FIRST_RETRY);
                    self.wait(about, waiting, now);
                }
            }
        }
    }

    fn wait(&mut self, about: About, waiting: Waiting, now: Timestamp) {
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

impl Waiting {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// Adds what is to be told of the same budget.
    fn join(&mut self, other: &Self) {
        self.hits = self.hits.saturating_add(other.hits);
        // Of several ends told for one window the earliest is the nearest to the truth. A later one
        // would make what waits through an outage last as long as something is added to it.
        self.until = self.until.min(other.until);
        // What comes does not put off what waits; but what failed has to wait.
        if other.tries > self.tries {
            (self.due, self.tries) = (other.due, other.tries);
        } else if self.tries == 0 {
            self.due = self.due.min(other.due);
        }
    }
}

/// When a report must be sent at the latest.
fn last_moment(until: Timestamp) -> Timestamp {
    Timestamp(until.0.saturating_sub(LAST_MOMENT.0))
}

fn tell(service: &Service, reports: &[(About, Waiting)]) -> Vec<Batch> {
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
            hits: hits_of(request.unit, request.amount),
            given_back: false,
        })
        .collect();
    let batch = |question: Question| {
        let covered = question.covers.iter().filter_map(|place| leases.get(*place).cloned());
        Batch { contents: Contents::Leases(covered.collect()), question }
    };
    service.ask(&asked).into_iter().map(batch).collect()
}

/// Writes granted leases to their accounts.
fn credit(requests: &[LeaseRequest], answer: &Answer, budgets: &Budgets<'_>) {
    for (request, decision) in requests.iter().zip(&answer.decisions) {
        let LeaseRequest { unit, account, amount, .. } = request;
        let remaining = decision.remaining.map(|hits| amount_of(*unit, hits));
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
