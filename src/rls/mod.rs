//! One budget for many Envoys: limits that are counted by a rate limit service.
//!
//! In: global limits and the calls they apply to. Out: messages to the service, and what its answers mean.

pub mod descriptor;
pub mod message;
pub mod servers;
