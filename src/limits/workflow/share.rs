//! A call's workflow, and its share in charges of the workflow.
//!
//! In: headers, claims and draws. Out: [`Workflow`], [`Share`]. Not here: how they are charged and
//! settled (`workflow`).

use std::rc::Rc;

use crate::limits::workflow::once::Claim;
use crate::limits::workflow::pool::Draw;
use crate::units::Amount;

/// The workflow of a call.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// The dimension whose value is the workflow.
    pub dimension: Rc<str>,
    /// The tokens that the whole workflow may use; zero if the call declares none.
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
