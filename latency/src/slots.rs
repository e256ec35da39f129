//! Time cut into equal slots.
//!
//! Slots begin at the start and follow one another without a gap, whatever the caller's rhythm: a tick that
//! comes late ends as many slots as have passed, so an empty slot is a second in which nothing happened and
//! not a second nobody looked at.

use units::Nanos;

/// Says how many slots have ended since it was last asked.
#[derive(Debug, Clone)]
pub(crate) struct SlotClock {
    width: Nanos,
    opened: Nanos,
}

impl SlotClock {
    /// The first slot begins at `now`.
    ///
    /// # Panics
    /// When `width` is zero: no time passes in such a slot.
    pub(crate) fn new(width: Nanos, now: Nanos) -> Self {
        assert!(width > Nanos::ZERO, "a slot of no width never ends");
        Self { width, opened: now }
    }

    pub(crate) fn width(&self) -> Nanos {
        self.width
    }

    /// When the current slot began.
    pub(crate) fn opened(&self) -> Nanos {
        self.opened
    }

    /// How many slots have ended by `now`; a `now` before the current slot ends none.
    pub(crate) fn advance(&mut self, now: Nanos) -> u64 {
        let ended = (now - self.opened).0 / self.width.0;
        self.opened += self.width.times(ended);
        ended
    }

    /// The least number of slots that hold `span`, at least one.
    pub(crate) fn slots_for(&self, span: Nanos) -> usize {
        usize::try_from(span.0.div_ceil(self.width.0)).unwrap_or(usize::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_end_on_their_grid() {
        let mut clock = SlotClock::new(Nanos(100), Nanos(1_000));
        let ended: Vec<u64> =
            [1_000, 1_099, 1_100, 1_450, 1_499, 900, 1_500].map(|now| clock.advance(Nanos(now))).into();
        // Late by three slots at 1 450; back to the grid, not to 1 450; time that goes back ends nothing.
        assert_eq!(ended, [0, 0, 1, 3, 0, 0, 1]);
    }

    #[test]
    fn a_span_is_rounded_up_to_whole_slots() {
        let clock = SlotClock::new(Nanos(100), Nanos(0));
        assert_eq!([0, 1, 100, 101, 1_000].map(|span| clock.slots_for(Nanos(span))), [1, 1, 1, 2, 10]);
    }
}
