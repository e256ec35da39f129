//! What a probe works with during its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clock::Clock;
use units::Nanos;

use crate::output::Output;
use crate::waits::Waits;

/// A probe's slot in the cycle at hand, on CLOCK_MONOTONIC.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// When it begins; the thread may come later.
    pub start: Nanos,
    /// When it has to be over.
    pub end: Nanos,
}

/// The clock, the account of waits, the ring, and the request to stop.
pub struct Tools {
    pub clock: Clock,
    pub waits: Waits,
    pub output: Output,
    pub stop: Arc<AtomicBool>,
}

impl Tools {
    /// Whether the thread is asked to end.
    #[inline]
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire) // pairs with Running::request_stop
    }
}

#[cfg(test)]
impl Tools {
    /// On a mock clock at 2 GHz, so that ticks taken for nanoseconds are noticed; nothing is long enough to be asked
    /// about.
    pub fn for_test(samples: usize) -> (Self, rtrb::Consumer<crate::Sample>) {
        Self::with_clock(Clock::mock_mhz(2_000).0, samples)
    }

    pub fn with_clock(clock: Clock, samples: usize) -> (Self, rtrb::Consumer<crate::Sample>) {
        let (output, ring) = Output::new(samples);
        let waits = Waits::of_this_thread(clock, Nanos::MAX);
        (Self { clock, waits, output, stop: Arc::default() }, ring)
    }
}
