//! How long a running thread is held up.
//!
//! Reads the clock in a loop that does nothing else; two readings further apart than a threshold are a gap: an
//! interrupt, another thread, the hypervisor, the firmware. The time in which gaps were looked for is published
//! beside them ([`Counters::spun`](crate::Counters::spun)), for rates and for the delay law: P(delay > x) = Σ max(0,
//! gap − x) / spun.
//!
//! No blind spots: while a gap is being recorded nobody looks, but a recording that takes longer than it can is a gap
//! too.

use clock::Clock;
use host::threads::monotonic_now;
use units::{Nanos, Ticks};

use crate::Sample;
use crate::tools::{Tools, Turn};

/// How the probe is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The shortest gap that is recorded.
    pub threshold: Nanos,
    /// Of each cycle, when there are other probes; all of it at full load.
    pub slot: Nanos,
}

impl Default for Options {
    /// Gaps from 500 ns: fifty turns of the loop, below any context switch or interrupt (1 us and more), above the
    /// 200 to 300 ns hiccups of a hypervisor that no kernel event explains. A tenth of the default cycle, which is
    /// the CPU time this costs.
    fn default() -> Self {
        Self { threshold: Nanos(500), slot: Nanos::from_millis(10) }
    }
}

/// Recording a gap takes no more than the kernel's answer about it, 1 us; beyond this something else happened.
const RECORDING_MAX: Nanos = Nanos::from_micros(5);

/// A request to stop is looked for this often.
const STRETCH: Nanos = Nanos::from_millis(10);

/// Turns that are timed, in batches because a single one is as short as the steps of some counters. They also warm
/// the loop up: what they meet is no sample.
const TIMED_BATCHES: usize = 32;
const TIMED_TURNS: u64 = 32;

/// The probe on one CPU.
pub struct SpinGap {
    channel: u16,
    threshold: Ticks,
    recording_max: Ticks,
    stretch: Ticks,
}

impl SpinGap {
    pub(crate) fn new(channel: u16, options: Options, clock: &Clock) -> Self {
        Self {
            channel,
            threshold: clock.to_ticks(options.threshold),
            recording_max: clock.to_ticks(RECORDING_MAX),
            stretch: clock.to_ticks(STRETCH),
        }
    }

    /// Spins until the slot ends. Bound: the slot's length.
    pub(crate) fn run(&mut self, turn: Turn, tools: &mut Tools) {
        let clock = tools.clock;
        let left = turn.end - monotonic_now();
        let end = clock.now() + clock.to_ticks(left);
        if left == Nanos::ZERO {
            return; // a stall took the whole slot
        }
        let (median, min) = loop_period(|| clock.now());
        tools.output.counters.loop_median.set(median);
        tools.output.counters.loop_min.set(min);
        tools.waits.renew();
        self.watch(|| clock.now(), end, tools);
    }

    /// Looks for gaps until `end`, records each, and accounts for the time.
    fn watch(&self, now: impl Fn() -> Ticks, end: Ticks, tools: &mut Tools) {
        let mut from = now();
        while from < end && !tools.stopping() {
            let run = spin(&now, from, self.threshold, end.min(from + self.stretch));
            tools.output.counters.loops.add(run.turns);
            tools.output.counters.spun.add(run.to.since(from).0);
            from = if run.to.since(run.before) >= self.threshold {
                self.record(&now, run.before, run.to, tools)
            } else {
                run.to
            };
        }
    }

    /// Records the gap, and as a further one whatever holds the thread up meanwhile. Returns when it can look again.
    #[cold]
    fn record(&self, now: impl Fn() -> Ticks, mut from: Ticks, mut to: Ticks, tools: &mut Tools) -> Ticks {
        loop {
            let value = to.since(from);
            let (waited_ns, flags) = tools.waits.during(value);
            tools.output.push(Sample { at: to, value, waited_ns, channel: self.channel, flags });
            (from, to) = (to, now());
            let recording = to.since(from);
            if recording <= self.recording_max {
                tools.waits.pass_over(recording);
                return to;
            }
            tools.output.counters.spun.add(recording.0);
        }
    }
}

/// What the loop met: from `before` to `to` it did not turn.
struct Run {
    before: Ticks,
    to: Ticks,
    turns: u64,
}

/// The hot loop: turns until two readings lie `threshold` apart or `end` is reached. One reading of the clock, two
/// compares and two moves a turn, in the shadow of the reading: 1.0 times the cost of bare readings (9.6 ns, 2-vCPU
/// VM).
#[inline]
fn spin(now: impl Fn() -> Ticks, from: Ticks, threshold: Ticks, end: Ticks) -> Run {
    let (mut before, mut turns) = (from, 0);
    loop {
        let to = now();
        turns += 1;
        if to.since(before) >= threshold || to >= end {
            return Run { before, to, turns };
        }
        before = to;
    }
}

/// Ticks of one turn of the loop: median and least.
fn loop_period(now: impl Fn() -> Ticks) -> (Ticks, Ticks) {
    let mut periods = [Ticks(0); TIMED_BATCHES];
    for period in &mut periods {
        let from = now();
        let mut to = from;
        for _ in 0..TIMED_TURNS {
            to = spin(&now, to, Ticks(0), Ticks(u64::MAX)).to;
        }
        *period = Ticks(to.since(from).0 / TIMED_TURNS);
    }
    periods.sort_unstable();
    (periods[TIMED_BATCHES / 2], periods[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flags;
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    const TURN: u64 = 10;
    const PROBE: SpinGap =
        SpinGap { channel: 5, threshold: Ticks(500), recording_max: Ticks(5_000), stretch: Ticks(u64::MAX) };

    /// A clock that takes `TURN` a reading, and longer at the readings named.
    fn clock_with(stalls: &[(u64, u64)]) -> impl Fn() -> Ticks + '_ {
        let (readings, time) = (Cell::new(0), Cell::new(0));
        move || {
            let stall = stalls.iter().find(|(at, _)| *at == readings.get()).map_or(0, |(_, length)| *length);
            readings.set(readings.get() + 1);
            time.set(time.get() + TURN + stall);
            Ticks(time.get())
        }
    }

    /// Watches until tick `end`; the gaps found, `loops` and `spun`.
    #[track_caller]
    fn check(stalls: &[(u64, u64)], end: u64, gaps: &[u64], loops: u64, spun: u64) {
        let (mut tools, mut ring) = Tools::for_test(1 << 10);
        PROBE.watch(clock_with(stalls), Ticks(end), &mut tools);
        let samples: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
        assert_eq!(samples.iter().map(|sample| sample.value.0).collect::<Vec<_>>(), gaps);
        assert!(samples.iter().all(|sample| sample.channel == 5 && !sample.is_missed()));
        let counters = &tools.output.counters;
        assert_eq!((counters.loops.get(), counters.spun.get()), (loops, spun));
    }

    #[test]
    fn a_gap_is_found_once_with_its_length() {
        check(&[], 1_000, &[], 99, 990); // the first reading is where it begins
        check(&[(50, 490)], 2_000, &[500], 149, 1_980); // at the threshold; one reading ends the recording
        check(&[(50, 489)], 2_000, &[], 151, 1_999); // below
        check(&[(50, 10_000), (80, 700)], 12_000, &[10_010, 710], 127, 11_970);
        check(&[(50, 1_000_000)], 12_000, &[1_000_010], 50, 1_000_500); // beyond the end of the slot
    }

    #[test]
    fn a_gap_while_recording_is_a_gap() {
        // Reading 51 is the one after the gap was recorded.
        check(&[(50, 990), (51, 90_000)], 100_000, &[1_000, 90_010], 898, 99_980);
    }

    #[test]
    fn stalls_of_every_length_are_reported_within_two_turns() {
        for exponent in 0..8 {
            let length = 1_000 * 10u64.pow(exponent); // 1 us to 10 s
            let (mut tools, mut ring) = Tools::for_test(16);
            PROBE.watch(clock_with(&[(20, length)]), Ticks(length + 5_000), &mut tools);
            let value = ring.pop().unwrap().value.0;
            assert!((length..=length + 2 * TURN).contains(&value), "{length} ns was reported as {value}");
            assert!(ring.pop().is_err(), "{length} ns was found twice");
        }
    }

    #[test]
    fn a_request_to_stop_is_heard_within_a_stretch() {
        let (mut tools, _ring) = Tools::for_test(16);
        let probe = SpinGap { stretch: Ticks(1_000), ..PROBE };
        let (clock, stop) = (clock_with(&[]), Arc::clone(&tools.stop));
        let now = || {
            let now = clock();
            stop.fetch_or(now > Ticks(2_500), Ordering::Release); // pairs with Tools::stopping
            now
        };
        probe.watch(now, Ticks(1 << 40), &mut tools);
        assert_eq!(tools.output.counters.spun.get(), 3_000);
    }

    #[test]
    fn the_loop_is_timed() {
        assert_eq!(loop_period(clock_with(&[])), (Ticks(TURN), Ticks(TURN)));
        assert_eq!(loop_period(clock_with(&[(7, 1_000_000)])), (Ticks(TURN), Ticks(TURN))); // one stall is not its pace
    }

    #[test]
    fn flags_say_nothing_about_short_gaps() {
        let (mut tools, mut ring) = Tools::for_test(16);
        PROBE.watch(clock_with(&[(20, 800)]), Ticks(5_000), &mut tools);
        let sample = ring.pop().unwrap();
        assert_eq!((sample.flags, sample.waited()), (Flags::NONE, None));
    }
}
