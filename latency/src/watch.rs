//! The life of a budget: a state machine stepped by observations.
//!
//! ```text
//!            met                 missed                missed for `for`
//! unknown ---------> ok <------------------> pending ------------------> breached
//!    ^               | ^         met            |                        |      ^
//!    +---------------+-|------------------------+                    met |      | missed, or
//!       too few for    |                                                 v      | too few for `stale_after`
//!       `stale_after`  +--------------------------------------------- resolving +
//!                                    met for `clear_after`
//! ```
//!
//! Missing data never counts as good and never as bad. It does not end a breach: a breached budget stays
//! breached while nothing is known, and one that was resolving falls back. It does not extend one either:
//! time without an answer counts towards neither `for` nor `clear_after`. A breach is entered once; whatever
//! flaps afterwards is the same breach until the budget has been met for `clear_after` without a break.

use std::fmt;

use units::Nanos;

use crate::budget::{Budget, Judgement};
use crate::exceed::Observation;

/// What is known of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Too few samples to say, now or for too long.
    Unknown,
    /// Met.
    Ok,
    /// Missed, not yet for long enough.
    Pending,
    /// Missed for long enough, and not met since for long enough.
    Breached,
    /// Breached, met again, not yet for long enough.
    Resolving,
}

impl State {
    /// The word used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Breached => "breached",
            Self::Resolving => "resolving",
        }
    }

    /// Whether a breach has begun and not ended.
    #[must_use]
    pub const fn is_breach(self) -> bool {
        matches!(self, Self::Breached | Self::Resolving)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A change of state, and what it was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// When.
    pub at: Nanos,
    /// The observation that decided it.
    pub seen: Observation,
}

impl Transition {
    /// Whether a breach begins here. Falling back from resolving is the same breach.
    #[must_use]
    pub fn is_new_breach(&self) -> bool {
        !self.from.is_breach() && self.to == State::Breached
    }

    /// Whether a breach ends here.
    #[must_use]
    pub fn ends_breach(&self) -> bool {
        self.from.is_breach() && !self.to.is_breach()
    }
}

/// Follows one budget on one channel.
#[derive(Debug, Clone)]
pub struct Watch {
    state: State,
    since: Nanos,
    stepped_at: Nanos,
    seen: Observation,
    /// What the last observation said.
    judged: Judgement,
    /// The last answer that was one, and for how long it has been the same.
    answer: Option<Judgement>,
    sustained: Nanos,
    /// For how long there has been none.
    missing: Nanos,
    breaches: u64,
}

impl Watch {
    /// Nothing is known at the start.
    #[must_use]
    pub fn new(now: Nanos) -> Self {
        Self {
            state: State::Unknown,
            since: now,
            stepped_at: now,
            seen: Observation::default(),
            judged: Judgement::TooFew,
            answer: None,
            sustained: Nanos::ZERO,
            missing: Nanos::ZERO,
            breaches: 0,
        }
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// When this state began.
    #[must_use]
    pub fn since(&self) -> Nanos {
        self.since
    }

    /// The last observation.
    #[must_use]
    pub fn seen(&self) -> Observation {
        self.seen
    }

    /// For how long observations have been too few to judge; zero while they are not. A breached budget stays
    /// breached meanwhile, and the report says since when nothing new is known.
    #[must_use]
    pub fn missing_for(&self) -> Nanos {
        self.missing
    }

    /// How many breaches have begun.
    #[must_use]
    pub fn breaches(&self) -> u64 {
        self.breaches
    }

    /// Judges `seen` and moves on. Called whenever a counting slot ends; a `now` before the last one is no
    /// time.
    pub fn step(&mut self, budget: &Budget, seen: &Observation, now: Nanos) -> Option<Transition> {
        let now = now.max(self.stepped_at);
        let elapsed = now - self.stepped_at;
        self.stepped_at = now;
        self.seen = *seen;
        self.age(budget, budget.judge(seen), elapsed);
        self.enter(self.next(budget), now)
    }

    /// Adds `elapsed` to what has been going on.
    ///
    /// An answer is sustained from one observation to the next when both gave it. Two windows vouch for at
    /// most twice their length: when the caller itself was stopped for longer, nobody looked, and that time
    /// counts for nothing.
    fn age(&mut self, budget: &Budget, judged: Judgement, elapsed: Nanos) {
        let same = judged == self.judged;
        self.judged = judged;
        if judged == Judgement::TooFew {
            self.missing += elapsed;
            return;
        }
        self.missing = Nanos::ZERO;
        if self.answer != Some(judged) {
            self.answer = Some(judged);
            self.sustained = Nanos::ZERO;
        } else if same {
            self.sustained += elapsed.min(budget.window.times(2));
        }
    }

    fn next(&self, budget: &Budget) -> State {
        let stale = self.missing >= budget.stale_after;
        match (self.state, self.judged) {
            (State::Breached, Judgement::Met) if budget.clear_after > Nanos::ZERO => State::Resolving,
            (State::Resolving, Judgement::Met) if self.sustained < budget.clear_after => State::Resolving,
            (State::Resolving, Judgement::TooFew) if !stale => State::Resolving,
            (State::Breached | State::Resolving, Judgement::Missed | Judgement::TooFew) => State::Breached,
            (_, Judgement::Met) => State::Ok,
            (_, Judgement::Missed) if self.sustained >= budget.for_ => State::Breached,
            (_, Judgement::Missed) => State::Pending,
            (_, Judgement::TooFew) if stale => State::Unknown,
            (state, Judgement::TooFew) => state,
        }
    }

    fn enter(&mut self, to: State, now: Nanos) -> Option<Transition> {
        if to == self.state {
            return None;
        }
        let transition = Transition { from: self.state, to, at: now, seen: self.seen };
        self.breaches += u64::from(transition.is_new_breach());
        if to == State::Unknown {
            self.answer = None; // what was sustained before the silence is not taken up after it
        }
        self.state = to;
        self.since = now;
        Some(transition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Channel, Layout};
    use proptest::prelude::*;

    const US: u64 = 1_000;

    fn budget(text: &str) -> Budget {
        Budget::parse("noise".parse().unwrap(), "spin-gap".parse().unwrap(), text).unwrap()
    }

    /// Runs the budget on a channel fed at 10 kHz: each phase lasts `ms` with samples of `value` ns, or none.
    /// Returns the changes of state as "seconds state".
    fn run(budget: &Budget, phases: &[(u64, Option<u64>)]) -> Vec<String> {
        let mut channel = Channel::new(&Layout::default(), &[budget.limit], Nanos(0)).unwrap();
        let mut watch = Watch::new(Nanos(0));
        let mut changes = Vec::new();
        let mut now = Nanos(0);
        for (ms, value) in phases {
            for _ in 0..ms * 10 {
                if let Some(value) = value {
                    channel.record(Nanos(*value));
                }
                now += Nanos::from_micros(100);
                if channel.tick(now) {
                    let seen = channel.observe(budget.limit, budget.window).unwrap();
                    let change = watch.step(budget, &seen, now);
                    changes.extend(change.map(|change| format!("{:.1} {}", now.as_secs_f64(), change.to)));
                }
            }
        }
        changes
    }

    #[track_caller]
    fn check(text: &str, phases: &[(u64, Option<u64>)], expected: &[&str]) {
        assert_eq!(run(&budget(text), phases), expected);
    }

    const GOOD: Option<u64> = Some(US);
    const BAD: Option<u64> = Some(2 * US);
    const NONE: Option<u64> = None;

    #[test]
    fn known_answers() {
        let text = "p99 <= 1us for 5s";
        // 6 s of 2 us: one breach, 5 s after it began, to a slot.
        check(
            text,
            &[(10_000, GOOD), (6_000, BAD), (14_000, GOOD)],
            &["0.1 ok", "10.1 pending", "15.1 breached", "17.0 resolving", "22.0 ok"],
        );
        check(text, &[(10_000, GOOD), (4_000, BAD), (10_000, GOOD)], &["0.1 ok", "10.1 pending", "15.0 ok"]);
        // The same off the grid of slots.
        check(
            text,
            &[(10_050, GOOD), (6_000, BAD), (14_000, GOOD)],
            &["0.1 ok", "10.1 pending", "15.1 breached", "17.1 resolving", "22.1 ok"],
        );
        check(text, &[(10_050, GOOD), (4_000, BAD), (10_000, GOOD)], &["0.1 ok", "10.1 pending", "15.1 ok"]);
        // A breach that lasts is one breach.
        check(text, &[(60_000, BAD)], &["0.1 pending", "5.1 breached"]);
    }

    #[test]
    fn flapping_is_neither_a_breach_nor_the_end_of_one() {
        let text = "p99 <= 1us for 5s";
        let flaps = [(3_000, BAD), (2_000, GOOD)];
        check(
            text,
            &flaps.repeat(3),
            &["0.1 pending", "4.0 ok", "5.1 pending", "9.0 ok", "10.1 pending", "14.0 ok"],
        );
        check(
            text,
            &[&[(6_000, BAD), (3_000, GOOD)], &flaps[..], &[(10_000, GOOD)]].concat(),
            &["0.1 pending", "5.1 breached", "7.0 resolving", "9.1 breached", "13.0 resolving", "18.0 ok"],
        );
    }

    #[test]
    fn silence_is_unknown_and_ends_no_breach() {
        let text = "p99 <= 1us for 5s";
        // Known nothing, then good, then silent: the last second stays in view until too few of its samples
        // are left.
        check(text, &[(2_000, NONE), (3_000, GOOD), (9_000, NONE)], &["2.1 ok", "10.9 unknown"]);
        // Silent while breached: still breached, and the same breach when samples come back.
        check(
            text,
            &[(6_000, BAD), (30_000, NONE), (1_000, BAD), (9_000, GOOD)],
            &["0.1 pending", "5.1 breached", "38.0 resolving", "43.0 ok"],
        );
        // Silent while resolving: falls back, because nobody saw that it was good for long enough.
        check(
            text,
            &[(6_000, BAD), (3_000, GOOD), (10_000, NONE)],
            &["0.1 pending", "5.1 breached", "7.0 resolving", "14.9 breached"],
        );
        // A short gap while pending pauses `for`: 3.8 s until the last of it leaves the window, and 1.2 s
        // after.
        check(
            text,
            &[(3_000, BAD), (2_000, NONE), (3_000, BAD), (3_000, GOOD)],
            &["0.1 pending", "6.3 breached", "9.0 resolving"],
        );
        // After a long one it starts anew.
        check(
            text,
            &[(3_000, BAD), (9_000, NONE), (3_000, BAD)],
            &["0.1 pending", "8.9 unknown", "12.1 pending"],
        );
    }

    #[test]
    fn an_observer_that_was_stopped_vouches_for_nothing() {
        let budget = budget("p99 <= 1us for 5s");
        let bad = Observation { samples: 10_000, exceeded: 10_000 };
        let mut watch = Watch::new(Nanos(0));
        let states = [1_000, 31_000, 61_000, 60_000, 61_500, 62_000].map(|ms| {
            watch.step(&budget, &bad, Nanos::from_millis(ms));
            watch.state()
        });
        // Each 30 s gap counts as the 2 s that two windows vouch for; 60 after 61 is no time, and takes none
        // back.
        assert_eq!(states[..5], [State::Pending; 5]);
        assert_eq!(states[5], State::Breached);
        assert_eq!((watch.breaches(), watch.since()), (1, Nanos::from_secs(62)));
    }

    #[test]
    fn without_hysteresis_a_breach_ends_at_once() {
        let budget = Budget { clear_after: Nanos::ZERO, ..budget("p99 <= 1us for 1s") };
        assert_eq!(run(&budget, &[(3_000, BAD), (3_000, GOOD)]), ["0.1 pending", "1.1 breached", "4.0 ok"]);
    }

    proptest! {
        /// Whatever comes: a breach begins from pending after `for` of misses, ends only through resolving,
        /// and silence leads to nothing but unknown or back.
        #[test]
        fn the_rules_hold_for_every_sequence(
            steps in proptest::collection::vec((0u8..3, 0u64..1_500), 0..200),
        ) {
            let budget = budget("p99 <= 1us for 5s");
            let mut watch = Watch::new(Nanos(0));
            let (mut now, mut begun) = (Nanos(0), 0);
            for (kind, ms) in steps {
                now += Nanos::from_millis(ms);
                let exceeded = if kind == 1 { 10_000 } else { 0 };
                let seen = Observation { samples: if kind == 2 { 0 } else { 10_000 }, exceeded };
                let Some(change) = watch.step(&budget, &seen, now) else { continue };
                begun += u64::from((change.from, change.to) == (State::Pending, State::Breached));
                let ends = (change.from, change.to) == (State::Resolving, State::Ok);
                prop_assert_eq!(change.ends_breach(), ends);
                match (change.from, change.to) {
                    (State::Unknown | State::Ok, State::Pending)
                    | (State::Pending, State::Breached)
                    | (State::Resolving, State::Breached) => prop_assert_ne!(kind, 0),
                    (State::Unknown | State::Pending | State::Resolving, State::Ok)
                    | (State::Breached, State::Resolving) => prop_assert_eq!(kind, 0),
                    (State::Ok | State::Pending, State::Unknown) => prop_assert_eq!(kind, 2),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(watch.breaches(), begun); // falling back is the same breach
        }
    }
}
