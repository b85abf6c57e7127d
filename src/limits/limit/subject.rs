//! Whom and what limits count.
//!
//! In: a caller, a model, an API. Out: the value of each dimension. Not here: where values are read
//! (`identity`).

use crate::identity::Caller;

/// Whom and what a call is counted for.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The dimensions read from the request.
    pub caller: &'a Caller,
    /// The model asked for; empty if the request does not say, or could not be read.
    pub model: &'a str,
    /// The API format's name.
    pub api: &'static str,
    /// The request's body, by which a call is known again that is refused and comes back; empty if
    /// it is not read.
    pub body: &'a [u8],
}

/// The dimension that is the upstream a call is routed to, read with those of the caller where it
/// is needed.
pub const UPSTREAM_DIMENSION: &str = "upstream";

/// Dimensions that need not be configured.
pub const BUILT_IN_DIMENSIONS: [&str; 3] = ["model", "api", UPSTREAM_DIMENSION];

impl<'a> Subject<'a> {
    /// The value of a dimension; empty if the call lacks it, so that all calls that do share one
    /// budget.
    #[must_use]
    pub fn value(&self, dimension: &str) -> &'a [u8] {
        match dimension {
            "model" => self.model.as_bytes(),
            "api" => self.api.as_bytes(),
            _ => self.caller.value(dimension).unwrap_or_default(),
        }
    }
}
