//! CLOCK_MONOTONIC_RAW: the clock that everything is measured against, and the fall-back.
//!
//! Raw, because NTP slews CLOCK_MONOTONIC by up to 500 ppm, which would be five thousand times our calibration bound.
//! It does not count time in suspend; a trading host does not sleep.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use units::Nanos;

/// The clock now.
#[inline]
pub fn now() -> Nanos {
    nanos(&time())
}

/// The clock now, not yet converted: the conversion has no place inside a calibration window.
#[inline]
pub fn time() -> TimeSpec {
    clock_gettime(ClockId::CLOCK_MONOTONIC_RAW).expect("CLOCK_MONOTONIC_RAW exists since Linux 2.6.28")
}

/// `time` as one count.
#[inline]
#[expect(clippy::cast_sign_loss, reason = "the clock starts at zero when the machine does")]
pub fn nanos(time: &TimeSpec) -> Nanos {
    Nanos(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
