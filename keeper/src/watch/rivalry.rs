//! One cell and whoever keeps changing it: when to put it back, and when to let the other have his way.
//!
//! Pure. A cell that is changed again soon after it was put back is one round of a fight; after so many rounds it is left
//! alone, because flapping between two values is worse than either of them. It is taken up again once it stood as wanted
//! for a while, or somebody asked for it anew (then whoever watches begins with a new [`Rivalry`]).

use units::Nanos;

/// When a fight is one, and when it is over.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Rounds after which the cell is left alone.
    pub rounds: u32,
    /// A change so soon after a repair is a round; so long as wanted, and the fight is over.
    pub settle: Nanos,
    /// A fight may be given up; not while the host is still setting itself up after its boot. Then a rival is only waited
    /// for, so that it does not use up the hour's changes.
    pub counts: bool,
}

/// What is known of one cell's rivals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rivalry {
    rounds: u32,
    repaired_at: Option<Nanos>,
    /// Whether the rounds may give the cell up: those of the time before do not.
    counted: bool,
    /// Left alone; since when it stands as wanted all the same.
    given_up: Option<Option<Nanos>>,
}

/// What to do about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Put it back.
    Repair,
    /// Put it back when it has settled.
    Wait,
    /// From now on it is left alone.
    GiveUp,
    /// It is left alone.
    Leave,
}

impl Rivalry {
    /// The cell was found changed at `now`.
    pub fn drifted(&mut self, now: Nanos, rules: &Rules) -> Move {
        if self.given_up.is_some() {
            self.given_up = Some(None);
            return Move::Leave;
        }
        let is_soon = self.repaired_at.is_some_and(|at| now < at + rules.settle);
        let is_news = rules.counts && !std::mem::replace(&mut self.counted, rules.counts);
        self.rounds = if is_soon && !is_news { self.rounds + 1 } else { 0 };
        if self.rounds < rules.rounds {
            return Move::Repair;
        }
        if !rules.counts {
            return Move::Wait;
        }
        self.given_up = Some(None);
        Move::GiveUp
    }

    /// It was put back at `now`, or that was attempted.
    pub fn repaired(&mut self, now: Nanos) {
        self.repaired_at = Some(now);
    }

    /// The cell was found as wanted at `now`; whether that ends a fight.
    pub fn is_right(&mut self, now: Nanos, rules: &Rules) -> bool {
        let Some(since) = self.given_up else { return false };
        let since = since.unwrap_or(now);
        self.given_up = Some(Some(since));
        let is_over = now >= since + rules.settle;
        if is_over {
            *self = Self::default();
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { rounds: 3, settle: Nanos::from_secs(10), counts: true };

    fn at(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    /// What is done about drifts at these seconds, each put back at once when that is the move.
    #[track_caller]
    fn check(rules: Rules, drifts: &[u64], expected: &[Move]) -> Rivalry {
        let mut rivalry = Rivalry::default();
        let mut drifted = |second: &u64| {
            let made = rivalry.drifted(at(*second), &rules);
            if made == Repair {
                rivalry.repaired(at(*second));
            }
            made
        };
        let made: Vec<Move> = drifts.iter().map(&mut drifted).collect();
        assert_eq!(made, expected);
        rivalry
    }

    use Move::{GiveUp, Leave, Repair, Wait};

    #[test]
    fn a_fight_stops_after_its_rounds() {
        check(RULES, &[1, 2, 3, 4, 5], &[Repair, Repair, Repair, GiveUp, Leave]);
        check(RULES, &[1, 11, 21, 31, 41], &[Repair; 5]); // each time it had settled
        check(RULES, &[1, 10, 19, 30, 31, 32, 33], &[Repair, Repair, Repair, Repair, Repair, Repair, GiveUp]);
    }

    #[test]
    fn while_the_host_is_starting_rivals_are_waited_for() {
        let starting = Rules { counts: false, ..RULES };
        let mut rivalry =
            check(starting, &[1, 2, 3, 4, 12, 13], &[Repair, Repair, Repair, Wait, Wait, Repair]);
        // Started: what was before is no round.
        for (second, expected) in [(14, Repair), (15, Repair), (16, Repair), (17, GiveUp)] {
            assert_eq!(rivalry.drifted(at(second), &RULES), expected, "at {second} s");
            rivalry.repaired(at(second));
        }
    }

    #[test]
    fn a_fight_is_over_when_the_value_stayed() {
        let mut rivalry = check(RULES, &[1, 2, 3, 4], &[Repair, Repair, Repair, GiveUp]);
        assert!(!rivalry.is_right(at(5), &RULES));
        assert!(!rivalry.is_right(at(14), &RULES));
        assert_eq!(rivalry.drifted(at(14), &RULES), Leave); // it did not stay
        assert!(!rivalry.is_right(at(15), &RULES));
        assert!(!rivalry.is_right(at(24), &RULES));
        assert!(rivalry.is_right(at(25), &RULES));
        assert_eq!(rivalry.drifted(at(26), &RULES), Repair);
    }

    #[test]
    fn what_never_drifted_has_no_rival() {
        assert!(!Rivalry::default().is_right(at(1), &RULES));
    }
}
