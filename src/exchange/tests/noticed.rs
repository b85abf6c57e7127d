//! Observations besides the calls themselves: upgrades, paths of no API, Envoy's buffer, a table
//! that fills up.

use super::*;
use crate::exchange::Warning;

fn asked_to_upgrade(bench: &mut Bench, method: &'static [u8], path: &'static [u8]) -> Effects {
    let head = Request(vec![(":method", method), (":path", path), ("upgrade", b"websocket")]);
    bench.handle(&mut bench.exchange(), Event::RequestHead { head: &head, ended: false })
}

#[test]
fn an_upgrade_that_cannot_be_counted_is_refused() {
    let mut bench = Bench::new(TOKENS);
    for (method, path) in [
        (b"GET".as_slice(), b"/v1/chat/completions".as_slice()),
        (b"POST", b"/v1/responses"),
        (b"CONNECT", b"/V1/RESPONSES"),
        (b"GET", b"/v1/realtime/translations?model=gpt-realtime"),
    ] {
        let effects = asked_to_upgrade(&mut bench, method, path);
        assert_eq!(reply(&effects).0.status, 426);
        assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("protocol upgrade"));
        assert!(effects.headers.is_empty());
    }
    assert_eq!(bench.count_of(&metrics::CALLS, "upgrade"), 4);
    assert_eq!(
        bench.logged.last().map(String::as_str),
        Some(r#"{"api":"openai_realtime","event":"upgrade_refused","protocol":"websocket"}"#)
    );
    assert_eq!(bench.left(), 1000, "a refused upgrade costs nothing");
}

#[test]
fn an_upgrade_elsewhere_passes_untouched() {
    let mut bench = Bench::new(TOKENS);
    for path in [b"/ws".as_slice(), b"/v1/messages/count_tokens", b"/mcp"] {
        let effects = asked_to_upgrade(&mut bench, b"GET", path);
        assert_eq!((effects.next, effects.headers), (Next::Pass, vec![]));
    }
    assert!(bench.counted.is_empty() && bench.logged.is_empty());
}

#[test]
fn a_path_of_no_api_is_refused_where_the_configuration_says_so() {
    const REFUSE: &str = r#"{ "unrecognised": "refuse", "apis": [ { "path_prefix": "/healthz", "format": "none" },
        { "path_prefix": "/claude", "format": "anthropic_messages" } ], "#;
    let mut bench = Bench::new(&TOKENS.replacen('{', REFUSE, 1));
    let mut ask = |method: &'static [u8], path: &'static [u8], upgrades: bool| {
        let upgrade = upgrades.then_some(("upgrade", b"websocket".as_slice()));
        let head = [(":method", method), (":path", path)].into_iter().chain(upgrade).collect();
        bench.handle(&mut bench.exchange(), Event::RequestHead { head: &Request(head), ended: false })
    };
    for (path, upgrades) in [
        (b"/v1/batches?key=secret".as_slice(), false),
        (b"", false),
        (b"/", false),
        (b"/v1/responses/resp_1", false),
        (b"/v1/realtime/calls", false),
        (b"/ws", true),
    ] {
        let effects = ask(b"POST", path, upgrades);
        assert_eq!(reply(&effects).0.status, 404, "{path:?}");
        assert_eq!(fact(&effects, Fact::RefusedBy).as_deref(), Some("unrecognised path"));
    }
    let claude = ask(b"GET", b"/claude/v1/files", false);
    assert!(reply(&claude).0.body.contains("not_found_error"));
    for (method, path) in [
        (b"GET".as_slice(), b"/healthz".as_slice()),
        (b"OPTIONS", b"/v1/chat/completions"),
        (b"GET", b"/v1/realtime"),
        (b"POST", b"/v1/messages/count_tokens"),
        (b"GET", b"/mcp"),
        (b"POST", b"/mcp"),
    ] {
        assert_eq!(ask(method, path, false).next, Next::Pass, "{path:?}");
    }
    assert_eq!(bench.count_of(&metrics::CALLS, "unrecognised"), 7);
    assert_eq!(
        bench.logged.first().map(String::as_str),
        Some(r#"{"event":"unrecognised_refused","method":"POST","path":"/v1/batches"}"#)
    );
    assert_eq!(bench.left(), 1000);
}

const LOCAL_413: &[(&str, &str)] =
    &[("response/code_details", "request_payload_too_large"), ("request/size", "\u{60}\u{6a}\0\0\0\0\0\0")];

/// Returns an exchange that waits for its body.
fn reading(bench: &mut Bench) -> Exchange {
    let mut exchange = bench.exchange();
    bench.handle(&mut exchange, Event::RequestHead { head: &Request::chat(), ended: false });
    exchange
}

#[test]
fn a_413_of_envoys_while_the_body_is_awaited_is_noticed() {
    let mut bench = Bench::new(TOKENS);
    let mut exchange = reading(&mut bench);
    let effects = bench.head_with(&mut exchange, 413, LOCAL_413);
    let size = Some(0x6a60);
    assert_eq!(effects.warnings, [Warning::BufferTooSmall { size, hold_up_to: 1 << 20 }]);
    assert_eq!(bench.count_of(&metrics::BODIES_OVER_BUFFER, ""), 1);
}

#[test]
fn other_answers_say_nothing_of_envoys_buffer() {
    let mut bench = Bench::new(TOKENS);
    for (status, details) in [(413, "via_upstream"), (408, "request_payload_too_large"), (413, "")] {
        let mut exchange = reading(&mut bench);
        let effects = bench.head_with(&mut exchange, status, &[("response/code_details", details)]);
        assert_eq!(effects.warnings, []);
    }
    // A call that was sent on is not held here, so another filter's buffer was too small.
    let (mut exchange, _) = bench.send(HI);
    assert_eq!(bench.head_with(&mut exchange, 413, LOCAL_413).warnings, []);
    assert_eq!(bench.count_of(&metrics::BODIES_OVER_BUFFER, ""), 0);
}

/// 64 places; a call reserves more than a quarter of a budget, so that none is evicted.
const SMALL: &str = r#"{ "table_size": 64, "identity": { "tenant": { "header": "x-tenant-id" } },
    "tiers": { "free": { "limits": [ { "name": "rpd", "count": "requests", "per": "tenant", "max": 2, "window": "1d" } ] } } }"#;

/// Makes a call of the tenant with this number.
fn called_by(bench: &mut Bench, tenant: u32) -> Effects {
    let name: &'static [u8] = tenant.to_string().into_bytes().leak();
    let mut exchange = bench.exchange();
    let head = Request::chat().with("x-tenant-id", name);
    bench.handle(&mut exchange, Event::RequestHead { head: &head, ended: true })
}

#[test]
fn a_table_that_fills_up_is_warned_of_with_its_numbers() {
    let mut bench = Bench::new(SMALL);
    let mut warned_at = None;
    for tenant in 0..200 {
        let effects = called_by(&mut bench, tenant);
        for warning in effects.warnings {
            let Warning::TableFilling(occupancy) = warning else { panic!("{warning:?}") };
            assert_eq!(occupancy.places, 64);
            warned_at.get_or_insert(occupancy.taken);
        }
    }
    assert_eq!(warned_at, Some(48));
}

#[test]
fn a_refusal_by_a_shared_budget_says_so_in_the_log_and_no_other_does() {
    let mut bench = Bench::new(SMALL);
    for tenant in 0..400 {
        called_by(&mut bench, tenant);
    }
    // Tenants without a place were refused at their first call.
    let (shared, own): (Vec<_>, Vec<_>) = bench
        .logged
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "refused")
        .partition(|line| line["shared"] == true);
    assert!(shared.len() > 200 && own.is_empty(), "{} {}", shared.len(), own.len());
    assert!(
        bench.counted.iter().filter(|(name, ..)| *name == metrics::OVERFLOWS.name).count() >= shared.len()
    );
    bench.logged.clear();
    // A tenant with a place is refused for its own spending.
    called_by(&mut bench, 0);
    called_by(&mut bench, 0);
    let line: Value = serde_json::from_str(bench.logged.last().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["shared"]), (&json!("refused"), &Value::Null));
}
