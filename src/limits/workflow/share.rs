//! What a call says of its workflow, and what it holds together with other calls of it.
//!
//! In: the headers' word, claims and draws. Out: [`Workflow`], [`Share`]. Not here: how they are
//! held and settled (`workflow`).

use std::rc::Rc;

use crate::limits::workflow::once::Claim;
use crate::limits::workflow::pool::Draw;
use crate::units::Amount;

/// What a call says of its workflow.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// The dimension whose value is the workflow.
    pub dimension: Rc<str>,
    /// How many tokens the whole workflow may use; none if the call does not say.
    pub declared: Amount,
}

/// What a call holds together with others.
#[derive(Debug)]
pub(in crate::limits) enum Share {
    /// A request.
    Counted(Claim),
    /// Tokens.
    Drawn(Draw),
}
