//! The filter's allocator: lists of free blocks by size, before the standard library's allocator.
//!
//! In: layouts. Out: memory. Not here: large blocks, which the standard library's allocator serves.
//!
//! A call makes some hundred small allocations, most of them short-lived and of a few sizes. Here
//! each takes the block that was last given back, which the processor still has in its cache. A
//! block never changes its size, so no block is searched, split or joined. Memory is bounded by the
//! most blocks of each size that were ever in use together.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::null_mut;

/// The unit of sizes, and the alignment of every block.
const UNIT: usize = 16;

/// The sizes of blocks: in steps of a unit at first, then in four steps for each doubling.
const SIZES: [usize; 20] =
    [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024];

/// The largest size in units.
const MOST_UNITS: usize = 64;

/// The position in [`SIZES`] of the block for each number of units.
static CLASSES: [u8; MOST_UNITS + 1] = classes();

/// The memory that is requested at once and divided into blocks.
const REGION: usize = 32 << 10;

/// The allocator, over another one that gives it regions and serves large blocks.
pub(super) struct SizeClasses<S> {
    source: S,
    /// The free blocks of each size. Each holds the address of the next one.
    free: [Cell<*mut u8>; SIZES.len()],
    /// The part of the current region that is not divided yet.
    rest: Cell<*mut u8>,
    rest_size: Cell<usize>,
}

// SAFETY: wasm32 without atomics has one thread.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl<S> Sync for SizeClasses<S> {}

impl<S: GlobalAlloc> SizeClasses<S> {
    pub(super) const fn new(source: S) -> Self {
        Self {
            source,
            free: [const { Cell::new(null_mut()) }; SIZES.len()],
            rest: Cell::new(null_mut()),
            rest_size: Cell::new(0),
        }
    }

    /// Returns the list of free blocks for a layout, and their size; `None` for a large block.
    fn list(&self, layout: Layout) -> Option<(&Cell<*mut u8>, usize)> {
        if layout.align() > UNIT {
            return None;
        }
        let class = usize::from(*CLASSES.get(layout.size().div_ceil(UNIT))?);
        Some((self.free.get(class)?, *SIZES.get(class)?))
    }

    /// Returns a block that was never used; null if there is no memory left.
    #[cold]
    fn fresh(&self, size: usize) -> *mut u8 {
        if self.rest_size.get() < size {
            // The rest of the last region is lost: less than one block of each region.
            // SAFETY: the size is not zero, and the alignment is a power of two.
            let region = unsafe { self.source.alloc(Layout::from_size_align_unchecked(REGION, UNIT)) };
            if region.is_null() {
                return region;
            }
            self.rest.set(region);
            self.rest_size.set(REGION);
        }
        let block = self.rest.get();
        // SAFETY: the rest has at least this size.
        self.rest.set(unsafe { block.add(size) });
        self.rest_size.set(self.rest_size.get().saturating_sub(size));
        block
    }
}

// SAFETY: a block has the size and the alignment of its list, both at least those of the layout. It
// is in the list only while it is free. The list of a layout depends on nothing but the layout.
unsafe impl<S: GlobalAlloc> GlobalAlloc for SizeClasses<S> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, size)) = self.list(layout) else {
            // SAFETY: the caller's promises are passed on.
            return unsafe { self.source.alloc(layout) };
        };
        let block = list.get();
        if block.is_null() {
            return self.fresh(size);
        }
        // SAFETY: a free block holds the address of the next one.
        list.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if self.list(layout).is_none() {
            // SAFETY: the caller's promises are passed on.
            return unsafe { self.source.alloc_zeroed(layout) };
        }
        // SAFETY: as above; a block that is not null has the size of the layout.
        unsafe {
            let block = self.alloc(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.list(layout) {
            Some((list, _)) => {
                // SAFETY: the caller gives up the block, which has room for an address.
                unsafe { block.cast::<*mut u8>().write(list.get()) };
                list.set(block);
            }
            // SAFETY: the source has allocated it, because the layout is the same.
            None => unsafe { self.source.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is valid for the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (self.list(layout), self.list(new)) {
            (Some((_, old)), Some((_, new))) if old == new => block,
            // SAFETY: the source has allocated it, because the layout is the same.
            (None, None) => unsafe { self.source.realloc(block, layout, size) },
            // SAFETY: both blocks are at least as large as the smaller layout, and distinct.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "only runs at compile time, where a panic is a build error; iterators are not const"
)]
const fn classes() -> [u8; MOST_UNITS + 1] {
    let mut classes = [0; MOST_UNITS + 1];
    let (mut units, mut class) = (0, 0);
    while units <= MOST_UNITS {
        if units * UNIT > SIZES[class as usize] {
            class += 1;
        }
        classes[units] = class;
        units += 1;
    }
    classes
}

#[cfg(test)]
#[path = "allocator_tests.rs"]
mod tests;
