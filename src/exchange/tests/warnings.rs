//! Warnings: in headers and facts of every call, in the log once per crossing.

use super::*;

fn spend(bench: &mut Bench, tokens: u64) -> (Effects, Effects) {
    let (mut exchange, effects) = bench.send(r#"{"model":"gpt-4o","messages":[],"max_tokens":0}"#);
    let head = bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(tokens, 0), true);
    (effects, head)
}

#[test]
fn a_crossing_is_logged_once_and_told_with_every_call() {
    let mut bench = Bench::new(TOKENS);
    spend(&mut bench, 810);
    let mut lines = Vec::new();
    for _ in 0..3 {
        let (effects, head) = spend(&mut bench, 5);
        assert_eq!(fact(&effects, Fact::Warning).as_deref(), Some("tpm"));
        assert!(header(&head, "x-tollgate-warning").unwrap().starts_with("\"tpm\";used=8"));
        lines.extend(effects.log);
    }
    assert_eq!(lines.len(), 1);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&line["event"], &line["limit"], &line["per"]["tenant"]),
        (&json!("warning"), &json!("tpm"), &json!("ada"))
    );
}

#[test]
fn a_budget_that_has_recovered_is_logged_again() {
    let mut bench = Bench::new(TOKENS);
    let mut lines = 0;
    for _ in 0..3 {
        spend(&mut bench, 850);
        lines += spend(&mut bench, 5).0.log.len();
        bench.now = bench.now + Span::from_secs(60);
        lines += spend(&mut bench, 0).0.log.len();
    }
    assert_eq!(lines, 3);
}

#[test]
fn a_budget_that_goes_up_and_down_around_the_mark_is_logged_once() {
    let mut bench = Bench::new(TOKENS);
    let mut lines = 0;
    for _ in 0..10 {
        lines += spend(&mut bench, 300).0.log.len();
        bench.now = bench.now + Span::from_secs(18);
    }
    lines += spend(&mut bench, 880).0.log.len();
    for _ in 0..10 {
        lines += spend(&mut bench, 100).0.log.len();
        bench.now = bench.now + Span::from_secs(9);
    }
    assert_eq!(lines, 1);
}
