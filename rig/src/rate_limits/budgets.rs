//! Counts in fixed windows, as envoyproxy/ratelimit and Limitador do.
//!
//! In: limits and requests. Out: answers, and counters to inspect. Windows begin at multiples of
//! their length since 1970. Limitador begins them with the first hit, but does not say when they
//! end, so clients cannot see the difference. Sources: envoyproxy/ratelimit's
//! `src/redis/fixed_cache_impl.go`, `src/utils/utilities.go` and `src/service/ratelimit.go`,
//! Limitador's `limitador-server/src/envoy_rls/`. Not here: matching of descriptors by trees or
//! conditions, shadow modes, local caches, counting per domain.

use core::time::Duration;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration as Span;

use super::{Method, grpc};

/// A limit: the hits per window of each descriptor whose first entry is `tollgate_limit` with this
/// value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    value: String,
    max: u32,
    /// In seconds.
    window: u64,
}

impl Limit {
    /// Returns a limit of `max` hits per `window` for descriptors of the limit `value`, such as
    /// `free/tpm`.
    ///
    /// # Panics
    ///
    /// If `window` is not a number of seconds, because the servers support no others.
    #[must_use]
    pub fn new(value: &str, max: u32, window: Duration) -> Self {
        let whole = window.as_secs() > 0 && window.subsec_nanos() == 0;
        assert!(whole, "{window:?} is not a number of seconds");
        Self { value: value.to_owned(), max, window: window.as_secs() }
    }

    fn describe(&self) -> RateLimit {
        let unit = match self.window {
            1 => Unit::Second,
            60 => Unit::Minute,
            3_600 => Unit::Hour,
            86_400 => Unit::Day,
            604_800 => Unit::Week,
            2_592_000 => Unit::Month,
            31_536_000 => Unit::Year,
            _ => Unit::Unknown,
        };
        RateLimit { name: String::new(), requests_per_unit: self.max, unit: unit.into() }
    }
}

/// The key of a descriptor's first entry.
const LIMIT_KEY: &str = "tollgate_limit";

/// The reason for a gRPC error instead of an answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: u16,
    pub(super) why: &'static str,
}

/// All limits and all counters.
#[derive(Debug)]
pub(super) struct Budgets {
    limits: Vec<Limit>,
    counters: HashMap<Entries, Counter>,
    pub(super) like_limitador: bool,
    pub(super) refunds: bool,
    /// The clock's lead over the system's.
    pub(super) ahead: Duration,
}

type Entries = Vec<(String, String)>;

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// The number of the window since 1970.
    window: u64,
    hits: u64,
}

impl Budgets {
    pub(super) fn new(limits: Vec<Limit>) -> Self {
        Self {
            limits,
            counters: HashMap::new(),
            like_limitador: false,
            refunds: false,
            ahead: Duration::ZERO,
        }
    }

    /// Returns the hits in the current window for the descriptor with exactly these entries.
    pub(super) fn count(&self, entries: &[(&str, &str)]) -> u64 {
        let entries: Entries =
            entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let Some(limit) = self.limit(&entries) else { return 0 };
        self.hits(&entries, self.window(limit))
    }

    pub(super) fn answer(
        &mut self,
        method: Method,
        request: &RateLimitRequest,
    ) -> Result<RateLimitResponse, Refused> {
        match method {
            Method::ShouldRateLimit if !self.like_limitador => self.answer_like_ratelimit(request),
            Method::ShouldRateLimit | Method::CheckRateLimit | Method::Report => {
                Ok(self.answer_like_limitador(method, request))
            }
        }
    }

    fn answer_like_ratelimit(&mut self, request: &RateLimitRequest) -> Result<RateLimitResponse, Refused> {
        if request.domain.is_empty() || request.descriptors.is_empty() {
            return Err(Refused { code: grpc::UNKNOWN, why: "a domain and a descriptor are required" });
        }
        let descriptors = request.descriptors.iter();
        let statuses: Vec<_> =
            descriptors.map(|descriptor| self.status(descriptor, request.hits_addend)).collect();
        let over = statuses.iter().any(|status| status.code == i32::from(Code::OverLimit));
        Ok(RateLimitResponse { statuses, ..decided(over) })
    }

    fn status(&mut self, descriptor: &RateLimitDescriptor, of_request: u32) -> DescriptorStatus {
        let entries = entries(descriptor);
        let Some(limit) = self.limit(&entries).cloned() else {
            return DescriptorStatus {
                code: Code::Ok.into(),
                limit_remaining: u32::MAX,
                ..DescriptorStatus::default()
            };
        };
        let hits = descriptor.hits_addend.map_or_else(|| u64::from(of_request.max(1)), |addend| addend.value);
        let window = self.window(&limit);
        let before = self.hits(&entries, window);
        // A refund lowers the window to zero at most, and is never refused.
        let refund = descriptor.is_negative_hits && self.refunds;
        let after = if refund { before.saturating_sub(hits) } else { before.saturating_add(hits) };
        self.counters.insert(entries, Counter { window, hits: after });
        let over = !refund && after > u64::from(limit.max);
        let remaining = u64::from(limit.max).saturating_sub(after);
        // The server's clock counts whole seconds.
        let reset = limit.window - self.now() % limit.window;
        DescriptorStatus {
            code: code(over),
            current_limit: Some(limit.describe()),
            limit_remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            duration_until_reset: Some(Span { seconds: i64::try_from(reset).unwrap_or(i64::MAX), nanos: 0 }),
            quota: None,
        }
    }

    fn answer_like_limitador(&mut self, method: Method, request: &RateLimitRequest) -> RateLimitResponse {
        if request.domain.is_empty() {
            return RateLimitResponse::default();
        }
        // Limitador's limits apply to the first descriptor.
        let Some(entries) = request.descriptors.first().map(entries) else { return decided(false) };
        let Some(limit) = self.limit(&entries).cloned() else { return decided(false) };
        let hits = if method == Method::CheckRateLimit { 1 } else { u64::from(request.hits_addend.max(1)) };
        let window = self.window(&limit);
        let after = self.hits(&entries, window).saturating_add(hits);
        let over = after > u64::from(limit.max);
        let charged = match method {
            Method::ShouldRateLimit => !over,
            Method::CheckRateLimit => false,
            Method::Report => true,
        };
        if charged {
            self.counters.insert(entries, Counter { window, hits: after });
        }
        decided(over && method != Method::Report)
    }

    fn limit(&self, entries: &[(String, String)]) -> Option<&Limit> {
        let (_, value) = entries.first().filter(|(key, _)| key == LIMIT_KEY)?;
        self.limits.iter().find(|limit| limit.value == *value)
    }

    fn hits(&self, entries: &Entries, window: u64) -> u64 {
        let counter = self.counters.get(entries).copied().unwrap_or_default();
        if counter.window == window { counter.hits } else { 0 }
    }

    fn window(&self, limit: &Limit) -> u64 {
        self.now() / limit.window
    }

    /// Returns the seconds since 1970.
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
        (since + self.ahead).as_secs()
    }
}

fn entries(descriptor: &RateLimitDescriptor) -> Entries {
    descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect()
}

fn decided(over: bool) -> RateLimitResponse {
    RateLimitResponse { overall_code: code(over), ..RateLimitResponse::default() }
}

fn code(over: bool) -> i32 {
    if over { Code::OverLimit } else { Code::Ok }.into()
}
