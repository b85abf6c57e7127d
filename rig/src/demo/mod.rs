//! What the demos share: how they look, and what they do about what is not as it should be.
//!
//! In: text and numbers. Out: text, and notes of what is wrong. Not here: what is shown, which is
//! up to each demo in `rig/examples`.

mod checks;
mod style;

pub use checks::Checks;
pub use style::{Style, WIDTH, number, wrapped};

/// Lets a panic end the program `name` with its words alone: the rig explains by a panic what is
/// missing, and where it did so helps nobody who only wants to see the demo.
pub fn explain_panics(name: &'static str) {
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{name}: {}", panic.payload_as_str().unwrap_or("failed for an unknown reason"));
    }));
}
