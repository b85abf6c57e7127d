use super::*;
use crate::config::{Ratio, markdown};
use crate::limits::{Algorithm, RESOURCE_NAMES};
use crate::units::{Amount, Span};

/// A configuration with every section that the design names.
const WHOLE: &str = r#"{
  "identity": {
    "tenant": { "header": "X-Tenant-Id" },
    "user": { "any": [ { "metadata": ["envoy.filters.http.jwt_authn", "jwt_payload", "sub"] }, { "header": "x-user-id" } ] },
    "api_key": { "header": "authorization", "scheme": "Bearer", "secret": true },
    "ip": { "source_ip": true },
    "host": { "property": ["request", "host"] },
    "tier": { "header": "x-tier", "default": "free" }
  },
  "salt": "fleet-wide-secret",
  "on_missing": { "tenant": "refuse" },
  "tiers": {
    "free": { "limits": [
      { "name": "rpm", "count": "requests", "per": "user", "max": 20, "window": "1m" },
      { "name": "tpm", "count": "tokens", "per": "user", "max": "50_000", "window": "1m", "burst": 60000 },
      { "name": "in-h", "count": "input_tokens", "per": "tenant", "max": 50000, "window": "1h", "algorithm": "sliding_window" },
      { "name": "day", "count": "tokens", "per": "tenant", "max": 100000, "window": "1d", "algorithm": "fixed_window" },
      { "name": "spend", "count": "cost_usd", "per": "tenant", "max": "0.5", "window": "1h" },
      { "name": "big", "count": "tokens", "models": ["gpt-4o", "o*"], "per": ["tenant", "model"], "max": 10000, "window": "1m", "enforce": "shadow" }
    ] },
    "pro": { "extends": "free", "limits": [ { "name": "tpm", "max": 500000 }, { "name": "out", "count": "output_tokens", "max": 9, "window": "1s" } ] }
  },
  "warn_at": 0.7,
  "counting": {
    "exact_up_to": "64KiB", "weights": { "cached_input": 0.1 }, "models": [ { "match": "claude-*", "scale": 1.2 } ],
    "output_reserve": { "start": 256, "learn": false, "at_most": 0.5 }, "on_abort": "charge_reserved"
  },
  "prices": [ { "match": "gpt-4o-mini*", "input": 0.15, "cached_input": 0.075, "output": "0.60" } ],
  "hold": "never"
}"#;

fn read(text: &str) -> Result<Config, String> {
    Config::read(text.as_bytes(), b"random").map_err(|errors| errors.to_string())
}

fn errors(text: &str) -> String {
    read(text).err().unwrap()
}

/// Returns a configuration with one tier of these limits.
fn with_limits(limits: &str) -> String {
    format!(r#"{{ "tiers": {{ "free": {{ "limits": [ {limits} ] }} }} }}"#)
}

#[test]
fn a_whole_configuration_is_resolved() {
    let config = read(WHOLE).unwrap();
    let [free, pro] = config.tiers.all() else { panic!("two tiers") };
    let names = |tier: &crate::tiers::Tier| {
        tier.limits.iter().map(|limit| limit.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(free), ["rpm", "tpm", "in-h", "day", "spend", "big"]);
    assert_eq!(names(pro), ["rpm", "tpm", "in-h", "day", "spend", "big", "out"]);
    let tpm = &free.limits[1];
    assert_eq!(
        (tpm.shape.max, tpm.shape.burst, tpm.shape.window),
        (Amount(50_000), Amount(60_000), Span::from_secs(60))
    );
    assert_eq!((&*tpm.per[0], tpm.warn_at), ("user", Ratio { ppm: 700_000 }));
    assert_eq!(free.limits[2].shape.algorithm, Algorithm::SlidingWindow);
    assert_eq!(free.limits[4].shape.max, Amount(500_000_000));
    assert!(free.limits[5].shadow && free.limits[5].models.len() == 2);
    assert_eq!(config.prices.of("gpt-4o-mini").0.cached_input, 75_000_000);
    assert_eq!(config.counting.exactness.exact_up_to, 65_536);
    assert_eq!((config.hold, config.sets()), (Hold::Never, 32_768));
}

#[test]
fn headers_are_those_of_all_families_or_as_chosen() {
    let chosen = |headers: &str| {
        let config =
            read(&format!("{{ {headers} \"tiers\": {{ \"free\": {{ \"limits\": [] }} }} }}")).unwrap();
        [Family::XRatelimit, Family::Ietf, Family::Anthropic].map(|family| config.headers.include(family))
    };
    assert_eq!(chosen(""), [true, true, true]);
    assert_eq!(chosen(r#""headers": ["ietf", "anthropic"],"#), [false, true, true]);
    assert_eq!(chosen(r#""headers": "ietf","#), [false, true, false]);
    assert_eq!(chosen(r#""headers": [],"#), [false, false, false]);
}

#[test]
fn a_tier_changes_only_what_it_says_of_an_inherited_limit() {
    let config = read(WHOLE).unwrap();
    let tpm = &config.tiers.all()[1].limits[1];
    assert_eq!((tpm.shape.max, tpm.shape.burst, &*tpm.tier), (Amount(500_000), Amount(60_000), "pro"));
}

#[test]
fn every_error_is_reported_at_once_with_its_path() {
    let text = r#"{
      "identity": { "tenant": { "header": "x", "source_ip": true }, "tier": { "header": "x-tier", "default": "gold" }, "api": { "header": "y" } },
      "on_missing": { "tenant": "forgive", "nobody": "share" },
      "tiers": {
        "free": { "limits": [
          { "name": "a b", "count": "tokens", "max": 1, "window": "1m" },
          { "name": "x", "count": "tokns", "max": 1, "window": "1m" },
          { "name": "y", "count": "tokens", "per": "usr", "max": 0, "window": "1 fortnight" },
          { "name": "z", "count": "cost_usd", "max": 1, "window": "1h", "algorithm": "fixed_window", "burst": 2 },
          { "name": "w", "count": "requests" }
        ] },
        "pro": { "extends": "fre" }
      },
      "headers": ["ietf", "x-ratelimit", "ietf"],
      "hold": "perhaps",
      "colour": "red"
    }"#;
    let expected = r#"identity: declares `api`, which is built in
identity.tenant: takes only one of header, source_ip
on_missing: names `nobody`, which `identity` does not have
on_missing.tenant: "forgive" is not one of share, refuse
tiers.free.limits[0].name: "a b" is not a name of letters, digits, `_`, `-` and `.`, at most 64
tiers.free.limits[1].count: "tokns" is not one of {counts}
tiers.free.limits[2].per: "usr" is not a dimension of `identity`: tenant, tier, model, api, upstream
tiers.free.limits[2].max: 0 is not a number above zero
tiers.free.limits[2].window: "1 fortnight" is not a duration such as 30s, 1m, 1h, 1d
tiers.free.limits[3].count: is `cost_usd`, which needs `prices`
tiers.free.limits[3].burst: requires `algorithm: token_bucket`
tiers.free.limits[4].max: is missing, expected a number above zero such as 50_000, for `cost_usd` also 0.5
tiers.free.limits[4].window: is missing, expected a duration such as 30s, 1m, 1h, 1d
tiers.pro.extends: names `fre`, which is not a tier
headers[1]: "x-ratelimit" is not one of x_ratelimit, ietf, anthropic: did you mean `x_ratelimit`?
headers[2]: "ietf" repeats headers[0]
hold: "perhaps" is not one of auto, always, never
colour: is not a known option (known here: identity, salt, on_missing, apis, unrecognised, tiers, warn_at, headers, counting, prices, hold, table_size, global, streams, workflows, upstreams, priority)"#;
    assert_eq!(errors(text), expected.replace("{counts}", &RESOURCE_NAMES.join(", ")));
}

#[test]
fn limits_are_checked_one_by_one() {
    for (limit, expected) in [
        (
            r#"{ "name": "x", "count": "tokns", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].count: \"tokns\" is not one of {counts}",
        ),
        (
            r#"{ "name": "y", "count": "tokens", "per": "usr", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].per: \"usr\" is not a dimension of `identity`: model, api, upstream",
        ),
        (
            r#"{ "name": "y", "count": "tokens", "max": 0, "window": "1m" }"#,
            "tiers.free.limits[0].max: 0 is not a number above zero",
        ),
        (
            r#"{ "name": "y", "count": "tokens", "max": 1, "window": "1 fortnight" }"#,
            "tiers.free.limits[0].window: \"1 fortnight\" is not a duration such as 30s, 1m, 1h, 1d",
        ),
        (
            r#"{ "name": "y", "count": "tokens", "max": 1, "window": "1m", "burst": 2, "algorithm": "fixed_window" }"#,
            "tiers.free.limits[0].burst: requires `algorithm: token_bucket`",
        ),
        (
            r#"{ "name": "y", "count": "cost_usd", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].count: is `cost_usd`, which needs `prices`",
        ),
        (
            r#"{ "name": "y", "count": "requests", "window": "1m" }"#,
            "tiers.free.limits[0].max: is missing, expected a number above zero such as 50_000, for `cost_usd` also 0.5",
        ),
        (
            r#"{ "name": "y", "count": "requests", "max": 1 }"#,
            "tiers.free.limits[0].window: is missing, expected a duration such as 30s, 1m, 1h, 1d",
        ),
        (
            r#"{ "name": "y", "count": "concurrent_requests", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].window: is not allowed with `count: concurrent_requests`",
        ),
        (
            r#"{ "name": "y", "count": "tool_calls", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].tools: is required with `count: tool_calls`",
        ),
        (
            r#"{ "name": "y", "count": "requests", "tools": "x", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].tools: requires `count: tool_calls`",
        ),
        (
            r#"{ "name": "y", "count": "tokens", "once_per": "model", "max": 1, "window": "1m" }"#,
            "tiers.free.limits[0].once_per: requires `count: requests`",
        ),
        (
            r#"{ "name": "y", "max": 1, "window": "1m", "cuont": "tokens" }"#,
            "tiers.free.limits[0].cuont: is not a known option, did you mean `count`? (known here: name, count, per, max, window, scope, algorithm, burst, models, tools, on_exhausted, once_per, adaptive, enforce, warn_at)",
        ),
    ] {
        let errors = errors(&with_limits(limit));
        let expected = expected.replace("{counts}", &RESOURCE_NAMES.join(", "));
        assert!(errors.lines().any(|line| line == expected), "{expected}\n is not in\n{errors}");
    }
}

#[test]
fn what_an_earlier_item_of_a_list_leaves_nothing_to_is_refused_with_both_paths() {
    let tpm = r#"{ "name": "tpm", "count": "tokens", "max": 1, "window": "1m" }"#;
    let with = |option: &str| format!(r#"{{ "tiers": {{ "a": {{}} }}, {option} }}"#);
    for (text, expected) in [
        (
            with_limits(&format!(
                r#"{tpm}, {{ "name": "rpm", "count": "requests", "max": 1, "window": "1m" }}, {tpm}"#
            )),
            "tiers.free.limits[2].name: \"tpm\" repeats tiers.free.limits[0].name",
        ),
        (
            with_limits(&tpm.replace("}", r#", "per": ["api", "model", "api"] }"#)),
            "tiers.free.limits[0].per[2]: \"api\" repeats tiers.free.limits[0].per[0]",
        ),
        (
            with_limits(&tpm.replace("}", r#", "models": ["gpt-4o", "gpt-4o"] }"#)),
            "tiers.free.limits[0].models[1]: \"gpt-4o\" repeats tiers.free.limits[0].models[0]",
        ),
        (
            with_limits(&tpm.replace("tokens", "tool_calls").replace("}", r#", "tools": ["a", "a"] }"#)),
            "tiers.free.limits[0].tools[1]: \"a\" repeats tiers.free.limits[0].tools[0]",
        ),
        (
            with_tier(
                r#""soften": [ { "at": 0.5, "max_output_tokens": 9 }, { "at": "0.50", "max_output_tokens": 8 } ]"#,
            ),
            "tiers.free.soften[1].at: \"0.50\" has no effect, because tiers.free.soften[0].at is 0.5",
        ),
        (
            with(
                r#""prices": [ { "match": "gpt-*", "input": 1, "output": 1 }, { "match": "gpt-4o", "input": 2, "output": 2 } ]"#,
            ),
            "prices[1].match: \"gpt-4o\" has no effect, because prices[0].match is \"gpt-*\"",
        ),
        (
            with(
                r#""counting": { "models": [ { "match": "c-*", "scale": 1 }, { "match": "c-*", "scale": 2 } ] }"#,
            ),
            "counting.models[1].match: \"c-*\" repeats counting.models[0].match",
        ),
        (
            with(
                r#""apis": [ { "path_prefix": "/a/", "format": "none" }, { "path_prefix": "/A/b", "format": "openai_chat" } ]"#,
            ),
            "apis[1].path_prefix: \"/A/b\" has no effect, because apis[0].path_prefix is \"/a/\"",
        ),
        (
            with(r#""priority": { "dimension": "api", "batch": ["x", "x"] }"#),
            "priority.batch[1]: \"x\" repeats priority.batch[0]",
        ),
    ] {
        assert_eq!(errors(&text), expected);
    }
}

#[test]
fn a_row_that_leaves_something_to_later_ones_may_come_first() {
    let text = r#"{ "tiers": { "a": {} },
        "apis": [ { "path_prefix": "/a/b", "format": "none" }, { "path_prefix": "/a", "format": "openai_chat" },
                  { "path_prefix": "/ab", "format": "openai_chat" } ],
        "prices": [ { "match": "gpt-4o", "input": 1, "output": 1 }, { "match": "gpt-4*", "input": 1, "output": 1 },
                    { "match": "*", "input": 1, "output": 1 } ] }"#;
    assert_eq!(read(text).map(|config| (config.routes.0.len(), config.prices.0.len())), Ok((3, 3)));
}

#[test]
fn one_name_in_two_tiers_is_no_repetition() {
    assert!(read(WHOLE).is_ok());
    let twice = WHOLE.replace(r#"{ "name": "out", "#, r#"{ "name": "tpm", "#);
    assert_eq!(errors(&twice), "tiers.pro.limits[1].name: \"tpm\" repeats tiers.pro.limits[0].name");
}

#[test]
fn what_can_never_happen_is_not_asked_for() {
    let identity =
        |identity: &str| format!(r#"{{ "tiers": {{ "a": {{}} }}, "identity": {{ {identity} }} }}"#);
    let not_a_header =
        |path: &str| format!("{path}: \"X Tenant:\" is not a header's name such as x-tenant-id");
    for (text, expected) in [
        (identity(r#""tenant": { "header": "X Tenant:" }"#), not_a_header("identity.tenant.header")),
        (
            identity(r#""tenant": { "any": [ { "header": "x-a" }, { "header": "X Tenant:" } ] }"#),
            not_a_header("identity.tenant.any[1].header"),
        ),
        (
            with_workflows(r#"{ "dimension": "flow", "reserve_up_to": 1, "reserve_header": "X Tenant:" }"#),
            not_a_header("workflows.reserve_header"),
        ),
        (
            identity(r#""tenant": { "header": "authorization", "scheme": "Bearer " }"#),
            "identity.tenant.scheme: \"Bearer \" is not one word such as Bearer".to_owned(),
        ),
        (
            r#"{ "tiers": { "a": {} }, "apis": [ { "path_prefix": "my/route", "format": "none" } ] }"#.to_owned(),
            "apis[0].path_prefix: \"my/route\" is not a path that begins with `/`".to_owned(),
        ),
        (
            identity(r#""tenant": { "header": "x-tenant", "default": "acme" } }, "on_missing": { "tenant": "refuse""#),
            "on_missing: refuses calls without `tenant`, but no call is without it: `identity.tenant` has a `default`".to_owned(),
        ),
        (
            with_limits(r#"{ "name": "y", "count": "requests", "per": ["api", "model"], "once_per": "model", "max": 1, "window": "1m" }"#),
            "tiers.free.limits[0].once_per: must not be a dimension of `per`: each budget would count `model` once and never be spent".to_owned(),
        ),
    ] {
        assert_eq!(errors(&text), expected);
    }
}

#[test]
fn an_empty_price_list_is_none() {
    let limit = r#"{ "name": "y", "count": "cost_usd", "max": 1, "window": "1m" }"#;
    let text = with_limits(limit).replacen('{', r#"{ "prices": [], "#, 1);
    assert_eq!(errors(&text), "tiers.free.limits[0].count: is `cost_usd`, which needs `prices`");
}

#[test]
fn tiers_that_cannot_be_resolved_are_refused() {
    for (text, expected) in [
        (r#"{}"#, "tiers: is missing, expected a map"),
        (r#"{ "tiers": {} }"#, "tiers: needs at least one tier"),
        (
            r#"{ "tiers": { "a": {}, "b": {} } }"#,
            "identity: needs a dimension `tier` with a `default`, because there are several tiers",
        ),
        (
            r#"{ "identity": { "tier": { "default": "c" } }, "tiers": { "a": {} } }"#,
            "tiers: has no `c`, which is the default of `identity.tier`",
        ),
        (r#"{ "tiers": { "a": { "extends": "b" } } }"#, "tiers.a.extends: names `b`, which is not a tier"),
        (
            r#"{ "tiers": { "a": { "extends": "b" }, "b": { "extends": "a" } } }"#,
            "tiers.b.extends: comes back to `a`: tiers cannot extend each other in a circle",
        ),
    ] {
        let errors = errors(text);
        assert!(errors.lines().any(|line| line == expected), "{expected}\n is not in\n{errors}");
    }
}

#[test]
fn a_tier_that_cannot_be_read_is_not_taken_for_missing() {
    for tiers in
        [r#"{ "free": { "limits": 7 } }"#, r#"{ "free": { "limits": 7 }, "pro": { "extends": "free" } }"#]
    {
        let text = format!(r#"{{ "identity": {{ "tier": {{ "default": "free" }} }}, "tiers": {tiers} }}"#);
        assert_eq!(errors(&text), "tiers.free.limits: 7 is not a list");
    }
}

#[test]
fn an_error_in_an_inherited_limit_is_reported_once() {
    let text = r#"{ "identity": { "tier": { "default": "a" } }, "tiers": {
        "a": { "limits": [ { "name": "x", "count": "tokens", "max": -5, "window": "1m" } ] },
        "b": { "extends": "a" }, "c": { "extends": "b" } } }"#;
    assert_eq!(errors(text).lines().count(), 1, "{}", errors(text));
}

#[test]
fn a_salt_is_never_shown() {
    assert!(!errors(r#"{ "salt": 12345, "tiers": { "a": {} } }"#).contains("12345"));
    assert!(!format!("{:?}", read(WHOLE).unwrap()).contains("fleet-wide-secret"));
}

#[test]
fn the_smallest_configuration_is_one_empty_tier() {
    let config = read(r#"{ "tiers": { "all": null } }"#).unwrap();
    assert_eq!((config.hold, config.table_size, config.has_prices()), (Hold::Auto, 1_048_576, false));
    assert_eq!(config.identity.salt.0, b"random");
}

#[test]
fn the_names_of_things_counted_are_those_of_the_table() {
    let option = limits::LIMIT.option("count").unwrap();
    let Kind::Choice(names) = option.kind else { panic!("a choice") };
    assert_eq!(names, RESOURCE_NAMES);
}

#[test]
fn the_reference_names_every_option() {
    let reference = markdown(SECTIONS);
    for section in SECTIONS {
        for option in section.options {
            assert!(reference.contains(&format!("`{}`", option.name)), "{}.{}", section.path, option.name);
        }
    }
}

/// Returns a configuration with one tier that has a limit and these options.
fn with_tier(options: &str) -> String {
    format!(
        r#"{{ "tiers": {{ "free": {{ "limits": [ {{ "name": "tpm", "count": "tokens", "max": 1, "window": "1m" }} ], {options} }},
            "pro": {{ "extends": "free", "clamp_output": false }} }}, "identity": {{ "tier": {{ "header": "x-tier", "default": "free" }} }} }}"#
    )
}

#[test]
fn a_tier_is_graded_as_it_says_or_as_the_tier_it_extends() {
    let options = r#""soften": [ { "at": 0.8, "max_output_tokens": 9 }, { "at": 0.5, "model": { "gpt-4*": "x", "gpt-4o*": "y" } } ],
        "clamp_output": true, "wait": { "max_wait": "2s" }"#;
    let config = read(&with_tier(options)).unwrap();
    let [free, pro] = config.tiers.all() else { panic!("two tiers") };
    assert!(free.degradation.clamp_output && !pro.degradation.clamp_output);
    for tier in [free, pro] {
        let [models, bound] = tier.degradation.soften.as_slice() else { panic!("two steps") };
        assert_eq!((models.at.ppm, bound.at.ppm, bound.max_output), (500_000, 800_000, Some(9)));
        let found = models.models.iter().find(|(from, _)| from.matches("gpt-4o-mini"));
        assert_eq!(found.unwrap().1, "y", "the longest pattern counts");
        let wait = tier.degradation.wait.as_ref().unwrap();
        assert_eq!((wait.max_wait, wait.places.shape.max), (Span::from_secs(2), Amount(100)));
        assert!(wait.places.id.starts_with(&*tier.name));
    }
}

#[test]
fn steps_and_waits_are_checked_one_by_one() {
    for (options, expected) in [
        (r#""soften": [ { "at": 0.5 } ]"#, "tiers.free.soften[0]: needs `model` or `max_output_tokens`"),
        (
            r#""wait": { "max_wait": "2m" }"#,
            "tiers.free.wait.max_wait: \"2m\" is not a duration of at most 1m",
        ),
    ] {
        let errors = errors(&with_tier(options));
        assert!(errors.lines().any(|line| line == expected), "{expected}\n is not in\n{errors}");
    }
}

fn with_workflows(options: &str) -> String {
    format!(
        r#"{{ "identity": {{ "flow": {{ "header": "x-flow" }} }}, "tiers": {{ "free": {{}} }}, "workflows": {options} }}"#
    )
}

#[test]
fn workflows_are_resolved() {
    let read = |options: &str| read(&with_workflows(options)).unwrap().workflows.unwrap();
    let workflows = read(r#"{ "dimension": "flow", "reserve_up_to": "100_000" }"#);
    assert_eq!((&*workflows.dimension, workflows.reserve_up_to), ("flow", Amount(100_000)));
    assert_eq!(workflows.reserve_header, "x-tollgate-reserve-tokens");
    let named = r#"{ "dimension": "flow", "reserve_up_to": 1, "reserve_header": "X-Budget" }"#;
    assert_eq!(read(named).reserve_header, "x-budget");
}

#[test]
fn workflows_are_checked_one_by_one() {
    for (options, error) in [
        (r#"{ "dimension": "other", "reserve_up_to": 1 }"#, "workflows.dimension"),
        (r#"{ "dimension": "model", "reserve_up_to": 1 }"#, "workflows.dimension"),
        (r#"{ "dimension": "flow" }"#, "workflows.reserve_up_to"),
        (r#"{ "dimension": "flow", "reserve_up_to": 0 }"#, "workflows.reserve_up_to"),
        (
            r#"{ "dimension": "flow", "reserve_up_to": 1, "reserve_header": "x y" }"#,
            "workflows.reserve_header",
        ),
    ] {
        let errors = errors(&with_workflows(options));
        assert!(errors.contains(error), "{options}: {errors}");
    }
}
