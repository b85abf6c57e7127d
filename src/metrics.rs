//! Metrics for operators: one row per metric, from which the reference is generated.
//!
//! In: nothing. Out: [`Metric`]s and [`Count`]s, which the exchange reports. Not here: how the host
//! stores them. Most metrics are counters, because the gauges of several workers overwrite each
//! other: a gauge may only show a value that all workers share, so that the last writer is always
//! right.

use std::fmt::Write as _;
use std::rc::Rc;

use crate::limits::{Budgets, is_known, make_known};

/// One row of [`METRICS`].
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// Whether reported numbers add up or replace each other.
    pub kind: Kind,
    /// The labels it carries.
    pub labels: &'static [Label],
    /// The counted quantity, with its unit.
    pub meaning: &'static str,
}

/// Whether reported numbers of a metric add up or replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reported numbers add up.
    Counter,
    /// The last reported number is shown.
    Gauge,
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The caller's tier.
    Tier,
    /// The limit that refused or was crossed.
    Limit,
    /// The model asked for.
    Model,
    /// A fixed word for the event; the row's meaning lists the words.
    Kind,
}

impl Label {
    /// Returns the label's name in Prometheus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tier => "tier",
            Self::Limit => "limit",
            Self::Model => "model",
            Self::Kind => "kind",
        }
    }
}

/// A row without a kind is a counter.
macro_rules! kind {
    () => {
        Kind::Counter
    };
    ($kind:ident) => {
        Kind::$kind
    };
}

macro_rules! metrics {
    ($($ident:ident $name:literal [$($label:ident)*] $($kind:ident)? $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub static $ident: Metric =
                Metric { name: $name, kind: kind!($($kind)?), labels: &[$(Label::$label),*], meaning: $meaning };
        )*
        /// Every metric, in the order of the reference.
        pub static METRICS: &[&Metric] = &[$(&$ident),*];
    };
}

metrics! {
    CALLS "tollgate_calls_total" [Tier Model Kind]
        "LLM calls by how they ended: `ok`, `error` (the upstream's status is not 2xx), `client_abort`, \
        `upstream_reset`, `stopped` (a stream ended because a budget was exhausted), `refused` (429), \
        `unidentified` (401), `bad_request` (400), `upgrade` (426: the client asked for a WebSocket or \
        another protocol), `unrecognised` (404: no API format has the path, with `unrecognised: refuse`).";
    SOCKETS "tollgate_sockets_total" [Tier Kind]
        "WebSockets by how they ended: `client_close`, `server_close` (the side that closed it first), \
        `client_abort`, `upstream_reset` (without a close frame), `over_limit` (closed by Tollgate, because \
        a budget was exhausted and the API has no message for that), `invalid` (closed by Tollgate, because \
        of what the client sent), `not_upgraded` (the upstream refused the handshake). Each response on a \
        socket counts as a call.";
    TOKENS "tollgate_tokens_total" [Tier Model Kind]
        "Tokens charged, by class: `input`, `cached_input`, `cache_write`, `cache_write_1h`, `audio_input`, \
        `cached_audio_input`, `output`, `reasoning`, `audio_output`.";
    AUDIO "tollgate_audio_milliseconds_total" [Tier Model]
        "Sound heard and spoken, in milliseconds, as far as it is known.";
    CHARACTERS "tollgate_characters_total" [Tier Model]
        "Characters of text charged in calls for speech.";
    COST "tollgate_cost_nano_usd_total" [Tier Model]
        "Money charged by `prices`, in billionths of a US dollar.";
    REFUSALS "tollgate_refusals_total" [Tier Limit Model]
        "Calls refused by a limit.";
    SHADOW_REFUSALS "tollgate_shadow_refusals_total" [Tier Limit Model]
        "Calls that a limit with `enforce: shadow` would have refused.";
    TOOL_CALLS "tollgate_tool_calls_total" [Tier Model]
        "Tool calls, whether a limit counts them or not: those that models make in their responses, and \
        those by MCP.";
    SOFTENED "tollgate_softened_total" [Tier Model Kind]
        "Calls whose request Tollgate changed: `model` (replaced by a cheaper one, which is the label), \
        `max_output_tokens` (lowered by a step of `soften`), `clamp_output` (lowered to what was left), \
        `hide_tool` (tools removed because their budgets were exhausted).";
    WAITS "tollgate_waits_total" [Tier Kind]
        "Calls that waited for their budgets or for a busy upstream: `held` (began to wait), `passed`, \
        `left` (the client disconnected), `refused` (the upstream had become busy again); and `full`: \
        calls refused because `wait.max_waiting` calls were already waiting.";
    WAITED "tollgate_waited_milliseconds_total" [Tier]
        "How long calls that passed had waited.";
    STREAMS_STOPPED "tollgate_streams_stopped_total" [Tier Limit Model]
        "Streams stopped because the budget of a limit was exhausted.";
    STREAMS_CUT "tollgate_streams_cut_total" []
        "Stopped streams that Tollgate reset after their ending, because the upstream did not end within \
        `streams.drain_for`. Most clients report a broken connection.";
    DRAINED_BYTES "tollgate_drained_bytes_total" []
        "Bytes that upstreams sent after the endings of stopped streams. Tollgate discards them and charges \
        no caller for them.";
    STREAMS_UNSTOPPABLE "tollgate_streams_unstoppable_total" [Tier Limit Model]
        "Streams that should have been stopped but went on: compressed, or of an API or model without an \
        ending for them.";
    UPSTREAM_BUSY "tollgate_upstream_busy_total" [Kind]
        "With the section `upstreams`: refusals by upstreams (`told`), calls `refused` during a pause, and \
        calls that `waited` for its end.";
    RATE_DECREASES "tollgate_rate_decreases_total" [Tier Limit]
        "How often a limit with `adaptive: true` shrank because its upstream refused a call.";
    WARNINGS "tollgate_warnings_total" [Tier Limit]
        "Calls that left a budget used beyond its `warn_at`.";
    ESTIMATE_ERROR "tollgate_estimate_error_tokens_total" [Model Kind]
        "The difference in input tokens between the count before the call and the usage reported after it: \
        `over` (the count was too high) or `under`.";
    INPUT_SCALE "tollgate_input_scale_percent" [Model] Gauge
        "A gauge, for models without a public tokenizer: the model's tokens per token of `o200k_base`, in \
        percent. It is the `scale` of `counting.models`, or the family's default, times the learned \
        correction. All workers share the correction; the gauge shows its value after the last call that \
        changed it.";
    USAGE_MISSING "tollgate_usage_missing_total" [Model Kind]
        "Successful responses without usage. Charged by the tokens of their text: `absent` and \
        `unreadable`. Charged by the reservation: `unrecognised` (no known text in the response, or in a \
        part too long to keep), `encoded` (an unknown coding, a broken or suspiciously dense one, or \
        broken frames) and `pending` (usage comes with another call).";
    UNREAD "tollgate_unread_bodies_total" [Kind]
        "Request bodies counted by a fallback: `malformed` as plain text; `encoded` (an unknown or broken \
        coding) and `oversize` by their length.";
    BODIES_OVER_BUFFER "tollgate_bodies_over_buffer_total" []
        "Calls that Envoy answered with 413 while Tollgate held them for counting, because their bodies \
        exceed Envoy's buffer: the listener's `per_connection_buffer_limit_bytes` or the route's \
        `request_body_buffer_limit` (over HTTP/2, `initial_stream_window_size`). Raise the buffer, or set \
        `counting.hold_up_to` to its size, so that longer bodies pass with an estimate. Envoy's log gives \
        the size of the first.";
    UNKNOWN_TIER "tollgate_unknown_tier_total" []
        "Calls with a tier that is not configured. The default tier limits them.";
    EDITS_SKIPPED "tollgate_edits_skipped_total" [Kind]
        "Calls whose request Tollgate should have changed but could not, because its headers had already \
        gone on, it is signed, or its body is compressed, too long, or not JSON: `usage` (a stream's usage \
        was not asked for), `soften` (a step of `soften` was not applied), `clamp_output` (the output was \
        not bounded to what was left, and the call passed by waiting).";
    GLOBAL_DECISIONS "tollgate_global_decisions_total" [Kind]
        "Calls with global limits, by what decided them: `leased` (this process's leases, or what it knows \
        of the budgets), `asked` (the rate limit service), or, without its answer, `on_failure`: `local`, \
        `allow`, `deny`. A call whose response came before the answer counts as `allow`.";
    GLOBAL_REQUESTS "tollgate_global_requests_total" [Kind]
        "Requests to the rate limit service: `ask` (a call waits for it), `lease`, `report`.";
    GLOBAL_FAILURES "tollgate_global_failures_total" [Kind]
        "Requests to the rate limit service that failed: `unavailable` (an error, or no answer in time), \
        `unreadable` (not a valid message), `undecided` (its code is UNKNOWN); and calls that did not ask \
        because the last ones failed: `not_asked`.";
    GLOBAL_BREAKER "tollgate_global_breaker_total" [Kind]
        "How often a worker stopped asking the rate limit service (`opened`) and started again (`closed`).";
    GLOBAL_REPORTS "tollgate_global_reports_total" [Kind]
        "Reports to the rate limit service that were `retried`, or `dropped` because their window had ended \
        or the queue was full. The service does not count the usage in a dropped report.";
    GLOBAL_UNKNOWN "tollgate_global_unknown_total" [Limit]
        "Calls for which the rate limit service had no such limit, so that nothing limited them. Its \
        configuration does not match this one.";
    CAS_RETRIES "tollgate_cas_retries_total" []
        "Writes to shared data retried because another worker wrote first.";
    TABLE_PLACES "tollgate_table_places" [Kind] Gauge
        "A gauge: the places for budgets in the table: `all` of them (the option `table_size`), and those \
        `taken` by budgets in use or by expired budgets that are not cleared yet. It appears once a place \
        has been taken. From three quarters on, Envoy's log warns, once.";
    EVICTIONS "tollgate_evictions_total" []
        "Budgets in use that were evicted from the table for others.";
    OVERFLOWS "tollgate_overflows_total" []
        "Charges to, and refusals by, a budget shared by callers without a place in the table. Such a \
        caller can be refused for what others spent; the log line of the refusal then has \
        `\"shared\":true`. Set `table_size` higher.";
    STORE_FAILURES "tollgate_store_failures_total" [Kind]
        "Budgets that could not be read or written: on `reserve` the call is refused, on `settle` the \
        reservation stays charged.";
}

/// One report to a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The metric.
    pub metric: &'static Metric,
    /// Values for [`Metric::labels`]; those that the metric does not have are ignored.
    pub labels: Labels,
    /// The increment of a counter, or the value of a gauge. Zero is not reported.
    pub by: u64,
}

/// Label values; an absent one is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// The caller's tier.
    pub tier: Option<Rc<str>>,
    /// A limit's name.
    pub limit: Option<Rc<str>>,
    /// A model that has a label of its own, or `other`.
    pub model: Option<Rc<str>>,
    /// A fixed word.
    pub kind: &'static str,
}

/// The models that have a label of their own in metrics. The set is bounded, so that made-up names
/// in requests cannot grow it: a model gets its label by one successful answer, which made-up names
/// do not get.
#[derive(Debug)]
pub struct ModelLabels {
    known: Vec<Rc<str>>,
    other: Rc<str>,
}

/// The kind of name under which workers share known models.
const MODEL: &str = "model";

/// The most models that have labels. Every label multiplies the series of a metric, and Envoy keeps
/// them for ever.
const MOST_MODELS: usize = 100;

impl Default for ModelLabels {
    fn default() -> Self {
        Self { known: Vec::new(), other: "other".into() }
    }
}

impl ModelLabels {
    /// Returns the label of models that have none of their own.
    #[must_use]
    pub fn other(&self) -> Rc<str> {
        self.other.clone()
    }

    /// Returns the label of a model: its name if a worker has seen it answer, or `other`.
    pub fn label(&mut self, model: &str, budgets: &Budgets<'_>) -> Rc<str> {
        self.with_room(model, || is_known(MODEL, model, budgets))
    }

    /// Gives a model that has answered a label, here and for all workers, if one is left.
    pub fn learn(&mut self, model: &str, budgets: &Budgets<'_>) -> Rc<str> {
        self.with_room(model, || {
            make_known(MODEL, model, budgets);
            true
        })
    }

    /// Returns the label of a model. A model without one gets it if there is room and `may` allows
    /// it.
    fn with_room(&mut self, model: &str, may: impl FnOnce() -> bool) -> Rc<str> {
        if let Some(known) = self.known.iter().find(|known| ***known == *model) {
            return known.clone();
        }
        let has_room = !model.is_empty() && model.len() <= LONGEST_VALUE && self.known.len() < MOST_MODELS;
        if !has_room || !may() {
            return self.other.clone();
        }
        let label: Rc<str> = model.into();
        self.known.push(label.clone());
        label
    }
}

/// The longest label value in characters; longer ones are cut.
const LONGEST_VALUE: usize = 64;

impl Count {
    /// Writes the name under which the host stores it: each label as `name=.=value;.;`, then the
    /// metric's name. `stats_tags` in Envoy's bootstrap takes it apart again.
    pub fn write_name(&self, name: &mut String) {
        name.clear();
        for label in self.metric.labels {
            let value = match label {
                Label::Tier => self.labels.tier.as_deref().unwrap_or_default(),
                Label::Limit => self.labels.limit.as_deref().unwrap_or_default(),
                Label::Model => self.labels.model.as_deref().unwrap_or_default(),
                Label::Kind => self.labels.kind,
            };
            name.push_str(label.name());
            name.push_str("=.=");
            name.extend(value.chars().take(LONGEST_VALUE).map(plain));
            name.push_str(";.;");
        }
        name.push_str(self.metric.name);
    }
}

/// Replaces letters that could end a label early, or confuse a reader of metrics, by underscores.
const fn plain(letter: char) -> char {
    match letter {
        '0'..='9' | 'A'..='Z' | 'a'..='z' | '.' | '_' | ':' | '/' | '@' | '+' | '-' => letter,
        _ => '_',
    }
}

/// Returns the reference of all metrics, in Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from("| metric | labels | counts |\n|---|---|---|\n");
    for Metric { name, labels, meaning, kind: _ } in METRICS {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{}`", label.name())).collect();
        let _ = writeln!(text, "| `{name}` | {} | {meaning} |", labels.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyHasher, Lines, MemoryLines, Table};
    use crate::units::Timestamp;

    #[test]
    fn labels_come_first_and_cannot_break_out() {
        let labels = Labels {
            tier: Some("free;.;x".into()),
            model: Some("gpt-4o\n".into()),
            kind: "ok",
            ..Labels::default()
        };
        let mut name = String::from("left over");
        Count { metric: &CALLS, labels, by: 1 }.write_name(&mut name);
        assert_eq!(name, "tier=.=free_._x;.;model=.=gpt-4o_;.;kind=.=ok;.;tollgate_calls_total");
    }

    #[test]
    fn a_value_of_any_length_gives_a_bounded_name() {
        let labels = Labels { model: Some("é".repeat(10_000).into()), ..Labels::default() };
        let mut name = String::new();
        Count { metric: &COST, labels, by: 1 }.write_name(&mut name);
        assert!(name.len() < 200);
    }

    #[test]
    fn models_earn_labels_until_there_are_none_left() {
        let lines = MemoryLines::default();
        let table = Table::new(&lines as &dyn Lines, 64);
        let keys = KeyHasher::new(&[1; 16]);
        let budgets = Budgets::new(&table, &keys, Timestamp(1));
        let (mut models, mut elsewhere) = (ModelLabels::default(), ModelLabels::default());
        assert_eq!(&*models.label("gpt-4o", &budgets), "other");
        assert_eq!(&*models.learn("gpt-4o", &budgets), "gpt-4o");
        assert_eq!(&*elsewhere.label("gpt-4o", &budgets), "gpt-4o", "other workers are not told");
        for made_up in 0..1_000 {
            models.learn(&format!("model-{made_up}"), &budgets);
        }
        assert_eq!(&*models.label("gpt-4o", &budgets), "gpt-4o");
        assert_eq!((&*models.label("model-999", &budgets), models.known.len()), ("other", MOST_MODELS));
        assert_eq!(&*models.learn("", &budgets), "other");
    }

    #[test]
    fn names_are_distinct_and_follow_prometheus() {
        for metric in METRICS {
            let is_total = metric.name.ends_with("_total");
            assert!(metric.name.starts_with("tollgate_"), "{}", metric.name);
            assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
            assert_eq!(METRICS.iter().filter(|other| other.name == metric.name).count(), 1);
        }
    }
}
