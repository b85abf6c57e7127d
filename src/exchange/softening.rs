//! Softer than a refusal: a cheaper model, less output.
//!
//! In: a draft, how full the caller's budgets are. Out: [`Softened`]: what the call asks for now, and the edits of its request that have it ask
//! for that. Not here: how an API names its model and its bounds (`api`).
//!
//! What the client is told: `x-tollgate-softened: model="gpt-4o-mini", max_output_tokens=1024, hidden_tools=1`, a dictionary of structured fields
//! (RFC 9651).

use std::borrow::Cow;
use std::rc::Rc;

use super::deciding::Draft;
use super::request::Reading;
use super::{Editable, Effects, Fact, HeaderEdit, Means};
use crate::api::{Body, Edit, Format, Request};
use crate::limits::{self, Estimate};
use crate::metrics::{self, Labels};

/// The fewest tokens that a call is bounded to: less is no answer, and OpenAI's Responses API takes no lower bound.
const LEAST_OUTPUT: u64 = 16;

/// What has been changed of a call.
#[derive(Debug, Default)]
pub(super) struct Softened {
    /// The model that is asked for in the end.
    pub(super) model: String,
    pub(super) edits: Vec<Edit>,
    /// The path, if it names another model now.
    path: Option<Vec<u8>>,
    /// The name of the model that replaces another.
    replaced: bool,
    /// The bound on the output of each choice, and the edits that set it.
    bound: Option<(u64, Vec<Edit>)>,
    clamped: bool,
    pub(super) hidden_tools: u64,
    /// What would have been changed if the request could be, in the words of the metric.
    pub(super) skipped: Vec<&'static str>,
}

impl Softened {
    /// A call for this model, of which nothing has been changed.
    pub(super) fn new(model: String) -> Self {
        Self { model, ..Self::default() }
    }

    /// The bound on the output of the whole call.
    pub(super) fn max_output(&self, request: &Request<'_>) -> Option<u64> {
        let bound = self.bound.as_ref().map(|(each, _)| each.saturating_mul(choices(request)));
        bound.into_iter().chain(request.max_output).min()
    }

    /// Whether the model that is asked in the end tells its usage when asked to; some refuse the question.
    pub(super) fn may_be_asked_for_usage(&self, draft: &Draft<'_>, format: &Format) -> bool {
        let Some(body) = draft.body.filter(|_| self.replaced) else { return true };
        let renamed = Edit::apply_all(&self.edits, body);
        (format.read)(&renamed).is_ok_and(|request| request.ask_for_usage.is_some())
    }

    /// What the client is told of it.
    pub(super) fn header(&self) -> Option<HeaderEdit> {
        Some(HeaderEdit::set("x-tollgate-softened", self.told()?))
    }

    fn told(&self) -> Option<String> {
        // A structured field's string has no other letters; names of models have no others either.
        let plain = |letter: &char| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\');
        let model = self
            .replaced
            .then(|| format!("model=\"{}\"", self.model.chars().filter(plain).collect::<String>()));
        let bound = self.bound.as_ref().map(|(each, _)| format!("max_output_tokens={each}"));
        let hidden = (self.hidden_tools > 0).then(|| format!("hidden_tools={}", self.hidden_tools));
        let told: Vec<_> = [model, bound, hidden].into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// Has the request changed, and tells operators.
    pub(super) fn carry_out(self, tier: &Rc<str>, label: &Rc<str>, effects: &mut Effects) {
        for kind in &self.skipped {
            effects.count(&metrics::EDITS_SKIPPED, &Labels { kind, ..Labels::default() }, 1);
        }
        let Some(told) = self.told() else { return };
        effects.facts.push((Fact::Softened, told));
        let kinds = [
            ("model", self.replaced),
            ("max_output_tokens", self.bound.is_some() && !self.clamped),
            ("clamp_output", self.clamped),
            ("hide_tool", self.hidden_tools > 0),
        ];
        for (kind, done) in kinds {
            let labels =
                Labels { tier: Some(tier.clone()), model: Some(label.clone()), kind, ..Labels::default() };
            effects.count(&metrics::SOFTENED, &labels, u64::from(done));
        }
        effects.body.extend(self.edits);
        effects.body.extend(self.bound.into_iter().flat_map(|(_, edits)| edits));
        effects.headers.extend(self.path.map(|path| HeaderEdit::Set(Cow::Borrowed(":path"), path)));
    }
}

impl Reading {
    /// Does what the tier says of calls whose budgets are so full.
    pub(super) fn soften(&self, draft: &Draft<'_>, softened: &mut Softened, means: &Means<'_>) {
        let steps = &self.tier.graded.soften;
        if steps.is_empty() || self.call.format.body != Body::Held {
            return;
        }
        let subject = self.subject(&softened.model);
        let fullness = limits::fullness(&self.tier.limits, &subject, means.ledger);
        let Some(step) = steps.iter().rfind(|step| step.at.ppm <= fullness) else { return };
        let cheaper = step.cheaper(&softened.model);
        let bound = step.max_output.filter(|_| self.call.may_bound_output);
        let Some(body) = draft.editable_body() else {
            softened.skipped.extend((cheaper.is_some() || bound.is_some()).then_some("soften"));
            return;
        };
        if let Some(cheaper) = cheaper {
            self.replace_model(cheaper, draft.editable, body, softened);
        }
        if let Some(bound) = bound {
            self.bound_output(bound, body, softened);
        }
    }

    fn replace_model(&self, cheaper: &String, editable: Editable, body: &[u8], softened: &mut Softened) {
        let edit = (self.call.format.with_model)(body, cheaper);
        let path = self.call.path_with_model(cheaper).filter(|_| editable == Editable::All);
        // The path counts for more than the body. A path that names a model and cannot be changed leaves the call as it is.
        let is_replaced = if self.call.model.is_some() { path.is_some() } else { edit.is_some() };
        if is_replaced {
            softened.edits.extend(edit);
            softened.path = path;
            softened.replaced = true;
            softened.model.clone_from(cheaper);
        } else if editable == Editable::Body {
            softened.skipped.push("soften");
        }
    }

    /// Bounds the output of each choice, in place of any bound before; whether it had none as low.
    fn bound_output(&self, each: u64, body: &[u8], softened: &mut Softened) -> bool {
        let model = Some(softened.model.as_str()).filter(|model| !model.is_empty());
        match (self.call.format.with_max_output)(body, model, each) {
            Ok(edits) if !edits.is_empty() => {
                softened.bound = Some((each, edits));
                true
            }
            _ => false,
        }
    }

    /// Bounds the output to what there is room for, if the call does not fit as it is.
    pub(super) fn clamp(
        &self,
        draft: &Draft<'_>,
        softened: &mut Softened,
        estimate: &mut Estimate,
        means: &Means<'_>,
    ) {
        let may = self.tier.graded.clamp_output && self.call.may_bound_output && !estimate.output_is_known;
        if !may || self.call.format.body != Body::Held {
            return;
        }
        let subject = self.subject(&softened.model);
        let workflow = self.granted.workflow.as_ref();
        let room = limits::room_for_output(&self.tier.limits, &subject, estimate, workflow, means.ledger);
        let each = room.and_then(|room| room.checked_div(choices(draft.request)));
        let Some(each) = each.filter(|each| *each >= LEAST_OUTPUT) else { return };
        let Some(body) = draft.editable_body() else {
            softened.skipped.push("clamp_output");
            return;
        };
        if self.bound_output(each, body, softened) {
            softened.clamped = true;
            estimate.max_output = softened.max_output(draft.request);
        }
    }
}

fn choices(request: &Request<'_>) -> u64 {
    request.choices.unwrap_or(1).max(1)
}
