//! A call's word on its workflow, and its share in charges of the workflow.
//!
//! In: the headers' word, claims and draws. Out: [`Workflow`], [`Share`]. Not here: how they are
//! held and settled (`workflow`).

use std::rc::Rc;

use crate::limits::workflow::once::Claim;
use crate::limits::workflow::pool::Draw;
use crate::units::Amount;

/// A call's word on its workflow.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// The dimension whose value is the workflow.
    pub dimension: Rc<str>,
    /// How many tokens the whole workflow may use; none if the call does not say.
    pub declared: Amount,
}

/// A call's share in a charge of its workflow.
#[derive(Debug)]
pub(in crate::limits) enum Share {
    /// A request.
    Counted(Claim),
    /// Tokens.
    Drawn(Draw),
}
