//! Limits and their budgets: the charges of a call before it goes upstream, and their correction
//! after.
//!
//! ```text
//! Estimate ──▶ reserve (all limits or none) ──▶ Reservation ──▶ settle | keep (used exactly once)
//!                         └──▶ Refusal: the limit, the amount, the wait
//! ```
//!
//! In: a tier's [`Limit`]s, the [`Subject`] they are counted for, an [`Estimate`]. Out: [`Granted`]
//! or a [`Refusal`]. Not here: the tier of a call (`tiers`), the form of a refusal (`reply`), the
//! storage of budgets (`store`).

pub mod budget;
mod budgets;
mod lease;
mod limit;
mod queue;
mod remembered;
mod reserve;
mod workflow;

pub use budget::{Algorithm, Shape, Wait};
pub use budgets::{Budgets, Tally};
pub use lease::{Account, LeaseCharge, LeaseOutcome, LeasePolicy, WindowStatus};
pub use limit::priority::Reserved;
pub use limit::rates::{Price, Prices, Rates, Weights};
pub use limit::resource::{RESOURCE_NAMES, RESOURCES, Resource, resource};
pub use limit::unit::{Source, Unit};
pub use limit::{
    BUILT_IN_DIMENSIONS, Estimate, ExpectedOutput, GlobalLimit, Limit, LimitId, OnExhausted, Standing,
    Subject, UPSTREAM_DIMENSION, Used,
};
pub use remembered::busy::{Busy, Busyness};
pub use remembered::calibration::{Calibration, FARTHEST};
pub use remembered::crossing::newly_crossed;
pub use remembered::known::{is_known, make_known};
pub use remembered::output_reserve::OutputReserve;
pub use remembered::recent::RecentRecords;
pub use reserve::forecast::{fullness, room_for_output, spent_tools};
pub use reserve::refusal::{Reason, Refusal, longest};
pub use reserve::slot_list::Slots;
pub use reserve::slots::RENEW_EVERY;
pub use reserve::{Granted, Reservation, acquire_slots, reserve, reserve_tools, would_refuse_at_once};
pub use workflow::share::Workflow;
