//! An allocator that counts, for each thread by itself.

#![expect(unsafe_code, reason = "an allocator is unsafe by its signature")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static OCTETS: Cell<i64> = const { Cell::new(0) };
}

/// Notes that memory was asked for, and how much more of it is in use. A thread that ends counts
/// no more.
fn note(calls: u64, octets: i64) {
    let _ = CALLS.try_with(|count| count.set(count.get() + calls));
    let _ = OCTETS.try_with(|count| count.set(count.get() + octets));
}

fn size(octets: usize) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, size(layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, -size(layout.size()));
        // SAFETY: the caller keeps the contract of `dealloc`, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        note(1, size(new_size) - size(layout.size()));
        // SAFETY: the caller keeps the contract of `realloc`, and the block is the system's.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// How often this thread asks for memory while it does something.
pub fn allocations(what: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    what();
    CALLS.get() - before
}

/// How many octets more are in use after something than before.
pub fn octets<T>(what: impl FnOnce() -> T) -> (T, i64) {
    let before = OCTETS.get();
    let made = what();
    (made, OCTETS.get() - before)
}
