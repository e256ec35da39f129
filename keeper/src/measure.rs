//! How fast orders that change something may come: so many at once, and so many a second after that.
//!
//! The hour's ceiling counts what was written; this counts what was asked, so that an agent that was taken over cannot keep
//! the host, and the disk under its journal and its fence, busy with orders that come to nothing.

use units::Nanos;
use units::limits::{CHANGING_ORDERS_BURST, CHANGING_ORDERS_PER_SECOND};

/// Time that one order is worth.
const WORTH: Nanos = Nanos(1_000_000_000 / CHANGING_ORDERS_PER_SECOND as u64);

/// A bucket of tokens; kept as the moment by which all that was taken has come back.
#[derive(Debug, Default)]
pub struct Measure {
    full_at: Nanos,
}

impl Measure {
    /// Takes one at `now`, if there is one.
    pub fn take(&mut self, now: Nanos) -> bool {
        let full_at = self.full_at.max(now) + WORTH;
        let is_there = full_at <= now + WORTH.times(u64::from(CHANGING_ORDERS_BURST));
        if is_there {
            self.full_at = full_at;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a hundred orders at this moment are let through.
    fn taken(measure: &mut Measure, now: Nanos) -> u32 {
        (0..100).map(|_| u32::from(measure.take(now))).sum()
    }

    #[test]
    fn so_many_at_once_and_then_one_a_second() {
        let mut measure = Measure::default();
        let at = Nanos::from_millis;
        assert_eq!(taken(&mut measure, at(5_000)), CHANGING_ORDERS_BURST);
        assert_eq!(taken(&mut measure, at(5_999)), 0);
        assert_eq!(taken(&mut measure, at(6_000)), 1);
        assert_eq!(taken(&mut measure, at(8_500)), 2);
        assert_eq!(taken(&mut measure, at(9_000)), 1, "the half second was not lost");
        assert_eq!(taken(&mut measure, at(3_600_000)), CHANGING_ORDERS_BURST, "and never more than at first");
    }
}
