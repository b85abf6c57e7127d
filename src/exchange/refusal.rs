//! The reasons for a refusal, with the evidence, and the one place that refuses.
//!
//! In: a [`Refusal`]. Out: its metrics, log line, access log fact and reply. Not here: the decision
//! to refuse, and the form of replies (`reply`).

use std::rc::Rc;

use serde_json::{Value, json};

use super::call::{Call, kind, logged};
use super::charges::Charges;
use super::context::Context;
use super::effects::{Effects, Next};
use super::fact::{self, Fact};
use crate::api::{Dialect, Messages, Upgrade};
use crate::identity::Unidentified;
use crate::limits::{self, Reason, Wait};
use crate::metrics::{self, Labels};
use crate::reply::{self, Reply};
use crate::rls::HeaderValue;
use crate::settings::Config;
use crate::units::Span;

/// The reason why a call is refused.
pub(super) enum Refusal<'c> {
    /// It asks for another protocol on the path of an LLM API. Traffic over a socket cannot be
    /// counted, and clients that can do without it come back over HTTP.
    Upgrade { upgrade: Upgrade, protocol: Vec<u8> },
    /// No API format has its path, and such calls are refused.
    Unrecognised { dialect: Dialect, method: Vec<u8>, path: Vec<u8> },
    /// It lacks a required dimension.
    Unidentified { dialect: Dialect, missing: Unidentified },
    /// Its headers or body are ambiguous or invalid.
    BadRequest(Box<Reply>),
    /// A limit refused it.
    OverLimit(Asked<'c>, Box<OverLimit<'c>>),
    /// Its upstream has asked for a pause.
    UpstreamBusy(Asked<'c>, BusyUpstream),
}

/// The refused call, and the model that it asks for.
pub(super) struct Asked<'c> {
    pub(super) call: &'c Call,
    pub(super) model: String,
    /// The model's label in metrics.
    pub(super) label: Rc<str>,
}

/// The limit that refused a call, and what the reply needs.
pub(super) struct OverLimit<'c> {
    pub(super) refusal: limits::Refusal,
    /// Headers that the rate limit service adds to the response.
    pub(super) headers: Vec<HeaderValue>,
    /// The MCP messages to answer.
    pub(super) messages: Option<&'c Messages<'c>>,
}

/// An upstream that asked for a pause, and the rest of the pause.
pub(super) struct BusyUpstream {
    pub(super) name: Vec<u8>,
    pub(super) wait: Span,
}

impl OverLimit<'_> {
    /// Returns the refusal of an LLM call by a limit.
    pub(super) const fn by(refusal: limits::Refusal) -> Self {
        Self { refusal, headers: Vec::new(), messages: None }
    }
}

impl Refusal<'_> {
    /// Refuses the call: gives back its charges, records metrics, writes a log line and replies.
    pub(super) fn refuse(
        self,
        charges: Charges,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) {
        charges.release(config, context, effects);
        effects.headers.clear();
        let reply = match self {
            Self::Upgrade { upgrade: Upgrade { api, dialect, .. }, protocol } => {
                effects.count(&metrics::CALLS, &kind("upgrade"), 1);
                effects.facts.push((Fact::RefusedBy, fact::Value::Text("protocol upgrade".to_owned())));
                let line = json!({ "event": "upgrade_refused", "api": api, "protocol": logged(protocol) });
                effects.log.push(line.to_string());
                reply::upgrade(dialect)
            }
            Self::Unrecognised { dialect, method, path } => {
                effects.count(&metrics::CALLS, &kind("unrecognised"), 1);
                effects.facts.push((Fact::RefusedBy, fact::Value::Text("unrecognised path".to_owned())));
                let (method, path) = (logged(method), logged(path));
                let line = json!({ "event": "unrecognised_refused", "method": method, "path": path });
                effects.log.push(line.to_string());
                reply::unrecognised(dialect)
            }
            Self::Unidentified { dialect, missing } => {
                effects.count(&metrics::CALLS, &kind("unidentified"), 1);
                let line = json!({ "event": "unidentified", "missing": &*missing.dimension });
                effects.log.push(line.to_string());
                reply::unidentified(dialect, &missing)
            }
            Self::BadRequest(reply) => {
                effects.count(&metrics::CALLS, &kind("bad_request"), 1);
                *reply
            }
            Self::OverLimit(asked, over) => over.reply(&asked, config, context, effects),
            Self::UpstreamBusy(asked, busy) => {
                let labels = asked.call.labels(&asked.label, "refused");
                effects.count(&metrics::UPSTREAM_BUSY, &labels, 1);
                effects.count(&metrics::CALLS, &labels, 1);
                effects.log.push(busy.log_line("refused_for_upstream", &asked.model));
                reply::busy(asked.call.format().dialect, &asked.model, busy.wait, context.jitter)
            }
        };
        effects.next = Next::Reply(reply);
    }
}

impl OverLimit<'_> {
    fn reply(
        self,
        asked: &Asked<'_>,
        config: &Config,
        context: &Context<'_>,
        effects: &mut Effects,
    ) -> Reply {
        let Self { refusal, headers, messages } = self;
        let (call, limit) = (asked.call, &refusal.standing.limit);
        let labels = call.labels_of(limit, &asked.label);
        effects.count(&metrics::REFUSALS, &labels, 1);
        effects.count(&metrics::CALLS, &Labels { kind: "refused", ..labels }, 1);
        effects.facts.push((Fact::RefusedBy, fact::Value::Text(limit.name.to_string())));
        let is_shared = context.budgets.overflows(limit, &call.subject(&asked.model));
        effects.log.push(log_line(&refusal, asked, is_shared));
        let (model, shown, now, jitter) = (&asked.model, &config.headers, context.now(), context.jitter);
        let mut reply = match messages {
            Some(messages) => reply::tool_refused(messages, shown, &refusal, model, now, jitter),
            None => reply::refused(call.format().dialect, shown, &refusal, model, now, jitter),
        };
        let is_ours = |key: &str| reply.fields.iter().any(|(name, _)| *name == key);
        let theirs = headers.into_iter().filter(|header| !is_ours(&header.key));
        reply.added = theirs.map(|header| (header.key, header.value)).collect();
        reply
    }
}

/// Formats the line that explains a refusal to operators.
fn log_line(refusal: &limits::Refusal, asked: &Asked<'_>, is_shared: bool) -> String {
    let limits::Refusal { standing, needed, wait, reason } = refusal;
    let mut more = json!({
        "api": asked.call.format().name,
        "model": logged(&asked.model),
        "available": (*reason != Reason::Unknown).then_some(standing.available.0),
        "needed": needed.0,
        "wait_ms": match wait {
            Wait::Never => None,
            Wait::For(span) => Some(span.as_millis_ceil()),
        },
    });
    if let Some(more) = more.as_object_mut().filter(|_| is_shared) {
        more.insert("shared".to_owned(), Value::Bool(true));
    }
    asked.call.log_line("refused", &standing.limit, &asked.model, more)
}

impl BusyUpstream {
    /// Formats the line that explains it to operators.
    pub(super) fn log_line(&self, event: &str, model: &str) -> String {
        json!({
            "event": event,
            "upstream": logged(&self.name),
            "model": logged(model),
            "wait_ms": self.wait.as_millis_ceil(),
        })
        .to_string()
    }
}
