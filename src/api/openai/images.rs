//! Image generation: `POST …/images/generations`, and `…/images/edits` and `…/images/variations`,
//! whose uploads pass unread.
//!
//! In: request bodies, lengths of uploads, and answers. Out: the shared types of `api`. A table
//! gives the tokens of an image by size and quality, for answers that do not report them. Not here:
//! images as model input (`image`), and separate prices for text and image input, which share one
//! class.
//!
//! Source: OpenAI's API reference, "Create image", "Create image edit", "Create image variation";
//! its guide "Image generation", "Cost and latency".

use super::usage::{UsageMember, answer_with};
use crate::api::outline::Outline;
use crate::api::{Answer, Body, Format, Image, Piece, Prompt, Request, Unread, Usage, model, post};

/// The row of [`FORMATS`](crate::api::FORMATS) for images from text.
pub(in crate::api) static GENERATIONS: Format = Format {
    name: "openai_images",
    endpoints: &[post("/openai/deployments/{model}/images/generations"), post("/images/generations")],
    read,
    answer_members: &["usage"],
    answer,
    with_model: model::with_model,
    ..Format::DEFAULT
};

/// The row of [`FORMATS`](crate::api::FORMATS) for images from images.
pub(in crate::api) static EDITS: Format = Format {
    name: "openai_image_edits",
    endpoints: &[
        post("/openai/deployments/{model}/images/edits"),
        post("/images/edits"),
        post("/images/variations"),
    ],
    body: Body::Passed,
    guess,
    answer_members: &["usage"],
    answer,
    ..Format::DEFAULT
};

/// The members read here. A body that names one of them twice is ambiguous.
const NAMES: [&str; 6] = ["model", "prompt", "n", "size", "quality", "partial_images"];

/// Tokens by quality of a square of 1024, and of an oblong of 1536, upright and lying (guide "Image
/// generation", `gpt-image-1` and its variants).
const SIZES: [(&str, ByQuality); 3] = [
    ("1024x1024", ByQuality { low: 272, medium: 1_056, high: 4_160 }),
    ("1024x1536", ByQuality { low: 408, medium: 1_584, high: 6_240 }),
    ("1536x1024", ByQuality { low: 400, medium: 1_568, high: 6_208 }),
];

/// The estimate for `gpt-image-2` and later up to 1536 by 1024: the result of OpenAI's calculator
/// for a square of 1024. Oblongs cost less.
const LATER: ByQuality = ByQuality { low: 196, medium: 1_756, high: 7_024 };
/// The estimate for larger images: twice that; the calculator gives 12,329 for 3584 by 2048 in high
/// quality.
const LATER_LARGE: ByQuality = ByQuality { low: 392, medium: 3_512, high: 14_048 };
/// The most pixels of an image that is not large.
const LARGE: u64 = 1536 * 1024;

/// The tokens that each partial image of a stream adds (guide "Image generation", "Partial images
/// cost").
const PARTIAL_IMAGE: u64 = 100;

/// The estimate for an upload: one input image per this many bytes, and one output image.
const UPLOADED_PICTURE: u64 = 2 * 1024 * 1024;
/// The most images that an edit accepts (API reference, `image`).
const MOST_UPLOADED: u64 = 16;

#[derive(Clone, Copy)]
struct ByQuality {
    low: u64,
    medium: u64,
    high: u64,
}

fn read<'a>(outline: &Outline<'a>) -> Result<Request<'a>, Unread> {
    let members = outline.members(&NAMES)?;
    let model = members.text("model")?;
    let prompt = members.text("prompt")?.ok_or(Unread::Malformed)?;
    let (size, quality) = (members.text("size")?, members.text("quality")?);
    let each = picture(model.as_deref(), size.as_deref(), quality.as_deref());
    let partial = if each > 0 { members.whole("partial_images").unwrap_or(0) } else { 0 };
    let output = each
        .saturating_add(partial.saturating_mul(PARTIAL_IMAGE))
        .saturating_mul(members.whole("n").unwrap_or(1).max(1));
    Ok(Request {
        model,
        prompt: Prompt(vec![Piece::Text(prompt)]),
        known: Some(Usage { output, ..Usage::default() }),
        ..Request::default()
    })
}

/// Returns the tokens of one image; zero for models not billed by tokens: DALL·E, and those of
/// other makers. A model named only in the path, as on Azure, counts as billed by tokens.
fn picture(model: Option<&str>, size: Option<&str>, quality: Option<&str>) -> u64 {
    let model = model.unwrap_or("gpt-image-1");
    let Some((_, version)) = model.split_once("gpt-image-") else { return 0 };
    let size = size.unwrap_or("auto");
    let tokens = if version.starts_with('1') {
        // Assume the largest if the model chooses.
        let upright = SIZES.iter().find(|(of, _)| *of == "1024x1536");
        SIZES.iter().find(|(of, _)| *of == size).or(upright).map(|(_, tokens)| *tokens)
    } else if pixels(size).is_some_and(|pixels| pixels > LARGE) {
        Some(LATER_LARGE)
    } else {
        Some(LATER)
    };
    let Some(tokens) = tokens else { return 0 };
    match quality {
        Some("low") => tokens.low,
        Some("medium") => tokens.medium,
        // The model chooses the quality, or it is a higher one of later models, for which OpenAI
        // publishes no numbers.
        _ => tokens.high,
    }
}

fn pixels(size: &str) -> Option<u64> {
    let (width, height) = size.split_once('x')?;
    Some(width.parse::<u64>().ok()?.saturating_mul(height.parse().ok()?))
}

fn guess(bytes: u64) -> Request<'static> {
    let pictures = bytes.div_ceil(UPLOADED_PICTURE).clamp(1, MOST_UPLOADED);
    Request {
        prompt: Prompt((0..pictures).map(|_| Piece::Image(Image::UNSEEN)).collect()),
        known: Some(Usage { output: picture(None, None, None), ..Usage::default() }),
        ..Request::default()
    }
}

/// Reads an answer, or one event of it: `image_generation.completed` and `image_edit.completed`
/// report usage.
fn answer(json: &[u8]) -> Answer<'_> {
    answer_with(json, UsageMember::told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::outline::read_body;
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<Request<'_>, Unread> {
        read_body(super::read, body)
    }

    fn output(members: &str) -> u64 {
        read(format!("{{\"prompt\":\"a fox\",{members}}}").as_bytes()).unwrap().known.unwrap().output
    }

    #[test]
    fn pictures_cost_what_the_guide_says() {
        for (members, tokens) in [
            (r#""model":"gpt-image-1","size":"1024x1024","quality":"low""#, 272),
            (r#""model":"gpt-image-1.5","size":"1536x1024","quality":"medium""#, 1_568),
            (r#""model":"gpt-image-1-mini","size":"1024x1024","quality":"high","n":3"#, 12_480),
            (r#""model":"gpt-image-1","size":"auto","quality":"auto""#, 6_240),
            (
                r#""model":"gpt-image-1","size":"1024x1024","quality":"low","stream":true,"partial_images":2"#,
                472,
            ),
            (r#""model":"openai/gpt-image-2","size":"1024x1024","quality":"high""#, 7_024),
            (r#""model":"gpt-image-2","size":"3584x2048","quality":"low""#, 392),
            (r#""size":"1024x1024","quality":"medium""#, 1_056),
        ] {
            assert_eq!(output(members), tokens, "{members}");
        }
    }

    #[test]
    fn models_that_are_billed_by_the_picture_have_no_tokens() {
        for model in ["dall-e-2", "dall-e-3", "flux-1.1-pro"] {
            assert_eq!(output(&format!(r#""model":"{model}","n":2,"partial_images":3"#)), 0, "{model}");
        }
    }

    #[test]
    fn nonsense_is_bounded() {
        assert_eq!(output(r#""n":18446744073709551615,"partial_images":18446744073709551615"#), u64::MAX);
        assert_eq!(output(r#""model":"gpt-image-2","size":"99999999999999999999x2","quality":"low""#), 196);
        assert_eq!(guess(u64::MAX).prompt.0.len(), 16);
        assert_eq!(guess(0).prompt.0.len(), 1);
    }

    #[test]
    fn usage_is_read_from_answers_and_from_the_last_event() {
        let json = br#"{"type":"image_generation.completed","usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,
            "input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#;
        let usage = answer(json).told.or(Usage::default());
        assert_eq!(usage, Usage { input: 50, output: 50, ..Usage::default() });
        assert_eq!(
            answer(br#"{"type":"image_generation.partial_image","b64_json":"AAAA"}"#),
            Answer::default()
        );
        assert!(answer(br#"{"usage":[]}"#).unreadable);
    }

    #[test]
    fn bodies_of_another_shape_are_malformed() {
        for body in
            ["", "{}", r#"{"prompt":7}"#, r#"{"prompt":"a","size":1024}"#, r#"{"prompt":"a","model":[]}"#]
        {
            assert_eq!(read(body.as_bytes()).err(), Some(Unread::Malformed), "{body}");
        }
        assert_eq!(read(br#"{"prompt":"a","n":1,"n":9}"#).err(), Some(Unread::Ambiguous { member: "n" }));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), size in "[0-9x]{0,30}", length in any::<u64>()) {
            let _ = (read(&bytes), answer(&bytes), guess(length));
            let tokens = output(&format!(r#""model":"gpt-image-2","size":"{size}""#));
            prop_assert!(tokens > 0);
        }
    }
}
