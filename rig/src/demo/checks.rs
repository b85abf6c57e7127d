//! Collects the differences between expected and actual values.
//!
//! In: expected and actual values. Out: a sentence for each difference. Not here: printing them.

use core::cell::RefCell;
use core::fmt::Debug;

use super::style::number;

/// The failed checks so far.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    wrong: RefCell<Vec<String>>,
}

impl Checks {
    /// Notes a failure if the values differ.
    pub fn expect<T: PartialEq + Debug + Copy>(&self, what: &str, should: T, is: T) {
        if should != is {
            self.wrong.borrow_mut().push(format!("{what}: expected {should:?}, got {is:?}"));
        }
    }

    /// Notes a failure if the number is missing or outside the range.
    pub fn expect_between(&self, what: &str, (low, high): (u64, u64), is: Option<u64>) {
        if !is.is_some_and(|is| (low..=high).contains(&is)) {
            let (low, high) = (number(low), number(high));
            let is = is.map_or_else(|| "nothing".to_owned(), number);
            self.wrong.borrow_mut().push(format!("{what}: expected {low} to {high}, got {is}"));
        }
    }

    /// Takes the failures out of `others`.
    pub fn join(&self, others: &Self) {
        let others = others.take();
        self.wrong.borrow_mut().extend(others);
    }

    /// Removes and returns the failures so far.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        self.wrong.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_is_noted() {
        let checks = Checks::default();

        checks.expect("status", 200, 200);
        checks.expect("status", 200, 429);
        checks.expect_between("the wait", (1_000, 2_000), Some(2_000));
        checks.expect_between("the wait", (1_000, 2_000), Some(2_001));
        checks.expect_between("the wait", (0, 1), None);

        let noted = [
            "status: expected 200, got 429",
            "the wait: expected 1,000 to 2,000, got 2,001",
            "the wait: expected 0 to 1, got nothing",
        ];
        let all = Checks::default();
        all.join(&checks);
        assert_eq!(all.take(), noted);
        assert!(checks.take().is_empty());
    }
}
