//! Exact exceedance counters: how many samples were above a limit, counted and not read from a bucket.
//!
//! "At most 1 % above 1 us" is a question about counts, and a histogram answers it only to within a bucket:
//! its 0.78 % in value can be any share of the samples when they crowd around the limit. So every limit that
//! a budget names has its own integer compare on the recording path, at most [`BUDGETS_PER_CHANNEL_MAX`] of
//! them, without a branch.
//!
//! Counts cost 40 bytes a slot where a histogram costs 30 KiB, so their slots are finer and reach further
//! back: budgets are judged ten times a second over windows of up to a minute.

use units::Nanos;
use units::limits::BUDGETS_PER_CHANNEL_MAX;

use crate::slots::SlotClock;

/// Samples of a span of time, and how many of them were above a limit. Exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observation {
    /// All samples.
    pub samples: u64,
    /// Those above the limit; a sample equal to the limit is within it.
    pub exceeded: u64,
}

/// More limits than a channel has counters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{limits} different limits on one channel, and at most {BUDGETS_PER_CHANNEL_MAX} are counted; \
     give budgets of this channel the same limit or drop some"
)]
pub struct TooManyLimits {
    /// How many were asked for.
    pub limits: usize,
}

/// Stands for "no limit": no latency is above it.
const UNUSED: Nanos = Nanos::MAX;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    samples: u64,
    exceeded: [u64; BUDGETS_PER_CHANNEL_MAX],
}

/// The counters of one channel: the last slots, and the total since the limits were set.
#[derive(Debug)]
pub struct Exceedances {
    clock: SlotClock,
    limits: [Nanos; BUDGETS_PER_CHANNEL_MAX],
    slots: Box<[Counts]>,
    /// Index of the slot being counted into.
    current: usize,
    /// Every ended slot.
    ended: Counts,
}

impl Exceedances {
    /// Counts samples above each of `limits`, in `slots` slots of `width`; the first begins at `now`. Budgets
    /// with the same limit share a counter.
    ///
    /// # Errors
    /// [`TooManyLimits`].
    ///
    /// # Panics
    /// With fewer than two slots, because only ended ones are observed, or with slots of no width.
    pub fn new(limits: &[Nanos], width: Nanos, slots: usize, now: Nanos) -> Result<Self, TooManyLimits> {
        assert!(slots > 1, "one slot is counted into while the others are observed");
        Ok(Self {
            clock: SlotClock::new(width, now),
            limits: counters_for(limits)?,
            slots: vec![Counts::default(); slots].into(),
            current: 0,
            ended: Counts::default(),
        })
    }

    /// Counts one latency. Four compares, no branch: an unused counter compares with the longest time there
    /// is.
    #[inline]
    pub fn record(&mut self, value: Nanos) {
        let slot = &mut self.slots[self.current];
        slot.samples += 1;
        for (exceeded, limit) in slot.exceeded.iter_mut().zip(self.limits) {
            *exceeded += u64::from(value > limit);
        }
    }

    /// Ends the slots whose time is over, and says whether there was one: then budgets are due to be judged.
    pub fn tick(&mut self, now: Nanos) -> bool {
        let ended = usize::try_from(self.clock.advance(now)).unwrap_or(usize::MAX);
        for _ in 0..ended.min(self.slots.len()) {
            self.ended.add(&self.slots[self.current]);
            self.current = (self.current + 1) % self.slots.len();
            self.slots[self.current] = Counts::default();
        }
        ended > 0
    }

    /// Width of a counting slot: the resolution in time of every budget.
    #[must_use]
    pub fn slot(&self) -> Nanos {
        self.clock.width()
    }

    /// The longest window that can be observed.
    #[must_use]
    pub fn kept(&self) -> Nanos {
        self.clock.width().times(u64::try_from(self.slots.len() - 1).unwrap_or(u64::MAX))
    }

    /// What the last ended slots of `window` (rounded up to slots) hold about `limit`; the slot still being
    /// counted into is left out. `None` when `limit` is not counted.
    #[must_use]
    pub fn observe(&self, limit: Nanos, window: Nanos) -> Option<Observation> {
        let counter = self.counter(limit)?;
        let slots = self.clock.slots_for(window).min(self.slots.len() - 1);
        let mut seen = Observation::default();
        for back in 1..=slots {
            let slot = &self.slots[(self.current + self.slots.len() - back) % self.slots.len()];
            seen.samples += slot.samples;
            seen.exceeded += slot.exceeded[counter];
        }
        Some(seen)
    }

    /// What was counted about `limit` since the limits were set, up to the last sample.
    #[must_use]
    pub fn total(&self, limit: Nanos) -> Option<Observation> {
        let counter = self.counter(limit)?;
        let mut all = self.ended;
        all.add(&self.slots[self.current]);
        Some(Observation { samples: all.samples, exceeded: all.exceeded[counter] })
    }

    /// Replaces the limits. Everything counted so far is forgotten, because it says nothing about the new
    /// ones.
    ///
    /// # Errors
    /// [`TooManyLimits`]; then nothing has changed.
    pub fn set_limits(&mut self, limits: &[Nanos]) -> Result<(), TooManyLimits> {
        self.limits = counters_for(limits)?;
        self.slots.fill(Counts::default());
        self.ended = Counts::default();
        Ok(())
    }

    fn counter(&self, limit: Nanos) -> Option<usize> {
        self.limits.iter().position(|counted| *counted == limit && limit != UNUSED)
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        for (mine, theirs) in self.exceeded.iter_mut().zip(other.exceeded) {
            *mine += theirs;
        }
    }
}

fn counters_for(limits: &[Nanos]) -> Result<[Nanos; BUDGETS_PER_CHANNEL_MAX], TooManyLimits> {
    let mut different = limits.to_vec();
    different.sort_unstable();
    different.dedup();
    let mut counters = [UNUSED; BUDGETS_PER_CHANNEL_MAX];
    let limits = different.len();
    let used = counters.get_mut(..limits).ok_or(TooManyLimits { limits })?;
    used.copy_from_slice(&different);
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const US: Nanos = Nanos::from_micros(1);
    const SLOT: Nanos = Nanos::from_millis(100);

    fn counting(limits: &[Nanos]) -> Exceedances {
        Exceedances::new(limits, SLOT, 11, Nanos(0)).unwrap()
    }

    #[test]
    fn a_sample_equal_to_the_limit_is_within_it() {
        let mut counts = counting(&[US]);
        for value in [999, 1_000, 1_001] {
            counts.record(Nanos(value));
        }
        assert_eq!(counts.total(US), Some(Observation { samples: 3, exceeded: 1 }));
        assert_eq!(counts.observe(US, SLOT), Some(Observation::default())); // the slot has not ended
        assert!(!counts.tick(Nanos::from_millis(99)));
        assert!(counts.tick(SLOT));
        assert_eq!(counts.observe(US, SLOT), Some(Observation { samples: 3, exceeded: 1 }));
    }

    #[test]
    fn limits_are_shared_bounded_and_replaced_whole() {
        let mut counts = counting(&[US, US, Nanos(5), Nanos(6), Nanos(7)]);
        assert_eq!(counts.observe(Nanos(8), SLOT), None); // not counted, so nothing is known about it
        counts.record(Nanos(6));
        let refusal = counts.set_limits(&[1, 2, 3, 4, 5].map(Nanos)).unwrap_err();
        assert_eq!(refusal, TooManyLimits { limits: 5 });
        assert_eq!(counts.total(Nanos(5)), Some(Observation { samples: 1, exceeded: 1 }));
        counts.set_limits(&[Nanos(8)]).unwrap();
        assert_eq!((counts.total(Nanos(8)), counts.total(Nanos(5))), (Some(Observation::default()), None));
    }

    proptest! {
        /// Against the plain list of samples with the slot each fell into.
        #[test]
        fn counts_equal_the_list(
            samples in proptest::collection::vec((0u64..4_000, 0u64..60), 0..300),
            window_slots in 1u64..10,
        ) {
            let mut samples = samples;
            samples.sort_by_key(|(at_ms, _)| *at_ms);
            let limits = [10, 30, 50].map(Nanos);
            let mut counts = counting(&limits);
            for (at_ms, value) in &samples {
                counts.tick(Nanos::from_millis(*at_ms));
                counts.record(Nanos(*value));
            }
            let now_ms = samples.last().map_or(0, |(at_ms, _)| *at_ms);
            let (last, first) = (now_ms / 100, (now_ms / 100).saturating_sub(window_slots));
            for limit in limits {
                let in_window = samples.iter().filter(|(at, _)| (first..last).contains(&(at / 100)));
                let expected = in_window.fold(Observation::default(), |seen, (_, value)| Observation {
                    samples: seen.samples + 1,
                    exceeded: seen.exceeded + u64::from(*value > limit.0),
                });
                prop_assert_eq!(counts.observe(limit, SLOT.times(window_slots)), Some(expected));
                prop_assert_eq!(counts.total(limit).unwrap().samples, samples.len() as u64);
            }
        }
    }
}
