//! A call as its headers describe it: caller, API, tier.
//!
//! In: an API call, a caller, a tier. Out: the subject that limits count, labels, names for the
//! log. Not here: reading headers (`head`), the content of the body (`parsed`). A [`Call`] does not
//! change after its headers were read.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::api::{self, Format, Usage};
use crate::coding::Encoding;
use crate::identity::Caller;
use crate::limits::{Limit, Subject, Workflow};
use crate::metrics::Labels;
use crate::tiers::Tier;
use crate::units::Span;

/// The most characters of a name in a log line.
const LONGEST_LOGGED: usize = 128;

/// A call whose headers are known.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) api: api::Call,
    pub(super) caller: Caller,
    pub(super) tier: Rc<Tier>,
    /// The workflow that it belongs to, with its declared tokens.
    pub(super) workflow: Option<Workflow>,
    /// The length of its body, if the headers tell it.
    pub(super) length: Option<u64>,
    pub(super) encoding: Encoding,
    /// The request carries a signature of itself, so it must not be changed.
    pub(super) is_signed: bool,
    /// The host does not hold the request while a decision is pending, because its body is too
    /// long, or may be.
    pub(super) passes: bool,
    /// What only a response on a socket has.
    pub(super) on_socket: Option<Box<OnSocket>>,
}

/// What only a response on a socket has.
#[derive(Clone)]
pub(super) struct OnSocket {
    /// The conversation so far, which the model reads besides the request.
    pub(super) context: Usage,
    /// The tools that the conversation offers, if the request offers none.
    pub(super) tools: Rc<[String]>,
    /// The server has begun it by itself. It is charged whatever it costs.
    pub(super) has_begun: bool,
}

impl Call {
    pub(super) const fn format(&self) -> &'static Format {
        self.api.format
    }

    /// Returns whether it goes to an MCP server and not to a model.
    pub(super) fn is_rpc(&self) -> bool {
        self.format().messages.is_some()
    }

    /// Returns what a model reads besides the request: on a socket, the conversation so far.
    pub(super) fn context(&self) -> Usage {
        self.on_socket.as_ref().map(|response| response.context).unwrap_or_default()
    }

    /// Returns whether the server of a socket has begun it by itself.
    pub(super) fn has_begun(&self) -> bool {
        self.on_socket.as_ref().is_some_and(|response| response.has_begun)
    }

    /// Returns the longest wait. A request that passes is not held, so it cannot wait. A response
    /// that has begun does not wait either, but is charged as if it could.
    pub(super) fn patience(&self) -> Span {
        match (self.has_begun(), self.passes) {
            (true, _) => Span::MAX,
            (false, true) => Span::ZERO,
            (false, false) => self.tier.degradation.patience(),
        }
    }

    /// Returns the subject that limits count, without the body.
    pub(super) fn subject<'s>(&'s self, model: &'s str) -> Subject<'s> {
        Subject { caller: &self.caller, model, api: self.format().name, body: b"" }
    }

    pub(super) fn labels(&self, model: &Rc<str>, kind: &'static str) -> Labels {
        Labels { tier: Some(self.tier.name.clone()), limit: None, model: Some(model.clone()), kind }
    }

    pub(super) fn labels_of(&self, limit: &Limit, model: &Rc<str>) -> Labels {
        Labels { limit: Some(limit.name.clone()), ..self.labels(model, "") }
    }

    /// Formats a log line about a limit and this call, with `more` facts of the event. It contains
    /// no prompt, and of secrets only their hashes.
    pub(super) fn log_line(&self, event: &str, limit: &Limit, model: &str, more: Value) -> String {
        let mut line = json!({
            "event": event,
            "tier": &*self.tier.name,
            "limit": &*limit.name,
            "counts": limit.counts.name,
            "per": self.dimensions_of(limit, model),
            "max": limit.shape.max.0,
        });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        line.to_string()
    }

    /// Returns the dimensions that a limit is counted per, with this call's values.
    fn dimensions_of(&self, limit: &Limit, model: &str) -> serde_json::Map<String, Value> {
        let subject = self.subject(model);
        let value = |dimension| logged(subject.value(dimension));
        limit.per.iter().map(|dimension| (dimension.to_string(), value(dimension).into())).collect()
    }
}

/// Shortens a name for a log line.
pub(super) fn logged(name: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(name.as_ref()).chars().take(LONGEST_LOGGED).collect()
}

/// Returns the labels of a metric that only has a kind.
pub(super) fn kind(kind: &'static str) -> Labels {
    Labels { kind, ..Labels::default() }
}
