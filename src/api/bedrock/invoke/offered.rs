//! The tools that an InvokeModel request offers in its model's form, and edits that remove some of
//! them.
//!
//! In: a body, and the tools to remove. Out: names, edits. Not here: the forms themselves, and
//! forms of plain members, of which only Command R's had tools.
//!
//! Source: Amazon Bedrock's user guide, "Inference request parameters and response fields for
//! foundation models".

use std::borrow::Cow;

use super::request::Form;
use crate::api::bedrock::converse;
use crate::api::outline::Outline;
use crate::api::{Edit, Hide, anthropic, openai};

/// Returns the names that a body offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    match Form::of(outline) {
        Form::Messages => anthropic::offered::offered(outline),
        Form::Converse => converse::offered::offered(outline),
        Form::Chat => openai::chat::offered::offered(outline),
        Form::Plain => Vec::new(),
    }
}

/// Returns the edits that remove tools from a body.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    match Form::of(outline) {
        Form::Messages => anthropic::offered::without(outline, hide),
        Form::Converse => converse::offered::without(outline, hide),
        Form::Chat => openai::chat::offered::without(outline, hide),
        Form::Plain => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::outline;

    #[test]
    fn tools_are_found_and_taken_away_in_every_form() {
        let bodies = [
            r#"{"anthropic_version":"bedrock-2023-05-31","messages":[],"tools":[{"name":"mail"},{"name":"pay"}]}"#,
            r#"{"schemaVersion":"messages-v1","messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"mail"}},{"toolSpec":{"name":"pay"}}]}}"#,
            r#"{"messages":[],"tools":[{"type":"function","function":{"name":"mail"}},{"type":"function","function":{"name":"pay"}}]}"#,
        ];
        for body in bodies {
            assert_eq!(offered(&outline(body)), ["mail", "pay"]);
            let edits = without(&outline(body), &|name| name == "mail");
            assert_eq!(offered(&outline(&Edit::apply_all(&edits, body.as_bytes()))), ["pay"]);
        }
        let plain = outline(r#"{"message":"hi","tools":[{"name":"mail"}]}"#);
        assert_eq!(offered(&plain), [""; 0]);
        assert_eq!(without(&plain, &|_| true), []);
    }
}
