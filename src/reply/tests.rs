use super::*;
use crate::limits::Limit;
use crate::units::Amount;
use std::rc::Rc;

#[path = "dialect_tests.rs"]
mod dialects;

/// 2025-08-21T12:40:58.5Z
const NOW: Timestamp = Timestamp(1_755_780_058_500_000_000);

fn standing(name: &str, counts: &str, max: u64, available: u64) -> Standing {
    Standing {
        limit: Rc::new(Limit::example(name, counts, max)),
        available: Amount(available),
        spent: Amount(max - available),
        reset: Span::from_secs(30),
    }
}

fn refusal(wait: Wait) -> Refusal {
    Refusal {
        standing: standing("tpm", "tokens", 50_000, 120),
        needed: Amount(1_200),
        wait,
        reason: Reason::Spent,
    }
}

/// Refuses with every family of headers.
fn refused(dialect: Dialect, refusal: &Refusal, model: &str, now: Timestamp, jitter: u32) -> Reply {
    super::refused(dialect, &Headers::all(), refusal, model, now, jitter)
}

fn standing_fields(dialect: Dialect, standings: &[Standing], now: Timestamp) -> Fields {
    super::standing_fields(dialect, &Headers::all(), standings, now)
}

fn field<'r>(fields: &'r Fields, name: &str) -> Option<&'r str> {
    let found: Vec<_> = fields.iter().filter(|(field, _)| *field == name).collect();
    assert!(found.len() < 2, "{name} twice");
    found.first().map(|(_, value)| value.as_str())
}

#[test]
fn a_refusal_says_in_openais_words_what_was_reached_and_when_to_come_back() {
    let reply = refused(Dialect::OpenAi, &refusal(Wait::For(Span::from_millis(1_400))), "gpt-4o", NOW, 0);
    assert_eq!(reply.status, 429);
    assert_eq!(
        reply.body,
        r#"{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached for gpt-4o on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 1.4s.","param":null,"type":"tokens"}}"#
    );
    for (name, value) in [
        ("retry-after", "2"),
        ("retry-after-ms", "1400"),
        ("x-should-retry", "true"),
        ("content-type", "application/json"),
        ("x-ratelimit-limit-tokens", "50000"),
        ("x-ratelimit-remaining-tokens", "120"),
        ("x-ratelimit-reset-tokens", "30s"),
        ("ratelimit-policy", "\"tpm\";q=50000;qu=\"tokens\";w=60"),
        ("ratelimit", "\"tpm\";r=120;t=2"),
    ] {
        assert_eq!(field(&reply.fields, name), Some(value), "{name}");
    }
}

#[test]
fn jitter_only_ever_lengthens_the_wait_and_by_a_tenth_at_most() {
    let wait = |seconds, jitter| {
        let reply = refused(Dialect::OpenAi, &refusal(Wait::For(Span::from_secs(seconds))), "", NOW, jitter);
        field(&reply.fields, "retry-after-ms").unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(wait(5, 0), 5_000);
    assert_eq!(wait(5, u32::MAX), 5_500);
    assert_eq!(wait(5_000, u32::MAX), 5_001_000);
}

#[test]
fn a_wait_of_nothing_is_still_a_second_for_strict_clients() {
    let reply = refused(Dialect::OpenAi, &refusal(Wait::For(Span(1))), "", NOW, 0);
    assert_eq!(field(&reply.fields, "retry-after"), Some("1"));
    assert_eq!(field(&reply.fields, "retry-after-ms"), Some("1"));
}

#[test]
fn clients_are_told_not_to_retry_what_cannot_succeed_soon() {
    let long = refused(Dialect::OpenAi, &refusal(Wait::For(Span::from_secs(61))), "", NOW, 0);
    assert_eq!(
        (field(&long.fields, "x-should-retry"), field(&long.fields, "retry-after")),
        (Some("false"), Some("61"))
    );
    let never = refused(Dialect::OpenAi, &refusal(Wait::Never), "", NOW, 0);
    assert_eq!(
        (field(&never.fields, "x-should-retry"), field(&never.fields, "retry-after")),
        (Some("false"), None)
    );
    assert!(never.body.contains("Request too large on tokens per user"));
    assert!(never.body.contains("make the request smaller"));
}

#[test]
fn money_is_told_in_dollars_and_in_micro_dollars_where_only_integers_fit() {
    let spend = standing("spend", "cost_usd", 5_000_000_000, 12_500_000);
    let fields = standing_fields(Dialect::OpenAi, std::slice::from_ref(&spend), NOW);
    assert_eq!(field(&fields, "ratelimit-policy"), Some("\"spend\";q=5000000;qu=\"micro-usd\";w=60"));
    assert_eq!(field(&fields, "ratelimit"), Some("\"spend\";r=12500;t=30"));
    let refusal = Refusal {
        standing: spend,
        needed: Amount(20_000_000),
        wait: Wait::For(Span::from_secs(9)),
        reason: Reason::Spent,
    };
    let body = refused(Dialect::OpenAi, &refusal, "gpt-4o", NOW, 0).body;
    assert!(body.contains("Limit $5.00 per 1m, Available $0.0125, Requested $0.02"), "{body}");
}

#[test]
fn allowed_calls_are_told_the_most_constrained_limit_of_each_kind() {
    let standings = [
        standing("rpm", "requests", 20, 19),
        standing("tpm", "tokens", 1_000, 500),
        standing("out", "output_tokens", 1_000, 100),
    ];
    let fields = standing_fields(Dialect::OpenAi, &standings, NOW);
    assert_eq!(field(&fields, "x-ratelimit-remaining-requests"), Some("19"));
    assert_eq!(field(&fields, "x-ratelimit-remaining-tokens"), Some("100"));
    assert_eq!(field(&fields, "ratelimit"), Some("\"out\";r=100;t=30"));
    assert_eq!(field(&fields, "x-tollgate-warning"), Some("\"out\";used=90"));
    assert!(standing_fields(Dialect::OpenAi, &[], NOW).is_empty());
}

#[test]
fn only_the_chosen_families_are_sent_and_the_rest_of_a_refusal_stays() {
    let budget = standing("tpm", "tokens", 1_000, 100);
    let names = |fields: Fields| fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let openai = ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
    let anthropic = [
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
    ];
    let ietf = ["ratelimit-policy", "ratelimit"];
    let always = ["retry-after", "retry-after-ms", "x-should-retry", "content-type"];
    for (families, dialect, sent) in [
        (&[Family::XRatelimit] as &[_], Dialect::OpenAi, &openai as &[_]),
        (&[Family::XRatelimit], Dialect::Mcp, &openai),
        (&[Family::XRatelimit], Dialect::Anthropic, &[]),
        (&[Family::Anthropic], Dialect::Anthropic, &anthropic),
        (&[Family::Anthropic], Dialect::OpenAi, &[]),
        (&[Family::Ietf], Dialect::OpenAi, &ietf),
        (&[Family::Ietf], Dialect::Anthropic, &ietf),
        (&[], Dialect::OpenAi, &[]),
        (&[], Dialect::Anthropic, &[]),
    ] {
        let headers = Headers::of(families);
        let allowed = super::standing_fields(dialect, &headers, std::slice::from_ref(&budget), NOW);
        assert_eq!(names(allowed), [sent, &["x-tollgate-warning"]].concat(), "{families:?} {dialect:?}");
        let refusal = refusal(Wait::For(Span::from_secs(1)));
        let reply = super::refused(dialect, &headers, &refusal, "", NOW, 0);
        assert_eq!(names(reply.fields), [sent, &always].concat(), "{families:?} {dialect:?}");
    }
}

#[test]
fn other_refusals_have_their_own_status_and_code() {
    let missing = unidentified(Dialect::OpenAi, &Unidentified { dimension: "tenant".into() });
    assert_eq!(missing.status, 401);
    assert!(missing.body.contains("`tenant`") && missing.body.contains("missing_identity"));
    let twice = ambiguous(Dialect::OpenAi, "model");
    assert_eq!(twice.status, 400);
    assert!(twice.body.contains(r#""param":"model""#));
    assert_eq!(upgrade(Dialect::OpenAi).status, 426);
}

#[test]
fn a_model_is_repeated_in_one_bounded_line() {
    let model = "evil\r\nx-admin: 1".to_owned() + &"x".repeat(10_000);
    let body = refused(Dialect::OpenAi, &refusal(Wait::Never), &model, NOW, 0).body;
    assert!(body.len() < 1_000 && !body.contains("\\r") && !body.contains("\\n"), "{body}");
}
