//! The system's allocator, which counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    ops::Sub,
    sync::atomic::{AtomicIsize, Ordering::Relaxed},
};

/// Counts what is allocated and not freed.
pub struct Counting;

/// What is allocated now.
#[derive(Clone, Copy)]
pub struct Live {
    pub bytes: isize,
    pub allocations: isize,
}

static BYTES: AtomicIsize = AtomicIsize::new(0);
static ALLOCATIONS: AtomicIsize = AtomicIsize::new(0);

impl Live {
    pub fn now() -> Self {
        Self {
            bytes: BYTES.load(Relaxed),
            allocations: ALLOCATIONS.load(Relaxed),
        }
    }
}

impl Sub for Live {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            allocations: self.allocations - before.allocations,
        }
    }
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            add(layout.size() as isize, 1);
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            add(layout.size() as isize, 1);
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) };
        add(-(layout.size() as isize), -1);
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let moved = unsafe { System.realloc(pointer, layout, size) };
        if !moved.is_null() {
            add(size as isize - layout.size() as isize, 0);
        }
        moved
    }
}

fn add(bytes: isize, allocations: isize) {
    BYTES.fetch_add(bytes, Relaxed);
    ALLOCATIONS.fetch_add(allocations, Relaxed);
}
