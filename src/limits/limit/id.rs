//! The identity that a limit's budgets are stored under.
//!
//! In: the names of its tier, of itself and of its resource. Out: its text, and the hash of that,
//! computed once. Not here: whose budget (`subject`).

use core::cell::OnceCell;
use core::fmt;
use core::ops::Deref;
use std::rc::Rc;

use crate::store::{KeyHasher, NameHash};

/// The identity of a limit.
#[derive(Clone, Debug)]
pub struct LimitId {
    text: Rc<str>,
    /// All keys of a process are made by one hasher.
    hash: OnceCell<NameHash>,
}

impl LimitId {
    /// Returns its hash.
    pub(in crate::limits) fn hash(&self, keys: &KeyHasher) -> NameHash {
        *self.hash.get_or_init(|| keys.name(&self.text))
    }
}

impl<T: Into<Rc<str>>> From<T> for LimitId {
    fn from(text: T) -> Self {
        Self { text: text.into(), hash: OnceCell::new() }
    }
}

impl Deref for LimitId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for LimitId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for LimitId {}

impl fmt::Display for LimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
