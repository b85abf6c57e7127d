use super::*;
use crate::api::outline::{Outline, outline};

/// Returns a body with a format's edits applied.
pub(in crate::api) fn edited(
    with: fn(&Outline<'_>, Option<&str>, u64) -> Bounded,
    body: &str,
    model: Option<&str>,
    each: u64,
) -> Result<String, Unbounded> {
    let edits = with(&Outline::of(body)?, model, each)?;
    Ok(String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap())
}

const NAMES: &[&str] = &["a", "b", "inner"];

fn object(body: &str) -> Members<'_> {
    outline(body).members(NAMES).unwrap()
}

fn lowered(body: &str, each: u64) -> String {
    let edits = Bound::named(&["a", "b"]).lowered(&object(body), "b", each);
    String::from_utf8(Edit::apply_all(&edits, body.as_bytes())).unwrap()
}

#[test]
fn counts_are_only_ever_lowered_and_each_for_itself() {
    assert_eq!(lowered(r#"{"a": 50, "b":4,"c":50}"#, 9), r#"{"a": 9, "b":4,"c":50}"#);
    assert_eq!(lowered(r#"{"a":"50","b":1e400}"#, 9), r#"{"a":9,"b":1e400}"#);
    assert_eq!(lowered(r#"{"a":9.0}"#, 9), r#"{"a":9.0}"#);
    assert_eq!(lowered(r#"{"a":9.1}"#, 9), r#"{"a":9}"#);
}

#[test]
fn what_is_no_count_is_as_good_as_absent() {
    for odd in ["null", "-1", "\"many\"", "[7]", "{}", "true", "1e400"] {
        assert_eq!(lowered(&format!(r#"{{"c":1,"b":{odd}}}"#), 9), r#"{"c":1,"b":9}"#);
    }
    assert_eq!(lowered(r#"{"c":1}"#, 9), r#"{"b":9,"c":1}"#);
    assert_eq!(lowered(" { } ", 9), r#" {"b":9 } "#);
}

#[test]
fn zero_is_a_bound_unless_it_stands_for_none() {
    assert_eq!(lowered(r#"{"a":0}"#, 9), r#"{"a":0}"#);
    let bound = Bound { names: &["a"], zero_is_none: true };
    assert!(bound.lowered_if_set(&object(r#"{"a":0}"#), 9).is_none());
}

#[test]
fn objects_inside_have_their_own_places() {
    let body = r#" {"c":[], "inner" : { "b" : 50 } }"#;
    let edits = Bound::named(&["b"]).lowered_in(&object(body), "inner", "b", 9).unwrap();
    assert_eq!(Edit::apply_all(&edits, body.as_bytes()), br#" {"c":[], "inner" : { "b" : 9 } }"#);
    assert!(Bound::named(&["b"]).lowered_in(&object(r#"{"inner":[1]}"#), "inner", "b", 9).is_err());
}

#[test]
fn a_bound_that_the_api_would_refuse_is_not_set() {
    let edit = || vec![Edit { range: 0..0, text: "x".into() }];
    assert_eq!(allowed(edit(), 15, 16, None), Err(Unbounded::TooLow { least: 16 }));
    assert_eq!(allowed(edit(), 0, 1, None), Err(Unbounded::TooLow { least: 1 }));
    assert_eq!(allowed(edit(), 16, 16, Some(16)), Err(Unbounded::Thinking));
    assert_eq!(allowed(edit(), 17, 16, Some(16)), Ok(edit()));
    assert_eq!(allowed(vec![], 0, 16, Some(16)), Ok(vec![]));
}

#[test]
fn of_several_budgets_the_most_counts_unless_thinking_is_off() {
    let budget = |raw| thinking(Some(raw), "budget");
    assert_eq!(budget(r#"{"budget":5,"type":"enabled","budget":"7"}"#), Some(7));
    assert_eq!(budget(r#"{"budget":5,"type":"DISABLED"}"#), None);
    assert_eq!(budget(r#"{"budget":-1}"#), None);
    assert_eq!(budget(r#"{"type":"adaptive"}"#), None);
    assert_eq!(budget("7"), None);
    assert_eq!(thinking(None, "budget"), None);
}
