//! What the tests, the demo and the benchmarks share.
//!
//! A call in a test goes through all of it: [`client`] sends it, a real Envoy ([`envoy`]) carries
//! it, and either the well-meaning [`mock_llm`] or a scripted [`upstream`] that misbehaves on cue
//! answers it. On the way Envoy may ask a scripted rate limit service ([`rate_limits`]) or the
//! example one ([`service`]). All listen on 127.0.0.1 on ports that the system chooses, and all end
//! when they are dropped. Many calls at once are made by [`load`]. How demos look is in [`demo`].
//!
//! The rig is the independent side: it knows how to talk to Tollgate but uses none of its code, so
//! a mistake in the filter's counting cannot hide behind the same mistake in the test. It panics
//! with an explanation where a test would fail anyway. What is expected of the filter is not here,
//! that is for the tests to say.

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
