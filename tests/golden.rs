//! Real payloads of every API format, with what they must be counted as.
//!
//! A case is a folder `tests/golden/<format>/<case>/` of a request, its answer as JSON or as a stream, and what is expected of both:
//! tokens counted before, and usage and text read after. Streams are read in pieces of every size. `UPDATE=1` writes what is found;
//! look at the difference before you believe it.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::api::answer::Reader;
use tollgate::api::{Body, CLASSES, FORMATS, Format, Usage};
use tollgate::config::{Glob, Ratio};
use tollgate::identity::Head;
use tollgate::tokens::{Counter, Exactness};

fn cases(format: &Format) -> Vec<PathBuf> {
    let folder = Path::new("tests/golden").join(format.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn counted(format: &Format, case: &Path) -> Value {
    let body = fs::read(case.join("request.json")).unwrap();
    let request = (format.read)(&body).unwrap();
    // In tokens of the public encodings, as the independent counter counts them; scales have tests of their own.
    let exactness = Exactness { exact_up_to: 1 << 20, scales: vec![(Glob::new("*"), Ratio::ONE)] };
    let model = request.model.as_deref().unwrap_or_default();
    let tokens = Counter::new([0; 16]).prompt(&request.prompt, model, &exactness);
    json!({ "counted": tokens.usage().all_input(), "max_output": request.max_output, "stream": request.stream, "usage_must_be_asked_for": request.ask_for_usage.is_some() })
}

fn answered(format: &'static Format, case: &Path, size: usize) -> Value {
    let (content_type, bytes) = match fs::read(case.join("answer.sse")) {
        Ok(bytes) => ("text/event-stream", bytes),
        Err(_) => ("application/json; charset=utf-8", fs::read(case.join("answer.json")).unwrap()),
    };
    let mut reader = Reader::new(format, &ContentType(content_type), false);
    for piece in bytes.chunks(size) {
        assert_eq!(reader.feed(piece), None, "bytes are changed");
    }
    assert_eq!(reader.finish(), None, "bytes are added");
    let found = reader.found();
    json!({ "usage": (!found.told.is_nothing()).then(|| shown(&found.told.or(Usage::default()))), "text": found.text })
}

/// The classes that are not empty.
fn shown(usage: &Usage) -> Value {
    let used = CLASSES.zip(*usage).into_values().filter(|(_, count)| *count > 0);
    used.map(|((class, _), count)| (class.to_owned(), Value::from(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

struct ContentType(&'static str);

impl Head for ContentType {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "content-type").then(|| self.0.as_bytes().into())
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn every_format_has_cases_and_reads_them_as_expected() {
    for format in FORMATS.into_iter().filter(|format| format.body == Body::Held) {
        let cases = cases(format);
        assert!(!cases.is_empty(), "{} has no golden cases", format.name);
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
    for format in FORMATS.into_iter().filter(|format| format.body == Body::Held) {
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
