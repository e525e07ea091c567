//! The system's allocator, which counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    io::{self, BufRead},
    sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed},
    thread,
};

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicIsize = AtomicIsize::new(0);

/// Answers each line on standard input with the allocations so far and the bytes that are
/// allocated now.
pub(crate) fn answer() {
    thread::spawn(|| {
        let mut line = String::new();
        let mut stdin = io::stdin().lock();
        while stdin.read_line(&mut line).is_ok_and(|read| read > 0) {
            let (allocations, bytes) = (ALLOCATIONS.load(Relaxed), LIVE_BYTES.load(Relaxed));
            println!("{allocations} {bytes}");
            line.clear();
        }
    });
}

// SAFETY: everything is passed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size().cast_signed(), Relaxed);
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size.cast_signed() - layout.size().cast_signed());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// A reallocation counts too: it may have to move everything.
fn count(bytes: isize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    LIVE_BYTES.fetch_add(bytes, Relaxed);
}
