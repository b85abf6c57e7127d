//! Limits and the budgets behind them: what a call holds before it goes upstream, and what it is charged after.
//!
//! ```text
//! Estimate ──▶ reserve (all limits or none) ──▶ Reservation ──▶ settle | keep        (consumed exactly once)
//!                         └──▶ Refusal: which limit, how much, how long
//! ```
//!
//! In: a tier's [`Limit`]s, the [`Subject`] they are counted for, an [`Estimate`]. Out: [`Granted`] or a [`Refusal`]. Not here:
//! which tier a call has (`tiers`), what a refusal looks like (`reply`), where budgets are kept (`store`).

mod adaptive;
pub mod budget;
mod busy;
mod calibration;
mod counted;
mod crossing;
mod flights;
mod held;
mod in_flight;
mod lease;
mod ledger;
mod limit;
mod note;
mod once;
mod outlook;
mod output_reserve;
mod pool;
mod priority;
mod queue;
mod rates;
mod record;
mod reservation;
mod token_bucket;
mod window;
mod workflow;

pub use budget::{Algorithm, Shape, Wait};
pub use busy::{Busy, Busyness};
pub use calibration::{Calibration, FARTHEST};
pub use counted::{COUNTED, Counted, Unit, counted};
pub use crossing::newly_crossed;
pub use flights::{Flights, RENEW_EVERY};
pub use lease::{Account, LeasePolicy, Taken, Ticket, Told};
pub use ledger::{Ledger, Tally};
pub use limit::{
    BUILT_IN_DIMENSIONS, Estimate, GlobalLimit, Limit, OnExhausted, Standing, Subject, UPSTREAM_DIMENSION,
    Used,
};
pub use outlook::{fullness, room_for_output, spent_tools};
pub use output_reserve::{ExpectedOutput, OutputReserve};
pub use priority::Reserved;
pub use rates::{Price, Prices, Rates, Weights};
pub use reservation::{
    Granted, Reason, Refusal, Reservation, longest, reserve, reserve_tools, take_off, would_refuse_at_once,
};
pub use workflow::Workflow;
