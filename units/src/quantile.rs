//! Quantiles, exact.
//!
//! 0.99 has no exact binary form and "p99.9" must not become 0.9990000001 in a comparison, so a quantile is kept as
//! parts per million.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// A quantile in parts per million: `P99` is 990 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantile(u32);

/// The whole, in parts per million.
const ONE: u32 = 1_000_000;

/// Samples that must lie beyond a quantile before it is printed as a number. With n(1-p) = 10 the relative standard
/// error of the tail count is 1/sqrt(10) = 32 %; below that the figure says more about luck than about the host.
const TAIL_SAMPLES_MIN: u64 = 10;

impl Quantile {
    /// The median.
    pub const P50: Self = Self(500_000);
    /// 90 %.
    pub const P90: Self = Self(900_000);
    /// 99 %.
    pub const P99: Self = Self(990_000);
    /// 99.9 %.
    pub const P99_9: Self = Self(999_000);
    /// 99.99 %.
    pub const P99_99: Self = Self(999_900);

    /// As a fraction of one, for libraries that want a float.
    #[must_use]
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / f64::from(ONE)
    }

    /// The share of samples beyond the quantile, in parts per million: 10 000 for p99.
    #[must_use]
    pub const fn tail_ppm(self) -> u32 {
        ONE - self.0
    }

    /// The least number of samples with which this quantile is a number: n(1-p) >= 10.
    #[must_use]
    pub fn samples_min(self) -> u64 {
        (TAIL_SAMPLES_MIN * u64::from(ONE)).div_ceil(u64::from(self.tail_ppm()))
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        let text = format!("p{whole}.{rest:04}");
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `p99`, `p99.9`, up to `p99.9999`.
impl FromStr for Quantile {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parts_per_million(text).map(Self).ok_or_else(|| {
            ParseError::new(text, "not a quantile above p0 and below p100, as in p50, p99.9 or p99.9999")
        })
    }
}

fn parts_per_million(text: &str) -> Option<u32> {
    let percent = text.strip_prefix('p')?;
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
    let well_formed = |part: &str, max: usize| part.len() <= max && part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !well_formed(whole, 2) || !well_formed(fraction, 4) || percent.ends_with('.') {
        return None;
    }
    let ppm = whole.parse::<u32>().ok()? * 10_000 + format!("{fraction:0<4}").parse::<u32>().ok()?;
    (0 < ppm && ppm < ONE).then_some(ppm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ppm: u32, samples_min: u64) {
        let quantile: Quantile = text.parse().unwrap();
        assert_eq!(
            (quantile.0, quantile.samples_min(), quantile.to_string().as_str()),
            (ppm, samples_min, text)
        );
    }

    #[test]
    fn quantiles() {
        check("p50", 500_000, 20);
        check("p99", 990_000, 1_000);
        check("p99.9", 999_000, 10_000);
        check("p99.9999", 999_999, 10_000_000);
        for bad in ["", "99", "p", "p100", "p0", "p99.", "p99.99999", "p9 9", "p-1"] {
            assert!(bad.parse::<Quantile>().is_err(), "{bad:?} was taken for a quantile");
        }
    }
}
