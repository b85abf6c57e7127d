use super::*;
use crate::api::{FORMATS, Outline};

fn counter() -> Counter {
    Counter::new([7; 16])
}

fn exactness() -> Exactness {
    Exactness { exact_up_to: 1 << 20, scales: vec![] }
}

fn tokens(body: &str) -> u64 {
    tokens_with(&exactness(), body)
}

fn tokens_with(exactness: &Exactness, body: &str) -> u64 {
    let request = (FORMATS[0].read)(&Outline::of(body).unwrap()).unwrap();
    counter().prompt(&request.prompt, &request.model.unwrap(), exactness).usage().all_input()
}

/// The sample conversation of OpenAI's cookbook, "How to count tokens with tiktoken", with the
/// counts published there.
#[test]
fn the_published_sample_conversation_has_the_published_count() {
    let sample = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[
            {{"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."}},
            {{"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."}},
            {{"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."}},
            {{"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."}},
            {{"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."}},
            {{"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}}]}}"#
        )
    };
    for (model, published) in
        [("gpt-3.5-turbo", 129), ("gpt-4-0613", 129), ("gpt-4", 129), ("gpt-4o", 124), ("gpt-4o-mini", 124)]
    {
        assert_eq!(tokens(&sample(model)), published, "{model}");
    }
}

/// The sample function of the same page, whose published counts are 105 on gpt-3.5-turbo and gpt-4,
/// and 101 on gpt-4o.
#[test]
fn the_published_sample_function_has_the_published_count() {
    let sample = |model: &str| {
        format!(
            r#"{{"model":"{model}","messages":[
            {{"role":"system","content":"You are a helpful assistant that can answer to questions about the weather."}},
            {{"role":"user","content":"What's the weather like in San Francisco?"}}],
            "tools":[{{"type":"function","function":{{"name":"get_current_weather","description":"Get the current weather in a given location",
            "parameters":{{"type":"object","properties":{{
            "location":{{"type":"string","description":"The city and state, e.g. San Francisco, CA"}},
            "unit":{{"type":"string","description":"The unit of temperature to return","enum":["celsius","fahrenheit"]}}}},
            "required":["location"]}}}}}}]}}"#
        )
    };
    for (model, published) in [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("gpt-4o", 101), ("gpt-4o-mini", 101)]
    {
        assert_eq!(tokens(&sample(model)), published, "{model}");
    }
}

#[test]
fn pictures_cost_by_size_and_never_as_base64_text() {
    let with_picture = |url: &str| {
        format!(
            r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]}}"#
        )
    };
    let frame = tokens(r#"{"model":"gpt-4o","messages":[{"role":"user","content":[]}]}"#);
    let png = "iVBORw0KGgoAAAANSUhEUgAABAAAAAQACAYAAAA".to_owned() + &"A".repeat(200_000);
    assert_eq!(tokens(&with_picture(&format!("data:image/png;base64,{png}"))), frame + 765);
    assert_eq!(tokens(&with_picture("https://example.com/cat.png")), frame + 765);
}

#[test]
fn text_beyond_the_exact_part_is_scaled_from_it() {
    let text = "one two three four ".repeat(1_000);
    let body = format!(r#"{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let exact = tokens(&body);
    let partly = tokens_with(&Exactness { exact_up_to: 1_900, ..exactness() }, &body);
    assert!(partly.abs_diff(exact) * 100 < exact, "{partly} is not within 1 % of {exact}");
    let nothing = tokens_with(&Exactness { exact_up_to: 0, ..exactness() }, &body);
    assert_eq!(nothing, 3 + 3 + by_length(text.len() as u64 + "user".len() as u64));
}

/// However a text is written, and whether its count is remembered or not.
#[test]
fn a_text_with_escapes_counts_as_it_is_read() {
    let text = "Two lines,\n\"quoted\" \u{1f600} \\ and a \ttab. ".repeat(20);
    let plain = serde_json::to_string(&text).unwrap();
    let hexadecimal = plain.replace("\\n", "\\u000a").replace('😀', "\\ud83d\\ude00");
    for exact_up_to in [1 << 20, 2_000, 700, 0] {
        let (mut counter, exactness) = (counter(), Exactness { exact_up_to, ..exactness() });
        let mut count = |piece| {
            // What is left of the exact bytes goes to the next text.
            let next = Piece::Text("one two three four ".repeat(100).into());
            counter.prompt(&Prompt(vec![piece, next]), "gpt-4o", &exactness)
        };
        let expected = count(Piece::Text(text.as_str().into()));
        for quoted in [&plain, &plain, &hexadecimal, &hexadecimal] {
            let quoted: Quoted<'_> = serde_json::from_str(quoted).unwrap();
            let piece = Piece::from(quoted);
            assert!(matches!(piece, Piece::Quoted(_)));
            assert_eq!(count(piece), expected);
        }
    }
}

#[test]
fn the_text_of_models_without_a_public_tokenizer_is_scaled() {
    let tokens = |exactness: &Exactness, model: &str| {
        let text = "Hello there, how are you?".repeat(20);
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        tokens_with(exactness, &body)
    };
    let frames = 3 + 3;
    let text = tokens(&exactness(), "some-model") - frames;
    let configured = || vec![(Glob::new("claude-*"), Ratio { ppm: 1_300_000 })];
    assert_eq!(tokens(&exactness(), "claude-sonnet-4-5"), frames + (text * 12).div_ceil(10));
    assert_eq!(tokens(&exactness(), "anthropic/claude-opus-5"), frames + (text * 155).div_ceil(100));
    let exactness = Exactness { scales: configured(), ..exactness() };
    assert_eq!(tokens(&exactness, "claude-sonnet-4-5"), frames + (text * 13).div_ceil(10));
    assert_eq!(tokens(&exactness, "gemini-2.5-pro"), frames + (text * 11).div_ceil(10));
}

#[test]
fn a_body_that_cannot_be_read_counts_as_the_text_it_is() {
    let garbage = b"{\"messages\": [ oh no \xff ]";
    let prompt = Prompt(vec![Piece::Unread(garbage)]);
    let tokens = counter().prompt(&prompt, "gpt-4o", &exactness()).text;
    assert_eq!(tokens, counter().count_text(Encoding::O200k, &String::from_utf8_lossy(garbage)));
    assert!(tokens > Tokens(5));
}

/// Counts one piece on a model.
fn piece(model: &str, piece: Piece<'_>) -> TokenCount {
    counter().prompt(&Prompt(vec![piece]), model, &exactness())
}

#[test]
fn sound_video_and_documents_cost_by_length_and_family() {
    let sound = |model, bytes, raw| piece(model, Piece::Audio { bytes, raw }).audio.0;
    assert_eq!(sound("gpt-4o-audio-preview", 96_000, true), 20);
    assert_eq!(sound("gpt-4o-audio-preview", 16_000, false), 10);
    assert_eq!(sound("gemini-2.5-flash", 16_000 * 60, false), 1_920);
    assert_eq!(sound("gpt-4o", u64::MAX, false), u64::MAX.div_ceil(16_000));

    let document = |model, bytes| piece(model, Piece::File { bytes }).ruled.0;
    assert_eq!(document("gpt-4o", None), 2_000);
    assert_eq!(document("gpt-4o", Some(250_000)), 6_000);
    assert_eq!(document("gpt-4o", Some(0)), 2_000);
    assert_eq!(document("claude-sonnet-4-5", Some(250_000)), 9_000);
    assert_eq!(document("models/gemini-2.5-pro", Some(250_000)), 774);

    let video = |model, bytes| {
        let TokenCount { ruled, audio, .. } = piece(model, Piece::Video { bytes });
        (ruled.0, audio.0)
    };
    assert_eq!(video("gemini-2.5-flash", Some(125_000 * 10)), (2_630, 320));
    assert_eq!(video("gemini-3-pro-preview", None), (60 * 70, 60 * 32));
    assert_eq!(video("gpt-4o", Some(u64::MAX)).0, u64::MAX.div_ceil(125_000));
}

#[test]
fn pictures_cost_by_family_even_where_their_size_is_not_known() {
    let picture = |model, size| piece(model, Piece::Image(Image { size, low_detail: false })).ruled.0;
    assert_eq!(picture("claude-sonnet-4-5", Some((1092, 1092))), 1_521);
    assert_eq!(picture("claude-sonnet-4-5", None), 37 * 37);
    assert_eq!(picture("gemini-2.5-flash", None), 4 * 258);
    assert_eq!(picture("some-model", None), 765);
}

#[test]
fn what_is_assumed_is_told_apart_from_what_is_counted() {
    let assumed = |one| piece("gpt-4o", one).assumed;
    assert!(!assumed(Piece::Text("Hello".into())));
    assert!(!assumed(Piece::Tokens(7)));
    assert!(assumed(Piece::Image(Image { size: Some((10, 10)), low_detail: false })));
    assert!(assumed(Piece::Audio { bytes: 1, raw: false }));
    assert!(assumed(Piece::Video { bytes: None }));
    assert!(assumed(Piece::File { bytes: None }));
    assert!(assumed(Piece::Unseen { bytes: 1 }));
    assert!(assumed(Piece::Unread(b"?")));
    let partly = Exactness { exact_up_to: 2, ..exactness() };
    assert!(counter().prompt(&Prompt(vec![Piece::Text("Hello".into())]), "gpt-4o", &partly).assumed);
}
