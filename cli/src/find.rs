//! Finds Tollgate's configurations in a file: its own, or those of filters in an Envoy
//! configuration or a Kubernetes resource.
//!
//! In: the text of a file. Out: every [`Found`] configuration, with its lines. Not here: checking
//! it (`check`).
//!
//! | file | field with the configuration |
//! |---|---|
//! | Envoy, also inside Istio's EnvoyFilter | `value` of `configuration` |
//! | Istio: WasmPlugin, TrafficExtension | `pluginConfig` |
//! | Envoy Gateway: EnvoyExtensionPolicy | `config` beside `code` |
//! | anything else | the document itself |
//!
//! A wasm filter is Tollgate if its configuration has `tiers`, or if `tollgate` occurs in its name
//! or code.

use std::path::Path;
use std::rc::Rc;

use tollgate::config::{self, ConfigErrors, Value};
use tollgate::settings::Config;

use crate::carrier::Carrier;
use crate::document::{Content, Item, Style, SyntaxError, documents};

/// A configuration of Tollgate.
pub(crate) struct Found {
    /// The name of its owner, or nothing if the document itself is the configuration.
    pub(crate) title: Option<String>,
    /// The line where it begins.
    pub(crate) line: usize,
    /// Whether Envoy can hold requests, if the file says so.
    pub(crate) can_hold: Option<bool>,
    /// The values that the filter receives, or the errors of JSON that cannot be read.
    tree: Result<Value, ConfigErrors>,
    /// The same values with their lines.
    item: Rc<Item>,
}

/// An error and its line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocatedError {
    /// Nothing for an error that summarizes several others.
    line: Option<usize>,
    pub(crate) text: String,
}

impl LocatedError {
    /// Formats the place as `file:line:`, which editors recognise.
    pub(crate) fn place(&self, file: &Path) -> String {
        match self.line {
            Some(line) => format!("{}:{line}:", file.display()),
            None => format!("{}:", file.display()),
        }
    }
}

/// The reason why a file contains no configuration.
#[derive(Debug)]
pub(crate) enum NotFound {
    /// The file cannot be read.
    Syntax(SyntaxError),
    /// The file may have wasm filters, but none of them is Tollgate.
    Nothing,
}

/// Finds the configurations in a file, in order.
pub(crate) fn find(path: &Path, text: &str) -> Result<Vec<Found>, NotFound> {
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    if is_json {
        serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| NotFound::Syntax(SyntaxError::not_json(&error)))?;
    }
    let documents = documents(text).map_err(NotFound::Syntax)?;
    let mut found = Vec::new();
    let mut are_foreign = documents.is_empty();
    for document in &documents {
        let is_resource = document.at("apiVersion").is_some() && document.at("kind").is_some();
        let carrier = match (is_json, is_resource) {
            (true, _) => Carrier::Json,
            (false, true) => Carrier::Kubernetes,
            (false, false) => Carrier::Envoy,
        };
        Search { carrier, found: &mut found }.search(document, &Trail::default());
        are_foreign |= is_resource || is_envoys(document);
    }
    if found.is_empty() && !are_foreign {
        let carrier = if is_json { Carrier::Json } else { Carrier::Envoy };
        found.extend(documents.iter().map(|document| Found::itself(document, carrier)));
    }
    if found.is_empty() { Err(NotFound::Nothing) } else { Ok(found) }
}

/// Returns whether a document looks like a part of Envoy's configuration.
fn is_envoys(document: &Item) -> bool {
    const PARTS: [&str; 9] = [
        "@type",
        "admin",
        "dynamic_resources",
        "dynamicResources",
        "layered_runtime",
        "node",
        "resources",
        "static_resources",
        "staticResources",
    ];
    document.entries().iter().any(|entry| PARTS.contains(&entry.key.as_str()))
}

impl Found {
    fn itself(document: &Rc<Item>, carrier: Carrier) -> Self {
        Self {
            title: None,
            line: document.line,
            can_hold: None,
            tree: Ok(carrier.value(document)),
            item: document.clone(),
        }
    }

    /// Parses the configuration, or returns all its errors in the order of their lines.
    pub(crate) fn read(&self) -> Result<Config, Vec<LocatedError>> {
        let tree = self.tree.as_ref().map_err(|errors| self.located(errors))?;
        // Envoy takes the last of repeated keys. Report the repetition together with all other
        // errors.
        let repeated = tree.clone().without_repetitions().err();
        let mut errors: Vec<_> = repeated.iter().flat_map(|errors| self.located(errors)).collect();
        match Config::of(tree, b"") {
            Ok(config) if errors.is_empty() => Ok(config),
            read => {
                errors.extend(read.err().iter().flat_map(|errors| self.located(errors)));
                errors.sort_by_key(|error| error.line.unwrap_or(usize::MAX));
                Err(errors)
            }
        }
    }

    fn located(&self, errors: &ConfigErrors) -> Vec<LocatedError> {
        let located = |line, text| LocatedError { line, text };
        let listed = errors.listed.iter();
        let mut all: Vec<_> =
            listed.map(|error| located(Some(self.item.line_of(&error.place)), error.to_string())).collect();
        all.extend((errors.more > 0).then(|| located(None, format!("and {} more", errors.more))));
        all
    }
}

/// The surroundings of the value that a search looks at.
#[derive(Clone, Default)]
struct Trail {
    /// Kind and name of the Kubernetes resource.
    resource: Option<String>,
    listener: Option<String>,
    filter: Option<String>,
    kind: String,
}

struct Search<'f> {
    carrier: Carrier,
    found: &'f mut Vec<Found>,
}

impl Search<'_> {
    fn search(&mut self, item: &Rc<Item>, trail: &Trail) {
        let trail = trail.at(item);
        if let Some(configuration) = configuration_in(item, &trail)
            && is_tollgates(item, configuration, &trail)
        {
            self.found.push(self.plugin(item, configuration, &trail));
            return;
        }
        item.items().iter().for_each(|inner| self.search(inner, &trail));
        item.entries().iter().for_each(|entry| self.search(&entry.value, &trail));
    }

    fn plugin(&self, plugin: &Item, configuration: &Rc<Item>, trail: &Trail) -> Found {
        let holds = plugin.at_any(["allow_on_headers_stop_iteration", "allowOnHeadersStopIteration"]);
        let can_hold = plugin
            .at("configuration")
            .map(|_| holds.is_some_and(|flag| self.carrier.value(flag) == Value::Bool(true)));
        let (tree, item) = match &configuration.content {
            Content::Scalar { text, style } => json(text, configuration.line, *style),
            _ => (Ok(self.carrier.value(configuration)), configuration.clone()),
        };
        Found { title: Some(trail.title(plugin)), line: configuration.line, can_hold, tree, item }
    }
}

/// Returns the configuration in `item`, if `item` is a wasm filter.
fn configuration_in<'i>(item: &'i Item, trail: &Trail) -> Option<&'i Rc<Item>> {
    if let Some(carried) = item.at("configuration") {
        let kind = carried.at("@type")?.text()?;
        let is_known = ["/google.protobuf.Struct", "/google.protobuf.StringValue"]
            .iter()
            .any(|known| kind.ends_with(known));
        return carried.at("value").filter(|_| is_known);
    }
    if let Some(configuration) = item.at_any(["pluginConfig", "plugin_config"]) {
        return Some(configuration);
    }
    item.at("config").filter(|_| trail.kind == "EnvoyExtensionPolicy" && item.at("code").is_some())
}

/// Returns whether a wasm filter is Tollgate.
fn is_tollgates(plugin: &Item, configuration: &Item, trail: &Trail) -> bool {
    let has_tiers = match configuration.text() {
        Some(text) => text.contains("\"tiers\""),
        None => configuration.at("tiers").is_some(),
    };
    let is_called_so = |name: &str| name.to_ascii_lowercase().contains("tollgate");
    const HOLDERS: [&str; 4] = ["configuration", "pluginConfig", "plugin_config", "config"];
    let mut others = plugin.entries().iter().filter(|entry| !HOLDERS.contains(&entry.key.as_str()));
    has_tiers
        || trail.filter.as_deref().is_some_and(is_called_so)
        || others.any(|entry| any_text(&entry.value, &is_called_so))
}

fn any_text(item: &Item, holds: &impl Fn(&str) -> bool) -> bool {
    item.text().is_some_and(holds)
        || item.items().iter().any(|item| any_text(item, holds))
        || item.entries().iter().any(|entry| any_text(&entry.value, holds))
}

/// Parses a configuration that is JSON in a string, and gives it the lines of the surrounding file.
fn json(text: &str, line: usize, style: Style) -> (Result<Value, ConfigErrors>, Rc<Item>) {
    let tree = config::parse(text.as_bytes());
    let inner = documents(text).ok().and_then(|mut documents| documents.pop());
    let inner = inner.unwrap_or_else(|| Rc::new(Item { line: 1, content: Content::Map(Vec::new()) }));
    let item = match style {
        // The lines of a block follow its `|`.
        Style::Literal => inner.with_lines(&|inner| line.saturating_add(inner)),
        Style::Plain | Style::Quoted => inner.with_lines(&|_| line),
    };
    (tree, Rc::new(item))
}

impl Trail {
    /// Returns the trail inside `item`.
    fn at(&self, item: &Item) -> Self {
        let mut trail = self.clone();
        let text = |key: &str| item.at(key).and_then(|name| name.text()).map(str::to_owned);
        if let (Some(kind), Some(metadata)) = (text("kind"), item.at("metadata")) {
            let part = |key: &str| metadata.at(key).and_then(|part| part.text());
            let names: Vec<_> = [part("namespace"), part("name")].into_iter().flatten().collect();
            trail.resource = Some(format!("{kind} {}", names.join("/")));
            trail.kind = kind;
        }
        if item.at_any(["filter_chains", "filterChains"]).is_some() {
            trail.listener = text("name");
        }
        if item.at_any(["typed_config", "typedConfig"]).is_some() {
            trail.filter = text("name");
        }
        trail
    }

    /// Names the configuration's owner.
    fn title(&self, plugin: &Item) -> String {
        let own = plugin.at("name").and_then(|name| name.text()).map(str::to_owned);
        let filter = self.filter.clone().or(own).map(|name| format!("filter `{name}`"));
        let listener = self.listener.as_ref().map(|name| format!("of listener `{name}`"));
        let place: Vec<_> = filter.into_iter().chain(listener).collect();
        match (&self.resource, place.is_empty()) {
            (Some(resource), true) => resource.clone(),
            (Some(resource), false) => format!("{resource}, {}", place.join(" ")),
            (None, true) => "an unnamed filter".to_owned(),
            (None, false) => place.join(" "),
        }
    }
}
