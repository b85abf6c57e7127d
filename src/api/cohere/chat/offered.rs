//! The tools that a chat request offers, and edits that remove some.
//!
//! In: a body, and which tools to remove. Out: names, edits. Not here: lists in general
//! (`tool_list`).
//!
//! Source: Cohere's API reference, "Chat API (v2)": `tools`, `tool_choice`, which names no tool,
//! and `strict_tools`.

use std::borrow::Cow;

use crate::api::outline::Outline;
use crate::api::tool_list::{self, Offer};
use crate::api::{Edit, Hide, openai};

const OFFERS: [Offer; 1] =
    [Offer { naming: openai::chat::name_of_tool, only_with_tools: &["strict_tools"], ..Offer::DEFAULT }];

/// Returns the names that a body offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    tool_list::offered(outline, &OFFERS)
}

/// Returns edits that remove tools from a body.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    tool_list::without(outline, &OFFERS, hide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::outline;

    fn edited(body: &str, hidden: &[&str]) -> String {
        let edits = without(&outline(body), &|name| hidden.contains(&name));
        String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
    }

    #[test]
    fn a_tool_goes_and_the_last_one_takes_with_it_what_stands_only_with_tools() {
        let body = r#"{"strict_tools":true,"messages":[],"tools":[{"type":"function","function":{"name":"mail"}},{"type":"function","function":{"name":"pay"}}],"tool_choice":"REQUIRED"}"#;
        assert_eq!(offered(&outline(body)), ["mail", "pay"]);
        assert_eq!(
            edited(body, &["mail"]),
            r#"{"strict_tools":true,"messages":[],"tools":[{"type":"function","function":{"name":"pay"}}],"tool_choice":"REQUIRED"}"#
        );
        assert_eq!(edited(body, &["mail", "pay"]), r#"{"messages":[]}"#);
        assert_eq!(edited(body, &["other"]), body);
    }
}
