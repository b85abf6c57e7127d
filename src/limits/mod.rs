//! What limits count and how: the arithmetic of one budget.

pub mod budget;
mod token_bucket;
mod window;
