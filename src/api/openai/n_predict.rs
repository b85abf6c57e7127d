//! The bound on the output of each choice, by OpenAI's names and by llama.cpp's.
//!
//! In: a request, and OpenAI's names for the bound. Out: the bound, or the edits that lower it. Not
//! here: which of OpenAI's names a format has.
//!
//! Source: llama.cpp, `tools/server/server-task.cpp`: on all of its paths, including those of
//! OpenAI's API, `n_predict` takes precedence over `max_completion_tokens`, and that over
//! `max_tokens`; a negative number means no bound. Other servers ignore it, so a call with both may
//! write as much as the higher one allows.

use crate::api::Edit;
use crate::api::bound::Bound;
use crate::api::outline::Members;

/// llama.cpp's name.
pub(super) const N_PREDICT: &str = "n_predict";

/// Returns the bound; of OpenAI's `names`, the first present one counts.
pub(super) fn bound(members: &Members<'_>, names: &[&str]) -> Option<u64> {
    let theirs = names.iter().find_map(|name| members.whole(name));
    if members.raw(N_PREDICT).is_none() {
        return theirs;
    }
    Some(members.whole(N_PREDICT)?.max(theirs.unwrap_or_default()))
}

/// Returns the edits that lower the bound to `each` wherever it is set, or else set it by the name
/// `absent`. `object` was searched for all of these names.
pub(super) fn lowered(
    object: &Members<'_>,
    names: &'static [&'static str],
    absent: &str,
    each: u64,
) -> Vec<Edit> {
    let theirs = Bound::named(names);
    if object.raw(N_PREDICT).is_none() {
        return theirs.lowered(object, absent, each);
    }
    let mut edits = Bound::named(&[N_PREDICT]).lowered(object, N_PREDICT, each);
    edits.extend(theirs.lowered_if_set(object, each).unwrap_or_default());
    edits
}
