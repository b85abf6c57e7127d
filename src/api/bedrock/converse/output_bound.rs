//! Lower bounds on the output of a request in Converse's form or Nova's own.
//!
//! In: a body. Out: edits of `inferenceConfig.maxTokens`. Not here: choosing the bound.
//!
//! Source: Amazon Bedrock API reference, "Converse" and "InferenceConfiguration"; its user guide,
//! "Extended thinking" of Claude, whose budget must be less than `maxTokens`; Amazon Nova's,
//! "Extended thinking": with `maxReasoningEffort` at `high`, the API refuses a request with a
//! bound. Both are among `additionalModelRequestFields`; in Nova's own form they are beside the
//! messages or in `inferenceConfig`.

use crate::api::Bounded;
use crate::api::bound::{Bound, allowed, thinking};
use crate::api::outline::Outline;
use crate::api::raw::{entries, string};

const CONFIG: &str = "inferenceConfig";
const FURTHER: &str = "additionalModelRequestFields";
const REASONING: &str = "reasoningConfig";
const BOUND: Bound = Bound::named(&["maxTokens", "max_new_tokens"]);

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(in crate::api::bedrock) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&[CONFIG, FURTHER, REASONING])?;
    let edits = BOUND.lowered_in(&object, CONFIG, "maxTokens", each)?;
    let beside = object.raw(REASONING).and_then(effort);
    let deeper = [CONFIG, FURTHER].into_iter().filter_map(|name| object.raw(name).and_then(reasoning)).max();
    allowed(edits, each, 1, beside.max(deeper))
}

/// Returns the largest thinking budget in these fields.
fn reasoning(fields: &str) -> Option<u64> {
    let asked = entries(fields)?.into_iter().filter_map(|(name, raw)| match &*name {
        "thinking" | "reasoning_config" => thinking(Some(raw), "budget_tokens"),
        REASONING => effort(raw),
        // Nova's own parameters can be nested here again.
        CONFIG => entries(raw)?
            .into_iter()
            .filter_map(|(name, raw)| (name == REASONING).then(|| effort(raw))?)
            .max(),
        _ => None,
    });
    asked.max()
}

/// Returns the thinking budget of Nova's effort: unlimited if the effort is high.
fn effort(raw: &str) -> Option<u64> {
    let is_high =
        |(name, raw): (_, &str)| name == "maxReasoningEffort" && string(raw).is_some_and(|it| it == "high");
    entries(raw)?.into_iter().any(is_high).then_some(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Unbounded;
    use crate::api::bound::edited;
    use crate::api::outline::outline;

    #[test]
    fn the_bound_is_lowered_or_set() {
        for (body, expected) in [
            (
                r#"{"inferenceConfig":{"topP":1,"maxTokens":500}}"#,
                r#"{"inferenceConfig":{"topP":1,"maxTokens":9}}"#,
            ),
            (r#"{"inferenceConfig":{"max_new_tokens":500}}"#, r#"{"inferenceConfig":{"max_new_tokens":9}}"#),
            (r#"{"inferenceConfig":{"maxTokens":null}}"#, r#"{"inferenceConfig":{"maxTokens":9}}"#),
            (r#"{"messages":[]}"#, r#"{"inferenceConfig":{"maxTokens":9},"messages":[]}"#),
            (r"{}", r#"{"inferenceConfig":{"maxTokens":9}}"#),
        ] {
            assert_eq!(edited(with_max_output, body, None, 9).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn thinking_that_would_not_fit_stays_as_it_is() {
        let claude = |each| {
            let body = r#"{"inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":
                {"thinking":{"type":"enabled","budget_tokens":2000}}}"#;
            with_max_output(&outline(body), None, each)
        };
        assert_eq!(claude(2000), Err(Unbounded::Thinking));
        assert!(claude(2001).is_ok());
        let effort = |effort: &str| format!(r#"{{"type":"enabled","maxReasoningEffort":"{effort}"}}"#);
        for fields in [
            r#""additionalModelRequestFields":{"reasoningConfig":REASONING}"#,
            r#""additionalModelRequestFields":{"inferenceConfig":{"reasoningConfig":REASONING}}"#,
            r#""reasoningConfig":REASONING"#,
            r#""inferenceConfig":{"reasoningConfig":REASONING}"#,
        ] {
            let body = |of: &str| format!("{{{}}}", fields.replace("REASONING", &effort(of)));
            assert_eq!(
                with_max_output(&outline(&body("high")), None, 9000),
                Err(Unbounded::Thinking),
                "{fields}"
            );
            assert!(with_max_output(&outline(&body("low")), None, 9000).is_ok(), "{fields}");
        }
    }
}
