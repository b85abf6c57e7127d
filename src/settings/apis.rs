//! `apis`: paths whose format does not follow from their ending; `unrecognised`: what becomes of
//! other paths.
//!
//! In: a node of the configuration. Out: [`Routes`] and [`Unrecognised`]. Not here: how paths
//! are recognised (`api::routes`).

use crate::api::{FORMATS, Format, Routes};
use crate::config::{Kind, Node, Section, distinct, kind, required};

const PATH: Kind = Kind::Other("a path that begins with `/`");

pub(super) static API: Section = Section::new(
    "apis[]",
    "API formats by path prefix: for upstreams whose paths do not end as the provider's do, and for paths \
    that Tollgate must not limit.",
    &[
        required(
            "path_prefix",
            PATH,
            "The path and everything below it, such as `/my/route`, without regard to case. The first \
            matching row decides.",
        ),
        required(
            "format",
            Kind::Choice(&kind::names(&CHOICES)),
            "The API format. With `none`, calls pass untouched.",
        ),
    ],
);

/// What becomes of calls that no API format recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecognised {
    /// They pass, free of charge.
    Pass,
    /// They are refused.
    Refuse,
}

pub(super) const UNRECOGNISED: [(&str, Unrecognised); 2] =
    [("pass", Unrecognised::Pass), ("refuse", Unrecognised::Refuse)];

/// The choices: every format by its name, and `none`.
static CHOICES: [(&str, Option<&Format>); FORMATS.len() + 1] = choices();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only runs at compile time, where a panic is a build error; iterators are not const"
)]
const fn choices() -> [(&'static str, Option<&'static Format>); FORMATS.len() + 1] {
    let mut choices = [("none", None); FORMATS.len() + 1];
    let mut index = 0;
    while index < FORMATS.len() {
        choices[index] = (FORMATS[index].name, Some(FORMATS[index]));
        index += 1;
    }
    choices
}

/// Reads the operator's paths, in the order in which they are matched.
pub(super) fn apis(node: &Node<'_>) -> Option<Routes> {
    distinct::rows("path_prefix", api, |(earlier, _), (prefix, _)| covers(earlier, prefix))(node).map(Routes)
}

/// Returns whether every path below `prefix` is below an earlier prefix.
fn covers(earlier: &str, prefix: &str) -> bool {
    let rest = prefix.trim_end_matches('/').strip_prefix(earlier.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn api(node: &Node<'_>) -> Option<(String, Option<&'static Format>)> {
    let fields = node.section(&API);
    let prefix = fields.read("path_prefix", path);
    let format = fields.read("format", kind::choice(&CHOICES));
    Some((prefix?.to_ascii_lowercase(), format?))
}

fn path(node: &Node<'_>) -> Option<String> {
    let path = kind::text(node)?;
    if path.starts_with('/') { Some(path) } else { node.unexpected(PATH) }
}
