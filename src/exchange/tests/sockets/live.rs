//! Google's Live API.

use super::*;

const PATH: &[u8] = b"/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

fn setup() -> Value {
    json!({ "setup": { "model": "models/gemini-live", "generationConfig": { "maxOutputTokens": 100 } } })
}

fn turn(text: &str) -> Value {
    json!({ "client_content": { "turns": [ { "parts": [ { "text": text } ], "role": "user" } ], "turnComplete": true } })
}

fn says(text: &str) -> Value {
    json!({ "serverContent": { "modelTurn": { "parts": [ { "text": text } ] } } })
}

fn complete(prompt: u64, response: u64) -> Value {
    json!({ "serverContent": { "turnComplete": true }, "usageMetadata": {
        "promptTokenCount": prompt, "responseTokenCount": response, "totalTokenCount": prompt + response } })
}

#[test]
fn each_turn_is_settled_by_its_own_usage() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    for (prompt, response, left) in [(100, 10, 890), (120, 15, 755)] {
        assert_eq!(bench.up(&mut wire, &turn("Hi")), [Got::Json(turn("Hi"))]);
        bench.down(&mut wire, &says("Hello"));
        bench.down(&mut wire, &complete(prompt, response));
        assert_eq!(bench.left(), left);
    }
    assert_eq!(bench.count_of(&metrics::CALLS, "ok"), 2);
}

#[test]
fn a_call_of_a_tool_ends_a_turn_and_its_answer_begins_one() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    bench.up(&mut wire, &turn("Hi"));
    let call = json!({ "toolCall": { "functionCalls": [ { "id": "1", "name": "mail", "args": {} } ] },
        "usageMetadata": { "promptTokenCount": 50, "responseTokenCount": 5 } });
    bench.down(&mut wire, &call);
    assert_eq!((bench.left(), bench.count_of(&metrics::TOOL_CALLS, "")), (945, 1));
    bench.up(&mut wire, &json!({ "toolResponse": { "functionResponses": [ { "id": "1", "name": "mail", "response": {} } ] } }));
    bench.down(&mut wire, &complete(60, 5));
    assert_eq!(bench.left(), 880);
}

#[test]
fn a_turn_that_speech_begins_is_charged_with_its_sound() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    // 32,000 bytes at 16 kHz are a second.
    let sound = "A".repeat(42_668);
    let input =
        json!({ "realtime_input": { "audio": { "data": sound, "mime_type": "audio/pcm;rate=16000" } } });
    bench.up(&mut wire, &input);
    bench.down(&mut wire, &says("Hello"));
    bench.down(&mut wire, &complete(40, 10));
    assert_eq!(bench.left(), 950);
    assert_eq!(bench.count_of(&metrics::AUDIO, ""), 1_000);
}

#[test]
fn what_the_model_said_counts_when_the_connection_breaks() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    bench.up(&mut wire, &turn("Hi"));
    // 48,000 bytes at 24 kHz are a second: 25 tokens.
    let sound = json!({ "serverContent": { "modelTurn": { "parts": [ { "inlineData": {
        "mimeType": "audio/pcm;rate=24000", "data": "A".repeat(64_000) } } ] } } });
    bench.down(&mut wire, &sound);
    bench.hang_up(&mut wire, Some(Abort::Upstream));
    assert_eq!(bench.count_of(&metrics::TOKENS, "audio_output"), 25);
    assert_eq!(bench.count_of(&metrics::AUDIO, ""), 1_000);
}

#[test]
fn a_refused_turn_closes_the_socket_because_the_api_has_no_error() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    bench.up(&mut wire, &turn("Hi"));
    bench.down(&mut wire, &complete(1000, 0));
    let up = bench.up(&mut wire, &turn("Hi"));
    let [Got::Close(Some(1008), reason)] = &up[..] else { panic!("{up:?}") };
    assert!(reason.starts_with("Rate limit reached"), "{reason}");
    let down = bench.down_bytes(&mut wire, &websocket::close_frame(1008, "", None));
    assert_eq!(down, [Got::Close(Some(1008), reason.clone())]);
    bench.hang_up(&mut wire, None);
    assert_eq!(bench.count_of(&metrics::SOCKETS, "over_limit"), 1);
}

#[test]
fn a_report_without_a_turn_is_charged_once() {
    let mut bench = Bench::new(TOKENS);
    let mut wire = bench.open(PATH);
    bench.up(&mut wire, &setup());
    bench.up(&mut wire, &turn("Hi"));
    bench.down(&mut wire, &complete(10, 0));
    let alone = json!({ "usageMetadata": { "promptTokenCount": 20, "responseTokenCount": 1 } });
    bench.down(&mut wire, &alone);
    assert_eq!(bench.left(), 969);
    // After a turn without usage it comes too late: the turn was settled by its text.
    bench.up(&mut wire, &turn("Hi"));
    bench.down(&mut wire, &says("Hello"));
    bench.down(&mut wire, &json!({ "serverContent": { "turnComplete": true } }));
    let left = bench.left();
    bench.down(&mut wire, &alone);
    assert_eq!(bench.left(), left);
}
