//! The problems that the filter replies with, independent of the dialect.
//!
//! In: the cause. Out: a [`Problem`]: one sentence with all that a reader needs to act, and its
//! [`Cause`] for programs. Not here: bodies and headers.

use super::numbers::{amount, go_duration, window};
use crate::identity::Unidentified;
use crate::limits::{Reason, Refusal, Wait};
use crate::units::Span;

/// A problem reported to the caller.
pub(super) struct Problem<'a> {
    /// For people.
    pub(super) message: String,
    /// For programs.
    pub(super) cause: Cause<'a>,
}

/// The kind of a problem.
#[derive(Clone, Copy)]
pub(super) enum Cause<'a> {
    /// A limit refused the call.
    OverBudget {
        /// The limit, and the amounts.
        refusal: &'a Refusal,
        /// The time until the call would fit; `None` if it never fits.
        wait: Option<Span>,
    },
    /// The upstream has asked for a pause.
    UpstreamBusy {
        /// The rest of the pause.
        wait: Span,
    },
    /// A required dimension is missing.
    Unidentified,
    /// The body names this member twice.
    DuplicateMember(&'static str),
    /// The call asks for another protocol.
    Upgrade,
    /// No known API has the path.
    Unrecognised,
    /// A header is invalid.
    Header,
}

impl<'a> Problem<'a> {
    /// Returns the problem of a call for this model, or of this tool, that a limit refused.
    pub(super) fn over_budget(refusal: &'a Refusal, model: &str, wait: Option<Span>) -> Self {
        if refusal.reason == Reason::Unknown {
            return Self::unknown_budget(refusal, wait);
        }
        let Refusal { standing, needed, wait: reason, reason: _ } = refusal;
        let limit = &standing.limit;
        let per: String = limit.per.iter().map(|dimension| format!(" per {dimension}")).collect();
        let reached = match reason {
            Wait::Never => "Request too large",
            Wait::For(_) => "Rate limit reached",
        };
        let model = if model.is_empty() { String::new() } else { format!(" for {}", shortened(model)) };
        let amount = |of| amount(limit.counts.unit, of);
        let message = format!(
            "{reached}{model} on {counted}{per} (limit `{name}`): Limit {max} {window}, Available {available}, Requested {needed}. {advice}",
            counted = limit.counts.name,
            name = limit.name,
            max = amount(limit.shape.max),
            window = if limit.counts.is_in_flight() {
                "at once".to_owned()
            } else {
                format!("per {}", window(limit.shape.window))
            },
            available = amount(standing.available),
            needed = amount(*needed),
            advice = match wait {
                Some(wait) => format!("Please try again in {}.", go_duration(wait)),
                None => "It cannot fit even an unused budget: make the request smaller.".to_owned(),
            }
        );
        Self { message, cause: Cause::OverBudget { refusal, wait } }
    }

    /// Returns the problem of a budget that could not be read, here or at the rate limit service.
    fn unknown_budget(refusal: &'a Refusal, wait: Option<Span>) -> Self {
        let message = format!(
            "Limit `{}` cannot be checked at the moment. Please try again in {}.",
            refusal.standing.limit.name,
            go_duration(wait.unwrap_or_default()),
        );
        Self { message, cause: Cause::OverBudget { refusal, wait } }
    }

    /// Returns the problem of an upstream that asked for a pause in calls for this model, maybe
    /// because of other callers.
    pub(super) fn upstream_busy(model: &str, wait: Span) -> Self {
        let model = if model.is_empty() { String::new() } else { format!(" for {}", shortened(model)) };
        let wait_text = go_duration(wait);
        let message = format!("The upstream is busy{model}. Please try again in {wait_text}.");
        Self { message, cause: Cause::UpstreamBusy { wait } }
    }

    /// Returns the problem of a caller that lacks a required dimension.
    pub(super) fn unidentified(missing: &Unidentified) -> Self {
        let message = format!("The caller cannot be identified: no value for `{}`.", missing.dimension);
        Self { message, cause: Cause::Unidentified }
    }

    /// Returns the problem of a body that names a member twice, where it is unclear which one
    /// counts.
    pub(super) fn duplicate_member(member: &'static str) -> Self {
        let message = format!("The body names `{member}` more than once, so what it asks for is ambiguous.");
        Self { message, cause: Cause::DuplicateMember(member) }
    }

    /// Returns the problem of a header that is not a whole number.
    pub(super) fn not_a_number(header: &str) -> Self {
        let message = format!("The header `{header}` is not a whole number of tokens.");
        Self { message, cause: Cause::Header }
    }

    /// Returns the problem of a header for a workflow on a call without one.
    pub(super) fn no_workflow(header: &str, dimension: &str) -> Self {
        let message =
            format!("The header `{header}` is for a workflow, but this call has no value for `{dimension}`.");
        Self { message, cause: Cause::Header }
    }

    /// Returns the problem of an upgrade, after which calls could not be counted.
    pub(super) fn upgrade() -> Self {
        let message =
            "LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket.".to_owned();
        Self { message, cause: Cause::Upgrade }
    }

    /// Returns the problem of a path of no known API, on which calls could not be counted.
    pub(super) fn unrecognised() -> Self {
        let message = "This gateway knows no LLM API with this path, so it refuses the call.".to_owned();
        Self { message, cause: Cause::Unrecognised }
    }
}

impl Cause<'_> {
    /// Returns the HTTP status.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::OverBudget { .. } | Self::UpstreamBusy { .. } => 429,
            Self::Unidentified => 401,
            Self::DuplicateMember(_) | Self::Header => 400,
            Self::Upgrade => 426,
            Self::Unrecognised => 404,
        }
    }

    /// Returns the word for access logs.
    pub(super) const fn details(self) -> &'static str {
        match self {
            Self::OverBudget { .. } => "tollgate_refused",
            Self::UpstreamBusy { .. } => "tollgate_upstream_busy",
            Self::Unidentified => "tollgate_unidentified",
            Self::DuplicateMember(_) | Self::Header => "tollgate_bad_request",
            Self::Upgrade => "tollgate_upgrade_refused",
            Self::Unrecognised => "tollgate_unrecognised",
        }
    }
}

/// Shortens a model's or tool's name to repeat it to the client that sent it: bounded, in one line.
pub(super) fn shortened(model: &str) -> String {
    model.chars().take(64).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
