//! The table of units: how replies word an amount of each.
//!
//! In: a [`Unit`]. Out: its [`UnitWords`]. Not here: the headers that report each unit (each family
//! of headers has its own table).

use super::numbers::usd;
use crate::limits::Unit;
use crate::units::Amount;

/// The wording of a unit's amounts.
pub(super) struct UnitWords {
    /// The quota unit of the IETF's fields; `None` for requests, the default.
    pub(super) quota_unit: Option<&'static str>,
    /// How many make up one quota unit; the fields only hold whole quota units.
    pub(super) per_quota_unit: u64,
    /// The `type` of OpenAI's rate limit errors.
    pub(super) openai_type: &'static str,
    /// Whether a limit on it holds per window; otherwise it holds at any time.
    pub(super) per_window: bool,
    /// Formats an amount for people.
    pub(super) amount: fn(Amount) -> String,
}

/// The row that most units share.
const PLAIN: UnitWords = UnitWords {
    quota_unit: None,
    per_quota_unit: 1,
    openai_type: "requests",
    per_window: true,
    amount: |amount| amount.to_string(),
};

static REQUESTS: UnitWords = PLAIN;

static TOKENS: UnitWords = UnitWords { quota_unit: Some("tokens"), openai_type: "tokens", ..PLAIN };

static NANO_USD: UnitWords = UnitWords {
    quota_unit: Some("micro-usd"),
    per_quota_unit: 1_000,
    openai_type: "cost",
    amount: |amount| format!("${}", usd(amount.0)),
    ..PLAIN
};

static CHARACTERS: UnitWords =
    UnitWords { quota_unit: Some("characters"), openai_type: "characters", ..PLAIN };

/// The draft registers the quota unit `concurrent-requests`.
static IN_FLIGHT: UnitWords =
    UnitWords { quota_unit: Some("concurrent-requests"), per_window: false, ..PLAIN };

static TOOL_CALLS: UnitWords =
    UnitWords { quota_unit: Some("tool-calls"), openai_type: "tool_calls", ..PLAIN };

impl Unit {
    /// Returns its row.
    pub(super) const fn words(self) -> &'static UnitWords {
        match self {
            Self::Requests => &REQUESTS,
            Self::Tokens => &TOKENS,
            Self::NanoUsd => &NANO_USD,
            Self::Characters => &CHARACTERS,
            Self::InFlight => &IN_FLIGHT,
            Self::ToolCalls => &TOOL_CALLS,
        }
    }
}
