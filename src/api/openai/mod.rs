//! OpenAI's APIs, also as Azure, vLLM and other servers implement them: one file or folder each.
//!
//! In: request bodies, and JSON documents of answers. Out: rows of [`FORMATS`](super::FORMATS), and
//! their shared parts: content parts (`parts`), prompts of text or token ids (`prompts`), `usage`,
//! requests for usage (`stream_options`), and llama.cpp's bound on output (`n_predict`). Not here:
//! the framing of event streams (`sse`), tokens and money. The code ignores OpenRouter's
//! `usage.cost`: the operator's prices decide the cost.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod ending;
pub(super) mod images;
mod n_predict;
mod parts;
mod prompts;
pub(super) mod realtime;
pub(super) mod responses;
pub(super) mod speech;
mod stream_options;
pub(super) mod transcriptions;
mod usage;

use super::{Endpoint, post};

/// Endpoints below a configured prefix. Vertex AI passes a raw prediction to the model's maker
/// unchanged, and the makers' own APIs refuse requests for usage.
const ON_VERTEX_OR_ELSEWHERE: [Endpoint; 2] = [post("rawpredict").tells_usage_unasked(), post("")];
