//! The service's behaviour for a call, correct or faulty.
//!
//! In: a [`Behaviour`], a request and the budgets. Out: a [`Reply`]. Not here: sending it, and the
//! counting itself.

use core::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use prost::Message;

use super::Method;
use super::budgets::{Budgets, Refused};
use crate::upstream::Signal;

/// The service's behaviour for a call, chosen when the call arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Counts and answers at once.
    #[default]
    Answer,
    /// Counts at once and answers after this time, as over a slow network.
    Late(Duration),
    /// Counts at once and answers when this happens.
    Until(Signal),
    /// Accepts the call and never answers. Does not count.
    Never,
    /// Answers with bytes that are not protobuf, in a valid frame. Does not count.
    Garbage,
    /// Answers with an empty message, in which every field has its default. Does not count.
    Empty,
    /// Answers with the code UNKNOWN, overall and for each descriptor. Does not count.
    Unknown,
    /// Counts and answers without the status of the last descriptor.
    FewerStatuses,
    /// Fails with a gRPC status code and no message. Does not count.
    Status(u16),
    /// Counts and answers, and adds headers: names and values.
    Headers {
        /// Headers for the response to the caller.
        response: Vec<(&'static str, &'static str)>,
        /// Headers for the request to the upstream.
        request: Vec<(&'static str, &'static str)>,
    },
}

/// The service's reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// These bytes as the message.
    Message(Bytes),
    /// The same after a delay.
    Late(Duration, Bytes),
    /// The same when this has happened.
    Until(Signal, Bytes),
    /// A gRPC status code other than OK, and its message.
    Error(u16, &'static str),
    /// No answer.
    Nothing,
}

/// The tag of field 1 as a varint, and a truncated varint.
const GARBAGE: &[u8] = b"\x08\xff";

impl Behaviour {
    pub(super) fn reply(&self, method: Method, request: &RateLimitRequest, budgets: &mut Budgets) -> Reply {
        let mut counted = |change: &dyn Fn(&mut RateLimitResponse)| {
            let Refused { code, why } = match budgets.answer(method, request) {
                Ok(mut response) => {
                    change(&mut response);
                    return Reply::Message(response.encode_to_vec().into());
                }
                Err(refused) => refused,
            };
            Reply::Error(code, why)
        };
        match self {
            Self::Answer => counted(&|_| ()),
            Self::Late(time) => match counted(&|_| ()) {
                Reply::Message(bytes) => Reply::Late(*time, bytes),
                error => error,
            },
            Self::Until(signal) => match counted(&|_| ()) {
                Reply::Message(bytes) => Reply::Until(signal.clone(), bytes),
                error => error,
            },
            Self::Never => Reply::Nothing,
            Self::Garbage => Reply::Message(Bytes::from_static(GARBAGE)),
            Self::Empty => Reply::Message(Bytes::new()),
            Self::Unknown => Reply::Message(unknown(request).encode_to_vec().into()),
            Self::FewerStatuses => counted(&|response| drop(response.statuses.pop())),
            Self::Status(code) => Reply::Error(*code, "failed as the test has asked"),
            Self::Headers { response, request } => counted(&|answer| {
                answer.response_headers_to_add.extend(headers(response));
                answer.request_headers_to_add.extend(headers(request));
            }),
        }
    }
}

fn unknown(request: &RateLimitRequest) -> RateLimitResponse {
    let status = DescriptorStatus { code: Code::Unknown.into(), ..DescriptorStatus::default() };
    RateLimitResponse {
        overall_code: Code::Unknown.into(),
        statuses: vec![status; request.descriptors.len()],
        ..RateLimitResponse::default()
    }
}

fn headers(headers: &[(&str, &str)]) -> impl Iterator<Item = HeaderValue> {
    headers.iter().map(|&(key, value)| HeaderValue {
        key: key.to_owned(),
        value: value.to_owned(),
        ..HeaderValue::default()
    })
}
