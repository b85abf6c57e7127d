//! The section `global`, and limits with `scope: global`.

use std::rc::Rc;

use super::*;
use crate::config::Ratio;
use crate::limits::{Algorithm, GlobalLimit};
use crate::settings::Config;
use crate::tiers::Tier;

fn read(text: &str) -> Result<Config, String> {
    Config::read(text.as_bytes(), b"random").map_err(|errors| errors.to_string())
}

/// Returns the errors of a configuration.
fn errors(text: &str) -> String {
    read(text).err().unwrap()
}

/// Returns a configuration with this section `global`.
fn with_section(global: &str) -> String {
    format!(r#"{{ "tiers": {{ "free": {{}} }}, "global": {global} }}"#)
}

/// Returns the service, if the section `global` has a cluster and these options.
fn service_of(options: &str) -> Result<Service, String> {
    let text = with_section(&format!(r#"{{ "cluster": "rls", {options} }}"#));
    Ok(read(&text)?.global.as_deref().unwrap().clone())
}

/// Returns a configuration with the service and one tier with a limit of these options besides its
/// name, count and window.
fn with_limit(options: &str) -> String {
    let limit = format!(r#"{{ "name": "tpm", "count": "tokens", "max": 1000, "window": "1m", {options} }}"#);
    format!(
        r#"{{ "identity": {{ "user": {{ "header": "x-user" }} }}, "global": {{ "cluster": "rls" }},
              "tiers": {{ "free": {{ "limits": [ {limit} ] }} }} }}"#
    )
}

#[test]
fn a_cluster_is_enough() {
    let config = read(&with_section(r#"{ "cluster": "rls" }"#)).unwrap();

    let expected = Service {
        cluster: "rls".to_owned(),
        domain: "tollgate".to_owned(),
        protocol: Protocol::Envoy,
        refunds: false,
        hits_addend: HitsAddend::Descriptor,
        timeout: Span::from_millis(50),
        on_failure: OnFailure::Local,
        local_share: Ratio { ppm: 100_000 },
        lease: None,
        breaker: BreakerPolicy { failures: 5, probe_every: Span::from_secs(1) },
    };
    assert_eq!(config.global.as_deref(), Some(&expected));
}

#[test]
fn without_the_section_there_is_no_service() {
    assert_eq!(read(r#"{ "tiers": { "free": {} } }"#).unwrap().global, None);
}

#[test]
fn every_option_is_read() {
    let text = with_section(
        r#"{ "cluster": "limits", "domain": "fleet", "protocol": "envoy", "refunds": true, "hits_addend": "request",
             "timeout": "1s", "on_failure": "deny", "local_share": 0.25, "lease": { "share": "0.1", "at_least": "5_000" },
             "breaker": { "failures": 3, "probe_every": "10ms" } }"#,
    );
    let expected = Service {
        cluster: "limits".to_owned(),
        domain: "fleet".to_owned(),
        protocol: Protocol::Envoy,
        refunds: true,
        hits_addend: HitsAddend::Request,
        timeout: Span::from_secs(1),
        on_failure: OnFailure::Deny,
        local_share: Ratio { ppm: 250_000 },
        lease: Some(LeasePolicy { share: Ratio { ppm: 100_000 }, at_least: Amount(5_000) }),
        breaker: BreakerPolicy { failures: 3, probe_every: Span::from_millis(10) },
    };
    assert_eq!(read(&text).unwrap().global.as_deref(), Some(&expected));
}

#[test]
fn an_empty_section_of_leases_has_the_usual_ones() {
    let lease = service_of(r#""lease": {}"#).unwrap().lease;
    assert_eq!(lease, Some(LeasePolicy { share: Ratio { ppm: 20_000 }, at_least: Amount(1_000) }));
}

#[test]
fn amounts_are_where_the_protocol_has_them_unless_said_otherwise() {
    let place = |options| service_of(options).unwrap().hits_addend;
    assert_eq!(place(r#""protocol": "envoy""#), HitsAddend::Descriptor);
    assert_eq!(place(r#""protocol": "envoy", "hits_addend": "request""#), HitsAddend::Request);
    assert_eq!(place(r#""protocol": "check_then_report""#), HitsAddend::Descriptor);
    assert_eq!(
        place(r#""protocol": "check_then_report", "hits_addend": "descriptor""#),
        HitsAddend::Descriptor
    );
    assert_eq!(place(r#""protocol": "kuadrant""#), HitsAddend::Request);
    assert_eq!(place(r#""protocol": "kuadrant", "hits_addend": "request""#), HitsAddend::Request);
}

#[test]
fn what_contradicts_the_protocol_is_refused() {
    for (options, expected) in [
        (
            r#""protocol": "check_then_report", "hits_addend": "request""#,
            "global.hits_addend: must be `descriptor` with `protocol: check_then_report`: 0 hits of a request count as 1",
        ),
        (
            r#""protocol": "kuadrant", "hits_addend": "descriptor""#,
            "global.hits_addend: must be `request` with `protocol: kuadrant`",
        ),
        (r#""protocol": "kuadrant", "refunds": true"#, "global.refunds: requires `protocol: envoy`"),
        (r#""protocol": "check_then_report", "refunds": true"#, "global.refunds: requires `protocol: envoy`"),
    ] {
        assert_eq!(service_of(options), Err(expected.to_owned()));
    }
}

#[test]
fn options_are_checked_one_by_one() {
    for (options, expected) in [
        (r#""domain": """#, "global.domain"),
        (
            r#""protocol": "grpc""#,
            r#"global.protocol: "grpc" is not one of envoy, check_then_report, kuadrant"#,
        ),
        (r#""hits_addend": "body""#, r#"global.hits_addend: "body" is not one of descriptor, request"#),
        (r#""on_failure": "open""#, r#"global.on_failure: "open" is not one of local, allow, deny"#),
        (r#""timeout": "0ms""#, "global.timeout"),
        (r#""timeout": "11s""#, r#"global.timeout: "11s" is not a duration from 1ms to 10000ms"#),
        (r#""timeout": "soon""#, r#"global.timeout: "soon" is not a duration such as 30s, 1m, 1h, 1d"#),
        (r#""local_share": 1.5"#, "global.local_share"),
        (r#""lease": { "share": 2 }"#, "global.lease.share"),
        (r#""lease": { "at_least": -1 }"#, "global.lease.at_least"),
        (r#""lease": { "most": 1 }"#, "global.lease.most: is not a known option"),
        (r#""lease": "yes""#, "global.lease"),
        (r#""breaker": { "failures": 0 }"#, "global.breaker.failures"),
        (r#""breaker": { "failures": 1001 }"#, "global.breaker.failures"),
        (
            r#""breaker": { "probe_every": "9ms" }"#,
            r#"global.breaker.probe_every: "9ms" is not a duration from 10ms to 3600000ms"#,
        ),
        (
            r#""breaker": { "probe_every": "2h" }"#,
            r#"global.breaker.probe_every: "2h" is not a duration from 10ms to 3600000ms"#,
        ),
        (r#""tls": true"#, "global.tls: is not a known option"),
    ] {
        let errors = service_of(options).err().unwrap_or_else(|| panic!("{options} passes"));
        assert!(errors.starts_with(expected), "{expected}\n is not the beginning of\n{errors}");
        assert_eq!(errors.lines().count(), 1, "one error, and none that only follows from it: {errors}");
    }
}

#[test]
fn the_cluster_is_needed_and_no_longer_than_the_host_can_be_told() {
    let cluster = |name: &str| read(&with_section(&format!(r#"{{ "cluster": "{name}" }}"#)));
    assert!(cluster(&"x".repeat(125)).is_ok());
    let too_long = cluster(&"x".repeat(126)).err().unwrap();
    assert!(too_long.ends_with("is not the name of a cluster, of at most 125 bytes"), "{too_long}");
    // Bytes count, not letters.
    assert!(cluster(&"ü".repeat(63)).is_err());
    assert!(cluster("").is_err());
    let missing = errors(&with_section("{}"));
    assert_eq!(missing, "global.cluster: is missing, expected the name of a cluster, of at most 125 bytes");
}

fn only_tier(text: &str) -> Rc<Tier> {
    read(text).unwrap().tiers.all()[0].clone()
}

#[test]
fn a_global_limit_is_apart_from_local_ones_and_has_fixed_windows() {
    let tier = only_tier(&with_limit(r#""per": "user", "scope": "global""#));

    assert_eq!(tier.limits.len(), 0);
    let [GlobalLimit { limit, stand_in }] = &tier.global[..] else { panic!("{tier:?}") };
    assert_eq!((limit.shape.algorithm, limit.shape.max), (Algorithm::FixedWindow, Amount(1_000)));
    assert_eq!((stand_in.shape.algorithm, stand_in.shape.max), (Algorithm::FixedWindow, Amount(100)));
    assert_eq!((limit.shape.window, stand_in.shape.window), (Span::from_secs(60), Span::from_secs(60)));
    assert_ne!(limit.id, stand_in.id);
}

#[test]
fn a_limit_is_local_unless_it_says_otherwise() {
    for options in [r#""per": "user""#, r#""scope": "local""#] {
        let tier = only_tier(&with_limit(options));
        assert_eq!((tier.limits.len(), tier.global.len()), (1, 0));
        assert_eq!(tier.limits[0].shape.algorithm, Algorithm::TokenBucket);
    }
}

#[test]
fn this_process_stands_in_with_its_share_and_at_least_one() {
    let share = |share: &str, max: &str| {
        let text = with_limit(r#""scope": "global""#)
            .replace(r#""cluster": "rls""#, &format!(r#""cluster": "rls", "local_share": {share}"#))
            .replace("1000", max);
        only_tier(&text).global[0].stand_in.shape.max
    };
    assert_eq!(share("0.25", "1000"), Amount(250));
    assert_eq!(share("1", "1000"), Amount(1_000));
    assert_eq!(share("0", "1000"), Amount(1));
    assert_eq!(share("0.25", "1"), Amount(1));
}

#[test]
fn what_a_service_cannot_count_is_refused() {
    for (options, expected) in [
        (
            r#""scope": "globl""#,
            r#"tiers.free.limits[0].scope: "globl" is not one of local, global: did you mean `global`?"#,
        ),
        (
            r#""scope": "global", "algorithm": "token_bucket""#,
            "tiers.free.limits[0].algorithm: must be `fixed_window` with `scope: global`, as the service counts",
        ),
        (
            r#""scope": "global", "algorithm": "sliding_window""#,
            "tiers.free.limits[0].algorithm: must be `fixed_window` with `scope: global`, as the service counts",
        ),
        (
            r#""scope": "global", "burst": 5"#,
            "tiers.free.limits[0].burst: requires `algorithm: token_bucket`",
        ),
    ] {
        assert_eq!(errors(&with_limit(options)), expected);
    }
    assert!(read(&with_limit(r#""scope": "global", "algorithm": "fixed_window""#)).is_ok());
}

#[test]
fn a_global_limit_needs_the_section() {
    let text = with_limit(r#""scope": "global""#).replace(r#""global": { "cluster": "rls" },"#, "");
    assert_eq!(errors(&text), "tiers.free.limits[0].scope: is `global`, which needs the section `global`");
}

#[test]
fn an_error_in_the_section_is_not_told_again_at_every_limit() {
    let text =
        with_limit(r#""scope": "global""#).replace(r#""cluster": "rls""#, r#""cluster": 1, "timeout": "x""#);
    assert!(!errors(&text).contains("needs the section"), "{}", errors(&text));
}

#[test]
fn a_global_limit_has_a_window_that_the_service_has() {
    let limited = |service: &str, window: &str| {
        let text = with_limit(r#""scope": "global""#).replace("1m", window);
        let config = read(&text.replace(r#""cluster": "rls""#, &format!(r#""cluster": "rls", {service}"#)))?;
        Ok::<_, String>(config.tiers.all()[0].global[0].limit.shape.window)
    };
    const UNITS: [&str; 2] = [r#""protocol": "envoy""#, r#""protocol": "check_then_report""#];
    const SECONDS: [&str; 2] =
        [r#""protocol": "kuadrant""#, r#""protocol": "envoy", "hits_addend": "request""#];
    for service in UNITS {
        for (window, seconds) in [
            ("1s", 1),
            ("60s", 60),
            ("1h", 3_600),
            ("24h", 86_400),
            ("7d", 604_800),
            ("30d", 2_592_000),
            ("365d", 31_536_000),
        ] {
            assert_eq!(limited(service, window), Ok(Span::from_secs(seconds)), "{service}");
        }
        for window in ["90s", "2h", "31d", "500ms"] {
            assert_eq!(
                limited(service, window),
                Err("tiers.free.limits[0].window: must be 1s, 1m, 1h, 1d, 7d, 30d or 365d with `scope: global`, as the service counts".to_owned())
            );
        }
    }
    for service in SECONDS {
        assert_eq!(limited(service, "90s"), Ok(Span::from_secs(90)));
        assert_eq!(
            limited(service, "1500ms"),
            Err("tiers.free.limits[0].window: must be whole seconds with `scope: global`, as the service counts".to_owned())
        );
    }
    assert!(read(&with_limit(r#""scope": "local""#).replace("1m", "90s")).is_ok());
}

#[test]
fn a_window_is_checked_where_the_scope_is_changed() {
    let text = extended("", r#""scope": "global""#).replace(r#""1m", "#, r#""90s""#);
    assert_eq!(
        errors(&text),
        "tiers.pro.limits[0].window: must be 1s, 1m, 1h, 1d, 7d, 30d or 365d with `scope: global`, as the service counts"
    );
}

/// Returns two tiers: `pro` extends `free` and makes this change to its limit.
fn extended(base: &str, change: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tier": {{ "header": "x-tier", "default": "free" }} }}, "global": {{ "cluster": "rls" }},
              "tiers": {{
                "free": {{ "limits": [ {{ "name": "tpm", "count": "tokens", "max": 1000, "window": "1m", {base} }} ] }},
                "pro": {{ "extends": "free", "limits": [ {{ "name": "tpm", {change} }} ] }} }} }}"#
    )
}

/// Returns the limits of `pro`: local and global ones.
fn pro(text: &str) -> (Vec<Rc<crate::limits::Limit>>, Vec<GlobalLimit>) {
    let config = read(text).unwrap();
    let tier = config.tiers.all().iter().find(|tier| &*tier.name == "pro").unwrap().clone();
    (tier.limits.clone(), tier.global.clone())
}

#[test]
fn a_tier_that_extends_another_has_its_global_limits_as_limits_of_its_own() {
    let (local, global) = pro(&extended(r#""scope": "global""#, r#""max": 5000"#));

    assert_eq!((local.len(), global.len()), (0, 1));
    assert_eq!((&*global[0].limit.tier, global[0].limit.shape.max), ("pro", Amount(5_000)));
    assert_eq!(global[0].stand_in.shape.max, Amount(500));
}

#[test]
fn a_tier_may_change_where_an_inherited_limit_is_kept() {
    let (local, global) = pro(&extended(r#""per": "tier""#, r#""scope": "global""#));
    assert_eq!((local.len(), global.len()), (0, 1));
    assert_eq!(global[0].limit.shape.algorithm, Algorithm::FixedWindow);

    let (local, global) = pro(&extended(r#""scope": "global""#, r#""scope": "local""#));
    assert_eq!((local.len(), global.len()), (1, 0));
    assert_eq!(local[0].shape.algorithm, Algorithm::TokenBucket);
}

#[test]
fn a_change_of_scope_is_checked_with_what_is_inherited() {
    let text = extended(r#""algorithm": "sliding_window""#, r#""scope": "global""#);
    let expected =
        "tiers.pro.limits[0].algorithm: must be `fixed_window` with `scope: global`, as the service counts";
    assert_eq!(errors(&text), expected);

    let text = extended(r#""burst": 2000"#, r#""scope": "global""#);
    let expected = "tiers.pro.limits[0].burst: requires `algorithm: token_bucket`";
    assert_eq!(errors(&text), expected);
}

/// Returns a global limit per a dimension with this declaration and these options.
fn per_secret(dimension: &str, options: &str, scope: &str) -> String {
    format!(
        r#"{{ {options} "identity": {{ "api_key": {{ "header": "x-key", {dimension} }} }}, "global": {{ "cluster": "rls" }},
              "tiers": {{ "free": {{ "limits": [
                {{ "name": "tpm", "count": "tokens", "max": 1000, "window": "1m", "per": "api_key", "scope": "{scope}" }} ] }} }} }}"#
    )
}

#[test]
fn a_secret_dimension_of_a_global_limit_needs_a_salt() {
    let secret = r#""secret": true"#;
    assert_eq!(
        errors(&per_secret(secret, "", "global")),
        "tiers.free.limits[0].per: names the secret dimension `api_key`, whose hashes agree between processes only with a `salt`"
    );
    assert!(read(&per_secret(secret, r#""salt": "fleet-wide","#, "global")).is_ok());
    assert!(read(&per_secret(secret, "", "local")).is_ok());
    assert!(read(&per_secret(r#""secret": false"#, "", "global")).is_ok());
}

#[test]
fn money_of_a_global_limit_needs_prices_as_any() {
    let text = with_limit(r#""scope": "global""#).replace(r#""tokens""#, r#""cost_usd""#);
    assert_eq!(errors(&text), "tiers.free.limits[0].count: is `cost_usd`, which needs `prices`");
}
