//! The tools that an InvokeModel request offers in the form of its model's API, and the request
//! without some of them.
//!
//! In: a body, and which tools are to go. Out: names, edits. Not here: the forms themselves, and
//! forms of plain members, of which only Command R's had tools.
//!
//! Source: Amazon Bedrock's user guide, "Inference request parameters and response fields for
//! foundation models".

use std::borrow::Cow;

use crate::api::bedrock::converse;
use crate::api::tool_list::Elements;
use crate::api::{Edit, Hide, anthropic, openai};

/// Whose form a body has.
enum Form {
    Anthropic,
    Converse,
    Chat,
}

/// The names that a body offers.
pub(super) fn offered(body: &[u8]) -> Vec<Cow<'_, str>> {
    match form(body) {
        Some(Form::Anthropic) => anthropic::offered::offered(body),
        Some(Form::Converse) => converse::offered::offered(body),
        Some(Form::Chat) => openai::chat::offered::offered(body),
        None => Vec::new(),
    }
}

/// Edits that take tools out of a body.
pub(super) fn without(body: &[u8], hide: Hide<'_>) -> Vec<Edit> {
    match form(body) {
        Some(Form::Anthropic) => anthropic::offered::without(body, hide),
        Some(Form::Converse) => converse::offered::without(body, hide),
        Some(Form::Chat) => openai::chat::offered::without(body, hide),
        None => Vec::new(),
    }
}

/// The form, as requests are read (`request`), of those that can have tools.
fn form(body: &[u8]) -> Option<Form> {
    let members = Elements::outermost(body)?;
    let has = |name| members.named(&[name]).any(|member| member.raw != "null");
    match () {
        () if !has("messages") => None,
        () if has("anthropic_version") => Some(Form::Anthropic),
        () if has("toolConfig") => Some(Form::Converse),
        () => Some(Form::Chat),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_and_taken_away_in_every_form() {
        let bodies = [
            r#"{"anthropic_version":"bedrock-2023-05-31","messages":[],"tools":[{"name":"mail"},{"name":"pay"}]}"#,
            r#"{"schemaVersion":"messages-v1","messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"mail"}},{"toolSpec":{"name":"pay"}}]}}"#,
            r#"{"messages":[],"tools":[{"type":"function","function":{"name":"mail"}},{"type":"function","function":{"name":"pay"}}]}"#,
        ];
        for body in bodies {
            assert_eq!(offered(body.as_bytes()), ["mail", "pay"]);
            let edits = without(body.as_bytes(), &|name| name == "mail");
            assert_eq!(offered(&Edit::apply_all(&edits, body.as_bytes())), ["pay"]);
        }
        let plain = br#"{"message":"hi","tools":[{"name":"mail"}]}"#;
        assert_eq!(offered(plain), [""; 0]);
        assert_eq!(without(plain, &|_| true), []);
    }
}
