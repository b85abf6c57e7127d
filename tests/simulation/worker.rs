//! One worker: a VM that handles one event at a time, and stops before each access to the table.
//!
//! In: events of calls. Out: their effects. Not here: the order of steps, what may be charged
//! (`world`).

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use corosensei::Coroutine;
use serde_json::json;
use tollgate::exchange::{Abort, Context, Editable, Effects, Event, Exchange};
use tollgate::identity::Head;
use tollgate::limits::{Budgets, Slots};
use tollgate::metrics::ModelLabels;
use tollgate::settings::Config;
use tollgate::store::{KeyHasher, Lines, MemoryLines, Table};
use tollgate::tokens::Counter;
use tollgate::units::Timestamp;

use crate::ledger::Ledger;
use crate::lines::{Access, Fault, InTurn};
use crate::plan::{Call, Ending, TENANTS};
use crate::scenario::Scenario;

/// What all workers share.
pub(crate) struct Process {
    pub(crate) lines: Rc<MemoryLines>,
    pub(crate) keys: KeyHasher,
    pub(crate) now: Timestamp,
    configs: [Rc<Config>; 2],
    declared: u64,
    fault: Fault,
    stores: Rc<RefCell<u32>>,
}

/// The next event of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Head,
    Body,
    Due,
    AnswerHead,
    AnswerBody,
    End,
}

/// A worker, and the event that it handles.
pub(crate) struct Worker {
    vm: Rc<Vm>,
    pub(crate) running: Option<Running>,
}

/// An event under way.
pub(crate) struct Running {
    pub(crate) call: usize,
    pub(crate) step: Step,
    pub(crate) known: Known,
    pub(crate) event: Coroutine<(), Access, (Exchange, Effects)>,
}

/// What was known when an event began.
pub(crate) struct Known {
    pub(crate) ledger: Ledger,
    pub(crate) now: Timestamp,
    /// The number of steps before it.
    pub(crate) steps: usize,
    /// The number of changes of queues before it.
    pub(crate) changes: usize,
}

struct Vm {
    counter: RefCell<Counter>,
    models: RefCell<ModelLabels>,
    slots: RefCell<Slots>,
    keys: KeyHasher,
}

/// The headers of a request or a response.
struct Headers(Vec<(&'static str, String)>);

impl Head for Headers {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes().into())
    }

    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

impl Process {
    pub(crate) fn new(scenario: &Scenario, fault: Fault) -> Self {
        let config = |factor| {
            let config = Config::read(scenario.configuration(factor).as_bytes(), b"random");
            Rc::new(config.expect("a configuration"))
        };
        Self {
            lines: Rc::default(),
            keys: KeyHasher::new(&[5; 16]),
            now: Timestamp(1_700_000_000_000_000_000),
            configs: [config(1), config(2)],
            declared: scenario.declared,
            fault,
            stores: Rc::default(),
        }
    }

    /// Returns the configuration with all limits times `factor`.
    pub(crate) fn config(&self, factor: u64) -> Rc<Config> {
        self.configs[usize::from(factor > 1)].clone()
    }
}

impl Step {
    /// Returns whether a call ends at this step.
    pub(crate) const fn is_last(self) -> bool {
        matches!(self, Self::AnswerBody | Self::End)
    }
}

impl Call {
    /// Returns the tokens of its prompt: 3 of the frame, 1 of the role, 3 of the primer, and one a
    /// word.
    pub(crate) const fn input(&self) -> u64 {
        7 + self.words as u64
    }

    fn head(&self, declared: u64) -> Headers {
        let mut headers = vec![
            (":method", "POST".to_owned()),
            (":path", "/v1/chat/completions".to_owned()),
            ("x-tenant-id", TENANTS[self.tenant].to_owned()),
        ];
        headers.extend(self.workflow.map(|workflow| ("x-workflow", format!("w{workflow}"))));
        if declared > 0 {
            headers.push(("x-tollgate-reserve-tokens", declared.to_string()));
        }
        Headers(headers)
    }

    fn body(&self) -> String {
        let content = " a".repeat(self.words);
        json!({
            "model": "gpt-4o",
            "messages": [{ "role": "user", "content": content }],
            "max_tokens": self.max_tokens,
        })
        .to_string()
    }

    fn answer(&self) -> (u16, String) {
        match self.ending {
            Ending::Answered { output } => {
                let usage = json!({ "prompt_tokens": self.input(), "completion_tokens": output });
                (200, json!({ "choices": [], "usage": usage }).to_string())
            }
            Ending::Failed => (500, "{}".to_owned()),
            Ending::Left(_) => (200, "{".to_owned()),
        }
    }
}

impl Worker {
    pub(crate) fn new(process: &Process) -> Self {
        let vm = Vm {
            counter: RefCell::new(Counter::new([5; 16])),
            models: RefCell::default(),
            slots: RefCell::default(),
            keys: process.keys.clone(),
        };
        Self { vm: Rc::new(vm), running: None }
    }

    /// Begins an event. It does not run before its first turn.
    pub(crate) fn begin(
        &mut self,
        process: &Process,
        call: usize,
        plan: Call,
        step: Step,
        mut exchange: Exchange,
        known: Known,
    ) {
        let (vm, lines, stores) = (self.vm.clone(), process.lines.clone(), process.stores.clone());
        let (fault, now, declared, sets) =
            (process.fault, process.now, process.declared, process.configs[0].sets());
        let event = Coroutine::new(move |turn, ()| {
            let in_turn = InTurn { lines, fault, stores, turn };
            let effects = vm.handle(&mut exchange, &in_turn, sets, now, &plan, step, declared);
            (exchange, effects)
        });
        self.running = Some(Running { call, step, known, event });
    }

    /// Makes a failing call for each of many callers, without a pause.
    pub(crate) fn flood(&self, process: &Process, callers: u16) {
        let plan = Call::MADE_UP;
        for caller in 0..callers {
            let mut exchange = Exchange::new(process.config(1));
            let mut headers = plan.head(0);
            headers.0[2].1 = format!("made-up-{caller}");
            let sets = process.configs[0].sets();
            let head = Event::RequestHead { head: &headers, ended: false };
            self.vm.event(&mut exchange, &*process.lines, sets, process.now, head);
            for step in [Step::Body, Step::AnswerHead, Step::AnswerBody, Step::End] {
                self.vm.handle(&mut exchange, &*process.lines, sets, process.now, &plan, step, 0);
            }
        }
    }
}

impl Vm {
    #[expect(clippy::too_many_arguments, reason = "everything that an event depends on")]
    fn handle(
        &self,
        exchange: &mut Exchange,
        lines: &dyn Lines,
        sets: u32,
        now: Timestamp,
        plan: &Call,
        step: Step,
        declared: u64,
    ) -> Effects {
        let (body, (status, answer), head) = (plan.body(), plan.answer(), plan.head(declared));
        let json = Headers(vec![("content-type", "application/json".to_owned())]);
        let event = match step {
            Step::Head => Event::RequestHead { head: &head, ended: false },
            Step::Body => Event::RequestBody { body: body.as_bytes(), editable: Editable::All },
            Step::Due => Event::Due,
            Step::AnswerHead => Event::ResponseHead { status, head: &json, ended: false },
            Step::AnswerBody => Event::ResponsePiece { bytes: answer.as_bytes(), last: true },
            Step::End => Event::End { abort: Some(Abort::Client) },
        };
        self.event(exchange, lines, sets, now, event)
    }

    fn event(
        &self,
        exchange: &mut Exchange,
        lines: &dyn Lines,
        sets: u32,
        now: Timestamp,
        event: Event<'_>,
    ) -> Effects {
        let table = Table::new(lines, sets);
        let budgets = Budgets::new(&table, &self.keys, now).with_slots(&self.slots);
        let (mut counter, mut models) = (self.counter.borrow_mut(), self.models.borrow_mut());
        exchange.handle(
            event,
            &mut Context {
                budgets: &budgets,
                counter: &mut counter,
                models: &mut models,
                jitter: 0,
                breaker: None,
            },
        )
    }
}
