//! The filter's core without a host: budgets in memory, constant time.
//!
//! In: a configuration, a [`Case`]. Out: the effects that the exchange asks of the host. Not here:
//! Envoy (`tests/e2e`).

use std::rc::Rc;

use serde_json::Value;
use tollgate::exchange::{Context, Effects, Event, Exchange, Next};
use tollgate::limits::Budgets;
use tollgate::metrics::ModelLabels;
use tollgate::settings::Config;
use tollgate::store::{KeyHasher, Lines, MemoryLines, Table};
use tollgate::tokens::Counter;
use tollgate::units::Timestamp;

use crate::cases::Case;

/// The filter's core without a host: budgets in memory, constant time.
pub(crate) struct Core {
    config: Rc<Config>,
    lines: MemoryLines,
    keys: KeyHasher,
    counter: Counter,
    models: ModelLabels,
}

impl Core {
    /// Returns a core with this configuration.
    pub(crate) fn new(config: &Value) -> Self {
        let config = Config::read(config.to_string().as_bytes(), b"random").expect("a configuration");
        Self {
            config: Rc::new(config),
            lines: MemoryLines::default(),
            keys: KeyHasher::new(&[5; 16]),
            counter: Counter::new([5; 16]),
            models: ModelLabels::default(),
        }
    }

    /// Starts an exchange.
    pub(crate) fn exchange(&self) -> Exchange {
        Exchange::new(self.config.clone())
    }

    /// Passes an event to an exchange.
    pub(crate) fn handle(&mut self, exchange: &mut Exchange, event: Event<'_>) -> Effects {
        let table = Table::new(&self.lines as &dyn Lines, self.config.sets());
        let budgets = Budgets::new(&table, &self.keys, Timestamp(1_700_000_000_000_000_000));
        let (counter, models) = (&mut self.counter, &mut self.models);
        exchange.handle(event, &mut Context { budgets: &budgets, counter, models, jitter: 0, breaker: None })
    }

    /// Sends a case's request to the upstream and returns all effects.
    pub(crate) fn send(&mut self, case: &Case) -> (Exchange, Vec<Effects>) {
        let mut exchange = self.exchange();
        let head = self
            .handle(&mut exchange, Event::RequestHead { head: &case.head, ended: case.request.is_empty() });
        let mut effects = vec![head];
        if effects[0].next == Next::ReadBody {
            let event =
                Event::RequestBody { body: &case.request, editable: tollgate::exchange::Editable::All };
            effects.push(self.handle(&mut exchange, event));
        }
        (exchange, effects)
    }

    /// Answers a case from the upstream and returns all effects.
    pub(crate) fn answer(&mut self, case: &Case, exchange: &mut Exchange) -> Vec<Effects> {
        let head = Event::ResponseHead { status: 200, head: &case.answer_head, ended: false };
        let head = self.handle(exchange, head);
        vec![head, self.handle(exchange, Event::ResponsePiece { bytes: &case.answer, last: true })]
    }
}
