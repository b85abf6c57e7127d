//! Reports to operators about limits that admitted a call.
//!
//! In: standings of budgets, refusals of shadow limits. Out: metrics, log lines, access log facts.
//! Not here: headers for the caller (`response`).

use std::rc::Rc;

use serde_json::json;

use super::call::Call;
use super::effects::Effects;
use super::fact::Fact;
use crate::limits::{Refusal, Standing};
use crate::metrics;

/// Counts refusals of shadow limits, and budgets beyond their warning.
pub(super) fn report(
    call: &Call,
    label: &Rc<str>,
    shadowed: &[Refusal],
    standings: &[Standing],
    effects: &mut Effects,
) {
    for refusal in shadowed {
        effects.count(&metrics::SHADOW_REFUSALS, &call.labels_of(&refusal.standing.limit, label), 1);
    }
    for standing in standings.iter().filter(|standing| standing.is_past_warning()) {
        effects.count(&metrics::WARNINGS, &call.labels_of(&standing.limit, label), 1);
        effects.add_to_fact(Fact::Warning, &standing.limit.name);
    }
}

/// Writes a line for each budget that has crossed its warning.
pub(super) fn log_crossings(call: &Call, model: &str, crossed: &[Standing], effects: &mut Effects) {
    effects.log.extend(crossed.iter().map(|standing| {
        let (available, used_percent) = (standing.available.0, standing.used_percent());
        let more = json!({ "available": available, "used_percent": used_percent });
        call.log_line("warning", &standing.limit, model, more)
    }));
}
