//! The rule for every target, beside its own rules: memory in proportion to the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a count of live bytes.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs a target. Panics if it held more memory at once than `per_byte` bytes for each byte of the input plus `at_most`
/// bytes. What is made once in a process, such as a compiled pattern, does not count.
///
/// # Panics
/// If the target held more, or panics itself.
pub fn bounded(data: &[u8], target: fn(&[u8]), per_byte: usize, at_most: usize) {
    let most = per_byte * data.len() + at_most;
    if held(data, target) > most {
        let again = held(data, target);
        assert!(again <= most, "{again} bytes held for {} of input", data.len());
    }
}

fn held(data: &[u8], target: fn(&[u8])) -> usize {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    target(data);
    PEAK.load(Ordering::Relaxed) - before
}
