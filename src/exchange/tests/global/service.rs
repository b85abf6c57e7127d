//! A fake rate limit service: it reads questions with generated messages, and counts in fixed
//! windows.
//!
//! It charges like envoyproxy/ratelimit (also refused amounts, if told to), accepts refunds, and
//! keeps a book of everything that it was asked to count.

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3 as pb;
use envoy_types::pb::google::protobuf::Duration;
use pb::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use prost::Message as _;

use crate::exchange::tests::Bench;
use crate::rls::Question;
use crate::units::Timestamp;

/// The service and its behaviour.
#[derive(Default)]
pub(super) struct FakeService {
    /// The maximum of each limit, and its window in seconds, by the value of its first entry.
    pub(super) limits: HashMap<String, (u64, u64)>,
    /// The charges, by limit, caller and window.
    charged: HashMap<(String, u64), i64>,
    /// The total charges, by limit and caller.
    pub(super) book: BTreeMap<String, i64>,
    /// Whether it also charges what it refuses.
    pub(super) charges_refused: bool,
    /// Whether it does not report when windows end.
    pub(super) hides_reset: bool,
    /// Whether it does not report single descriptors.
    pub(super) hides_statuses: bool,
    /// Headers that it adds to responses and requests.
    pub(super) response_headers: Vec<(&'static str, &'static str)>,
    pub(super) request_headers: Vec<(&'static str, &'static str)>,
    /// The questions it was asked, as text: the method, then each budget with its amount.
    pub(super) asked: Vec<String>,
}

impl FakeService {
    /// Creates a service with the global limits of a configuration.
    pub(super) fn of(bench: &Bench) -> Self {
        let limits = bench.config.tiers.all().iter().flat_map(|tier| &tier.global).map(|global| {
            let limit = &global.limit;
            let max =
                if limit.counts.name == "cost_usd" { limit.shape.max.0 / 1_000 } else { limit.shape.max.0 };
            (format!("{}/{}", limit.tier, limit.name), (max, limit.shape.window.as_secs_ceil()))
        });
        Self { limits: limits.collect(), ..Self::default() }
    }

    /// Answers a question.
    pub(super) fn answer(&mut self, question: &Question, now: Timestamp) -> Vec<u8> {
        let request = pb::RateLimitRequest::decode(question.message.as_slice()).unwrap();
        assert_eq!(request.domain, "tollgate");
        let method = question.method.name;
        let looks = method == "CheckRateLimit";
        let mut said = vec![method.to_owned()];
        let mut statuses = Vec::new();
        for descriptor in &request.descriptors {
            let first = &descriptor.entries[0];
            assert_eq!(first.key, "tollgate_limit");
            let values: Vec<_> = descriptor.entries.iter().map(|entry| entry.value.as_str()).collect();
            let (name, budget) = (first.value.clone(), values.join(" "));
            let hits =
                descriptor.hits_addend.map_or_else(|| u64::from(request.hits_addend), |hits| hits.value);
            let hits = i64::try_from(hits).unwrap() * if descriptor.is_negative_hits { -1 } else { 1 };
            said.push(format!("{budget} {hits:+}"));
            statuses.push(self.charge(&name, &budget, if looks { 0 } else { hits }, now));
        }
        self.asked.push(said.join(", "));
        let is_over =
            method != "Report" && statuses.iter().any(|status| status.code == Code::OverLimit as i32);
        let headers = |headers: &[(&str, &str)]| {
            let header = |(key, value): &(&str, &str)| HeaderValue {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                ..HeaderValue::default()
            };
            headers.iter().map(header).collect()
        };
        pb::RateLimitResponse {
            overall_code: if is_over { Code::OverLimit } else { Code::Ok } as i32,
            statuses: if self.hides_statuses { vec![] } else { statuses },
            response_headers_to_add: headers(&self.response_headers),
            request_headers_to_add: headers(&self.request_headers),
            ..pb::RateLimitResponse::default()
        }
        .encode_to_vec()
    }

    /// Charges a budget if it has room. A check succeeds as long as anything is left.
    fn charge(&mut self, name: &str, budget: &str, hits: i64, now: Timestamp) -> DescriptorStatus {
        let Some(&(max, seconds)) = self.limits.get(name) else {
            return DescriptorStatus {
                code: Code::Ok as i32,
                limit_remaining: u32::MAX,
                ..DescriptorStatus::default()
            };
        };
        let second = now.0 / 1_000_000_000;
        let charged = self.charged.entry((budget.to_owned(), second / seconds)).or_default();
        let max = i64::try_from(max).unwrap();
        let fits = if hits == 0 { *charged < max } else { *charged + hits <= max || hits < 0 };
        if fits || self.charges_refused {
            *charged += hits;
            *self.book.entry(budget.to_owned()).or_default() += hits;
        }
        DescriptorStatus {
            code: if fits { Code::Ok } else { Code::OverLimit } as i32,
            current_limit: Some(RateLimit {
                requests_per_unit: u32::try_from(max).unwrap(),
                ..RateLimit::default()
            }),
            limit_remaining: u32::try_from((max - *charged).max(0)).unwrap(),
            duration_until_reset: (!self.hides_reset)
                .then(|| Duration { seconds: (seconds - second % seconds).try_into().unwrap(), nanos: 0 }),
            ..DescriptorStatus::default()
        }
    }
}
