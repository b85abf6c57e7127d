//! OpenAI's APIs, also as Azure, vLLM and other servers speak them: one file each.
//!
//! Here is what they share. Not here: the framing of event streams (`sse`).

pub(super) mod chat;
mod usage;
