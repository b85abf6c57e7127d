use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::identity::Caller;

fn caller(values: &[(&str, &[u8])]) -> Caller {
    Caller::new(values.iter().map(|(name, value)| ((*name).into(), value.to_vec())).collect())
}

fn limit(tier: &str, name: &str, per: &[&str]) -> Limit {
    let per = per.iter().map(|dimension| (*dimension).into()).collect();
    Limit { tier: tier.into(), per, ..Limit::example(name, "tokens", 1) }
}

fn descriptor(limit: &Limit, caller: &Caller) -> Descriptor {
    Descriptor::of(limit, &Subject { caller, model: "gpt-4o", api: "openai_chat", body: b"" })
}

/// Returns the key under which envoyproxy/ratelimit counts, without the time of the window:
/// `domain_key_value_key_value_`.
fn joined(descriptor: &Descriptor) -> String {
    let mut key = "tollgate_".to_owned();
    for (name, value) in descriptor.entries() {
        key.extend([name, "_", value, "_"]);
    }
    key
}

#[test]
fn the_limit_comes_first_and_dimensions_follow_in_the_order_of_the_limit() {
    let caller = caller(&[("tenant", b"acme"), ("user", b"ada@acme.example")]);
    let descriptor = descriptor(&limit("free", "tpm", &["user", "model", "tenant"]), &caller);
    let expected = [
        ("tollgate_limit", "free/tpm"),
        ("user", "ada@acme.example"),
        ("model", "gpt-4o"),
        ("tenant", "acme"),
    ];
    assert!(descriptor.entries().eq(expected), "{descriptor:?}");
}

#[test]
fn every_byte_but_those_of_plain_names_is_escaped() {
    assert_eq!(escaped(b"AZaz09-.~@:/+|"), "AZaz09-.~@:/+|");
    assert_eq!(escaped(b"a_b c%\0*'\"\\\n"), "a%5Fb%20c%25%00%2A%27%22%5C%0A");
    assert_eq!(escaped("ü€".as_bytes()), "%C3%BC%E2%82%AC");
    assert_eq!(escaped(b"\xff\xfe"), "%FF%FE");
}

#[test]
fn a_dimension_that_the_caller_lacks_has_a_value_that_nobody_can_send() {
    let limit = limit("free", "tpm", &["user"]);
    let value = |caller: &Caller| descriptor(&limit, caller).entries().last().unwrap().1.to_owned();
    assert_eq!(value(&caller(&[])), "_");
    assert_eq!(value(&caller(&[("user", b"_")])), "%5F");
}

#[test]
fn a_long_value_is_sent_as_its_hash() {
    assert_eq!(escaped(&[b'x'; 128]), "x".repeat(128));
    // printf 'x%.0s' {1..129} | sha256sum
    assert_eq!(escaped(&[b'x'; 129]), "_0ec9eb33e74510bcdd1f2ea55206e82f");
    // The length of the escaped form counts.
    assert_eq!(escaped(&[b' '; 42]), "%20".repeat(42));
    assert!(escaped(&[b' '; 43]).starts_with('_'));
    assert_eq!(escaped(&vec![b'x'; 1 << 20]).len(), 33);
}

#[test]
fn a_limit_is_named_by_its_tier_and_its_name() {
    assert_eq!(limit_value("free", "tpm"), "free/tpm");
    assert_eq!(limit_value("pro/eu_1", "in_h"), "pro/eu%5F1/in%5Fh");
    assert_eq!(limit_value("Größe \"L\"", "a.b-c"), "Gr%C3%B6%C3%9Fe%20%22L%22/a.b-c");
    assert_eq!(limit_value("", "tpm"), "_/tpm");
}

#[test]
fn a_clone_is_the_same_budget_and_costs_nothing() {
    let one = descriptor(&limit("free", "tpm", &["user"]), &caller(&[("user", b"ada")]));
    let other = one.clone();
    assert_eq!(one, other);
    assert!(Rc::ptr_eq(&one.0, &other.0));
}

/// Values that are likely to collide when they are joined.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just("_"),
        Just("%"),
        Just("5F"),
        Just("a"),
        Just("user"),
        Just("tenant"),
        Just("/"),
        Just("tollgate_limit")
    ];
    prop_oneof![
        3 => vec(part, 0..6).prop_map(|parts| parts.concat().into_bytes()),
        1 => vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_two_callers_share_a_budget(one in [value(), value()], other in [value(), value()]) {
        let limit = limit("free", "tpm", &["tenant", "user"]);
        let of = |[tenant, user]: &[Vec<u8>; 2]| descriptor(&limit, &caller(&[("tenant", tenant), ("user", user)]));
        prop_assert_eq!(of(&one) == of(&other), one == other);
        prop_assert_eq!(joined(&of(&one)) == joined(&of(&other)), one == other);
    }

    #[test]
    fn no_two_limits_share_a_budget(
        one in ("[a/_%é]{1,5}", "[a_.-]{1,4}", prop::sample::select(vec![&[][..], &["user"], &["tenant", "user"]])),
        other in ("[a/_%é]{1,5}", "[a_.-]{1,4}", prop::sample::select(vec![&[][..], &["user"], &["tenant", "user"]])),
        tenant in value(),
        user in value(),
    ) {
        let caller = caller(&[("tenant", &tenant), ("user", &user)]);
        let of = |(tier, name, per): &(String, String, &[&str])| descriptor(&limit(tier, name, per), &caller);
        prop_assert_eq!(joined(&of(&one)) == joined(&of(&other)), one == other);
    }

    #[test]
    fn an_escaped_value_is_short_and_plain(value in value()) {
        let text = escaped(&value);
        prop_assert!(!text.is_empty() && text.len() <= LONGEST_VALUE);
        prop_assert!(!text.trim_start_matches('_').contains('_'));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-.~@:/+|_".contains(&byte)));
    }
}
