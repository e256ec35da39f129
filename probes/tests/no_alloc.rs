//! After the start nothing on a probe's path allocates: proved by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clock::Clock;
use host::threads::{allowed_cpus, monotonic_now, sleep_until};
use probes::{Probe, Spec, bursts, spin_gap, timer_wakeup};
use units::Nanos;

static WATCHING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[expect(unsafe_code, reason = "an allocator's interface is unsafe")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: `pointer` came from `alloc` or `realloc` above with this `layout`, as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as in `dealloc`, and the caller's promise about `size` is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Nothing here waits for anything, so the order of the two words does not matter.
fn count() {
    if WATCHING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn probing_allocates_nothing() {
    drop(vec![0u8; 64]);
    WATCHING.store(true, Ordering::Relaxed);
    drop(std::hint::black_box(vec![0u8; 64]));
    WATCHING.store(false, Ordering::Relaxed);
    assert!(ALLOCATIONS.swap(0, Ordering::Relaxed) >= 2, "the counting allocator counts");

    let ms = Nanos::from_millis;
    let burst = bursts::Options { interval: ms(2), slot: ms(2), calls: 16 };
    let probes = vec![
        Probe::TimerWakeup(timer_wakeup::Options { interval: ms(1), slot: ms(4) }),
        // The lowest threshold there is, and the shortest stall: every path is taken, the asking about long samples
        // too.
        Probe::SpinGap(spin_gap::Options { threshold: Nanos(100), slot: ms(4) }),
        Probe::Syscall(burst),
        Probe::SchedYield(burst),
        Probe::Eventfd(burst),
        Probe::FutexWake(burst),
        Probe::MinorFault(burst),
        Probe::HugeFault(burst),
        Probe::UnixStream(burst),
        Probe::UdpLoopback(burst),
    ];
    let cpu = allowed_cpus().unwrap().first().unwrap();
    let stall = Nanos::from_micros(1);
    let spec = Spec { probes, cycle: ms(24), stall, ring_samples: 4096, ..Spec::new(cpu.into()) };
    let (running, mut feeds) = probes::start(&spec, Clock::monotonic()).unwrap();
    let feed = &mut feeds[0];
    let mut poll_until_cycle = |cycle| {
        while feed.counters.cycles.get() < cycle {
            while feed.samples.pop().is_ok() {}
            sleep_until(monotonic_now() + ms(1));
        }
    };
    poll_until_cycle(2);
    WATCHING.store(true, Ordering::Relaxed);
    poll_until_cycle(102);
    WATCHING.store(false, Ordering::Relaxed);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    assert_eq!(running.stop().unfinished, []);
    assert!(feeds[0].counters.produced.get() > 0);
    println!("{allocations} allocations in 100 cycles, {} samples", feeds[0].counters.produced.get());
    assert_eq!(allocations, 0);
}
