//! tmp
mod error;
mod glob;
mod path;
mod protobuf;
mod scalars;
mod suggest;
mod tree;
pub use error::*;
pub use glob::*;
pub use scalars::*;
pub use tree::*;
