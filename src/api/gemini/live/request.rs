//! A client's turn, which asks for a response; and the setup of a session, which offers tools and
//! bounds what the model writes.
//!
//! In: a message. Out: [`Request`], tools, edits. Not here: sound, and the conversation (`socket`).

use std::borrow::Cow;

use super::member;
use crate::api::gemini::content::Contents;
use crate::api::gemini::{offered as tools, output_bound};
use crate::api::outline::Outline;
use crate::api::raw::{items, text};
use crate::api::{Bounded, Edit, Hide, Piece, Prompt, Request, Unbounded, Unread};

/// Reads a turn.
///
/// # Errors
/// [`Unread::Malformed`] if its contents are not objects.
pub(super) fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let message = outline.body();
    let mut contents = Contents::default();
    let turn = member(message, &["clientContent", "client_content"]);
    contents.push_all(member(turn, &["turns"]))?;
    let response = member(message, &["toolResponse", "tool_response"]);
    for response in items(member(response, &["functionResponses", "function_responses"])) {
        contents.pieces.push(Piece::Message);
        contents.pieces.push(text(response));
    }
    Ok(Request { prompt: Prompt(contents.pieces), more_input: true, ..Request::default() })
}

/// Returns the prompt in the setup: instructions and tools.
pub(super) fn setup(setup: &str) -> Prompt<'_> {
    let mut contents = Contents::default();
    // What cannot be read counts as its text.
    let system = member(setup, &["systemInstruction", "system_instruction"]);
    if contents.push_all(system).is_err() {
        contents.pieces.push(text(system));
    }
    contents.pieces.extend(items(member(setup, &["tools"])).into_iter().map(text));
    Prompt(contents.pieces)
}

/// Returns the object that offers tools.
fn offering<'a>(outline: &Outline<'a>) -> Option<Outline<'a>> {
    outline.named(&["setup"]).last().and_then(|setup| outline.object(setup.raw))
}

/// Returns the names of the functions that a session offers.
pub(super) fn offered<'a>(outline: &Outline<'a>) -> Vec<Cow<'a, str>> {
    offering(outline).map(|setup| tools::offered(&setup)).unwrap_or_default()
}

/// Returns the edits that remove functions from a session.
pub(super) fn without(outline: &Outline<'_>, hide: Hide<'_>) -> Vec<Edit> {
    offering(outline).map(|setup| tools::without(&setup, hide)).unwrap_or_default()
}

/// Returns the edits that bound the output of each turn; only the setup can.
///
/// # Errors
/// [`Unbounded`] if it cannot be bounded.
pub(super) fn with_max_output(outline: &Outline<'_>, model: Option<&str>, each: u64) -> Bounded {
    output_bound::with_max_output(&offering(outline).ok_or(Unbounded::Unknown)?, model, each)
}
