//! The tokenizer as a wasm module.
//!
//! In: a text, written to the address that `text` returns. Out: the number of its tokens. Not here:
//! the clock, which `count.mjs` reads.

#![expect(unsafe_code, reason = "a function that is called by its name needs `no_mangle`")]

use std::cell::RefCell;

use tollgate::tokens::{Encoding, Scratch};

thread_local! {
    static STATE: RefCell<(String, Scratch)> = RefCell::default();
}

/// Makes room for a text of `len` bytes and returns its address.
#[unsafe(no_mangle)]
pub extern "C" fn text(len: usize) -> *const u8 {
    STATE.with_borrow_mut(|(text, _)| {
        *text = "\0".repeat(len);
        text.as_ptr()
    })
}

/// Counts the text, in `o200k_base` or else in `cl100k_base`.
#[unsafe(no_mangle)]
pub extern "C" fn count(is_o200k: bool) -> f64 {
    let encoding = if is_o200k { Encoding::O200k } else { Encoding::Cl100k };
    STATE.with_borrow_mut(|(text, scratch)| encoding.count(text, scratch).0 as f64)
}
