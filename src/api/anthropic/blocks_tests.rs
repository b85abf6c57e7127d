use super::*;
use crate::api::Unread;
use crate::api::blocks::push_content;

fn pieces(content: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    push_content::<Block<'_>>(content, &mut pieces).unwrap();
    pieces
}

fn text(text: &str) -> Piece<'_> {
    Piece::Text(text.into())
}

fn image(size: Option<(u32, u32)>) -> Piece<'static> {
    Piece::Image(Image { size, low_detail: false })
}

/// The first bytes of a PNG of 2 by 3 pixels.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAADCAYAAAA=";

#[test]
fn pictures_are_read_by_their_size_and_never_as_text() {
    let base64 = format!(
        r#"[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PNG}"}}}}]"#
    );
    assert_eq!(pieces(&base64), [image(Some((2, 3)))]);
    assert_eq!(
        pieces(r#"[{"type":"image","source":{"type":"url","url":"https://x/y.png"}}]"#),
        [image(None)]
    );
    assert_eq!(pieces(r#"[{"type":"image","source":{"type":"file","file_id":"file_1"}}]"#), [image(None)]);
}

#[test]
fn documents_are_files_texts_or_blocks() {
    let document =
        |source: &str| format!(r#"[{{"type":"document","title":"T","context":"C","source":{source}}}]"#);
    let rest =
        |json: &str| pieces(json).into_iter().skip(2).map(|piece| format!("{piece:?}")).collect::<Vec<_>>();
    for (source, expected) in [
        (
            r#"{"type":"base64","media_type":"application/pdf","data":"AAAAAAAA"}"#,
            Piece::File { bytes: Some(6) },
        ),
        (r#"{"type":"text","media_type":"text/plain","data":"all of it"}"#, text("all of it")),
        (r#"{"type":"content","content":[{"type":"text","text":"part"}]}"#, text("part")),
        (r#"{"type":"content","content":"whole"}"#, text("whole")),
        (r#"{"type":"url","url":"https://x/y.pdf"}"#, Piece::File { bytes: None }),
        (r#"{"type":"file","file_id":"file_1"}"#, Piece::File { bytes: None }),
    ] {
        assert_eq!(rest(&document(source)), [format!("{expected:?}")], "{source}");
    }
    assert_eq!(pieces(&document(r#"{"type":"url"}"#))[..2], [text("T"), text("C")]);
}

#[test]
fn a_tool_call_has_a_frame_and_its_result_is_text_or_blocks() {
    let call = r#"[{"type":"tool_use","id":"toolu_1","name":"f","input":{"a": 1}}]"#;
    assert_eq!(pieces(call), [Piece::ToolCall, text("f"), text(r#"{"a": 1}"#)]);
    assert_eq!(
        pieces(r#"[{"type":"tool_result","tool_use_id":"toolu_1","content":"15 degrees"}]"#),
        [text("15 degrees")]
    );
    let blocks = r#"[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"url","url":"u"}}]}]"#;
    assert_eq!(pieces(blocks), [text("a"), image(None)]);
}

#[test]
fn thinking_is_counted_as_far_as_it_can_be_seen_and_by_length_where_it_is_hidden() {
    assert_eq!(pieces(r#"[{"type":"thinking","thinking":"so","signature":"AAAAAAAA"}]"#), [text("so")]);
    let omitted = r#"[{"type":"thinking","thinking":"","signature":"AAAAAAAA"}]"#;
    assert_eq!(pieces(omitted), [text(""), Piece::Unseen { bytes: 6 }]);
    assert_eq!(pieces(r#"[{"type":"redacted_thinking","data":"AAAA"}]"#), [Piece::Unseen { bytes: 3 }]);
}

#[test]
fn what_was_searched_fetched_and_run_is_counted() {
    let search = r#"[{"type":"search_result","source":"https://x","title":"T","content":[{"type":"text","text":"found"}]}]"#;
    assert_eq!(pieces(search), [text("T"), text("https://x"), text("found")]);
    let web = r#"[{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","url":"u","title":"T","encrypted_content":"AAAA","page_age":null}]}]"#;
    assert_eq!(pieces(web), [text("T"), text("u"), Piece::Unseen { bytes: 3 }]);
    let page = r#"[{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","url":"u","content":{"type":"document",
        "source":{"type":"text","media_type":"text/plain","data":"page"}}}}]"#;
    assert_eq!(pieces(page), [text("u"), text("page")]);
    let run = r#"[{"type":"code_execution_tool_result","content":{"type":"code_execution_result","stdout":"1","stderr":"","return_code":0,"content":[]}}]"#;
    assert_eq!(pieces(run), [text("1"), text("")]);
}

#[test]
fn a_block_of_several_kinds_counts_as_all_of_them() {
    let block = r#"[{"type":"image","text":"long","source":{"type":"url","url":"u"}}]"#;
    assert_eq!(pieces(block), [text("long"), image(None)]);
}

#[test]
fn an_unknown_or_misshapen_block_counts_as_it_is_written() {
    for block in [
        r#"{"type":"new_thing","x":1}"#,
        r#"{"type":"text","text":7}"#,
        "7",
        "[]",
        r#"{"text":"a","text":"b"}"#,
    ] {
        assert_eq!(pieces(&format!("[{block}]")), [text(block)]);
    }
    assert_eq!(pieces(r#"[{"type":"tool_result","content":7}]"#), [text("7")]);
}

#[test]
fn blocks_too_deep_in_blocks_are_read_as_text() {
    let deep = (0..10_000).fold(r#""x""#.to_owned(), |inner, _| format!(r#"[{{"content":{inner}}}]"#));
    let pieces = pieces(&deep);
    assert!(matches!(&pieces[..], [Piece::Text(text)] if text.starts_with(r#"{"content":"#)));
}

#[test]
fn content_of_another_type_is_malformed() {
    for content in ["7", "null", "true"] {
        assert_eq!(push_content::<Block<'_>>(content, &mut Vec::new()), Err(Unread::Malformed), "{content}");
    }
}
