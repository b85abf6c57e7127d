//! Tools in the form of OpenAI's chat, for the APIs that share it: Cohere's and Ollama's.
//!
//! In: raw JSON of definitions and of calls, from a request or an answer. Out: [`Piece`]s, or the
//! model's text and calls. Not here: the parameters of a function (`schema`), and ids, which models
//! do not see.
//!
//! Source: OpenAI's API reference, "Create chat completion", `tools` and `messages.tool_calls`;
//! Cohere's, "Chat API (v2)"; Ollama's, "Generate a chat completion", whose calls also have an
//! `index`.

use std::borrow::Cow;

use serde::Deserialize;

use super::Piece;
use super::answer::Called;
use super::raw::{as_text, entries, items, string, text, written};
use super::schema::FunctionDefinition;

/// Reads the definition of a tool; anything but a function counts as its raw JSON text.
pub(super) fn definition(raw: &str) -> Piece<'_> {
    #[derive(Deserialize)]
    struct Tool<'a> {
        #[serde(borrow)]
        function: FunctionDefinition<'a>,
    }
    match serde_json::from_str(raw) {
        Ok(Tool { function }) => Piece::Function(function.into()),
        Err(_) => written(raw),
    }
}

/// Pushes an earlier call: everything in it that a model could read.
pub(super) fn push_call<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    pieces.push(Piece::ToolCall);
    let Some(members) = entries(raw) else { return pieces.push(text(raw)) };
    for (name, value) in members {
        match &*name {
            "id" | "type" => {}
            "function" => push_called(value, pieces),
            _ => pieces.extend([Piece::Text(name), text(value)]),
        }
    }
}

fn push_called<'a>(raw: &'a str, pieces: &mut Vec<Piece<'a>>) {
    let Some(members) = entries(raw) else { return pieces.push(text(raw)) };
    let shown = members.into_iter().filter(|(name, _)| name != "index");
    pieces.extend(shown.map(|(_, value)| text(value)));
}

/// Pushes the calls in the `tool_calls` of an answer whose pieces name each call once.
pub(super) fn push_calls<'a>(calls: &'a str, tools: &mut Vec<Called<'a>>) {
    for members in items(calls).into_iter().filter_map(entries) {
        let functions = members.into_iter().filter(|(name, _)| name == "function");
        let mut names =
            functions.filter_map(|(_, value)| entries(value)).flatten().filter(|(name, _)| name == "name");
        tools.extend(names.next_back().and_then(|(_, name)| string(name)).map(Called::once));
    }
}

/// Pushes the text that a model wrote in the `tool_calls` of its answer.
pub(super) fn push_written<'a>(calls: &'a str, texts: &mut Vec<Cow<'a, str>>) {
    let members = items(calls).into_iter().filter_map(entries).flatten();
    let functions = members.filter(|(name, _)| name == "function").filter_map(|(_, value)| entries(value));
    let written = functions.flatten().filter(|(name, _)| matches!(&**name, "name" | "arguments"));
    texts.extend(written.map(|(_, value)| as_text(value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(raw: &str) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        push_call(raw, &mut pieces);
        pieces
    }

    #[test]
    fn a_call_is_its_name_and_arguments_in_a_frame_and_never_costs_nothing() {
        let text = |text: &'static str| Piece::Text(text.into());
        let call =
            r#"{"id":"1","type":"function","function":{"index":0,"name":"f","arguments":{"a":1}},"new":2}"#;
        assert_eq!(pushed(call), [Piece::ToolCall, text("f"), text(r#"{"a":1}"#), text("new"), text("2")]);
        assert_eq!(pushed(r#"{"function":"f(1)"}"#), [Piece::ToolCall, text("f(1)")]);
        assert_eq!(pushed(r#""f(1)""#), [Piece::ToolCall, text("f(1)")]);
    }

    #[test]
    fn each_call_with_a_name_is_a_call() {
        let mut tools = Vec::new();
        push_calls(
            r#"[{"function":{"name":"f","arguments":{"name":"no"}}},{"id":"1","function":{"name":"f"}},7,{"function":7}]"#,
            &mut tools,
        );
        push_calls(r#"{"id":"2","function":{"arguments":"{}"}}"#, &mut tools);
        assert_eq!(tools, [Called::once("f".into()), Called::once("f".into())]);
    }

    #[test]
    fn of_a_written_call_the_name_and_the_arguments_are_text() {
        let mut texts = Vec::new();
        push_written(
            r#"[{"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}},7,{"function":7}]"#,
            &mut texts,
        );
        assert_eq!(texts, ["f", r#"{"a":1}"#]);
    }
}
