//! Products of two 64-bit numbers, divided exactly.
//!
//! In: numbers. Out: quotients, saturated to 64 bits. Most products fit 64 bits, which wasm
//! multiplies and divides in one instruction each; 128 bits take hundreds. Not here: rounding rules
//! (each caller says whether it rounds up).

/// A product, and what was added to it or taken from it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Product {
    Narrow(u64),
    Wide(u128),
}

impl Product {
    /// Multiplies.
    pub(crate) const fn of(a: u64, b: u64) -> Self {
        // With so many leading zeros the product is less than 2^64.
        if a.leading_zeros().saturating_add(b.leading_zeros()) >= u64::BITS {
            Self::Narrow(a.wrapping_mul(b))
        } else {
            // Two 64-bit numbers fit 128 bits.
            Self::Wide((a as u128).saturating_mul(b as u128))
        }
    }

    /// Adds a number.
    pub(crate) const fn plus(self, number: u64) -> Self {
        match self {
            Self::Narrow(product) => match product.checked_add(number) {
                Some(sum) => Self::Narrow(sum),
                None => Self::Wide((product as u128).saturating_add(number as u128)),
            },
            Self::Wide(product) => Self::Wide(product.saturating_add(number as u128)),
        }
    }

    /// Adds another product.
    pub(crate) const fn and(self, other: Self) -> Self {
        match other {
            Self::Narrow(number) => self.plus(number),
            Self::Wide(number) => Self::Wide(self.wide().saturating_add(number)),
        }
    }

    /// Subtracts a number; zero, if the number is larger.
    pub(crate) const fn minus(self, number: u64) -> Self {
        match self {
            Self::Narrow(product) => Self::Narrow(product.saturating_sub(number)),
            Self::Wide(product) => Self::Wide(product.saturating_sub(number as u128)),
        }
    }

    const fn wide(self) -> u128 {
        match self {
            Self::Narrow(product) => product as u128,
            Self::Wide(product) => product,
        }
    }

    /// Returns the quotient, saturated, and the remainder. Both are zero for a zero divisor.
    // Once in the module, because a call divides in many places.
    #[inline(never)]
    pub(crate) fn div_rem(self, by: u64) -> (u64, u64) {
        match self {
            Self::Narrow(product) => {
                (product.checked_div(by).unwrap_or(0), product.checked_rem(by).unwrap_or(0))
            }
            Self::Wide(product) => wide_div_rem(product, by),
        }
    }

    /// Returns the quotient, rounded up and saturated; zero for a zero divisor.
    pub(crate) fn div_ceil(self, by: u64) -> u64 {
        let (whole, rest) = self.div_rem(by);
        whole.saturating_add(u64::from(rest > 0))
    }
}

#[cold]
fn wide_div_rem(product: u128, by: u64) -> (u64, u64) {
    let by = u128::from(by);
    let whole = product.checked_div(by).unwrap_or(0);
    // A remainder is less than its 64-bit divisor.
    let rest = product.checked_rem(by).and_then(|rest| u64::try_from(rest).ok()).unwrap_or(0);
    (u64::try_from(whole).unwrap_or(u64::MAX), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of all lengths.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn quotients_are_those_of_128_bits(a in number(), b in number(), c in number(), by in number()) {
            let saturated = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
            let product = u128::from(a) * u128::from(b);
            for (ours, wide) in [
                (Product::of(a, b), product),
                (Product::of(a, b).plus(c), product + u128::from(c)),
                (Product::of(a, b).and(Product::of(c, by)), product.saturating_add(u128::from(c) * u128::from(by))),
                (Product::of(a, b).minus(c), product.saturating_sub(u128::from(c))),
            ] {
                let divisor = u128::from(by).max(1);
                let expected = (saturated(wide / divisor), saturated(wide % divisor));
                prop_assert_eq!(ours.div_rem(by), if by == 0 { (0, 0) } else { expected });
                prop_assert_eq!(ours.div_ceil(by), if by == 0 { 0 } else { saturated(wide.div_ceil(divisor)) });
            }
        }
    }
}
