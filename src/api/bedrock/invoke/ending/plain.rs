//! The end of streams of flat documents of one form: a last document without text and with the
//! reason.
//!
//! In: documents. Out: a document. Not here: Cohere's, which has two forms (`command`).
//!
//! Source: Amazon Bedrock's user guide, "Meta Llama models", "Amazon Titan Text models", "Mistral
//! AI text completion", "Anthropic Claude Text Completions API".

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::ending::{Cut, Document, Ending};

/// The last document of a family's streams.
pub(super) type Last = fn(&Cut<'_>) -> Value;

pub(super) const LLAMA: Last = |cut| {
    json!({
        "generation": "",
        "prompt_token_count": null,
        "generation_token_count": cut.used.all_output(),
        "stop_reason": "length",
    })
};

pub(super) const TITAN: Last = |cut| {
    json!({
        "outputText": "",
        "index": 0,
        "totalOutputTextTokenCount": cut.used.all_output(),
        "completionReason": "LENGTH",
        "inputTextTokenCount": null,
    })
};

pub(super) const MISTRAL: Last = |_| json!({ "outputs": [{ "text": "", "stop_reason": "length" }] });

/// The last document of Claude's older text completions.
pub(super) const CLAUDE: Last =
    |_| json!({ "type": "completion", "completion": "", "stop_reason": "max_tokens", "stop": null });

/// The state of a stream.
#[derive(Debug)]
pub(super) struct Plain {
    last: Last,
    ended: bool,
}

impl Plain {
    pub(super) fn ending(last: Last) -> Box<dyn Ending> {
        Box::new(Self { last, ended: false })
    }
}

impl Ending for Plain {
    fn read(&mut self, json: &[u8]) {
        let Ok(reasons) = serde_json::from_slice::<Reasons<'_>>(json) else { return };
        let outputs = reasons.outputs.into_iter().flatten().map(|output| output.stop_reason);
        let reasons = outputs.chain([reasons.stop_reason, reasons.completion_reason]);
        self.ended |= reasons.flatten().next().is_some();
    }

    fn write(&self, cut: &Cut<'_>) -> Option<Vec<Document>> {
        (!self.ended).then(|| vec![Document::new("", &(self.last)(cut))])
    }
}

/// The reasons of the last document; `null` in all others.
#[derive(Deserialize)]
struct Reasons<'a> {
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
    #[serde(borrow, rename = "completionReason")]
    completion_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<Vec<Output<'a>>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    stop_reason: Option<&'a RawValue>,
}
