//! Real payloads of every API format, with what they must be counted as.
//!
//! A case is a folder `tests/golden/<format>/<case>/` of a request, its answer as JSON or as a stream, and what is expected of both:
//! tokens counted before, and usage and text read after. Streams are read in pieces of every size. `UPDATE=1` writes what is found;
//! look at the difference before you believe it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::api::answer::Reader;
use tollgate::api::{FORMATS, Format};
use tollgate::tokens::{Counter, Exactness};

fn cases(format: &dyn Format) -> Vec<PathBuf> {
    let folder = Path::new("tests/golden").join(format.name());
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn counted(format: &dyn Format, case: &Path) -> Value {
    let body = fs::read(case.join("request.json")).unwrap();
    let request = format.read(&body).unwrap();
    let exactness = Exactness { exact_up_to: 1 << 20, scales: vec![] };
    let model = request.model.as_deref().unwrap_or_default();
    let tokens = Counter::new([0; 16]).prompt(&request.prompt, model, &exactness);
    json!({ "counted": tokens.0, "max_output": request.max_output, "stream": request.stream, "usage_must_be_asked_for": request.ask_for_usage.is_some() })
}

fn answered(format: &'static dyn Format, case: &Path, size: usize) -> Value {
    let (content_type, bytes) = match fs::read(case.join("answer.sse")) {
        Ok(bytes) => ("text/event-stream", bytes),
        Err(_) => ("application/json; charset=utf-8", fs::read(case.join("answer.json")).unwrap()),
    };
    let mut reader = Reader::new(format, Some(content_type.as_bytes()), None, false);
    for piece in bytes.chunks(size) {
        assert_eq!(reader.feed(piece), None, "bytes are changed");
    }
    assert_eq!(reader.finish(), None, "bytes are added");
    let found = reader.found();
    let usage = found.usage.map(|usage| {
        json!({ "input": usage.input, "cached_input": usage.cached_input, "cache_write": usage.cache_write,
            "output": usage.output, "reasoning": usage.reasoning })
    });
    json!({ "usage": usage, "text": found.text })
}

#[test]
fn every_format_has_cases_and_reads_them_as_expected() {
    for format in FORMATS.iter().copied() {
        let cases = cases(format);
        assert!(!cases.is_empty(), "{} has no golden cases", format.name());
        for case in cases {
            let mut found = counted(format, &case);
            let answer = answered(format, &case, usize::MAX);
            for (name, value) in answer.as_object().unwrap() {
                found[name] = value.clone();
            }
            let expected = case.join("expected.json");
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&expected, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
            }
            let expected: Value = serde_json::from_slice(&fs::read(&expected).unwrap()).unwrap();
            assert_eq!(found, expected, "{}", case.display());
        }
    }
}

#[test]
fn any_split_of_an_answer_reads_the_same() {
    for format in FORMATS.iter().copied() {
        for case in cases(format) {
            let whole = answered(format, &case, usize::MAX);
            for size in [1, 2, 3, 7, 64, 333] {
                assert_eq!(answered(format, &case, size), whole, "{} in pieces of {size}", case.display());
            }
        }
    }
}

/// The mock's counter is written from OpenAI's published rule and tiktoken-rs, and shares nothing with the filter's.
#[test]
fn text_and_tools_count_as_an_independent_counter_does() {
    for case in [
        "plain",
        "stream_with_usage",
        "stream_tool_call",
        "cached_and_reasoning",
        "stream_vllm_cut",
        "pictures",
    ] {
        let case = Path::new("tests/golden/openai_chat").join(case);
        let request: Value = serde_json::from_slice(&fs::read(case.join("request.json")).unwrap()).unwrap();
        let independent =
            tollgate_rig::mock_llm::tokens::Counter::for_model(request["model"].as_str().unwrap())
                .chat(&request);
        let expected: Value = serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap();
        assert_eq!(expected["counted"], independent, "{}", case.display());
    }
}
