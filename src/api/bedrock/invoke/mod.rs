//! InvokeModel: `POST …/model/{model}/invoke` and `…/invoke-with-response-stream`. Bodies have the
//! form of the model's own API.
//!
//! In: request bodies, JSON documents of answers, and their heads. Out: the shared types of `api`.
//! Not here: models that generate images or videos.
//!
//! Source: Amazon Bedrock API reference, "InvokeModel" and "InvokeModelWithResponseStream"; its
//! user guide, "Inference request parameters and response fields for foundation models". No
//! reference documents the headers with the number of tokens, but every answer has them.

mod answer;
mod ending;
mod offered;
mod request;
mod output_bound;

use super::model_in_path;
use crate::api::{Dialect, Format, ReportedUsage, model, post};
use crate::identity::Head;

/// The row of [`FORMATS`](crate::api::FORMATS).
pub(in crate::api) static FORMAT: Format = Format {
    name: "bedrock_invoke",
    dialect: Dialect::Bedrock,
    endpoints: &[post("/model/{model}/invoke"), post("/model/{model}/invoke-with-response-stream")],
    model_in_path,
    read: request::read,
    answer_members: &answer::MEMBERS,
    answer: answer::read,
    told_by_head,
    with_model: model::with_model,
    with_max_output: output_bound::with_max_output,
    offered_tools: Some(offered::offered),
    without_tools: offered::without,
    ending: Some(ending::Invoke::ending),
    ..Format::DEFAULT
};

/// Reads the token counts in the headers. As in Converse's `usage`, the input tokens exclude those
/// read from and written to caches.
fn told_by_head(head: &dyn Head) -> ReportedUsage {
    let count = |name: &str| {
        let value = head.header(name)?;
        core::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()
    };
    let told = ReportedUsage {
        input: count("x-amzn-bedrock-input-token-count"),
        cached_input: count("x-amzn-bedrock-cache-read-input-token-count"),
        cache_write: count("x-amzn-bedrock-cache-write-input-token-count"),
        output: count("x-amzn-bedrock-output-token-count"),
        ..ReportedUsage::default()
    };
    if told.is_incredible() { ReportedUsage::default() } else { told }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    struct Headers(&'static [(&'static str, &'static str)]);

    impl Head for Headers {
        fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
            self.0.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_bytes().into())
        }
        fn property(&self, _: &[&str]) -> Option<Vec<u8>> {
            None
        }
    }

    #[test]
    fn headers_tell_four_classes_and_leave_out_what_is_not_there() {
        let told = told_by_head(&Headers(&[
            ("x-amzn-bedrock-input-token-count", " 12"),
            ("x-amzn-bedrock-output-token-count", "34"),
            ("x-amzn-bedrock-cache-read-input-token-count", "1000"),
        ]));
        let expected = ReportedUsage {
            input: Some(12),
            cached_input: Some(1000),
            output: Some(34),
            ..ReportedUsage::default()
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn nonsense_in_headers_tells_nothing() {
        for nonsense in ["-1", "many", "", "1.5", "18446744073709551615", "99999999999999999999999"] {
            let nonsense = Box::leak(Box::new([("x-amzn-bedrock-input-token-count", nonsense)]));
            assert!(told_by_head(&Headers(nonsense)).is_nothing());
        }
    }
}
