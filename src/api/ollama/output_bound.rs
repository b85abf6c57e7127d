//! Edits that bound the output, or change the model.
//!
//! In: a body. Out: [`Edit`]s of `options.num_predict` and of `model`. Not here: the value of the
//! bound.
//!
//! Source: Ollama's API reference, "Generate a completion", and its model file reference,
//! `num_predict`. A value of zero or less is no bound (Ollama's runner).

use super::request;
use crate::api::bound::{Bound, allowed};
use crate::api::outline::Outline;
use crate::api::{Bounded, Edit, model};

const NUM_PREDICT: Bound = Bound { names: &["num_predict"], zero_is_none: true };

/// Returns the edits that bound the output.
///
/// # Errors
/// [`Unbounded`](crate::api::Unbounded) if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, _: Option<&str>, each: u64) -> Bounded {
    let members = request::members(outline, &["options"])?;
    let edits = NUM_PREDICT.lowered_in(&members, "options", "num_predict", each)?;
    allowed(edits, each, 1, None)
}

/// Returns the edit that makes a body ask for another model.
pub(super) fn with_model(outline: &Outline<'_>, model: &str) -> Option<Edit> {
    model::replaced(&request::members(outline, &["model"]).ok()?, |_| model.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Unbounded;
    use crate::api::bound::edited;
    use crate::api::outline::outline;

    #[test]
    fn the_bound_is_lowered_or_set_among_the_options() {
        for (body, expected) in [
            (r#"{"options":{"seed":1,"num_predict":500}}"#, r#"{"options":{"seed":1,"num_predict":9}}"#),
            (r#"{"options":{"num_predict":-1}}"#, r#"{"options":{"num_predict":9}}"#),
            (r#"{"options":{"num_predict":-2}}"#, r#"{"options":{"num_predict":9}}"#),
            (r#"{"options":{"num_predict":0}}"#, r#"{"options":{"num_predict":9}}"#),
            (r#"{"options":{ "seed":1}}"#, r#"{"options":{"num_predict":9, "seed":1}}"#),
            (r#"{"options": { }}"#, r#"{"options": {"num_predict":9 }}"#),
            (r#"{"a":1,"options":null}"#, r#"{"a":1,"options":{"num_predict":9}}"#),
            (r#"{"a":1}"#, r#"{"options":{"num_predict":9},"a":1}"#),
            (r#"{"options":{"num_predict":9}}"#, r#"{"options":{"num_predict":9}}"#),
        ] {
            assert_eq!(edited(with_max_output, body, None, 9).as_deref(), Ok(expected), "{body}");
        }
    }

    #[test]
    fn names_that_differ_in_case_only_are_not_edited() {
        assert_eq!(with_max_output(&outline(r#"{"Options":{}}"#), None, 9), Err(Unbounded::Unknown));
        assert_eq!(with_max_output(&outline(r#"{"options":7}"#), None, 9), Err(Unbounded::Unknown));
        assert_eq!(with_model(&outline(r#"{"model":"a","MODEL":"b"}"#), "c"), None);
        assert!(with_model(&outline(r#"{"model":"a"}"#), "c").is_some());
    }
}
