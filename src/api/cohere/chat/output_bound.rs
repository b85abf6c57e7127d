//! Edits that bound the output of a chat.
//!
//! In: a body. Out: edits of `max_tokens`. Not here: the value of the bound.
//!
//! Source: Cohere's API reference, "Chat API (v2)", `max_tokens` and `thinking.token_budget`:
//! thinking is part of the output, so a bound no higher than its budget leaves no tokens for an
//! answer.

use crate::api::Bounded;
use crate::api::bound::{Bound, allowed, thinking};
use crate::api::outline::Outline;

const NAME: &str = "max_tokens";

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&[NAME, "thinking"])?;
    let edits = Bound::named(&[NAME]).lowered(&object, NAME, each);
    allowed(edits, each, 1, thinking(object.raw("thinking"), "token_budget"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Unbounded;
    use crate::api::bound::edited;

    #[test]
    fn the_bound_is_lowered_or_set() {
        let edited = |body| edited(with_max_output, body, None, 64);
        assert_eq!(
            edited(r#"{"messages":[],"max_tokens":65.0}"#).as_deref(),
            Ok(r#"{"messages":[],"max_tokens":64}"#)
        );
        assert_eq!(edited(r#"{"messages":[]}"#).as_deref(), Ok(r#"{"max_tokens":64,"messages":[]}"#));
        let thinking = r#"{"messages":[],"thinking":{"type":"enabled","token_budget":64}}"#;
        assert_eq!(edited(thinking), Err(Unbounded::Thinking));
    }
}
