//! Real payloads of every API format, with their counts and charges.
//!
//! In: the cases of `cases`; answers arrive in pieces of every size. Out: nothing. `UPDATE=1`
//! writes the actual values; review the difference. Bills are written by hand and never updated.
//! Not here: Envoy (`tests/e2e/golden.rs`).

mod cases;
mod core;
mod sockets;
#[path = "../../fuzz/targets.rs"]
mod targets;
mod text;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use cases::Case;
use core::Core;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tollgate::api::answer::Reader;
use tollgate::api::{Body, CLASS_LIST, FORMATS, Outline, Request, Routes, Usage};
use tollgate::exchange::{Effects, Fact, Next};
use tollgate::identity::Head;
use tollgate::metrics;
use tollgate::tokens::{Counter, Exactness};
use tollgate::websocket::{Kind, data_frame};
use tollgate_rig::mock_llm::coding::Coding;

fn all_cases() -> impl Iterator<Item = Case> {
    cases::formats().flat_map(cases::of)
}

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some()
}

/// Returns the classes that are not zero.
fn shown(usage: &Usage) -> Value {
    let used = CLASS_LIST.iter().zip(usage.values()).filter(|(_, count)| *count > 0);
    used.map(|((class, _), count)| ((*class).to_owned(), Value::from(count))).collect::<Map<_, _>>().into()
}

/// Returns the reading of a request before it goes upstream.
fn counted(case: &Case) -> Value {
    let call = Routes::default().recognise(
        case.head.0.iter().find(|(name, _)| name == ":method").unwrap().1.as_bytes(),
        case.head.0.iter().find(|(name, _)| name == ":path").unwrap().1.as_bytes(),
    );
    let call = call.unwrap_or_else(|| panic!("{}: its path is not recognised", case.name()));
    assert_eq!(call.format.name, case.format.name, "{}: its path is another format's", case.name());
    let outline = std::str::from_utf8(&case.request).ok().and_then(|body| Outline::of(body).ok());
    let request = match (call.format.body, call.format.messages, &outline) {
        (Body::Held, None, Some(outline)) => {
            (call.format.read)(outline).unwrap_or_else(|unread| panic!("{}: {unread:?}", case.name()))
        }
        (Body::Held, Some(_), _) => Request { known: Some(Usage::default()), ..Request::default() },
        (Body::Held, None, None) => panic!("{}: no JSON", case.name()),
        (Body::Passed, ..) => (call.format.guess)(case.request.len() as u64),
        (Body::Free, ..) => return json!({}),
    };
    let model = call.model.as_deref().or(request.model.as_deref()).unwrap_or_default();
    let exactness = Exactness { exact_up_to: 1 << 20, scales: vec![] };
    let tokens = Counter::new([0; 16]).prompt(&request.prompt, model, &exactness).usage();
    let mut counted = json!({
        "model": model,
        "counted": shown(&tokens),

        "max_output": request.max_output,
        "known": request.known.as_ref().map(shown),
        "more_input": request.more_input,
        "usage_must_be_asked_for":
            outline.as_ref().is_some_and(|outline| (call.format.ask_for_usage)(outline, model).is_some()),
    });
    let offered = outline.map(|outline| call.format.tools_offered(&outline)).unwrap_or_default();
    if !offered.is_empty() {
        counted["offered_tools"] = json!(offered);
    }
    counted
}

/// Returns the reading of an answer that arrives in pieces of this size. Its text comes from a
/// reading that breaks off at the end, because an answer with usage is not read in full.
fn answered(case: &Case, size: usize) -> Value {
    let [mut reader, mut in_full] = [(); 2].map(|()| {
        let mut reader = Reader::new(case.format, &case.answer_head, false);
        for piece in case.answer.chunks(size) {
            assert_eq!(reader.feed(piece), None, "{}: bytes are changed", case.name());
        }
        reader
    });
    assert_eq!(reader.finish(), None, "{}: bytes are added", case.name());
    in_full.cut();
    let (found, full) = (reader.found(), in_full.found());
    assert_eq!((found.told, &found.tools), (full.told, &full.tools), "{}", case.name());
    let mut answered = json!({
        "usage": (!found.told.is_nothing()).then(|| shown(&found.told.or(Usage::default()))),
        "usage_unreadable": found.unreadable,
        "text": full.text,
    });
    if !found.tools.is_empty() {
        let called = found.tools.iter().map(|(name, count)| (name.to_owned(), Value::from(count)));
        answered["called_tools"] = called.collect::<Map<_, _>>().into();
    }
    answered
}

/// Returns the final charge of the call, and its cost by `prices`.
fn charged(case: &Case, prices: &Value) -> (Value, Option<String>) {
    let config = json!({ "prices": prices, "tiers": { "all": { "limits":
        [{ "name": "tokens", "count": "tokens", "max": 1_000_000_000_u64, "window": "1d" }] } } });
    let mut core = Core::new(&config);
    let (mut exchange, sent) = core.send(case);
    assert_eq!(sent.last().unwrap().next, Next::Pass, "{}: is not let through", case.name());
    let ended = core.answer(case, &mut exchange);
    let of_class = |effects: &Effects| {
        let counts = effects.counts.iter();
        let charged = counts.filter_map(|count| match count.metric {
            metric if *metric == metrics::TOKENS => Some((count.labels.kind.to_owned(), count.by.into())),
            metric if *metric == metrics::CHARACTERS => Some(("characters".to_owned(), count.by.into())),
            _ => None,
        });
        charged.collect::<Map<String, Value>>()
    };
    let cost =
        ended[1].facts.iter().find(|(fact, _)| *fact == Fact::Cost).map(|(_, cost)| cost.text().into_owned());
    (of_class(&ended[1]).into(), cost)
}

#[test]
fn every_format_has_cases_and_reads_them_as_expected() {
    for format in cases::formats() {
        let cases = cases::of(format);
        assert!(!cases.is_empty(), "{} has no golden cases", format.name);
        for case in cases {
            let mut found = counted(&case);
            let answer = answered(&case, usize::MAX);
            found.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
            found["charged"] = charged(&case, &json!([])).0;
            if updating() {
                let text = serde_json::to_string_pretty(&found).unwrap() + "\n";
                fs::write(case.folder.join("expected.json"), text).unwrap();
            }
            assert_eq!(Some(found), case.json("expected.json"), "{}", case.name());
        }
    }
}

#[test]
fn any_split_of_an_answer_reads_the_same() {
    for case in all_cases() {
        let whole = answered(&case, usize::MAX);
        for size in [1, 2, 3, 7, 64, 333] {
            assert_eq!(answered(&case, size), whole, "{} in pieces of {size}", case.name());
        }
    }
}

#[test]
fn any_split_passes_on_the_same_bytes_where_usage_is_hidden() {
    let passed = |case: &Case, size: usize| {
        let mut reader = Reader::new(case.format, &case.answer_head, true);
        let mut passed: Vec<u8> = Vec::new();
        for piece in case.answer.chunks(size) {
            passed.extend(reader.feed(piece).unwrap_or_else(|| piece.to_vec()));
        }
        passed.extend(reader.finish().unwrap_or_default());
        passed
    };
    for case in all_cases() {
        let whole = passed(&case, usize::MAX);
        for size in [1, 2, 5, 100] {
            assert!(passed(&case, size) == whole, "{} in pieces of {size}", case.name());
        }
    }
}

/// Every family of formats has bills, calculated by hand from its provider's list prices.
#[test]
fn money_agrees_with_bills_made_by_hand() {
    let mut billed = Vec::new();
    for case in all_cases() {
        let Some(bill) = case.json("bill.json") else { continue };
        let (_, cost) = charged(&case, &json!([bill["prices"]]));
        assert_eq!(cost.as_deref(), bill["usd"].as_str(), "{}: {}", case.name(), bill["because"]);
        billed.push(case.format.name);
    }
    for family in ["openai", "anthropic", "gemini", "bedrock", "cohere", "ollama", "llama"] {
        let has_formats = FORMATS.iter().any(|format| format.name.starts_with(family));
        let has_bill = billed.iter().any(|name| name.starts_with(family));
        assert_eq!(has_formats, has_bill, "{family}");
    }
}

/// The refusal of a second call within a minute. `refusal.json` of the format has the whole answer.
#[test]
fn refusals_speak_the_dialect_of_their_api() {
    // MCP counts no requests, only tool calls.
    let config = json!({ "tiers": { "all": { "limits": [
        { "name": "rpm", "count": "requests", "max": 1, "window": "1m" },
        { "name": "calls", "count": "tool_calls", "tools": "*", "max": 1, "window": "1m" },
    ] } } });
    for format in cases::formats() {
        let case = cases::of(format).into_iter().next().unwrap();
        let mut core = Core::new(&config);
        core.send(&case);
        let (_, effects) = core.send(&case);
        let Next::Reply(reply) = &effects.last().unwrap().next else {
            panic!("{} is not refused", case.name())
        };
        let headers: Map<_, _> =
            reply.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let found = json!({ "status": reply.status, "headers": headers, "body": body });
        let path = case.folder.with_file_name("refusal.json");
        if updating() {
            fs::write(&path, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// The mock's counter follows OpenAI's published rule and tiktoken-rs, and shares no code with the
/// filter.
#[test]
fn text_and_tools_count_as_an_independent_counter_does() {
    const CASES: [&str; 5] =
        ["plain", "stream_with_usage", "stream_tool_call", "cached_and_reasoning", "pictures"];
    let chat = FORMATS.iter().copied().find(|format| format.name == "openai_chat").unwrap();
    let cases =
        cases::of(chat).into_iter().filter(|case| CASES.iter().any(|name| case.folder.ends_with(name)));
    let cases: Vec<_> = cases.collect();
    assert_eq!(cases.len(), CASES.len());
    for case in cases {
        let request = case.json("request.json").unwrap();
        let model = request["model"].as_str().unwrap();
        let independent = tollgate_rig::mock_llm::tokens::Counter::for_model(model).chat(&request);
        assert_eq!(case.json("expected.json").unwrap()["counted"]["input"], independent, "{}", case.name());
    }
}

/// Returns the seeds of fuzzing: every golden body, behind the bytes that choose how it is read,
/// whole, cut, and with changed bytes.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, format) in (0_u8..).zip(FORMATS.iter().copied()) {
        if format.endpoints.is_empty() {
            continue;
        }
        for case in cases::of(format) {
            let path = case.head.header(":path").unwrap().into_owned();
            let kind = case.answer_head.header("content-type").unwrap().into_owned();
            let mut kinds = (0_u8..).zip(targets::CONTENT_TYPES);
            let kind =
                kinds.find(|(_, name)| kind.starts_with(name.as_bytes())).map_or(0, |(index, _)| index);
            match target {
                "request" => seeds.push([&[index], &*case.request].concat()),
                "answer" => {
                    seeds.push([&[index, kind, 0, 7], &*case.answer].concat());
                    let (coding, coded) = coded(&case, seeds.len());
                    seeds.push([&[index, kind, coding, 7], &*coded].concat());
                }
                "coding" => {
                    let (coding, coded) = coded(&case, seeds.len());
                    seeds.push([&[coding, 7], &*coded].concat());
                }
                "form" if case.format.body == Body::Passed => {
                    let content_type = case.head.header("content-type").unwrap();
                    seeds.push([b"\x07", &*content_type, b"\n", &case.request].concat());
                }
                "mcp" if format.name == "mcp" => seeds.push(case.request.clone()),
                "path" => seeds.push(path),
                _ => {}
            }
        }
    }
    for (index, transcript) in (0_u8..).zip(sockets::transcripts()) {
        let frame = |(is_client, message): &(bool, String)| {
            data_frame(Kind::Text, message.as_bytes(), is_client.then_some([1, 2, 3, 4]))
        };
        match target {
            "frames" => seeds.push(
                transcript.messages.iter().fold(vec![100], |all, message| [all, frame(message)].concat()),
            ),
            "socket" => {
                let line = |(is_client, message): &(bool, String)| {
                    format!("{}{message}\n", if *is_client { '>' } else { '<' })
                };
                let lines: String = transcript.messages.iter().map(line).collect();
                seeds.push([&[index], lines.as_bytes()].concat());
            }
            _ => {}
        }
    }
    if target == "configuration" {
        seeds
            .push(br#"{"tiers":{"t":{"limits":[{"count":"tokens","max":"1_000","window":"1m"}]}}}"#.to_vec());
    }
    if target == "rate_limit_response" {
        seeds.push(rate_limit_response());
    }
    seeds
}

/// Returns an answer of a rate limit service with a value in every field.
fn rate_limit_response() -> Vec<u8> {
    use envoy_types::pb::envoy::config::core::v3::HeaderValue;
    use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
    use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
        DescriptorStatus, Quota, RateLimit,
    };
    use envoy_types::pb::google::protobuf::{Duration, Struct};

    let status = DescriptorStatus {
        code: 2,
        current_limit: Some(RateLimit { name: "free/tpm".into(), requests_per_unit: 50_000, unit: 2 }),
        limit_remaining: 300,
        duration_until_reset: Some(Duration { seconds: 42, nanos: 500_000_000 }),
        quota: Some(Quota { requests: 3, id: "q".into(), expiration_specifier: None }),
    };
    let header = |key: &str, raw_value: &[u8]| HeaderValue {
        key: key.into(),
        value: "10, 10;w=60".into(),
        raw_value: raw_value.into(),
    };
    let response = RateLimitResponse {
        overall_code: 2,
        statuses: vec![status.clone(), status],
        response_headers_to_add: vec![header("x-ratelimit-limit", b""), header("x-raw", b"\xff")],
        request_headers_to_add: vec![header("x-request", b"")],
        raw_body: b"too many".into(),
        dynamic_metadata: Some(Struct::default()),
        quota: None,
    };
    response.encode_to_vec()
}

/// Returns an answer in one of the codings in turn, and the coding's number in the targets.
fn coded(case: &Case, turn: usize) -> (u8, Vec<u8>) {
    let coding = Coding::ALL[turn / 2 % Coding::ALL.len()];
    let pieces: Vec<Bytes> = case.answer.chunks(100).map(Bytes::copy_from_slice).collect();
    let index = targets::CODINGS.iter().position(|name| *name == coding.name()).unwrap();
    (u8::try_from(index).unwrap(), coding.encode(&pieces).concat())
}

/// Returns the seed itself, cut at many places, and changed at many places.
fn damaged(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let places = (0..seed.len()).step_by(seed.len() / 40 + 1);
    let cut = places.clone().map(|at| seed[..at].to_vec());
    let changed = places.flat_map(|at| {
        [0x00, 0x22, 0x7b, 0xff, seed[at] ^ 0x01].map(|byte| {
            let mut seed = seed.to_vec();
            seed[at] = byte;
            seed
        })
    });
    std::iter::once(seed.to_vec()).chain(cut).chain(changed)
}

/// `SEEDS=fuzz/corpus` writes the seeds for `make fuzz`.
#[test]
fn no_damage_to_a_golden_body_does_harm() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        if let Some(folder) = std::env::var_os("SEEDS") {
            write_seeds(&Path::new(&folder).join(name), &seeds);
        }
        for seed in seeds.iter().flat_map(|seed| damaged(seed)) {
            target(&seed);
        }
    }
}

fn write_seeds(folder: &Path, seeds: &[Vec<u8>]) {
    fs::create_dir_all(folder).unwrap();
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("golden-{index}")), seed).unwrap();
    }
}
