//! Counts that correct themselves by the usage of earlier calls.

use super::*;

const CLAUDE: &str = "anthropic/claude-sonnet-4-5";

/// Far from any limit.
const WIDE: &str = r#"{ "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [ { "name": "tpm", "count": "tokens", "per": "tenant", "max": 1000000000000, "window": "1m" } ] } } }"#;

/// Returns a call of about a hundred tokens of text.
fn call(model: &str) -> String {
    let text = "How many tokens is this? ".repeat(16);
    json!({ "model": model, "messages": [{ "role": "user", "content": text }], "max_tokens": 10 }).to_string()
}

fn input_of(effects: &Effects) -> u64 {
    fact(effects, Fact::CountedInput).unwrap().parse().unwrap()
}

/// Returns the count of a call before it is sent; the call then fails.
fn counted(bench: &mut Bench, body: &str) -> u64 {
    let (mut exchange, effects) = bench.send(body);
    bench.head(&mut exchange, 500, "");
    input_of(&effects)
}

/// Makes a call whose answer reports the input that `used` derives from the count. Returns the
/// gauge after it.
fn answered(bench: &mut Bench, body: &str, used: u64) -> Option<u64> {
    let (mut exchange, _) = bench.send(body);
    bench.head(&mut exchange, 200, "application/json");
    let last = bench.piece(&mut exchange, &answer(used, 1), true);
    last.counts.iter().find(|count| count.metric == &metrics::INPUT_SCALE).map(|count| count.by)
}

/// The frames of a call, which are never corrected: a message and the primer of the answer.
const FRAMES: u64 = 3 + 3;

#[test]
fn counts_arrive_at_what_a_model_reports_and_a_gauge_shows_the_scale() {
    let mut bench = Bench::new(WIDE);
    let text = counted(&mut bench, &call(CLAUDE)) - FRAMES;
    let used = FRAMES + text * 14 / 10;
    let mut shown = None;
    for _ in 0..200 {
        shown = answered(&mut bench, &call(CLAUDE), used);
    }
    assert!(counted(&mut bench, &call(CLAUDE)).abs_diff(used) <= 1);
    assert_eq!(shown.map(|percent| percent.abs_diff(120 * 14 / 10) <= 1), Some(true), "{shown:?}");
    let before = bench.count_of(&metrics::ESTIMATE_ERROR, "under");
    answered(&mut bench, &call(CLAUDE), used);
    assert!(bench.count_of(&metrics::ESTIMATE_ERROR, "under") <= before + 1, "the error stays");
}

#[test]
fn text_of_answers_that_tell_no_usage_is_corrected_too() {
    let mut bench = Bench::new(WIDE);
    let written = |bench: &mut Bench| {
        let (mut exchange, _) = bench.send(&call(CLAUDE));
        bench.head(&mut exchange, 200, "application/json");
        let text = json!({ "choices": [{ "message": { "content": "one two three ".repeat(100) } }] });
        let last = bench.piece(&mut exchange, &text.to_string(), true);
        fact(&last, Fact::UsedOutput).unwrap().parse::<u64>().unwrap()
    };
    let before = written(&mut bench);
    for _ in 0..200 {
        answered(&mut bench, &call(CLAUDE), u64::from(u32::MAX));
    }
    assert_eq!(written(&mut bench), before * 2);
}

#[test]
fn models_with_a_public_tokenizer_are_never_corrected() {
    let mut bench = Bench::new(WIDE);
    let before = counted(&mut bench, &call("gpt-4o"));
    for _ in 0..20 {
        assert_eq!(answered(&mut bench, &call("gpt-4o"), before * 2), None);
    }
    assert_eq!(counted(&mut bench, &call("gpt-4o")), before);
}

#[test]
fn nothing_is_corrected_where_it_is_switched_off() {
    let off = WIDE.replacen('{', r#"{ "counting": { "calibrate": false }, "#, 1);
    let mut bench = Bench::new(&off);
    let before = counted(&mut bench, &call(CLAUDE));
    for _ in 0..20 {
        assert_eq!(answered(&mut bench, &call(CLAUDE), before * 2), None);
    }
    assert_eq!(counted(&mut bench, &call(CLAUDE)), before);
}

#[test]
fn nonsense_in_usage_moves_counts_to_a_bound_and_no_farther() {
    for (used, at_bound) in [(1 << 32, 2.0), (0, 0.5)] {
        let mut bench = Bench::new(WIDE);
        let text = counted(&mut bench, &call(CLAUDE)) - FRAMES;
        for _ in 0..300 {
            answered(&mut bench, &call(CLAUDE), used);
        }
        let corrected = counted(&mut bench, &call(CLAUDE)) - FRAMES;
        assert_eq!(corrected, (text as f64 * at_bound).ceil() as u64, "{used}");
    }
}

#[test]
fn what_says_little_of_the_text_teaches_nothing() {
    let mut bench = Bench::new(WIDE);
    let before = counted(&mut bench, &call(CLAUDE));
    let short = json!({ "model": CLAUDE, "messages": [{ "role": "user", "content": "Hi" }] }).to_string();
    let picture = call(CLAUDE)
        .replace(r#""content":"#, r#""content":[{"type":"image_url","image_url":{"url":"https://a.example/b.png"}},{"type":"text","text":"#)
        .replace(r#"}],"model""#, r#"}]}],"model""#);
    assert!(counted(&mut bench, &picture) > before, "{picture}");
    let garbage = format!("{} oh no", call(CLAUDE));
    for body in [short, picture, garbage] {
        assert_eq!(answered(&mut bench, &body, 9_999), None, "{body}");
    }
    let untold = json!({ "choices": [], "usage": { "completion_tokens": 7 } }).to_string();
    let (mut exchange, _) = bench.send(&call(CLAUDE));
    bench.head(&mut exchange, 200, "application/json");
    let last = bench.piece(&mut exchange, &untold, true);
    assert!(last.counts.iter().all(|count| count.metric != &metrics::INPUT_SCALE));
    assert_eq!(counted(&mut bench, &call(CLAUDE)), before);
}
