//! The counter's rate against CLOCK_MONOTONIC_RAW, with an error bound that is stated and meant.
//!
//! At both ends of a span, many *sandwiches* are taken: counter, clock, counter. The clock was read somewhere inside
//! its sandwich, so half the width is the error of one, about 20 ns, and of a rate over 100 ms 0.4 ppm: true, and too
//! coarse. What makes the bound smaller is that the *same* code runs at both ends: wherever inside the sandwich the
//! clock is read, it is read at the same place on average, and the place cancels. What does not cancel is observed
//! and paid for:
//!
//! * the average of each end is uncertain: it is taken in batches, and the whole range between the lowest and the
//!   highest batch counts as error (eight standard errors of the average, were the batches independent);
//! * the place may move when the code runs slower at one end (frequency, a busy sibling): then the sandwich is wider
//!   there, and half the difference of widths counts, which holds as long as both halves of it slow down together;
//! * the clock is cut to whole nanoseconds, and counters move in steps (10 ns on some AMD machines) which the loop may
//!   lock on to: [`CUT_NS`], measured.
//!
//! On a noisy machine the sum grows, up to the half width, which assumes nothing. A sandwich hit by an interrupt is
//! wide and is left out; an end hit by too many loses against another of the [`ROUNDS`].
//!
//! The calling thread may move between CPUs: the clock itself is computed from the counter of the CPU it is read on, so
//! skew between CPUs cancels. Source: arch/x86/include/asm/vdso/gettimeofday.h.
//!
//! Not here: waiting. The span between the ends passes while the caller does something useful, or in a closure.

use units::{Nanos, Ticks};

use crate::scale::Scale;
use crate::{raw, tsc};

/// The span after which the bound is about 0.05 ppm.
pub const SPAN_DEFAULT: Nanos = Nanos::from_millis(100);

/// Below this span a rate would be printed that means nothing: the half width of a sandwich is 20 ppm of it.
pub const SPAN_MIN: Nanos = Nanos::from_millis(1);

/// Attempts at each end, of which the best pair counts: one end costs about 20 us, so a scheduler tick spoils one.
const ROUNDS: usize = 4;

/// Sandwiches of an attempt that count, and those before them that only warm caches and predictors.
const SANDWICHES: usize = 256;
const WARM_UP: usize = 32;

/// Averages an end is summed up in; at least half the sandwiches are accepted, so each stands on sixteen or more.
const BATCHES: usize = 8;

/// What the cut to whole nanoseconds and a loop in step with a coarse counter leave in an average, at both ends
/// together. On the coarsest counter met (steps of 10 ns) the averages of 1 500 ends lay within 1.9 ns of a straight
/// line: twice that. With it the worst of 1 100 calibrations, half of them on CPUs kept busy by others, used a third of
/// its bound.
const CUT_NS: f64 = 4.0;

/// One reading of the clock between two of the counter.
#[derive(Debug, Clone, Copy)]
pub struct Sandwich {
    /// The counter before the clock was read.
    pub before: Ticks,
    /// CLOCK_MONOTONIC_RAW.
    pub at: Nanos,
    /// The counter after.
    pub after: Ticks,
}

impl Sandwich {
    /// Reads counter, clock, counter.
    #[must_use]
    pub fn take() -> Self {
        let before = tsc::read_ordered();
        let at = raw::time();
        let after = tsc::read_ordered();
        Self { before: Ticks(before), at: raw::nanos(&at), after: Ticks(after) }
    }

    fn width(&self) -> Ticks {
        self.after.since(self.before)
    }
}

/// Why a counter could not be calibrated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The caller came back too early.
    #[error("cannot calibrate over {0}: wait at least {SPAN_MIN} between the two ends")]
    Short(Nanos),
    /// The counter did not tick like one.
    #[error(
        "the time-stamp counter moved by {ticks} ticks in {span}: no counter between 1 MHz and 20 GHz does"
    )]
    Implausible {
        /// How far it moved.
        ticks: u64,
        /// In which time.
        span: Nanos,
    },
}

/// The near end of a calibration: measured, waiting for the far one.
#[derive(Debug, Clone)]
pub struct Begun(Vec<End>);

/// Measures the near end; about 80 us. Let [`SPAN_DEFAULT`] pass before [`Begun::finish`].
#[must_use]
pub fn begin() -> Begun {
    begin_with(&mut Sandwich::take)
}

fn begin_with(sandwich: &mut impl FnMut() -> Sandwich) -> Begun {
    Begun(ends(sandwich))
}

impl Begun {
    /// Measures the far end and sums up; about 80 us.
    ///
    /// # Errors
    /// [`Error::Short`] when less than [`SPAN_MIN`] has passed, [`Error::Implausible`] when the counter does not tick.
    pub fn finish(&self) -> Result<Calibration, Error> {
        self.finish_with(&mut Sandwich::take)
    }

    fn finish_with(&self, sandwich: &mut impl FnMut() -> Sandwich) -> Result<Calibration, Error> {
        best(&self.0, &ends(sandwich))
    }
}

/// The counter's rate, and how wrong it can be.
#[derive(Debug, Clone)]
pub struct Calibration {
    near: End,
    far: End,
    nanos_per_tick: f64,
    scale: Scale,
    span: Nanos,
    error_ppb: u32,
}

/// A calibration compared with a longer one: "checked over 10.0 s: off by 3 ppb, bound 40 ppb".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The longer span.
    pub span: Nanos,
    /// How much longer the calibration makes a duration than the longer one does; negative: shorter.
    pub off_ppb: i64,
    /// What the calibration had stated.
    pub bound_ppb: u32,
    /// What the longer one states about itself.
    pub reference_ppb: u32,
}

impl Checked {
    /// Whether the stated bound was true, as far as the longer calibration can tell.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.off_ppb.unsigned_abs() <= u64::from(self.bound_ppb) + u64::from(self.reference_ppb)
    }
}

impl Calibration {
    /// Measures both ends, with `wait` (given [`SPAN_DEFAULT`] or what else is asked for) between them.
    ///
    /// # Errors
    /// Those of [`Begun::finish`].
    pub fn run(span: Nanos, wait: impl FnOnce(Nanos)) -> Result<Self, Error> {
        let begun = begin();
        wait(span);
        begun.finish()
    }

    /// This calibration with its far end measured anew: the same near end, a longer span, a smaller bound. About 80 us.
    ///
    /// # Errors
    /// Those of [`Begun::finish`].
    pub fn extended(&self) -> Result<Self, Error> {
        self.extended_with(&mut Sandwich::take)
    }

    fn extended_with(&self, sandwich: &mut impl FnMut() -> Sandwich) -> Result<Self, Error> {
        best(std::slice::from_ref(&self.near), &ends(sandwich))
    }

    /// Compares this calibration with a longer (or otherwise better) one.
    #[must_use]
    pub fn check(&self, longer: &Self) -> Checked {
        let off = (self.nanos_per_tick / longer.nanos_per_tick - 1.0) * 1e9;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "both rates are within HZ_MIN..=HZ_MAX: below 2^45 ppb"
        )]
        let off_ppb = off.round() as i64;
        Checked { span: longer.span, off_ppb, bound_ppb: self.error_ppb, reference_ppb: longer.error_ppb }
    }

    /// How much wrong the rate can be, in parts in a thousand million (1 000 ppb = 1 ppm).
    #[must_use]
    pub fn error_ppb(&self) -> u32 {
        self.error_ppb
    }

    /// The time between the two ends.
    #[must_use]
    pub fn span(&self) -> Nanos {
        self.span
    }

    /// Ticks a second.
    #[must_use]
    pub fn hz(&self) -> u64 {
        self.scale.hz()
    }

    pub(crate) fn scale(&self) -> Scale {
        self.scale
    }

    /// One instant on both time lines, the far end's average; good to half the width of a sandwich.
    pub(crate) fn anchor(&self) -> (Ticks, Nanos) {
        let at = self.far.average();
        (self.far.ticks + Ticks(whole(at.ticks)), self.far.nanos + Nanos(whole(at.nanos)))
    }
}

/// A point of one end, relative to the end's first sandwich so that a float is exact to a millionth of a nanosecond.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    ticks: f64,
    nanos: f64,
}

/// One attempt at one end.
#[derive(Debug, Clone)]
struct End {
    /// The first sandwich's `before` and `at`.
    ticks: Ticks,
    nanos: Nanos,
    /// Averages of equally many accepted sandwiches each, in the order of time.
    batches: [Point; BATCHES],
    /// Average width of the accepted sandwiches, in ticks.
    width: f64,
}

fn ends(sandwich: &mut impl FnMut() -> Sandwich) -> Vec<End> {
    (0..ROUNDS).map(|_| End::measure(sandwich)).collect()
}

/// The pair with the smallest bound.
fn best(near: &[End], far: &[End]) -> Result<Calibration, Error> {
    let pairs = near.iter().flat_map(|near| far.iter().map(move |far| between(near, far)));
    let better = |a: Result<Calibration, Error>, b: Result<Calibration, Error>| match (a, b) {
        (Ok(a), Ok(b)) => Ok(if b.error_ppb < a.error_ppb { b } else { a }),
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
        (Err(error), Err(_)) => Err(error),
    };
    pairs.reduce(better).expect("each end was attempted at least once")
}

fn between(near: &End, far: &End) -> Result<Calibration, Error> {
    let span = far.nanos - near.nanos;
    if span < SPAN_MIN {
        return Err(Error::Short(span));
    }
    let (from, to) = (near.average(), far.average());
    let ticks = far.ticks.since(near.ticks).0 as f64 + to.ticks - from.ticks;
    let nanos = span.0 as f64 + to.nanos - from.nanos;
    let nanos_per_tick = nanos / ticks;
    let scale = Scale::new(nanos_per_tick)
        .ok_or(Error::Implausible { ticks: far.ticks.since(near.ticks).0, span })?;
    let error_ppb = (error_ns(near, far, nanos_per_tick) / nanos * 1e9).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float saturates, and is positive"
    )]
    let error_ppb = error_ppb as u32;
    Ok(Calibration { near: near.clone(), far: far.clone(), nanos_per_tick, scale, span, error_ppb })
}

/// How many nanoseconds too long or too short the span between the two averages can be; the argument heads this file.
fn error_ns(near: &End, far: &End, nanos_per_tick: f64) -> f64 {
    let half_widths = (near.width + far.width) / 2.0 * nanos_per_tick + CUT_NS / 2.0;
    let moved = (near.width - far.width).abs() / 2.0 * nanos_per_tick;
    (near.range(nanos_per_tick) + far.range(nanos_per_tick) + moved + CUT_NS).min(half_widths)
}

impl End {
    fn measure(sandwich: &mut impl FnMut() -> Sandwich) -> Self {
        for _ in 0..WARM_UP {
            sandwich();
        }
        let all: Vec<Sandwich> = (0..SANDWICHES).map(|_| sandwich()).collect();
        Self::of(&all)
    }

    fn of(all: &[Sandwich]) -> Self {
        let mut widths: Vec<u64> = all.iter().map(|one| one.width().0).collect();
        let (_, median, _) = widths.select_nth_unstable(all.len() / 2);
        // A quarter wider than the median is still the same path; more is an interrupt, a fault, another CPU.
        let widest = *median + *median / 4;
        let accepted: Vec<Sandwich> = all.iter().filter(|one| one.width().0 <= widest).copied().collect();
        let first = all[0];
        let mut batches = [Point::default(); BATCHES];
        for (point, batch) in batches.iter_mut().zip(accepted.chunks_exact(accepted.len() / BATCHES)) {
            *point = average_of(batch, first);
        }
        let width = accepted.iter().map(|one| one.width().0 as f64).sum::<f64>() / accepted.len() as f64;
        Self { ticks: first.before, nanos: first.at, batches, width }
    }

    fn average(&self) -> Point {
        let sum = |of: fn(&Point) -> f64| self.batches.iter().map(of).sum::<f64>() / BATCHES as f64;
        Point { ticks: sum(|point| point.ticks), nanos: sum(|point| point.nanos) }
    }

    /// How far the batches lie apart, across the line that the counter and the clock draw together.
    fn range(&self, nanos_per_tick: f64) -> f64 {
        let off = self.batches.map(|point| point.nanos - point.ticks * nanos_per_tick);
        off.iter().copied().fold(f64::MIN, f64::max) - off.iter().copied().fold(f64::MAX, f64::min)
    }
}

fn average_of(batch: &[Sandwich], first: Sandwich) -> Point {
    let count = batch.len() as f64;
    let middle =
        |one: &Sandwich| (one.before.since(first.before) + one.after.since(first.before)).0 as f64 / 2.0;
    Point {
        ticks: batch.iter().map(middle).sum::<f64>() / count,
        nanos: batch.iter().map(|one| (one.at - first.at).0 as f64).sum::<f64>() / count,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an offset inside one end, below a second"
)]
fn whole(offset: f64) -> u64 {
    offset.round() as u64
}

const _: () = assert!(SANDWICHES >= 32 * BATCHES, "half the sandwiches make batches of sixteen");

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine whose true rate is known, with the faults that real ones have.
    #[derive(Clone, Copy)]
    struct Machine {
        /// True ticks a nanosecond.
        rate: f64,
        /// The counter moves in steps of so many ticks.
        step: f64,
        /// The time from the first counter reading to the clock's, and from there to the second, in ns.
        halves: (f64, f64),
        /// Each half is longer by up to this.
        jitter: f64,
        /// One reading in so many is interrupted, for 1 to 9 us.
        interrupted: Option<u64>,
        /// True time and the noise's state.
        now: f64,
        noise: u64,
    }

    impl Machine {
        fn new(seed: u64) -> Self {
            let noise = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let now = 1e9 + (seed % 1_000) as f64 * 1_234.567;
            let halves = (14.0, 22.0);
            Self { rate: 2.596_143_8, step: 1.0, halves, jitter: 0.0, interrupted: None, now, noise }
        }

        /// Uniform in 0..1. Source: Marsaglia, Xorshift RNGs, 2003.
        fn random(&mut self) -> f64 {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            (self.noise >> 11) as f64 / (1u64 << 53) as f64
        }

        fn pass(&mut self, nanos: f64) {
            self.now += nanos + self.random() * self.jitter;
            if self.interrupted.is_some_and(|one_in| self.random() * (one_in as f64) < 1.0) {
                self.now += 1_000.0 + self.random() * 8_000.0;
            }
        }

        fn counter(&self) -> f64 {
            (self.now * self.rate / self.step).floor() * self.step
        }

        fn sandwich(&mut self) -> Sandwich {
            let before = Ticks(whole(self.counter()));
            self.pass(self.halves.0);
            let at = Nanos(whole((self.counter() / self.rate).floor())); // as the kernel computes it: cut
            self.pass(self.halves.1);
            let after = Ticks(whole(self.counter()));
            self.pass(9.3);
            Sandwich { before, at, after }
        }
    }

    /// Calibrates 400 machines over 100 ms; `later` is what becomes of them in between. The stated bound is true each
    /// time, and the median of the bounds lies in `bound_ppb`.
    #[track_caller]
    fn check(
        what: &str,
        machine: impl Fn(Machine) -> Machine,
        later: impl Fn(Machine) -> Machine,
        bound_ppb: std::ops::Range<u32>,
    ) {
        let mut bounds = Vec::new();
        let mut worst = 0.0_f64;
        for seed in 1..=400 {
            let mut machine = machine(Machine::new(seed));
            let begun = begin_with(&mut || machine.sandwich());
            machine = later(machine);
            machine.now += 1e8;
            let calibration = begun.finish_with(&mut || machine.sandwich()).unwrap();
            let off_ppb = (calibration.nanos_per_tick * machine.rate - 1.0) * 1e9;
            let stated = calibration.error_ppb();
            assert!(
                off_ppb.abs() <= f64::from(stated),
                "{what}, machine {seed}: off by {off_ppb:.1}, stated {stated}"
            );
            worst = worst.max(off_ppb.abs());
            bounds.push(stated);
        }
        bounds.sort_unstable();
        let median = bounds[bounds.len() / 2];
        println!(
            "{what}: bound {median} ppb in the median, {} at most; off by {worst:.1} at most",
            bounds[399]
        );
        assert!(bound_ppb.contains(&median), "{what}: bound {median} ppb");
    }

    #[test]
    fn the_bound_is_true_and_grows_with_the_noise() {
        let same = |machine| machine;
        check("a fine counter", same, same, 20..60);
        check("steps of 10 ns", |m| Machine { step: 26.0, ..m }, same, 20..100);
        check("5 ns of jitter", |m| Machine { jitter: 5.0, ..m }, same, 20..100);
        check("one reading in 50 interrupted", |m| Machine { interrupted: Some(50), ..m }, same, 20..60);
        check("one reading in 4 interrupted", |m| Machine { interrupted: Some(4), ..m }, same, 20..60);
        check("60 ns of jitter", |m| Machine { jitter: 60.0, ..m }, same, 80..400);
        check("every reading interrupted", |m| Machine { interrupted: Some(1), ..m }, same, 5_000..100_000);
        check("half as fast later", same, |m| Machine { halves: (28.0, 44.0), ..m }, 150..400);
        check("twice as fast later", same, |m| Machine { halves: (7.0, 11.0), ..m }, 80..300);
    }

    #[test]
    fn a_longer_span_makes_a_smaller_bound_and_checks_the_first() {
        let mut machine = Machine { step: 26.0, jitter: 3.0, ..Machine::new(7) };
        let begun = begin_with(&mut || machine.sandwich());
        machine.now += 1e8;
        let first = begun.finish_with(&mut || machine.sandwich()).unwrap();
        machine.now += 9.9e9;
        let longer = first.extended_with(&mut || machine.sandwich()).unwrap();
        let checked = first.check(&longer);
        assert!(longer.error_ppb() <= 1 + first.error_ppb() / 50, "{longer:?}");
        assert!(checked.holds() && checked.bound_ppb == first.error_ppb(), "{checked:?}");
        assert!((9_990..10_010).contains(&(checked.span.0 / 1_000_000)), "{checked:?}");
    }

    #[test]
    fn a_false_bound_is_found_out() {
        let honest = Checked { span: Nanos::from_secs(10), off_ppb: -40, bound_ppb: 38, reference_ppb: 2 };
        assert!(honest.holds());
        assert!(!Checked { off_ppb: -41, ..honest }.holds());
    }

    #[test]
    fn what_does_not_tick_is_no_clock() {
        let mut nanos = 0;
        let stuck = |by: u64| {
            move || {
                nanos += 50;
                Sandwich {
                    before: Ticks(7 + nanos * by),
                    at: Nanos(nanos * 100),
                    after: Ticks(7 + nanos * by),
                }
            }
        };
        let begun = begin_with(&mut stuck(0));
        let error = begun.finish_with(&mut stuck(0)).unwrap_err();
        assert!(matches!(error, Error::Short(_)), "both ends at once: {error}");
        let mut late = Sandwich { before: Ticks(7), at: Nanos::from_secs(1), after: Ticks(7) };
        let error = begun.finish_with(&mut || late).unwrap_err();
        assert!(error.to_string().contains("moved by 0 ticks"), "{error}");
        (late.before, late.after) = (Ticks(1 << 50), Ticks(1 << 50));
        let error = begun.finish_with(&mut || late).unwrap_err();
        assert!(matches!(error, Error::Implausible { .. }), "{error}");
    }

    #[test]
    fn the_anchor_lies_on_both_time_lines() {
        let mut machine = Machine::new(3);
        let begun = begin_with(&mut || machine.sandwich());
        machine.now += 1e8;
        let (ticks, nanos) = begun.finish_with(&mut || machine.sandwich()).unwrap().anchor();
        let off = ticks.0 as f64 / machine.rate - nanos.0 as f64;
        assert!(off.abs() <= 20.0, "the two are {off} ns apart"); // half a sandwich of 36 ns, and the cuts
    }
}
