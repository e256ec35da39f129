//! What a probe thread has counted, as plain numbers at one instant.

use clock::Clock;
use probes::{Counters, Kind, PROBES};
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
    /// Calls refused and bursts left out, of each probe in the order of [`PROBES`].
    pub failed: [u64; PROBES.len()],
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
            failed: PROBES.map(|about| counters.failed.of(about.kind).get()),
        }
    }

    /// The shortest latency `probe` could have reported: what it costs to measure nothing. `None` before it was
    /// measured, and for timer wake-ups, whose floor is the wake-up itself.
    #[must_use]
    pub fn floor_of(&self, probe: Kind, clock: &Clock) -> Option<Nanos> {
        let ticks = match probe {
            Kind::SpinGap => self.loop_median,
            Kind::TimerWakeup => Ticks(0),
            Kind::Syscall
            | Kind::SchedYield
            | Kind::Eventfd
            | Kind::FutexWake
            | Kind::MinorFault
            | Kind::HugeFault
            | Kind::UnixStream
            | Kind::UdpLoopback => self.floor,
        };
        (ticks > Ticks(0)).then(|| clock.to_nanos(ticks))
    }

    /// How often `probe` came to no sample because the kernel refused, or because it had not what it needs.
    #[must_use]
    pub fn failed_of(&self, probe: Kind) -> u64 {
        PROBES.iter().zip(self.failed).find(|(about, _)| about.kind == probe).map_or(0, |(_, failed)| failed)
    }
}
