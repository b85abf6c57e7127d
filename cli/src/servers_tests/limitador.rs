//! Limitador's configuration, tested with the real Limitador.

use std::collections::HashMap;
use std::rc::Rc;

use ::limitador::RateLimiter;
use ::limitador::limit::{Context, Limit as Entry};
use proptest::prelude::*;

use tollgate::limits::Limit;

use super::{all_kinds, entries, limit, per};
use crate::servers::limitador;

/// Returns a Limitador with this configuration.
fn server(limits: &[Rc<Limit>]) -> RateLimiter {
    let text = limitador("tollgate", limits).unwrap();
    let entries: Vec<Entry> = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let server = RateLimiter::new(1_000);
    for entry in entries {
        assert!(server.add_limit(entry), "a limit twice: {text}");
    }
    server
}

/// Returns whether `caller` may take `hits` more of `limit`, and only of this limit.
fn allows(server: &RateLimiter, limit: &Limit, caller: &str, hits: u64) -> bool {
    let mut context = Context::default();
    let descriptor: HashMap<_, _> = entries(limit, caller).into_iter().collect();
    context.list_binding("descriptors".to_owned(), vec![descriptor]);
    let answer = server.check_rate_limited_and_update(&"tollgate".into(), &context, hits);
    !answer.unwrap().limited
}

#[test]
fn every_limit_counts_its_callers_one_by_one_to_its_maximum() {
    let limits = all_kinds();
    let server = server(&limits);
    for (limit, max) in limits.iter().zip([20, 50_000, 500_000, 1_000_000, 9]) {
        assert!(allows(&server, limit, "ada", max), "{} allows its maximum", limit.name);
        assert!(!allows(&server, limit, "ada", 1), "{} allows no more", limit.name);
        assert_eq!(
            allows(&server, limit, "eve", max),
            !limit.per.is_empty(),
            "{}: another caller",
            limit.name
        );
    }
}

#[test]
fn its_entries_are_what_the_configuration_says() {
    let limits = [Rc::new(per(limit("tpm", "tokens", 7, 90), &["tenant", "user"]))];
    let text = limitador("my domain", &limits).unwrap();
    let entries: Vec<serde_json::Value> = serde_saphyr::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "namespace": "my domain",
        "name": "free/tpm",
        "max_value": 7,
        "seconds": 90,
        "conditions": ["descriptors[0]['tollgate_limit'] == 'free/tpm'"],
        "variables": ["descriptors[0]['tenant']", "descriptors[0]['user']"],
    });
    assert_eq!(entries, [expected]);
}

#[test]
fn no_limits_are_an_empty_list() {
    let text = limitador("tollgate", &[]).unwrap();
    assert!(serde_saphyr::from_str::<Vec<Entry>>(&text).unwrap().is_empty());
}

#[test]
fn a_dimension_must_not_hide_the_limit() {
    let limits = [Rc::new(per(limit("tpm", "tokens", 7, 60), &["tollgate_limit"]))];
    let unfit = limitador("tollgate", &limits).unwrap_err();
    assert_eq!(
        unfit[0].to_string(),
        "limit `tpm` of tier `free`: its `per` has a dimension `tollgate_limit`; rename it, because Limitador finds the limit by that key"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_names_are_found(tier in any::<String>(), dimensions in prop::collection::vec(any::<String>(), 0..3), caller in any::<String>()) {
        let dimensions: Vec<_> = dimensions.iter().map(String::as_str).collect();
        let limit = Limit { tier: tier.as_str().into(), ..per(limit("tpm", "tokens", 7, 60), &dimensions) };
        let server = server(&[Rc::new(limit.clone())]);
        prop_assert!(allows(&server, &limit, &caller, 7));
        prop_assert!(!allows(&server, &limit, &caller, 1));
    }
}
