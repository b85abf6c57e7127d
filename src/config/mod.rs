//! Reads the configuration into typed values, or collects all errors: where, what was found, what
//! was expected.
//!
//! In: the bytes of the plugin configuration, in either carrier. Out: the value that the root's
//! reader returns, or [`ConfigErrors`]. The steps:
//!
//! ```text
//! bytes --tree, protobuf--> Value --reader, kind, scalars, glob--> parsed parts | errors
//!                                     ^
//!                     schema (tables of options) --reference--> Markdown
//! ```
//!
//! Each module of Tollgate owns its sections, defaults and types, and reads them with this one;
//! `reader` has an example. Not here: any option of Tollgate's, or what a tier or a limit is.

pub mod distinct;
mod error;
mod glob;
pub mod http;
pub mod kind;
mod path;
mod protobuf;
mod reader;
mod reference;
pub mod scalars;
mod schema;
mod suggest;
mod tree;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, ConfigErrors, MAX_LISTED, Problem};
pub use glob::Glob;
pub use kind::Kind;
pub use reader::{Fields, Node, read, read_tree};
pub use reference::markdown;
pub use scalars::Ratio;
pub use schema::{Absent, OptionSpec, Section, optional, required, with_default};
pub use tree::{Value, parse};
