//! The usage of a call, in classes that do not overlap, independent of the provider's convention.
//!
//! In: nothing. Out: [`Classes`], one value for each class; [`Usage`] and [`ReportedUsage`] built
//! from it. Not here: the weight of a class (`limits::rates`), and providers' formats of usage (the
//! formats).

/// The side of a call to which a class belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Tokens that the model read.
    Input,
    /// Tokens that the model wrote.
    Output,
    /// Units other than tokens.
    Other,
}

macro_rules! classes {
    ($($(#[doc = $doc:literal])+ $field:ident: $side:ident;)*) => {
        /// One value for each class of usage.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Classes<T> {
            $($(#[doc = $doc])+ pub $field: T,)*
        }

        /// The classes' names, and the side of a call to which they belong.
        pub const CLASSES: Classes<(&str, Side)> = Classes { $($field: (stringify!($field), Side::$side),)* };

        const COUNT: usize = [$(stringify!($field)),*].len();

        impl Usage {
            /// Sums up one side. It runs several times per call, so it allocates no list.
            #[inline]
            fn side(&self, side: Side) -> u64 {
                let mut sum = 0_u64;
                $(if side == Side::$side {
                    sum = sum.saturating_add(self.$field);
                })*
                sum
            }
        }

        impl<T> Classes<Option<T>> {
            /// Returns the values, if every class has one.
            pub fn all(self) -> Option<Classes<T>> {
                Some(Classes { $($field: self.$field?,)* })
            }
        }

        impl<T> Classes<T> {
            /// Returns the same classes with other values.
            pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Classes<U> {
                Classes { $($field: change(self.$field),)* }
            }

            /// Pairs the values of both, class by class.
            pub fn zip<U>(self, other: Classes<U>) -> Classes<(T, U)> {
                Classes { $($field: (self.$field, other.$field),)* }
            }
        }

        impl<T: Copy> Classes<T> {
            /// Returns the values, in the order of the classes.
            pub const fn values(&self) -> [T; COUNT] {
                [$(self.$field,)*]
            }
        }
    };
}

classes! {
    /// Text and image input that was neither read from nor written to a cache.
    input: Input;
    /// Input read from a cache.
    cached_input: Input;
    /// Input written to a cache with the provider's default lifetime (Anthropic: 5 minutes).
    cache_write: Input;
    /// Input written to a cache for an hour.
    cache_write_1h: Input;
    /// Audio input that was not read from a cache.
    audio_input: Input;
    /// Audio input read from a cache.
    cached_audio_input: Input;
    /// Output other than reasoning and audio.
    output: Output;
    /// Reasoning output.
    reasoning: Output;
    /// Audio output.
    audio_output: Output;
    /// Characters of text for speech synthesis.
    characters: Other;
    /// Sound heard and spoken, in milliseconds.
    audio_ms: Other;
    /// Answered calls.
    requests: Other;
}

/// [`CLASSES`] in their order.
pub static CLASS_LIST: [(&str, Side); COUNT] = CLASSES.values();

/// The usage of a call.
pub type Usage = Classes<u64>;

/// The usage that an answer has reported so far; `None` for an unreported class.
pub type ReportedUsage = Classes<Option<u64>>;

/// The highest plausible number of tokens: the filter rejects a report above it.
const INCREDIBLE: u64 = 1 << 32;

impl Usage {
    /// Returns the sum of all input.
    #[must_use]
    pub fn all_input(&self) -> u64 {
        self.side(Side::Input)
    }

    /// Returns the sum of all output.
    #[must_use]
    pub fn all_output(&self) -> u64 {
        self.side(Side::Output)
    }

    /// Returns this usage as reported in full: every class is reported, including zeros.
    #[must_use]
    pub fn told(self) -> ReportedUsage {
        self.map(Some)
    }

    /// Adds up both, class by class.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other).map(|(one, other)| one.saturating_add(other))
    }
}

impl ReportedUsage {
    /// Merges a later report: the later value of a class replaces the earlier one, because reports
    /// are running totals.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        later.zip(self).map(|(later, earlier)| later.or(earlier))
    }

    /// Adds up both, class by class.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other).map(|both| match both {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        })
    }

    /// Returns whether nothing is reported.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a number is implausibly large.
    #[must_use]
    pub fn is_incredible(&self) -> bool {
        self.values().iter().flatten().any(|tokens| *tokens > INCREDIBLE)
    }

    /// Returns whether anything is reported for this side.
    #[must_use]
    pub fn tells(&self, side: Side) -> bool {
        CLASS_LIST.iter().zip(&self.values()).any(|((_, of), told)| *of == side && told.is_some())
    }

    /// Completes the usage: input and output each come as a whole from the report if it has any of
    /// their classes, or else from our count; other classes come one by one.
    #[must_use]
    pub fn or(self, counted: Usage) -> Usage {
        let (input, output) = (self.tells(Side::Input), self.tells(Side::Output));
        CLASSES.zip(self.zip(counted)).map(|((_, side), (told, counted))| match side {
            Side::Input if input => told.unwrap_or(0),
            Side::Output if output => told.unwrap_or(0),
            Side::Input | Side::Output => counted,
            Side::Other => told.unwrap_or(counted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_add_up_without_what_is_no_token() {
        let usage = Usage {
            input: 1,
            cached_input: 2,
            cache_write: 4,
            cache_write_1h: 8,
            audio_input: 16,
            cached_audio_input: 256,
            output: 32,
            reasoning: 64,
            audio_output: 128,
            characters: 1_000,
            audio_ms: 1_000,
            requests: 1,
        };
        assert_eq!((usage.all_input(), usage.all_output()), (287, 224));
    }

    #[test]
    fn the_later_word_on_a_class_counts_and_classes_told_before_stay() {
        let start = ReportedUsage {
            input: Some(25),
            cached_input: Some(3),
            output: Some(1),
            ..ReportedUsage::default()
        };
        let end = ReportedUsage { output: Some(15), ..ReportedUsage::default() };
        let told = start.then(end);
        assert_eq!((told.input, told.cached_input, told.output), (Some(25), Some(3), Some(15)));
    }

    #[test]
    fn a_side_that_is_not_told_is_taken_from_what_was_counted() {
        let counted = Usage { input: 7, output: 9, characters: 5, requests: 1, ..Usage::default() };
        let told = ReportedUsage { cached_input: Some(4), ..ReportedUsage::default() };
        let usage = told.or(counted);
        assert_eq!(
            usage,
            Usage { cached_input: 4, output: 9, characters: 5, requests: 1, ..Usage::default() }
        );
    }

    #[test]
    fn absurd_numbers_are_not_believed() {
        assert!(ReportedUsage { output: Some(u64::MAX), ..ReportedUsage::default() }.is_incredible());
        assert!(!ReportedUsage { output: Some(200_000_000), ..ReportedUsage::default() }.is_incredible());
    }
}
