//! The subject of a call: the values of the dimensions that limits are counted per.
//!
//! In: a caller, a model, an API. Out: the value of each dimension. Not here: reading values
//! (`identity`).

use crate::identity::Caller;

/// The caller, model, API and body of a call.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The dimensions read from the request.
    pub caller: &'a Caller,
    /// The requested model; empty if the request names none, or could not be read.
    pub model: &'a str,
    /// The API format's name.
    pub api: &'static str,
    /// The request's body, which identifies a refused call that comes back; empty if it was not
    /// read.
    pub body: &'a [u8],
}

/// The dimension of the upstream that a call is routed to. It is read with those of the caller, if
/// needed.
pub const UPSTREAM_DIMENSION: &str = "upstream";

/// Dimensions that need no configuration.
pub const BUILT_IN_DIMENSIONS: [&str; 3] = ["model", "api", UPSTREAM_DIMENSION];

impl<'a> Subject<'a> {
    /// Returns the value of a dimension. It is empty if the call lacks the dimension, so that all
    /// such calls share one budget.
    #[must_use]
    pub fn value(&self, dimension: &str) -> &'a [u8] {
        match dimension {
            "model" => self.model.as_bytes(),
            "api" => self.api.as_bytes(),
            _ => self.caller.value(dimension).unwrap_or_default(),
        }
    }
}
