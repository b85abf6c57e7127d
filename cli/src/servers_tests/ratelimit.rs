//! The configuration of envoyproxy/ratelimit, read by the rules of its README.

use std::rc::Rc;

use proptest::prelude::*;
use serde::Deserialize;

use tollgate::limits::Limit;
use tollgate::rls::UNITS;

use super::{all_kinds, entries, limit, per};
use crate::servers::ratelimit;

/// The file in the server's own types. Unknown fields are errors, as in the server.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Root {
    domain: String,
    descriptors: Vec<Branch>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Branch {
    key: String,
    value: Option<String>,
    rate_limit: Option<Leaf>,
    #[serde(default)]
    descriptors: Vec<Self>,
}

#[derive(Deserialize, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
struct Leaf {
    unit: String,
    requests_per_unit: u32,
}

fn read(text: &str) -> Root {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Finds the limit for the entries of a descriptor: at each level a branch with this value, or else
/// one without a value. A limit applies only if the entries end there.
fn found(root: &Root, entries: &[(String, String)]) -> Option<Leaf> {
    let mut level = &root.descriptors;
    let mut leaf = None;
    for (key, value) in entries {
        let of_key = || level.iter().filter(|branch| branch.key == *key);
        let branch = of_key().find(|branch| branch.value.as_ref() == Some(value));
        let branch = branch.or_else(|| of_key().find(|branch| branch.value.is_none()))?;
        leaf = branch.rate_limit.clone();
        level = &branch.descriptors;
    }
    leaf
}

#[test]
fn every_limit_is_found_by_the_descriptors_of_its_callers() {
    let root = read(&ratelimit("tollgate", &all_kinds()).unwrap());
    assert_eq!((root.domain.as_str(), root.descriptors.len()), ("tollgate", 5));
    let expected = [("minute", 20), ("minute", 50_000), ("month", 500_000), ("week", 1_000_000), ("hour", 9)];
    for (limit, (unit, requests_per_unit)) in all_kinds().iter().zip(expected) {
        let leaf = found(&root, &entries(limit, "ada"));
        assert_eq!(leaf, Some(Leaf { unit: unit.into(), requests_per_unit }), "{}", limit.name);
    }
}

#[test]
fn every_unit_has_its_length() {
    for (seconds, name) in UNITS {
        let text = ratelimit("tollgate", &[Rc::new(limit("x", "tokens", 1, seconds))]).unwrap();
        assert!(text.contains(&format!("unit: {name}\n")), "{text}");
    }
}

#[test]
fn no_limits_are_an_empty_list() {
    assert!(read(&ratelimit("tollgate", &[]).unwrap()).descriptors.is_empty());
}

proptest! {
    #[test]
    fn any_names_read_back_as_they_were(domain in "\\PC{1,8}", tier in any::<String>(), dimensions in prop::collection::vec("\\PC{1,8}", 0..4), caller in any::<String>()) {
        let dimensions: Vec<_> = dimensions.iter().map(String::as_str).collect();
        let limit = Limit { tier: tier.as_str().into(), ..per(limit("tpm", "tokens", 7, 60), &dimensions) };
        let root = read(&ratelimit(&domain, &[Rc::new(limit.clone())]).unwrap());
        prop_assert_eq!(&root.domain, &domain);
        let leaf = Leaf { unit: "minute".into(), requests_per_unit: 7 };
        prop_assert_eq!(found(&root, &entries(&limit, &caller)), Some(leaf));
    }
}
