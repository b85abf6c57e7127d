//! OpenAI's APIs, also as Azure, vLLM and other servers speak them: one file or folder each.
//!
//! In: request bodies, and JSON documents of answers. Out: rows of [`FORMATS`](super::FORMATS);
//! beside them what they share: content parts (`parts`), prompts of text or token ids (`prompts`),
//! `usage`, how usage is asked for (`stream_options`), and llama.cpp's bound on output
//! (`n_predict`). Not here: the framing of event streams (`sse`), tokens and money. `usage.cost`,
//! which OpenRouter adds, is not read: money is by the operator's prices.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod ending;
pub(super) mod images;
mod n_predict;
mod parts;
mod prompts;
pub(super) mod responses;
pub(super) mod speech;
mod stream_options;
pub(super) mod transcriptions;
mod usage;

use super::sockets::Socket;
use super::{Dialect, Endpoint, post};

/// Calls below a configured prefix: Vertex AI hands a raw prediction on to the model's maker as it
/// is, and the makers' own APIs refuse to be asked for usage.
const ON_VERTEX_OR_ELSEWHERE: [Endpoint; 2] = [post("rawpredict").tells_usage_unasked(), post("")];

/// The Realtime API and its translation (OpenAI's guides "Realtime API with WebSocket" and
/// "Realtime translation", Azure's "Realtime API reference").
pub(super) static REALTIME: Socket = Socket {
    name: "openai_realtime",
    dialect: Dialect::OpenAi,
    path_ends: &["/realtime", "/realtime/translations"],
};
