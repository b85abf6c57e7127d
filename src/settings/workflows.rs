//! `workflows`: budgets that workflows declare up front.
//!
//! In: a node of the configuration. Out: [`Workflows`]. Not here: reading the header (`exchange`),
//! the reservation (`limits`).

use std::rc::Rc;

use crate::config::{Kind, Node, Section, http, kind, required, with_default};
use crate::units::Amount;

/// How workflows declare the tokens that they may use.
#[derive(Clone, Debug)]
pub struct Workflows {
    /// The dimension whose value identifies the workflow.
    pub dimension: Rc<str>,
    /// The request header, in lower case, with the number of tokens that the workflow may use.
    pub reserve_header: String,
    /// The most tokens that are held for a workflow.
    pub reserve_up_to: Amount,
}

pub(super) static WORKFLOWS: Section = Section::new(
    "workflows",
    "Tokens declared in advance. The first call of a workflow says in a header how many tokens the whole \
    workflow may use. Tollgate reserves them at once in every limit on `tokens` with `scope: local` that \
    applies to the call; all other limits reserve for single calls. Later calls of the workflow draw from \
    the reservation before they charge the budget. What they do not use within the limit's window returns \
    to the budget.",
    &[
        required("dimension", Kind::Name, "The dimension of `identity` that identifies a workflow."),
        with_default(
            "reserve_header",
            http::HEADER,
            "x-tollgate-reserve-tokens",
            "The header. Tollgate removes it before the call goes upstream, unless a signature covers the \
            request. If it is not a whole number, or the call belongs to no workflow, Tollgate answers \
            400.",
        ),
        required(
            "reserve_up_to",
            Kind::Integer,
            "The most tokens to reserve for a workflow, whatever it declares. No limit reserves more than \
            its whole budget.",
        ),
    ],
);

pub(super) fn workflows(node: &Node<'_>, declared: &[Rc<str>]) -> Option<Workflows> {
    let fields = node.section(&WORKFLOWS);
    let dimension = fields.read("dimension", |node| {
        let name = kind::name(node)?;
        let known = declared.iter().find(|dimension| ***dimension == *name);
        known
            .cloned()
            .or_else(|| node.unexpected(format!("a dimension of `identity`: {}", declared.join(", "))))
    });
    let reserve_header = fields.read("reserve_header", http::field_name);
    let up_to = fields.read("reserve_up_to", kind::integer_in(1..=u64::MAX));
    Some(Workflows { dimension: dimension?, reserve_header: reserve_header?, reserve_up_to: Amount(up_to?) })
}
