//! Turns what operators wrote into parsed parts, or into errors that say where, what was found and
//! what was expected, all of them at once.
//!
//! In: the bytes of the plugin configuration, in either carrier. Out: whatever the reader of the
//! root makes of them, or [`ConfigErrors`]. On the way:
//!
//! ```text
//! bytes --tree, protobuf--> Value --reader, kind, scalars, glob--> parsed parts | errors
//!                                     ^
//!                     schema (tables of options) --reference--> Markdown
//! ```
//!
//! Each part of Tollgate owns its sections, its defaults and its types, and reads them with this;
//! `reader` shows how. Not here: any option of Tollgate's, nor what a tier or a limit is.

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
