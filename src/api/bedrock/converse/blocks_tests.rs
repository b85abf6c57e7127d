use super::*;
use crate::api::blocks::push_content;

fn pieces(content: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    push_content::<Block<'_>>(content, &mut pieces).unwrap();
    pieces
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

#[test]
fn media_are_read_by_their_size_and_never_as_text() {
    // The first bytes of a GIF of 320 by 240 pixels.
    let image = r#"[{"image":{"format":"gif","source":{"bytes":"R0lGODlhQAHwAAAAAA=="}}}]"#;
    assert_eq!(pieces(image), [Piece::Image(Image { size: Some((320, 240)), low_detail: false })]);
    for (block, expected) in [
        (
            r#"{"image":{"format":"png","source":{"s3Location":{"uri":"s3://b/k"}}}}"#,
            Piece::Image(Image { size: None, low_detail: false }),
        ),
        (r#"{"video":{"format":"mp4","source":{"bytes":"AAAAAAAA"}}}"#, Piece::Video { bytes: Some(6) }),
        (
            r#"{"video":{"format":"mp4","source":{"s3Location":{"uri":"s3://b/k"}}}}"#,
            Piece::Video { bytes: None },
        ),
        (r#"{"audio":{"format":"wav","source":{"bytes":"AAAA"}}}"#, Piece::Audio { bytes: 3, raw: true }),
        (r#"{"audio":{"format":"mp3","source":{"bytes":"AAAA"}}}"#, Piece::Audio { bytes: 3, raw: false }),
        (r#"{"audio":{"format":"mp3","source":{}}}"#, Piece::File { bytes: None }),
    ] {
        assert_eq!(pieces(&format!("[{block}]")), [expected], "{block}");
    }
}

#[test]
fn documents_are_files_texts_or_blocks_with_their_names() {
    let document =
        |source: &str| format!(r#"[{{"document":{{"format":"pdf","name":"N","source":{source}}}}}]"#);
    assert_eq!(pieces(&document(r#"{"bytes":"AAAA"}"#)), [Piece::File { bytes: Some(3) }, text("N")]);
    assert_eq!(
        pieces(&document(r#"{"s3Location":{"uri":"s3://b/k"}}"#)),
        [Piece::File { bytes: None }, text("N")]
    );
    assert_eq!(pieces(&document(r#"{"text":"all"}"#)), [text("N"), text("all")]);
    assert_eq!(pieces(&document(r#"{"content":[{"text":"part"}]}"#)), [text("N"), text("part")]);
}

#[test]
fn a_tool_call_has_a_frame_and_its_result_is_blocks() {
    let call = r#"[{"toolUse":{"toolUseId":"t","name":"f","input":{"a": 1}}}]"#;
    assert_eq!(pieces(call), [Piece::ToolCall, text("f"), text(r#"{"a": 1}"#)]);
    let result =
        r#"[{"toolResult":{"toolUseId":"t","status":"success","content":[{"json":{"b":2}},{"text":"c"}]}}]"#;
    assert_eq!(pieces(result), [text(r#"{"b":2}"#), text("c")]);
}

#[test]
fn guarded_reasoned_found_and_cited_text_is_text() {
    assert_eq!(pieces(r#"[{"guardContent":{"text":{"text":"g","qualifiers":["query"]}}}]"#), [text("g")]);
    assert_eq!(
        pieces(r#"[{"reasoningContent":{"reasoningText":{"text":"r","signature":"zz"}}}]"#),
        [text("r")]
    );
    assert_eq!(pieces(r#"[{"reasoningContent":{"redactedContent":"AAAA"}}]"#), [Piece::Unseen { bytes: 3 }]);
    let found = r#"[{"searchResult":{"source":"s","title":"t","content":[{"text":"f"}]}}]"#;
    assert_eq!(pieces(found), [text("t"), text("s"), text("f")]);
    assert_eq!(pieces(r#"[{"citationsContent":{"content":[{"text":"c"}],"citations":[]}}]"#), [text("c")]);
}

#[test]
fn a_cache_point_is_nothing_and_what_is_unknown_counts_as_it_is_written() {
    assert_eq!(pieces(r#"[{"cachePoint":{"type":"default"}}]"#), []);
    for block in [r#"{"newThing":{"x":1}}"#, r#"{"text":7}"#, "{}", "7", r#"{"image":{}}"#] {
        assert_eq!(pieces(&format!("[{block}]")), [text(block)]);
    }
    assert_eq!(pieces(r#"[{"toolResult":{"content":7}}]"#), [text("7")]);
}

#[test]
fn a_text_beside_a_cache_point_is_counted() {
    assert_eq!(pieces(r#"[{"cachePoint":{"type":"default"},"text":"long"}]"#), [text("long")]);
}

#[test]
fn blocks_too_deep_in_blocks_are_read_as_text() {
    let deep = (0..10_000)
        .fold(r#""x""#.to_owned(), |inner, _| format!(r#"[{{"toolResult":{{"content":{inner}}}}}]"#));
    assert!(matches!(&pieces(&deep)[..], [Piece::Text(text)] if text.starts_with(r#"{"toolResult":"#)));
}

#[test]
fn a_single_block_is_as_good_as_a_list_of_one() {
    assert_eq!(pieces(r#"{"text":"a"}"#), [text("a")]);
    assert_eq!(pieces(r#"[{"toolResult":{"content":{"text":"b"}}}]"#), [text("b")]);
}
