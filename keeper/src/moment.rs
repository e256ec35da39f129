//! One reading of the clocks, passed on as a value.

use host::threads::{boottime_now, monotonic_now};
use report::{WallTime, wall_time_now};
use units::Nanos;

/// When something happens, on each clock that somebody needs.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// CLOCK_MONOTONIC: deadlines, intervals.
    pub monotonic: Nanos,
    /// CLOCK_BOOTTIME: deadlines that outlive a process.
    pub boottime: Nanos,
    /// For whoever reads a log.
    pub wall: WallTime,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic: monotonic_now(), boottime: boottime_now(), wall: wall_time_now() }
    }

    /// The wall clock in seconds since 1970, as trading hours are compared with.
    #[must_use]
    pub fn wall_s(&self) -> i64 {
        i64::try_from(self.wall.unix_s()).unwrap_or(i64::MAX)
    }
}
