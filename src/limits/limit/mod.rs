//! One limit, the amount that it holds for a call, and the standing of its budgets.
//!
//! In: a [`Subject`] and an [`Estimate`]. Out: a key, an amount, a [`Standing`]. Not here:
//! reserving.

pub(in crate::limits) mod estimate;
pub(in crate::limits) mod id;
pub(in crate::limits) mod priority;
pub(in crate::limits) mod rates;
pub(in crate::limits) mod resource;
pub(in crate::limits) mod subject;
pub(in crate::limits) mod unit;

use std::rc::Rc;

pub use estimate::{Estimate, ExpectedOutput};
pub use id::LimitId;
use priority::Reserved;
use rates::Rates;
use resource::Resource;
pub use subject::{BUILT_IN_DIMENSIONS, Subject, UPSTREAM_DIMENSION};

use crate::api::Usage;
use crate::api::answer::ToolsCalled;
use crate::config::{Glob, Ratio};
use crate::limits::budget::{Budget, Shape};
use crate::store::{Key, KeyHasher, SubjectHash};
use crate::units::{Amount, Product, Span};

/// A limit: a resource, the dimensions that it is counted per, an amount and a window.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Its name within its tier.
    pub name: Rc<str>,
    /// Its tier's name, because tiers have budgets of their own.
    pub tier: Rc<str>,
    /// The identity that its budgets are stored under, from [`Limit::id`].
    pub id: LimitId,
    /// Whether each of its budgets has a line of the table to itself, because too many limits of
    /// its tier have the same dimensions. Other budgets of a caller are in one line.
    pub is_apart: bool,
    /// The resource that it counts.
    pub counts: &'static Resource,
    /// The dimensions it is counted per; none means one budget for the whole tier.
    pub per: Vec<Rc<str>>,
    /// The amount, the window, and how it gives back.
    pub shape: Shape,
    /// The patterns of models it applies to; all models, if empty.
    pub models: Vec<Glob>,
    /// The patterns of tools whose calls it counts, if it counts tool calls.
    pub tools: Vec<Glob>,
    /// The treatment of calls that offer a tool whose budget is exhausted.
    pub on_exhausted: OnExhausted,
    /// The dimension of which it counts each value once; `None` if it counts every call.
    pub once_per: Option<Rc<str>>,
    /// The identity that its budgets' rates are stored under, if it adapts to its upstream.
    pub rate_id: Option<Rc<str>>,
    /// The share of its budgets that is reserved for callers who cannot wait.
    pub reserved: Option<Reserved>,
    /// Whether it only reports what it would refuse.
    pub shadow: bool,
    /// The share of the budget from which on it warns.
    pub warn_at: Ratio,
}

/// The treatment of an LLM call that offers a tool whose budget is exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExhausted {
    /// The tool is taken out of the request.
    #[default]
    HideTool,
    /// The call is refused.
    Refuse,
}

/// A call's use of all resources.
#[derive(Clone, Copy, Debug)]
pub struct Used<'a> {
    /// Its tokens and characters.
    pub usage: &'a Usage,
    /// The rates of its tokens.
    pub rates: &'a Rates,
    /// The tools that were called, and how often.
    pub tools: &'a ToolsCalled,
}

/// A limit whose budgets a rate limit service keeps.
#[derive(Clone, Debug)]
pub struct GlobalLimit {
    /// The limit as the service has it.
    pub limit: Rc<Limit>,
    /// The part of it that this process enforces if the service cannot be asked.
    pub stand_in: Rc<Limit>,
}

impl GlobalLimit {
    /// Creates a global limit. This process enforces `share` of it, at least one, if the service
    /// cannot be asked.
    #[must_use]
    pub fn new(limit: Limit, share: Ratio) -> Self {
        let part = Amount(share.of(limit.shape.max.0).max(1));
        let shape = Shape { max: part, burst: part, ..limit.shape };
        // It has budgets of its own, separate from those of a local limit of the same name.
        let id = LimitId::from(format!("{}/stand-in", limit.id));
        let stand_in = Limit { id, shape, ..limit.clone() };
        Self { limit: Rc::new(limit), stand_in: Rc::new(stand_in) }
    }
}

impl Limit {
    /// Creates a limit with one budget for its whole tier, which counts all calls and warns only
    /// when nothing is left.
    #[must_use]
    pub fn new(tier: &Rc<str>, name: &str, counts: &'static Resource, shape: Shape) -> Self {
        Self {
            name: name.into(),
            tier: tier.clone(),
            id: Self::id(tier, name, counts),
            is_apart: false,
            counts,
            per: vec![],
            shape,
            models: vec![],
            tools: vec![],
            on_exhausted: OnExhausted::default(),
            once_per: None,
            rate_id: None,
            reserved: None,
            shadow: false,
            warn_at: Ratio::ONE,
        }
    }

    /// Returns the identity that a limit's budgets are stored under. A limit that counts another
    /// resource starts anew.
    #[must_use]
    pub fn id(tier: &str, name: &str, counts: &Resource) -> LimitId {
        [tier, name, counts.name].join("/").into()
    }

    /// Returns whether it applies to a model. An unknown model matches every limit, so that an
    /// unreadable body does not evade it.
    #[must_use]
    pub fn applies_to(&self, model: &str) -> bool {
        self.models.is_empty() || model.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }

    /// Returns whether it can be decided before the body is read.
    #[must_use]
    pub fn is_known_at_once(&self) -> bool {
        let mut dimensions = self.per.iter().chain(&self.once_per);
        let needs_model = !self.models.is_empty() || dimensions.any(|dimension| **dimension == *"model");
        self.counts.is_known_at_once() && !needs_model
    }

    /// Returns whether it counts calls in flight, and can before the body is read.
    pub(in crate::limits) fn is_in_flight_at_once(&self) -> bool {
        self.counts.is_in_flight() && self.is_known_at_once()
    }

    /// Returns whether it counts calls of tools.
    #[must_use]
    pub fn is_of_tools(&self) -> bool {
        self.counts.is_of_tools()
    }

    /// Returns whether it counts calls of this tool.
    #[must_use]
    pub fn counts_tool(&self, name: &str) -> bool {
        self.is_of_tools() && self.tools.iter().any(|pattern| pattern.matches(name))
    }

    /// Returns how many of these calls it counts. Calls of unknown tools count in every limit, like
    /// calls of unknown models.
    #[must_use]
    pub fn calls_of(&self, tools: &ToolsCalled) -> Amount {
        let counted = tools.iter().filter(|(name, _)| name.is_empty() || self.counts_tool(name));
        Amount(counted.map(|(_, calls)| calls).fold(0, u64::saturating_add))
    }

    /// Returns the amount that a call has used. Calls in flight are not used up.
    #[must_use]
    pub fn used(&self, used: &Used<'_>) -> Amount {
        if self.is_of_tools() {
            return self.calls_of(used.tools);
        }
        (self.counts.amount)(used.usage, used.rates)
    }

    /// Returns the key of its budget for a subject.
    pub(in crate::limits) fn key(&self, keys: &KeyHasher, subject: &Subject<'_>) -> Key {
        self.key_of(self.hash_of(keys, subject), keys)
    }

    /// Returns the hash of the subject's values of its dimensions. It is the same for all limits
    /// with these dimensions.
    pub(in crate::limits) fn hash_of(&self, keys: &KeyHasher, subject: &Subject<'_>) -> SubjectHash {
        keys.subject(self.per.iter().map(|dimension| (&**dimension, subject.value(dimension))))
    }

    /// Returns the key of its budget for a subject with this hash.
    pub(in crate::limits) fn key_of(&self, subject: SubjectHash, keys: &KeyHasher) -> Key {
        let key = Key::of(self.id.hash(keys), subject);
        if self.is_apart { key.apart() } else { key }
    }

    /// Returns the key of the rate of its budget for a subject, if it adapts.
    pub(in crate::limits) fn rate_key(&self, keys: &KeyHasher, subject: &Subject<'_>) -> Option<Key> {
        Some(self.key_under(self.rate_id.as_deref()?, None, keys, subject))
    }

    /// Returns the key of a record beside its budget for a subject, and for a value of one more
    /// dimension.
    pub(in crate::limits) fn key_beside(
        &self,
        what: &str,
        more: Option<(&str, &[u8])>,
        keys: &KeyHasher,
        subject: &Subject<'_>,
    ) -> Key {
        // No limit has this id, because names have no slashes.
        self.key_under(&format!("{}//{what}", self.id), more, keys, subject)
    }

    /// Returns the key of a record of one call, by all dimensions of its caller and by its body.
    pub(in crate::limits) fn key_of_call(
        &self,
        what: &str,
        body: &[u8],
        keys: &KeyHasher,
        subject: &Subject<'_>,
    ) -> Key {
        let more = subject.caller.values().chain([("body", body)]);
        self.key_under(&format!("{}//{what}", self.id), more, keys, subject)
    }

    fn key_under<'k>(
        &'k self,
        id: &str,
        more: impl IntoIterator<Item = (&'k str, &'k [u8])>,
        keys: &KeyHasher,
        subject: &Subject<'k>,
    ) -> Key {
        let per = self.per.iter().map(|dimension| (&**dimension, subject.value(dimension)));
        keys.key(id, per.chain(more))
    }

    /// Returns the amount that must be left of its budget for an amount to pass, while it allows as
    /// much as `present` does.
    ///
    /// An amount that fits an untouched budget is never refused for ever, neither because the limit
    /// currently allows less nor because a part is reserved for others. It passes when nothing of
    /// the budget is used, into a debt if necessary.
    pub(in crate::limits) fn room(&self, amount: Amount, present: &Self, subject: &Subject<'_>) -> Amount {
        if amount.is_zero() || amount > self.shape.capacity() {
            return amount;
        }
        let capacity = present.shape.capacity();
        let kept = self.reserved.as_ref().map_or(Amount::ZERO, |reserved| reserved.keeps(subject, capacity));
        (amount + kept).min(capacity)
    }

    /// Returns the amount to hold for a call. It covers the input, and the output that the request
    /// allows, if that is a fair share of the budget. Otherwise it covers the recent output of
    /// similar calls, up to that share.
    ///
    /// If the input fits an unused budget, the amount held never exceeds that budget, and an output
    /// that does not fit becomes debt when it comes. A guessed input never exceeds it either, or a
    /// mere guess could refuse a call for ever.
    #[must_use]
    pub fn hold(&self, estimate: &Estimate) -> Amount {
        let amount = |output: u64| {
            let usage = estimate.known.plus(Usage { output, ..Usage::default() });
            (self.counts.amount)(&usage, &estimate.rates)
        };
        let input = amount(0);
        let capacity = self.shape.capacity();
        if estimate.output_is_known {
            return if estimate.exact { input } else { input.min(capacity) };
        }
        let share = Amount(estimate.at_most.of(capacity.0));
        let expected = (amount(estimate.expected_output.most.0) - input).min(share);
        let output = match estimate.max_output.map(|bound| amount(bound) - input) {
            Some(allowed) if allowed <= share => allowed,
            Some(allowed) => allowed.min(expected),
            None => expected,
        };
        if input <= capacity || !estimate.exact { (input + output).min(capacity) } else { input + output }
    }

    /// Returns the amount that a call is expected to use in the end; at most the amount held.
    #[must_use]
    pub fn expected(&self, estimate: &Estimate) -> Amount {
        (self.counts.amount)(&estimate.mean(), &estimate.rates).min(self.hold(estimate))
    }

    /// Returns the amount from which on it warns.
    #[must_use]
    pub fn warning(&self) -> Amount {
        Amount(self.warn_at.of(self.shape.capacity().0))
    }

    /// Returns the standing of a budget of this limit.
    pub(in crate::limits) fn standing(self: &Rc<Self>, budget: &Budget) -> Standing {
        Standing {
            limit: self.clone(),
            available: budget.available(),
            spent: budget.spent(),
            reset: budget.reset_in(),
        }
    }
}

/// The standing of one caller's budget of a limit.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The limit.
    pub limit: Rc<Limit>,
    /// The amount that can still be spent at once.
    pub available: Amount,
    /// The amount spent; more than the capacity if there is a debt.
    pub spent: Amount,
    /// The time until the budget is full again, or its window ends.
    pub reset: Span,
}

impl Standing {
    /// Reduces the standing for callers who must leave this amount to others.
    pub(in crate::limits) fn without(self, kept: Amount) -> Self {
        Self { available: self.available - kept, ..self }
    }

    /// Returns the used part of the budget in percent, rounded down; more than 100 in debt.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        Product::of(self.spent.0, 100).div_rem(self.limit.shape.capacity().0.max(1)).0
    }

    /// Returns whether the budget is used beyond the warning.
    #[must_use]
    pub fn is_past_warning(&self) -> bool {
        self.spent >= self.limit.warning()
    }

    /// Returns the standing with the smallest share left, which matters most to clients.
    pub fn most_constrained<'s>(standings: impl IntoIterator<Item = &'s Self>) -> Option<&'s Self> {
        standings.into_iter().min_by(|one, other| {
            // one.available / one.capacity < other.available / other.capacity, without division
            let cross = |left: &Self, right: &Self| {
                u128::from(left.available.0).saturating_mul(u128::from(right.limit.shape.capacity().0))
            };
            cross(one, other).cmp(&cross(other, one))
        })
    }
}

#[cfg(test)]
impl Limit {
    /// Returns a token bucket of `max` a minute, per user of the tier `free`.
    pub(crate) fn example(name: &str, counts: &str, max: u64) -> Self {
        use crate::limits::{Algorithm, resource};

        let counts = resource(counts).unwrap();
        let (max, window) = (Amount(max), Span::from_secs(60));
        let shape = Shape { algorithm: Algorithm::TokenBucket, max, burst: max, window };
        let limit = Self::new(&"free".into(), name, counts, shape);
        Self { per: vec!["user".into()], warn_at: Ratio { ppm: 800_000 }, ..limit }
    }
}
