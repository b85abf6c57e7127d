use super::*;
use crate::api::FORMATS;

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
    let request = (FORMATS[0].read)(body.as_bytes()).unwrap();
    counter().prompt(&request.prompt, &request.model.unwrap(), exactness).usage().all_input()
}

/// The sample conversation of OpenAI's cookbook, "How to count tokens with tiktoken", with the counts published there.
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

/// The sample function of the same page, whose published counts are 105 on gpt-3.5-turbo and gpt-4, and 101 on gpt-4o.
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

#[test]
fn the_text_of_models_without_a_public_tokenizer_is_scaled() {
    let body = r#"{"model":"claude-x","messages":[{"role":"user","content":"Hello there, how are you?"}]}"#;
    let plain = tokens(body);
    let scales = vec![(Glob::new("claude-*"), Ratio { ppm: 1_200_000 })];
    let frames = 3 + 3;
    let text = plain - frames;
    assert_eq!(tokens_with(&Exactness { scales, ..exactness() }, body), frames + (text * 12).div_ceil(10));
}

#[test]
fn a_body_that_cannot_be_read_counts_as_the_text_it_is() {
    let garbage = b"{\"messages\": [ oh no \xff ]";
    let prompt = Prompt(vec![Piece::Unread(garbage)]);
    let tokens = counter().prompt(&prompt, "gpt-4o", &exactness()).text;
    assert_eq!(tokens, counter().count_text(Encoding::O200k, &String::from_utf8_lossy(garbage)));
    assert!(tokens > Tokens(5));
}

#[test]
fn sound_and_documents_cost_by_length() {
    let count = |piece| counter().prompt(&Prompt(vec![piece]), "gpt-4o", &exactness());
    assert_eq!(count(Piece::Audio { bytes: 96_000, raw: true }).audio, Tokens(20));
    assert_eq!(count(Piece::Audio { bytes: 16_000, raw: false }).audio, Tokens(10));
    assert_eq!(count(Piece::File { bytes: None }).ruled, Tokens(2_000));
    assert_eq!(count(Piece::File { bytes: Some(250_000) }).ruled, Tokens(6_000));
    assert_eq!(count(Piece::Audio { bytes: u64::MAX, raw: false }).audio.0, u64::MAX.div_ceil(16_000));
}
