//! What a probe thread has counted, as plain numbers at one instant.

use clock::Clock;
use probes::{Counters, Kind};
use units::{Nanos, Ticks};

/// The counters of one probe thread, read. Each is exact; together they are of almost the same instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Samples lost because the ring was full.
    pub dropped: u64,
    /// Wake-ups that were due.
    pub scheduled: u64,
    /// Those recorded as missed periods, or too many to be recorded one by one.
    pub corrected: u64,
    /// Time during which gaps were looked for.
    pub spun: Ticks,
    /// A turn of the spinning loop, in the median.
    pub loop_median: Ticks,
    /// Two fenced readings of the clock with nothing between them, in the median.
    pub floor: Ticks,
}

impl Counted {
    /// Reads the counters of a thread.
    #[must_use]
    pub fn read(counters: &Counters) -> Self {
        Self {
            dropped: counters.dropped.get(),
            scheduled: counters.scheduled.get(),
            corrected: counters.corrected.get() + counters.capped.get(),
            spun: Ticks(counters.spun.get()),
            loop_median: Ticks(counters.loop_median.get()),
            floor: Ticks(counters.floor.get()),
        }
    }

    /// The shortest latency `probe` could have reported: what it costs to measure nothing. `None` before it was
    /// measured, and for timer wake-ups, whose floor is the wake-up itself.
    #[must_use]
    pub fn floor_of(&self, probe: Kind, clock: &Clock) -> Option<Nanos> {
        let ticks = match probe {
            Kind::SpinGap => self.loop_median,
            Kind::Syscall => self.floor,
            Kind::TimerWakeup => Ticks(0),
        };
        (ticks > Ticks(0)).then(|| clock.to_nanos(ticks))
    }
}
