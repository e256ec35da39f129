//! A rolling window of histograms, and the total beneath it.
//!
//! Recording touches the current slot only. When a slot ends it is merged into the total and the oldest one
//! is cleared, both in place: under 2 us (2-vCPU VM), once a second. Views are merged on demand into a
//! histogram that the caller owns.

use units::Nanos;

use crate::histogram::Histogram;
use crate::slots::SlotClock;

/// The last slots of a channel, and everything before them.
#[derive(Debug)]
pub struct Window {
    clock: SlotClock,
    started: Nanos,
    slots: Box<[Histogram]>,
    /// Index of the slot being recorded into.
    current: usize,
    /// Every ended slot, also those that have left the window.
    ended: Histogram,
}

impl Window {
    /// `slots` slots of `width` each; the first begins at `now`.
    ///
    /// # Panics
    /// When there would be no slot, or slots of no width.
    #[must_use]
    pub fn new(width: Nanos, slots: usize, now: Nanos) -> Self {
        assert!(slots > 0, "a window has at least the slot being recorded into");
        Self {
            clock: SlotClock::new(width, now),
            started: now,
            slots: std::iter::repeat_with(Histogram::new).take(slots).collect(),
            current: 0,
            ended: Histogram::new(),
        }
    }

    /// Records one latency into the current slot.
    #[inline]
    pub fn record(&mut self, value: Nanos) {
        self.slots[self.current].record(value);
    }

    /// Ends the slots whose time is over. Slots that a late tick skipped are empty.
    pub fn tick(&mut self, now: Nanos) {
        let ended = usize::try_from(self.clock.advance(now)).unwrap_or(usize::MAX);
        for _ in 0..ended.min(self.slots.len()) {
            self.ended.merge(&self.slots[self.current]);
            self.current = (self.current + 1) % self.slots.len();
            self.slots[self.current].clear();
        }
    }

    /// Width of a slot: the steps in which views reach back.
    #[must_use]
    pub fn slot(&self) -> Nanos {
        self.clock.width()
    }

    /// How far back a view can reach.
    #[must_use]
    pub fn kept(&self) -> Nanos {
        self.clock.width().times(u64::try_from(self.slots.len()).unwrap_or(u64::MAX))
    }

    /// Writes the latencies of the last `span` into `view`, replacing what it held, and returns the span
    /// really covered: the current slot and as many whole ones before it as stay within `span`, since the
    /// start at most.
    pub fn view(&self, span: Nanos, now: Nanos, view: &mut Histogram) -> Nanos {
        let slots = self.clock.slots_for(span).min(self.slots.len());
        view.clear();
        for back in 0..slots {
            view.merge(&self.slots[(self.current + self.slots.len() - back) % self.slots.len()]);
        }
        let whole = self.clock.width().times(u64::try_from(slots - 1).unwrap_or(u64::MAX));
        now - self.started.max(self.clock.opened() - whole)
    }

    /// Writes every latency since the start into `total`, replacing what it held.
    pub fn total(&self, total: &mut Histogram) {
        total.copy_from(&self.ended);
        total.merge(&self.slots[self.current]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Nanos = Nanos::from_secs(1);
    const START: Nanos = Nanos::from_secs(1_000);

    fn window() -> Window {
        Window::new(S, 3, START)
    }

    /// Count in view, milliseconds covered, and count in all, after `events`: (ms since the start, latencies
    /// recorded).
    #[track_caller]
    fn check(events: &[(u64, u64)], now_ms: u64, span: Nanos, expected: (u64, u64, u64)) {
        let mut window = window();
        for (at_ms, samples) in events {
            window.tick(START + Nanos::from_millis(*at_ms));
            (0..*samples).for_each(|_| window.record(Nanos(500)));
        }
        let (mut view, mut total) = (Histogram::new(), Histogram::new());
        view.record(Nanos(1)); // whatever it held is replaced
        let now = START + Nanos::from_millis(now_ms);
        window.tick(now);
        let covered = window.view(span, now, &mut view);
        window.total(&mut total);
        assert_eq!((view.count(), covered.0 / 1_000_000, total.count()), expected);
    }

    #[test]
    fn views_reach_back_by_whole_slots() {
        let steady = [(0, 1), (1_000, 2), (2_000, 4), (3_000, 8)];
        check(&steady, 3_500, S, (8, 500, 15)); // the current slot alone
        check(&steady, 3_500, Nanos::from_secs(2), (12, 1_500, 15));
        check(&steady, 3_500, Nanos::from_secs(9), (14, 2_500, 15)); // no further than is kept
        check(&steady, 3_999, Nanos::from_millis(1_500), (12, 1_999, 15)); // rounded up to slots
        check(&[(0, 1)], 400, Nanos::from_secs(3), (1, 400, 1)); // no further than the start
    }

    #[test]
    fn late_ticks_leave_empty_slots_and_lose_nothing() {
        check(&[(0, 1), (2_500, 2)], 2_600, Nanos::from_secs(3), (3, 2_600, 3));
        check(&[(0, 1), (60_000, 2)], 60_100, Nanos::from_secs(3), (2, 2_100, 3));
        check(&[(0, 1), (60_000, 2)], 90_000, Nanos::from_secs(3), (0, 2_000, 3));
    }

    #[test]
    fn time_that_goes_back_moves_nothing() {
        check(&[(1_000, 1), (200, 2)], 1_500, S, (3, 500, 3));
    }
}
