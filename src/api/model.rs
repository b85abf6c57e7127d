//! Edits that make a request ask for another model, if its body names one.
//!
//! In: an outline and a model's name. Out: the [`Edit`] of the member `model`. Not here: models in
//! paths (`path`), and forms, which pass as they arrive.

use super::Edit;
use super::outline::{Members, Outline};
use super::raw::string;

/// Returns the edit that makes a body ask for `model`; none if it names no model, names that model
/// already, or cannot be read.
pub(super) fn with_model(outline: &Outline<'_>, model: &str) -> Option<Edit> {
    replaced(&outline.members(&["model"]).ok()?, |_| model.to_owned())
}

/// Does the same for names in a folder, such as `models/gemini-2.5-flash`, and keeps the folder.
pub(super) fn with_model_in_folder(outline: &Outline<'_>, model: &str) -> Option<Edit> {
    replaced(&outline.members(&["model"]).ok()?, |now| match now.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{model}"),
        None => model.to_owned(),
    })
}

/// Returns the edit that gives the member `model`, one of these, a new value; none if it stays the
/// same.
pub(super) fn replaced(members: &Members<'_>, other: impl FnOnce(&str) -> String) -> Option<Edit> {
    let raw = members.raw("model")?;
    let now = string(raw)?;
    let other = other(&now);
    if other == now {
        return None;
    }
    Some(Edit { range: members.place(raw), text: serde_json::to_string(&other).ok()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(with: fn(&Outline<'_>, &str) -> Option<Edit>, body: &str, model: &str) -> Option<String> {
        let edit = with(&Outline::of(body).ok()?, model)?;
        Some(String::from_utf8(Edit::apply_all(&[edit], body.as_bytes())).unwrap())
    }

    #[test]
    fn only_the_name_of_the_model_changes() {
        let body = r#" {"a": [1, "model"], "mod\u0065l" :  "gpt-4o" , "model2":"x"}"#;
        let cheaper = r#" {"a": [1, "model"], "mod\u0065l" :  "gpt-4o-mini" , "model2":"x"}"#;
        assert_eq!(edited(with_model, body, "gpt-4o-mini").as_deref(), Some(cheaper));
    }

    #[test]
    fn any_name_stays_one_text() {
        let name = "a\"b\\c\n\u{1}é/{}";
        let body = edited(with_model, r#"{"model":"x"}"#, name).unwrap();
        let value: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["model"], name);
    }

    #[test]
    fn a_body_that_names_no_other_model_is_not_edited() {
        for body in [
            "{}",
            r#"{"model":null}"#,
            r#"{"model":["x"]}"#,
            r#"{"model":"m"}"#,
            r#"{"model":"a","model":"b"}"#,
            "[",
            "",
        ] {
            assert_eq!(edited(with_model, body, "m"), None, "{body}");
        }
    }

    #[test]
    fn a_folder_stays() {
        let edited = |body| edited(with_model_in_folder, body, "gemini-2.5-flash");
        assert_eq!(
            edited(r#"{"model":"models/gemini-2.5-pro"}"#).as_deref(),
            Some(r#"{"model":"models/gemini-2.5-flash"}"#)
        );
        assert_eq!(
            edited(r#"{"model":"gemini-2.5-pro"}"#).as_deref(),
            Some(r#"{"model":"gemini-2.5-flash"}"#)
        );
        assert_eq!(edited(r#"{"model":"models/gemini-2.5-flash"}"#), None);
    }
}
