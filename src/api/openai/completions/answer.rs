//! Answers of completions, in either API's form.
//!
//! In: one JSON document. Out: an [`Answer`]. Not here: the forms themselves, which are those of
//! chat (`chat`) and llama.cpp's (`llama`).

use super::llama;
use crate::api::Answer;
use crate::api::openai::chat;

/// The members that [`read`] looks at, of both APIs.
pub(super) const MEMBERS: [&str; 7] = {
    let [choices, usage] = chat::ANSWER_MEMBERS;
    let [index, content, evaluated, predicted, timings] = llama::ANSWER_MEMBERS;
    [choices, usage, index, content, evaluated, predicted, timings]
};

/// Reads a document of an answer in the form that it has.
pub(super) fn read(json: &[u8]) -> Answer<'_> {
    let answer = chat::read_answer(json);
    if answer == Answer::default() { llama::answer(json) } else { answer }
}
