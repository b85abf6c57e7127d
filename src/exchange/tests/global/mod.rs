//! Calls with global limits, and a rate limit service in the tests: `service`.

mod asking;
mod crowds;
mod decisions;
mod failures;
mod held;
mod leases;
mod properties;
mod service;
mod settlement;
mod turns;

use super::*;
use crate::rls::{Failure, Health, Question, ReportQueue};
use service::FakeService;

/// 1,000 tokens a minute for each tenant.
const TPM: &str = r#"{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m", "scope": "global" }"#;

/// As [`TPM`], kept in this process.
const LOCAL: &str = r#"{ "name": "own", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m", "algorithm": "fixed_window" }"#;

/// Returns a configuration with these options of `global`, and these limits.
fn config(global: &str, limits: &[&str]) -> String {
    let limits = limits.join(", ");
    format!(
        r#"{{ "global": {{ "cluster": "ratelimit" {global} }}, "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }},
            "tiers": {{ "free": {{ "limits": [ {limits} ] }} }} }}"#
    )
}

/// A filter without a host, and the service that it asks.
struct World {
    bench: Bench,
    service: FakeService,
    report_queue: ReportQueue,
    sent: u32,
}

impl World {
    fn new(global: &str, limits: &[&str]) -> Self {
        Self::of(&config(global, limits))
    }

    fn of(config: &str) -> Self {
        let bench = Bench::new(config);
        let service = FakeService::of(&bench);
        Self { bench, service, report_queue: ReportQueue::default(), sent: 0 }
    }

    /// Sends a call; the service answers its questions.
    fn call(&mut self, body: &str) -> (Exchange, Effects) {
        let (mut exchange, effects) = self.bench.send(body);
        let effects = self.answer_all(&mut exchange, effects);
        (exchange, effects)
    }

    fn answer_all(&mut self, exchange: &mut Exchange, mut effects: Effects) -> Effects {
        loop {
            let questions = asks(&effects);
            if questions.is_empty() {
                return effects;
            }
            for Ask { place, question, .. } in questions {
                effects = self.answer(exchange, place, &question);
            }
        }
    }

    fn answer(&mut self, exchange: &mut Exchange, place: usize, question: &Question) -> Effects {
        let answer = self.service.answer(question, self.bench.now);
        self.on_answer(exchange, place, Ok(&answer))
    }

    fn on_answer(
        &mut self,
        exchange: &mut Exchange,
        question: usize,
        answer: Result<&[u8], Failure>,
    ) -> Effects {
        self.bench.handle(exchange, Event::Answered { question, answer })
    }

    /// Makes a call that passes and is answered with this usage. Returns the head of its response.
    fn use_up(&mut self, input: u64, output: u64) -> Effects {
        let (mut exchange, effects) = self.call(HI);
        assert_eq!(effects.next, Next::Pass);
        let head = self.bench.head(&mut exchange, 200, "application/json");
        self.bench.piece(&mut exchange, &answer(input, output), true);
        head
    }

    /// Returns the new tasks, as text.
    fn tasks(&mut self) -> Vec<String> {
        self.bench.tasks.drain(..).map(|task| describe(&task)).collect()
    }

    /// Performs the due tasks.
    fn do_tasks(&mut self) {
        self.do_tasks_if(true);
    }

    /// Performs the due tasks, or fails to.
    fn do_tasks_if(&mut self, reachable: bool) {
        let service = self.bench.config.global.clone().unwrap();
        for task in core::mem::take(&mut self.bench.tasks) {
            self.report_queue.push(task, self.bench.now);
        }
        let table = Table::new(&self.bench.lines as &dyn Lines, self.bench.config.sets());
        let budgets = Budgets::new(&table, &self.bench.keys, self.bench.now);
        let breaker = self.bench.breaker.as_mut().unwrap();
        for batch in self.report_queue.due(&service, breaker, &budgets) {
            let answer = reachable.then(|| self.service.answer(&batch.question, self.bench.now));
            let answer = answer.as_deref().ok_or(Failure::Unavailable);
            self.sent += 1;
            self.report_queue.sent(batch, self.sent, self.bench.now);
            let health = if reachable { Health::Well } else { Health::Failing };
            assert_eq!(self.report_queue.answered(self.sent, answer, &service, &budgets), Some(health));
            breaker.answered(reachable, self.bench.now);
        }
    }

    /// Returns the service's charges to ada for a limit of the tier `free`.
    fn charged(&self, limit: &str) -> i64 {
        self.service.book.get(&format!("free/{limit} ada")).copied().unwrap_or(0)
    }

    fn decided(&self, how: &str) -> u64 {
        self.bench.count_of(&metrics::GLOBAL_DECISIONS, how)
    }
}

/// Returns the rest of ada's limit `own`, by a call that the service does not decide.
fn local_left(world: &mut World) -> u64 {
    let head = Request::chat();
    let mut probe = world.bench.exchange();
    world.bench.handle(&mut probe, Event::RequestHead { head: &head, ended: false });
    let body = br#"{"model":"other","messages":[],"max_tokens":0}"#;
    world.bench.handle(&mut probe, Event::RequestBody { body, editable: Editable::All });
    let head = world.bench.head(&mut probe, 500, "");
    let left = header(&head, "ratelimit").unwrap();
    let left = left.strip_prefix("\"own\";r=").expect("no other budget is told");
    left.split(';').next().unwrap().parse().unwrap()
}

/// Returns the questions, with their places and timeouts.
fn asks(effects: &Effects) -> Vec<Ask> {
    match &effects.next {
        Next::Ask { questions, .. } => questions.clone(),
        _ => vec![],
    }
}

/// Returns the questions.
fn questions(effects: &Effects) -> Vec<Question> {
    asks(effects).into_iter().map(|ask| ask.question).collect()
}

/// Returns whether the call waits for answers to questions already asked.
fn waits(effects: &Effects) -> bool {
    effects.next == Next::Ask { questions: vec![], hold: true }
}

fn describe(task: &Task) -> String {
    let name =
        |entries: Vec<(&str, &str)>| entries.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(" ");
    match task {
        Task::Report(report) => {
            let sign = if report.given_back { '-' } else { '+' };
            format!("{} {sign}{}", name(report.of.entries().collect()), report.hits)
        }
        Task::Lease(request) => {
            format!("{} lease {}", name(request.of.entries().collect()), request.amount)
        }
    }
}

/// Returns a field of a refusal.
fn field<'e>(effects: &'e Effects, name: &str) -> Option<&'e str> {
    let (reply, _) = reply(effects);
    reply.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
}

/// An answer of the service that decides nothing, or no answer.
const NO_ANSWERS: [(&str, Result<&[u8], Failure>); 4] = [
    ("unavailable", Err(Failure::Unavailable)),
    ("unreadable", Ok(b"\xff\xff\xff")),
    // overall_code = UNKNOWN, written out
    ("undecided", Ok(b"\x08\x00")),
    ("undecided", Ok(b"")),
];
