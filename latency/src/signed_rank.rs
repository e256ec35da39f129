//! The exact signed-rank test of paired differences, and the interval that it inverts to.
//!
//! Nothing is assumed of how the differences are distributed but that each is as likely to lie as far above their centre
//! as below it. A coin that decides which half of a pair comes first makes that so by itself where the two halves do not
//! differ, whatever drifts, bursts and tails there are. The averages of all two differences (Walsh) carry it all: the
//! statistic at a value is how many of them lie on one side, the estimate is their median, and the interval runs between
//! two of them. Source: Hollander, Wolfe, Chicken, Nonparametric Statistical Methods, 3.1 to 3.3.
//!
//! Averages that lie exactly on a value count for it: ties make a test hold back, never speak too soon.

/// The differences of some pairs, ready to be asked.
#[derive(Debug, Clone)]
pub struct SignedRank {
    /// The averages of any two differences, each with itself too, in order.
    averages: Vec<f64>,
    /// The chance of as many averages or fewer on one side when the centre is there, for 0, 1, 2...
    chances: Vec<f64>,
}

impl SignedRank {
    /// Prepares `differences`, one a pair. Costs the square of their number: 820 averages of 40 pairs.
    ///
    /// # Panics
    /// When there are none, or one of them is not a number.
    #[must_use]
    pub fn of(differences: &[f64]) -> Self {
        assert!(!differences.is_empty() && differences.iter().all(|difference| difference.is_finite()));
        let mut averages = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
        for (index, one) in differences.iter().enumerate() {
            averages.extend(differences[index..].iter().map(|other| one / 2.0 + other / 2.0));
        }
        averages.sort_unstable_by(f64::total_cmp);
        Self { averages, chances: chances(differences.len()) }
    }

    /// Where the centre most likely is: the median of the averages (Hodges and Lehmann).
    #[must_use]
    pub fn estimate(&self) -> f64 {
        let middle = self.averages.len() / 2;
        match self.averages.len() % 2 {
            0 => self.averages[middle - 1] / 2.0 + self.averages[middle] / 2.0,
            _ => self.averages[middle],
        }
    }

    /// The chance of differences that lie as high as these, or higher, if their centre were at `value` or below.
    #[must_use]
    pub fn p_above(&self, value: f64) -> f64 {
        self.chance(self.averages.partition_point(|average| *average <= value))
    }

    /// The chance of differences that lie as low as these, or lower, if their centre were at `value` or above.
    #[must_use]
    pub fn p_below(&self, value: f64) -> f64 {
        self.chance(self.averages.len() - self.averages.partition_point(|average| *average < value))
    }

    /// The chance of differences as far to either side of `value`, if their centre were there.
    #[must_use]
    pub fn p_apart(&self, value: f64) -> f64 {
        (2.0 * self.p_above(value).min(self.p_below(value))).min(1.0)
    }

    /// The values that [`SignedRank::p_apart`] does not reject at `error`: the centre lies outside with that chance at
    /// most. `None` while there are too few pairs to reject any.
    #[must_use]
    pub fn interval(&self, error: f64) -> Option<(f64, f64)> {
        let rejecting = self.chances.partition_point(|chance| 2.0 * chance <= error);
        let last = self.averages.len() - 1;
        // Of two ends that pass one another, which an error near one gives, the estimate remains.
        let cut = rejecting.checked_sub(1)?.min(last / 2);
        Some((self.averages[cut], self.averages[last - cut]))
    }

    fn chance(&self, on_one_side: usize) -> f64 {
        self.chances[on_one_side]
    }
}

/// How likely it is that the ranks 1 to `pairs`, each on one side by a fair coin, sum there to 0 at most, 1 at most...
fn chances(pairs: usize) -> Vec<f64> {
    let mut exactly = vec![0.0; pairs * (pairs + 1) / 2 + 1];
    exactly[0] = 1.0;
    for rank in 1..=pairs {
        for sum in (0..=rank * (rank + 1) / 2).rev() {
            let with = if sum >= rank { exactly[sum - rank] } else { 0.0 };
            exactly[sum] = (exactly[sum] + with) / 2.0;
        }
    }
    let mut sum = 0.0;
    exactly.iter_mut().for_each(|chance| {
        sum += *chance;
        *chance = sum;
    });
    exactly
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(differences: &[f64], value: f64, expected: (f64, f64, f64)) {
        let ranked = SignedRank::of(differences);
        let got = (ranked.p_above(value), ranked.p_below(value), ranked.estimate());
        let close = |(one, other): (f64, f64)| (one - other).abs() < 1e-9;
        let pairs = [(got.0, expected.0), (got.1, expected.1), (got.2, expected.2)];
        assert!(pairs.into_iter().all(close), "{got:?}, not {expected:?}");
    }

    #[test]
    fn the_chances_are_those_of_the_printed_tables() {
        check(&[1.0, 2.0, 3.0], 0.0, (0.125, 1.0, 2.0)); // all above: one of eight coins' outcomes
        check(&[-1.0, -2.0, -3.0], 0.0, (1.0, 0.125, -2.0));
        check(&[1.0, -2.0, 3.0, 4.0, 5.0], 0.0, (3.0 / 32.0, 30.0 / 32.0, 2.5)); // of 32: {}, {1}, {2}
        check(&[0.0; 6], 0.0, (1.0, 1.0, 0.0)); // nothing but ties says nothing
        // Table A.4 of Hollander and Wolfe: P(T >= 41) = 0.0967 for n = 10.
        assert!((SignedRank::of(&[1.0; 10]).chances[55 - 41] - 0.0967).abs() < 5e-5);
        // The 5 % point of Wilcoxon's own table for n = 20, two-sided: 52.
        let twenty = SignedRank::of(&[1.0; 20]).chances;
        assert!(2.0 * twenty[52] <= 0.05 && 2.0 * twenty[53] > 0.05);
    }

    #[test]
    fn too_few_pairs_have_no_interval() {
        let interval = |pairs: usize| SignedRank::of(&vec![1.0; pairs]).interval(0.05);
        assert_eq!((interval(5), interval(6)), (None, Some((1.0, 1.0)))); // 2 / 2^5 = 6.25 %
    }

    /// Every outcome of the coins, one by one.
    fn by_enumeration(differences: &[f64], value: f64) -> f64 {
        let mut sizes: Vec<(f64, bool)> =
            differences.iter().map(|d| ((d - value).abs(), *d < value)).collect();
        sizes.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        let statistic = |below: &dyn Fn(usize) -> bool| -> usize {
            (0..sizes.len()).filter(|index| below(*index)).map(|index| index + 1).sum()
        };
        let seen = statistic(&|index| sizes[index].1);
        let outcomes = 1_u32 << sizes.len();
        let as_far =
            (0..outcomes).filter(|coins| statistic(&|index| coins >> index & 1 == 1) <= seen).count();
        as_far as f64 / f64::from(outcomes)
    }

    proptest! {
        #[test]
        fn it_is_the_test_by_enumeration(seeds in prop::collection::vec(-1000_i32..1000, 1..10)) {
            // Apart from one another in size, so that there are no ties.
            let differences: Vec<f64> =
                seeds.iter().enumerate().map(|(index, seed)| f64::from(*seed) + index as f64 / 64.0 + 0.001).collect();
            let mut sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
            sizes.sort_unstable_by(f64::total_cmp);
            prop_assume!(sizes.windows(2).all(|two| two[0] < two[1]));
            let got = SignedRank::of(&differences).p_above(0.0);
            prop_assert!((got - by_enumeration(&differences, 0.0)).abs() < 1e-9);
        }

        #[test]
        fn the_interval_holds_what_is_not_rejected(
            differences in prop::collection::vec(-50_i32..50, 8..20),
            value in -50_i32..50,
        ) {
            let differences: Vec<f64> = differences.into_iter().map(f64::from).collect();
            let ranked = SignedRank::of(&differences);
            let (low, high) = ranked.interval(0.05).unwrap();
            let value = f64::from(value);
            prop_assert_eq!((low..=high).contains(&value), ranked.p_apart(value) > 0.05);
        }
    }
}
