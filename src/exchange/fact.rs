//! The table of facts for access logs, which the host keeps as filter state: one row each.
//!
//! In: nothing. Out: [`Fact`]s with their names and meanings. Not here: their values, which each
//! step of an exchange puts into its effects.

use std::borrow::Cow;

use crate::reply::usd;
use crate::units::NanoUsd;

macro_rules! facts {
    ($($ident:ident $name:literal $meaning:literal;)*) => {
        /// A fact about a call, for access logs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fact {
            $(
                #[doc = $meaning]
                $ident,
            )*
        }

        impl Fact {
            /// Every fact, in the order of the reference.
            pub const ALL: &[Self] = &[$(Self::$ident),*];

            /// Returns the name of the filter state, after `wasm.`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$ident => $name,)* }
            }

            /// Returns its meaning, for the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$ident => $meaning,)* }
            }
        }
    };
}

facts! {
    Tier "tollgate.tier"
        "the caller's tier";
    CountedInput "tollgate.input_tokens.counted"
        "input tokens counted before the call";
    UsedInput "tollgate.input_tokens.used"
        "input tokens charged";
    UsedOutput "tollgate.output_tokens.used"
        "output tokens charged, including reasoning";
    Cost "tollgate.cost_usd"
        "US dollars charged, if there is a price list";
    RefusedBy "tollgate.refused_by"
        "the limit that refused the call, `protocol upgrade` or `unrecognised path`";
    Warning "tollgate.warning"
        "the limits whose budgets are used beyond `warn_at`, separated by commas";
    Softened "tollgate.softened"
        "the changes of the request, as in `x-tollgate-softened`";
    StoppedBy "tollgate.stopped_by"
        "the limit that stopped the stream";
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text; of several, a socket has the last.
    Text(String),
    /// A number; a socket has the sum of its responses'.
    Number(u64),
    /// Money; a socket has the sum of its responses'.
    Money(NanoUsd),
}

impl Value {
    /// Adds a word to a text that lists several.
    pub(super) fn add_word(&mut self, word: &str) {
        if let Self::Text(words) = self {
            words.push(',');
            words.push_str(word);
        }
    }

    /// Adds the value of a further response on the same socket.
    pub(super) fn add(&mut self, later: Self) {
        *self = match (&self, later) {
            (Self::Number(sum), Self::Number(number)) => Self::Number(sum.saturating_add(number)),
            (Self::Money(sum), Self::Money(money)) => Self::Money(NanoUsd(sum.0.saturating_add(money.0))),
            (_, later) => later,
        };
    }

    /// Returns it as access logs show it.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Money(money) => Cow::Owned(usd(money.0)),
        }
    }
}
