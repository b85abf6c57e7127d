//! The end of a call: its reservation becomes what was used, exactly once.
//!
//! In: how the call ended and what its response told. Out: settled budgets, metrics, facts. Not here: the arithmetic of
//! budgets (`limits`).

use core::mem;
use std::borrow::Cow;

use super::response::{Outcome, Sent};
use super::{Abort, Effects, Fact, Means};
use crate::api::answer::{Found, ToolsCalled};
use crate::api::{CLASSES, Side, Usage};
use crate::limits::{Estimate, Used};
use crate::metrics::{self, Labels};
use crate::reply::usd;
use crate::settings::{Config, Counting, OnAbort};

const PPM_PER_PERCENT: u64 = 10_000;

/// What a call is charged.
enum Charge {
    /// Its request and no more.
    Request,
    /// What the upstream says the whole call used.
    Told(Usage),
    /// What is known of a call that did not say, or was cut short.
    Counted(Usage),
    /// Everything that was reserved for it.
    Reserved,
}

/// What metrics call the ending of a call that was cut short.
pub(super) fn how_cut_short(abort: Option<Abort>) -> &'static str {
    if abort == Some(Abort::Client) { "client_abort" } else { "upstream_reset" }
}

impl Sent {
    /// Replaces the reservation by what was used.
    pub(super) fn settle(
        mut self: Box<Self>,
        abort: Option<Abort>,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) {
        self.learn_label(means);
        if let Outcome::Answered { reader, .. } = &mut self.outcome {
            reader.cut();
        }
        let (kind, charge) = match &self.outcome {
            Outcome::Failed => ("error", Charge::Request),
            Outcome::Answered { complete: true, .. } => ("ok", self.answered(config, means, effects)),
            Outcome::Answered { .. } | Outcome::Unanswered => {
                (how_cut_short(abort), self.cut_short(config, means))
            }
        };
        self.charge(kind, &charge, config, means, effects);
    }

    /// Replaces the reservation of a stream that is stopped by what was streamed.
    pub(super) fn settle_stopped(
        mut self: Box<Self>,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) {
        self.learn_label(means);
        if let Outcome::Answered { reader, .. } = &mut self.outcome {
            reader.cut();
        }
        let streamed = self.found().map(|found| self.counted(found, config, means));
        let charge = streamed.map_or(Charge::Reserved, Charge::Counted);
        self.charge("stopped", &charge, config, means, effects);
    }

    /// A model that has answered has a label of its own.
    fn learn_label(&mut self, means: &mut Means<'_>) {
        if matches!(self.outcome, Outcome::Answered { .. }) {
            self.label = means.models.learn(&self.model, means.ledger);
        }
    }

    fn charge(
        mut self: Box<Self>,
        kind: &'static str,
        charge: &Charge,
        config: &Config,
        means: &mut Means<'_>,
        effects: &mut Effects,
    ) {
        effects.count(&metrics::CALLS, &self.labels(kind), 1);
        if let Charge::Told(usage) = charge {
            self.compare(usage, effects);
            self.calibrate(usage, config, means, effects);
            if !self.estimate.output_is_known {
                let (reserve, output) = (&config.counting.output_reserve, usage.all_output());
                let bound = self.estimate.max_output;
                reserve.observe(&self.model, &self.tier.name, bound, output, means.ledger);
            }
        }
        let usage = match charge {
            Charge::Request => Usage::default(),
            Charge::Told(usage) | Charge::Counted(usage) => *usage,
            Charge::Reserved => self.estimate.usage(),
        };
        self.report(&usage, config, effects);
        let (reservation, holding) = (mem::take(&mut self.reservation), mem::take(&mut self.holding));
        let (rates, none) = (&self.estimate.rates, ToolsCalled::default());
        let tools = self.tools().unwrap_or(&none);
        effects.count(&metrics::TOOL_CALLS, &self.labels(""), tools.total());
        let keeps = matches!(charge, Charge::Reserved);
        if keeps {
            reservation.keep(means.ledger);
        } else {
            reservation.settle(&Used { usage: &usage, rates, tools }, means.ledger);
        }
        let Some(service) = &config.global else { return };
        if keeps {
            holding.keep(service, means.ledger, &mut effects.errands);
        } else {
            holding.settle(&usage, rates, service, means.ledger, &mut effects.errands);
        }
    }

    /// The tools that were called, by the request itself or by the model in its answer.
    fn tools(&self) -> Option<&ToolsCalled> {
        match (&self.called, &self.outcome) {
            (_, Outcome::Failed) => None,
            (Some(called), _) => Some(called),
            (None, _) => self.found().map(|found| &found.tools),
        }
    }

    /// A whole answer: by its usage, or else by what follows from the request, or else by its text.
    fn answered(&self, config: &Config, means: &mut Means<'_>, effects: &mut Effects) -> Charge {
        let Some(found) = self.found() else { return Charge::Reserved };
        if found.told.tells(Side::Output) || self.estimate.output_is_known {
            let usage = found.told.or(self.estimate.known);
            return if found.told.is_nothing() { Charge::Counted(usage) } else { Charge::Told(usage) };
        }
        let (kind, charge) = if found.pending {
            ("pending", Charge::Reserved)
        } else if !found.readable {
            ("encoded", Charge::Reserved)
        } else if found.is_unrecognised() {
            ("unrecognised", self.at_least_reserved(found, config, means))
        } else {
            let kind = if found.unreadable { "unreadable" } else { "absent" };
            (kind, Charge::Counted(self.counted(found, config, means)))
        };
        effects.count(&metrics::USAGE_MISSING, &self.labels(kind), 1);
        charge
    }

    /// An answer that was cut short, or never came: by the operator's choice.
    fn cut_short(&self, config: &Config, means: &mut Means<'_>) -> Charge {
        match (config.counting.on_abort, self.found()) {
            (OnAbort::Free, _) => Charge::Request,
            (OnAbort::ChargeReserved, _) | (OnAbort::ChargeStreamed, Some(Found { readable: false, .. })) => {
                Charge::Reserved
            }
            // A stream that was cut may not have begun to say anything.
            (OnAbort::ChargeStreamed, Some(found))
                if found.is_unrecognised() && (found.unread > 0 || !found.is_stream) =>
            {
                self.at_least_reserved(found, config, means)
            }
            (OnAbort::ChargeStreamed, Some(found)) => Charge::Counted(self.counted(found, config, means)),
            (OnAbort::ChargeStreamed, None) => Charge::Counted(self.estimate.known),
        }
    }

    /// An answer of which a part is not known to be text: its text, but no less than was reserved.
    fn at_least_reserved(&self, found: &Found, config: &Config, means: &mut Means<'_>) -> Charge {
        let counted = self.counted(found, config, means);
        let is_more = counted.all_output() > self.estimate.usage().all_output();
        if is_more { Charge::Counted(counted) } else { Charge::Reserved }
    }

    fn found(&self) -> Option<&Found> {
        match &self.outcome {
            Outcome::Answered { reader, .. } => Some(reader.found()),
            Outcome::Unanswered | Outcome::Failed => None,
        }
    }

    /// The input as it was told or else as counted before the call, the output by the text that has
    /// come, or more if more was told. Only text counts, never the JSON around it.
    pub(super) fn counted(&self, found: &Found, config: &Config, means: &mut Means<'_>) -> Usage {
        if self.estimate.output_is_known {
            return found.told.or(self.estimate.known);
        }
        let Counting { exactness, calibration, .. } = &config.counting;
        let strays: String = found.strays().map(|strays| strays.text.as_str()).collect();
        let more = found.strays().map(|strays| strays.more).fold(found.more_text, u64::saturating_add);
        let text = if strays.is_empty() {
            Cow::Borrowed(&found.text)
        } else {
            Cow::Owned(found.text.clone() + &strays)
        };
        let written = means.counter.written(&text, more, &self.model, exactness);
        let factor = calibration.factor(&self.model, means.ledger);
        with_written(&self.estimate, found, factor.of(written.0))
    }

    /// Reports by how much the count before the call was off.
    fn compare(&self, usage: &Usage, effects: &mut Effects) {
        let (counted, used) = (self.estimate.known.all_input(), usage.all_input());
        let kind = if counted > used { "over" } else { "under" };
        effects.count(&metrics::ESTIMATE_ERROR, &self.labels(kind), counted.abs_diff(used));
    }

    /// Learns by how much the text of the input was miscounted, if the answer tells its input.
    fn calibrate(&self, usage: &Usage, config: &Config, means: &Means<'_>, effects: &mut Effects) {
        let Some(counted) = &self.uncorrected else { return };
        if !self.found().is_some_and(|found| found.told.tells(Side::Input)) {
            return;
        }
        let Counting { exactness, calibration, .. } = &config.counting;
        let learned = calibration.observe(&self.model, counted, usage.all_input(), means.ledger);
        // Models without a label of their own would overwrite each other's.
        if let Some(factor) = learned.filter(|_| *self.label == *self.model) {
            let scale = factor.of(exactness.scale(&self.model).ppm);
            effects.count(&metrics::INPUT_SCALE, &self.labels(""), scale.div_ceil(PPM_PER_PERCENT));
        }
    }

    fn report(&self, usage: &Usage, config: &Config, effects: &mut Effects) {
        for ((kind, side), tokens) in CLASSES.zip(*usage).into_values() {
            if side != Side::Other && tokens > 0 {
                effects.count(&metrics::TOKENS, &self.labels(kind), tokens);
            }
        }
        effects.count(&metrics::CHARACTERS, &self.labels(""), usage.characters);
        effects.facts.push((Fact::UsedInput, usage.all_input().to_string()));
        effects.facts.push((Fact::UsedOutput, usage.all_output().to_string()));
        if config.has_prices() {
            let cost = self.estimate.rates.cost(usage);
            effects.count(&metrics::COST, &self.labels(""), cost.0);
            effects.facts.push((Fact::Cost, usd(cost.0)));
        }
    }

    pub(super) fn labels(&self, kind: &'static str) -> Labels {
        Labels { tier: Some(self.tier.name.clone()), limit: None, model: Some(self.label.clone()), kind }
    }
}

/// The input as it was told or else as counted before the call, and an output of so many tokens, or more if more was told.
pub(super) fn with_written(estimate: &Estimate, found: &Found, written: u64) -> Usage {
    let told = found.told.or(estimate.known);
    Usage { output: told.output.saturating_add(written.saturating_sub(told.all_output())), ..told }
}
