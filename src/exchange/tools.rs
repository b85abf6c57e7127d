//! Tools whose budgets are exhausted: removed from a request that offers them, or a reason to
//! refuse it.
//!
//! In: a call and its body. Out: [`HiddenTools`], or a refusal. Not here: where requests offer
//! tools (`api`), calls of tools by MCP (`rpc`).

use super::call::Call;
use super::context::Context;
use super::effects::Effects;
use super::parsed::ParsedCall;
use crate::api::Edit;
use crate::limits::{self, Limit, OnExhausted, Refusal};
use crate::metrics;

/// Tools that a request offered and no longer offers.
#[derive(Debug, Default)]
pub(super) struct HiddenTools {
    pub(super) count: u64,
    pub(super) edits: Vec<Edit>,
}

/// Removes tools whose budgets are exhausted from a request.
///
/// # Errors
/// The [`Refusal`] of a limit with `on_exhausted: refuse`, or of a call that cannot be read or
/// changed, because the model must not call an exhausted tool.
pub(super) fn hide(
    call: &Call,
    parsed: &ParsedCall<'_>,
    model: &str,
    context: &Context<'_>,
    effects: &mut Effects,
) -> Result<HiddenTools, Refusal> {
    let Some(offered_by) = call.format().offered_tools.filter(|_| call.tier.limits_tools()) else {
        return Ok(HiddenTools::default());
    };
    let outline = parsed.outline.as_ref().filter(|_| parsed.is_utf8);
    let mut offered = outline.map(offered_by);
    // A response on a socket that offers no tools of its own has those of the conversation. They
    // cannot be removed from it.
    let response = call.on_socket.as_ref();
    let response = response.filter(|response| offered.as_ref().map_or(response.has_begun, Vec::is_empty));
    if let Some(response) = response {
        offered = Some(response.tools.iter().map(|name| name.as_str().into()).collect());
    }
    if offered.as_ref().is_some_and(Vec::is_empty) {
        return Ok(HiddenTools::default());
    }
    let exhausted = limits::spent_tools(&call.tier.limits, &call.subject(model), context.budgets);
    // A body that cannot be read, or is not UTF-8, may offer any tool, because an upstream that
    // decodes it otherwise would see them.
    let offers = |limit: &Limit| {
        offered.as_ref().is_none_or(|offered| offered.iter().any(|name| limit.counts_tool(name)))
    };
    let (watching, exhausted): (Vec<_>, Vec<_>) =
        exhausted.into_iter().filter(|(limit, _)| offers(limit)).partition(|(limit, _)| limit.shadow);
    for (limit, _) in watching {
        effects.count(&metrics::SHADOW_REFUSALS, &call.labels_of(&limit, &context.models.other()), 1);
    }
    let outline = outline.filter(|_| parsed.is_editable() && response.is_none());
    let refuses = |limit: &Limit| limit.on_exhausted == OnExhausted::Refuse || outline.is_none();
    let refusals = exhausted.iter().filter(|(limit, _)| refuses(limit)).map(|(_, refusal)| refusal.clone());
    if let Some(refusal) = limits::longest(refusals) {
        return Err(refusal);
    }
    let is_exhausted = |name: &str| exhausted.iter().any(|(limit, _)| limit.counts_tool(name));
    let count = offered.iter().flatten().filter(|name| is_exhausted(name)).count() as u64;
    let outline = outline.filter(|_| count > 0);
    let edits = outline.map(|outline| (call.format().without_tools)(outline, &is_exhausted));
    Ok(HiddenTools { count, edits: edits.unwrap_or_default() })
}
