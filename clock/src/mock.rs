//! A clock that moves when it is told to.

use std::sync::atomic::{AtomicU64, Ordering};

use units::{Nanos, Ticks};

use crate::scale::Scale;

/// The hand that moves a mock clock; made by [`Clock::mock`](crate::Clock::mock).
#[derive(Debug, Clone, Copy)]
pub struct MockClock {
    pub(crate) time: &'static Time,
    pub(crate) scale: Scale,
}

/// What the clock and its hand share.
#[derive(Debug, Default)]
pub(crate) struct Time {
    ticks: AtomicU64,
    step: AtomicU64,
}

impl MockClock {
    /// Lets `nanos` pass.
    pub fn advance(&self, nanos: Nanos) {
        self.advance_ticks(self.scale.to_ticks(nanos));
    }

    /// Lets `ticks` pass.
    pub fn advance_ticks(&self, ticks: Ticks) {
        self.time.ticks.fetch_add(ticks.0, Ordering::Release); // pairs with Time::read
    }

    /// From now on each reading of the clock takes `ticks`, as a real one does.
    pub fn step(&self, ticks: Ticks) {
        self.time.step.store(ticks.0, Ordering::Release); // pairs with Time::read
    }
}

impl Time {
    pub(crate) fn read(&self) -> Ticks {
        let step = self.step.load(Ordering::Acquire); // pairs with MockClock::step
        Ticks(self.ticks.fetch_add(step, Ordering::AcqRel)) // pairs with MockClock::advance_ticks
    }
}
