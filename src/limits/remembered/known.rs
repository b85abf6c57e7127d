//! Names that one worker tells all others, such as models that have answered.
//!
//! In: a kind and a name. Out: whether a worker has lately told it. Not here: what is told of a
//! name.

use crate::limits::budgets::Budgets;
use crate::limits::remembered::record::{self, Happened};
use crate::store::Key;
use crate::units::Span;

/// How long workers remember what one of them has told.
const KNOWN_FOR: Span = Span::from_secs(24 * 3600);

/// Whether a worker has lately told the others that there is a `kind` called `name`.
#[must_use]
pub fn is_known(kind: &str, name: &str, budgets: &Budgets<'_>) -> bool {
    record::look::<Known>(budgets, &key(kind, name, budgets)).is_some()
}

/// Tells all workers that there is a `kind` called `name`; forgotten after a day.
pub fn make_known(kind: &str, name: &str, budgets: &Budgets<'_>) {
    let known = |_| ((), Some(Known { until: budgets.now + KNOWN_FOR }));
    // What is not told now is told by the next call.
    let _ = record::change(budgets, &key(kind, name, budgets), known);
}

fn key(kind: &str, name: &str, budgets: &Budgets<'_>) -> Key {
    budgets.keys.key("known", [(kind, name.as_bytes())])
}

/// A worker has told the others of a name.
type Known = Happened<0x6b6e_6f77_6e21_2121, { u8::MAX }>;
