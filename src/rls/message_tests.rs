use envoy_types::pb::envoy::config::core::v3 as core_pb;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3 as descriptor_pb;
use envoy_types::pb::envoy::service::ratelimit::v3 as pb;
use envoy_types::pb::google::protobuf as well_known;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message as _;

use super::*;

/// Returns the fields of prost's message that Tollgate keeps.
fn kept(message: pb::RateLimitResponse) -> RateLimitResponse {
    let headers = |headers: Vec<core_pb::HeaderValue>| headers.into_iter().take(MAX_KEPT).map(kept_header);
    RateLimitResponse {
        overall_code: kept_code(message.overall_code),
        statuses: message.statuses.into_iter().take(MAX_KEPT).map(kept_status).collect(),
        response_headers_to_add: headers(message.response_headers_to_add).collect(),
        request_headers_to_add: headers(message.request_headers_to_add).collect(),
    }
}

fn kept_code(number: i32) -> Code {
    match pb::rate_limit_response::Code::try_from(number) {
        Ok(pb::rate_limit_response::Code::Ok) => Code::Ok,
        Ok(pb::rate_limit_response::Code::OverLimit) => Code::OverLimit,
        Ok(pb::rate_limit_response::Code::Unknown) | Err(_) => Code::Unknown,
    }
}

fn kept_status(status: pb::rate_limit_response::DescriptorStatus) -> DescriptorStatus {
    let limit = |limit: pb::rate_limit_response::RateLimit| RateLimit {
        requests_per_unit: limit.requests_per_unit,
        unit: limit.unit as u32,
    };
    let span = |duration: well_known::Duration| {
        let is_negative = duration.seconds < 0 || duration.nanos < 0;
        (!is_negative).then(|| Span::from_secs(duration.seconds as u64) + Span(duration.nanos as u64))
    };
    DescriptorStatus {
        code: kept_code(status.code),
        current_limit: status.current_limit.map(limit),
        limit_remaining: status.limit_remaining,
        duration_until_reset: status.duration_until_reset.and_then(span),
    }
}

fn kept_header(header: core_pb::HeaderValue) -> HeaderValue {
    let value = if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value };
    HeaderValue { key: header.key, value }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_/%-]{0,12}", "\\PC{0,6}", Just("x".repeat(200))]
}

fn code() -> impl Strategy<Value = i32> {
    prop_oneof![4 => 0..4, 1 => any::<i32>()]
}

prop_compose! {
    fn quota()(requests in any::<u32>(), id in text(), until in option::of((any::<i64>(), any::<i32>()))) -> pb::rate_limit_response::Quota {
        use pb::rate_limit_response::quota::ExpirationSpecifier;
        let until = until.map(|(seconds, nanos)| ExpirationSpecifier::ValidUntil(well_known::Timestamp { seconds, nanos }));
        pb::rate_limit_response::Quota { requests, id, expiration_specifier: until }
    }
}

prop_compose! {
    fn status()(
        code in code(),
        limit in option::of((text(), any::<u32>(), code())),
        limit_remaining in any::<u32>(),
        until_reset in option::of((-2..i64::MAX, prop_oneof![3 => 0..1_000_000_000, 1 => any::<i32>()])),
        quota in option::of(quota()),
    ) -> pb::rate_limit_response::DescriptorStatus {
        pb::rate_limit_response::DescriptorStatus {
            code,
            current_limit: limit.map(|(name, requests_per_unit, unit)| pb::rate_limit_response::RateLimit { name, requests_per_unit, unit }),
            limit_remaining,
            duration_until_reset: until_reset.map(|(seconds, nanos)| well_known::Duration { seconds, nanos }),
            quota,
        }
    }
}

prop_compose! {
    fn header()(key in text(), value in text(), raw_value in prop_oneof![Just(vec![]), vec(any::<u8>(), 0..8)]) -> core_pb::HeaderValue {
        core_pb::HeaderValue { key, value, raw_value }
    }
}

fn metadata() -> impl Strategy<Value = well_known::Struct> {
    proptest::collection::btree_map(text(), any::<f64>(), 0..3).prop_map(|numbers| well_known::Struct {
        fields: numbers
            .into_iter()
            .map(|(key, number)| {
                let kind = Some(well_known::value::Kind::NumberValue(number));
                (key, well_known::Value { kind })
            })
            .collect(),
    })
}

prop_compose! {
    fn response()(
        overall_code in code(),
        statuses in vec(status(), 0..5),
        response_headers_to_add in vec(header(), 0..4),
        request_headers_to_add in vec(header(), 0..4),
        raw_body in vec(any::<u8>(), 0..20),
        dynamic_metadata in option::of(metadata()),
        quota in option::of(quota()),
    ) -> pb::RateLimitResponse {
        pb::RateLimitResponse {
            overall_code, statuses, response_headers_to_add, request_headers_to_add, raw_body, dynamic_metadata, quota,
        }
    }
}

/// A descriptor's parts, owned.
type Parts = (Vec<(String, String)>, Option<u64>, bool);

fn parts() -> impl Strategy<Value = Parts> {
    (vec((text(), text()), 0..4), option::of(prop_oneof![Just(0), any::<u64>()]), any::<bool>())
}

fn descriptor((entries, hits_addend, is_negative_hits): &Parts) -> RateLimitDescriptor<'_> {
    let entries = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    RateLimitDescriptor { entries, hits_addend: *hits_addend, is_negative_hits: *is_negative_hits }
}

fn descriptor_pb((entries, hits_addend, is_negative_hits): &Parts) -> descriptor_pb::RateLimitDescriptor {
    let entry = |(key, value): &(String, String)| descriptor_pb::rate_limit_descriptor::Entry {
        key: key.clone(),
        value: value.clone(),
    };
    descriptor_pb::RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        limit: None,
        hits_addend: hits_addend.map(|value| well_known::UInt64Value { value }),
        is_negative_hits: *is_negative_hits,
    }
}

/// Wraps a message in a field of another.
fn wrapped(number: u8, inner: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(inner.len() as u64, &mut bytes);
    bytes.extend(inner);
    bytes
}

/// Asserts that our reading equals prost's, if prost reads anything. prost also skips groups, which
/// we refuse.
fn agrees_with_prost(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = RateLimitResponse::decode(bytes);
    if ours.is_err_and(|malformed| malformed.what == "an unknown wire type") {
        return Ok(());
    }
    if let Ok(theirs) = pb::RateLimitResponse::decode(bytes) {
        prop_assert_eq!(RateLimitResponse::decode(bytes), Ok(kept(theirs)));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn requests_are_the_bytes_that_prost_writes(
        domain in text(), parts in vec(parts(), 0..4), hits_addend in prop_oneof![Just(0), any::<u32>()],
    ) {
        let ours = RateLimitRequest { domain: &domain, descriptors: parts.iter().map(descriptor).collect(), hits_addend };
        let theirs = pb::RateLimitRequest { domain: domain.clone(), descriptors: parts.iter().map(descriptor_pb).collect(), hits_addend };
        prop_assert_eq!(pb::RateLimitRequest::decode(&*ours.encode()), Ok(theirs.clone()));
        prop_assert_eq!(ours.encode(), theirs.encode_to_vec());
    }

    #[test]
    fn answers_are_read_as_prost_wrote_them(response in response()) {
        prop_assert_eq!(RateLimitResponse::decode(&response.encode_to_vec()), Ok(kept(response)));
    }

    #[test]
    fn messages_that_come_twice_are_merged(one in response(), other in response(), status in [status(), status()]) {
        let answers = [one.encode_to_vec(), other.encode_to_vec()].concat();
        let merged = pb::RateLimitResponse::decode(&*answers).unwrap();
        prop_assert_eq!(RateLimitResponse::decode(&answers), Ok(kept(merged)));
        let twice = wrapped(2, &status.map(|status| status.encode_to_vec()).concat());
        let merged = pb::RateLimitResponse::decode(&*twice).unwrap();
        prop_assert_eq!(RateLimitResponse::decode(&twice), Ok(kept(merged)));
    }

    #[test]
    fn damage_is_an_error_or_what_prost_reads(
        response in response(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = response.encode_to_vec();
        prop_assume!(!bytes.is_empty());
        agrees_with_prost(&bytes[..cut.index(bytes.len())])?;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        agrees_with_prost(&bytes)?;
    }

    #[test]
    fn any_bytes_are_an_error_or_what_prost_reads(bytes in vec(any::<u8>(), 0..40)) {
        agrees_with_prost(&bytes)?;
    }
}

fn decoded(bytes: &[u8]) -> RateLimitResponse {
    RateLimitResponse::decode(bytes).unwrap()
}

#[test]
fn a_request_has_the_field_numbers_of_the_published_messages() {
    let descriptor =
        RateLimitDescriptor { entries: vec![("k", "v")], hits_addend: Some(0), is_negative_hits: true };
    let request = RateLimitRequest { domain: "d", descriptors: vec![descriptor], hits_addend: 300 };
    let expected = [
        &[0x0a, 1, b'd'][..],
        &[0x12, 12],
        &[0x0a, 6, 0x0a, 1, b'k', 0x12, 1, b'v'],
        &[0x1a, 0],
        &[0x20, 1],
        &[0x18, 0xac, 0x02],
    ];
    assert_eq!(request.encode(), expected.concat());
}

#[test]
fn an_empty_answer_says_nothing() {
    assert_eq!(decoded(b""), RateLimitResponse::default());
    assert_eq!(decoded(b"").overall_code, Code::Unknown);
}

#[test]
fn codes_that_nobody_knows_are_unknown() {
    let code = |bytes: &[u8]| decoded(bytes).overall_code;
    assert_eq!(
        [code(&[0x08, 0]), code(&[0x08, 1]), code(&[0x08, 2])],
        [Code::Unknown, Code::Ok, Code::OverLimit]
    );
    assert_eq!([code(&[0x08, 3]), code(&[0x08, 0xff, 0x01])], [Code::Unknown; 2]);
    // -1, as enumerations are encoded.
    assert_eq!(code(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Code::Unknown);
}

#[test]
fn of_a_number_that_comes_twice_the_last_counts() {
    assert_eq!(decoded(&[0x08, 2, 0x08, 1]).overall_code, Code::Ok);
}

#[test]
fn fields_that_nobody_knows_are_skipped() {
    let unknown = [
        &[0x78, 5][..],
        &[0x79, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x7a, 2, 0xff, 0xff],
        &[0x7d, 1, 2, 3, 4],
        // A known number with another type.
        &[0x0a, 1, 2],
    ];
    let unknown = unknown.concat();
    let status = [&unknown[..11], &[0x08, 2, 0x18, 7]].concat();
    let answer = [&unknown[..], &[0x08, 1], &wrapped(2, &status), &unknown].concat();
    let status = DescriptorStatus { code: Code::OverLimit, limit_remaining: 7, ..Default::default() };
    let expected = RateLimitResponse { overall_code: Code::Ok, statuses: vec![status], ..Default::default() };
    assert_eq!(decoded(&answer), expected);
}

#[test]
fn groups_are_refused() {
    let malformed = RateLimitResponse::decode(&[0x08, 1, 0x7b, 0x7c]).unwrap_err();
    assert_eq!(malformed, Malformed { at: 3, what: "an unknown wire type" });
}

#[test]
fn lengths_that_lie_are_errors() {
    for bytes in [&[0x12, 5, 0x08][..], &[0x12, 3, 0x22, 9, 0x08], &[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
        assert_eq!(RateLimitResponse::decode(bytes).unwrap_err().what, "cut short", "{bytes:?}");
    }
}

#[test]
fn a_duration_that_is_negative_or_absent_is_none() {
    let of = |seconds, nanos| {
        let duration_until_reset = Some(well_known::Duration { seconds, nanos });
        let status = pb::rate_limit_response::DescriptorStatus { duration_until_reset, ..Default::default() };
        let answer = pb::RateLimitResponse { statuses: vec![status], ..Default::default() };
        decoded(&answer.encode_to_vec()).statuses[0].duration_until_reset
    };
    assert_eq!(of(2, 5), Some(Span(2_000_000_005)));
    assert_eq!(of(0, 0), Some(Span::ZERO));
    assert_eq!([of(-1, 0), of(0, -1), of(1, -1), of(i64::MIN, i32::MIN)], [None; 4]);
    assert_eq!(of(i64::MAX, i32::MAX), Some(Span::MAX));
    assert_eq!(decoded(&[0x12, 0]).statuses[0].duration_until_reset, None);
}

#[test]
fn a_raw_value_goes_before_a_text() {
    let header = |value: &str, raw_value: &[u8]| {
        let header =
            core_pb::HeaderValue { key: "k".into(), value: value.into(), raw_value: raw_value.into() };
        let answer = pb::RateLimitResponse { response_headers_to_add: vec![header], ..Default::default() };
        decoded(&answer.encode_to_vec()).response_headers_to_add.remove(0).value
    };
    assert_eq!(header("text", b""), b"text");
    assert_eq!(header("text", b"\xff"), b"\xff");
    assert_eq!(header("", b""), b"");
}

#[test]
fn no_more_than_64_of_anything_is_kept() {
    let answer =
        [[0x12, 2, 0x08, 1].repeat(1_000), [0x1a, 0].repeat(1_000), [0x22, 0].repeat(1_000)].concat();
    let answer = decoded(&answer);
    let lengths =
        [answer.statuses.len(), answer.response_headers_to_add.len(), answer.request_headers_to_add.len()];
    assert_eq!(lengths, [MAX_KEPT; 3]);
}
