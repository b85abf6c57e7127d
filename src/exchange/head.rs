//! Reads a request's headers into a call.
//!
//! In: headers and attributes. Out: [`Limited`], `None` if Tollgate does not limit the request, or
//! a [`Refusal`]. Not here: the body (`parsed`), limits (`admission`).

use super::call::Call;
use super::effects::{Effects, HeaderEdit};
use super::fact::{Fact, Value};
use super::refusal::Refusal;
use super::upstream;
use crate::api::sockets::Metering;
use crate::api::{self, Body, Dialect};
use crate::coding::Encoding;
use crate::identity::{Caller, Head};
use crate::limits::{UPSTREAM_DIMENSION, Workflow};
use crate::metrics::{self, Labels};
use crate::reply;
use crate::settings::{Config, Unrecognised, Workflows};
use crate::tiers::Tier;
use crate::units::Amount;

/// A request that Tollgate limits.
pub(super) enum Limited {
    Call(Call),
    /// A request for a WebSocket, with the call that each response in it is.
    Socket(Call, &'static Metering),
}

/// Reads the headers of a request.
pub(super) fn read(
    config: &Config,
    head: &dyn Head,
    ended: bool,
    effects: &mut Effects,
) -> Result<Option<Limited>, Refusal<'static>> {
    let method = head.header(":method").unwrap_or_default();
    let path = head.header(":path").unwrap_or_default();
    let is_limited = |dialect| dialect != Dialect::Mcp || config.tiers.limit_tools();
    if let Some(protocol) = head.header("upgrade") {
        let Some(upgrade) = config.routes.recognise_upgrade(&path) else {
            return unrecognised(config, &method, &path);
        };
        if !is_limited(upgrade.dialect) {
            return Ok(None);
        }
        let is_socket = *method == *b"GET" && protocol.eq_ignore_ascii_case(b"websocket");
        let Some(metering) = upgrade.metering.filter(|_| is_socket) else {
            return Err(Refusal::Upgrade { upgrade, protocol: protocol.into_owned() });
        };
        // Compressed frames could not be read.
        effects.headers.push(HeaderEdit::Remove("sec-websocket-extensions".into()));
        let call = call(api::Call::on_socket(metering.format, upgrade.model), config, head, ended, effects)?;
        return Ok(call.map(|call| Limited::Socket(call, metering)));
    }
    let Some(api) = config.routes.recognise(&method, &path) else {
        return unrecognised(config, &method, &path);
    };
    if !is_limited(api.format.dialect) {
        return Ok(None);
    }
    Ok(call(api, config, head, ended, effects)?.map(Limited::Call))
}

/// Reads who calls; returns none if its tier does not limit such calls.
fn call(
    api: api::Call,
    config: &Config,
    head: &dyn Head,
    ended: bool,
    effects: &mut Effects,
) -> Result<Option<Call>, Refusal<'static>> {
    let path = head.header(":path").unwrap_or_default();
    let dialect = api.format.dialect;
    let caller = config.identity.read(head);
    let mut caller = caller.map_err(|missing| Refusal::Unidentified { dialect, missing })?;
    let (tier, is_known) = config.tiers.of(&caller);
    if dialect == Dialect::Mcp && !tier.limits_tools() {
        return Ok(None);
    }
    name_upstream(config, &tier, head, &mut caller);
    effects.count(&metrics::UNKNOWN_TIER, &Labels::default(), u64::from(!is_known));
    effects.facts.push((Fact::Tier, Value::Text(tier.name.as_ref().to_owned())));
    let is_signed = is_signed(head, &path);
    if !is_signed {
        // Uncompressed answers are the cheapest to read.
        effects.headers.push(HeaderEdit::set("accept-encoding", "identity"));
    }
    let workflow = match &config.workflows {
        Some(workflows) => declared(workflows, head, &caller, is_signed, dialect, effects)?,
        None => None,
    };
    let length = content_length(head);
    let encoding = Encoding::parse(&head.header("content-encoding").unwrap_or_default());
    let passes = passes(&api, length, ended, config.counting.hold_up_to);
    Ok(Some(Call { api, caller, tier, workflow, length, encoding, is_signed, passes, on_socket: None }))
}

/// Passes a request that is not recognised as an LLM call, or refuses it if it is to be refused.
fn unrecognised(config: &Config, method: &[u8], path: &[u8]) -> Result<Option<Limited>, Refusal<'static>> {
    let refuses = config.unrecognised == Unrecognised::Refuse;
    let Some(dialect) = refuses.then(|| config.routes.unrecognised(path)).flatten() else { return Ok(None) };
    Err(Refusal::Unrecognised { dialect, method: method.to_vec(), path: api::without_query(path).to_vec() })
}

/// Returns whether the request goes on without waiting for a decision, because its body is too long
/// to be held, or may be.
fn passes(api: &api::Call, length: Option<u64>, ended: bool, hold_up_to: u64) -> bool {
    match api.format.body {
        Body::Free => !ended && length.is_none_or(|length| length > hold_up_to),
        Body::Passed => length.is_none_or(|length| length > hold_up_to),
        Body::Held => length.is_some_and(|length| length > hold_up_to),
    }
}

/// Adds the upstream to the caller's dimensions, if needed; other calls avoid the cost of reading
/// it.
fn name_upstream(config: &Config, tier: &Tier, head: &dyn Head, caller: &mut Caller) {
    let matters = config.upstreams.is_some() || tier.names_upstream;
    if let Some(upstream) = matters.then(|| upstream::name(head)).flatten() {
        caller.add(UPSTREAM_DIMENSION, upstream);
    }
}

/// Returns the workflow of a call, if it has one, with its declared tokens. The declaring header is
/// for Tollgate and is removed, unless a signature may cover it.
///
/// # Errors
/// A declaration that is not a number, or on a call without a workflow. Ignoring it would make
/// callers believe that their tokens are reserved.
fn declared(
    workflows: &Workflows,
    head: &dyn Head,
    caller: &Caller,
    is_signed: bool,
    dialect: Dialect,
    effects: &mut Effects,
) -> Result<Option<Workflow>, Refusal<'static>> {
    let Workflows { dimension, reserve_header, reserve_up_to } = workflows;
    let is_one = caller.value(dimension).is_some_and(|value| !value.is_empty());
    let Some(declared) = head.header(reserve_header) else {
        return Ok(is_one.then(|| Workflow { dimension: dimension.clone(), declared: Amount::ZERO }));
    };
    let Some(declared) = whole_number(declared.trim_ascii()) else {
        return Err(Refusal::BadRequest(Box::new(reply::not_a_number(dialect, reserve_header))));
    };
    if !is_one {
        return Err(Refusal::BadRequest(Box::new(reply::no_workflow(dialect, reserve_header, dimension))));
    }
    if !is_signed {
        effects.headers.push(HeaderEdit::Remove(reserve_header.clone().into()));
    }
    Ok(Some(Workflow { dimension: dimension.clone(), declared: declared.min(*reserve_up_to) }))
}

/// Parses decimal digits; a number that is too large becomes the largest one.
fn whole_number(text: &[u8]) -> Option<Amount> {
    let are_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let digits = core::str::from_utf8(text).ok().filter(|_| are_digits)?;
    Some(Amount(digits.parse().unwrap_or(u64::MAX)))
}

/// Returns whether a signature covers the request, as in AWS Signature Version 4, in a header or in
/// the query.
fn is_signed(head: &dyn Head, path: &[u8]) -> bool {
    let by_header =
        head.header("authorization").is_some_and(|value| value.trim_ascii_start().starts_with(b"AWS4-"));
    by_header || memchr::memmem::find(path, b"X-Amz-Signature=").is_some()
}

fn content_length(head: &dyn Head) -> Option<u64> {
    core::str::from_utf8(head.header("content-length")?.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_whole_number() {
        assert_eq!(whole_number(b"120000"), Some(Amount(120_000)));
        assert_eq!(whole_number(b"0"), Some(Amount(0)));
        assert_eq!(whole_number(&[b'9'; 8_000]), Some(Amount::MAX));
        for text in
            [b"".as_slice(), b"-1", b"+1", b"1.5", b"1e5", b"1_000", b"1, 2", b"ten", b"\xff", b"\xd9\xa1"]
        {
            assert_eq!(whole_number(text), None, "{text:?}");
        }
    }
}
