//! Durations and instants in nanoseconds, and raw ticks of the clock they were read from.
//!
//! Both are plain 64-bit counts: 584 years of nanoseconds, 225 years of ticks at 2.6 GHz, so the arithmetic here never
//! meets a wrap that a host could live to see. Subtraction saturates at zero, because two stamps of different CPUs may
//! be out of order by the skew between them, and a negative latency is not one.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use crate::ParseError;

/// Nanoseconds: a duration, or an instant on a clock that the context names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

/// Ticks of the time-stamp counter (or of its fall-back); only a clock turns them into [`Nanos`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticks(pub u64);

/// Units a duration may be written in, longest suffix first so that "ms" is not read as "s".
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest duration there is.
    pub const MAX: Self = Self(u64::MAX);

    /// `us` microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us * 1_000)
    }

    /// `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// `s` seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000_000_000)
    }

    /// As seconds, for people and for rates; exact to 53 bits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "seconds as a float are for reading, not for arithmetic")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This duration `n` times, or the longest there is.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

impl Ticks {
    /// `self` after `earlier`, zero when the two are out of order.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

macro_rules! count_arithmetic {
    ($count:ident) => {
        impl Add for $count {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }
        impl AddAssign for $count {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }
        impl Sub for $count {
            type Output = Self;
            /// Zero when `other` is the larger one.
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }
        impl std::iter::Sum for $count {
            fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
                counts.fold(Self(0), Add::add)
            }
        }
    };
}
count_arithmetic!(Nanos);
count_arithmetic!(Ticks);

impl From<std::time::Duration> for Nanos {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

/// Three significant digits in the largest unit that keeps the number at one or above: "853 ns", "1.25 us", "12.0 s".
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, per_unit) = match self.0 {
            0..1_000 => return f.pad(&format!("{} ns", self.0)),
            1_000..1_000_000 => ("us", 1_000),
            1_000_000..1_000_000_000 => ("ms", 1_000_000),
            _ => ("s", 1_000_000_000),
        };
        let (whole, rest) = (self.0 / per_unit, self.0 % per_unit);
        let text = match whole {
            0..10 => format!("{whole}.{:02} {unit}", rest * 100 / per_unit),
            10..100 => format!("{whole}.{} {unit}", rest * 10 / per_unit),
            _ => format!("{whole} {unit}"),
        };
        f.pad(&text)
    }
}

/// A number with a unit, as in `300ns`, `2.5us`, `10 ms`, `5s`, `2min`, `1h`; a bare number has no unit and is refused,
/// except `0`.
impl FromStr for Nanos {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let trimmed = text.trim();
        if trimmed == "0" {
            return Ok(Self::ZERO);
        }
        let digits = trimmed.trim_end_matches(|c: char| !(c.is_ascii_digit() || c == '.'));
        let suffix = trimmed[digits.len()..].trim();
        let Some((_, per_unit)) = UNITS.iter().find(|(name, _)| *name == suffix) else {
            let problem = match suffix {
                "" => "a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s".to_owned(),
                _ => format!("{suffix:?} is no unit of time; use ns, us, ms, s, min or h, as in 2.5us"),
            };
            return Err(ParseError::new(text, problem));
        };
        decimal(digits, *per_unit)
            .map(Self)
            .ok_or_else(|| ParseError::new(text, "not a number below 584 years, as in 300ns or 2.5us"))
    }
}

/// `digits` × `scale` exactly, without a float: "2.5" × 1000 = 2500. A fraction finer than a nanosecond is refused.
fn decimal(digits: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 12 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return (!digits.ends_with('.')).then_some(whole);
    }
    let divisor = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = fraction.parse::<u128>().ok()? * u128::from(scale);
    if scaled % divisor != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(scaled / divisor).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let got = match text.parse::<Nanos>() {
            Ok(nanos) => format!("{} = {nanos}", nanos.0),
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn durations() {
        check("300ns", "300 = 300 ns");
        check("2.5us", "2500 = 2.50 us");
        check(" 10 ms ", "10000000 = 10.0 ms");
        check("5s", "5000000000 = 5.00 s");
        check("2min", "120000000000 = 120 s");
        check("1h", "3600000000000 = 3600 s");
        check("0", "0 = 0 ns");
        check("999999ns", "999999 = 999 us"); // cut, not rounded: never shown longer than it was
        check("300", "error: \"300\": a duration needs a unit, as in 300ns, 2.5us, 10ms, 5s");
        check(
            "3 parsecs",
            "error: \"3 parsecs\": \"parsecs\" is no unit of time; use ns, us, ms, s, min or h, as in 2.5us",
        );
        check("1.2345ns", "error: \"1.2345ns\": not a number below 584 years, as in 300ns or 2.5us");
        check("-3us", "error: \"-3us\": not a number below 584 years, as in 300ns or 2.5us");
        check("9999999h", "error: \"9999999h\": not a number below 584 years, as in 300ns or 2.5us");
        check("5.s", "error: \"5.s\": not a number below 584 years, as in 300ns or 2.5us");
    }

    #[test]
    fn stamps_out_of_order_are_no_time_apart() {
        assert_eq!(Ticks(5).since(Ticks(9)), Ticks(0));
        assert_eq!(Nanos(5) - Nanos(9), Nanos(0));
    }

    #[test]
    fn sums_stop_at_the_end_of_the_scale() {
        assert_eq!(Nanos::MAX + Nanos(1), Nanos::MAX);
        assert_eq!([Nanos(1), Nanos(2)].into_iter().sum::<Nanos>(), Nanos(3));
    }
}
