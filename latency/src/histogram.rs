//! The latency histogram: HDR buckets with exact ends.
//!
//! A fixed range and precision for every histogram in quell, so that any two merge bucket by bucket and
//! nothing is lost. Two significant digits over 0 ns to 68.7 s are 3,840 buckets, 30 KiB; a quantile reads at
//! most 1/128 = 0.78 % high, never low. Three digits would be 0.1 % for 216 KiB. A channel has fifteen (ten
//! window slots, the total of what has ended, two snapshots of two), so six channels take 2.6 MiB, and would
//! take 19 MiB: more than all the memory the agent may use, for a precision no budget needs, because budgets
//! count exactly ([`crate::Exceedances`]).
//!
//! What the bucket array cannot hold is kept beside it: minimum, maximum and sum are exact. A value beyond
//! the range is counted in the last bucket *and* in [`Histogram::overflow`]: ranks stay right, a quantile
//! that falls among such values is the exact maximum, and whoever reports must call a figure with overflow
//! degraded.

use std::fmt;

use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use units::{Nanos, Quantile};

const SIGNIFICANT_DIGITS: u8 = 2;
const LOWEST: u64 = 1;

/// A histogram of latencies; recording neither fails nor allocates.
#[derive(Clone)]
pub struct Histogram {
    buckets: hdrhistogram::Histogram<u64>,
    min: Nanos,
    max: Nanos,
    sum: Nanos,
    overflow: u64,
    overflow_sum: Nanos,
}

impl Histogram {
    /// The longest latency that has a bucket of its own: 2^36 - 1 ns, 68.7 s. Longer ones are overflow.
    pub const HIGHEST: Nanos = Nanos((1 << 36) - 1);

    /// An empty histogram; the only call here that allocates, besides encoding and cloning.
    ///
    /// # Panics
    /// Never: the bounds are constants that the bucket array accepts.
    #[must_use]
    pub fn new() -> Self {
        let buckets = hdrhistogram::Histogram::new_with_bounds(LOWEST, Self::HIGHEST.0, SIGNIFICANT_DIGITS)
            .expect("1 <= lowest, 2 x lowest <= highest, digits <= 5");
        Self {
            buckets,
            min: Nanos::MAX,
            max: Nanos::ZERO,
            sum: Nanos::ZERO,
            overflow: 0,
            overflow_sum: Nanos::ZERO,
        }
    }

    /// Records one latency.
    #[inline]
    pub fn record(&mut self, value: Nanos) {
        self.record_n(value, 1);
    }

    /// Records the same latency `n` times.
    #[inline]
    pub fn record_n(&mut self, value: Nanos, n: u64) {
        if n == 0 {
            return;
        }
        if value > Self::HIGHEST {
            self.note_overflow(value, n);
        }
        self.buckets.saturating_record_n(value.0, n);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.sum += value.times(n);
    }

    #[cold]
    fn note_overflow(&mut self, value: Nanos, n: u64) {
        self.overflow = self.overflow.saturating_add(n);
        self.overflow_sum += value.times(n);
    }

    /// Adds everything `other` holds; afterwards this is the histogram of both sets of samples.
    ///
    /// # Panics
    /// Never: all histograms of this type have the same buckets.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.add(&other.buckets).expect("all histograms have the same range and do not resize");
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.overflow = self.overflow.saturating_add(other.overflow);
        self.overflow_sum += other.overflow_sum;
    }

    /// Forgets everything. A histogram that is empty already costs one compare: most slots of a quiet channel
    /// are.
    pub fn clear(&mut self) {
        if self.count() == 0 {
            return;
        }
        self.buckets.reset();
        self.min = Nanos::MAX;
        self.max = Nanos::ZERO;
        self.sum = Nanos::ZERO;
        self.overflow = 0;
        self.overflow_sum = Nanos::ZERO;
    }

    /// Makes this a copy of `other` in the memory it already has.
    pub fn copy_from(&mut self, other: &Self) {
        self.clear();
        self.merge(other);
    }

    /// What was recorded since `earlier`, a copy of this one's past. Bucket by bucket: minimum, maximum and sum are those of
    /// the buckets' ends, and what lies beyond the range is known by its mean.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::new();
        let beyond = self.overflow.saturating_sub(earlier.overflow);
        let last = self.buckets.highest_equivalent(Self::HIGHEST.0);
        for bucket in self.buckets.iter_recorded() {
            let end = bucket.value_iterated_to();
            let all = bucket.count_at_value().saturating_sub(earlier.buckets.count_at(end));
            let within = if end == last { all.saturating_sub(beyond) } else { all };
            since.record_n(Nanos(end).min(Self::HIGHEST), within);
        }
        if let Some(mean) = (self.overflow_sum - earlier.overflow_sum).0.checked_div(beyond) {
            since.record_n(Nanos(mean), beyond);
        }
        since
    }

    /// How many latencies were recorded, those beyond the range included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.len()
    }

    /// How many of them were longer than [`Histogram::HIGHEST`]. Above zero, every figure is degraded.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The shortest latency, exact.
    #[must_use]
    pub fn min(&self) -> Option<Nanos> {
        (self.count() > 0).then_some(self.min)
    }

    /// The longest latency, exact, also beyond the range.
    #[must_use]
    pub fn max(&self) -> Option<Nanos> {
        (self.count() > 0).then_some(self.max)
    }

    /// The sum of all latencies, exact.
    #[must_use]
    pub fn sum(&self) -> Nanos {
        self.sum
    }

    /// The mean, from the exact sum, rounded down.
    #[must_use]
    pub fn mean(&self) -> Option<Nanos> {
        self.sum.0.checked_div(self.count()).map(Nanos)
    }

    /// The value at `quantile`: at least that share of the samples is no longer. At most 0.78 % too high,
    /// never too low.
    ///
    /// `None` while fewer than [`Quantile::samples_min`] samples stand behind it: such a figure is luck, not
    /// a measurement, and is not given out as a number.
    #[must_use]
    pub fn value_at(&self, quantile: Quantile) -> Option<Nanos> {
        let count = self.count();
        (count >= quantile.samples_min()).then(|| self.value_at_rank(rank(quantile, count)))
    }

    /// The same however few samples stand behind it, for whoever compares many such figures; `None` of nothing.
    pub(crate) fn figure_at(&self, quantile: Quantile) -> Option<Nanos> {
        let count = self.count();
        (count > 0).then(|| self.value_at_rank(rank(quantile, count)))
    }

    /// The 95 % confidence interval of [`Histogram::value_at`] by order statistics: the values whose ranks
    /// are 1.96 binomial standard deviations below and above, by the normal approximation, which n(1-p) >= 10
    /// makes fair.
    ///
    /// It assumes independent samples. Stalls come in groups, so the true interval is wider, never narrower.
    #[must_use]
    pub fn interval_at(&self, quantile: Quantile) -> Option<(Nanos, Nanos)> {
        let count = self.count();
        if count < quantile.samples_min() {
            return None;
        }
        let spread = rank_spread(quantile, count);
        let rank = rank(quantile, count);
        let low = rank.saturating_sub(spread).max(1);
        let high = rank.saturating_add(spread).min(count);
        Some((self.value_at_rank(low), self.value_at_rank(high)))
    }

    /// The value of the sample with this rank (1 is the shortest), rounded up to the end of its bucket.
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact below 2^52 samples: 142 years of one a microsecond"
    )]
    fn value_at_rank(&self, rank: u64) -> Nanos {
        if rank > self.count() - self.overflow {
            return self.max; // the last bucket's end would understate it
        }
        // Asked for as the middle of the rank's step, so that no rounding of the fraction reaches the next
        // rank.
        let fraction = (rank as f64 - 0.5) / self.count() as f64;
        Nanos(self.buckets.value_at_quantile(fraction)).clamp(self.min, self.max)
    }

    /// Each bucket that holds samples, shortest first: its end (the exact maximum for the last) and its
    /// count. Samples beyond the range are left out; [`Histogram::overflow`] counts them.
    pub fn recorded(&self) -> impl Iterator<Item = (Nanos, u64)> + '_ {
        let last = self.buckets.highest_equivalent(Self::HIGHEST.0);
        self.buckets.iter_recorded().filter_map(move |bucket| {
            let beyond = if bucket.value_iterated_to() == last { self.overflow } else { 0 };
            let count = bucket.count_at_value() - beyond;
            (count > 0).then(|| (Nanos(bucket.value_iterated_to()).min(self.max), count))
        })
    }

    /// Samples beyond the range and their exact sum.
    pub(crate) fn beyond_range(&self) -> (u64, Nanos) {
        (self.overflow, self.overflow_sum)
    }

    /// The standard HdrHistogram V2 encoding (uncompressed), which other tools read. It carries the buckets
    /// only: exact minimum, maximum, sum and overflow travel beside it in the report.
    ///
    /// # Panics
    /// With 2^63 samples in one bucket, which at one a nanosecond takes 292 years.
    #[must_use]
    pub fn encode_v2(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&self.buckets, &mut bytes)
            .expect("counts are below 2^63 and a Vec takes every byte");
        bytes
    }

    /// Reads what [`Histogram::encode_v2`] wrote. Minimum, maximum and sum are then those of the buckets: the
    /// ends are rounded outwards and the sum up, each by at most 0.78 %.
    ///
    /// # Errors
    /// [`DecodeError`] for bytes that are no V2 histogram, or one of another range or precision: merging that
    /// would lose buckets without saying so.
    pub fn decode_v2(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_header(bytes)?;
        let buckets: hdrhistogram::Histogram<u64> = Deserializer::new()
            .deserialize(&mut &bytes[..])
            .map_err(|cause| DecodeError(cause.to_string()))?;
        let mut decoded = Self { buckets, ..Self::new() };
        if !decoded.buckets.is_empty() {
            decoded.min = Nanos(decoded.buckets.min());
            decoded.max = Nanos(decoded.buckets.max());
            decoded.sum = decoded.recorded().map(|(value, count)| value.times(count)).sum();
        }
        Ok(decoded)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, min, max) = (self.count(), self.min(), self.max());
        write!(f, "Histogram({count} samples, min {min:?}, max {max:?}, overflow {})", self.overflow)
    }
}

/// The rank of `quantile` among `count` samples: the least whole number at or above count × p, at least 1.
fn rank(quantile: Quantile, count: u64) -> u64 {
    let tail = u128::from(count) * u128::from(quantile.tail_ppm()) / 1_000_000;
    (count - u64::try_from(tail).expect("a share of a u64")).max(1)
}

/// 1.96 binomial standard deviations of the rank, rounded up.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an interval of ranks to within one; the root of a positive number is positive and small"
)]
fn rank_spread(quantile: Quantile, count: u64) -> u64 {
    let tail = f64::from(quantile.tail_ppm()) / 1e6;
    (1.96 * (count as f64 * tail * (1.0 - tail)).sqrt()).ceil() as u64
}

/// Bytes that are no histogram of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a histogram of this range and precision (HDR V2, 2 digits, up to 68.7 s): {0}")]
pub struct DecodeError(String);

/// Checks what the decoder would allocate by, before it does: it trusts the lengths it reads.
// Format: cookie u32, payload length u32, offset u32, digits u32, lowest u64, highest u64, ratio f64; big
// endian. (HdrHistogram, AbstractHistogram.java, "V2EncodingCookieBase")
fn check_header(bytes: &[u8]) -> Result<(), DecodeError> {
    let word =
        |at: usize| bytes.get(at..at + 4).map(|b| u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])));
    let long = |at: usize| Some(word(at)? << 32 | word(at + 4)?);
    let wanted = [("digits", word(12), u64::from(SIGNIFICANT_DIGITS)), ("lowest value", long(16), LOWEST)];
    for (what, have, want) in wanted.into_iter().chain([("highest value", long(24), Histogram::HIGHEST.0)]) {
        if have != Some(want) {
            let have = have.map_or("missing".to_owned(), |have| have.to_string());
            return Err(DecodeError(format!("{what} is {have}, not {want}")));
        }
    }
    let held = u64::try_from(bytes.len().saturating_sub(V2_HEADER_BYTES)).unwrap_or(u64::MAX);
    match word(4) {
        Some(payload) if payload == held => Ok(()),
        payload => Err(DecodeError(format!("{held} bytes of buckets where the header says {payload:?}"))),
    }
}

const V2_HEADER_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Splitmix64: samples that are the same on every machine.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }

        /// A Pareto tail from 800 ns with exponent 1.1: most samples near the floor, a few in seconds.
        fn heavy(&mut self) -> Nanos {
            #[expect(clippy::cast_precision_loss, reason = "53 bits of a random number")]
            let uniform = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the min")]
            Nanos((800.0 * uniform.powf(-1.0 / 1.1)).min(6e10) as u64)
        }
    }

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        for value in values {
            histogram.record(Nanos(*value));
        }
        histogram
    }

    const QUANTILES: [&str; 12] =
        ["p0.01", "p1", "p10", "p25", "p50", "p75", "p90", "p99", "p99.9", "p99.99", "p99.999", "p99.9999"];

    #[test]
    fn the_difference_of_two_copies_is_what_came_between() {
        let check = |before: &[u64], between: &[u64]| {
            let (mut histogram, mut expected) = (of(before), Histogram::new());
            let earlier = histogram.clone();
            between.iter().for_each(|value| {
                histogram.record(Nanos(*value));
                expected.record(Nanos(*value));
            });
            let since = histogram.since(&earlier);
            assert_eq!((since.count(), since.overflow()), (expected.count(), expected.overflow()));
            let buckets = |histogram: &Histogram| -> Vec<u64> {
                let last = histogram.buckets.highest_equivalent(Histogram::HIGHEST.0);
                let buckets = histogram.buckets.iter_recorded();
                buckets
                    .map(|bucket| bucket.value_iterated_to().min(last) << 16 | bucket.count_at_value())
                    .collect()
            };
            assert_eq!(buckets(&since), buckets(&expected), "{before:?} {between:?}");
        };
        check(&[], &[]);
        check(&[5, 700, 700, 90_000], &[]);
        check(&[], &[0, 5, 700, 90_000]);
        check(&[5, 700, 700], &[700, 1_000_000, 5, 5]); // within old buckets and beyond the old maximum
        let beyond = Histogram::HIGHEST.0 + 5;
        check(&[beyond, Histogram::HIGHEST.0], &[beyond, beyond + 2, Histogram::HIGHEST.0, 7]);
    }

    /// Every quantile against the sorted list of all samples.
    #[track_caller]
    fn check_against_sorted(mut values: Vec<Nanos>) {
        let mut histogram = Histogram::new();
        for value in &values {
            histogram.record(*value);
        }
        values.sort_unstable();
        assert_eq!(histogram.max(), values.last().copied());
        assert_eq!(histogram.min(), values.first().copied());
        assert_eq!(histogram.sum(), values.iter().copied().sum());
        for quantile in QUANTILES.map(|text| text.parse::<Quantile>().unwrap()) {
            let Some(got) = histogram.value_at(quantile) else {
                assert!(values.len() < usize::try_from(quantile.samples_min()).unwrap(), "{quantile}");
                continue;
            };
            let count = u64::try_from(values.len()).unwrap();
            let exact = values[usize::try_from(rank(quantile, count)).unwrap() - 1];
            assert!(exact <= got, "{quantile}: {got} understates {exact}");
            assert!(
                (got - exact).0 * 1000 <= exact.0 * 8,
                "{quantile}: {got:?} is over 0.8 % from {exact:?}"
            );
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_sorted_list() {
        let mut random = Random(1);
        check_against_sorted((0..2_000_000).map(|_| random.heavy()).collect());
        check_against_sorted((0..200_000).map(|_| Nanos(random.next() % 300)).collect()); // exact buckets
        check_against_sorted((0..100).map(Nanos).collect()); // too few for the tail
        check_against_sorted(vec![Nanos(7); 50_000]); // one value: every quantile is it
    }

    /// Ten million samples take a minute unoptimised, so they are asked for.
    #[test]
    fn quantiles_of_ten_million_samples() {
        if std::env::var_os("QUELL_TEST_LARGE").is_none() {
            eprintln!("skipped: set QUELL_TEST_LARGE=1 to compare 10^7 samples");
            return;
        }
        let mut random = Random(2);
        check_against_sorted((0..10_000_000).map(|_| random.heavy()).collect());
    }

    #[test]
    fn the_range_is_what_the_memory_budget_reckons_with() {
        let buckets = Histogram::new().buckets;
        assert_eq!(
            (buckets.distinct_values() * size_of::<u64>(), buckets.is_auto_resize()),
            (30 << 10, false)
        );
    }

    #[test]
    fn a_quantile_with_too_few_samples_is_no_number() {
        let mut histogram = of(&[1_000; 999]);
        assert_eq!(histogram.value_at(Quantile::P99), None);
        assert_eq!(histogram.interval_at(Quantile::P99), None);
        histogram.record(Nanos(1_000));
        assert_eq!(histogram.value_at(Quantile::P99), Some(Nanos(1_000)));
        assert_eq!(Histogram::new().value_at(Quantile::P50), None);
        assert_eq!(
            (Histogram::new().min(), Histogram::new().max(), Histogram::new().mean()),
            (None, None, None)
        );
    }

    #[test]
    fn overflow_is_counted_and_the_maximum_stays_exact() {
        let long = Nanos::from_secs(5_000);
        let mut histogram = of(&[100; 990]);
        histogram.record_n(long, 10);
        assert_eq!((histogram.count(), histogram.overflow(), histogram.max()), (1_000, 10, Some(long)));
        assert_eq!(histogram.value_at(Quantile::P99), Some(Nanos(100))); // rank 990, the last in range
        assert_eq!(histogram.value_at_rank(991), long); // not the end of the range, which would understate it
        assert_eq!(histogram.recorded().collect::<Vec<_>>(), [(Nanos(100), 990)]);
        histogram.clear();
        assert_eq!((histogram.overflow(), histogram.max(), histogram.sum()), (0, None, Nanos::ZERO));
    }

    #[test]
    fn the_interval_holds_the_quantile_and_narrows_with_samples() {
        let mut random = Random(3);
        let mut histogram = Histogram::new();
        let mut widths = Vec::new();
        for samples in [10_000, 990_000] {
            (0..samples).for_each(|_| histogram.record(random.heavy()));
            let value = histogram.value_at(Quantile::P99_9).unwrap();
            let (low, high) = histogram.interval_at(Quantile::P99_9).unwrap();
            assert!(low <= value && value <= high);
            widths.push(high - low);
        }
        // A hundred times the samples: a tenth of the spread of ranks.
        assert!(widths[1].0 * 4 < widths[0].0, "{widths:?}");
    }

    #[test]
    fn encoding_round_trips_and_refuses_the_rest() {
        let mut random = Random(4);
        let mut histogram = Histogram::new();
        (0..50_000).for_each(|_| histogram.record(random.heavy()));
        let bytes = histogram.encode_v2();
        let decoded = Histogram::decode_v2(&bytes).unwrap();
        assert_eq!(decoded.buckets, histogram.buckets);
        assert_eq!(decoded.encode_v2(), bytes);
        assert!(decoded.min() <= histogram.min() && histogram.max() <= decoded.max());

        let foreign = hdrhistogram::Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).unwrap();
        let mut foreign_bytes = Vec::new();
        V2Serializer::new().serialize(&foreign, &mut foreign_bytes).unwrap();
        let refusal = Histogram::decode_v2(&foreign_bytes).unwrap_err().to_string();
        assert!(refusal.ends_with("digits is 3, not 2"), "{refusal}");
        assert!(Histogram::decode_v2(&bytes[..bytes.len() - 1]).is_err()); // cut short
        assert!(Histogram::decode_v2(b"").is_err());
        let mut other_cookie = bytes;
        other_cookie[3] ^= 1;
        assert!(Histogram::decode_v2(&other_cookie).is_err());
    }

    fn samples() -> impl Strategy<Value = Vec<u64>> {
        // A bit length first: latencies of every magnitude, beyond the range too.
        proptest::collection::vec(
            (0u32..40, any::<u64>()).prop_map(|(bits, raw)| raw & ((1 << bits) - 1)),
            0..60,
        )
    }

    fn figures(histogram: &Histogram) -> (Vec<u8>, [u64; 3], [Option<Nanos>; 2]) {
        let counts = [histogram.count(), histogram.overflow(), histogram.sum().0];
        (histogram.encode_v2(), counts, [histogram.min(), histogram.max()])
    }

    proptest! {
        /// However samples are split and merged, the result is the histogram of all of them.
        #[test]
        fn merging_loses_nothing(a in samples(), b in samples(), c in samples()) {
            let (ha, hb, hc) = (of(&a), of(&b), of(&c));
            let mut left = ha.clone();
            left.merge(&hb);
            left.merge(&hc);
            let mut right = hb.clone();
            right.merge(&hc);
            right.merge(&ha);
            let whole = figures(&of(&[a, b, c].concat()));
            prop_assert_eq!(&figures(&left), &whole);
            prop_assert_eq!(&figures(&right), &whole);
            let mut copy = hb;
            copy.copy_from(&left);
            prop_assert_eq!(&figures(&copy), &whole);
        }

        #[test]
        fn garbage_is_refused_not_trusted(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut dressed = Histogram::new().encode_v2();
            dressed.splice(40.., bytes.iter().copied()); // a good header before any payload
            let _ = Histogram::decode_v2(&dressed);
            prop_assert!(Histogram::decode_v2(&bytes).is_err());
        }
    }
}
