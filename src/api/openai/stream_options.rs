//! Requests for the usage of a stream.
//!
//! In: the members of a request, and its path. Out: an [`Edit`], or none if asking is unnecessary
//! or useless. Not here: removing the usage chunk from the answer (`answer`), and endpoints whose
//! upstreams report usage by default (`Endpoint::tells_usage_unasked`).
//!
//! Source: OpenAI's API reference, "Create chat completion", `stream_options`. Mistral's API
//! refuses the option (status 422, `extra_forbidden` on `stream_options`) and reports usage in the
//! last chunk without it (Mistral's API reference, "Chat"); so does AI21's ("Jamba models", `usage`
//! in the last message).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Edit;
use crate::api::outline::Outline;

/// Beginnings of names of models whose makers' own APIs report usage by default. The same models
/// elsewhere have longer names, such as `mistralai/Mistral-7B-Instruct-v0.3`.
const UNASKED: [&str; 13] = [
    "mistral-",
    "magistral-",
    "ministral-",
    "mixtral-",
    "codestral-",
    "devstral-",
    "labs-devstral-",
    "pixtral-",
    "voxtral-",
    "open-mistral-",
    "open-mixtral-",
    "open-codestral-",
    "jamba-",
];

/// The first version of Azure's API that knows `stream_options`; earlier ones refuse it (Azure
/// OpenAI's "API version lifecycle").
const AZURE_KNOWS_SINCE: &[u8] = b"2024-09-01";

/// Returns whether the upstream at a raw path knows the option: all but those whose query names an
/// earlier version of Azure's API do.
pub(super) fn are_known(path: &[u8]) -> bool {
    let query = path.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default();
    let version = query.split(|&byte| byte == b'&').find_map(|pair| pair.strip_prefix(b"api-version="));
    version.is_none_or(|version| !version.starts_with(b"20") || version >= AZURE_KNOWS_SINCE)
}

/// Returns the edit that sets `stream_options.include_usage`; none if the client has set it, or the
/// upstream would refuse it. Keeps other options, such as vLLM's `continuous_usage_stats`.
pub(super) fn ask_for_usage(outline: &Outline<'_>, model: &str) -> Option<Edit> {
    let members = outline.members(&["stream", "stream_options"]).ok()?;
    if !members.is_true("stream") {
        return None;
    }
    let model = model.strip_prefix("ft:").unwrap_or(model);
    if UNASKED.iter().any(|name| model.starts_with(name)) {
        return None;
    }
    let Some(options) = members.written("stream_options") else {
        return Some(members.insert(r#""stream_options":{"include_usage":true}"#));
    };
    if options == "null" {
        return Some(Edit { range: members.place(options), text: r#"{"include_usage":true}"#.into() });
    }
    // The upstream refuses options that are not an object.
    let StreamOptions { include_usage } = serde_json::from_str(options).ok()?;
    match include_usage.map(RawValue::get) {
        Some("true") => None,
        Some(other) => Some(Edit { range: members.place(other), text: "true".into() }),
        None => {
            let inside = members.place(options).start.saturating_add(1);
            let empty = options.trim_start_matches('{').trim_start().starts_with('}');
            let text = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            Some(Edit { range: inside..inside, text: text.into() })
        }
    }
}

#[derive(Deserialize)]
struct StreamOptions<'a> {
    #[serde(borrow, default, deserialize_with = "as_written")]
    include_usage: Option<&'a RawValue>,
}

/// Reads a value as raw JSON, including `null`.
fn as_written<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::outline;

    fn edited(body: &str, model: &str) -> Option<String> {
        let edit = ask_for_usage(&outline(body), model)?;
        Some(String::from_utf8(Edit::apply_all(&[edit], body.as_bytes())).unwrap())
    }

    #[test]
    fn other_options_stay() {
        let body = r#"{"stream":true,"stream_options":{"continuous_usage_stats":true}}"#;
        let asking =
            r#"{"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#;
        assert_eq!(edited(body, "Qwen/Qwen3-8B").as_deref(), Some(asking));
    }

    #[test]
    fn models_whose_own_api_refuses_the_option_are_not_asked() {
        for model in [
            "mistral-large-latest",
            "codestral-2508",
            "open-mixtral-8x22b",
            "ft:open-mistral-7b:x",
            "jamba-large",
        ] {
            assert_eq!(edited(r#"{"stream":true}"#, model), None, "{model}");
        }
        for model in ["", "mistralai/Mistral-7B-Instruct-v0.3", "mistral:7b", "gpt-4o", "ft:gpt-4o-mini:x"] {
            assert!(edited(r#"{"stream":true}"#, model).is_some(), "{model}");
        }
    }
}
