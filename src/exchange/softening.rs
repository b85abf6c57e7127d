//! Softening: milder answers than a refusal, by a cheaper model or less output.
//!
//! In: a parsed call, the fill level of the caller's budgets. Out: [`Softened`]: the final model
//! and output, and the edits of the request. Not here: how an API names its model and its bounds
//! (`api`).
//!
//! The client learns it from
//! `x-tollgate-softened: model="gpt-4o-mini", max_output_tokens=1024, hidden_tools=1`, a dictionary
//! of structured fields (RFC 9651).

use std::rc::Rc;

use super::call::{Call, kind};
use super::context::{Context, Editable};
use super::effects::{Effects, HeaderEdit};
use super::fact::{Fact, Value};
use super::parsed::ParsedCall;
use super::tools::HiddenTools;
use crate::api::{Body, Edit, Outline, Request};
use crate::limits::{self, Estimate};
use crate::metrics::{self, Labels};
use crate::tiers::Tier;

/// The smallest bound on output in tokens. A smaller one leaves no answer, and OpenAI's Responses
/// API accepts no smaller one.
const LEAST_OUTPUT: u64 = 16;

/// A softened call: its final model and output, and the edits of its request.
#[derive(Debug, Default)]
pub(super) struct Softened {
    /// The requested model, after softening.
    pub(super) model: String,
    edits: Vec<Edit>,
    /// The new path, if it names another model.
    path: Option<Vec<u8>>,
    /// Whether the model replaces another.
    is_replaced: bool,
    /// The bound on the output of each choice, and the edits that set it.
    bound: Option<(u64, Vec<Edit>)>,
    is_clamped: bool,
    hidden_tools: u64,
    /// Changes that were not possible, in the words of the metric.
    skipped: Vec<&'static str>,
}

impl Softened {
    /// Softens a call as its tier prescribes for the fill level of its budgets.
    pub(super) fn of(
        call: &Call,
        parsed: &ParsedCall<'_>,
        model: String,
        hidden: HiddenTools,
        context: &Context<'_>,
    ) -> Self {
        let mut softened = Self { model, edits: hidden.edits, hidden_tools: hidden.count, ..Self::default() };
        let steps = &call.tier.degradation.soften;
        if steps.is_empty() || call.format().body != Body::Held {
            return softened;
        }
        let subject = call.subject(&softened.model);
        let fullness = limits::fullness(&call.tier.limits, &subject, context.budgets);
        let Some(step) = steps.iter().rfind(|step| step.at.ppm <= fullness) else { return softened };
        let cheaper = step.cheaper(&softened.model);
        let bound = step.max_output.filter(|_| call.api.may_bound_output);
        let Some(outline) = parsed.editable_outline() else {
            softened.skipped.extend((cheaper.is_some() || bound.is_some()).then_some("soften"));
            return softened;
        };
        if let Some(cheaper) = cheaper {
            softened.replace_model(call, cheaper, parsed.editable, outline);
        }
        if let Some(bound) = bound {
            softened.bound_output(call, bound, outline);
        }
        softened
    }

    /// Bounds the output to the room left, if the call does not fit as it is.
    pub(super) fn clamp(
        &mut self,
        call: &Call,
        parsed: &ParsedCall<'_>,
        estimate: &mut Estimate,
        context: &Context<'_>,
    ) {
        let may =
            call.tier.degradation.clamp_output && call.api.may_bound_output && !estimate.output_is_known;
        if !may || call.format().body != Body::Held {
            return;
        }
        let (limits, subject) = (&call.tier.limits, call.subject(&self.model));
        let workflow = call.workflow.as_ref();
        let room = limits::room_for_output(limits, &subject, estimate, workflow, context.budgets);
        let each = room.and_then(|room| room.checked_div(choices(&parsed.request)));
        let Some(each) = each.filter(|each| *each >= LEAST_OUTPUT) else { return };
        let Some(outline) = parsed.editable_outline() else {
            self.skipped.push("clamp_output");
            return;
        };
        if self.bound_output(call, each, outline) {
            self.is_clamped = true;
            estimate.max_output = self.max_output(&parsed.request);
        }
    }

    /// Returns the edit that makes the answer report its usage, if the client has not asked for it
    /// and the request can be changed.
    pub(super) fn ask_for_usage(&mut self, call: &Call, parsed: &ParsedCall<'_>) -> Option<Edit> {
        let outline = parsed.outline.as_ref().filter(|_| call.api.may_ask_for_usage)?;
        let edit = (call.format().ask_for_usage)(outline, &self.model)?;
        if !parsed.is_editable() {
            self.skipped.push("usage");
            return None;
        }
        Some(edit)
    }

    /// Returns the bound on the output of the whole call.
    pub(super) fn max_output(&self, request: &Request<'_>) -> Option<u64> {
        let bound = self.bound.as_ref().map(|(each, _)| each.saturating_mul(choices(request)));
        bound.into_iter().chain(request.max_output).min()
    }

    /// Returns the header for the client.
    pub(super) fn header(&self) -> Option<HeaderEdit> {
        Some(HeaderEdit::set("x-tollgate-softened", self.summary()?))
    }

    fn summary(&self) -> Option<String> {
        if !self.is_replaced && self.bound.is_none() && self.hidden_tools == 0 {
            return None;
        }
        // A structured field's string allows no other characters; names of models have no others
        // either.
        let plain = |letter: &char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
        let model = self
            .is_replaced
            .then(|| format!("model=\"{}\"", self.model.chars().filter(plain).collect::<String>()));
        let bound = self.bound.as_ref().map(|(each, _)| format!("max_output_tokens={each}"));
        let hidden = (self.hidden_tools > 0).then(|| format!("hidden_tools={}", self.hidden_tools));
        let all: Vec<_> = [model, bound, hidden].into_iter().flatten().collect();
        Some(all.join(", "))
    }

    /// Applies the edits and records metrics.
    pub(super) fn apply(self, tier: &Tier, label: &Rc<str>, effects: &mut Effects) {
        for skipped in &self.skipped {
            effects.count(&metrics::EDITS_SKIPPED, &kind(skipped), 1);
        }
        let Some(summary) = self.summary() else { return };
        effects.facts.push((Fact::Softened, Value::Text(summary)));
        let kinds = [
            ("model", self.is_replaced),
            ("max_output_tokens", self.bound.is_some() && !self.is_clamped),
            ("clamp_output", self.is_clamped),
            ("hide_tool", self.hidden_tools > 0),
        ];
        for (what, done) in kinds {
            let (tier, model) = (Some(tier.name.clone()), Some(label.clone()));
            let labels = Labels { tier, model, kind: what, ..Labels::default() };
            effects.count(&metrics::SOFTENED, &labels, u64::from(done));
        }
        effects.body.extend(self.edits);
        effects.body.extend(self.bound.into_iter().flat_map(|(_, edits)| edits));
        effects.headers.extend(self.path.map(|path| HeaderEdit::Set(":path".into(), path.into())));
    }

    fn replace_model(&mut self, call: &Call, cheaper: &String, editable: Editable, outline: &Outline<'_>) {
        let edit = (call.format().with_model)(outline, cheaper);
        let path = call.api.path_with_model(cheaper).filter(|_| editable == Editable::All);
        // The path takes precedence over the body. A path that names a model and cannot be changed
        // leaves the call as it is.
        let is_replaced = if call.api.model.is_some() { path.is_some() } else { edit.is_some() };
        if is_replaced {
            self.edits.extend(edit);
            self.path = path;
            self.is_replaced = true;
            self.model.clone_from(cheaper);
        } else if editable == Editable::Body {
            self.skipped.push("soften");
        }
    }

    /// Bounds the output of each choice, and replaces any earlier bound. Returns whether that
    /// lowered the bound.
    fn bound_output(&mut self, call: &Call, each: u64, outline: &Outline<'_>) -> bool {
        let model = Some(self.model.as_str()).filter(|model| !model.is_empty());
        match (call.format().with_max_output)(outline, model, each) {
            Ok(edits) if !edits.is_empty() => {
                self.bound = Some((each, edits));
                true
            }
            _ => false,
        }
    }
}

fn choices(request: &Request<'_>) -> u64 {
    request.choices.unwrap_or(1).max(1)
}
