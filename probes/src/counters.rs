//! What a probe thread counts, for anybody to read at any time.
//!
//! One writer, the probe thread; so a count is a load, an add and a store, without a locked instruction. A reader
//! sees each counter a little late and not all at one instant; after [`Running::stop`](crate::Running::stop) they are
//! exact.

use std::sync::atomic::{AtomicU64, Ordering};

use units::Ticks;

use crate::{Kind, PROBES};

/// The counters of one probe thread, on cache lines of their own: 128 bytes, because the adjacent-line prefetcher of
/// Intel CPUs moves lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Samples made. Those that reached the ring are `produced - dropped`.
    pub produced: Counter,
    /// Samples lost because the ring was full.
    pub dropped: Counter,
    /// Cycles begun.
    pub cycles: Counter,

    /// timer-wakeup: periods that have passed. Always `recorded + corrected + capped`.
    pub scheduled: Counter,
    /// timer-wakeup: periods the thread woke for.
    pub recorded: Counter,
    /// timer-wakeup: missed periods, each with a sample of its own ([`Flags::MISSED`](crate::Flags::MISSED)).
    pub corrected: Counter,
    /// timer-wakeup: missed periods of a stall so long that their samples would only fill the ring; counted, not
    /// sampled.
    pub capped: Counter,

    /// spin-gap: readings of the clock.
    pub loops: Counter,
    /// spin-gap: ticks during which gaps were looked for, the gaps included. Rates and the delay law divide by this.
    pub spun: Counter,
    /// spin-gap: ticks of one turn of the loop in the median, on the latest slot's start.
    pub loop_median: Counter,
    /// spin-gap: ticks of one turn of the loop at best, likewise.
    pub loop_min: Counter,

    /// Probes that time calls in bursts: calls that made a sample, of all of them together.
    pub calls: Counter,
    /// Likewise: ticks between two fenced readings with nothing between them, in the median, at the latest burst.
    pub floor: Counter,
    /// Likewise, each by itself: calls that the kernel refused, and bursts left out because it had not what they need.
    pub failed: ByProbe,
}

/// A count for each probe.
#[derive(Debug, Default)]
pub struct ByProbe([Counter; PROBES.len()]);

impl ByProbe {
    /// That of `probe`.
    #[must_use]
    pub fn of(&self, probe: Kind) -> &Counter {
        &self.0[probe.index()]
    }
}

/// One count; only the probe thread changes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed) // pairs with add and set; a statistic, which orders nothing
    }

    #[inline]
    pub(crate) fn add(&self, count: u64) {
        // One writer, so nothing is lost between the two. Pairs with get.
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, ticks: Ticks) {
        self.0.store(ticks.0, Ordering::Relaxed); // pairs with get
    }
}
