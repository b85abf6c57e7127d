//! Crowds at two processes with leases, on a service that reports as little as Limitador: how much
//! they spend of one budget.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use envoy_types::pb::envoy::service::ratelimit::v3 as pb;
use pb::rate_limit_response::Code;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::rls::Batch;

/// A budget of Limitador's. Its window begins with the first charge, and it answers with a code
/// only.
struct Limitador {
    max: u64,
    window: Span,
    used: u64,
    until: Timestamp,
    /// The number of windows that have begun.
    windows: usize,
}

impl Limitador {
    fn answer(&mut self, question: &Question, now: Timestamp) -> Vec<u8> {
        let request = pb::RateLimitRequest::decode(question.message.as_slice()).unwrap();
        assert_eq!(request.descriptors.len(), 1);
        let hits = u64::from(request.hits_addend.max(1));
        if now >= self.until {
            self.used = 0;
        }
        let (fits, charges) = match question.method.name {
            "ShouldRateLimit" => (self.used + hits <= self.max, self.used + hits <= self.max),
            "CheckRateLimit" => (self.used < self.max, false),
            "Report" => (true, true),
            other => panic!("{other}"),
        };
        if charges {
            if now >= self.until {
                self.until = now + self.window;
                self.windows += 1;
            }
            self.used += hits;
        }
        let overall_code = if fits { Code::Ok } else { Code::OverLimit } as i32;
        pb::RateLimitResponse { overall_code, ..pb::RateLimitResponse::default() }.encode_to_vec()
    }
}

/// An event at a moment.
enum Happening {
    Comes {
        process: usize,
    },
    /// A call's question reaches the service, then its answer the call.
    Asked {
        call: usize,
        ask: Ask,
    },
    Answered {
        call: usize,
        place: usize,
        answer: Vec<u8>,
    },
    Ends {
        call: usize,
    },
    /// A worker ticks; its tasks reach the service, then their answers the worker.
    Ticks {
        process: usize,
    },
    Sent {
        process: usize,
        token: u32,
        question: Question,
    },
    Done {
        process: usize,
        token: u32,
        answer: Vec<u8>,
    },
}

/// Two processes, a service and the events to come.
struct Crowd {
    processes: [Bench; 2],
    outboxes: [ReportQueue; 2],
    service: Limitador,
    calls: Vec<(usize, Exchange)>,
    agenda: BinaryHeap<Reverse<(u64, usize)>>,
    happenings: Vec<Option<Happening>>,
    /// Nanoseconds since the start, by the clock of the service.
    now: u64,
    /// How far the clocks of the processes are ahead of it; they start a week ahead, and may be set
    /// back.
    ahead: [u64; 2],
    dice: u64,
    slowest: u64,
    tokens: u64,
    sent: u32,
    /// Tokens of calls that passed, by the window of the service in which they came.
    spent: Vec<u64>,
    refused: usize,
}

const WEEK: u64 = 7 * 86_400_000_000_000;
const MILLI: u64 = 1_000_000;

impl Crowd {
    /// Creates a budget and calls of this many tokens; nothing takes longer than `slowest`
    /// milliseconds.
    fn new(protocol: &str, max: u64, window: &str, tokens: u64, slowest: u64, seed: u64) -> Self {
        let limit = TPM.replace("1000", &max.to_string()).replace("1m", window);
        let config = config(&format!(r#", "lease": {{}} {protocol}"#), &[&limit]);
        let processes = [Bench::new(&config), Bench::new(&config)];
        let window = processes[0].config.tiers.all()[0].global[0].limit.shape.window;
        Self {
            processes,
            outboxes: [ReportQueue::default(), ReportQueue::default()],
            service: Limitador { max, window, used: 0, until: Timestamp(0), windows: 0 },
            calls: vec![],
            agenda: BinaryHeap::new(),
            happenings: vec![],
            now: 0,
            ahead: [WEEK; 2],
            dice: seed | 1,
            slowest,
            tokens,
            sent: 0,
            spent: vec![0],
            refused: 0,
        }
    }

    fn dice(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 11
    }

    /// Returns a random number of nanoseconds up to `most`.
    fn soon(&mut self, most: u64) -> u64 {
        self.dice() % (most + 1)
    }

    fn plan(&mut self, after: u64, happening: Happening) {
        self.agenda.push(Reverse((self.now + after, self.happenings.len())));
        self.happenings.push(Some(happening));
    }

    fn on_the_way(&mut self, happening: Happening) {
        let after = self.soon(self.slowest * MILLI);
        self.plan(after, happening);
    }

    /// Makes a wave of calls at both processes, until no event is left. Returns the number refused.
    fn wave(&mut self, clients: usize) -> usize {
        let before = self.refused;
        for client in 0..clients {
            let after = self.soon(MILLI);
            self.plan(after, Happening::Comes { process: client % 2 });
        }
        while let Some(Reverse((at, place))) = self.agenda.pop() {
            self.now = at;
            let happening = self.happenings[place].take().unwrap();
            self.happen(happening);
        }
        self.refused - before
    }

    fn happen(&mut self, happening: Happening) {
        let service_now = Timestamp(self.now + 1);
        for (process, ahead) in self.processes.iter_mut().zip(self.ahead) {
            process.now = Timestamp(1_700_000_000_000_000_000 + self.now + ahead);
        }
        match happening {
            Happening::Comes { process } => {
                let body = HI.replace("100", &(self.tokens - 8).to_string());
                let (exchange, effects) = self.processes[process].send(&body);
                self.calls.push((process, exchange));
                self.go_on(self.calls.len() - 1, effects);
            }
            Happening::Asked { call, ask: Ask { place, question, .. } } => {
                let answer = self.service.answer(&question, service_now);
                self.on_the_way(Happening::Answered { call, place, answer });
            }
            Happening::Answered { call, place, answer } => {
                let (process, exchange) = &mut self.calls[call];
                let event = Event::Answered { question: place, answer: Ok(&answer) };
                let effects = self.processes[*process].handle(exchange, event);
                self.go_on(call, effects);
            }
            Happening::Ends { call } => {
                let (process, exchange) = &mut self.calls[call];
                let bench = &mut self.processes[*process];
                bench.head(exchange, 200, "application/json");
                bench.piece(exchange, &answer(8, self.tokens - 8), true);
                let process = *process;
                self.push(process);
            }
            Happening::Ticks { process } => self.tick(process),
            Happening::Sent { process, token, question } => {
                let answer = self.service.answer(&question, service_now);
                self.on_the_way(Happening::Done { process, token, answer });
            }
            Happening::Done { process, token, answer } => {
                let service = self.processes[process].config.global.clone().unwrap();
                let bench = &self.processes[process];
                let table = Table::new(&bench.lines as &dyn Lines, bench.config.sets());
                let budgets = Budgets::new(&table, &bench.keys, bench.now);
                assert!(self.outboxes[process].answered(token, Ok(&answer), &service, &budgets).is_some());
            }
        }
    }

    fn go_on(&mut self, call: usize, effects: Effects) {
        self.push(self.calls[call].0);
        match effects.next {
            Next::Ask { questions, .. } => {
                for ask in questions {
                    self.on_the_way(Happening::Asked { call, ask });
                }
            }
            Next::Reply(_) => self.refused += 1,
            Next::Pass => {
                self.spent.resize(self.service.windows.max(1), 0);
                *self.spent.last_mut().unwrap() += self.tokens;
                self.on_the_way(Happening::Ends { call });
            }
            other => panic!("{other:?}"),
        }
    }

    /// Gives new tasks to the worker of a process.
    fn push(&mut self, process: usize) {
        let bench = &mut self.processes[process];
        let tasks = core::mem::take(&mut bench.tasks);
        let due = tasks.into_iter().map(|task| self.outboxes[process].push(task, bench.now)).min();
        if let Some(due) = due {
            self.plan(due.0, Happening::Ticks { process });
        }
    }

    fn tick(&mut self, process: usize) {
        let bench = &mut self.processes[process];
        let service = bench.config.global.clone().unwrap();
        let table = Table::new(&bench.lines as &dyn Lines, bench.config.sets());
        let budgets = Budgets::new(&table, &bench.keys, bench.now);
        let batches: Vec<Batch> =
            self.outboxes[process].due(&service, bench.breaker.as_mut().unwrap(), &budgets);
        for batch in batches {
            self.sent += 1;
            let (token, question) = (self.sent, batch.question.clone());
            self.outboxes[process].sent(batch, token, self.processes[process].now);
            self.on_the_way(Happening::Sent { process, token, question });
        }
    }
}

const KUADRANT: &str = r#", "protocol": "kuadrant""#;
const ENVOY: &str = r#", "hits_addend": "request""#;

#[test]
fn the_service_of_these_tests_checks_reports_and_charges_as_limitador_does() {
    let service = |global: &str| Bench::new(&config(global, &[TPM])).config.global.clone().unwrap();
    let bench = Bench::new(&config("", &[TPM]));
    let limit = &bench.config.tiers.all()[0].global[0].limit;
    let caller = crate::identity::Caller::new(vec![]);
    let subject = crate::limits::Subject { caller: &caller, model: "", api: "", body: b"" };
    let of = crate::rls::descriptor::Descriptor::of(limit, &subject);
    let hits = |hits| [crate::rls::Hits { of: &of, hits, given_back: false }];
    let (kuadrant, envoy) = (service(KUADRANT), service(ENVOY));
    let mut limitador =
        Limitador { max: 10, window: Span::from_secs(60), used: 0, until: Timestamp(0), windows: 0 };
    let mut fits = |question: Vec<Question>, second| {
        let answer = limitador.answer(&question[0], Timestamp(Span::from_secs(second).0));
        let answer = question[0].read(&answer).unwrap();
        assert_eq!((answer.decisions[0].remaining, answer.decisions[0].reset), (None, None));
        (answer.decisions[0].allowed, limitador.used)
    };

    assert_eq!(fits(kuadrant.ask(&hits(100)), 5), (true, 0), "a check is of one hit");
    assert_eq!(fits(envoy.ask(&hits(8)), 10), (true, 8));
    assert_eq!(fits(envoy.ask(&hits(3)), 11), (false, 8), "nothing is charged of what does not fit");
    assert_eq!(fits(kuadrant.ask(&hits(3)), 11), (true, 8));
    assert_eq!(fits(kuadrant.tell(&hits(3)), 12), (true, 11), "a report is charged whether it fits or not");
    assert_eq!(fits(kuadrant.ask(&hits(1)), 69), (false, 11));
    assert_eq!(fits(kuadrant.ask(&hits(1)), 70), (true, 0), "its window began with the first charge");
}

#[test]
fn clients_in_waves_at_two_processes_spend_one_budget_and_no_more() {
    for (clients, waves) in [(64, 3), (16, 12)] {
        for seed in 1..20 {
            let mut crowd = Crowd::new(KUADRANT, 2_700, "1d", 27, 20, seed);
            for _ in 0..waves {
                crowd.wave(clients);
            }
            assert_eq!(crowd.spent, [2_700], "waves of {clients}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In any order of events, however slow the service is, and however the clocks of the processes
    /// jump.
    #[test]
    fn in_one_window_two_processes_spend_no_more_than_the_budget_and_all_of_it_if_they_go_on(
        protocol in prop::sample::select(vec![KUADRANT, ENVOY]),
        (max, tokens) in prop::sample::select(vec![(2_700, 27), (27_000, 270), (100_000, 999)]),
        clients in 1_usize..80,
        slowest in 0_u64..700,
        seed in any::<u64>(),
        jumps in prop::collection::vec(prop::option::weighted(0.2, (0_usize..2, 0..2 * WEEK)), 100),
    ) {
        let mut crowd = Crowd::new(protocol, max, "1d", tokens, slowest, seed);
        let mut jumps = jumps.into_iter().flatten();
        // Refusals are believed for ten seconds; a lease removed by a jump is lost.
        let mut lost = 0;
        loop {
            let refused = crowd.wave(clients);
            prop_assert_eq!(crowd.spent.len(), 1);
            prop_assert!(crowd.spent[0] <= max, "{} of {}", crowd.spent[0], max);
            if refused == clients {
                break;
            }
            if let Some((process, ahead)) = jumps.next() {
                crowd.ahead[process] = ahead;
                lost += 2_000 + tokens;
            }
        }
        // The service and each lease may have less left than a call needs, and a process without
        // clients may hold a lease.
        let idle = if clients == 1 { 2_000 } else { 0 };
        prop_assert!(crowd.spent[0] + 3 * (tokens - 1) + lost + idle >= max, "{} of {}", crowd.spent[0], max);
    }

    /// The ends of windows are not reported, so leases of one window may be spent in the next, one
    /// for each process.
    #[test]
    fn beyond_the_end_of_a_window_two_processes_spend_no_more_than_a_lease_each(
        clients in 1_usize..64,
        slowest in 0_u64..200,
        pauses in prop::collection::vec(0_u64..40_000, 12),
        seed in any::<u64>(),
    ) {
        let mut crowd = Crowd::new(KUADRANT, 27_000, "1m", 270, slowest, seed);
        for pause in pauses {
            crowd.wave(clients);
            crowd.now += pause * MILLI;
        }
        // And calls that were under way when the window ended.
        let under_way = clients as u64 * 270;
        for spent in &crowd.spent {
            prop_assert!(*spent <= 27_000 + 2 * 1_000 + under_way, "{:?}", crowd.spent);
        }
    }
}
