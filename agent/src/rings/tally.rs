//! How many events of each class there were, since reading began and in the last seconds.

use host::perf::{Class, Drained, Edge, Point};
use units::Nanos;

/// Seconds that can be looked back: more than any window of a report.
const KEPT: usize = 64;

/// Between two marks.
const MARK_EVERY: Nanos = Nanos::from_secs(1);

/// Counts of one CPU; each thing that happened counts once, where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By class, in the order of [`Class::ALL`].
    pub by_class: [u64; Class::ALL.len()],
    /// Records read, ends included.
    pub events: u64,
    /// Events that the kernel had no room for.
    pub lost: u64,
    /// Records that were none of ours.
    pub unknown: u64,
}

impl Counts {
    fn since(&self, earlier: &Self) -> Self {
        let mut by_class = self.by_class;
        by_class.iter_mut().zip(earlier.by_class).for_each(|(now, then)| *now -= then);
        Self {
            by_class,
            events: self.events - earlier.events,
            lost: self.lost - earlier.lost,
            unknown: self.unknown - earlier.unknown,
        }
    }
}

/// The counts, with marks of the last minute.
#[derive(Debug)]
pub struct Tally {
    total: Counts,
    /// What the counts were at an instant; a ring, the oldest at `next`.
    marks: [(Nanos, Counts); KEPT],
    next: usize,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(now: Nanos) -> Self {
        Self { total: Counts::default(), marks: [(now, Counts::default()); KEPT], next: 0 }
    }

    /// Counts one event, unless it is the end of a thing that was counted when it began.
    pub fn count(&mut self, point: Point) {
        let (class, edge) = point.meaning();
        if edge != Edge::End {
            self.total.by_class[class.index()] += 1;
        }
    }

    /// Notes what a look came to, and makes a mark when one is due.
    pub fn note(&mut self, drained: &Drained, now: Nanos) {
        self.total.events += drained.events;
        self.total.lost += drained.lost;
        self.total.unknown += drained.unknown;
        let newest = self.marks[(self.next + KEPT - 1) % KEPT].0;
        if now >= newest + MARK_EVERY {
            self.marks[self.next] = (now, self.total);
            self.next = (self.next + 1) % KEPT;
        }
    }

    /// Since reading began.
    #[must_use]
    pub fn total(&self) -> &Counts {
        &self.total
    }

    /// Over the last `span`, or up to a second more, as far back as there are marks; and the time that is.
    #[must_use]
    pub fn over(&self, span: Nanos, now: Nanos) -> (Counts, Nanos) {
        let from = now - span;
        // The newest mark that is not inside the span; the oldest one when all are.
        let marks = (1..=KEPT).map(|back| &self.marks[(self.next + KEPT - back) % KEPT]);
        let mut chosen = &self.marks[self.next];
        for mark in marks {
            chosen = mark;
            if mark.0 <= from {
                break;
            }
        }
        (self.total.since(&chosen.1), now - chosen.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One switch a second from second 1 on, over `seconds`; what `span` sees of it at the end.
    #[track_caller]
    fn check(seconds: u64, span: u64, expected: (u64, u64)) {
        let mut tally = Tally::new(Nanos::ZERO);
        for second in 1..=seconds {
            tally.count(Point::Switch);
            tally.note(&Drained { events: 1, ..Drained::default() }, Nanos::from_secs(second));
        }
        let (counts, covered) = tally.over(Nanos::from_secs(span), Nanos::from_secs(seconds));
        assert_eq!((counts.by_class[Class::Switch.index()], covered.0 / 1_000_000_000), expected);
        assert_eq!(counts.events, counts.by_class.iter().sum::<u64>());
        assert_eq!(tally.total().events, seconds);
    }

    #[test]
    fn a_window_sees_its_part() {
        check(0, 10, (0, 0));
        check(5, 10, (5, 5)); // younger than the window
        check(30, 10, (10, 10));
        check(63, 63, (63, 63));
        check(1000, 10, (10, 10)); // long after the marks wrapped
        check(1000, 500, (63, 63)); // no further back than there are marks
    }

    #[test]
    fn a_thing_counts_once_where_it_begins() {
        let mut tally = Tally::new(Nanos::ZERO);
        for point in [Point::IrqEntry, Point::IrqExit, Point::PageFault, Point::IrqWork, Point::IrqExit] {
            tally.count(point);
        }
        let of = |class: Class| tally.total().by_class[class.index()];
        assert_eq!(
            [of(Class::Irq), of(Class::PageFault), of(Class::IrqWork), of(Class::Switch)],
            [1, 1, 1, 0]
        );
    }

    #[test]
    fn what_was_lost_has_its_window_too() {
        let mut tally = Tally::new(Nanos::ZERO);
        tally.note(&Drained { lost: 7, ..Drained::default() }, Nanos::from_secs(1));
        tally.note(&Drained { lost: 2, unknown: 1, ..Drained::default() }, Nanos::from_secs(9));
        let (counts, _) = tally.over(Nanos::from_secs(3), Nanos::from_secs(10));
        assert_eq!((counts.lost, counts.unknown, tally.total().lost), (2, 1, 9));
    }
}
