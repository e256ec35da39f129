//! How much may be changed in an hour: a sliding window, so that no clock's full hour doubles it.

use std::collections::VecDeque;

use units::Nanos;

/// The changes of the last hour.
#[derive(Debug, Default)]
pub struct Ceiling {
    /// When, oldest first, and how many.
    taken: VecDeque<(Nanos, u32)>,
}

const WINDOW: Nanos = Nanos::from_secs(3600);

impl Ceiling {
    /// How many changes are left at `now` of `per_hour`.
    pub fn left(&mut self, now: Nanos, per_hour: u32) -> u32 {
        while self.taken.front().is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.taken.pop_front();
        }
        let taken = self.taken.iter().fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
        per_hour.saturating_sub(taken)
    }

    /// Counts `changes` that were made at `now`. An entry needs a change, so there are no more than changes allowed.
    pub fn count(&mut self, now: Nanos, changes: u32) {
        if changes > 0 {
            self.taken.push_back((now, changes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hour_has_more_than_its_changes() {
        let mut ceiling = Ceiling::default();
        let at = Nanos::from_secs;
        assert_eq!(ceiling.left(at(0), 5), 5);
        ceiling.count(at(0), 3);
        ceiling.count(at(10), 0);
        ceiling.count(at(1800), 2);
        assert_eq!(ceiling.left(at(1801), 5), 0);
        assert_eq!(ceiling.left(at(3599), 5), 0, "the clock's full hour does not matter");
        assert_eq!(ceiling.left(at(3600), 5), 3);
        assert_eq!(ceiling.left(at(5399), 5), 3);
        assert_eq!(ceiling.left(at(5400), 5), 5);
        assert_eq!(ceiling.left(at(5400), 0), 0);
        ceiling.count(at(5400), 9);
        assert_eq!(ceiling.left(at(5400), 5), 0, "more than allowed leaves none");
    }
}
