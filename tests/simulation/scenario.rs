//! The configurations that are simulated.
//!
//! Out: [`Scenario`]s. Not here: how they are run (`world`).

use serde_json::{Value, json};

use crate::ledger::Limit;

/// A configuration, and what can be said of its budgets.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) limits: &'static [Limit],
    pub(crate) table_size: u32,
    /// Whether the charges of all budgets are known at every step: nothing flows back in the time
    /// of a run, and nothing is evicted.
    pub(crate) is_exact: bool,
    /// How long calls may wait.
    pub(crate) max_wait: Option<&'static str>,
    /// The tokens that the calls of a workflow declare.
    pub(crate) declared: u64,
}

const fn limit(counts: &'static str, max: u64, algorithm: Option<&'static str>) -> Limit {
    // Nothing flows back in the time of a run: a token takes half an hour.
    Limit { counts, max, algorithm, window: "30d", once: false }
}

/// Several limits of each algorithm, and calls in flight.
pub(crate) const LIMITS: Scenario = Scenario {
    limits: &[
        limit("concurrent_requests", 2, None),
        limit("requests", 6, Some("fixed_window")),
        limit("tokens", 500, Some("token_bucket")),
        limit("input_tokens", 120, Some("sliding_window")),
    ],
    table_size: 1 << 16,
    is_exact: true,
    max_wait: None,
    declared: 0,
};

/// A table that made-up callers fill. One call takes a quarter of a budget, so that no newcomer may
/// evict it.
pub(crate) const SMALL_TABLE: Scenario = Scenario {
    limits: &[limit("requests", 4, Some("token_bucket")), limit("tokens", 500, Some("fixed_window"))],
    table_size: 64,
    is_exact: false,
    max_wait: None,
    declared: 0,
};

/// A budget that refills while calls wait for it.
pub(crate) const WAITING: Scenario = Scenario {
    limits: &[Limit {
        counts: "tokens",
        max: 120,
        algorithm: Some("token_bucket"),
        window: "1m",
        once: false,
    }],
    table_size: 1 << 16,
    is_exact: false,
    max_wait: Some("60s"),
    declared: 0,
};

/// Calls of workflows, which count once and draw from what they declare.
pub(crate) const WORKFLOWS: Scenario = Scenario {
    limits: &[
        Limit { once: true, ..limit("requests", 2, Some("fixed_window")) },
        limit("tokens", 500, Some("token_bucket")),
    ],
    table_size: 1 << 16,
    is_exact: true,
    max_wait: None,
    declared: 150,
};

impl Scenario {
    /// Returns the configuration with all amounts times `factor`.
    pub(crate) fn configuration(&self, factor: u64) -> String {
        let limits = self.limits.iter().map(|limit| {
            let mut option = json!({
                "name": limit.counts, "count": limit.counts, "per": "tenant", "max": limit.max * factor,
            });
            if let Some(algorithm) = limit.algorithm {
                option["algorithm"] = algorithm.into();
                option["window"] = limit.window.into();
            }
            if limit.once {
                option["once_per"] = "workflow".into();
            }
            option
        });
        let mut tier = json!({ "limits": limits.collect::<Vec<_>>() });
        if let Some(max_wait) = self.max_wait {
            tier["wait"] = json!({ "max_wait": max_wait, "max_waiting": 100 });
        }
        let mut configuration = json!({
            "identity": { "tenant": { "header": "x-tenant-id" }, "workflow": { "header": "x-workflow" } },
            "table_size": self.table_size,
            // A call without an end is charged what was held, which the ledger knows.
            "counting": { "on_abort": "charge_reserved", "output_reserve": { "at_most": 1.0, "learn": false } },
            "tiers": { "free": tier },
        });
        if self.declared > 0 {
            configuration["workflows"] = json!({ "dimension": "workflow", "reserve_up_to": self.declared });
        }
        Value::to_string(&configuration)
    }

    /// Returns whether what flows back in the time of a run matters.
    pub(crate) const fn refills(&self) -> bool {
        self.max_wait.is_some()
    }
}
