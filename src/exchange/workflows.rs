//! Which workflow a call belongs to, and what it declares for all of it.
//!
//! In: the request's headers, the caller. Out: the [`Workflow`], or a reply that says what is wrong. Not here: what is held for it
//! (`limits`).

use super::{Effects, HeaderEdit};
use crate::api::Dialect;
use crate::identity::{Caller, Head};
use crate::limits::Workflow;
use crate::reply::{self, Reply};
use crate::settings::Workflows;
use crate::units::Amount;

/// The workflow of a call, if workflows are configured and it belongs to one. The header in which it declares tokens is for us and goes no
/// further, unless a signature may cover it.
///
/// # Errors
/// The reply to a declaration that cannot be understood, or that no workflow makes: to ignore it would have callers believe that their tokens
/// are held.
pub(super) fn workflow(
    workflows: &Workflows,
    head: &dyn Head,
    caller: &Caller,
    signed: bool,
    dialect: Dialect,
    effects: &mut Effects,
) -> Result<Option<Workflow>, Reply> {
    let Workflows { dimension, reserve_header, reserve_up_to } = workflows;
    let is_one = caller.value(dimension).is_some_and(|value| !value.is_empty());
    let Some(declared) = head.header(reserve_header) else {
        return Ok(is_one.then(|| Workflow { dimension: dimension.clone(), declared: Amount::ZERO }));
    };
    let declared = whole_number(declared.trim_ascii())
        .ok_or_else(|| reply::not_a_number(dialect, reserve_header))?
        .min(*reserve_up_to);
    if !is_one {
        return Err(reply::no_workflow(dialect, reserve_header, dimension));
    }
    if !signed {
        effects.headers.push(HeaderEdit::Remove(reserve_header.clone().into()));
    }
    Ok(Some(Workflow { dimension: dimension.clone(), declared }))
}

/// Decimal digits; more than can be counted is as much as can be.
fn whole_number(text: &[u8]) -> Option<Amount> {
    let are_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let digits = core::str::from_utf8(text).ok().filter(|_| are_digits)?;
    Some(Amount(digits.parse().unwrap_or(u64::MAX)))
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
