//! The rig: servers, clients and helpers that tests, demos and benchmarks share.
//!
//! A call in a test passes through all of it: [`client`] sends it, a real Envoy ([`envoy`]) carries
//! it, and either the well-behaved [`mock_llm`] or a scripted [`upstream`] that misbehaves on cue
//! answers it. On the way Envoy may ask a scripted rate limit service ([`rate_limits`]) or the
//! example one ([`service`]). All listen on 127.0.0.1 on ports that the system chooses, and all
//! stop when they are dropped. [`load`] makes many calls at once. [`demo`] formats the demos'
//! output.
//!
//! The rig is independent of the filter: it uses none of Tollgate's code, so a mistake in the
//! filter's counting cannot hide behind the same mistake in the test. It panics with an explanation
//! where a test would fail anyway. Not here: expectations about the filter, which the tests state.

pub mod client;
pub mod demo;
pub mod envoy;
pub mod load;
pub mod mock_llm;
pub mod port;
pub mod rate_limits;
pub mod redis;
pub mod service;
mod times;
pub mod upstream;
mod wire;
