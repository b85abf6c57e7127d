//! The settlement of a call: its charges are replaced by its usage, exactly once.
//!
//! In: the ending of the call and the findings in its response. Out: settled budgets, metrics,
//! facts. Not here: the arithmetic of budgets (`limits`).

use std::borrow::Cow;

use super::admitted::Admitted;
use super::context::{Abort, Context};
use super::effects::Effects;
use super::fact::{Fact, Value};
use super::response::{Outcome, Responding};
use crate::api::answer::{Found, ToolsCalled};
use crate::api::{CLASS_LIST, Side, Spoken, Usage};
use crate::limits::Estimate;
use crate::metrics;
use crate::settings::{Config, Counting, OnAbort};

const PPM_PER_PERCENT: u64 = 10_000;

/// The final charge of a call.
enum Bill {
    /// Only its request.
    Request,
    /// The usage that the upstream reports for the whole call.
    Reported(Usage),
    /// The usage as counted here, for a call without a report or cut short.
    Counted(Usage),
    /// Everything that was reserved for it.
    Reserved,
}

/// Replaces the charges of a call by its usage.
pub(super) fn settle(
    mut responding: Box<Responding>,
    abort: Option<Abort>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) {
    end_answer(&mut responding, context);
    let (kind, charge) = match &responding.outcome {
        Outcome::Failed => ("error", Bill::Request),
        Outcome::Answered { complete: true, .. } => ("ok", answered(&responding, config, context, effects)),
        Outcome::Answered { .. } | Outcome::Unanswered => {
            (Abort::ending(abort), cut_short(&responding, config, context))
        }
    };
    charge_for(responding, kind, &charge, config, context, effects);
}

/// Replaces the charges of a stopped stream by what was streamed.
pub(super) fn settle_stopped(
    mut responding: Box<Responding>,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) {
    end_answer(&mut responding, context);
    let streamed = responding.found().map(|found| counted(&responding.admitted, found, config, context));
    let charge = streamed.map_or(Bill::Reserved, Bill::Counted);
    charge_for(responding, "stopped", &charge, config, context, effects);
}

fn end_answer(responding: &mut Responding, context: &mut Context<'_>) {
    if let Outcome::Answered { reader, .. } = &mut responding.outcome {
        reader.cut();
        responding.admitted.learn_label(context);
    }
}

fn charge_for(
    responding: Box<Responding>,
    kind: &'static str,
    charge: &Bill,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) {
    let admitted = &responding.admitted;
    effects.count(&metrics::CALLS, &admitted.labels(kind), 1);
    if let Bill::Reported(usage) = charge {
        compare(admitted, usage, effects);
        calibrate(&responding, usage, config, context, effects);
        if !admitted.estimate.output_is_known && admitted.call.tier.has_limits() {
            let (reserve, tier) = (&config.counting.output_reserve, &admitted.call.tier.name);
            let (bound, output) = (admitted.estimate.max_output, usage.all_output());
            reserve.observe(&admitted.model, tier, bound, output, context.budgets);
        }
    }
    let usage = match charge {
        Bill::Request => Usage::default(),
        Bill::Reported(usage) | Bill::Counted(usage) => *usage,
        Bill::Reserved => admitted.estimate.usage(),
    };
    report(admitted, &usage, config, effects);
    let none = ToolsCalled::default();
    let tools = tools_called(&responding).unwrap_or(&none);
    effects.count(&metrics::TOOL_CALLS, &admitted.labels(""), tools.total());
    let tools = tools.clone();
    let Admitted { charges, estimate, .. } = *responding.admitted;
    match charge {
        Bill::Reserved => charges.keep(config, context, effects),
        _ => charges.settle(&usage, &estimate.rates, &tools, config, context, effects),
    }
}

/// Returns the tools that were called, by the request itself or by the model in its answer.
fn tools_called(responding: &Responding) -> Option<&ToolsCalled> {
    match (&responding.admitted.called, &responding.outcome) {
        (_, Outcome::Failed) => None,
        (Some(called), _) => Some(called),
        (None, _) => responding.found().map(|found| &found.tools),
    }
}

/// Charges a complete answer: by its usage, or by what follows from the request, or by its text, in
/// this order.
fn answered(
    responding: &Responding,
    config: &Config,
    context: &mut Context<'_>,
    effects: &mut Effects,
) -> Bill {
    let Some(found) = responding.found() else { return Bill::Reserved };
    let admitted = &responding.admitted;
    if found.told.tells(Side::Output) || admitted.estimate.output_is_known {
        let usage = told(admitted, found);
        return if found.told.is_nothing() { Bill::Counted(usage) } else { Bill::Reported(usage) };
    }
    let (kind, charge) = if found.pending {
        ("pending", Bill::Reserved)
    } else if !found.readable {
        ("encoded", Bill::Reserved)
    } else if found.is_unrecognised() {
        ("unrecognised", at_least_reserved(admitted, found, config, context))
    } else {
        let kind = if found.unreadable { "unreadable" } else { "absent" };
        (kind, Bill::Counted(counted(admitted, found, config, context)))
    };
    effects.count(&metrics::USAGE_MISSING, &admitted.labels(kind), 1);
    charge
}

/// Charges an answer that was cut short, or never came, as the operator chose.
fn cut_short(responding: &Responding, config: &Config, context: &mut Context<'_>) -> Bill {
    let admitted = &responding.admitted;
    match (config.counting.on_abort, responding.found()) {
        (OnAbort::Free, _) => Bill::Request,
        (OnAbort::ChargeReserved, _) | (OnAbort::ChargeStreamed, Some(Found { readable: false, .. })) => {
            Bill::Reserved
        }
        // A stream that was cut may not have had any text yet.
        (OnAbort::ChargeStreamed, Some(found))
            if found.is_unrecognised() && (found.unread > 0 || !found.is_stream) =>
        {
            at_least_reserved(admitted, found, config, context)
        }
        (OnAbort::ChargeStreamed, Some(found)) => Bill::Counted(counted(admitted, found, config, context)),
        (OnAbort::ChargeStreamed, None) => Bill::Counted(admitted.estimate.known),
    }
}

/// Charges an answer of which a part may not be text: by its text, but at least its reservation.
fn at_least_reserved(admitted: &Admitted, found: &Found, config: &Config, context: &mut Context<'_>) -> Bill {
    let counted = counted(admitted, found, config, context);
    let is_more = counted.all_output() > admitted.estimate.usage().all_output();
    if is_more { Bill::Counted(counted) } else { Bill::Reserved }
}

/// Returns the input as reported, or as counted before the call; and the output by its text so far,
/// or as reported if that is more. Only text counts, never the JSON around it.
pub(super) fn counted(
    admitted: &Admitted,
    found: &Found,
    config: &Config,
    context: &mut Context<'_>,
) -> Usage {
    if admitted.estimate.output_is_known {
        return told(admitted, found);
    }
    let (model, Counting { exactness, calibration, .. }) = (&admitted.model, &config.counting);
    let strays: String = found.strays().map(|strays| strays.text.as_str()).collect();
    let more = found.strays().map(|strays| strays.more).fold(found.more_text, u64::saturating_add);
    let text =
        if strays.is_empty() { Cow::Borrowed(&found.text) } else { Cow::Owned(found.text.clone() + &strays) };
    let written = context.counter.written(&text, more, model, exactness);
    let factor = calibration.factor(model, context.budgets);
    with_written(&admitted.estimate, found, factor.of(written.0))
}

/// Returns the usage as reported, and for what is not reported as counted before the call.
fn told(admitted: &Admitted, found: &Found) -> Usage {
    let usage = found.told.or(admitted.estimate.known);
    // A report has the sound that was spoken; the context has what was heard.
    let heard = if found.told.audio_ms.is_some() { admitted.call.context().audio_ms } else { 0 };
    Usage { audio_ms: usage.audio_ms.saturating_add(heard), ..usage }
}

/// Reports the error of the count before the call.
fn compare(admitted: &Admitted, usage: &Usage, effects: &mut Effects) {
    let (counted, used) = (admitted.estimate.known.all_input(), usage.all_input());
    let kind = if counted > used { "over" } else { "under" };
    effects.count(&metrics::ESTIMATE_ERROR, &admitted.labels(kind), counted.abs_diff(used));
}

/// Learns the error of the text count, if the answer reports its input.
fn calibrate(
    responding: &Responding,
    usage: &Usage,
    config: &Config,
    context: &Context<'_>,
    effects: &mut Effects,
) {
    let admitted = &responding.admitted;
    let Some(counted) = &admitted.uncorrected else { return };
    if !responding.found().is_some_and(|found| found.told.tells(Side::Input)) {
        return;
    }
    let (model, Counting { exactness, calibration, .. }) = (&admitted.model, &config.counting);
    let learned = calibration.observe(model, counted, usage.all_input(), context.budgets);
    // Models without a label of their own would overwrite each other's value.
    if let Some(factor) = learned.filter(|_| *admitted.label == **model) {
        let scale = factor.of(exactness.scale(model).ppm);
        effects.count(&metrics::INPUT_SCALE, &admitted.labels(""), scale.div_ceil(PPM_PER_PERCENT));
    }
}

fn report(admitted: &Admitted, usage: &Usage, config: &Config, effects: &mut Effects) {
    for ((kind, side), tokens) in CLASS_LIST.iter().zip(usage.values()) {
        if *side != Side::Other && tokens > 0 {
            effects.count(&metrics::TOKENS, &admitted.labels(kind), tokens);
        }
    }
    effects.count(&metrics::CHARACTERS, &admitted.labels(""), usage.characters);
    effects.count(&metrics::AUDIO, &admitted.labels(""), usage.audio_ms);
    effects.facts.push((Fact::UsedInput, Value::Number(usage.all_input())));
    effects.facts.push((Fact::UsedOutput, Value::Number(usage.all_output())));
    if config.has_prices() {
        let cost = admitted.estimate.rates.cost(usage);
        effects.count(&metrics::COST, &admitted.labels(""), cost.0);
        effects.facts.push((Fact::Cost, Value::Money(cost)));
    }
}

/// Returns the input as reported, or as counted before the call; and an output of `written` tokens,
/// or as reported if that is more.
pub(super) fn with_written(estimate: &Estimate, found: &Found, written: u64) -> Usage {
    let told = found.told.or(estimate.known);
    let spoken = if found.told.tells(Side::Output) { Spoken::default() } else { found.spoken };
    Usage {
        output: told.output.saturating_add(written.saturating_sub(told.all_output())),
        audio_output: told.audio_output.saturating_add(spoken.tokens),
        audio_ms: told.audio_ms.saturating_add(spoken.ms),
        ..told
    }
}
