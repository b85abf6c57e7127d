//! One process: workers over one table, one step at a time, each step checked.
//!
//! In: a [`Plan`], a [`Scenario`]. Out: nothing, or the first violation with the steps before it. A
//! step is one load or store of one worker, or something that happens beside calls. Not here: what
//! may be in the budgets (`ledger`), the work of a worker (`worker`).
//!
//! # Invariants
//!
//! - A call passes only if what all others have surely charged leaves room for it. Only debts, of
//!   answers longer than their bounds, go beyond a limit.
//! - At every step, each budget has between the least and the most that the calls may have charged.
//!   So a call is charged in all limits or in none, and when all calls have ended, exactly what
//!   they used is charged, and nothing is held.
//! - A call is refused only if a limit had no room for it at some moment of the event.
//! - Calls that wait go on in the order in which they came, unless something was given back.

use std::fmt;
use std::rc::Rc;

use corosensei::CoroutineResult;
use tollgate::api::Usage;
use tollgate::exchange::{Effects, Exchange, Fact, Next};
use tollgate::identity::Caller;
use tollgate::limits::budget::CLOCK_DISORDER;
use tollgate::limits::{self, Budgets, Estimate, Granted, Subject};
use tollgate::settings::Config;
use tollgate::store::{Lines, Table};
use tollgate::units::{Span, Timestamp};

use crate::ledger::{Account, Bounds, Ledger, Limit, Tokens};
use crate::lines::{Access, Fault, Snapshot};
use crate::plan::{Ending, Happening, Moment, Plan, TENANTS, WORKERS};
use crate::scenario::Scenario;
use crate::worker::{Known, Process, Step, Worker};

/// A call as the world sees it.
#[derive(Default)]
struct Progress {
    exchange: Option<Exchange>,
    /// The factor of the configuration that it runs under.
    factor: u64,
    next: Option<Step>,
    wait: Option<Wait>,
}

/// The wait of a call for its budgets.
#[derive(Clone, Copy)]
struct Wait {
    until: Timestamp,
    /// The number of steps when it was known.
    known_at: usize,
    /// The number of changes of the queue when its event began.
    changes: usize,
}

/// What can be done next.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A worker goes on with its event.
    Go(usize),
    /// A call gets its next event.
    Event(usize),
    /// The next happening.
    Happening,
}

/// One line of the report.
#[derive(Clone, Copy)]
enum Line {
    Event(usize, Step),
    Access(usize, Access),
    Done(usize, &'static str),
    Happening(Happening),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(call, step) => write!(f, "call {call}: {step:?} begins"),
            Self::Access(call, Access::Load(line)) => write!(f, "call {call} loads line {line}"),
            Self::Access(call, Access::Store(line)) => write!(f, "call {call} stores line {line}"),
            Self::Done(call, outcome) => write!(f, "call {call} {outcome}"),
            Self::Happening(happening) => write!(f, "{happening:?}"),
        }
    }
}

struct World<'a> {
    plan: &'a Plan,
    scenario: &'a Scenario,
    process: Process,
    workers: Vec<Worker>,
    calls: Vec<Progress>,
    ledger: Ledger,
    happened: usize,
    factor: u64,
    /// How often something may have been given back, or the clock was set back.
    changes: usize,
    /// How far the clock went forward in all.
    elapsed: Span,
    report: Vec<Line>,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, scenario: &Scenario, fault: Fault) -> Result<(), String> {
    let mut world = World::new(plan, scenario, fault);
    let one_by_one = plan.calls.iter().take_while(|call| call.comes_first).count();
    for call in 0..one_by_one {
        world.complete(call).map_err(|violation| world.told(&violation))?;
    }
    let mut turns = plan.turns.iter();
    loop {
        let possible = world.turns();
        if possible.is_empty() {
            break;
        }
        let turn = possible[usize::from(*turns.next().unwrap_or(&0)) % possible.len()];
        world.take(turn).map_err(|violation| world.told(&violation))?;
    }
    world.check_end().map_err(|violation| world.told(&violation))
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan, scenario: &'a Scenario, fault: Fault) -> Self {
        let process = Process::new(scenario, fault);
        let accounts = plan.calls.iter().map(|call| Account {
            tenant: call.tenant,
            workflow: call.workflow,
            ..Account::default()
        });
        let calls = plan.calls.iter().map(|_| Progress { next: Some(Step::Head), ..Progress::default() });
        Self {
            plan,
            scenario,
            workers: (0..WORKERS).map(|_| Worker::new(&process)).collect(),
            calls: calls.collect(),
            ledger: Ledger { accounts: accounts.collect() },
            process,
            happened: 0,
            factor: 1,
            changes: 0,
            elapsed: Span::ZERO,
            report: Vec::new(),
        }
    }

    fn turns(&self) -> Vec<Turn> {
        let mut turns = Vec::new();
        for (place, worker) in self.workers.iter().enumerate() {
            if worker.running.is_some() {
                turns.push(Turn::Go(place));
                continue;
            }
            let of_worker = self.plan.calls.iter().enumerate().filter(|(_, call)| call.worker == place);
            let ready = of_worker.filter(|(call, _)| self.is_ready(*call));
            turns.extend(ready.map(|(call, _)| Turn::Event(call)));
        }
        match self.plan.happenings.get(self.happened) {
            Some(Happening::Flood(worker, _)) if self.workers[*worker].running.is_some() => {}
            Some(Happening::Clock(seconds)) if !self.may_move_clock(seconds.unsigned_abs()) => {}
            Some(_) => turns.push(Turn::Happening),
            None => {}
        }
        turns
    }

    fn is_ready(&self, call: usize) -> bool {
        match (self.calls[call].next, self.calls[call].wait) {
            (Some(Step::Due), Some(Wait { until, .. })) => {
                self.may_move_clock(until.since(self.process.now).0.div_ceil(Span::from_secs(1).0))
            }
            (next, _) => next.is_some(),
        }
    }

    /// Returns whether the clock may move without leaving an event under way so far behind that its
    /// time looks like a clock that was set back. No event takes that long.
    fn may_move_clock(&self, seconds: u64) -> bool {
        let span = Span::from_secs(seconds);
        self.workers.iter().filter_map(|worker| worker.running.as_ref()).all(|running| {
            let began = running.known.now;
            (self.process.now + span).since(began) <= CLOCK_DISORDER
                && began.since(self.process.now) + span <= CLOCK_DISORDER
        })
    }

    /// Makes a whole call without a pause.
    fn complete(&mut self, call: usize) -> Result<(), String> {
        let worker = self.plan.calls[call].worker;
        while self.calls[call].next.is_some() {
            self.take(Turn::Event(call))?;
            while self.workers[worker].running.is_some() {
                self.go(worker)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, turn: Turn) -> Result<(), String> {
        match turn {
            Turn::Event(call) => {
                let step = self.calls[call].next.take().expect("a call with a next step");
                self.begin(call, step);
                self.go(self.plan.calls[call].worker)
            }
            Turn::Go(worker) => self.go(worker),
            Turn::Happening => {
                let happening = self.plan.happenings[self.happened];
                self.happened += 1;
                self.report.push(Line::Happening(happening));
                self.happen(happening);
                Ok(())
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Trap(worker) => {
                // Dropping the event ends it where it is. Nothing that the VM knew is left.
                self.workers[worker] = Worker::new(&self.process);
                let of_worker = self.plan.calls.iter().enumerate().filter(|(_, call)| call.worker == worker);
                for (call, _) in of_worker {
                    if self.calls[call].exchange.is_some() || self.calls[call].next != Some(Step::Head) {
                        self.calls[call] = Progress::default();
                    }
                }
            }
            Happening::Reload => self.factor = 3 - self.factor,
            Happening::Clock(seconds) => self.move_clock(seconds),
            Happening::Flood(worker, callers) => self.workers[worker].flood(&self.process, callers),
        }
    }

    fn move_clock(&mut self, seconds: i64) {
        let span = Span::from_secs(seconds.unsigned_abs());
        if seconds < 0 {
            self.process.now = Timestamp(self.process.now.0 - span.0);
            self.changes += 1;
            // An event under way still has the old time, and lets flow in what comes until then.
            if self.workers.iter().any(|worker| worker.running.is_some()) {
                self.elapsed += span;
            }
        } else {
            self.elapsed += span;
            self.process.now = self.process.now + span;
        }
    }

    /// Gives a call its next event.
    fn begin(&mut self, call: usize, step: Step) {
        self.report.push(Line::Event(call, step));
        let plan = self.plan.calls[call];
        if let (Step::Due, Some(Wait { until, .. })) = (step, self.calls[call].wait)
            && until > self.process.now
        {
            self.elapsed += until.since(self.process.now);
            self.process.now = until;
        }
        self.changes += usize::from(step.is_last());
        if step == Step::Head {
            self.calls[call].factor = self.factor;
            self.calls[call].exchange = Some(Exchange::new(self.process.config(self.factor)));
        }
        self.expect(call, step);
        for running in self.workers.iter_mut().filter_map(|worker| worker.running.as_mut()) {
            running.known.ledger.widen(call, &self.ledger);
        }
        let exchange = self.calls[call].exchange.take().expect("a call under way");
        let (now, steps, changes) = (self.process.now, self.report.len(), self.changes);
        let known = Known { ledger: self.ledger.copy(), now, steps, changes };
        let worker = &mut self.workers[plan.worker];
        worker.begin(&self.process, call, plan, step, exchange, known);
    }

    /// Widens the account of a call to all that its event may charge or give back.
    fn expect(&mut self, call: usize, step: Step) {
        let (plan, progress) = (&self.plan.calls[call], &self.calls[call]);
        let capacity = |limit: &Limit| limit.max * progress.factor;
        let account = &mut self.ledger.accounts[call];
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            let bounds = &mut account.charged[place];
            match step {
                Step::Head if limit.is_in_flight() => *bounds = bounds.to(1),
                Step::Body if !limit.is_in_flight() => {
                    let tokens = Tokens { input: plan.input(), output: plan.max_tokens };
                    *bounds = bounds.to(limit.held(tokens, capacity(limit)));
                    // A call that is refused gives its slot back.
                }
                Step::Body | Step::Due => *bounds = bounds.to(0),
                _ if step.is_last() => {
                    let left = if progress.wait.is_some() { 0 } else { account.held[place] };
                    *bounds = bounds.to(used(plan.ending, limit, plan.input(), left));
                }
                _ => {}
            }
        }
        if step == Step::Body {
            account.declared = self.scenario.declared;
        }
    }

    /// Lets a worker make its next access to the table.
    fn go(&mut self, worker: usize) -> Result<(), String> {
        let running = self.workers[worker].running.as_mut().expect("an event under way");
        let call = running.call;
        match running.event.resume(()) {
            CoroutineResult::Yield(access) => {
                self.report.push(Line::Access(call, access));
                // The store of the step before has happened meanwhile.
                self.check_charged(call)
            }
            CoroutineResult::Return((exchange, effects)) => {
                let running = self.workers[worker].running.take().expect("an event under way");
                self.calls[call].exchange = Some(exchange);
                self.end_event(call, running.step, &effects, &running.known)?;
                self.check_charged(call)
            }
        }
    }

    /// Draws the consequences of an event for the call's account, and chooses its next event.
    fn end_event(&mut self, call: usize, step: Step, effects: &Effects, known: &Known) -> Result<(), String> {
        let plan = self.plan.calls[call];
        if let Some((_, counted)) = effects.facts.iter().find(|(fact, _)| *fact == Fact::CountedInput)
            && *counted != tollgate::exchange::Value::Number(plan.input())
        {
            return Err(format!("call {call} has {counted:?} tokens"));
        }
        let (next, outcome) = match (&effects.next, step) {
            (Next::Reply(_), _) => {
                self.check_refusal(call, step, &known.ledger)?;
                self.give_back(call);
                (None, "refused")
            }
            (Next::Wait { until }, _) => {
                self.check_order(call, *until, known)?;
                let (known_at, changes) = (self.report.len(), known.changes);
                self.calls[call].wait = Some(Wait { until: *until, known_at, changes });
                self.hold(call);
                let leaves = plan.ending == Ending::Left(Moment::Waiting);
                (Some(if leaves { Step::End } else { Step::Due }), "waits")
            }
            (Next::ReadBody, _) => {
                self.take_slots(call);
                self.check_room(call, &known.ledger, Limit::is_in_flight)?;
                let leaves = plan.ending == Ending::Left(Moment::BeforeBody);
                (Some(if leaves { Step::End } else { Step::Body }), "held")
            }
            (_, Step::Body | Step::Due) => {
                self.calls[call].wait = None;
                self.ledger.accounts[call].has_passed = true;
                self.hold(call);
                self.check_room(call, &known.ledger, |limit| !limit.is_in_flight())?;
                let leaves = matches!(plan.ending, Ending::Left(Moment::BeforeAnswer | Moment::Waiting));
                (Some(if leaves { Step::End } else { Step::AnswerHead }), "passes")
            }
            (_, Step::AnswerHead) => match plan.ending {
                Ending::Left(_) => (Some(Step::End), "answered"),
                _ => (Some(Step::AnswerBody), "answered"),
            },
            (_, Step::AnswerBody | Step::End) if self.calls[call].wait.is_some() => {
                self.give_back(call);
                (None, "left")
            }
            (_, Step::AnswerBody | Step::End) => {
                self.settle(call);
                (None, "ended")
            }
            (next, step) => return Err(format!("call {call}: {next:?} at {step:?}")),
        };
        self.report.push(Line::Done(call, outcome));
        self.calls[call].next = next;
        if next.is_none() {
            self.calls[call].exchange = None;
        }
        Ok(())
    }

    fn take_slots(&mut self, call: usize) {
        let account = &mut self.ledger.accounts[call];
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            if limit.is_in_flight() {
                (account.charged[place], account.held[place]) = (Bounds::exactly(1), 1);
            }
        }
    }

    /// The call holds what it may use.
    fn hold(&mut self, call: usize) {
        let plan = &self.plan.calls[call];
        let tokens = Tokens { input: plan.input(), output: plan.max_tokens };
        let account = &mut self.ledger.accounts[call];
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            let held = limit.held(tokens, limit.max * self.calls[call].factor);
            (account.charged[place], account.held[place]) = (Bounds::exactly(held), held);
        }
    }

    fn give_back(&mut self, call: usize) {
        self.changes += 1;
        let account = &mut self.ledger.accounts[call];
        account.charged = Default::default();
        account.held = Default::default();
    }

    fn settle(&mut self, call: usize) {
        self.changes += 1;
        let plan = &self.plan.calls[call];
        let account = &mut self.ledger.accounts[call];
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            let used = used(plan.ending, limit, plan.input(), account.held[place]);
            account.charged[place] = Bounds::exactly(used);
        }
    }

    /// Checks that the call did not need more than the others have left, in limits that are charged
    /// now.
    fn check_room(&self, call: usize, before: &Ledger, is_charged: fn(&Limit) -> bool) -> Result<(), String> {
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            if !is_charged(limit) {
                continue;
            }
            let capacity = limit.max * self.calls[call].factor;
            let held = self.ledger.accounts[call].held[place];
            if self.scenario.refills() {
                self.check_flow(place, limit)?;
                continue;
            }
            if limit.once {
                continue;
            }
            // A call that draws from its workflow passes whatever others owe.
            let forgives = self.scenario.declared > 0;
            let others = self.ledger.charged_throughout(before, place, call, forgives);
            if others + held > capacity {
                let name = limit.counts;
                return Err(format!(
                    "call {call} passes with {held} {name}; others have {others} of {capacity}"
                ));
            }
        }
        Ok(())
    }

    /// Checks that some limit could not have let the call pass, whatever the order of steps was.
    fn check_refusal(&self, call: usize, step: Step, since: &Ledger) -> Result<(), String> {
        if !self.scenario.is_exact || self.scenario.declared > 0 {
            return Ok(());
        }
        let plan = &self.plan.calls[call];
        let tokens = Tokens { input: plan.input(), output: plan.max_tokens };
        let may_refuse = |(place, limit): (usize, &Limit)| {
            let capacity = limit.max * self.calls[call].factor;
            let is_asked = (step == Step::Head && limit.is_in_flight()) || !limit.is_in_flight();
            is_asked
                && self.ledger.charged_at_most(since, place, call) + limit.held(tokens, capacity) > capacity
        };
        if self.scenario.limits.iter().enumerate().any(may_refuse) {
            return Ok(());
        }
        Err(format!("call {call} is refused at {step:?}, although it fits"))
    }

    /// Checks that no more has gone on than was there and has flowed in.
    fn check_flow(&self, place: usize, limit: &Limit) -> Result<(), String> {
        let flowed = limit.max * self.elapsed.0 / Span::from_secs(60).0 + 1;
        for (tenant, name) in TENANTS.iter().enumerate() {
            let of_tenant = self.ledger.accounts.iter().filter(|account| account.tenant == tenant);
            let passed = of_tenant.filter(|account| account.has_passed);
            let sum: u64 = passed.map(|account| account.charged[place].least.min(account.held[place])).sum();
            if sum > limit.max + flowed {
                return Err(format!("{name} got {sum} of {} and {flowed} that flowed in", limit.max));
            }
        }
        Ok(())
    }

    /// Checks that a call that begins to wait does not overtake one that waited before it came.
    fn check_order(&self, call: usize, until: Timestamp, known: &Known) -> Result<(), String> {
        let tenant = self.plan.calls[call].tenant;
        for (other, progress) in self.calls.iter().enumerate() {
            let Some(wait) = progress.wait else { continue };
            let waits_before = other != call
                && self.plan.calls[other].tenant == tenant
                && progress.next == Some(Step::Due)
                && wait.known_at <= known.steps
                && wait.changes == self.changes;
            if waits_before && until < wait.until {
                return Err(format!("call {call} would go on before call {other}"));
            }
        }
        Ok(())
    }

    /// Checks the budgets of a call's tenant.
    fn check_charged(&self, call: usize) -> Result<(), String> {
        if self.scenario.is_exact { self.check_tenant(self.plan.calls[call].tenant) } else { Ok(()) }
    }

    fn check_tenant(&self, tenant: usize) -> Result<(), String> {
        let spent = spent(&self.process, &self.process.config(self.factor), TENANTS[tenant]);
        for (place, limit) in self.scenario.limits.iter().enumerate() {
            let Bounds { least, most } = self.ledger.charged(place, limit, tenant);
            let spent = spent[place];
            if !(least..=most).contains(&spent) {
                let (name, counts) = (TENANTS[tenant], limit.counts);
                return Err(format!("{spent} {counts} of {name} are charged, not {least} to {most}"));
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        if self.scenario.is_exact {
            (0..TENANTS.len()).try_for_each(|tenant| self.check_tenant(tenant))?;
        }
        Ok(())
    }

    fn told(&self, violation: &str) -> String {
        let steps: Vec<_> = self.report.iter().map(|line| format!("  {line}\n")).collect();
        format!("{violation}\n{}{}", steps.concat(), self.ledger.shown(self.scenario.limits))
    }
}

/// Returns what a call has used in the end.
fn used(ending: Ending, limit: &Limit, input: u64, held: u64) -> u64 {
    match ending {
        Ending::Answered { output } => limit.used(Tokens { input, output }),
        Ending::Failed if limit.counts == "requests" => 1,
        Ending::Failed | Ending::Left(Moment::BeforeBody) => 0,
        Ending::Left(_) if limit.is_in_flight() => 0,
        Ending::Left(_) => held,
    }
}

/// Returns what is charged to each budget of a tenant.
fn spent(process: &Process, config: &Config, tenant: &str) -> Vec<u64> {
    let lines = Snapshot::of(&process.lines);
    let table = Table::new(&lines as &dyn Lines, config.sets());
    let budgets = Budgets::new(&table, &process.keys, process.now);
    let caller = Caller::new(vec![("tenant".into(), tenant.as_bytes().to_vec())]);
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai-chat", body: b"" };
    let nothing = Estimate::known(Usage::default(), config.rates("gpt-4o"));
    let probe = |limit: &Rc<limits::Limit>| {
        let limits = std::slice::from_ref(limit);
        let granted = if limit.counts.name == "concurrent_requests" {
            limits::acquire_slots(limits, &subject, &budgets)
        } else {
            limits::reserve(Granted::default(), limits, &subject, &nothing, Span::ZERO, &budgets)
        };
        match granted {
            Ok(Granted { reservation, standings, .. }) => {
                reservation.release(&budgets);
                let probes = u64::from(limit.counts.is_known_at_once());
                standings[0].spent.0 - probes
            }
            Err(refusal) => refusal.standing.spent.0,
        }
    };
    config.tiers.default().limits.iter().map(probe).collect()
}
