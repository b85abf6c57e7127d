//! The valid and invalid values of the two sections.

use crate::limits::Reserved;
use crate::settings::Config;
use crate::settings::upstreams::Upstreams;
use crate::units::Span;

const TIERS: &str =
    r#""identity": { "class": { "header": "x-class" } }, "tiers": { "free": { "limits": [ LIMIT ] } }"#;

fn read(sections: &str, limit: &str) -> Result<Config, String> {
    let text = format!("{{ {}{sections} }}", TIERS.replace("LIMIT", limit));
    Config::read(text.as_bytes(), b"random").map_err(|errors| errors.to_string())
}

fn refused(sections: &str, limit: &str) -> String {
    read(sections, limit).unwrap_err()
}

const LIMIT: &str =
    r#"{ "name": "rpm", "count": "requests", "per": ["upstream"], "max": 10, "window": "1m" }"#;

fn adaptive(more: &str) -> String {
    LIMIT.replace('}', &format!(r#", "adaptive": true{more} }}"#))
}

#[test]
fn the_sections_have_defaults() {
    let config = read(r#", "upstreams": {}, "priority": { "dimension": "class" }"#, LIMIT).unwrap();
    assert_eq!(config.upstreams, Some(Upstreams { calls_wait: false, longest: Span::from_secs(60) }));
    let reserved = config.tiers.all()[0].limits[0].reserved.clone().unwrap();
    assert_eq!(
        (&*reserved.dimension, &*reserved.batch, reserved.share.ppm),
        ("class", &["batch".to_owned()][..], 200_000)
    );
}

#[test]
fn the_upstream_is_looked_up_for_tiers_with_a_limit_that_names_it() {
    let names_it = |sections, limit: &str| read(sections, limit).unwrap().tiers.all()[0].names_upstream;
    let plain = LIMIT.replace("upstream", "class");
    assert!(!names_it("", &plain));
    assert!(names_it("", LIMIT));
    assert!(names_it("", &plain.replace("]", r#"], "once_per": "upstream""#)));
    let priority = r#", "priority": { "dimension": "class" }, "global": { "cluster": "rls" }"#;
    assert!(names_it(priority, &LIMIT.replace('}', r#", "scope": "global" }"#)));
}

#[test]
fn only_limits_per_upstream_keep_a_share() {
    let priority = r#", "priority": { "dimension": "class", "batch": ["low", "bulk"], "reserved": 0.5 }"#;
    let reserved = |limit: &str| -> Option<Reserved> {
        read(priority, limit).unwrap().tiers.all()[0].limits[0].reserved.clone()
    };
    assert_eq!(reserved(&LIMIT.replace("upstream", "model")), None);
    assert_eq!(reserved(LIMIT).unwrap().batch, ["low", "bulk"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let errors = refused(r#", "upstreams": { "when_busy": "retry", "longest": "2h" }"#, LIMIT);
    assert!(errors.contains("upstreams.when_busy"), "{errors}");
    assert!(errors.contains("upstreams.longest") && errors.contains("at most 1h"), "{errors}");
    let errors = refused(r#", "priority": { "dimension": "klass", "reserved": 2 }"#, LIMIT);
    assert!(errors.contains("priority.dimension") && errors.contains("class"), "{errors}");
    assert!(errors.contains("priority.reserved"), "{errors}");
    let errors = refused("", &LIMIT.replace("upstream", "upstreams"));
    assert!(errors.contains("upstream"), "{errors}");
}

#[test]
fn only_local_limits_with_a_window_adapt() {
    let id = |limit: &str| read("", limit).unwrap().tiers.all()[0].limits[0].rate_id.clone();
    assert_eq!(id(LIMIT), None);
    assert!(id(&adaptive("")).is_some());
    let slots = adaptive("").replace("requests", "concurrent_requests").replace(r#", "window": "1m""#, "");
    let errors = refused("", &slots);
    assert!(errors.contains("adaptive"), "{errors}");
    let errors =
        refused(r#", "global": { "cluster": "r", "domain": "d" }"#, &adaptive(r#", "scope": "global""#));
    assert!(errors.contains("adaptive"), "{errors}");
}

#[test]
fn a_broken_priority_is_one_error() {
    let errors = refused(r#", "priority": { "dimension": 7 }"#, LIMIT);
    assert_eq!(errors.matches("priority").count(), 1, "{errors}");
}
