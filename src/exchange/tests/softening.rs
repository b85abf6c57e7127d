//! Milder answers than a refusal: cheaper models, less output, output bounded to the rest.

use super::*;
use crate::api::Edit;

fn tier(options: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }}, "tiers": {{ "free": {{ {options}, "limits": [
            {{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000, "window": "1m" }} ] }} }} }}"#
    )
}

const STEPS: &str = r#""soften": [ { "at": 0.5, "model": { "gpt-4o": "gpt-4o-mini" } },
    { "at": 0.8, "model": { "gpt-4o": "gpt-4o-mini" }, "max_output_tokens": 20 } ]"#;

/// Charges ada this many tokens.
fn spend(bench: &mut Bench, tokens: u64) {
    let (mut exchange, effects) = bench.send(HI);
    assert_eq!(effects.next, Next::Pass);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(tokens, 0), true);
}

fn sent(effects: &Effects, body: &str) -> String {
    String::from_utf8(Edit::apply_all(&effects.body, body.as_bytes())).unwrap()
}

#[test]
fn the_last_step_that_the_most_used_budget_has_reached_is_taken() {
    for (spent, expected, told) in [
        (490, HI.to_owned(), None),
        (500, HI.replace("gpt-4o", "gpt-4o-mini"), Some("model=\"gpt-4o-mini\"")),
        (
            800,
            HI.replace("gpt-4o", "gpt-4o-mini").replace("100", "20"),
            Some("model=\"gpt-4o-mini\", max_output_tokens=20"),
        ),
    ] {
        let mut bench = Bench::new(&tier(STEPS));
        spend(&mut bench, spent);
        let (mut exchange, effects) = bench.send(HI);
        assert_eq!(sent(&effects, HI), expected, "{spent}");
        assert_eq!(fact(&effects, Fact::Softened).as_deref(), told, "{spent}");
        let head = bench.head(&mut exchange, 200, "application/json");
        assert_eq!(header(&head, "x-tollgate-softened"), told, "{spent}");
    }
}

#[test]
fn a_softened_call_is_limited_and_paid_as_the_model_that_is_asked() {
    let config = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
        "prices": [ { "match": "gpt-4o-mini", "input": 1, "output": 1 }, { "match": "gpt-4o", "input": 1000, "output": 1000 } ],
        "tiers": { "free": { "soften": [ { "at": 0, "model": { "gpt-4o": "gpt-4o-mini" } } ], "limits": [
            { "name": "usd", "count": "cost_usd", "per": "tenant", "max": 1, "window": "1h" },
            { "name": "mini", "count": "tokens", "models": "gpt-4o-mini", "per": "tenant", "max": 5, "window": "1m" } ] } } }"#;
    let mut bench = Bench::new(config);
    let (_, effects) = bench.send(HI);
    let (_, body) = reply(&effects);
    assert!(body["error"]["message"].as_str().unwrap().contains("for gpt-4o-mini on tokens"), "{body}");
    let paid = config.replace(r#""max": 5,"#, r#""max": 5000,"#);
    let mut bench = Bench::new(&paid);
    let (mut exchange, _) = bench.send(HI);
    bench.head(&mut exchange, 200, "application/json");
    let end = bench.piece(&mut exchange, &answer(500_000, 0), true);
    assert_eq!(fact(&end, Fact::Cost).as_deref(), Some("0.50"));
}

#[test]
fn a_model_in_the_path_is_replaced_there() {
    let mut bench =
        Bench::new(&tier(r#""soften": [ { "at": 0, "model": { "gemini-*-pro": "gemini-2.5-flash" } } ]"#));
    let mut exchange = bench.exchange();
    let head = Request::chat().with(":path", b"/v1beta/models/gemini-2.5-pro:generateContent?key=k");
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let body = br#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    let effects = bench.handle(&mut exchange, Event::RequestBody { body, editable: Editable::All });
    assert_eq!(header(&effects, ":path"), Some("/v1beta/models/gemini-2.5-flash:generateContent?key=k"));
    assert_eq!(effects.body, []);
}

#[test]
fn a_request_that_cannot_be_changed_is_not_softened() {
    for editable in [Editable::Nothing, Editable::Body] {
        let mut bench = Bench::new(&tier(
            r#""soften": [ { "at": 0, "model": { "gemini-*-pro": "gemini-2.5-flash" } } ]"#,
        ));
        let mut exchange = bench.exchange();
        let head = Request::chat().with(":path", b"/v1beta/models/gemini-2.5-pro:generateContent");
        bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        let body = br#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
        let effects = bench.handle(&mut exchange, Event::RequestBody { body, editable });
        assert_eq!((&effects.next, header(&effects, ":path")), (&Next::Pass, None), "{editable:?}");
        assert_eq!(fact(&effects, Fact::Softened).as_deref(), None, "{editable:?}");
        assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "soften"), 1, "{editable:?}");
    }
}

#[test]
fn output_is_bounded_to_what_is_left_rather_than_refused() {
    let mut bench = Bench::new(&tier(r#""clamp_output": true"#));
    spend(&mut bench, 930);
    let (mut exchange, effects) = bench.send(HI);
    // 8 of the remaining 70 are its input.
    assert_eq!(sent(&effects, HI), HI.replace("100", "62"));
    assert_eq!(fact(&effects, Fact::Softened).as_deref(), Some("max_output_tokens=62"));
    assert_eq!(bench.count_of(&metrics::SOFTENED, "clamp_output"), 1);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, &answer(8, 62), true);
    let (_, effects) = bench.send(HI);
    assert_eq!(reply(&effects).0.status, 429, "nothing is left to bound it to");
}

#[test]
fn a_call_that_waits_because_its_output_could_not_be_bounded_is_counted() {
    let mut bench = Bench::new(&tier(r#""clamp_output": true, "wait": { "max_wait": "10s" }"#));
    spend(&mut bench, 930);
    let mut exchange = bench.exchange();
    bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
    let event = Event::RequestBody { body: HI.as_bytes(), editable: Editable::Nothing };
    let effects = bench.handle(&mut exchange, event);
    assert!(matches!(effects.next, Next::Wait { .. }), "{effects:?}");
    assert_eq!(bench.count_of(&metrics::EDITS_SKIPPED, "clamp_output"), 1);
}

#[test]
fn output_that_fits_is_not_bounded() {
    let mut bench = Bench::new(&tier(r#""clamp_output": true"#));
    spend(&mut bench, 800);
    let (_, effects) = bench.send(HI);
    assert_eq!((effects.body.len(), fact(&effects, Fact::Softened).as_deref()), (0, None));
}

#[test]
fn a_call_whose_thinking_would_not_fit_is_refused() {
    let body = r#"{"model":"claude-sonnet-4-5","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1500},"messages":[{"role":"user","content":"Hi"}]}"#;
    for (body, passes) in [(body.to_owned(), false), (body.replace("1500", "100"), true)] {
        let mut bench = Bench::new(&tier(r#""clamp_output": true"#).replace("1000", "10000"));
        spend(&mut bench, 9_000);
        let mut exchange = bench.exchange();
        let head = Request::chat().with(":path", b"/v1/messages");
        bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        let event = Event::RequestBody { body: body.as_bytes(), editable: Editable::All };
        let effects = bench.handle(&mut exchange, event);
        assert_eq!(effects.next == Next::Pass, passes, "{body}");
    }
}
