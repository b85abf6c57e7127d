//! Tokens of text, sound and images, which voice APIs bill apart.
//!
//! Not here: how they are counted.

use core::ops::{Add, AddAssign};

/// Tokens by modality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) text: usize,
    pub(super) audio: usize,
    pub(super) image: usize,
}

impl Tokens {
    pub(super) const fn total(self) -> usize {
        self.text + self.audio + self.image
    }
}

impl Add for Tokens {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            audio: self.audio + other.audio,
            image: self.image + other.image,
        }
    }
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}
