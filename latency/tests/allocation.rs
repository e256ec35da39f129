//! Proves that a channel's recording path asks the allocator for nothing, by counting.
//!
//! The counter is one a thread, because the test harness allocates on its own threads meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use latency::{Budget, Channel, ChannelSnapshot, StallSighting, Stalls, Watch};
use units::{CpuId, Nanos};

thread_local! {
    /// Calls of the allocator by this thread; constant and without a destructor, so that reading it allocates
    /// nothing.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

struct Counting;

// SAFETY: every call is handed to the system allocator with the arguments it came with; counting touches no
// memory of the caller.
#[expect(unsafe_code, reason = "an allocator is an unsafe trait; test only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps GlobalAlloc's contract, and `System` asks for the same one.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: `block` came from `System` with this layout, because `alloc` above hands out nothing else.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`; `size` is the caller's promise, handed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn recording_ticking_judging_and_copying_allocate_nothing() {
    let budget =
        Budget::parse("noise".parse().unwrap(), "timer-wakeup".parse().unwrap(), "p99 <= 1us for 5s")
            .unwrap();
    let mut channel = Channel::new(&latency::Layout::default(), &[budget.limit], Nanos(0)).unwrap();
    let mut watch = Watch::new(Nanos(0));
    let (mut stalls, mut stalls_copy) = (Stalls::new(), Stalls::new());
    let mut snapshot = ChannelSnapshot::new();
    let mut changes = 0;

    let control = CALLS.get();
    drop(std::hint::black_box(Box::new(1u64)));
    assert!(CALLS.get() >= control + 2, "the counter does not count");

    let before = CALLS.get();
    let mut now = Nanos(0);
    for n in 0..200_000u64 {
        now += Nanos::from_micros(100); // twenty seconds in all: slots of both kinds rotate
        let value = Nanos(n * n * 7_919 % 4_000 + if n % 50_000 == 0 { 100_000_000_000 } else { 0 });
        channel.record(value);
        if n % 500 == 0 {
            let duration = Nanos(1 + n % 1_000);
            let (at, cpu) = (now, CpuId(2));
            stalls.record(&StallSighting { at, cpu, channel: 0, duration, waited_on_runqueue: None });
        }
        if channel.tick(now) {
            let seen = channel.observe(budget.limit, budget.window).unwrap();
            changes += u64::from(watch.step(&budget, &seen, now).is_some());
        }
        if n % 10_000 == 0 {
            channel.copy_into(Nanos::from_secs(10), now, &mut snapshot);
            stalls_copy.copy_from(&stalls);
        }
    }
    let calls = CALLS.get() - before;

    // The work was done: samples, overflow, a breach and more stalls than are kept.
    assert_eq!((snapshot.total.count(), snapshot.total.overflow(), changes), (190_001, 4, 2));
    assert!(stalls.dropped() > 0 && stalls_copy.seen() > 0);
    assert_eq!(calls, 0);
}
