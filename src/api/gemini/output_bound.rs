//! Edits that bound a model's output.
//!
//! In: a body. Out: edits of `generationConfig.maxOutputTokens`, in either spelling. Not here: the
//! value of the bound.
//!
//! Source: Google's "Gemini API reference", "Generating content", `GenerationConfig`; its guide
//! "Thinking": thoughts count towards `maxOutputTokens`, so a bound no higher than `thinkingBudget`
//! leaves no tokens for an answer; a budget of -1 leaves the number to the model.

use crate::api::bound::{Bound, allowed, thinking};
use crate::api::outline::{Members, Outline};
use crate::api::{Bounded, Unbounded};

const CONFIG: [&str; 2] = ["generationConfig", "generation_config"];
const MAX_OUTPUT: [&str; 2] = ["maxOutputTokens", "max_output_tokens"];
const THINKING: [&str; 2] = ["thinkingConfig", "thinking_config"];
const INNER: [&str; 4] = [MAX_OUTPUT[0], MAX_OUTPUT[1], THINKING[0], THINKING[1]];

/// Returns the edits that bound the output of each candidate.
///
/// # Errors
/// [`Unbounded`] if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&CONFIG)?;
    let config = spelled(&object, CONFIG)?;
    let Some(inner) = object.inside(config, &INNER)? else {
        let text = format!("{{\"{}\":{each}}}", MAX_OUTPUT[0]);
        return allowed(vec![object.set(config, &text)], each, 1, None);
    };
    let bound = Bound { names: &MAX_OUTPUT, zero_is_none: true };
    let edits = bound.lowered(&inner, spelled(&inner, MAX_OUTPUT)?, each);
    let thoughts = inner.raw(spelled(&inner, THINKING)?);
    let budgets = ["thinkingBudget", "thinking_budget"].map(|name| thinking(thoughts, name));
    allowed(edits, each, 1, budgets.into_iter().flatten().max())
}

/// Returns a member's spelling in the object, or the first one if the member is absent.
///
/// # Errors
/// [`Unbounded::Unknown`] if both are present.
fn spelled(object: &Members<'_>, [camel, snake]: [&'static str; 2]) -> Result<&'static str, Unbounded> {
    match (object.has(camel), object.has(snake)) {
        (true, true) => Err(Unbounded::Unknown),
        (false, true) => Ok(snake),
        _ => Ok(camel),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::bound::edited;
    use crate::api::outline::outline;

    #[test]
    fn the_bound_is_lowered_or_set_in_either_spelling() {
        for (body, expected) in [
            (
                r#"{"generationConfig":{"maxOutputTokens":500}}"#,
                r#"{"generationConfig":{"maxOutputTokens":9}}"#,
            ),
            (
                r#"{"generation_config":{"max_output_tokens":"500"}}"#,
                r#"{"generation_config":{"max_output_tokens":9}}"#,
            ),
            (
                r#"{"generation_config":{"topK":1}}"#,
                r#"{"generation_config":{"maxOutputTokens":9,"topK":1}}"#,
            ),
            (
                r#"{"generationConfig":{"max_output_tokens":0}}"#,
                r#"{"generationConfig":{"max_output_tokens":9}}"#,
            ),
            (r#"{"generationConfig":{}}"#, r#"{"generationConfig":{"maxOutputTokens":9}}"#),
            (r#"{"generation_config":null}"#, r#"{"generation_config":{"maxOutputTokens":9}}"#),
            (r#"{"contents":[]}"#, r#"{"generationConfig":{"maxOutputTokens":9},"contents":[]}"#),
            (
                r#"{"generationConfig":{"maxOutputTokens":9}}"#,
                r#"{"generationConfig":{"maxOutputTokens":9}}"#,
            ),
        ] {
            assert_eq!(edited(with_max_output, body, None, 9).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn thoughts_that_would_take_all_of_it_stay_as_they_are() {
        let bounded = |config: &str, each| {
            with_max_output(&outline(&format!(r#"{{"generationConfig":{{{config}}}}}"#)), None, each)
        };
        assert_eq!(bounded(r#""thinkingConfig":{"thinkingBudget":1024}"#, 1024), Err(Unbounded::Thinking));
        assert_eq!(bounded(r#""thinking_config":{"thinking_budget":1024}"#, 9), Err(Unbounded::Thinking));
        assert!(bounded(r#""thinkingConfig":{"thinkingBudget":1024}"#, 1025).is_ok());
        for left_to_the_model in ["-1", "0", "null"] {
            let config = format!(r#""thinkingConfig":{{"thinkingBudget":{left_to_the_model}}}"#);
            assert!(bounded(&config, 9).is_ok(), "{config}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_edited() {
        for body in [
            r#"{"generationConfig":{},"generation_config":{}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":2}}"#,
            r#"{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":2}}"#,
            r#"{"generationConfig":[]}"#,
        ] {
            assert_eq!(with_max_output(&outline(body), None, 9), Err(Unbounded::Unknown), "{body}");
        }
    }
}
