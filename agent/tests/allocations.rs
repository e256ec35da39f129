//! The collector's passes ask the allocator for nothing: drain, tick, judge, snapshots and events, proved by counting.
//!
//! The counter is one a thread, because the test harness allocates on its own threads meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use agent::{Collector, Events, Lag, Request, Rings, Snapshot, Watched};
use clock::Clock;
use crossbeam_channel::bounded;
use latency::{Budget, Channel, Stalls, Watch};
use probes::{Counters, Feed, Flags, Sample};
use rtrb::RingBuffer;
use tokio::sync::oneshot;
use units::limits::COLLECTOR_PERIOD;
use units::{CpuId, Nanos};

thread_local! {
    /// Calls of the allocator by this thread; constant and without a destructor, so that reading it allocates nothing.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

struct Counting;

// SAFETY: every call is handed to the system allocator with the arguments it came with; counting touches no memory of
// the caller.
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

/// Passes: 40 s of a daemon's life, so that slots of both kinds end, also the whole window of histograms.
const PASSES: u64 = 4_000;
/// Samples of a pass.
const SAMPLES: u64 = 24;
/// One sample of every so many passes is a stall, which alone misses no budget of a p99.
const STALL_EVERY: u64 = 10;
/// A snapshot is asked for this often.
const ASK_EVERY: u64 = 100;

#[test]
fn passes_allocate_nothing() {
    let (clock, time) = Clock::mock_mhz(2_000);
    let (mut ring, samples) = RingBuffer::new(1 << 10);
    let budget =
        Budget::parse("b".parse().unwrap(), "c".parse().unwrap(), "p99 <= 10us for 1s over 2s").unwrap();
    let channel = Channel::new(&latency::Layout::default(), &[budget.limit], Nanos::ZERO).unwrap();
    let (asking, requests) = bounded(1);
    let (queue, events) = bounded(1); // full after the first: the path of a dropped event is taken too
    let mut collector = Collector {
        clock,
        feeds: vec![Feed { cpu: CpuId(0), samples, counters: Arc::new(Counters::default()) }],
        channels: vec![channel],
        watched: vec![Watched { budget, channel: 0, watch: Watch::new(Nanos::ZERO) }],
        stall: Nanos::from_micros(50),
        stalls: Stalls::new(),
        rings: Rings::new(crossbeam_channel::never()),
        requests,
        events: Events { queue, bell: Arc::default() },
        watchdog: None,
        lag: Lag::default(),
    };
    let mut room = Some(Box::new(Snapshot::with_room(1, 1, 1)));
    let (mut calls, mut control) = (0, CALLS.get());
    drop(std::hint::black_box(Box::new(1u64)));
    control = CALLS.get() - control;
    assert!(control >= 2, "the counter does not count");

    for pass in 0..PASSES {
        for number in 0..SAMPLES {
            time.advance(Nanos(COLLECTOR_PERIOD.0 / SAMPLES));
            // Good for 5 s, bad for 5 s: the budget is breached and recovers, again and again.
            let usual = if pass % 1_000 < 500 { 1_000 } else { 20_000 };
            let value =
                clock.to_ticks(Nanos(if number == 0 && pass % STALL_EVERY == 0 { 60_000 } else { usual }));
            let (at, flags) = (clock.now(), Flags::NONE);
            ring.push(Sample { at, value, waited_ns: 0, channel: 0, flags }).unwrap();
        }
        let answer = (pass % ASK_EVERY == 0).then(|| ask(&asking, &mut room));
        let before = CALLS.get();
        collector.pass(clock.raw_at(clock.now()));
        calls += CALLS.get() - before;
        if let Some(mut answer) = answer {
            room = Some(answer.try_recv().expect("a pass fills what was asked for before it"));
        }
    }

    // The work was done: every sample, more stalls than are kept, changes of the budget told and dropped, snapshots.
    let last = room.unwrap();
    assert_eq!(last.channels[0].total.count(), (PASSES - ASK_EVERY + 1) * SAMPLES);
    assert!(last.values[0].is_some() && last.watches[0].breaches() == 4, "{:?}", last.watches);
    assert!(collector.stalls.dropped() > 0 && collector.stalls.seen() == PASSES / STALL_EVERY);
    assert!(events.len() == 1 && collector.lag.events_dropped > 0);
    assert_eq!(calls, 0);
}

fn ask(
    asking: &crossbeam_channel::Sender<Request>,
    room: &mut Option<Box<Snapshot>>,
) -> oneshot::Receiver<Box<Snapshot>> {
    let (reply, answer) = oneshot::channel();
    let snapshot = room.take().expect("given back by the pass before");
    asking.send(Request { snapshot, span: Nanos::from_secs(10), reply }).expect("the queue was empty");
    answer
}
