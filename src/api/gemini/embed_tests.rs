use super::*;
use crate::api::Piece;
use crate::api::outline::read_body;
use proptest::prelude::*;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn embeddings_have_no_frames_and_no_output() {
    let one = r#"{"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a"}]},"title":"t","taskType":"RETRIEVAL_DOCUMENT"}"#;
    let many = r#"{"requests":[{"model":"m","content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}"#;
    let request = |body| read(str::as_bytes(body)).unwrap();
    assert_eq!(request(one).prompt.0, [text("t"), text("a")]);
    assert_eq!(request(one).model.as_deref(), Some("gemini-embedding-001"));
    assert_eq!(request(many).prompt.0, [text("a"), text("b")]);
    assert!(request(many).known.is_some_and(|known| known.all_output() == 0));
    for body in [r#"{"requests":[{}]}"#, "{}", r#"{"content":7}"#] {
        assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
    }
}

#[test]
fn embeddings_may_tell_their_prompt() {
    let embedded = answer(br#"{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":6}}"#);
    assert_eq!((embedded.told.input, embedded.told.output), (Some(6), None));
    assert_eq!(answer(br#"{"embedding":{"values":[0.1]}}"#), Answer::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (read(&bytes), answer(&bytes));
    }

    #[test]
    fn no_json_makes_the_reader_panic(
        names in prop::collection::vec(prop::sample::select(vec!["content", "parts", "text", "inlineData", "fileData", "requests"]), 6),
        leaf in prop::sample::select(vec!["null", "7", "\"x\"", "[]", "{}", "[[{}]]", "1e999"]),
        in_lists in any::<bool>(),
    ) {
        let mut body = leaf.to_owned();
        for name in &names {
            body = if in_lists { format!("{{\"{name}\":[{body},7]}}") } else { format!("{{\"{name}\":{body}}}") };
        }
        let _ = read(body.as_bytes());
    }
}
