//! What `make ratelimit-config` writes from an Envoy configuration.
//!
//! In: `envoy.yaml`. Out: `ratelimit.yaml` and `limitador.yaml`, which `tollgate::rls::servers` has written from the same limits; its tests say what
//! servers make of them.

#[path = "../../examples/ratelimit_config.rs"]
#[expect(dead_code, reason = "its arguments are read by nobody here")]
mod ratelimit_config;

use std::fs;

use ratelimit_config::Global;

/// A configuration of the filter itself.
fn filter(domain: &str, limit: &str) -> String {
    format!(
        "global: {{ cluster: c, domain: {domain} }}\ntiers: {{ free: {{ limits: [ {{ {limit}, scope: global }} ] }} }}\n"
    )
}

/// An Envoy configuration with such filters.
fn envoy(filters: &[String]) -> String {
    let part = |filter: &String| {
        let value: serde_json::Value = serde_saphyr::from_str(filter).unwrap();
        serde_json::json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value })
    };
    serde_json::json!({ "filters": filters.iter().map(part).collect::<Vec<_>>() }).to_string()
}

fn error(text: &str, domain: Option<&str>) -> String {
    Global::of(text, domain).err().unwrap()
}

const TPM: &str = "name: tpm, count: tokens, max: 10, window: 1m";

#[test]
fn both_configurations_are_written_from_all_filters_of_an_envoy() {
    let text = fs::read_to_string("tests/servers/envoy.yaml").unwrap();
    for (name, written) in Global::of(&text, None).unwrap().files() {
        assert_eq!(written.unwrap(), fs::read_to_string(format!("tests/servers/{name}")).unwrap(), "{name}");
    }
}

/// `make ratelimit-config OUT=envoy/ratelimit` writes them anew.
#[test]
fn the_limits_beside_the_example_are_those_of_the_example() {
    let text = fs::read_to_string("envoy/envoy-global.yaml").unwrap();
    for (name, written) in Global::of(&text, None).unwrap().files() {
        assert_eq!(
            written.unwrap(),
            fs::read_to_string(format!("envoy/ratelimit/{name}")).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_filters_own_configuration_will_do() {
    let global = Global::of(&filter("mine", TPM), None).unwrap();
    assert_eq!((global.domain.as_str(), &*global.limits[0].name), ("mine", "tpm"));
}

#[test]
fn of_several_domains_one_is_chosen() {
    let text = envoy(&[filter("one", TPM), filter("two", TPM)]);
    assert_eq!(Global::of(&text, Some("two")).unwrap().domain, "two");
    assert_eq!(error(&text, None), "has several domains, of which --domain has to choose one: `one`, `two`");
    assert_eq!(error(&text, Some("three")), "has no domain `three`, but `one`, `two`");
}

#[test]
fn filters_must_agree_on_a_limit_that_they_share() {
    let same = envoy(&[filter("one", TPM), filter("one", TPM)]);
    assert_eq!(Global::of(&same, None).unwrap().limits.len(), 1);
    let other = envoy(&[filter("one", TPM), filter("one", &TPM.replace("10", "11"))]);
    assert_eq!(error(&other, None), "has limit `tpm` of tier `free` twice, and not the same");
}

#[test]
fn errors_of_the_configuration_are_told_as_the_filter_tells_them() {
    let wrong = filter("one", &TPM.replace("tokens", "tokns"));
    assert!(
        error(&wrong, None).contains("tiers.free.limits[0].count: \"tokns\" is not one of"),
        "{}",
        error(&wrong, None)
    );
}

#[test]
fn a_file_without_global_limits_is_an_error() {
    assert_eq!(error("tiers: { free: {} }", None), "no filter in it has a section `global`");
    assert!(error("admin: {}", None).starts_with("has no configuration of Tollgate"));
}

#[test]
fn what_only_one_server_cannot_have_leaves_the_other() {
    let odd = filter("one", &TPM.replace("1m", "90s"));
    let [(_, ratelimit), (_, limitador)] = Global::of(&odd, None).unwrap().files();
    assert!(ratelimit.unwrap_err().starts_with("  limit `tpm` of tier `free`: its `window` is 1m 30s; "));
    assert!(limitador.is_ok());
}
