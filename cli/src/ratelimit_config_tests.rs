//! The files written for rate limit servers, from one filter or several.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::ratelimit_config::Global;

/// Returns a configuration of the filter itself.
fn filter(domain: &str, limit: &str) -> String {
    format!(
        "global: {{ cluster: c, domain: {domain}, protocol: kuadrant }}\ntiers: {{ free: {{ limits: [ {{ {limit}, scope: global }} ] }} }}\n"
    )
}

/// Returns an Envoy configuration with these filters.
fn envoy(filters: &[String]) -> String {
    let part = |filter: &String| {
        let value: serde_json::Value = serde_saphyr::from_str(filter).unwrap();
        let carried =
            serde_json::json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value });
        serde_json::json!({ "configuration": carried })
    };
    serde_json::json!({ "filters": filters.iter().map(part).collect::<Vec<_>>() }).to_string()
}

fn of(text: &str, domain: Option<&str>) -> Result<Global, (Outcome, String)> {
    Global::of(Path::new("x.yaml"), text, domain)
}

fn error(text: &str, domain: Option<&str>) -> String {
    of(text, domain).err().unwrap().1
}

const TPM: &str = "name: tpm, count: tokens, max: 10, window: 1m";

/// Asserts that the files in `folder` are those written from `from`.
fn are_written(from: &str, folder: &str) {
    let text = fs::read_to_string(from).unwrap();
    for (name, written) in of(&text, None).unwrap_or_else(|(_, why)| panic!("{why}")).files() {
        assert_eq!(written.unwrap(), fs::read_to_string(format!("{folder}/{name}")).unwrap(), "{name}");
    }
}

#[test]
fn both_configurations_are_written_from_all_filters_of_an_envoy() {
    are_written("tests/servers/envoy.yaml", "tests/servers");
}

/// `make ratelimit-config OUT=envoy/ratelimit` updates the files.
#[test]
fn the_limits_beside_the_example_are_those_of_the_example() {
    are_written("../envoy/envoy-global.yaml", "../envoy/ratelimit");
}

#[test]
fn a_filters_own_configuration_will_do() {
    let global = of(&filter("mine", TPM), None).unwrap_or_else(|(_, why)| panic!("{why}"));
    assert_eq!((global.domain.as_str(), &*global.limits[0].name), ("mine", "tpm"));
}

#[test]
fn of_several_domains_one_is_chosen() {
    let text = envoy(&[filter("one", TPM), filter("two", TPM)]);
    assert_eq!(of(&text, Some("two")).map(|global| global.domain).ok().as_deref(), Some("two"));
    assert_eq!(error(&text, None), "x.yaml has several domains, choose one with --domain: `one`, `two`");
    assert_eq!(error(&text, Some("three")), "x.yaml has no domain `three`, only `one`, `two`");
}

#[test]
fn filters_must_agree_on_a_limit_that_they_share() {
    let same = envoy(&[filter("one", TPM), filter("one", TPM)]);
    assert_eq!(of(&same, None).map(|global| global.limits.len()).ok(), Some(1));
    let other = envoy(&[filter("one", TPM), filter("one", &TPM.replace("10", "11"))]);
    assert_eq!(error(&other, None), "x.yaml defines limit `tpm` of tier `free` twice, with different values");
}

#[test]
fn errors_are_told_with_their_lines() {
    let (outcome, why) = of(&filter("one", &TPM.replace("tokens", "tokns")), None).err().unwrap();
    assert_eq!(outcome, Outcome::Errors);
    let expected = "x.yaml has errors:\n  x.yaml:2: tiers.free.limits[0].count: \"tokns\" is not one of";
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_file_without_global_limits_is_an_error() {
    assert_eq!(error("tiers: { free: {} }", None), "x.yaml: no filter has a section `global`");
    assert_eq!(error("admin: {}", None), "x.yaml: contains no Tollgate configuration");
}

#[test]
fn what_only_one_server_cannot_have_leaves_the_other() {
    let odd = of(&filter("one", &TPM.replace("1m", "90s")), None).unwrap_or_else(|(_, why)| panic!("{why}"));
    let [(_, ratelimit), (_, limitador)] = odd.files();
    assert!(ratelimit.unwrap_err().starts_with("  limit `tpm` of tier `free`: its `window` is 90s; "));
    assert!(limitador.is_ok());
}
