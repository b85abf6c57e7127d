//! Code that both demos share: layout, and failed checks.
//!
//! In: text and numbers. Out: formatted text, and failed checks. Not here: the contents, which are
//! in `rig/examples`.

mod checks;
mod style;

pub use checks::Checks;
pub use style::{Style, WIDTH, number, wrapped};

/// Prints a panic as its message alone. The rig panics when something is missing on the machine,
/// and the source location does not help users of a demo.
pub fn explain_panics(name: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{name}: {}", panic.payload_as_str().unwrap_or("failed for an unknown reason"));
    }));
}
