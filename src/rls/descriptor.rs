//! The descriptor entries that identify a budget at the service.
//!
//! In: a [`Limit`] and the [`Subject`] it is counted for. Out: a [`Descriptor`]. Not here: how it
//! is sent (`rls::message`), and the matching configuration of servers (`cli/src/servers/`).
//!
//! The first entry is [`LIMIT_KEY`] with [`limit_value`]. One entry follows for each dimension of
//! the limit's `per`, in that order: its name, and the caller's value. Values are escaped, because
//! servers join keys and values to one key of their store: envoyproxy/ratelimit by `_` (its
//! `src/limiter/cache_key.go`), so that a caller who may write `_` could construct the key of
//! another's budget. An escaped value contains `_` only at the beginning, and only where Tollgate
//! puts it.

use core::fmt::Write as _;
use std::rc::Rc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};

use crate::limits::{Limit, Subject};

/// The key of the first entry, which identifies the limit.
pub const LIMIT_KEY: &str = "tollgate_limit";

/// The value of a dimension that the caller lacks.
const NO_VALUE: &str = "_";

/// The longest escaped value in bytes that is sent as it is. Longer ones are hashed, so that no
/// caller fills the service's store.
const LONGEST_VALUE: usize = 128;

/// The bytes to escape: all but letters, digits and these, which are common in names and have no
/// meaning for any server.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'/')
    .remove(b'+')
    .remove(b'|');

/// Returns the value of [`LIMIT_KEY`]: the tier and the limit's name, each escaped. The last `/`
/// separates them, because no name contains one.
#[must_use]
pub fn limit_value(tier: &str, name: &str) -> String {
    let mut value = escaped(tier.as_bytes());
    value.push('/');
    value.push_str(&escaped(name.as_bytes()));
    value
}

/// One budget as the service identifies it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Descriptor(Rc<Entries>);

#[derive(PartialEq, Eq, Hash, Debug)]
struct Entries {
    limit: String,
    dimensions: Vec<(Rc<str>, String)>,
}

impl Descriptor {
    /// Returns the descriptor of the limit's budget for a call.
    #[must_use]
    pub fn of(limit: &Limit, subject: &Subject<'_>) -> Self {
        let dimensions = limit.per.iter();
        Self(Rc::new(Entries {
            limit: limit_value(&limit.tier, &limit.name),
            dimensions: dimensions
                .map(|dimension| (dimension.clone(), escaped(subject.value(dimension))))
                .collect(),
        }))
    }

    /// Returns its entries, keys and values, in the order in which servers match them.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let dimensions = self.0.dimensions.iter();
        let dimensions = dimensions.map(|(dimension, value)| (&**dimension, value.as_str()));
        core::iter::once((LIMIT_KEY, self.0.limit.as_str())).chain(dimensions)
    }
}

/// Returns a value without characters that have a meaning for servers: never empty, and at most
/// [`LONGEST_VALUE`] bytes.
fn escaped(value: &[u8]) -> String {
    if value.is_empty() {
        return NO_VALUE.to_owned();
    }
    // Escaping never shortens a value, so a longer one need not be escaped to be measured.
    if value.len() > LONGEST_VALUE {
        return hashed(value);
    }
    let text = percent_encode(value, ESCAPED).to_string();
    if text.len() > LONGEST_VALUE { hashed(value) } else { text }
}

/// Returns `_` and the first 32 hex digits of the value's SHA-256.
fn hashed(value: &[u8]) -> String {
    let mut text = NO_VALUE.to_owned();
    for byte in Sha256::digest(value).iter().take(16) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
#[path = "descriptor_tests.rs"]
mod tests;
