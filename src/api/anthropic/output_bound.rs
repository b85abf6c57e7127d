//! Lower bounds on the output of a message.
//!
//! In: a body. Out: edits of `max_tokens`. Not here: choosing the bound.
//!
//! Source: Anthropic's API reference, "Create a Message", and its guide "Extended thinking":
//! `budget_tokens` must be less than `max_tokens`. A request with a larger budget, which thinking
//! between tool calls allows, stays unchanged too.

use crate::api::Bounded;
use crate::api::bound::{Bound, allowed, thinking};
use crate::api::outline::Outline;

const NAME: &str = "max_tokens";

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(in crate::api) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&[NAME, "thinking"])?;
    let edits = Bound::named(&[NAME]).lowered(&object, NAME, each);
    allowed(edits, each, 1, thinking(object.raw("thinking"), "budget_tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Unbounded;
    use crate::api::bound::edited;
    use crate::api::outline::outline;

    #[test]
    fn the_bound_is_lowered_and_nothing_else() {
        let body = r#"{ "max_tokens" :4096, "messages":[{"role":"user","content":"max_tokens\": 1"}]}"#;
        assert_eq!(
            edited(with_max_output, body, None, 1024).as_deref(),
            Ok(r#"{ "max_tokens" :1024, "messages":[{"role":"user","content":"max_tokens\": 1"}]}"#)
        );
        assert_eq!(edited(with_max_output, body, None, 4096).as_deref(), Ok(body));
    }

    #[test]
    fn thinking_that_would_not_fit_stays_as_it_is() {
        let body = |thinking: &str| format!(r#"{{"max_tokens":8192,"thinking":{thinking}}}"#);
        let bounded = |thinking: &str, each| with_max_output(&outline(&body(thinking)), None, each);
        let enabled = r#"{"type":"enabled","budget_tokens":2048}"#;
        assert_eq!(bounded(enabled, 2048), Err(Unbounded::Thinking));
        assert!(bounded(enabled, 2049).is_ok_and(|edits| edits.len() == 1));
        assert_eq!(bounded(enabled, 9000), Ok(vec![]));
        for other in [r#"{"type":"disabled"}"#, r#"{"type":"adaptive"}"#, "null", "7"] {
            assert!(bounded(other, 100).is_ok(), "{other}");
        }
    }
}
