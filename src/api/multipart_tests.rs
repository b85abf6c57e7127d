use super::*;
use proptest::prelude::*;

const CONTENT_TYPE: &[u8] = b"multipart/form-data; boundary=----form7MA4YWxk";

const BODY: &str = "------form7MA4YWxk\r\n\
    Content-Disposition: form-data; name=\"file\"; filename=\"speech; name=\\\"model\\\".mp3\"\r\n\
    Content-Type: audio/mpeg\r\n\r\n\
    ID3\r\r\n\r\n--\r\n------form7MA4YWx\r\n----\r\nmodel\r\n\
    ------form7MA4YWxk\r\n\
    content-disposition:form-data;name=model\r\n\r\n\
    gpt-4o-transcribe\r\n\
    ------form7MA4YWxk\r\n\
    Content-Disposition: form-data; name=\"stream\"\r\n\r\n\
    true\r\n\
    ------form7MA4YWxk--\r\n";

fn value(content_type: &[u8], pieces: &[&[u8]]) -> Option<String> {
    let mut peek = Peek::new(content_type, "model").unwrap();
    pieces.iter().for_each(|piece| peek.feed(piece));
    peek.value().map(str::to_owned)
}

/// Returns the parts between delimiters `--b`, with the end of a body.
fn body(parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
    format!("{parts}--b--\r\n")
}

fn value_of(parts: &[&str]) -> Option<String> {
    value(b"multipart/form-data; boundary=b", &[body(parts).as_bytes()])
}

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\n";

#[test]
fn the_field_is_found_behind_a_file() {
    assert_eq!(value(CONTENT_TYPE, &[BODY.as_bytes()]).as_deref(), Some("gpt-4o-transcribe"));
}

#[test]
fn the_value_is_there_as_soon_as_its_part_ends() {
    let mut peek = Peek::new(b"multipart/form-data; boundary=b", "model").unwrap();
    peek.feed(format!("--b\r\n{MODEL}whisper-1\r\n--").as_bytes());
    assert_eq!(peek.value(), None);
    peek.feed(b"b");
    assert_eq!(peek.value(), Some("whisper-1"));
}

#[test]
fn another_content_type_or_an_impossible_boundary_is_not_looked_into() {
    let long = format!("multipart/form-data; boundary={}", "b".repeat(71));
    let others: [&[u8]; 8] = [
        b"",
        b"application/json; boundary=b",
        b"multipart/mixed; boundary=b",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=\"b",
        b"multipart/form-data; boundary=\"a\r\nb\"",
        long.as_bytes(),
    ];
    for other in others {
        assert!(Peek::new(other, "model").is_none(), "{}", other.escape_ascii());
    }
}

#[test]
fn the_boundary_may_be_quoted_and_stand_behind_other_parameters() {
    let body = format!("--a b=;\r\n{MODEL}whisper-1\r\n--a b=;--");
    let content_types: [&[u8]; 3] = [
        b"multipart/form-data; boundary=\"a b=;\"",
        b"Multipart/Form-Data ; charset=\"utf-8\"; Boundary = \"a b=;\" ",
        b"multipart/form-data;x;boundary=\"a b=;\";boundary=other",
    ];
    for content_type in content_types {
        assert_eq!(value(content_type, &[body.as_bytes()]).as_deref(), Some("whisper-1"));
    }
}

#[test]
fn what_stands_before_and_behind_the_parts_is_not_read() {
    let part = format!("--b \t\r\n{MODEL}yes\r\n");
    let outside = format!("preamble--b\r\n{MODEL}no\r\n{part}--b--\r\n--b\r\n{MODEL}no\r\n--b--");
    assert_eq!(value(b"multipart/form-data; boundary=b", &[outside.as_bytes()]).as_deref(), Some("yes"));
}

#[test]
fn of_a_field_named_twice_the_last_value_counts() {
    assert_eq!(value_of(&[&format!("{MODEL}one"), &format!("{MODEL}two")]).as_deref(), Some("two"));
}

#[test]
fn a_file_is_not_a_field() {
    let file = "Content-Disposition: form-data; name=model; filename=x\r\n\r\nno";
    assert_eq!(value_of(&[file]), None);
    let file = "Content-Disposition: form-data; name=model; filename*=UTF-8''x\r\n\r\nno";
    assert_eq!(value_of(&[file]), None);
}

#[test]
fn a_part_of_another_name_is_not_the_field() {
    assert_eq!(value_of(&["Content-Disposition: form-data; name=\"models\"\r\n\r\nno"]), None);
    assert_eq!(value_of(&["Content-Disposition: form-data; name=\"Model\"\r\n\r\nno"]), None);
    assert_eq!(value_of(&["Content-Disposition: attachment; name=\"model\"\r\n\r\nno"]), None);
    assert_eq!(value_of(&["X-Disposition: form-data; name=\"model\"\r\n\r\nno"]), None);
}

#[test]
fn an_empty_value_is_a_value() {
    assert_eq!(value_of(&[MODEL]).as_deref(), Some(""));
}

#[test]
fn a_value_of_256_bytes_is_kept_and_a_longer_one_is_not() {
    let longest = "é".repeat(128);
    assert_eq!(value_of(&[&format!("{MODEL}{longest}")]), Some(longest.clone()));
    assert_eq!(value_of(&[&format!("{MODEL}{longest}x")]), None);
    assert_eq!(value_of(&[&format!("{MODEL}{}", "\r".repeat(257))]), None);
}

#[test]
fn a_value_that_is_not_utf_8_is_none() {
    let body = [b"--b\r\n".as_slice(), MODEL.as_bytes(), b"\xff\r\n--b--"].concat();
    assert_eq!(value(b"multipart/form-data; boundary=b", &[&body]), None);
}

#[test]
fn an_overlong_header_line_is_passed_over_without_being_kept() {
    let long = format!("X: {}\r\n{MODEL}yes", "x".repeat(1_000_000));
    assert_eq!(value_of(&[&long]).as_deref(), Some("yes"));
    let mut peek = Peek::new(b"multipart/form-data; boundary=b", "model").unwrap();
    peek.feed(b"--b\r\n");
    for _ in 0..1000 {
        peek.feed(&[b'x'; 500]);
        let At::Header { line, .. } = &peek.at else { panic!("a line is not over before its end") };
        assert!(line.capacity() <= 2 * LONGEST_LINE);
    }
}

#[test]
fn what_follows_a_delimiter_that_is_none_is_not_read() {
    let body = format!("--bc\r\n{MODEL}no\r\n--b--");
    assert_eq!(value(b"multipart/form-data; boundary=b", &[body.as_bytes()]), None);
}

/// Generates arbitrary bytes, half of them with a meaning in the syntax.
fn bytes(meaningful: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![prop::sample::select(meaningful), any::<u8>()], 0..200)
}

proptest! {
    #[test]
    fn any_split_gives_the_same_value(mut cuts in prop::collection::vec(0..BODY.len(), 0..8)) {
        cuts.extend([0, BODY.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &BODY.as_bytes()[cut[0]..cut[1]]).collect();
        prop_assert_eq!(value(CONTENT_TYPE, &pieces), Some("gpt-4o-transcribe".to_owned()));
    }

    #[test]
    fn content_is_kept_byte_for_byte_whatever_looks_like_a_delimiter(content in "(\r|\n|-|b|\r\n|\r\n--){0,40}") {
        prop_assume!(!format!("\r\n{content}\r\n").contains("\r\n--b"));
        prop_assert_eq!(value_of(&[&format!("{MODEL}{content}")]), Some(content));
    }

    #[test]
    fn any_bytes_are_survived_in_any_split(
        bytes in bytes(b"\r\n-b;"),
        head in prop_oneof![
            Just(""),
            Just("--b\r\n"),
            Just("--b\r\nContent-Disposition: form-data;"),
            Just("--b\r\nContent-Disposition: form-data; name=model\r\n\r\n"),
        ],
        size in 1..20_usize,
    ) {
        let body = [head.as_bytes(), &bytes].concat();
        let pieces: Vec<&[u8]> = body.chunks(size).collect();
        let content_type = b"multipart/form-data; boundary=b";
        prop_assert_eq!(value(content_type, &pieces), value(content_type, &[&body]));
    }

    #[test]
    fn any_content_type_is_survived(bytes in bytes(b"\"\\;=")) {
        let content_type = [b"multipart/form-data; boundary", bytes.as_slice()].concat();
        if let Some(mut peek) = Peek::new(&content_type, "model") {
            peek.feed(&bytes);
        }
    }
}
