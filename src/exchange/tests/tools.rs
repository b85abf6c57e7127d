//! Calls of tools: counted from answers and from MCP, removed from requests or refused.

use super::*;
use crate::api::Edit;

fn tools(on_exhausted: &str) -> String {
    format!(
        r#"{{ "identity": {{ "tenant": {{ "header": "x-tenant-id" }} }}, "tiers": {{ "free": {{ "limits": [
            {{ "name": "tpm", "count": "tokens", "per": "tenant", "max": 100000, "window": "1m" }},
            {{ "name": "mail", "count": "tool_calls", "tools": ["send_*"], "per": "tenant", "max": 2, "window": "1h", "on_exhausted": "{on_exhausted}" }} ] }} }} }}"#
    )
}

const OFFERS: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"tools":[{"type":"function","function":{"name":"send_email"}},{"type":"function","function":{"name":"look"}}]}"#;

/// Makes a call in which the model calls these tools.
fn call(bench: &mut Bench, names: &[&str]) -> Effects {
    let (mut exchange, effects) = bench.send(OFFERS);
    if effects.next == Next::Pass {
        bench.head(&mut exchange, 200, "application/json");
        let calls: Vec<_> =
            names.iter().map(|name| json!({ "function": { "name": name, "arguments": "{}" } })).collect();
        let answer = json!({ "choices": [{ "message": { "tool_calls": calls } }], "usage": { "prompt_tokens": 8, "completion_tokens": 2 } });
        bench.piece(&mut exchange, &answer.to_string(), true);
    }
    effects
}

fn sent(effects: &Effects) -> String {
    String::from_utf8(Edit::apply_all(&effects.body, OFFERS.as_bytes())).unwrap()
}

fn rpc(bench: &mut Bench, body: &str) -> (Exchange, Effects) {
    let mut exchange = bench.exchange();
    let head = Request::chat().with(":path", b"/mcp");
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    let event = Event::RequestBody { body: body.as_bytes(), editable: Editable::All };
    let effects = bench.handle(&mut exchange, event);
    (exchange, effects)
}

const SEND: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"send_email"}}"#;

#[test]
fn a_tool_whose_budget_is_spent_is_taken_out_until_it_has_flowed_back() {
    let mut bench = Bench::new(&tools("hide_tool"));
    assert_eq!(sent(&call(&mut bench, &["send_email", "look"])), OFFERS);
    assert_eq!(sent(&call(&mut bench, &["send_sms"])), OFFERS);
    let effects = call(&mut bench, &["look"]);
    assert_eq!(
        sent(&effects),
        OFFERS.replace(r#"{"type":"function","function":{"name":"send_email"}},"#, "")
    );
    assert_eq!(fact(&effects, Fact::Softened).as_deref(), Some("hidden_tools=1"));
    assert_eq!(bench.count_of(&metrics::TOOL_CALLS, ""), 4);
    bench.now = bench.now + Span::from_secs(1_801);
    assert_eq!(sent(&call(&mut bench, &[])), OFFERS);
}

#[test]
fn a_call_that_offers_a_spent_tool_is_refused_if_the_limit_says_so_or_if_it_cannot_be_changed() {
    let mut bench = Bench::new(&tools("refuse"));
    call(&mut bench, &["send_email", "send_email"]);
    let effects = call(&mut bench, &[]);
    let (refusal, body) = reply(&effects);
    assert_eq!(refusal.status, 429);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("on tool_calls per tenant (limit `mail`): Limit 2 per 1h, Available 0"),
        "{message}"
    );

    let mut bench = Bench::new(&tools("hide_tool"));
    call(&mut bench, &["send_email", "send_email"]);
    let mut exchange = bench.exchange();
    bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
    let event = Event::RequestBody { body: OFFERS.as_bytes(), editable: Editable::Nothing };
    assert_eq!(reply(&bench.handle(&mut exchange, event)).0.status, 429);
}

#[test]
fn what_cannot_be_read_may_offer_a_spent_tool_and_is_refused() {
    let utf16: Vec<u8> = OFFERS.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mark = format!("\u{feff}{OFFERS}");
    let latin1 = [OFFERS.as_bytes().split_last().unwrap().1, b",\"user\":\"\xe9\"}"].concat();
    for body in [&utf16, mark.as_bytes(), &latin1, b"{"] {
        for (spent, passes) in [(0, true), (2, false)] {
            let mut bench = Bench::new(&tools("hide_tool"));
            call(&mut bench, &["send_email", "send_email"][..spent]);
            let mut exchange = bench.exchange();
            bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
            let effects = bench.handle(&mut exchange, Event::RequestBody { body, editable: Editable::All });
            assert_eq!(effects.next == Next::Pass, passes, "{spent} {:?}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn what_is_too_long_to_be_read_may_offer_a_spent_tool_and_is_refused_where_tools_are_offered_at_all() {
    for (path, passes) in [("/v1/chat/completions", false), ("/v1/embeddings", true)] {
        let mut bench = Bench::new(&tools("hide_tool").replace("100000", "10000000"));
        call(&mut bench, &["send_email", "send_email"]);
        let mut exchange = bench.exchange();
        let head = Request::chat().with(":path", path.as_bytes()).with("content-length", b"2000000");
        let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        assert_eq!(effects.next == Next::Pass, passes, "{path}");
    }
}

#[test]
fn calls_that_offer_no_spent_tool_are_left_alone() {
    let mut bench = Bench::new(&tools("refuse"));
    call(&mut bench, &["send_email", "send_email"]);
    let (_, effects) = bench.send(HI);
    assert_eq!((effects.next, effects.body.len()), (Next::Pass, 0));
}

#[test]
fn mcp_of_a_tier_without_limits_on_tools_passes_untouched() {
    let limited = tools("refuse");
    let rest = r#""plain": { "limits": [{ "name": "rpm", "count": "requests", "per": "tenant", "max": 1, "window": "1h" }] }, "free""#;
    let both = limited
        .replace(r#""free""#, rest)
        .replace(r#""tenant": {"#, r#""tier": { "header": "x-tier", "default": "free" }, "tenant": {"#);
    let mut bench = Bench::new(&both);
    let head = Request::chat().with(":path", b"/mcp").with("x-tier", b"plain");
    for _ in 0..2 {
        let effects = bench.handle(&mut bench.exchange(), Event::RequestHead { head: &head, ended: false });
        assert_eq!(effects.next, Next::Pass);
        assert!(effects.headers.is_empty() && effects.facts.is_empty() && effects.counts.is_empty());
    }
}

#[test]
fn calls_of_mcp_and_of_models_share_a_budget() {
    let mut bench = Bench::new(&tools("hide_tool"));
    let (mut exchange, effects) = rpc(&mut bench, SEND);
    assert_eq!(effects.next, Next::Pass);
    bench.head(&mut exchange, 200, "application/json");
    bench.piece(&mut exchange, "{}", true);
    call(&mut bench, &["send_email"]);
    let (_, effects) = rpc(&mut bench, SEND);
    let (refusal, body) = reply(&effects);
    assert_eq!(
        (refusal.status, &body["id"], &body["error"]["data"]["limit"]),
        (200, &json!("a"), &json!("mail"))
    );
    assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("mail"));
    assert_eq!(bench.count_of(&metrics::CALLS, "refused"), 1);
}

#[test]
fn a_call_of_mcp_that_fails_costs_nothing() {
    let mut bench = Bench::new(&tools("hide_tool"));
    for _ in 0..5 {
        let (mut exchange, effects) = rpc(&mut bench, SEND);
        assert_eq!(effects.next, Next::Pass);
        bench.head(&mut exchange, 503, "application/json");
        bench.piece(&mut exchange, "", true);
    }
}

#[test]
fn a_batch_is_refused_as_a_whole_if_one_of_its_calls_does_not_fit() {
    let mut bench = Bench::new(&tools("hide_tool"));
    let (_, effects) = rpc(&mut bench, &format!("[{SEND},{SEND},{SEND}]"));
    assert_eq!(reply(&effects).1.as_array().unwrap().len(), 3);
    let (_, effects) = rpc(&mut bench, &format!("[{SEND},{SEND}]"));
    assert_eq!(effects.next, Next::Pass, "the refused batch has consumed nothing");
}

#[test]
fn other_messages_of_mcp_pass_and_cost_nothing() {
    let mut bench = Bench::new(&tools("hide_tool"));
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look"}}"#,
        "no JSON",
        "",
    ] {
        let (exchange, effects) = rpc(&mut bench, body);
        assert_eq!(effects.next, Next::Pass, "{body}");
        assert!(!exchange.wants(Wanted::End) || body.contains("look"), "{body}");
    }
}

#[test]
fn mcp_is_not_looked_at_where_no_limit_counts_tools() {
    let mut bench = Bench::new(REQUESTS);
    let mut exchange = bench.exchange();
    let head = Request::chat().with(":path", b"/mcp");
    let effects = bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
    assert_eq!(format!("{effects:?}"), format!("{:?}", Effects::default()));
}

#[test]
fn a_body_of_mcp_that_cannot_be_read_counts_as_a_call_of_any_tool() {
    let mut bench = Bench::new(&tools("hide_tool"));
    let head = Request::chat().with(":path", b"/mcp").with("content-encoding", b"unheard-of");
    let mut send = || {
        let mut exchange = bench.exchange();
        bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: false });
        let effects = bench.handle(&mut exchange, Event::RequestBody { body: b"x", editable: Editable::All });
        (exchange, effects)
    };
    let held = [send(), send()];
    assert!(held.iter().all(|(_, effects)| effects.next == Next::Pass));
    assert!(matches!(send().1.next, Next::Reply(_)));
}
