//! Time stamps: invariant-TSC detection, calibration with an error bound, fall-back, mock.
//!
//! A [`Clock`] is read in [`Ticks`] and converts them to [`Nanos`]; it is a small `Copy` value that is handed to
//! whoever needs time, never a global. Where the time-stamp counter may not be trusted ([`decide`]), a tick is a
//! nanosecond of CLOCK_MONOTONIC_RAW, and the clock says so.
//!
//! Caveats. Ticks of different clocks do not mix. Stamps taken on different CPUs may be off by the skew between their
//! counters (measured by crate `probes`). Suspend is not counted. Nothing here knows threads: pinning, waiting and
//! reading files are the caller's.

mod calibrate;
mod detect;
mod mock;
mod raw;
mod scale;
mod tsc;

use units::{Nanos, Ticks};

pub use calibrate::{Begun, Calibration, Checked, Error, SPAN_DEFAULT, SPAN_MIN, Sandwich, begin};
pub use detect::{Decision, Facts, decide};
pub use mock::MockClock;
use scale::Scale;

/// A clock: 64 bytes, `Copy`, the same on every thread.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    reader: Reader,
    scale: Scale,
    /// One instant in both units.
    anchor: (Ticks, Nanos),
    error_ppb: u32,
}

#[derive(Debug, Clone, Copy)]
enum Reader {
    Tsc,
    Raw,
    Mock(&'static mock::Time),
}

/// What a clock is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The invariant time-stamp counter.
    Tsc,
    /// CLOCK_MONOTONIC_RAW through the vDSO.
    Monotonic,
    /// A test.
    Mock,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Tsc => "tsc",
            Self::Monotonic => "monotonic",
            Self::Mock => "mock",
        })
    }
}

/// A clock, and how it came to be the one.
#[derive(Debug, Clone)]
pub struct Started {
    /// The clock.
    pub clock: Clock,
    /// Of the counter, when that is the source; kept to be [extended](Calibration::extended) and checked later.
    pub calibration: Option<Calibration>,
    /// Why the counter is not the source; empty when it is.
    pub doubts: Vec<String>,
}

impl Clock {
    /// The best clock that `facts` allow. `wait` is called with `span` when the counter is to be calibrated.
    pub fn start(facts: &Facts, span: Nanos, wait: impl FnOnce(Nanos)) -> Started {
        let doubts = match decide(facts) {
            Decision::Monotonic { reasons } => reasons,
            Decision::Tsc => match Calibration::run(span, wait) {
                Ok(calibration) => {
                    let clock = Self::tsc(&calibration);
                    return Started { clock, calibration: Some(calibration), doubts: Vec::new() };
                }
                Err(error) => vec![error.to_string()],
            },
        };
        Started { clock: Self::monotonic(), calibration: None, doubts }
    }

    /// The time-stamp counter at the rate that `calibration` found. A later, longer calibration makes a better clock of
    /// the same ticks.
    #[must_use]
    pub fn tsc(calibration: &Calibration) -> Self {
        let (scale, anchor) = (calibration.scale(), calibration.anchor());
        Self { reader: Reader::Tsc, scale, anchor, error_ppb: calibration.error_ppb() }
    }

    /// CLOCK_MONOTONIC_RAW; one tick is one nanosecond.
    #[must_use]
    pub fn monotonic() -> Self {
        Self { reader: Reader::Raw, scale: Scale::NANOS, anchor: Default::default(), error_ppb: 0 }
    }

    /// A clock that stands still until it is moved; one tick is one nanosecond. It starts at zero.
    #[must_use]
    pub fn mock() -> (Self, MockClock) {
        Self::mock_with(Scale::NANOS)
    }

    /// A mock with `mhz` million ticks a second, for tests that would notice ticks taken for nanoseconds.
    ///
    /// # Panics
    /// When no counter ticks so (0, or more than 20 000).
    #[must_use]
    pub fn mock_mhz(mhz: u32) -> (Self, MockClock) {
        Self::mock_with(Scale::new(1e3 / f64::from(mhz)).expect("a rate between 1 MHz and 20 GHz"))
    }

    fn mock_with(scale: Scale) -> (Self, MockClock) {
        // Sixteen bytes a test, so that a clock is Copy.
        let time: &'static mock::Time = Box::leak(Box::default());
        let clock = Self { reader: Reader::Mock(time), scale, anchor: Default::default(), error_ppb: 0 };
        (clock, MockClock { time, scale })
    }

    /// The time. Costs what the counter costs (9.6 ns beside 9.6 ns bare, 31.8 ns from the vDSO, 2-vCPU VM): the
    /// choice of source is a predicted branch in its shadow. Instructions around it may be reordered across it, by
    /// some ten nanoseconds.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Ticks {
        match self.reader {
            Reader::Tsc => Ticks(tsc::read()),
            Reader::Raw => Ticks(raw::now().0),
            Reader::Mock(time) => time.read(),
        }
    }

    /// The time, after everything before is finished and before anything later begins: for stamps around less than
    /// 100 ns, and between CPUs. Two such stamps with nothing between them are some 20 ns apart.
    #[inline]
    #[must_use]
    pub fn now_fenced(&self) -> Ticks {
        match self.reader {
            Reader::Tsc => Ticks(tsc::read_fenced()),
            Reader::Raw => Ticks(raw::now().0),
            Reader::Mock(time) => time.read(),
        }
    }

    /// A duration in nanoseconds, to the nearest. About 1 ns.
    #[inline]
    #[must_use]
    pub fn to_nanos(&self, duration: Ticks) -> Nanos {
        self.scale.to_nanos(duration)
    }

    /// A duration in ticks, to the nearest.
    #[inline]
    #[must_use]
    pub fn to_ticks(&self, duration: Nanos) -> Ticks {
        self.scale.to_ticks(duration)
    }

    /// What CLOCK_MONOTONIC_RAW read at `stamp`: right to some 20 ns at the calibration, and further off by
    /// [`Clock::error_ppb`] of the time since or until then.
    #[must_use]
    pub fn raw_at(&self, stamp: Ticks) -> Nanos {
        let (ticks, nanos) = self.anchor;
        nanos + self.to_nanos(stamp.since(ticks)) - self.to_nanos(ticks.since(stamp))
    }

    /// What the clock is read from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.reader {
            Reader::Tsc => Source::Tsc,
            Reader::Raw => Source::Monotonic,
            Reader::Mock(_) => Source::Mock,
        }
    }

    /// Ticks a second.
    #[must_use]
    pub fn hz(&self) -> u64 {
        self.scale.hz()
    }

    /// How wrong a duration can be against CLOCK_MONOTONIC_RAW, in parts in a thousand million; 0 where it is that
    /// clock.
    #[must_use]
    pub fn error_ppb(&self) -> u32 {
        self.error_ppb
    }

    /// Whether ticks come from a counter that keeps its rate and never stops.
    #[must_use]
    pub fn invariant(&self) -> bool {
        matches!(self.reader, Reader::Tsc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_small_and_goes_everywhere() {
        fn everywhere<T: Copy + Send + Sync>() {}
        everywhere::<Clock>();
        assert!(size_of::<Clock>() <= 64, "{} bytes", size_of::<Clock>());
    }

    #[test]
    fn a_mock_moves_when_told() {
        let (clock, hand) = Clock::mock_mhz(2_000);
        assert_eq!((clock.now(), clock.now_fenced()), (Ticks(0), Ticks(0)));
        hand.advance(Nanos(300));
        assert_eq!(clock.now(), Ticks(600));
        assert_eq!(clock.raw_at(clock.now()), Nanos(300));
        hand.step(Ticks(10));
        assert_eq!((clock.now(), clock.now()), (Ticks(600), Ticks(610)));
        assert_eq!((clock.source(), clock.hz(), clock.invariant()), (Source::Mock, 2_000_000_000, false));
    }

    #[test]
    fn without_trust_the_clock_is_monotonic_and_says_why() {
        let started =
            Clock::start(&Facts::default(), SPAN_DEFAULT, |_| panic!("there is nothing to calibrate"));
        assert_eq!(started.clock.source(), Source::Monotonic);
        assert!(started.calibration.is_none() && !started.doubts.is_empty());
        let (before, stamp, after) = (raw::now(), started.clock.now(), raw::now());
        assert!(
            (before..=after).contains(&started.clock.raw_at(stamp)),
            "a tick is a nanosecond of that clock"
        );
        assert_eq!((started.clock.hz(), started.clock.error_ppb()), (1_000_000_000, 0));
    }

    #[test]
    fn a_counter_that_cannot_be_calibrated_is_not_used() {
        let facts = Facts {
            cpuid_invariant: true,
            constant_tsc: Some(true),
            nonstop_tsc: Some(true),
            current_clocksource: Some("tsc".into()),
            ..Facts::default()
        };
        let started = Clock::start(&facts, SPAN_DEFAULT, |_| ()); // waits for nothing
        assert_eq!(started.clock.source(), Source::Monotonic);
        assert!(started.doubts[0].starts_with("cannot calibrate over"), "{:?}", started.doubts);
    }
}
