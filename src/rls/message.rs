//! The protobuf messages of the rate limit service.
//!
//! In: a request, or the bytes of a response. Out: the bytes to send, or the response. Not here:
//! when to ask, the meaning of a response, and gRPC frames, which are the host's.
//!
//! `envoy.service.ratelimit.v3.RateLimitRequest` and `RateLimitResponse`, with the field numbers of
//! Envoy's `api/envoy/service/ratelimit/v3/rls.proto` and
//! `api/envoy/extensions/common/ratelimit/v3/ratelimit.proto`. Kuadrant's service has the same
//! messages. Responses are read by the rules of proto3: unknown fields are skipped, the last of
//! repeated scalars counts, repeated messages are merged.

use crate::protobuf::{Field, Malformed, Message, Writer};
use crate::units::Span;

/// The most statuses of a response that are kept, and the most headers of each kind. Servers send
/// fewer.
pub const MAX_KEPT: usize = 64;

/// A question to the service, or a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitRequest<'a> {
    /// The domain that the limits are in.
    pub domain: &'a str,
    /// The budgets.
    pub descriptors: Vec<RateLimitDescriptor<'a>>,
    /// The amount for each budget whose descriptor has none; servers read 0 as 1.
    pub hits_addend: u32,
}

/// A budget in a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitDescriptor<'a> {
    /// Keys and values, in the order of the server's configuration.
    pub entries: Vec<(&'a str, &'a str)>,
    /// The amount; 0 only checks. `None` applies the request's amount.
    pub hits_addend: Option<u64>,
    /// Whether the amount is given back instead. Servers without this field charge it.
    pub is_negative_hits: bool,
}

impl RateLimitRequest<'_> {
    /// Returns the bytes of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut request = Writer::default();
        request.text(1, self.domain);
        for descriptor in &self.descriptors {
            request.message(2, |message| descriptor.write(message));
        }
        request.number(3, self.hits_addend.into());
        request.finish()
    }
}

impl RateLimitDescriptor<'_> {
    fn write(&self, message: &mut Writer) {
        for (key, value) in &self.entries {
            message.message(1, |entry| {
                entry.text(1, key);
                entry.text(2, value);
            });
        }
        if let Some(hits) = self.hits_addend {
            // A google.protobuf.UInt64Value.
            message.message(3, |wrapper| wrapper.number(1, hits));
        }
        message.number(4, self.is_negative_hits.into());
    }
}

/// The service's decision on a question, or on one budget in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// No decision, or an unknown code.
    #[default]
    Unknown,
    /// Admitted.
    Ok,
    /// Refused.
    OverLimit,
}

/// A response of the service, with the fields that Tollgate uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimitResponse {
    /// The decision on all budgets together.
    pub overall_code: Code,
    /// One for each descriptor, in their order; some servers send none. At most [`MAX_KEPT`].
    pub statuses: Vec<DescriptorStatus>,
    /// Headers to add to the response. At most [`MAX_KEPT`].
    pub response_headers_to_add: Vec<HeaderValue>,
    /// Headers to add to the request if it passes. At most [`MAX_KEPT`].
    pub request_headers_to_add: Vec<HeaderValue>,
}

/// The service's status of one budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorStatus {
    /// Whether it has room.
    pub code: Code,
    /// The limit in the server's configuration; `None` if no limit matches.
    pub current_limit: Option<RateLimit>,
    /// The amount left in its window.
    pub limit_remaining: u32,
    /// The time until its window ends; `None` if the server does not report it, or reports a
    /// negative one.
    pub duration_until_reset: Option<Span>,
}

/// A limit of the server's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// The amount per window.
    pub requests_per_unit: u32,
    /// The window, numbered as in `RateLimitResponse.RateLimit.Unit`.
    pub unit: u32,
}

/// A header that the service adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderValue {
    /// Its name.
    pub key: String,
    /// Its value: `raw_value`, or `value` if that is empty.
    pub value: Vec<u8>,
}

impl RateLimitResponse {
    /// Reads a response. Empty input is a response without fields.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are not such a message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Message::new(bytes);
        let mut response = Self::default();
        while let Some(field) = message.field()? {
            match field {
                (1, Field::Varint(code)) => response.overall_code = Code::from_number(code),
                (2, Field::Bytes(status)) => keep(&mut response.statuses, status, DescriptorStatus::read)?,
                (3, Field::Bytes(header)) => {
                    keep(&mut response.response_headers_to_add, header, HeaderValue::read)?;
                }
                (4, Field::Bytes(header)) => {
                    keep(&mut response.request_headers_to_add, header, HeaderValue::read)?;
                }
                _ => {}
            }
        }
        Ok(response)
    }
}

/// Appends to a list that is not full.
fn keep<'a, T>(
    list: &mut Vec<T>,
    message: Message<'a>,
    read: impl FnOnce(Message<'a>) -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    if list.len() < MAX_KEPT {
        list.push(read(message)?);
    }
    Ok(())
}

impl Code {
    fn from_number(number: u64) -> Self {
        match low_32_bits(number) {
            1 => Self::Ok,
            2 => Self::OverLimit,
            _ => Self::Unknown,
        }
    }
}

impl DescriptorStatus {
    fn read(mut message: Message<'_>) -> Result<Self, Malformed> {
        let mut status = Self::default();
        let mut until_reset = None;
        while let Some(field) = message.field()? {
            match field {
                (1, Field::Varint(code)) => status.code = Code::from_number(code),
                (2, Field::Bytes(limit)) => status.current_limit.get_or_insert_default().merge(limit)?,
                (3, Field::Varint(remaining)) => status.limit_remaining = low_32_bits(remaining),
                (4, Field::Bytes(duration)) => {
                    until_reset.get_or_insert_with(Duration::default).merge(duration)?;
                }
                _ => {}
            }
        }
        status.duration_until_reset = until_reset.and_then(Duration::span);
        Ok(status)
    }
}

impl RateLimit {
    fn merge(&mut self, mut message: Message<'_>) -> Result<(), Malformed> {
        while let Some(field) = message.field()? {
            match field {
                (1, Field::Varint(requests)) => self.requests_per_unit = low_32_bits(requests),
                (2, Field::Varint(unit)) => self.unit = low_32_bits(unit),
                _ => {}
            }
        }
        Ok(())
    }
}

impl HeaderValue {
    fn read(mut message: Message<'_>) -> Result<Self, Malformed> {
        let (mut key, mut value, mut raw) = ("", "", &[][..]);
        while let Some(field) = message.field()? {
            match field {
                (1, Field::Bytes(text)) => key = text.text()?,
                (2, Field::Bytes(text)) => value = text.text()?,
                (3, Field::Bytes(bytes)) => raw = bytes.bytes(),
                _ => {}
            }
        }
        let value = if raw.is_empty() { value.as_bytes() } else { raw };
        Ok(Self { key: key.to_owned(), value: value.to_vec() })
    }
}

/// A `google.protobuf.Duration`; both numbers have the same sign.
#[derive(Clone, Copy, Default)]
struct Duration {
    seconds: i64,
    nanos: i32,
}

impl Duration {
    fn merge(&mut self, mut message: Message<'_>) -> Result<(), Malformed> {
        while let Some(field) = message.field()? {
            match field {
                (1, Field::Varint(seconds)) => self.seconds = seconds.cast_signed(),
                (2, Field::Varint(nanos)) => self.nanos = low_32_bits(nanos).cast_signed(),
                _ => {}
            }
        }
        Ok(())
    }

    fn span(self) -> Option<Span> {
        let (seconds, nanos) = (u64::try_from(self.seconds).ok()?, u64::try_from(self.nanos).ok()?);
        Some(Span::from_secs(seconds) + Span(nanos))
    }
}

/// Truncates the number of a 32-bit field, which may have more bits on the wire; a negative one
/// always has.
const fn low_32_bits(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
