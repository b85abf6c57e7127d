//! Strings as YAML scalars, read back.

use proptest::prelude::*;

use crate::servers::yaml::scalar;

#[test]
fn names_stay_as_they_are() {
    for name in ["free/tpm", "tollgate", "x-user.id_1", "minute"] {
        assert_eq!(scalar(name), name);
    }
}

#[test]
fn what_yaml_could_take_for_something_else_is_quoted() {
    for (text, expected) in [
        ("", r#""""#),
        ("1e3", r#""1e3""#),
        ("_1", r#""_1""#),
        ("No", r#""No""#),
        ("a: b # c", r#""a: b # c""#),
        ("a\"b\\c\nd\te", r#""a\"b\\c\nd\U00000009e""#),
        ("größer", r#""größer""#),
        ("\u{feff}\u{2028}😀", r#""\U0000FEFF\U00002028\U0001F600""#),
    ] {
        assert_eq!(scalar(text), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_reads_back_as_it_was(text in prop_oneof![any::<String>(), "[a-zA-Z_./~0-9-]{1,5}"]) {
        let line = format!("{}  # tokens", scalar(&text));
        prop_assert_eq!(line.lines().count(), 1);
        let read: Result<serde_json::Value, _> = serde_saphyr::from_str(&line);
        prop_assert_eq!(read.unwrap(), serde_json::Value::String(text));
    }
}
