//! Definitions of tools, and the system prompt that the API adds for them.
//!
//! In: raw JSON of `tools` and `tool_choice`, and a model. Out: [`Piece`]s. Not here: tool calls
//! (`blocks`).
//!
//! Source: Anthropic's guide "Tool use with Claude", table "Tool use system prompt token count"
//! and, for models no longer in it, its earlier versions; for Anthropic's own tools the pages "Bash
//! tool", "Text editor tool" and "Computer use tool", each under "Pricing".

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Piece;
use crate::api::raw::{Text, written};

/// Tokens of the system prompt by a part of the model's name: if the model need not call a tool
/// (`auto`, `none`), and if it must (`any`, `tool`). The first matching part decides.
const SYSTEM_PROMPTS: [(&str, u64, u64); 22] = [
    ("opus-4-8", 290, 410),
    ("opus-4-7", 675, 804),
    ("opus-4-6", 497, 589),
    ("opus-4-5", 496, 588),
    ("opus-4-1", 313, 315),
    ("opus-4-0", 313, 315),
    ("opus-4-2025", 313, 315),
    ("opus-4@2025", 313, 315),
    ("sonnet-5", 354, 474),
    ("sonnet-4-6", 497, 589),
    ("sonnet-4-5", 496, 588),
    ("sonnet-4-0", 313, 315),
    ("sonnet-4-2025", 313, 315),
    ("sonnet-4@2025", 313, 315),
    ("haiku-4-5", 496, 588),
    ("3-7-sonnet", 346, 313),
    ("3-5-sonnet-20240620", 294, 261),
    ("3-5-sonnet", 346, 313),
    ("3-5-haiku", 264, 355),
    ("3-opus", 530, 281),
    ("3-sonnet", 159, 235),
    ("3-haiku", 264, 340),
];
/// The tokens for a model missing in the table, or named in the path and not in the body:
/// those of Claude 4.6.
const OTHER: (u64, u64) = (497, 589);

/// Tokens of Anthropic's own tools whose definitions are not in the request, by type prefix.
const OWN_TOOLS: [(&str, u64); 3] = [("bash_", 245), ("text_editor_", 700), ("computer_", 735)];

/// Type prefixes of tools that read content from outside the request.
const SEARCHING: [&str; 3] = ["web_search_", "web_fetch_", "code_execution_"];

/// Adds the tools of a request, and returns whether one of them reads content from outside it.
pub(super) fn push<'a>(
    tools: &[&'a RawValue],
    choice: Option<&str>,
    model: &str,
    pieces: &mut Vec<Piece<'a>>,
) -> bool {
    if tools.is_empty() {
        return false;
    }
    pieces.push(Piece::Tokens(system_prompt(model, choice)));
    let mut searches = false;
    for raw in tools {
        let tool: Tool<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let kind = tool.kind.as_ref().map_or("", |Text(kind)| kind);
        searches |= SEARCHING.iter().any(|start| kind.starts_with(start));
        let own = OWN_TOOLS.iter().find(|(start, _)| kind.starts_with(start));
        let is_defined = tool.description.is_some() || tool.input_schema.is_some();
        pieces.extend(own.map(|(_, tokens)| Piece::Tokens(*tokens)));
        if own.is_none() && !is_defined {
            pieces.push(written(raw.get()));
            continue;
        }
        let texts = [tool.name, tool.description].into_iter().flatten();
        pieces.extend(texts.map(Piece::from));
        let schemas = [tool.input_schema, tool.input_examples].into_iter().flatten();
        pieces.extend(schemas.map(|raw| written(raw.get())));
    }
    searches
}

fn system_prompt(model: &str, choice: Option<&str>) -> u64 {
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
    }
    let choice = choice.and_then(|raw| serde_json::from_str::<Choice<'_>>(raw).ok());
    let must_call = choice.is_some_and(|Choice { kind: Text(kind) }| matches!(&*kind, "any" | "tool"));
    let known = SYSTEM_PROMPTS.iter().find(|(part, ..)| model.contains(part));
    let (may, must) = known.map_or(OTHER, |(_, may, must)| (*may, *must));
    if must_call { must } else { may }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tool<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    #[serde(borrow)]
    input_examples: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed<'a>(tools: &'a str, choice: Option<&str>, model: &str) -> (Vec<Piece<'a>>, bool) {
        let tools: Vec<&RawValue> = serde_json::from_str(tools).unwrap();
        let mut pieces = Vec::new();
        let searches = push(&tools, choice, model, &mut pieces);
        (pieces, searches)
    }

    #[test]
    fn the_system_prompt_depends_on_model_and_choice() {
        let tokens = |model, choice: &str| system_prompt(model, Some(choice));
        assert_eq!(tokens("claude-opus-4-8", r#"{"type":"auto"}"#), 290);
        assert_eq!(tokens("claude-opus-4-8", r#"{"type":"tool","name":"f"}"#), 410);
        assert_eq!(tokens("anthropic.claude-3-5-sonnet-20240620-v1:0", r#"{"type":"any"}"#), 261);
        assert_eq!(tokens("claude-sonnet-4@20250514", r#"{"type":"none"}"#), 313);
        assert_eq!(tokens("claude-next", "7"), 497);
        assert_eq!(system_prompt("claude-sonnet-4-5-20250929", None), 496);
    }

    #[test]
    fn without_tools_there_is_no_system_prompt() {
        assert_eq!(pushed("[]", Some(r#"{"type":"none"}"#), "claude-opus-4-8"), (vec![], false));
    }

    #[test]
    fn a_tool_is_its_name_description_and_schema() {
        let tools = r#"[{"name":"f","description":"Does.","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}]"#;
        let texts = ["f", "Does.", r#"{"type":"object"}"#].map(|text| Piece::Text(text.into()));
        let (pieces, searches) = pushed(tools, None, "claude-haiku-4-5");
        assert_eq!(pieces[0], Piece::Tokens(496));
        assert_eq!(pieces[1..], texts);
        assert!(!searches);
    }

    #[test]
    fn anthropics_own_tools_have_sizes_of_their_own_and_others_never_cost_nothing() {
        let tools = r#"[{"type":"bash_20250124","name":"bash"},{"type":"web_search_20250305","name":"web_search"},{"defer":1},7]"#;
        let (pieces, searches) = pushed(tools, None, "");
        let expected = [
            Piece::Tokens(497),
            Piece::Tokens(245),
            Piece::Text("bash".into()),
            Piece::Text(r#"{"type":"web_search_20250305","name":"web_search"}"#.into()),
            Piece::Text(r#"{"defer":1}"#.into()),
            Piece::Text("7".into()),
        ];
        assert_eq!(pieces, expected);
        assert!(searches);
    }
}
