//! Answers of completions, in the form of either API.
//!
//! In: one JSON document. Out: an [`Answer`]. Not here: the forms themselves, those of chat
//! (`chat`) and of llama.cpp (`llama`).

use super::llama;
use crate::api::Answer;
use crate::api::openai::chat;

/// The members that [`read`] uses, of both APIs.
pub(super) const MEMBERS: [&str; 7] = {
    let [choices, usage] = chat::ANSWER_MEMBERS;
    let [index, content, evaluated, predicted, timings] = llama::ANSWER_MEMBERS;
    [choices, usage, index, content, evaluated, predicted, timings]
};

/// Reads a document of an answer in either form.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let answer = chat::read_answer(json);
    if answer == Answer::default() { llama::answer(json) } else { answer }
}
