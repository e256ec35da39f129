//! The drifts that were seen, numbered: a bounded list for whoever asks, and the counts of all there were.

use std::collections::VecDeque;

use orders::{Deed, DriftEvent};
use units::limits::DRIFTS_KEPT;

/// Drifts, oldest first.
#[derive(Debug, Default)]
pub struct Drifts {
    kept: VecDeque<DriftEvent>,
    /// All there were.
    pub seen: u64,
    /// Those that were put back.
    pub repairs: u64,
    /// Fights that were given up.
    pub fights: u64,
}

impl Drifts {
    /// Adds one under the next number; the oldest is dropped for it, which a gap in the numbers shows.
    pub fn add(&mut self, event: DriftEvent) {
        self.seen += 1;
        self.repairs += u64::from(event.deed == Deed::Repaired);
        self.fights += u64::from(event.deed == Deed::Left);
        if self.kept.len() == DRIFTS_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(DriftEvent { number: self.seen, ..event });
    }

    /// The first one that is kept with a number above `after`.
    #[must_use]
    pub fn after(&self, after: u64) -> Option<DriftEvent> {
        self.kept.iter().find(|event| event.number > after).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orders::Text;

    fn event(deed: Deed) -> DriftEvent {
        DriftEvent {
            number: 0,
            knob: Text::cut("mem.swap"),
            attribute: Text::cut("swappiness"),
            identity: Text::cut(""),
            wanted: Text::cut("10"),
            found: Text::cut("33"),
            at: 0,
            seen_at: 0,
            repaired_at: None,
            writer: None,
            deed,
        }
    }

    #[test]
    fn numbers_go_on_and_the_oldest_go() {
        let mut drifts = Drifts::default();
        assert_eq!(drifts.after(0), None);
        drifts.add(event(Deed::Repaired));
        drifts.add(event(Deed::Left));
        assert_eq!(drifts.after(0).map(|event| event.number), Some(1));
        assert_eq!(drifts.after(1).map(|event| event.deed), Some(Deed::Left));
        assert_eq!(drifts.after(2), None);
        for _ in 0..DRIFTS_KEPT {
            drifts.add(event(Deed::Observed));
        }
        assert_eq!(drifts.after(0).map(|event| event.number), Some(3));
        assert_eq!((drifts.seen, drifts.repairs, drifts.fights), (DRIFTS_KEPT as u64 + 2, 1, 1));
    }
}
