//! The protocols of rate limit services: how to ask and report, and the meaning of answers.
//!
//! In: [`Hits`] to ask for or report, and an answer's bytes. Out: [`Question`]s and [`Answer`]s.
//! Not here: the bytes of messages (`message`), which limits are asked for (`holding`), sending
//! (`host`).
//!
//! | protocol | before the call | after it |
//! |---|---|---|
//! | `envoy` | ShouldRateLimit with the reservation | ShouldRateLimit with the usage beyond it |
//! | `check_then_report` | ShouldRateLimit with 0 hits | ShouldRateLimit with the usage |
//! | `kuadrant` | CheckRateLimit | Report with the usage |
//! | any, with leases | ShouldRateLimit with the reservation or lease | as above, usage beyond it |
//!
//! Sources: the messages of `envoy.service.ratelimit.v3`; envoyproxy/ratelimit (`GetHitsAddends`: a
//! descriptor's addend of 0 only checks, a request's of 0 counts as 1); Limitador (reads only the
//! request's addend; its conditions name `descriptors[0]`; it answers CheckRateLimit, which checks
//! one hit, and Report, which always charges, with a code only; to ShouldRateLimit it adds the
//! headers of draft-polli-ratelimit-headers-03 if started with `--rate-limit-headers`).

use super::descriptor::Descriptor;
use super::headers::passable;
use super::message::{
    Code, DescriptorStatus, HeaderValue, RateLimitDescriptor, RateLimitRequest, RateLimitResponse,
};
use super::service::{HitsAddend, Protocol, Service};
use crate::units::Span;

/// A gRPC method.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Its service.
    pub service: &'static str,
    /// Its name.
    pub name: &'static str,
}

static SHOULD_RATE_LIMIT: Method =
    Method { service: "envoy.service.ratelimit.v3.RateLimitService", name: "ShouldRateLimit" };
static CHECK_RATE_LIMIT: Method =
    Method { service: "kuadrant.service.ratelimit.v1.RateLimitService", name: "CheckRateLimit" };
static REPORT: Method = Method { service: "kuadrant.service.ratelimit.v1.RateLimitService", name: "Report" };

/// One request to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The method to call.
    pub method: &'static Method,
    /// The message.
    pub message: Vec<u8>,
    /// The places of the hits that it covers.
    pub covers: Vec<usize>,
}

/// An amount of a budget.
#[derive(Clone, Copy, Debug)]
pub struct Hits<'a> {
    /// The budget.
    pub of: &'a Descriptor,
    /// The amount, as the service counts.
    pub hits: u64,
    /// Whether it is given back.
    pub given_back: bool,
}

/// The service's answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// One for each descriptor of the question.
    pub decisions: Vec<Decision>,
    /// Headers that the service adds to the response.
    pub response_headers: Vec<HeaderValue>,
    /// Headers that the service adds to the request.
    pub request_headers: Vec<HeaderValue>,
}

/// The service's decision on one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the call may pass.
    pub allowed: bool,
    /// The hits left, if the service reports them.
    pub remaining: Option<u64>,
    /// The time until its window ends, if the service reports it.
    pub reset: Option<Span>,
    /// Whether the service has such a limit, as far as its answer tells.
    pub is_known: bool,
}

/// The reason why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer in time, or an error.
    Unavailable,
    /// The answer is not a message.
    Unreadable,
    /// The answer leaves it open: its code is UNKNOWN, as in an empty message.
    Undecided,
}

impl Failure {
    /// Returns its label in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::Undecided => "undecided",
        }
    }
}

/// The most descriptors of a request.
const MOST_DESCRIPTORS: usize = 64;

/// The most hits for one budget. Servers count limits in 32 bits, so no budget is larger. A number
/// of more than 63 bits would make a server with counters in Redis fail the whole request.
const MOST_HITS: u64 = 0xffff_ffff;

impl Service {
    /// Asks for amounts, which are charged if allowed and the protocol charges.
    #[must_use]
    pub fn ask(&self, asked: &[Hits<'_>]) -> Vec<Question> {
        match self.protocol {
            _ if self.charges_when_asked() => self.say(&SHOULD_RATE_LIMIT, asked),
            Protocol::Envoy | Protocol::CheckThenReport => {
                let looks: Vec<_> = asked.iter().map(|hits| Hits { hits: 0, ..*hits }).collect();
                self.say(&SHOULD_RATE_LIMIT, &looks)
            }
            Protocol::Kuadrant => self.say(&CHECK_RATE_LIMIT, asked),
        }
    }

    /// Reports amounts that were used, or are given back.
    #[must_use]
    pub fn tell(&self, told: &[Hits<'_>]) -> Vec<Question> {
        match self.protocol {
            Protocol::Envoy | Protocol::CheckThenReport => self.say(&SHOULD_RATE_LIMIT, told),
            Protocol::Kuadrant => self.say(&REPORT, told),
        }
    }

    /// Returns the most budgets of one request.
    pub(super) fn together(&self) -> usize {
        match self.hits_addend {
            HitsAddend::Descriptor => MOST_DESCRIPTORS,
            HitsAddend::Request => 1,
        }
    }

    fn say(&self, method: &'static Method, said: &[Hits<'_>]) -> Vec<Question> {
        let together = self.together();
        let places: Vec<usize> = (0..said.len()).collect();
        let parts = said.chunks(together).zip(places.chunks(together));
        parts
            .map(|(part, places)| Question { method, message: self.message(part), covers: places.to_vec() })
            .collect()
    }

    fn message(&self, said: &[Hits<'_>]) -> Vec<u8> {
        let in_request = self.hits_addend == HitsAddend::Request;
        let descriptors = said.iter().map(|hits| RateLimitDescriptor {
            entries: hits.of.entries().collect(),
            hits_addend: (!in_request).then_some(hits.hits.min(MOST_HITS)),
            is_negative_hits: hits.given_back,
        });
        let hits = if in_request { said.first().map_or(0, |hits| hits.hits) } else { 0 };
        RateLimitRequest {
            domain: &self.domain,
            descriptors: descriptors.collect(),
            hits_addend: u32::try_from(hits).unwrap_or(u32::MAX),
        }
        .encode()
    }
}

impl Answer {
    /// Returns the answer as seen `span` after it came: its windows end that much sooner.
    #[must_use]
    pub fn after(mut self, span: Span) -> Self {
        for decision in &mut self.decisions {
            decision.reset = decision.reset.map(|reset| reset - span);
        }
        self
    }
}

impl Question {
    /// Reads the answer.
    ///
    /// The overall code decides. Statuses identify the limit that refuses; a server may send fewer
    /// of them than descriptors, or none.
    ///
    /// # Errors
    /// [`Failure`], if the answer decides nothing.
    pub fn read(&self, answer: &[u8]) -> Result<Answer, Failure> {
        let response = RateLimitResponse::decode(answer).map_err(|_| Failure::Unreadable)?;
        let is_over = match response.overall_code {
            Code::Unknown => return Err(Failure::Undecided),
            Code::Ok => false,
            Code::OverLimit => true,
        };
        let statuses = response.statuses.iter().map(Some).chain(core::iter::repeat(None));
        let statuses = statuses.take(self.covers.len());
        let says_over = |status: &DescriptorStatus| status.code == Code::OverLimit;
        let is_explained = statuses.clone().flatten().any(says_over);
        let refused = |status: Option<&DescriptorStatus>| match status {
            _ if !is_over => false,
            Some(status) if is_explained => says_over(status),
            None if is_explained => false,
            _ => true,
        };
        let mut decisions: Vec<_> = statuses.map(|status| Decision::read(status, !refused(status))).collect();
        let response_headers = passable(response.response_headers_to_add);
        // For several limits, the headers describe the one with least left, without naming it.
        if let ([decision], true) = (&mut *decisions, response.statuses.is_empty()) {
            decision.read_headers(&response_headers);
        }
        Ok(Answer { decisions, response_headers, request_headers: passable(response.request_headers_to_add) })
    }
}

impl Decision {
    fn read(status: Option<&DescriptorStatus>, allowed: bool) -> Self {
        let Some(status) = status else {
            return Self { allowed, remaining: None, reset: None, is_known: true };
        };
        let has_limit = status.current_limit.is_some();
        // envoyproxy/ratelimit answers so for a descriptor without a matching limit.
        let is_known = has_limit || !allowed || status.limit_remaining != u32::MAX;
        let tells = has_limit || (is_known && status.limit_remaining > 0);
        Self {
            allowed,
            remaining: tells.then(|| u64::from(status.limit_remaining)),
            reset: status.duration_until_reset,
            is_known,
        }
    }

    /// Reads the standing of the only limit from the headers that Limitador can be configured to
    /// send.
    fn read_headers(&mut self, headers: &[HeaderValue]) {
        let number = |name: &str| {
            let header = headers.iter().find(|header| header.key == name)?;
            core::str::from_utf8(&header.value).ok()?.trim().parse::<u64>().ok()
        };
        self.remaining = number("x-ratelimit-remaining");
        // Limitador rounds down to whole seconds.
        self.reset = number("x-ratelimit-reset").map(|seconds| Span::from_secs(seconds.saturating_add(1)));
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
