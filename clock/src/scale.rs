//! Ticks to nanoseconds and back, in integers.
//!
//! A rate is kept as a fixed-point number with [`SHIFT`] fractional bits, one for each direction, so that a
//! conversion is one 64 × 64 bit multiplication and one shift. The fixed point is finer than any calibration: half a
//! unit in the last place is 5e-15 of a 2.6 GHz tick.

use units::{Nanos, Ticks};

/// Fractional bits of a rate. 48 leave 16 whole bits, enough for every rate between [`HZ_MIN`] and [`HZ_MAX`] in both
/// directions, with 2⁻⁴⁸ of a nanosecond a tick to spare.
const SHIFT: u32 = 48;
const ONE: u64 = 1 << SHIFT;

/// The slowest counter believed: below it, one tick is longer than what we measure.
pub const HZ_MIN: f64 = 1e6;
/// The fastest counter believed: twice the clock of any CPU there is.
pub const HZ_MAX: f64 = 2e10;

/// Fixed-point rates in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    nanos_per_tick: u64,
    ticks_per_nano: u64,
}

impl Scale {
    /// One tick is one nanosecond.
    pub const NANOS: Self = Self { nanos_per_tick: ONE, ticks_per_nano: ONE };

    /// A counter with this many nanoseconds a tick, or `None` when no counter ticks so.
    pub fn new(nanos_per_tick: f64) -> Option<Self> {
        (HZ_MIN..=HZ_MAX).contains(&(1e9 / nanos_per_tick)).then(|| Self {
            nanos_per_tick: fixed_point(nanos_per_tick),
            ticks_per_nano: fixed_point(1.0 / nanos_per_tick),
        })
    }

    /// `ticks` in nanoseconds, to the nearest. About 1 ns.
    #[inline]
    pub fn to_nanos(self, ticks: Ticks) -> Nanos {
        Nanos(scaled(ticks.0, self.nanos_per_tick))
    }

    /// `nanos` in ticks, to the nearest.
    #[inline]
    pub fn to_ticks(self, nanos: Nanos) -> Ticks {
        Ticks(scaled(nanos.0, self.ticks_per_nano))
    }

    /// Ticks a second, to the nearest.
    pub fn hz(self) -> u64 {
        let ticks = (u128::from(self.ticks_per_nano) * 1_000_000_000 + u128::from(ONE / 2)) >> SHIFT;
        u64::try_from(ticks).expect("2^16 ticks a nanosecond at most, 10^9 nanoseconds")
    }
}

#[inline]
fn scaled(count: u64, rate: u64) -> u64 {
    // The product has 128 bits, so only the result can be too large: centuries of a slow counter.
    u64::try_from((u128::from(count) * u128::from(rate) + u128::from(ONE / 2)) >> SHIFT).unwrap_or(u64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within HZ_MIN..=HZ_MAX, 2^14 at most"
)]
fn fixed_point(rate: f64) -> u64 {
    (rate * ONE as f64).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(hz: f64, ticks: u64, nanos: u64) {
        let scale = Scale::new(1e9 / hz).unwrap();
        assert_eq!(scale.to_nanos(Ticks(ticks)), Nanos(nanos));
    }

    #[test]
    fn ticks_become_nanoseconds() {
        check(1e9, 0, 0);
        check(1e9, 12_345, 12_345);
        check(2.5e9, 2_500_000_000, 1_000_000_000);
        check(2e9, 3, 2); // to the nearest, a half upwards
        check(2e9, u64::MAX - 1, (u64::MAX - 1) / 2); // 292 years
        check(1e6, u64::MAX, u64::MAX); // beyond the scale: its end
    }

    #[test]
    fn impossible_rates_are_refused() {
        for hz in [0.0, -1.0, 9e5, 3e10, f64::NAN, f64::INFINITY] {
            assert_eq!(Scale::new(1e9 / hz), None, "{hz} Hz");
        }
        assert_eq!(Scale::new(f64::NAN), None);
        assert_eq!(Scale::new(0.385).unwrap().hz(), 2_597_402_597);
        assert_eq!(Scale::NANOS.hz(), 1_000_000_000);
    }

    proptest! {
        #[test]
        fn conversion_keeps_the_exact_value(mhz in 1u64..20_000, ticks in 0u64..1 << 53) {
            let scale = Scale::new(1e3 / mhz as f64).unwrap();
            let exact = u128::from(ticks) * 1_000 / u128::from(mhz);
            let got = u128::from(scale.to_nanos(Ticks(ticks)).0);
            // One for the rounding, one part in 2^47 (and the double's 2^53) for the rate itself.
            prop_assert!(got.abs_diff(exact) <= 1 + (exact >> 44), "{got} is not {exact}");
        }

        #[test]
        fn there_and_back_loses_at_most_a_unit(mhz in 100u64..20_000, nanos in 0u64..1 << 43) {
            let scale = Scale::new(1e3 / mhz as f64).unwrap();
            let back = scale.to_nanos(scale.to_ticks(Nanos(nanos)));
            let tick = 1 + 1_000 / mhz; // a nanosecond between two ticks goes to the nearer one
            prop_assert!(back.0.abs_diff(nanos) <= tick, "{nanos} came back as {back:?}");
        }
    }
}
