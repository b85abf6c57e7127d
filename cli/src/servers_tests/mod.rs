//! Configurations written for rate limit servers, and how the servers read them.

mod limitador;
mod ratelimit;
mod yaml;

use std::rc::Rc;

use tollgate::identity::Caller;
use tollgate::limits::{Limit, Subject};
use tollgate::rls::descriptor::Descriptor;
use tollgate::settings::Config;
use tollgate::units::{Amount, Span};

use crate::servers::{Hits, Unsupported, limitador, ratelimit};

const DAY: u64 = 24 * 60 * 60;

/// Returns a limit of the tier `free` without dimensions.
pub(super) fn limit(name: &str, counts: &str, max: u64, seconds: u64) -> Limit {
    let text = format!(
        r#"{{ "global": {{ "cluster": "rls" }}, "prices": [ {{ "match": "*", "input": 1, "output": 1 }} ],
              "tiers": {{ "free": {{ "limits": [
                {{ "name": "{name}", "count": "{counts}", "max": 1, "window": "1m", "scope": "global" }} ] }} }} }}"#
    );
    let config = Config::read(text.as_bytes(), b"").unwrap();
    let mut limit = (*config.tiers.all()[0].global[0].limit).clone();
    limit.shape.max = Amount(max);
    limit.shape.window = Span::from_secs(seconds);
    limit
}

pub(super) fn per(limit: Limit, dimensions: &[&str]) -> Limit {
    Limit { per: dimensions.iter().map(|dimension| (*dimension).into()).collect(), ..limit }
}

/// Returns the entries of a descriptor. `caller` is the value of every dimension but the model.
pub(super) fn entries(limit: &Limit, caller: &str) -> Vec<(String, String)> {
    let values = limit.per.iter().map(|dimension| (dimension.clone(), caller.as_bytes().to_vec()));
    let caller = Caller::new(values.collect());
    let subject = Subject { caller: &caller, model: "gpt-4o", api: "openai_chat", body: b"" };
    let descriptor = Descriptor::of(limit, &subject);
    descriptor.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Returns one limit of each form.
pub(super) fn all_kinds() -> Vec<Rc<Limit>> {
    let odd = Limit {
        tier: "pro \"EU\"".into(),
        ..per(limit("in_h", "input_tokens", 9, 3600), &["it's", "model"])
    };
    let limits = [
        limit("rpm", "requests", 20, 60),
        per(limit("tpm", "tokens", 50_000, 60), &["user"]),
        per(limit("spend", "cost_usd", 500_000_000, 30 * DAY), &["tenant", "user"]),
        Limit { shadow: true, ..limit("week", "output_tokens", 1_000_000, 7 * DAY) },
        odd,
    ];
    limits.map(Rc::new).into()
}

/// `UPDATE=1` writes the files; review the difference.
#[test]
fn the_configurations_read_as_a_person_would_write_them() {
    let limits = all_kinds();
    for (path, text) in [
        ("tests/servers/ratelimit.yaml", ratelimit("tollgate", &limits).unwrap()),
        ("tests/servers/limitador.yaml", limitador("tollgate", &limits).unwrap()),
    ] {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all("tests/servers").unwrap();
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(path).unwrap(), "{path}");
    }
}

#[test]
fn everything_that_does_not_fit_is_told_at_once() {
    let mut broken = limit("broken", "requests", u64::MAX, 90);
    broken.shape.window = Span::from_millis(1_500);
    let limits = [
        limit("fits", "tokens", 5, 60),
        limit("long", "tokens", 5_000_000_000, 60),
        limit("odd", "tokens", 5, 90),
        limit("cheap", "cost_usd", 999, 60),
        broken,
    ];
    let limits = limits.map(Rc::new);
    let told = |result: Result<String, Vec<Unsupported>>| {
        result.unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        told(ratelimit("tollgate", &limits)),
        [
            "limit `long` of tier `free`: its `max` is 5000000000 tokens; envoyproxy/ratelimit counts up to 4294967295: use a shorter window or another server",
            "limit `odd` of tier `free`: its `window` is 90s; envoyproxy/ratelimit supports windows of 1s, 1m, 1h, 1d, 7d, 30d and 365d",
            "limit `cheap` of tier `free`: its `max` is less than a micro-dollar; a service counts whole micro-dollars (0.000001 US dollars)",
            "limit `broken` of tier `free`: its `max` is 18446744073709551615 requests; envoyproxy/ratelimit counts up to 4294967295: use a shorter window or another server",
            "limit `broken` of tier `free`: its `window` is 1500ms; envoyproxy/ratelimit supports windows of 1s, 1m, 1h, 1d, 7d, 30d and 365d",
        ]
    );
    assert_eq!(
        told(limitador("tollgate", &limits)),
        [
            "limit `cheap` of tier `free`: its `max` is less than a micro-dollar; a service counts whole micro-dollars (0.000001 US dollars)",
            "limit `broken` of tier `free`: its `max` is 18446744073709551615 requests; Redis counts up to 9223372036854775807",
            "limit `broken` of tier `free`: its `window` is 1500ms; Limitador supports windows of whole seconds",
        ]
    );
}

#[test]
fn money_is_rounded_down_to_micro_dollars() {
    let hits = |max| Hits::of(&limit("spend", "cost_usd", max, 60), u64::MAX, "").map(|hits| hits.amount);
    assert_eq!(hits(1_000), Ok(1));
    assert_eq!(hits(1_999), Ok(1));
    assert_eq!(hits(500_000_000), Ok(500_000));
}

#[test]
fn the_largest_amounts_fit() {
    let mut largest = limit("x", "tokens", u64::from(u32::MAX), 60);
    assert!(ratelimit("d", &[Rc::new(largest.clone())]).unwrap().contains("requests_per_unit: 4294967295 "));
    largest.shape.max = Amount(i64::MAX as u64);
    assert!(limitador("d", &[Rc::new(largest)]).unwrap().contains("max_value: 9223372036854775807 "));
}
