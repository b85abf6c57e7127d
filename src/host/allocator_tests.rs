use core::cell::RefCell;
use std::alloc::System;
use std::collections::BTreeMap;

use super::*;

/// Memory that counts what is taken from it, and may have an end.
struct Memory {
    /// The sizes of the blocks that are taken, by their addresses.
    taken: RefCell<BTreeMap<usize, usize>>,
    most: usize,
}

impl Memory {
    fn new(most: usize) -> Self {
        Self { taken: RefCell::default(), most }
    }

    fn size(&self) -> usize {
        self.taken.borrow().values().sum()
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.size() + layout.size() > self.most {
            return null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        let block = unsafe { System.alloc(layout) };
        self.taken.borrow_mut().insert(block.addr(), layout.size());
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let size = self.taken.borrow_mut().remove(&block.addr());
        assert_eq!(size, Some(layout.size()), "it was not taken, or with another size");
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) };
    }
}

/// A block in use, filled with a letter of its own.
struct Block {
    address: *mut u8,
    layout: Layout,
    letter: u8,
}

/// A program that uses the allocator and notices when blocks overlap.
struct Program {
    allocator: SizeClasses<Memory>,
    blocks: Vec<Block>,
    dice: u64,
    in_use: BTreeMap<usize, usize>,
    /// The most blocks of each size that were in use together.
    most_in_use: BTreeMap<usize, usize>,
}

impl Program {
    fn new(most: usize) -> Self {
        let allocator = SizeClasses::new(Memory::new(most));
        let (in_use, most_in_use) = (BTreeMap::new(), BTreeMap::new());
        Self { allocator, blocks: Vec::new(), dice: 1, in_use, most_in_use }
    }

    fn random(&mut self, below: u64) -> usize {
        // Knuth's constants for a linear congruential generator.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.dice >> 33) % below).unwrap()
    }

    /// Returns a layout as a call has them: mostly small, seldom up to 20 KB, with several
    /// alignments.
    fn layout(&mut self) -> Layout {
        let most = [40, 300, 1_100, 20_000][[0, 0, 0, 1, 1, 2, 2, 3][self.random(8)]];
        let align = 1 << [0, 0, 1, 2, 3, 3, 4, 5][self.random(8)];
        Layout::from_size_align(1 + self.random(most), align).unwrap()
    }

    fn note(&mut self, layout: Layout, more: bool) {
        let Some((_, size)) = self.allocator.list(layout) else { return };
        let in_use = self.in_use.entry(size).or_default();
        *in_use = if more { *in_use + 1 } else { *in_use - 1 };
        let most = self.most_in_use.entry(size).or_default();
        *most = (*most).max(*in_use);
    }

    fn fill(&mut self, address: *mut u8, layout: Layout) {
        assert!(!address.is_null());
        assert_eq!(address.addr() % layout.align(), 0, "{layout:?}");
        let letter = u8::try_from(self.random(256)).unwrap();
        // SAFETY: the allocator has given this memory.
        unsafe { address.write_bytes(letter, layout.size()) };
        self.note(layout, true);
        self.blocks.push(Block { address, layout, letter });
    }

    fn take(&mut self) {
        let layout = self.layout();
        let zeroed = self.random(4) == 0;
        // SAFETY: the size is not zero.
        let address = unsafe {
            if zeroed { self.allocator.alloc_zeroed(layout) } else { self.allocator.alloc(layout) }
        };
        if zeroed {
            assert!(holds(address, layout.size(), 0), "not zeroed");
        }
        self.fill(address, layout);
    }

    fn pick(&mut self) -> Block {
        let place = self.random(self.blocks.len() as u64);
        let block = self.blocks.swap_remove(place);
        assert!(holds(block.address, block.layout.size(), block.letter), "another block has overwritten it");
        self.note(block.layout, false);
        block
    }

    fn give_back(&mut self) {
        let Block { address, layout, .. } = self.pick();
        // SAFETY: it is in use, with this layout.
        unsafe { self.allocator.dealloc(address, layout) };
    }

    fn resize(&mut self) {
        let Block { address, layout, letter } = self.pick();
        let size = self.layout().size();
        // SAFETY: it is in use, with this layout, and the size is not zero.
        let address = unsafe { self.allocator.realloc(address, layout, size) };
        assert!(holds(address, layout.size().min(size), letter), "the content has changed");
        self.fill(address, Layout::from_size_align(size, layout.align()).unwrap());
    }

    /// Takes, resizes and gives back blocks, about `many` in use.
    fn run(&mut self, steps: usize, many: usize) {
        for _ in 0..steps {
            let takes = self.blocks.is_empty() || self.random(2 * many as u64) >= self.blocks.len();
            match self.random(5) {
                0 if !self.blocks.is_empty() => self.resize(),
                _ if takes => self.take(),
                _ => self.give_back(),
            }
        }
    }

    /// Returns the bytes taken for small blocks.
    fn regions(&self) -> usize {
        let taken = self.allocator.source.taken.borrow();
        taken.values().filter(|size| **size == REGION).sum()
    }
}

fn holds(address: *mut u8, size: usize, letter: u8) -> bool {
    // SAFETY: the block is in use and has this size.
    unsafe { core::slice::from_raw_parts(address, size) }.iter().all(|byte| *byte == letter)
}

#[test]
fn a_million_allocations_never_overlap_and_take_no_more_than_was_in_use_of_each_size() {
    let mut program = Program::new(usize::MAX);
    let mut after = Vec::new();
    for _ in 0..10 {
        program.run(100_000, 300);
        after.push(program.regions());
    }
    let most: usize = program.most_in_use.iter().map(|(size, count)| size * count).sum();
    // The end of each region is lost where a block does not fit.
    let lost = after[9] / REGION * SIZES[SIZES.len() - 1] + REGION;
    assert!(after[9] <= most + lost, "{} bytes for at most {most} in use", after[9]);
    assert_eq!(after[4], after[9], "the memory grows: {after:?}");
    while !program.blocks.is_empty() {
        program.give_back();
    }
    assert_eq!(program.allocator.source.size(), program.regions(), "a large block was not given back");
}

#[test]
fn every_size_has_the_smallest_block_that_holds_it() {
    let allocator = SizeClasses::new(Memory::new(0));
    for size in 1..=2_000 {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let expected = SIZES.into_iter().find(|block| *block >= size);
        assert_eq!(allocator.list(layout).map(|(_, block)| block), expected, "{size}");
    }
    assert!(allocator.list(Layout::from_size_align(64, 32).unwrap()).is_none());
}

#[test]
fn a_block_is_used_again_at_once_and_grows_in_place_within_its_size() {
    let allocator = SizeClasses::new(Memory::new(usize::MAX));
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    // SAFETY: each block is used with its layout, and not after it is given back.
    unsafe {
        let first = allocator.alloc(layout(33));
        assert_eq!(allocator.realloc(first, layout(33), 48), first);
        assert_ne!(allocator.realloc(first, layout(48), 49), first);
        assert_eq!(allocator.alloc(layout(40)), first);
    }
}

#[test]
fn without_memory_there_is_no_block_and_what_was_there_stays() {
    let mut program = Program::new(REGION + 1_000);
    program.take();
    let large = Layout::from_size_align(REGION, 8).unwrap();
    // SAFETY: the size is not zero.
    assert!(unsafe { program.allocator.alloc(large) }.is_null());
    let Block { address, layout, letter } = program.pick();
    // SAFETY: the block is in use, with this layout.
    assert!(unsafe { program.allocator.realloc(address, layout, REGION) }.is_null());
    assert!(holds(address, layout.size(), letter));
    let small = Layout::from_size_align(1_024, 8).unwrap();
    // SAFETY: the size is not zero.
    let blocks = (0..100).take_while(|_| !unsafe { program.allocator.alloc(small) }.is_null());
    assert!((30..=32).contains(&blocks.count()));
}
