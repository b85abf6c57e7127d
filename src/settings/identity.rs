//! `identity` and `on_missing`: the dimensions and their sources.
//!
//! In: nodes of the configuration. Out: [`Dimension`]s. Not here: reading them from requests
//! (`identity`).

use std::rc::Rc;

use crate::config::{Fields, Kind, Node, Section, http, kind, optional, with_default};
use crate::identity::{Dimension, Missing, Source};
use crate::limits::BUILT_IN_DIMENSIONS;

pub(super) const MISSING: [(&str, Missing); 2] = [("share", Missing::Share), ("refuse", Missing::Refuse)];

pub(super) static DIMENSION: Section = Section::new(
    "identity.<name>",
    "Where to read one dimension: exactly one of `header`, `metadata`, `property`, `source_ip` or `any`, or \
    only a `default`. A header is only as trustworthy as the party that sets it: have Envoy remove it from \
    clients' requests and set it from a verified key or token.",
    &[
        optional(
            "header",
            http::HEADER,
            "not read from a header",
            "A request header, or a pseudo-header: `:authority` (also written `host`), `:path`, `:method` \
            or `:scheme`.",
        ),
        optional(
            "scheme",
            http::WORD,
            "the whole value",
            "With `header`: the word before the value, such as `Bearer`. A value without it does not count.",
        ),
        optional(
            "metadata",
            Kind::List(&Kind::Name),
            "not read from metadata",
            "Dynamic metadata of another filter: its namespace, then the keys inside it, such as \
            `[envoy.filters.http.jwt_authn, jwt_payload, sub]`.",
        ),
        optional(
            "property",
            Kind::List(&Kind::Name),
            "not read from an attribute",
            "An Envoy attribute, as the parts of its path, such as `[request, host]`.",
        ),
        with_default(
            "source_ip",
            Kind::Flag,
            "false",
            "The client's address as Envoy knows it, without the port.",
        ),
        optional(
            "any",
            Kind::List(&Kind::Section(&DIMENSION)),
            "one source only",
            "Several sources. The first that has a value decides.",
        ),
        with_default(
            "secret",
            Kind::Flag,
            "false",
            "Keep only a keyed hash of the value. Tollgate never stores, logs or exports the value itself.",
        ),
        optional("default", Kind::Name, "none", "The value of calls without a value from any source."),
    ],
);

/// Reads one dimension; its name and `on_missing` follow later.
pub(super) fn dimension(node: &Node<'_>) -> Option<Dimension> {
    let fields = node.section(&DIMENSION);
    let sources = sources(&fields);
    let secret = fields.read("secret", kind::flag);
    let default = fields.read("default", kind::name).map(Rc::from);
    Some(Dimension { name: "".into(), sources: sources?, secret: secret?, default, missing: Missing::Share })
}

fn sources(fields: &Fields<'_>) -> Option<Vec<Source>> {
    const WAYS: [&str; 5] = ["header", "metadata", "property", "source_ip", "any"];
    let header = fields.read("header", http::request_header);
    let scheme = fields.read("scheme", http::word);
    let metadata = fields.read("metadata", path);
    let property = fields.read("property", path);
    let source_ip = fields.read("source_ip", kind::flag)?;
    let any = fields.read("any", kind::list(alternative));
    if scheme.is_some() && !fields.has("header") {
        return fields.rule("scheme", "needs a `header`");
    }
    if fields.has("default") && !WAYS.iter().any(|way| fields.has(way)) {
        return Some(Vec::new());
    }
    Some(match fields.exactly_one(&WAYS)? {
        "header" => vec![Source::Header { name: header?, scheme }],
        "metadata" => vec![Source::Metadata(metadata?)],
        "property" => vec![Source::Property(property?)],
        "any" => any?.into_iter().flatten().collect(),
        _ if source_ip => vec![Source::SourceIp],
        _ => return fields.rule("source_ip", "must be `true` or left out"),
    })
}

/// Reads one of several sources. Options of the whole dimension belong beside `any`, not inside.
fn alternative(node: &Node<'_>) -> Option<Vec<Source>> {
    let fields = node.section(&DIMENSION);
    for outer in ["secret", "default", "any"] {
        if fields.has(outer) {
            return fields.rule(outer, "belongs beside the outer `any`");
        }
    }
    sources(&fields)
}

fn path(node: &Node<'_>) -> Option<Vec<String>> {
    let parts = kind::list(kind::name)(node)?;
    if parts.is_empty() { node.unexpected("a list of at least one text") } else { Some(parts) }
}

/// Returns the names of all declared dimensions, including those with errors.
pub(super) fn declared(fields: &Fields<'_>) -> Vec<Rc<str>> {
    let identity = fields.given("identity");
    let names = identity.as_ref().and_then(Node::entries).into_iter().flatten();
    let own = names.filter(|(name, _)| !BUILT_IN_DIMENSIONS.contains(&name.as_str()));
    own.map(|(name, _)| name.as_str().into()).collect()
}

/// Gives dimensions their names and their `on_missing`.
pub(super) fn with_missing(
    fields: &Fields<'_>,
    declared: &[Rc<str>],
    dimensions: Vec<(String, Dimension)>,
    missing: &[(String, Missing)],
) -> Vec<Dimension> {
    for (name, _) in missing {
        if !declared.iter().any(|dimension| **dimension == **name) {
            fields.rule::<()>("on_missing", format!("names `{name}`, which `identity` does not have"));
        }
    }
    for (name, _) in &dimensions {
        if BUILT_IN_DIMENSIONS.contains(&name.as_str()) {
            fields.rule::<()>("identity", format!("declares `{name}`, which is built in"));
        }
    }
    for (name, _) in missing.iter().filter(|(_, missing)| *missing == Missing::Refuse) {
        if dimensions.iter().any(|(of, dimension)| of == name && dimension.default.is_some()) {
            fields.rule::<()>(
                "on_missing",
                format!("refuses calls without `{name}`, but no call is without it: `identity.{name}` has a `default`"),
            );
        }
    }
    let named = |(name, dimension): (String, Dimension)| {
        let missing =
            missing.iter().find(|(of, _)| *of == name).map_or(Missing::Share, |(_, missing)| *missing);
        Dimension { name: name.into(), missing, ..dimension }
    };
    dimensions.into_iter().map(named).collect()
}
