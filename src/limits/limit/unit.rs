//! The table of units in which budgets count: one row each, with all that differs between them.
//!
//! In: nothing. Out: [`Unit`]s. Not here: the resources that are counted in a unit (`resource`);
//! headers that exist for some units only (each family of headers in `reply` has its own table).

use crate::units::Amount;

/// A unit of budgets.
#[derive(Debug, PartialEq, Eq)]
pub struct Unit {
    /// The name in the plural of the whole units that rate limit servers count.
    pub name: &'static str,
    /// The amount that makes up one whole unit. Servers and the IETF's fields count whole ones.
    pub whole: u64,
    /// Where the amount of a call comes from.
    pub source: Source,
    /// Whether it is money, which is written in dollars.
    pub is_money: bool,
    /// Whether `lease.at_least`, a number of tokens, holds for leases in it.
    pub has_least_lease: bool,
    /// The quota unit of the IETF's fields; `None` for requests, the default.
    pub quota_unit: Option<&'static str>,
    /// The `type` of OpenAI's rate limit errors.
    pub openai_type: &'static str,
}

/// Where the amount of a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From its head: each call counts.
    Head,
    /// From its usage.
    Usage,
    /// From its head, until the call ends.
    InFlight,
    /// From the names of the tools that it calls.
    Tools,
}

impl Unit {
    /// Calls.
    pub const REQUESTS: Self = Self {
        name: "requests",
        whole: 1,
        source: Source::Head,
        is_money: false,
        has_least_lease: false,
        quota_unit: None,
        openai_type: "requests",
    };

    /// Tokens, weighted if weights are configured.
    pub const TOKENS: Self = Self {
        name: "tokens",
        source: Source::Usage,
        has_least_lease: true,
        quota_unit: Some("tokens"),
        openai_type: "tokens",
        ..Self::REQUESTS
    };

    /// Billionths of a US dollar. Servers count micro-dollars, because they count in 32 bits.
    pub const NANO_USD: Self = Self {
        name: "micro-dollars",
        whole: 1_000,
        source: Source::Usage,
        is_money: true,
        quota_unit: Some("micro-usd"),
        openai_type: "cost",
        ..Self::REQUESTS
    };

    /// Characters of text.
    pub const CHARACTERS: Self = Self {
        name: "characters",
        source: Source::Usage,
        quota_unit: Some("characters"),
        openai_type: "characters",
        ..Self::REQUESTS
    };

    /// Milliseconds of sound, which are limited and shown in seconds.
    pub const AUDIO: Self = Self {
        name: "seconds",
        whole: 1_000,
        source: Source::Usage,
        quota_unit: Some("audio-seconds"),
        openai_type: "audio",
        ..Self::REQUESTS
    };

    /// Calls under way at the same time. The IETF's draft registers the quota unit.
    pub const IN_FLIGHT: Self = Self {
        name: "calls",
        source: Source::InFlight,
        quota_unit: Some("concurrent-requests"),
        ..Self::REQUESTS
    };

    /// Calls of tools.
    pub const TOOL_CALLS: Self = Self {
        name: "tool calls",
        source: Source::Tools,
        quota_unit: Some("tool-calls"),
        openai_type: "tool_calls",
        ..Self::REQUESTS
    };

    /// Converts an amount to whole units, rounded down.
    #[must_use]
    pub fn wholes(&self, amount: Amount) -> u64 {
        amount.0.checked_div(self.whole).unwrap_or(0)
    }

    /// Converts an amount to whole units, rounded up.
    #[must_use]
    pub fn wholes_ceil(&self, amount: Amount) -> u64 {
        let wholes = self.wholes(amount);
        if self.amount(wholes) < amount { wholes.saturating_add(1) } else { wholes }
    }

    /// Converts whole units to an amount.
    #[must_use]
    pub const fn amount(&self, wholes: u64) -> Amount {
        Amount(wholes).times(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_counted_in_micro_dollars_and_all_else_one_by_one() {
        let usd = Unit::NANO_USD;
        let wholes =
            [0, 1, 999, 1_000, 1_001].map(|nano| (usd.wholes(Amount(nano)), usd.wholes_ceil(Amount(nano))));
        assert_eq!(wholes, [(0, 0), (0, 1), (0, 1), (1, 1), (1, 2)]);
        assert_eq!(usd.amount(2), Amount(2_000));
        assert_eq!((Unit::TOKENS.wholes_ceil(Amount(7)), Unit::TOKENS.amount(7)), (7, Amount(7)));
        assert_eq!(usd.wholes_ceil(Amount::MAX), u64::MAX / 1_000 + 1);
    }
}
