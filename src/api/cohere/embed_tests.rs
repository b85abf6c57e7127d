use super::*;
use crate::api::Image;
use crate::api::outline::read_body;
use proptest::prelude::*;

fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
    read_body(super::read, body)
}

const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAUAAAADwCAYAAAA=";

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn embeddings_of_texts_and_pictures_have_no_output() {
    let body = format!(
        r#"{{"model":"embed-v4.0","texts":["a"],"images":["{PICTURE}"],"inputs":[{{"content":[{{"type":"text","text":"b"}},
            {{"type":"image_url","image_url":{{"url":"{PICTURE}"}}}}]}}]}}"#
    );
    let request = read(body.as_bytes()).unwrap();
    let picture = || Piece::Image(Image { size: Some((320, 240)), low_detail: false });
    assert_eq!(request.prompt.0, [text("a"), picture(), text("b"), picture()]);
    assert!(request.known.is_some_and(|known| known.all_output() == 0));
    assert_eq!(read(br#"{"model":"m"}"#).err(), Some(Unread::Malformed));
    assert!(read(br#"{"texts":[]}"#).is_ok());
}

#[test]
fn an_embedding_tells_the_tokens_of_its_texts_and_pictures() {
    let told = |billed: &str| {
        let json = format!(r#"{{"id":"1","embeddings":{{"float":[]}},"meta":{{"billed_units":{billed}}}}}"#);
        let answer = answer(json.as_bytes());
        assert!(!answer.unreadable);
        (answer.told.input, answer.told.output)
    };
    assert_eq!(told(r#"{"input_tokens":12}"#), (Some(12), None));
    assert_eq!(told(r#"{"input_tokens":12,"image_tokens":100}"#), (Some(112), None));
    assert_eq!(told(r#"{"input_tokens":112,"text_tokens":12,"image_tokens":100}"#), (Some(112), None));
    assert_eq!(told(r#"{"images":1}"#), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (read(&bytes), answer(&bytes));
    }

    #[test]
    fn no_json_makes_the_reader_panic(
        names in prop::collection::vec(prop::sample::select(vec!["content", "text", "image_url", "url", "inputs", "images", "texts"]), 6),
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
