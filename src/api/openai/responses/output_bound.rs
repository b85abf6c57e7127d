//! Lower bounds on the output of a response.
//!
//! In: a body. Out: edits of `max_output_tokens`. Not here: choosing the bound, and compacting a
//! conversation (`…/compact`), which has no bound (`routes`).
//!
//! Source: OpenAI's API reference, "Create a model response"; the API refuses bounds lower than 16
//! with `integer_below_min_value`.

use crate::api::Bounded;
use crate::api::bound::{Bound, allowed};
use crate::api::outline::Outline;

const NAME: &str = "max_output_tokens";
const LEAST: u64 = 16;

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let object = outline.members(&[NAME])?;
    allowed(Bound::named(&[NAME]).lowered(&object, NAME, each), each, LEAST, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Unbounded;
    use crate::api::bound::edited;
    use crate::api::outline::outline;

    #[test]
    fn the_bound_is_lowered_or_set() {
        let edited = |body| edited(with_max_output, body, None, 20);
        assert_eq!(
            edited(r#"{"input":"a","max_output_tokens": 500}"#).as_deref(),
            Ok(r#"{"input":"a","max_output_tokens": 20}"#)
        );
        assert_eq!(edited(r#"{"input":"a"}"#).as_deref(), Ok(r#"{"max_output_tokens":20,"input":"a"}"#));
        let within = r#"{"input":"a","max_output_tokens":20}"#;
        assert_eq!(edited(within).as_deref(), Ok(within));
    }

    #[test]
    fn a_bound_that_would_be_refused_is_not_set() {
        let body = &outline(r#"{"input":"a"}"#);
        assert_eq!(with_max_output(body, None, 15), Err(Unbounded::TooLow { least: 16 }));
        assert_eq!(with_max_output(&outline(r#"{"max_output_tokens":15}"#), None, 15), Ok(vec![]));
        assert!(with_max_output(body, None, 16).is_ok());
    }
}
