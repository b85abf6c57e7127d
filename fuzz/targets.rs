//! The fuzz targets: every reader of foreign bytes, with the properties that must hold for any
//! input.
//!
//! In: any bytes. Out: nothing, or a panic if a property does not hold. `make fuzz` runs them with
//! cargo-fuzz; `make test` runs them on `seeds` from the golden files, whole and damaged. Not here:
//! the seeds (`tests/payloads`).

use std::borrow::Cow;

use serde_json::value::RawValue;
use tollgate::api::Peek;
use tollgate::api::answer::Reader;
use tollgate::api::{Edit, FORMATS, Format, Outline, Prompt, Request, Routes, SOCKETS};
use tollgate::coding::{Decoder, Encoding, Fault};
use tollgate::identity::Head;
use tollgate::limits::Refusal;
use tollgate::reply;
use tollgate::rls::message::{MAX_KEPT, RateLimitResponse};
use tollgate::settings::{Config, Headers};
use tollgate::tokens::{Counter, Exactness};
use tollgate::units::{Amount, Span, Timestamp};
use tollgate::websocket::{Event as FrameEvent, Frames};

/// A target with its name.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target.
pub(crate) const TARGETS: [Target; 10] = [
    ("request", request),
    ("mcp", mcp),
    ("answer", answer),
    ("form", form),
    ("coding", coding),
    ("frames", frames),
    ("socket", socket),
    ("path", path),
    ("configuration", configuration),
    ("rate_limit_response", rate_limit_response),
];

/// Content types of answers; the first byte chooses.
pub(crate) const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "text/event-stream",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "application/octet-stream",
];

/// Content codings of answers; the second byte chooses.
pub(crate) const CODINGS: [&str; 6] = ["", "gzip", "deflate", "br", "zstd", "gzip, br"];

/// Reads a request body in the format that the first byte chooses. It must be countable, an edit
/// must change only what it names, and removing tools from JSON must leave JSON.
pub(crate) fn request(input: &[u8]) {
    let Some((format, body)) = format(input) else { return };
    let Ok(body) = core::str::from_utf8(body) else { return };
    let Ok(outline) = Outline::of(body) else { return };
    tools(format, &outline);
    let Ok(request) = (format.read)(&outline) else { return };
    let model = request.model.as_deref().unwrap_or("gpt-4o");
    let exactness = Exactness { exact_up_to: 64 * 1024, scales: vec![] };
    Counter::new([0; 16]).prompt(&request.prompt, model, &exactness);
    if let Some(edit) = (format.ask_for_usage)(&outline, model) {
        let edited = edited(std::slice::from_ref(&edit), &outline);
        let again = Outline::of(&edited).expect("an edited body is JSON");
        (format.read)(&again).expect("an edited body can be read as before");
        assert!((format.ask_for_usage)(&again, model).is_none(), "usage is asked for once");
        assert_eq!(edited.len(), body.len() - edit.range.len() + edit.text.len());
    }
    softer(format, &outline, &request);
}

/// Edits a request to another model and less output. The result must read as before, and must not
/// be softened again.
fn softer(format: &Format, outline: &Outline<'_>, request: &Request<'_>) {
    const EACH: u64 = 20;
    let other = "other \"model\"";
    let renamed = (format.with_model)(outline, other);
    let bounded = (format.with_max_output)(outline, None, EACH);
    let edits: Vec<_> = renamed.into_iter().chain(bounded.iter().flatten().cloned()).collect();
    let edited = edited(&edits, outline);
    let softer = Outline::of(&edited).expect("a softer body is JSON");
    let again = (format.read)(&softer).expect("a softer body can be read as before");
    assert_eq!(again.choices, request.choices, "as many are asked for");
    assert!((format.with_model)(&softer, other).is_none(), "the model is another only once");
    if bounded.is_ok() {
        assert!(
            again.max_output.is_some_and(|bound| bound <= EACH.saturating_mul(again.choices.unwrap_or(1)))
        );
        assert_eq!((format.with_max_output)(&softer, None, EACH), Ok(vec![]), "the output is bounded once");
    }
}

/// Reads messages of MCP clients. A refusal of them must be JSON, with an answer for each id, and
/// not many times as long.
pub(crate) fn mcp(body: &[u8]) {
    let format = FORMATS.iter().copied().find(|format| format.name == "mcp").expect("a format");
    let Ok(messages) = format.messages.expect("a reader of messages")(body) else { return };
    assert!(messages.list.len() <= body.len() / 12 + 1, "more messages than there is room for");
    let tools: Vec<_> = messages.tools().collect();
    assert!(tools.len() <= messages.list.len());
    assert!(messages.is_batch || messages.list.len() <= 1);
    for id in messages.list.iter().filter_map(|message| message.id.as_deref()) {
        assert!(id.len() <= 1024 && serde_json::from_str::<&RawValue>(id).is_ok(), "{id} is no JSON");
    }
    let Some(tool) = tools.first() else { return };
    let reply = reply::tool_refused(&messages, &Headers::all(), &refusal(), tool, Timestamp(0), 0);
    let answered = messages.list.iter().filter(|message| message.id.is_some()).count();
    let answers = serde_json::from_str::<Vec<&RawValue>>(&reply.body).map_or(1, |answers| answers.len());
    assert_eq!(answers, answered.max(1));
    assert!(serde_json::from_str::<&RawValue>(&reply.body).is_ok(), "no JSON");
}

/// Returns whether a tool is to be removed: if its name is missing or has an odd length.
fn is_hidden(name: &str) -> bool {
    name.len() % 2 == 1 || name.is_empty()
}

/// A body with these edits done; they keep it text.
fn edited(edits: &[Edit], outline: &Outline<'_>) -> String {
    String::from_utf8(Edit::apply_all(edits, outline.body().as_bytes())).expect("text")
}

/// Removes tools from a body.
fn tools(format: &Format, outline: &Outline<'_>) {
    let edits = (format.without_tools)(outline, &is_hidden);
    if edits.is_empty() {
        return;
    }
    assert!(
        format.tools_offered(outline).iter().any(|name| is_hidden(name)),
        "what is taken away was offered"
    );
    let edited = edited(&edits, outline);
    let taken = edits.iter().map(|edit| edit.range.len()).sum::<usize>();
    let put = edits.iter().map(|edit| edit.text.len()).sum::<usize>();
    assert_eq!(edited.len(), outline.body().len() - taken + put, "edits overlap");
    assert!(serde_json::from_str::<&RawValue>(&edited).is_ok(), "no JSON is left");
}

/// Reads an answer in the format, content type and coding that the first bytes choose, in pieces of
/// the size that the fourth chooses. Its bytes must pass unchanged, and the result must not depend
/// on the pieces.
pub(crate) fn answer(input: &[u8]) {
    let Some((format, [content_type, coding, size, body @ ..])) = format(input) else { return };
    let head = AnswerHead(
        CONTENT_TYPES[usize::from(*content_type) % CONTENT_TYPES.len()],
        CODINGS[usize::from(*coding) % CODINGS.len()],
    );
    let read = |size: usize| {
        let mut reader = Reader::new(format, &head, false);
        for piece in body.chunks(size) {
            assert_eq!(reader.feed(piece), None, "bytes are changed");
        }
        assert_eq!(reader.finish(), None, "bytes are added");
        let found = reader.found();
        let tools = found.tools.clone();
        let text = (
            found.text.clone(),
            found.more_text,
            found.strays().map(|it| (it.text.clone(), it.more)).collect::<Vec<_>>(),
        );
        let said = (found.told, found.unreadable, text, tools, found.is_unrecognised());
        (found.readable, said)
    };
    let (readable, said) = read(usize::from(*size).max(1));
    let (whole_readable, whole_said) = read(body.len().max(1));
    assert_eq!(readable, whole_readable);
    // If a coding is corrupt, output right before the fault may be lost.
    if readable || head.1.is_empty() {
        assert_eq!(said, whole_said);
    }
}

/// Reads a form: the size of its pieces, a line with its content type, then its body. The field
/// must not depend on the pieces.
pub(crate) fn form(input: &[u8]) {
    let Some((size, input)) = input.split_first() else { return };
    let mut parts = input.splitn(2, |&byte| byte == b'\n');
    let (Some(content_type), Some(body)) = (parts.next(), parts.next()) else { return };
    let read = |size: usize| {
        let mut form = Peek::new(content_type, "model")?;
        body.chunks(size).for_each(|piece| form.feed(piece));
        form.value().map(str::to_owned)
    };
    let value = read(usize::from(*size).max(1));
    assert!(value.as_ref().is_none_or(|value| value.len() <= 256));
    assert_eq!(value, read(body.len().max(1)));
}

/// Decodes a body in the coding that the first byte chooses, in pieces of the size that the second
/// chooses. Output and fault must not depend on the pieces, and the output must stay within its
/// bound. If the body is corrupt, output right before the fault may be lost.
pub(crate) fn coding(input: &[u8]) {
    const BOUND: usize = 100_000;
    let [coding, size, body @ ..] = input else { return };
    let name = CODINGS[usize::from(*coding) % CODINGS.len()];
    let Encoding::Coded(codings) = Encoding::parse(name.as_bytes()) else { return };
    let decode = |size: usize| {
        let mut decoder = Decoder::watching(&codings, BOUND);
        let mut decoded = Vec::new();
        for piece in body.chunks(size) {
            decoder.feed(piece, &mut |block| decoded.extend_from_slice(block));
        }
        decoder.finish();
        assert!(decoded.len() <= BOUND, "more than the bound");
        (decoded, decoder.fault())
    };
    let (pieces, fault) = decode(usize::from(*size).max(1));
    let (whole, fault_of_whole) = decode(body.len().max(1));
    assert_eq!(fault, fault_of_whole);
    if fault == Some(Fault::Corrupt) {
        let common = pieces.len().min(whole.len());
        assert!(pieces[..common] == whole[..common], "other bytes");
    } else {
        assert!(pieces == whole, "other bytes");
    }
}

/// Reads a request path. With another model it must remain a path of the same format.
pub(crate) fn path(input: &[u8]) {
    let Some(call) = Routes::default().recognise(b"POST", input) else { return };
    assert!(call.model.as_ref().is_none_or(|model| !model.is_empty()));
    if let Some(path) = call.path_with_model("other/model:1") {
        let again = Routes::default().recognise(b"POST", &path).expect("it is a call as before");
        assert_eq!((again.format.name, again.model.as_deref()), (call.format.name, Some("other/model:1")));
    }
}

/// Reads WebSocket frames in pieces of the size in the first byte, as either side's. No more may
/// pass than came.
pub(crate) fn frames(input: &[u8]) {
    let Some((&size, bytes)) = input.split_first() else { return };
    const BOUND: usize = 256;
    for mut frames in [Frames::from_client(BOUND), Frames::from_server(BOUND)] {
        let mut passed = Vec::new();
        for mut piece in bytes.chunks(usize::from(size).max(1)) {
            while let Some(event) = frames.read(&mut piece) {
                match event {
                    FrameEvent::Message(message) | FrameEvent::Oversized(message) => {
                        assert!(message.payload().len() <= message.raw.len());
                        passed.extend_from_slice(&message.raw);
                    }
                    FrameEvent::Control(control) => passed.extend_from_slice(&control.raw),
                    FrameEvent::Pass(bytes) => passed.extend_from_slice(&bytes),
                    FrameEvent::Violation { raw, .. } => passed.extend(raw),
                    FrameEvent::OversizedEnd { .. } => {}
                }
            }
        }
        assert!(passed.len() <= bytes.len());
    }
}

/// Reads the messages of a socket of the API that the first byte chooses: one in each line, of the
/// client if it begins with `>`.
pub(crate) fn socket(input: &[u8]) {
    let Some((&index, lines)) = input.split_first() else { return };
    let mut meterings = SOCKETS.iter().filter_map(|socket| socket.metering.as_ref()).cycle();
    let Some(metering) = meterings.nth(usize::from(index)) else { return };
    let mut conversation = (metering.begin)();
    let exactness = Exactness { exact_up_to: 64 * 1024, scales: vec![] };
    let mut counter = Counter::new([0; 16]);
    for line in lines.split(|byte| *byte == b'\n') {
        let Some((side, message)) = line.split_first() else { continue };
        if *side == b'>' {
            let mut count = |prompt: &Prompt<'_>| counter.prompt(prompt, "gpt-4o", &exactness).usage();
            let _ = conversation.read_client(&String::from_utf8_lossy(message), &mut count);
        } else {
            let _ = conversation.read_server(message);
            let mut reader = Reader::of_messages(metering.format);
            reader.feed(message);
        }
        let _ = (conversation.context(), conversation.with_limits(message, &[]));
    }
}

/// Reads a configuration, as text or as a binary `google.protobuf.Struct`.
pub(crate) fn configuration(input: &[u8]) {
    let _ = Config::read(input, b"random");
}

/// Reads an answer of a rate limit service. It must be kept only up to its bounds, and an unknown
/// field must change nothing.
pub(crate) fn rate_limit_response(input: &[u8]) {
    let Ok(response) = RateLimitResponse::decode(input) else { return };
    assert!(response.statuses.len() <= MAX_KEPT);
    assert!(response.response_headers_to_add.len() <= MAX_KEPT);
    assert!(response.request_headers_to_add.len() <= MAX_KEPT);
    let more = [input, &[0x78, 1]].concat();
    assert_eq!(RateLimitResponse::decode(&more), Ok(response));
}

/// Returns a refusal by a limit on requests.
fn refusal() -> Refusal {
    let config = br#"{"tiers":{"t":{"limits":[{"name":"mail","count":"requests","max":5,"window":"1h"}]}}}"#;
    let config = Config::read(config, b"random").expect("a configuration");
    let tier = config.tiers.all().first().expect("a tier");
    Refusal::unknown(tier.limits.first().expect("a limit"), Amount(1), Span::from_secs(60))
}

fn format(input: &[u8]) -> Option<(&'static Format, &[u8])> {
    let (chosen, rest) = input.split_first()?;
    Some((FORMATS[usize::from(*chosen) % FORMATS.len()], rest))
}

struct AnswerHead(&'static str, &'static str);

impl Head for AnswerHead {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = match name {
            "content-type" => self.0,
            "content-encoding" => self.1,
            _ => return None,
        };
        Some(value.as_bytes().into())
    }
    fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
        None
    }
}
