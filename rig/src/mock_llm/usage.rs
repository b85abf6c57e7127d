//! The usage of an answer: the counts, or the caller's replacement.
//!
//! In: the requested [`Behaviour`] and a way to count. Out: JSON text with the usage inserted byte
//! for byte, valid JSON or not. Not here: the form of each API's usage.

use serde_json::Value;

use super::Behaviour;

/// A usage as JSON text, or none.
pub(super) struct Usage(Option<String>);

impl Usage {
    /// Returns the caller's replacement, or else the counts. Counts only if needed.
    pub(super) fn of(behaviour: &Behaviour, counted: impl FnOnce() -> Value) -> Self {
        Self(match &behaviour.usage {
            _ if behaviour.no_usage => None,
            Some(verbatim) => Some(verbatim.clone()),
            None => Some(counted().to_string()),
        })
    }

    /// Returns whether there is a usage.
    pub(super) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Returns `object` with this usage as its member `usage` once it is [written](Self::write).
    pub(super) fn within(&self, object: Value) -> Value {
        self.under("usage", object)
    }

    /// Returns `object` with this usage as its member `name` once it is [written](Self::write).
    pub(super) fn under(&self, name: &str, mut object: Value) -> Value {
        if self.is_some() {
            object[name] = MARK.into();
        }
        object
    }

    /// Writes `value` as JSON text with the usage in its place.
    pub(super) fn write(&self, value: &Value) -> String {
        self.put_into(value.to_string())
    }

    /// Writes the same with one member per line.
    pub(super) fn write_pretty(&self, value: &Value) -> String {
        self.put_into(serde_json::to_string_pretty(value).expect("a value is JSON"))
    }

    /// Writes `object` as JSON text with the usage's members among its own, for APIs that have no
    /// usage object. A usage that is not an object becomes the value of each of `names`.
    pub(super) fn write_among(&self, object: &Value, names: &[&str]) -> String {
        let mut text = object.to_string();
        if let Some(usage) = &self.0 {
            let members = match usage.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(members) => members.to_owned(),
                None => names.iter().map(|name| format!("\"{name}\":{usage}")).collect::<Vec<_>>().join(","),
            };
            if !members.trim().is_empty() {
                text.pop();
                text.push_str(&format!(",{members}}}"));
            }
        }
        text
    }

    fn put_into(&self, text: String) -> String {
        match &self.0 {
            Some(usage) => text.replacen(MARK_AS_JSON, usage, 1),
            None => text,
        }
    }
}

/// Marks the place of the usage. No answer's text contains it.
const MARK: &str = "\u{1}usage";
const MARK_AS_JSON: &str = r#""\u0001usage""#;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_given_by_header_is_passed_on_byte_for_byte() {
        let behaviour =
            Behaviour { usage: Some(r#"{"prompt_tokens": 1e3,  "x":["#.to_owned()), ..Behaviour::default() };
        let usage = Usage::of(&behaviour, || unreachable!("nothing is counted"));
        let text = usage.write(&json!({ "response": usage.within(json!({ "id": "a" })) }));
        assert_eq!(text, r#"{"response":{"id":"a","usage":{"prompt_tokens": 1e3,  "x":[}}"#);
    }

    #[test]
    fn members_go_among_others_and_what_is_none_stands_for_each() {
        for (given, expected) in [
            (r#"{"in": 1e3 }"#, r#"{"id":"a","in": 1e3 }"#),
            (r#""many""#, r#"{"id":"a","in":"many","out":"many"}"#),
            ("{}", r#"{"id":"a"}"#),
        ] {
            let behaviour = Behaviour { usage: Some(given.to_owned()), ..Behaviour::default() };
            let usage = Usage::of(&behaviour, || unreachable!("nothing is counted"));
            assert_eq!(usage.write_among(&json!({ "id": "a" }), &["in", "out"]), expected);
        }
    }

    #[test]
    fn usage_that_shall_not_be_is_no_member() {
        let behaviour = Behaviour { no_usage: true, ..Behaviour::default() };
        let usage = Usage::of(&behaviour, || unreachable!("nothing is counted"));
        assert_eq!(usage.write(&usage.within(json!({ "id": "a" }))), r#"{"id":"a"}"#);
    }
}
