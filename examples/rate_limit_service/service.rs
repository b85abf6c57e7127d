//! The meaning of a call: its counters, its amounts, and its answer.
//!
//! In: messages of the Envoy rate limit service. Out: an overall code, and for each descriptor its
//! own: the limit with the least left, the amount left, and the end of its window. The rules, and
//! the server that each follows:
//!
//! - Every descriptor is evaluated by itself, as `descriptors[0]`, the name in limits written for
//!   Limitador.
//! - A call is charged to all its counters or, if any has too little left, to none (Limitador);
//!   with `--charge-over` always to all (envoyproxy/ratelimit). Refunds always apply.
//! - A descriptor's own `hits_addend` counts, and 0 only checks. Without it the call's applies,
//!   where 0 means 1. `is_negative_hits` refunds, down to zero (recent envoyproxy/ratelimit).
//! - A descriptor without a limit is within limits and has the highest `limit_remaining`
//!   (envoyproxy/ratelimit).
//! - An empty domain is UNKNOWN, a failing storage is gRPC's UNAVAILABLE (Limitador).
//! - A request that the service cannot carry out exactly is refused.
//!
//! Not here: storing the counters ([`crate::store`]).

use core::cmp::Reverse;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration;
use limitador::limit::Limit;
use tonic::{Request, Response, Status};

use crate::limits::Limits;
use crate::store::{Act, Amount, Charge, Standing, Store};

/// The service behind both protocols.
pub(crate) struct Service {
    limits: Limits,
    store: Store,
    asked: Act,
}

impl Service {
    /// Returns a service whose `ShouldRateLimit` does `asked`: [`Act::Fit`] or [`Act::Count`].
    pub(crate) const fn new(limits: Limits, store: Store, asked: Act) -> Self {
        Self { limits, store, asked }
    }

    /// Handles Kuadrant's `CheckRateLimit`: checks whether one more hit fits, and changes nothing.
    pub(crate) async fn check(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        only_one_amount(request)?;
        self.answer(request, Act::Look, |_| Amount::Take(1)).await
    }

    /// Handles Kuadrant's `Report`: charges the usage, whether it fits or not.
    pub(crate) async fn report(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        only_one_amount(request)?;
        let hits = u64::from(request.hits_addend.max(1));
        let answer = self.answer(request, Act::Count, |_| Amount::Take(hits)).await?;
        if answer.overall_code == code(Code::Unknown) {
            return Ok(answer);
        }
        Ok(RateLimitResponse { overall_code: code(Code::Ok), ..RateLimitResponse::default() })
    }

    async fn answer(
        &self,
        request: &RateLimitRequest,
        act: Act,
        amount: impl Fn(&RateLimitDescriptor) -> Amount,
    ) -> Result<RateLimitResponse, Status> {
        if request.domain.is_empty() {
            return Ok(RateLimitResponse::default());
        }
        if request.descriptors.is_empty() {
            return Err(Status::invalid_argument("a call without descriptors"));
        }

        let mut charges = Vec::new();
        let mut counters_of = Vec::with_capacity(request.descriptors.len());
        for descriptor in &request.descriptors {
            if descriptor.limit.is_some() {
                return Err(Status::unimplemented("a descriptor with a limit of its own"));
            }
            let counters = self
                .limits
                .counters(&request.domain, &descriptor.entries)
                .map_err(|error| Status::internal(error.to_string()))?;
            counters_of.push(counters.len());
            let amount = amount(descriptor);
            charges.extend(counters.into_iter().map(|counter| Charge { counter, amount }));
        }
        let standings =
            self.store.apply(act, &charges).await.map_err(|error| {
                Status::unavailable(format!("the storage of the counters failed: {error}"))
            })?;

        let mut told = charges.iter().map(|charge| charge.counter.limit()).zip(&standings);
        let statuses: Vec<_> = counters_of.iter().map(|count| status(told.by_ref().take(*count))).collect();
        let is_over = standings.iter().any(|standing| standing.is_over);
        let overall_code = code(if is_over { Code::OverLimit } else { Code::Ok });
        Ok(RateLimitResponse { overall_code, statuses, ..RateLimitResponse::default() })
    }
}

#[tonic::async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let of_call = u64::from(request.hits_addend.max(1));
        let amount = |descriptor: &RateLimitDescriptor| {
            let hits = descriptor.hits_addend.as_ref().map_or(of_call, |own| own.value);
            if descriptor.is_negative_hits { Amount::GiveBack(hits) } else { Amount::Take(hits) }
        };
        Ok(Response::new(self.answer(&request, self.asked, amount).await?))
    }
}

/// Refuses per-descriptor amounts. Kuadrant's service has one amount for all descriptors, and
/// ignoring the others would charge a wrong amount.
fn only_one_amount(request: &RateLimitRequest) -> Result<(), Status> {
    let has_own = request
        .descriptors
        .iter()
        .any(|descriptor| descriptor.hits_addend.is_some() || descriptor.is_negative_hits);
    if has_own {
        return Err(Status::invalid_argument(
            "a descriptor with hits of its own: this service takes the call's",
        ));
    }
    Ok(())
}

/// Returns the status of a descriptor, from the exceeded counter that resets last, or else the one
/// with the least left.
fn status<'a>(told: impl Iterator<Item = (&'a Limit, &'a Standing)>) -> DescriptorStatus {
    let decisive = told.max_by_key(|(limit, standing)| {
        let over_for = standing.is_over.then_some(standing.resets_in);
        (over_for, Reverse(remaining(limit, standing)))
    });
    let Some((limit, standing)) = decisive else {
        return DescriptorStatus {
            code: code(Code::Ok),
            limit_remaining: u32::MAX,
            ..DescriptorStatus::default()
        };
    };
    DescriptorStatus {
        code: code(if standing.is_over { Code::OverLimit } else { Code::Ok }),
        current_limit: Some(RateLimit {
            requests_per_unit: saturated(limit.max_value()),
            unit: i32::from(unit(limit.seconds())),
            name: limit.name().unwrap_or_default().to_owned(),
        }),
        limit_remaining: saturated(remaining(limit, standing)),
        duration_until_reset: Some(Duration {
            seconds: i64::try_from(standing.resets_in.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(standing.resets_in.subsec_nanos()).unwrap_or_default(),
        }),
        ..DescriptorStatus::default()
    }
}

fn remaining(limit: &Limit, standing: &Standing) -> u64 {
    limit.max_value().saturating_sub(standing.used)
}

fn unit(seconds: u64) -> Unit {
    match seconds {
        1 => Unit::Second,
        60 => Unit::Minute,
        3600 => Unit::Hour,
        86_400 => Unit::Day,
        604_800 => Unit::Week,
        // envoyproxy/ratelimit's lengths: 30 and 365 days.
        2_592_000 => Unit::Month,
        31_536_000 => Unit::Year,
        _ => Unit::Unknown,
    }
}

fn saturated(amount: u64) -> u32 {
    u32::try_from(amount).unwrap_or(u32::MAX)
}

const fn code(code: Code) -> i32 {
    code as i32
}
