//! Converse and ConverseStream: `POST …/model/{model}/converse` and `…/converse-stream`. The native
//! form of Amazon's Nova models is the same.
//!
//! In: request bodies, and JSON documents of answers. Out: the shared types of `api`. Not here: the
//! models' own forms other than Nova's (`invoke`).
//!
//! Source: Amazon Bedrock API reference, "Converse", "ConverseStream", "ContentBlock",
//! "TokenUsage"; Amazon Nova's user guide, "Complete request schema".

pub(super) mod answer;
mod blocks;
pub(super) mod ending;
pub(super) mod offered;
pub(super) mod request;
pub(super) mod output_bound;
mod usage;

use super::model_in_path;
use crate::api::answer::Written;
use crate::api::{Dialect, Format, post};

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "bedrock_converse",
    dialect: Dialect::Bedrock,
    endpoints: &[post("/model/{model}/converse"), post("/model/{model}/converse-stream")],
    free: &["/count-tokens"],
    model_in_path,
    read: request::read,
    answer_members: &["output", "usage", "delta", "start"],
    written: Some(Written { members: &["output"], call: b"Use" }),
    answer: answer::read,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Converse::ending),
    ..Format::DEFAULT
};
