use super::*;
use crate::api::FORMATS;
use proptest::prelude::*;
use serde_json::json;

pub(in crate::api) const CUT: Cut<'static> = Cut {
    model: "m",
    used: Usage {
        input: 5,
        cached_input: 2,
        cache_write: 0,
        cache_write_1h: 0,
        audio_input: 0,
        output: 30,
        reasoning: 10,
        audio_output: 0,
        characters: 0,
        audio_ms: 0,
        cached_audio_input: 0,
        requests: 1,
    },
    hides_usage: false,
};

/// Feeds documents to an ending and returns the documents that it writes, as JSON where possible.
pub(in crate::api) fn ended(mut ending: Box<dyn Ending>, documents: &[&str]) -> Option<Vec<Value>> {
    documents.iter().for_each(|document| ending.read(document.as_bytes()));
    let written = ending.write(&CUT)?;
    Some(
        written
            .iter()
            .map(|Document { data, .. }| serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
            .collect(),
    )
}

#[test]
fn a_stream_that_has_not_begun_is_not_ended() {
    for format in FORMATS.iter().copied() {
        let Some(begin) = format.ending else { continue };
        assert_eq!(ended(begin(), &[]), None, "{}", format.name);
        assert_eq!(ended(begin(), &["[DONE]", "", "null", "7"]), None, "{}", format.name);
    }
}

proptest! {
    #[test]
    fn no_documents_make_an_ending_panic(documents in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..30),
        ("[a-z._-]{0,30}", "[0-9a-z\\[\\]{}\":, ]{0,30}").prop_map(|(kind, value)| format!(r#"{{"type":"{kind}","item":{value},"index":{value},"choices":{value}}}"#).into_bytes()),
    ], 0..10)) {
        for begin in FORMATS.iter().filter_map(|format| format.ending) {
            let mut ending = begin();
            documents.iter().for_each(|document| ending.read(document));
            let _ = ending.write(&CUT);
        }
    }
}
