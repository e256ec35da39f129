//! A channel: one named stream of latencies, with everything that is kept about it.
//!
//! Names, CPUs, drops and causes belong to whoever feeds the channel; here are only its numbers.

use units::Nanos;

use crate::exceed::{Exceedances, Observation, TooManyLimits};
use crate::histogram::Histogram;
use crate::window::Window;

/// How far back a channel remembers, and how finely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Width of a slot of the histogram window.
    pub histogram_slot: Nanos,
    /// Slots of the histogram window, the one being recorded into included.
    pub histogram_slots: usize,
    /// Width of a slot of the exact counters: the resolution in time of every budget.
    pub counting_slot: Nanos,
    /// Slots of the exact counters, the one being counted into included.
    pub counting_slots: usize,
}

/// Ten histograms of a second (300 KiB) for the reports; counters ten times a second for a minute (24 KiB),
/// so that a p99.9 of a 1 kHz probe, which needs ten seconds of samples, can be a budget.
impl Default for Layout {
    fn default() -> Self {
        Self {
            histogram_slot: Nanos::from_secs(1),
            histogram_slots: 10,
            counting_slot: Nanos::from_millis(100),
            counting_slots: 601,
        }
    }
}

/// The numbers of one stream of latencies.
#[derive(Debug)]
pub struct Channel {
    window: Window,
    counts: Exceedances,
}

impl Channel {
    /// A channel that counts samples above each of `limits`; its first slots begin at `now`.
    ///
    /// # Errors
    /// [`TooManyLimits`].
    ///
    /// # Panics
    /// When the layout has no slot, or slots of no width.
    pub fn new(layout: &Layout, limits: &[Nanos], now: Nanos) -> Result<Self, TooManyLimits> {
        Ok(Self {
            window: Window::new(layout.histogram_slot, layout.histogram_slots, now),
            counts: Exceedances::new(limits, layout.counting_slot, layout.counting_slots, now)?,
        })
    }

    /// Records one latency: one histogram bucket and four compares in the current slots, 7 ns (2-vCPU VM,
    /// where the bare bucket is 4 ns). No allocation, no failure.
    #[inline]
    pub fn record(&mut self, value: Nanos) {
        self.window.record(value);
        self.counts.record(value);
    }

    /// Ends the slots whose time is over, and says whether a counting slot ended: then budgets are due to be
    /// judged.
    pub fn tick(&mut self, now: Nanos) -> bool {
        self.window.tick(now);
        self.counts.tick(now)
    }

    /// The exact counters, for budgets.
    #[must_use]
    pub fn observe(&self, limit: Nanos, window: Nanos) -> Option<Observation> {
        self.counts.observe(limit, window)
    }

    /// The exact counters and what they can be asked.
    #[must_use]
    pub fn counts(&self) -> &Exceedances {
        &self.counts
    }

    /// The histograms and how far back they reach.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Replaces the counted limits, forgetting what was counted; the histograms stay.
    ///
    /// # Errors
    /// [`TooManyLimits`]; then nothing has changed.
    pub fn set_limits(&mut self, limits: &[Nanos]) -> Result<(), TooManyLimits> {
        self.counts.set_limits(limits)
    }

    /// Copies the last `span` and the total into `snapshot`, in the memory it already has, so that a
    /// collector can hand a report to another thread without making it wait for one: 15 us with ten slots
    /// (2-vCPU VM).
    pub fn copy_into(&self, span: Nanos, now: Nanos, snapshot: &mut ChannelSnapshot) {
        snapshot.covered = self.window.view(span, now, &mut snapshot.window);
        self.window.total(&mut snapshot.total);
    }
}

/// What a report needs of a channel, detached from it.
#[derive(Debug, Clone, Default)]
pub struct ChannelSnapshot {
    /// Latencies of the last span.
    pub window: Histogram,
    /// The time that `window` really covers.
    pub covered: Nanos,
    /// Latencies since the channel began.
    pub total: Histogram,
}

impl ChannelSnapshot {
    /// An empty snapshot, allocated once and filled again and again.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_and_counters_see_the_same_samples() {
        let limit = Nanos::from_micros(1);
        let mut channel = Channel::new(&Layout::default(), &[limit], Nanos(0)).unwrap();
        for ms in 0..3_000 {
            channel.tick(Nanos::from_millis(ms));
            channel.record(Nanos(500 + 501 * (ms % 2))); // every second one is a nanosecond above the limit
        }
        let now = Nanos::from_secs(3);
        assert!(channel.tick(now));
        let mut snapshot = ChannelSnapshot::new();
        channel.copy_into(Nanos::from_secs(2), now, &mut snapshot);
        assert_eq!((snapshot.window.count(), snapshot.covered), (1_000, Nanos::from_secs(1)));
        assert_eq!((snapshot.total.count(), snapshot.total.max()), (3_000, Some(Nanos(1_001))));
        let seen = channel.observe(limit, Nanos::from_secs(2));
        assert_eq!(seen, Some(Observation { samples: 2_000, exceeded: 1_000 }));
    }
}
