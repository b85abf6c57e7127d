//! Names that workers share, such as models that have answered.
//!
//! In: a kind and a name. Out: whether a worker has recently shared it. Not here: the meaning of a
//! name.

use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Happened};
use crate::store::Key;
use crate::units::Span;

/// The time for which a shared name is remembered.
const KNOWN_FOR: Span = Span::from_secs(24 * 3600);

/// Returns whether a worker has recently shared that there is a `kind` called `name`.
#[must_use]
pub fn is_known(kind: &str, name: &str, budgets: &Budgets<'_>) -> bool {
    record::look::<Known>(budgets, &key(kind, name, budgets)).is_some()
}

/// Shares with all workers that there is a `kind` called `name`, for a day.
pub fn make_known(kind: &str, name: &str, budgets: &Budgets<'_>) {
    let known = |_| ((), Some(Known { until: budgets.now + KNOWN_FOR }));
    // If this write fails, the next call shares it.
    let _ = record::change(budgets, &key(kind, name, budgets), known);
}

fn key(kind: &str, name: &str, budgets: &Budgets<'_>) -> Key {
    budgets.keys.key("known", [(kind, name.as_bytes())])
}

/// The record that a worker has shared a name.
type Known = Happened<0x6b6e_6f77_6e21_2121, { u8::MAX }>;
