//! A block: the samples of one stretch of time, and the one figure that it gives.
//!
//! Stalls come in groups, so that ten thousand samples of one minute know little more than the minute. The unit of every
//! comparison is the block: it gives one figure, and figures are compared. Which quantile that can be is decided once,
//! beforehand ([`Block::supports`]); from then on every block gives it, whatever was in it. A block that were left out
//! because of what it shows would be missing just where it matters.

use units::{Nanos, Quantile};

use crate::delay;
use crate::histogram::Histogram;

/// What was measured in a block.
#[derive(Debug, Clone)]
pub struct Block {
    /// The samples.
    pub samples: Histogram,
    /// For samples that are gaps in a time that was looked at: how much was looked at, and from which length on a gap is
    /// a sample. Their quantiles are those of the delay that an arrival at a random instant suffers
    /// ([`delay`]): a knob that removes small gaps must not make the long ones more frequent among them.
    pub looked_at: Option<LookedAt>,
}

/// The time that gaps are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookedAt {
    /// How long it was.
    pub time: Nanos,
    /// The shortest gap that is noticed.
    pub threshold: Nanos,
}

/// Gaps that a figure must rest on, as for any quantile.
const GAPS_MIN: u64 = 10;

/// What a block is asked for instead when it has too few samples for a higher quantile.
const FALL_BACK: [Quantile; 5] =
    [Quantile::P99_99, Quantile::P99_9, Quantile::P99, Quantile::P90, Quantile::P50];

impl Block {
    /// The value at `quantile`; `None` when nothing was measured.
    #[must_use]
    pub fn value(&self, quantile: Quantile) -> Option<Nanos> {
        match self.looked_at {
            None => self.samples.figure_at(quantile),
            Some(looked_at) => self.delay(quantile, looked_at),
        }
    }

    /// `wanted`, or the highest quantile below it that blocks with half the samples of this one still have enough for.
    #[must_use]
    pub fn supports(&self, wanted: Quantile) -> Option<Quantile> {
        let lower = FALL_BACK.into_iter().filter(|quantile| *quantile < wanted);
        std::iter::once(wanted).chain(lower).find(|quantile| match self.looked_at {
            None => self.samples.count() / 2 >= quantile.samples_min(),
            Some(looked_at) => self.has_gaps_for(*quantile, looked_at),
        })
    }

    /// Whether the figure rests on more than a few gaps: on as many that are longer, or, where it is the threshold, on so
    /// much time that as many short ones would have shown.
    fn has_gaps_for(&self, quantile: Quantile, looked_at: LookedAt) -> bool {
        let tail = Nanos(looked_at.time.0 / 2 / 1_000_000 * u64::from(quantile.tail_ppm()));
        let Some(delay) = self.delay(quantile, looked_at) else { return false };
        let longer = self.samples.recorded().filter(|(length, _)| *length > delay).map(|(_, count)| count);
        let longer = longer.sum::<u64>() + self.samples.overflow();
        let shows = tail >= looked_at.threshold.times(GAPS_MIN);
        shows && (delay == looked_at.threshold || longer / 2 >= GAPS_MIN)
    }

    /// The delay that an arrival exceeds with the quantile's chance; a delay below the threshold is the threshold.
    fn delay(&self, quantile: Quantile, looked_at: LookedAt) -> Option<Nanos> {
        let tail = f64::from(quantile.tail_ppm()) / 1e6;
        let exceeds = |x| delay::exceedance(&self.samples, looked_at.time, x);
        if exceeds(looked_at.threshold)? <= tail {
            return Some(looked_at.threshold);
        }
        let (mut low, mut high) = (looked_at.threshold, self.samples.max()?);
        while high - low > Nanos(1) {
            let middle = Nanos(low.0 + (high.0 - low.0) / 2);
            if exceeds(middle)? > tail { low = middle } else { high = middle }
        }
        Some(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = Nanos::from_secs(1);

    fn block(samples: &[(u64, u64)], looked_at: Option<Nanos>) -> Block {
        let mut histogram = Histogram::new();
        samples.iter().for_each(|(value, count)| histogram.record_n(Nanos(*value), *count));
        let looked_at = looked_at.map(|time| LookedAt { time, threshold: Nanos(500) });
        Block { samples: histogram, looked_at }
    }

    #[track_caller]
    fn check(block: &Block, wanted: Quantile, expected: Option<(Quantile, u64)>) {
        let supported = block.supports(wanted);
        let got = supported.map(|quantile| (quantile, block.value(quantile).unwrap().0));
        assert_eq!(got, expected);
    }

    #[test]
    fn a_block_gives_what_it_has_samples_for() {
        let wakeups = |count: u64| block(&[(1_000, count * 99 / 100), (100_000, count / 100)], None);
        check(&wakeups(200_000), Quantile::P99_99, Some((Quantile::P99_99, 100_000)));
        check(&wakeups(20_000), Quantile::P99_99, Some((Quantile::P99_9, 100_000)));
        check(&wakeups(1_000), Quantile::P99, Some((Quantile::P90, 1_003))); // a block of 999 would have no p99
        check(&wakeups(20), Quantile::P50, None);
        check(&block(&[], None), Quantile::P99, None);
    }

    #[test]
    fn gaps_are_weighed_by_their_time() {
        // 20 gaps of 1 ms a second: an arrival has a chance of 2 % to meet one, and of 1 % to wait half of it.
        let twenty = block(&[(1_000_000, 20)], Some(SECOND));
        check(&twenty, Quantile::P99, Some((Quantile::P99, 500_000)));
        // A million short ones beside them change that by nothing.
        let beside = block(&[(200, 1_000_000), (1_000_000, 20)], Some(SECOND));
        assert_eq!(beside.value(Quantile::P99), twenty.value(Quantile::P99));
        // Three gaps are luck: the figure falls back to what is below the threshold, and is given all the same.
        let three = block(&[(1_000_000, 3)], Some(SECOND));
        check(&three, Quantile::P99_9, Some((Quantile::P99, 500)));
        assert!(three.value(Quantile::P99_9) > Some(Nanos(500_000)));
        check(&block(&[], Some(SECOND)), Quantile::P99_99, Some((Quantile::P99_99, 500))); // nothing disturbs it
        // In 3 ms a single gap would decide about one arrival in ten thousand.
        check(&block(&[], Some(Nanos::from_millis(3))), Quantile::P99_99, Some((Quantile::P99, 500)));
        check(&block(&[], Some(Nanos::ZERO)), Quantile::P99, None); // nobody looked
    }
}
