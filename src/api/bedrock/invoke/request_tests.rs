use proptest::prelude::*;

use super::*;
use crate::api::outline::read_body;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn request(body: &str) -> Request<'_> {
    read(body.as_bytes()).unwrap()
}

fn pieces(body: &str) -> Vec<Piece<'_>> {
    request(body).prompt.0
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn anthropics_form_is_read_as_its_messages() {
    let body = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":512,"messages":[{"role":"user","content":[{"type":"tool_result","content":"x"}]}]}"#;
    assert_eq!(pieces(body), [Piece::Message, text("user"), text("x")]);
    assert_eq!(request(body).max_output, Some(512));
}

#[test]
fn novas_form_is_read_as_converse() {
    let blocks =
        r#"[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"AAAA"}}},{"text":"x"}]}]"#;
    let image = || Piece::Image(Image { size: None, low_detail: false });
    for body in [
        format!(
            r#"{{"schemaVersion":"messages-v1","messages":{blocks},"inferenceConfig":{{"maxTokens":9}}}}"#
        ),
        format!(r#"{{"messages":{blocks}}}"#),
    ] {
        assert_eq!(pieces(&body), [Piece::Message, text("user"), image(), text("x")], "{body}");
    }
}

#[test]
fn openais_form_is_read_as_chat_and_never_edited() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}],"max_tokens":7,"n":2,"stream":true}"#;
    assert_eq!(pieces(body), [Piece::Message, text("user"), text("x")]);
    assert_eq!(request(body).max_output, Some(14));
}

#[test]
fn prompts_in_plain_members_are_text_and_bounds_have_many_names() {
    for (body, bound) in [
        (r#"{"prompt":"x","max_gen_len":512,"temperature":0.5,"top_p":0.9}"#, Some(512)),
        (r#"{"prompt":"x","max_tokens":200,"stop":["END"]}"#, Some(200)),
        (
            r#"{"prompt":"x","max_tokens_to_sample":300,"anthropic_version":"bedrock-2023-05-31","stop_sequences":["H:"]}"#,
            Some(300),
        ),
        (r#"{"prompt":"x","maxTokens":50,"numResults":3}"#, Some(150)),
        (r#"{"prompt":"x","max_tokens":50,"num_generations":2,"return_likelihoods":"NONE"}"#, Some(100)),
        (r#"{"inputText":"x","textGenerationConfig":{"maxTokenCount":128,"stopSequences":[]}}"#, Some(128)),
        (r#"{"inputText":"x"}"#, None),
        (r#"{"prompt":"x","max_gen_len":-1}"#, None),
    ] {
        assert_eq!(pieces(body), [text("x")], "{body}");
        assert_eq!((request(body).max_output, request(body).known), (bound, None), "{body}");
    }
}

#[test]
fn all_that_cohere_is_told_is_counted() {
    let body = r#"{"message":"m","preamble":"p","chat_history":[{"role":"USER","message":"h"}],"documents":[{"title":"t","snippet":"s"}],"p":0.1}"#;
    let expected = [
        text("m"),
        text("p"),
        text(r#"[{"role":"USER","message":"h"}]"#),
        text(r#"[{"title":"t","snippet":"s"}]"#),
    ];
    assert_eq!(pieces(body), expected);
}

#[test]
fn embeddings_are_known_to_have_no_output() {
    let body = r#"{"texts":["a","b"],"input_type":"search_document","truncate":"END"}"#;
    assert_eq!(pieces(body), [text("a"), text("b")]);
    assert_eq!(request(body).known, Some(Usage::default()));
    let titan = r#"{"inputText":"a","dimensions":512,"normalize":true}"#;
    assert_eq!((pieces(titan), request(titan).known), (vec![text("a")], Some(Usage::default())));
    assert_eq!(request(r#"{"prompt":"a","dimensions":512}"#).known, None);
}

#[test]
fn pictures_are_never_text() {
    let image = |size| Piece::Image(Image { size, low_detail: false });
    let gif = "R0lGODlhQAHwAAAAAA==";
    let llama = format!(r#"{{"prompt":"x","images":["{gif}","AAAA"]}}"#);
    assert_eq!(pieces(&llama), [text("x"), image(Some((320, 240))), image(None)]);
    let titan = format!(r#"{{"inputImage":"{gif}"}}"#);
    assert_eq!(pieces(&titan), [image(Some((320, 240)))]);
    let cohere = format!(r#"{{"images":["data:image/gif;base64,{gif}"]}}"#);
    assert_eq!(pieces(&cohere), [image(Some((320, 240)))]);
}

#[test]
fn a_member_that_nobody_knows_is_never_free() {
    assert_eq!(pieces(r#"{"question":"q","facts":{"a":"b"},"k":7}"#), [text("q"), text(r#"{"a":"b"}"#)]);
    assert_eq!(pieces(r#"{"images":{"a":"b"}}"#), [text(r#"{"a":"b"}"#)]);
}

#[test]
fn other_shapes_are_malformed_and_two_prompts_ambiguous() {
    for body in ["", "[]", "plain text", r#"{"messages":7}"#, r#"{"anthropic_version":"x","messages":7}"#] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
    assert_eq!(read(br#"{"prompt":"a","prompt":"b"}"#).err(), Some(Unread::Ambiguous { member: "prompt" }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_members_make_the_reader_panic(
        names in prop::collection::vec(prop::sample::select([&NAMES[..], &PARAMETERS, &OF_EMBEDDINGS, &PICTURES].concat()), 1..5),
        values in prop::collection::vec(prop::sample::select(vec![
            "null", "7", "-1e300", "true", "\"x\"", "[]", "{}", "[7]", "[\"x\"]", "[{}]", r#"[{"content":[{}]}]"#, r#"{"maxTokenCount":{}}"#,
        ]), 5),
    ) {
        let members: Vec<_> = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let _ = read(format!("{{{}}}", members.join(",")).as_bytes());
    }
}
