use proptest::prelude::*;
use std::rc::Rc;

use super::super::{Reply, ambiguous, unidentified, upgrade};
use super::*;
use crate::api::{Dialect, Message};
use crate::identity::Unidentified;
use crate::limits::{Limit, Reason, Standing, Wait};
use crate::settings::Headers;
use crate::units::Amount;

/// 2025-08-21T12:40:58.5Z
const NOW: Timestamp = Timestamp(1_755_780_058_500_000_000);

const WAIT: Wait = Wait::For(Span::from_secs(720));

fn refusal(wait: Wait) -> Refusal {
    let limit = Rc::new(Limit::example("mail", "requests", 5));
    let standing = Standing { limit, available: Amount(0), spent: Amount(5), reset: Span::from_secs(60) };
    Refusal { standing, needed: Amount(1), wait, reason: Reason::Spent }
}

/// Builds messages with these ids and tools.
fn messages<'a>(is_batch: bool, list: &[(Option<&'a str>, Option<&'a str>)]) -> Messages<'a> {
    let list = list.iter().map(|(id, tool)| Message { id: id.map(Into::into), tool: tool.map(Into::into) });
    Messages { is_batch, list: list.collect() }
}

fn refused(dialect: Dialect, refusal: &Refusal, model: &str, now: Timestamp, jitter: u32) -> Reply {
    super::super::refused(dialect, &Headers::all(), refusal, model, now, jitter)
}

fn tool_refused(
    messages: &Messages<'_>,
    refusal: &Refusal,
    tool: &str,
    now: Timestamp,
    jitter: u32,
) -> Reply {
    super::super::tool_refused(messages, &Headers::all(), refusal, tool, now, jitter)
}

fn mail_refused(messages: &Messages<'_>) -> Reply {
    tool_refused(messages, &refusal(WAIT), "send_email", NOW, 0)
}

fn field<'r>(reply: &'r Reply, name: &str) -> Option<&'r str> {
    reply.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
}

const MAIL: &str = r#"{"code":429,"data":{"limit":"mail","max":5,"reset_at":"2025-08-21T12:52:59Z","retry_after_ms":720000,"tool":"send_email","window":"1m"},"message":"Rate limit reached for send_email on requests per user (limit `mail`): Limit 5 per 1m, Available 0, Requested 1. Please try again in 12m0s."}"#;

const KEPT_BACK: &str =
    r#"{"code":429,"message":"Not executed: another call of the same batch is over budget."}"#;

#[test]
fn a_refused_call_is_answered_with_its_id_and_when_to_come_back() {
    for id in ["7", "\"a-1\"", "1.50e1", "null", "{\"a\" : []}"] {
        let reply = mail_refused(&messages(false, &[(Some(id), Some("send_email"))]));
        assert_eq!((reply.status, reply.details), (200, "tollgate_refused"));
        assert_eq!(reply.body, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{MAIL}}}"#));
        let told = ["content-type", "retry-after", "retry-after-ms", "x-should-retry"];
        let told = told.map(|name| field(&reply, name).unwrap());
        assert_eq!(told, ["application/json", "720", "720000", "false"]);
    }
}

#[test]
fn the_wait_is_the_same_in_the_body_as_in_the_headers() {
    let call = messages(false, &[(Some("1"), Some("x"))]);
    let reply = tool_refused(&call, &refusal(Wait::For(Span::from_secs(5))), "x", NOW, u32::MAX);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(field(&reply, "retry-after-ms"), Some("5500"));
    assert_eq!(body["error"]["data"]["retry_after_ms"], 5500);
    assert_eq!(body["error"]["data"]["reset_at"], "2025-08-21T12:41:04Z");
}

#[test]
fn a_call_that_never_fits_is_not_told_to_come_back() {
    let call = messages(false, &[(Some("1"), Some("x"))]);
    let reply = tool_refused(&call, &refusal(Wait::Never), "x", NOW, 0);
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["data"], json!({ "limit": "mail", "max": 5, "tool": "x", "window": "1m" }));
    assert_eq!(field(&reply, "retry-after"), None);
}

#[test]
fn a_batch_is_answered_as_a_batch_and_each_request_told_why() {
    let calls = [
        (Some("1"), Some("send_email")),
        (None, Some("send_email")),
        (Some("\"2\""), Some("echo")),
        (Some("3"), None),
        (None, None),
    ];
    let reply = mail_refused(&messages(true, &calls));
    let answer = |id: &str, error: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    let answers = [answer("1", MAIL), answer("\"2\"", KEPT_BACK), answer("3", KEPT_BACK)];
    assert_eq!((reply.status, reply.body), (200, format!("[{}]", answers.join(","))));

    let reply = mail_refused(&messages(true, &calls[..1]));
    assert_eq!(reply.body, format!("[{}]", answer("1", MAIL)));
}

#[test]
fn notifications_get_no_answer_but_a_status() {
    for is_batch in [false, true] {
        let reply = mail_refused(&messages(is_batch, &[(None, Some("send_email"))]));
        assert_eq!(reply.status, 429);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!((&body["id"], &body["error"]["code"]), (&Value::Null, &json!(429)));
        assert_eq!(field(&reply, "retry-after"), Some("720"));
    }
}

#[test]
fn the_answer_to_a_batch_of_thousands_is_a_few_times_as_long() {
    let calls = messages(true, &vec![(Some("1"), Some("send_email")); 20_000]);
    let reply = mail_refused(&calls);
    let shortest = r#"{"method":"tools/call","params":{"name":"send_email"},"id":1}"#.len();
    assert!(reply.body.len() < 3 * shortest * 20_000, "{}", reply.body.len());
    let answers: Vec<Value> = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(answers.len(), 20_000);
    assert_eq!(answers.iter().filter(|answer| answer["error"]["data"].is_object()).count(), MOST_TOLD_ALL);
}

#[test]
fn other_refusals_are_json_rpc_errors_to_nobody_with_a_status_of_their_own() {
    let missing = Unidentified { dimension: "tenant".into() };
    for (reply, status, error) in [
        (
            unidentified(Dialect::Mcp, &missing),
            401,
            r#"{"code":401,"message":"The caller cannot be identified: no value for `tenant`."}"#,
        ),
        (
            ambiguous(Dialect::Mcp, "method"),
            400,
            r#"{"code":-32600,"message":"The body names `method` more than once, so what it asks for is ambiguous."}"#,
        ),
        (
            upgrade(Dialect::Mcp),
            426,
            r#"{"code":-32600,"message":"LLM calls must use plain HTTP, not an upgraded connection such as a WebSocket."}"#,
        ),
        (
            refused(Dialect::Mcp, &refusal(Wait::For(Span::from_secs(3))), "", NOW, 0),
            429,
            r#"{"code":429,"data":{"limit":"mail","max":5,"retry_after_ms":3000,"window":"1m"},"message":"Rate limit reached on requests per user (limit `mail`): Limit 5 per 1m, Available 0, Requested 1. Please try again in 3s."}"#,
        ),
    ] {
        assert_eq!(reply.status, status);
        assert_eq!(reply.body, format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#));
    }
}

proptest! {
    #[test]
    fn any_tool_and_any_messages_are_refused_in_json_of_bounded_length(
        tool: String,
        others in prop::collection::vec((prop::option::of(Just("1")), any::<Option<String>>()), 0..8),
        is_batch: bool,
        wait: Option<u64>,
        now: u64,
        jitter: u32,
    ) {
        let mut list: Vec<_> = others.iter().map(|(id, tool)| (*id, tool.as_deref())).collect();
        list.push((None, Some(&tool)));
        list.truncate(if is_batch { list.len() } else { 1 });
        let wait = wait.map_or(Wait::Never, |nanos| Wait::For(Span(nanos)));
        let messages = messages(is_batch, &list);
        let reply = tool_refused(&messages, &refusal(wait), &tool, Timestamp(now), jitter);
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let to_be_answered = list.iter().filter(|(id, _)| id.is_some()).count();
        prop_assert_eq!(reply.status == 200, to_be_answered > 0);
        prop_assert_eq!(body.as_array().map_or(1, Vec::len), to_be_answered.max(1));
        prop_assert!(reply.body.len() < 1_000 * to_be_answered.max(1));
    }
}
