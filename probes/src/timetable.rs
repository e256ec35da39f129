//! When the wake-ups of a slot are due: arithmetic on an absolute time line, so that a stall of any length is
//! accounted for in constant time and no period can be forgotten.

use units::Nanos;

/// Deadlines at each `interval` in a slot of each cycle, numbered from 0.
///
/// ```text
/// origin     + offset                      + cycle    + cycle + offset
/// |..........|--0--|--1--|--2--|...........|..........|--3--|--4--|--5--|....
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Timetable {
    /// When the first cycle begins.
    pub origin: Nanos,
    /// From one cycle to the next.
    pub cycle: Nanos,
    /// From a cycle's begin to the slot's.
    pub offset: Nanos,
    /// Between deadlines, and from the slot's begin to its first.
    pub interval: Nanos,
    /// Deadlines a slot; at least one.
    pub per_slot: u64,
}

impl Timetable {
    /// When deadline number `index` is.
    pub fn deadline(&self, index: u64) -> Nanos {
        let (cycle, position) = (index / self.per_slot, index % self.per_slot);
        self.origin + self.cycle.times(cycle) + self.offset + self.interval.times(position + 1)
    }

    /// How many deadlines have come by `now`.
    pub fn due(&self, now: Nanos) -> u64 {
        let elapsed = (now - self.origin).0;
        let into_slot = (elapsed % self.cycle.0).saturating_sub(self.offset.0);
        elapsed / self.cycle.0 * self.per_slot + (into_slot / self.interval.0).min(self.per_slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(now_ms: u64, due: u64) {
        // Three deadlines, at 12, 14 and 16 ms of each 100 ms, from 1 s on.
        let ms = Nanos::from_millis;
        let table =
            Timetable { origin: ms(1_000), cycle: ms(100), offset: ms(10), interval: ms(2), per_slot: 3 };
        assert_eq!(table.due(ms(now_ms)), due);
    }

    #[test]
    fn deadlines_come_in_their_slots() {
        check(0, 0); // long before
        check(1_011, 0);
        check(1_012, 1);
        check(1_013, 1);
        check(1_016, 3);
        check(1_099, 3); // the rest of the cycle belongs to others
        check(1_112, 4);
        check(11_000, 300); // a stall of ten seconds
    }

    proptest! {
        #[test]
        fn due_counts_the_deadlines(
            interval in 1u64..50, per_slot in 1u64..20, offset in 0u64..50, rest in 0u64..50, now in 0u64..5_000,
        ) {
            let table = Timetable {
                origin: Nanos(700),
                cycle: Nanos(offset + interval * per_slot + rest),
                offset: Nanos(offset),
                interval: Nanos(interval),
                per_slot,
            };
            let counted = (0..).take_while(|index| table.deadline(*index) <= Nanos(now)).count() as u64;
            prop_assert_eq!(table.due(Nanos(now)), counted);
        }
    }
}
