use super::*;
use crate::limits::RESOURCES;
use proptest::prelude::*;

const DIALECTS: [Dialect; 7] = [
    Dialect::OpenAi,
    Dialect::Anthropic,
    Dialect::Gemini,
    Dialect::Bedrock,
    Dialect::Cohere,
    Dialect::Ollama,
    Dialect::Mcp,
];

const WAIT: Wait = Wait::For(Span::from_millis(2_516));

fn over_budget(dialect: Dialect, wait: Wait) -> Reply {
    refused(dialect, &refusal(wait), "m-1", NOW, 0)
}

/// Returns the values of the fields with these names, in the order of the names.
fn values<'f>(fields: &'f Fields, names: &[&str]) -> Vec<Option<&'f str>> {
    names.iter().map(|name| field(fields, name)).collect()
}

#[test]
fn a_refusal_with_a_wait_is_worded_by_each_dialect() {
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"rate_limit_exceeded","message":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s.","param":null,"type":"tokens"}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"error":{"message":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s.","type":"rate_limit_error"},"type":"error"}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"description":"50000 per 1m","quotaId":"tpm","quotaMetric":"tokens"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.516s"}],"message":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s.","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (
            Dialect::Bedrock,
            r#"{"message":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s."}"#,
        ),
        (
            Dialect::Cohere,
            r#"{"message":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s."}"#,
        ),
        (
            Dialect::Ollama,
            r#"{"error":"Rate limit reached for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. Please try again in 2.516s."}"#,
        ),
    ] {
        let reply = over_budget(dialect, WAIT);
        assert_eq!((reply.status, reply.details), (429, "tollgate_refused"));
        assert_eq!(reply.body, body, "{dialect:?}");
    }
}

#[test]
fn a_refusal_for_ever_is_worded_by_each_dialect_without_a_time_to_come_back() {
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"rate_limit_exceeded","message":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller.","param":null,"type":"tokens"}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"error":{"message":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller.","type":"rate_limit_error"},"type":"error"}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"description":"50000 per 1m","quotaId":"tpm","quotaMetric":"tokens"}]}],"message":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller.","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (
            Dialect::Bedrock,
            r#"{"message":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller."}"#,
        ),
        (
            Dialect::Cohere,
            r#"{"message":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller."}"#,
        ),
        (
            Dialect::Ollama,
            r#"{"error":"Request too large for m-1 on tokens per user (limit `tpm`): Limit 50000 per 1m, Available 120, Requested 1200. It cannot fit even an unused budget: make the request smaller."}"#,
        ),
    ] {
        let reply = over_budget(dialect, Wait::Never);
        assert_eq!(reply.body, body, "{dialect:?}");
        let told = values(&reply.fields, &["retry-after", "retry-after-ms", "x-amz-retry-after"]);
        assert_eq!(told, [None, None, None], "{dialect:?}");
        assert_eq!(field(&reply.fields, "x-should-retry"), Some("false"), "{dialect:?}");
    }
}

#[test]
fn a_budget_that_cannot_be_checked_is_worded_by_each_dialect_and_tells_nothing_of_where_it_stands() {
    const MESSAGE: &str = "Limit `tpm` cannot be checked at the moment. Please try again in 2.516s.";
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"rate_limit_exceeded","message":"MESSAGE","param":null,"type":"tokens"}}"#,
        ),
        (Dialect::Anthropic, r#"{"error":{"message":"MESSAGE","type":"rate_limit_error"},"type":"error"}"#),
        (
            Dialect::Gemini,
            r#"{"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"description":"50000 per 1m","quotaId":"tpm","quotaMetric":"tokens"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.516s"}],"message":"MESSAGE","status":"RESOURCE_EXHAUSTED"}}"#,
        ),
        (Dialect::Bedrock, r#"{"message":"MESSAGE"}"#),
        (Dialect::Cohere, r#"{"message":"MESSAGE"}"#),
        (Dialect::Ollama, r#"{"error":"MESSAGE"}"#),
    ] {
        let limit = Rc::new(Limit::example("tpm", "tokens", 50_000));
        let unknown = Refusal::unknown(&limit, Amount(1_200), Span::from_millis(2_516));

        let reply = refused(dialect, &unknown, "m-1", NOW, 0);

        assert_eq!((reply.status, reply.details), (429, "tollgate_refused"));
        assert_eq!(reply.body, body.replace("MESSAGE", MESSAGE), "{dialect:?}");
        let waits = values(&reply.fields, &["retry-after", "retry-after-ms", "x-should-retry"]);
        assert_eq!(waits, [Some("3"), Some("2516"), Some("true")], "{dialect:?}");
        let standing: Vec<_> =
            reply.fields.iter().filter(|(name, _)| tells_standing(name.as_bytes())).collect();
        assert!(standing.is_empty(), "{dialect:?}: {standing:?}");
    }
}

#[test]
fn a_missing_identity_is_worded_by_each_dialect() {
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"missing_identity","message":"The caller cannot be identified: no value for `tenant`.","param":null,"type":"authentication_error"}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"error":{"message":"The caller cannot be identified: no value for `tenant`.","type":"authentication_error"},"type":"error"}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":401,"message":"The caller cannot be identified: no value for `tenant`.","status":"UNAUTHENTICATED"}}"#,
        ),
        (Dialect::Bedrock, r#"{"message":"The caller cannot be identified: no value for `tenant`."}"#),
        (Dialect::Cohere, r#"{"message":"The caller cannot be identified: no value for `tenant`."}"#),
        (Dialect::Ollama, r#"{"error":"The caller cannot be identified: no value for `tenant`."}"#),
    ] {
        let reply = unidentified(dialect, &Unidentified { dimension: "tenant".into() });
        assert_eq!((reply.status, reply.details), (401, "tollgate_unidentified"));
        assert_eq!(reply.body, body, "{dialect:?}");
    }
}

#[test]
fn a_member_named_twice_is_worded_by_each_dialect() {
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"duplicate_member","message":"The body names `model` more than once, so what it asks for is ambiguous.","param":"model","type":"invalid_request_error"}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"error":{"message":"The body names `model` more than once, so what it asks for is ambiguous.","type":"invalid_request_error"},"type":"error"}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":400,"message":"The body names `model` more than once, so what it asks for is ambiguous.","status":"INVALID_ARGUMENT"}}"#,
        ),
        (
            Dialect::Bedrock,
            r#"{"message":"The body names `model` more than once, so what it asks for is ambiguous."}"#,
        ),
        (
            Dialect::Cohere,
            r#"{"message":"The body names `model` more than once, so what it asks for is ambiguous."}"#,
        ),
        (
            Dialect::Ollama,
            r#"{"error":"The body names `model` more than once, so what it asks for is ambiguous."}"#,
        ),
    ] {
        let reply = ambiguous(dialect, "model");
        assert_eq!((reply.status, reply.details), (400, "tollgate_bad_request"));
        assert_eq!(reply.body, body, "{dialect:?}");
    }
}

#[test]
fn an_upgrade_is_worded_by_each_dialect() {
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"upgrade_not_allowed","message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket.","param":null,"type":"invalid_request_error"}}"#,
        ),
        (
            Dialect::Anthropic,
            r#"{"error":{"message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket.","type":"invalid_request_error"},"type":"error"}"#,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":426,"message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket.","status":"FAILED_PRECONDITION"}}"#,
        ),
        (
            Dialect::Bedrock,
            r#"{"message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket."}"#,
        ),
        (
            Dialect::Cohere,
            r#"{"message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket."}"#,
        ),
        (
            Dialect::Ollama,
            r#"{"error":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket."}"#,
        ),
    ] {
        let reply = upgrade(dialect);
        assert_eq!((reply.status, reply.details), (426, "tollgate_upgrade_refused"));
        assert_eq!(reply.body, body, "{dialect:?}");
    }
}

#[test]
fn a_path_of_no_api_is_worded_by_each_dialect() {
    const WORDS: &str = "This gateway knows no LLM API with this path, so it refuses the call.";
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"code":"unknown_url","message":WORDS,"param":null,"type":"invalid_request_error"}}"#,
        ),
        (Dialect::Anthropic, r#"{"error":{"message":WORDS,"type":"not_found_error"},"type":"error"}"#),
        (Dialect::Gemini, r#"{"error":{"code":404,"message":WORDS,"status":"NOT_FOUND"}}"#),
        (Dialect::Bedrock, r#"{"message":WORDS}"#),
        (Dialect::Cohere, r#"{"message":WORDS}"#),
        (Dialect::Ollama, r#"{"error":WORDS}"#),
    ] {
        let reply = unrecognised(dialect);
        assert_eq!((reply.status, reply.details), (404, "tollgate_unrecognised"));
        assert_eq!(reply.body, body.replace("WORDS", &format!("\"{WORDS}\"")), "{dialect:?}");
    }
}

#[test]
fn openais_error_type_is_the_unit_that_ran_out() {
    for (counts, kind) in [
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("input_tokens", "tokens"),
        ("output_tokens", "tokens"),
        ("cost_usd", "cost"),
    ] {
        let refusal = Refusal {
            standing: standing("l", counts, 10, 1),
            needed: Amount(2),
            wait: WAIT,
            reason: Reason::Spent,
        };
        let body = refused(Dialect::OpenAi, &refusal, "", NOW, 0).body;
        assert!(body.ends_with(&format!(r#""type":"{kind}"}}}}"#)), "{body}");
    }
}

#[test]
fn bedrocks_clients_are_told_the_kind_of_error_in_a_header() {
    let kind = |reply: &Reply| field(&reply.fields, "x-amzn-errortype").map(str::to_owned);
    for (reply, expected) in [
        (over_budget(Dialect::Bedrock, WAIT), "ThrottlingException"),
        (over_budget(Dialect::Bedrock, Wait::Never), "ServiceQuotaExceededException"),
        (
            unidentified(Dialect::Bedrock, &Unidentified { dimension: "tenant".into() }),
            "AccessDeniedException",
        ),
        (ambiguous(Dialect::Bedrock, "model"), "ValidationException"),
        (upgrade(Dialect::Bedrock), "ValidationException"),
        (unrecognised(Dialect::Bedrock), "ResourceNotFoundException"),
    ] {
        assert_eq!(kind(&reply).as_deref(), Some(expected));
    }
}

#[test]
fn aws_sdks_are_told_a_wait_that_they_should_sleep_through_and_no_other() {
    let told = |seconds| {
        let reply = over_budget(Dialect::Bedrock, Wait::For(Span::from_secs(seconds)));
        field(&reply.fields, "x-amz-retry-after").map(str::to_owned)
    };
    assert_eq!(told(0).as_deref(), Some("1"));
    assert_eq!(told(60).as_deref(), Some("60000"));
    assert_eq!(told(61), None);
}

#[test]
fn every_error_is_json_and_says_so() {
    for dialect in DIALECTS {
        for reply in [
            over_budget(dialect, WAIT),
            over_budget(dialect, Wait::Never),
            unidentified(dialect, &Unidentified { dimension: "a\"b".into() }),
            ambiguous(dialect, "model"),
            upgrade(dialect),
            unrecognised(dialect),
        ] {
            assert_eq!(field(&reply.fields, "content-type"), Some("application/json"), "{dialect:?}");
            let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            assert!(body.is_object(), "{body}");
        }
    }
}

#[test]
fn anthropics_clients_are_told_the_most_constrained_limit_of_each_kind() {
    let standings = [
        standing("rpm", "requests", 20, 19),
        standing("tpm", "tokens", 1_000, 500),
        standing("tph", "tokens", 9_000, 900),
        standing("in", "input_tokens", 800, 700),
        standing("out", "output_tokens", 600, 100),
        standing("spend", "cost_usd", 5_000_000_000, 1),
    ];
    let fields = standing_fields(Dialect::Anthropic, &standings, NOW);
    let reset = Some("2025-08-21T12:41:29Z");
    for (kind, limit, remaining) in [
        ("requests", "20", "19"),
        ("tokens", "9000", "900"),
        ("input-tokens", "800", "700"),
        ("output-tokens", "600", "100"),
    ] {
        let names = ["limit", "remaining", "reset"].map(|what| format!("anthropic-ratelimit-{kind}-{what}"));
        let told = values(&fields, &[&names[0], &names[1], &names[2]]);
        assert_eq!(told, [Some(limit), Some(remaining), reset], "{kind}");
    }
    let own = fields.iter().filter(|(name, _)| name.starts_with("anthropic-"));
    assert_eq!(own.count(), 12, "money has no name at Anthropic");
}

#[test]
fn anthropics_kinds_are_things_that_limits_count() {
    for (counted, _) in anthropic::FAMILIES {
        assert!(RESOURCES.iter().any(|row| row.name == counted), "{counted}");
    }
}

#[test]
fn refusals_carry_the_budget_headers_of_their_dialect() {
    let anthropic = over_budget(Dialect::Anthropic, WAIT).fields;
    let names = [
        "anthropic-ratelimit-tokens-limit",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
        "retry-after",
        "retry-after-ms",
        "x-should-retry",
    ];
    let reset = "2025-08-21T12:41:29Z";
    let told = ["50000", "120", reset, "3", "2516", "true"].map(Some);
    assert_eq!(values(&anthropic, &names), told);
    for dialect in DIALECTS.into_iter().filter(|dialect| *dialect != Dialect::Anthropic) {
        let fields = over_budget(dialect, WAIT).fields;
        let names = [
            "x-ratelimit-limit-tokens",
            "x-ratelimit-remaining-tokens",
            "x-ratelimit-reset-tokens",
            "retry-after",
        ];
        assert_eq!(values(&fields, &names), ["50000", "120", "30s", "3"].map(Some), "{dialect:?}");
    }
}

#[test]
fn no_dialect_tells_anything_in_a_name_of_another() {
    let standings: Vec<_> = RESOURCES.iter().map(|counted| standing("l", counted.name, 10, 1)).collect();
    for dialect in DIALECTS {
        let fields = [over_budget(dialect, WAIT).fields, standing_fields(dialect, &standings, NOW)].concat();
        for (name, _) in fields {
            let mut owners = vec![];
            if name.starts_with("anthropic-") {
                owners = vec![Dialect::Anthropic];
            } else if name.starts_with("x-amz") {
                owners = vec![Dialect::Bedrock];
            } else if name.starts_with("x-ratelimit-") {
                owners = DIALECTS.into_iter().filter(|dialect| *dialect != Dialect::Anthropic).collect();
            }
            assert!(owners.is_empty() || owners.contains(&dialect), "{dialect:?} tells {name}");
        }
    }
}

#[test]
fn what_is_told_of_budgets_replaces_what_an_upstream_tells() {
    let standings: Vec<_> = RESOURCES.iter().map(|counted| standing("l", counted.name, 10, 1)).collect();
    for dialect in DIALECTS {
        let fields = standing_fields(dialect, &standings, NOW);
        for (name, _) in fields.iter().filter(|(name, _)| *name != "x-tollgate-warning") {
            assert!(tells_standing(name.as_bytes()), "{dialect:?} leaves an upstream's {name}");
        }
    }
}

#[test]
fn an_upstreams_own_families_of_budget_headers_are_known() {
    for name in [
        "x-ratelimit-remaining-project-tokens",
        "x-ratelimit-remaining-req-minute",
        "x-ratelimit-limit-requests-day",
        "anthropic-priority-output-tokens-reset",
        "anthropic-fast-input-tokens-remaining",
        "anthropic-ratelimit-unified-5h-utilization",
        "x-trial-endpoint-call-remaining",
        "ratelimit",
    ] {
        assert!(tells_standing(name.as_bytes()), "{name}");
    }
    assert!(!tells_standing(b"x-request-id") && !tells_standing(b"anthropic-organization-id"));
}

proptest! {
    #[test]
    fn any_refusal_is_one_bounded_json_object_in_every_dialect(
        max in 1_u64..,
        needed: u64,
        wait: Option<u64>,
        now: u64,
        jitter: u32,
        model in ".{0,80}",
    ) {
        let wait = wait.map_or(Wait::Never, |nanos| Wait::For(Span(nanos)));
        let refusal = Refusal { standing: standing("l", "cost_usd", max, 0), needed: Amount(needed), wait, reason: Reason::Spent };
        for dialect in DIALECTS {
            let reply = refused(dialect, &refusal, &model, Timestamp(now), jitter);
            let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
            prop_assert!(body.is_object() && reply.body.len() < 2_000);
            for (name, value) in &reply.fields {
                prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}: {}", name, value);
            }
        }
    }
}

#[test]
fn a_busy_upstream_is_told_as_each_apis_clients_expect_a_refusal_that_passes() {
    let said = "The upstream is busy for m. Please try again in 1.5s.";
    let busy = |dialect| busy(dialect, "m", Span::from_millis(1_500), 0);
    for (dialect, body) in [
        (
            Dialect::OpenAi,
            format!(
                r#"{{"error":{{"code":"rate_limit_exceeded","message":"{said}","param":null,"type":"upstream"}}}}"#
            ),
        ),
        (
            Dialect::Anthropic,
            format!(r#"{{"error":{{"message":"{said}","type":"rate_limit_error"}},"type":"error"}}"#),
        ),
        (
            Dialect::Gemini,
            format!(
                r#"{{"error":{{"code":429,"details":[{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"}}],"message":"{said}","status":"RESOURCE_EXHAUSTED"}}}}"#
            ),
        ),
        (Dialect::Bedrock, format!(r#"{{"message":"{said}"}}"#)),
        (Dialect::Cohere, format!(r#"{{"message":"{said}"}}"#)),
        (Dialect::Ollama, format!(r#"{{"error":"{said}"}}"#)),
    ] {
        let reply = busy(dialect);
        assert_eq!((reply.status, reply.details), (429, "tollgate_upstream_busy"));
        assert_eq!(reply.body, body, "{dialect:?}");
        assert_eq!(field(&reply.fields, "retry-after"), Some("2"));
    }
    let bedrock = busy(Dialect::Bedrock);
    assert_eq!(field(&bedrock.fields, "x-amzn-errortype"), Some("ThrottlingException"));
    assert_eq!(field(&bedrock.fields, "x-amz-retry-after"), Some("1500"));
}
