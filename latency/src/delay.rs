//! The law of delay: what a message arriving at a random instant would suffer.
//!
//! A quantile over gaps answers another question. One gap of 10 ms among a million of 1 us is beyond the
//! p99.9999 of the gaps, and yet a random arrival in ten seconds of observation meets it with a chance of one
//! in a thousand. A gap of length L delays an arrival by more than x exactly when it arrives in the first L -
//! x of it, so
//!
//! ```text
//! P(delay > x) = sum over gaps of max(0, L - x) / T
//! ```
//!
//! with T the time observed. Exact for a list of gaps; from a histogram each L is the end of its bucket, so
//! the figure is never too low and at most 0.78 % x (sum of the gaps above x) / T too high. Gaps that no
//! probe reports (below its threshold) are missing from it: ask only for an x at or above that threshold.

use units::Nanos;

use crate::histogram::Histogram;

/// The chance that an arrival at a random instant of `observed` is delayed by more than `x`, from a histogram
/// of the gaps in it. `None` when nothing was observed.
#[must_use]
pub fn exceedance(gaps: &Histogram, observed: Nanos, x: Nanos) -> Option<f64> {
    let (beyond_count, beyond_sum) = gaps.beyond_range();
    let beyond = u128::from(beyond_sum.0).saturating_sub(u128::from(beyond_count) * u128::from(x.0));
    let within = gaps.recorded().map(|(length, count)| overhang(length, x) * u128::from(count)).sum::<u128>();
    share(within + beyond, observed)
}

/// The same from the list of the gaps itself, exact to the rounding of one division.
#[must_use]
pub fn exceedance_of(gaps: &[Nanos], observed: Nanos, x: Nanos) -> Option<f64> {
    share(gaps.iter().map(|length| overhang(*length, x)).sum(), observed)
}

/// The part of a gap in which an arrival waits longer than `x`.
fn overhang(length: Nanos, x: Nanos) -> u128 {
    u128::from((length - x).0)
}

#[expect(clippy::cast_precision_loss, reason = "a probability, to 53 bits")]
fn share(waiting: u128, observed: Nanos) -> Option<f64> {
    (observed > Nanos::ZERO).then(|| (waiting as f64 / observed.0 as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every nanosecond of the observation is an arrival: the share of those that wait longer than `x`.
    fn brute_force(gaps: &[Nanos], observed: u64, x: u64) -> f64 {
        let late = gaps.iter().flat_map(|gap| 0..gap.0).zip(gaps.iter().flat_map(|gap| (1..=gap.0).rev()));
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let share = late.filter(|(_, wait)| *wait > x).count() as f64 / observed as f64;
        share
    }

    #[test]
    fn one_long_gap_outweighs_many_short_ones() {
        let mut gaps = vec![Nanos::from_micros(1); 1_000_000];
        gaps.push(Nanos::from_millis(10));
        let law = |x| exceedance_of(&gaps, Nanos::from_secs(10), x).unwrap();
        assert!((law(Nanos::from_micros(1)) - 0.000_999_9).abs() < 1e-12);
        assert!((law(Nanos::from_millis(5)) - 0.000_5).abs() < 1e-12);
        assert!((law(Nanos::ZERO) - 0.101).abs() < 1e-12);
        assert!(law(Nanos::from_millis(10)).abs() < 1e-12);
        assert_eq!(exceedance_of(&gaps, Nanos::ZERO, Nanos::ZERO), None);
    }

    #[test]
    fn gaps_beyond_the_range_count_in_full() {
        let mut gaps = Histogram::new();
        gaps.record(Nanos::from_secs(100));
        let law = exceedance(&gaps, Nanos::from_secs(200), Nanos::from_secs(50)).unwrap();
        assert!((law - 0.25).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_law_equals_brute_force(
            lengths in proptest::collection::vec(1u64..2_000, 0..40),
            x in 0u64..2_500,
        ) {
            let gaps: Vec<Nanos> = lengths.into_iter().map(Nanos).collect();
            let sum = gaps.iter().copied().sum::<Nanos>().0;
            let observed = sum + 10_000;
            let brute = brute_force(&gaps, observed, x);
            let exact = exceedance_of(&gaps, Nanos(observed), Nanos(x)).unwrap();
            prop_assert!((exact - brute).abs() < 1e-9);

            let mut histogram = Histogram::new();
            gaps.iter().for_each(|gap| histogram.record(*gap));
            let rounded = exceedance(&histogram, Nanos(observed), Nanos(x)).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let slack = 0.0079 * sum as f64 / observed as f64;
            prop_assert!(rounded >= exact - 1e-12 && rounded <= exact + slack, "{exact} {rounded}");
        }
    }
}
