//! The tools that a chat request offers, and edits that remove some.
//!
//! In: a body, and which tools to remove. Out: names, edits. Ollama reads the names of members in
//! any case, so this module also finds tools in any case. Not here: lists in general (`tool_list`).
//!
//! Source: Ollama's API reference, "Generate a chat completion": `tools`. There is no choice among
//! them.

use std::borrow::Cow;

use super::request::folded;
use crate::api::outline::Outline;
use crate::api::raw::{as_text, entries};
use crate::api::tool_list::{self, Offer};
use crate::api::{Edit, Hide};

const OFFERS: [Offer; 1] = [Offer { naming, ..Offer::DEFAULT }];

/// Returns the names that a body offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    tool_list::offered(outline, &OFFERS)
}

/// Returns edits that remove tools from a body.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    tool_list::without(outline, &OFFERS, hide)
}

fn naming(raw: &str) -> Vec<Cow<'_, str>> {
    let functions = values(raw, "function").into_iter();
    functions.flat_map(|function| values(function, "name")).map(as_text).collect()
}

/// Returns the values of the members that have this name, in any case.
fn values<'a>(raw: &'a str, wanted: &str) -> Vec<&'a str> {
    let members = entries(raw).unwrap_or_default().into_iter();
    members.filter(|(name, _)| folded(name).eq(folded(wanted))).map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::outline;

    #[test]
    fn a_tool_goes_however_its_members_are_spelled() {
        let body = r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"mail"}},{"Function":{"NAME":"pay"}}]}"#;
        assert_eq!(offered(&outline(body)), ["mail", "pay"]);
        let edited = |hidden: &[&str]| {
            let edits = without(&outline(body), &|name| hidden.contains(&name));
            String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
        };
        let left = r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"mail"}}]}"#;
        assert_eq!(edited(&["pay"]), left);
        assert_eq!(edited(&["pay", "mail"]), r#"{"model":"m","messages":[]}"#);
    }
}
