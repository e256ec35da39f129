//! How long one call into the kernel takes: bursts of an operation, each timed by itself.
//!
//! What is common to every probe of that kind. A burst of calls in a row is timed, each between two fenced readings of
//! the clock; the first few only warm the path up, because the sleep before made it cold. What an operation takes
//! before it can be timed (a mapping, say) it takes before the burst and gives back after it.
//!
//! A burst is cut short once it has lasted half its interval, and the pause after it is as long as it was at least: a
//! slow operation takes half of the CPU at most, and a real-time probe is not stopped by the kernel. Bursts that a stall
//! took the time of are not made up for; the stall is in the sample that it held up.

use host::threads::{monotonic_now, sleep_until};
use units::{Nanos, Ticks};

use crate::tools::{Tools, Turn};
use crate::{Kind, Sample};

/// How the probe is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Calls a burst, each a sample.
    pub calls: u32,
    /// Between bursts.
    pub interval: Nanos,
    /// Of each cycle, when there are other probes.
    pub slot: Nanos,
}

impl Options {
    /// With a slot for one burst of `calls` when there are other probes.
    pub(crate) const fn of(calls: u32, interval: Nanos) -> Self {
        Self { calls, interval, slot: interval }
    }
}

impl Default for Options {
    /// 64 calls each 100 ms, 640 samples a second: enough for a p99.9 after 16 s, for less than 0.1 % of the CPU. In
    /// a row, so that the kernel's path stays warm for them as for a busy caller.
    fn default() -> Self {
        Self::of(64, Nanos::from_millis(10))
    }
}

/// Something that the kernel does when it is asked.
pub trait Operation {
    /// Calls before those that count: after a sleep the first getppid takes 3.1 us, the second 0.28, and from the
    /// seventh on they take the 0.20 of a warm path (medians of 300 bursts, 2-vCPU VM).
    const WARM_UP_CALLS: u32 = 8;

    /// Takes what so many calls need, untimed. `false` when it is not to be had now.
    fn prepare(&mut self, _calls: u32) -> bool {
        true
    }

    /// The timed part. `false` when the kernel refused: no sample then, a refusal is no latency.
    fn perform(&mut self) -> bool;

    /// Gives back what `prepare` took, untimed.
    fn clean_up(&mut self) {}
}

/// Empty pairs of readings for the floor.
const FLOOR_PAIRS: usize = 16;

/// The probe on one CPU.
pub struct Bursts<O> {
    channel: u16,
    kind: Kind,
    options: Options,
    operation: O,
}

impl<O: Operation> Bursts<O> {
    pub(crate) fn new(channel: u16, kind: Kind, options: Options, operation: O) -> Self {
        Self { channel, kind, options, operation }
    }

    /// Bursts until the slot ends. Bound: the slot's bursts.
    pub(crate) fn run(&mut self, turn: Turn, tools: &mut Tools) {
        let mut next = turn.start;
        while next < turn.end && !tools.stopping() {
            sleep_until(next);
            let begun = monotonic_now();
            self.burst(tools);
            next = next_burst(next, self.options.interval, begun, monotonic_now());
        }
    }

    pub(crate) fn burst(&mut self, tools: &mut Tools) {
        if self.operation.prepare(O::WARM_UP_CALLS + self.options.calls) {
            self.timed_burst(tools);
        } else {
            tools.output.counters.failed.of(self.kind).add(1);
        }
        self.operation.clean_up();
    }

    fn timed_burst(&mut self, tools: &mut Tools) {
        for _ in 0..O::WARM_UP_CALLS {
            self.operation.perform();
        }
        let mut floor = [(); FLOOR_PAIRS].map(|()| timed(tools, || ()).1);
        floor.sort_unstable();
        tools.output.counters.floor.set(floor[FLOOR_PAIRS / 2]);
        tools.waits.renew();
        let until = tools.clock.now() + tools.clock.to_ticks(Nanos(self.options.interval.0 / 2));
        let (mut calls, mut failed) = (0, 0);
        for _ in 0..self.options.calls {
            let (done, value, at) = timed(tools, || self.operation.perform());
            if done {
                let (waited_ns, flags) = tools.waits.during(value);
                tools.output.push(Sample { at, value, waited_ns, channel: self.channel, flags });
                calls += 1;
            } else {
                tools.waits.pass_over(value);
                failed += 1;
            }
            if at >= until {
                break;
            }
        }
        tools.output.counters.calls.add(calls);
        tools.output.counters.failed.of(self.kind).add(failed);
    }
}

/// What `call` answers, how long it takes, and when it ended.
#[inline]
fn timed<T>(tools: &Tools, call: impl FnOnce() -> T) -> (T, Ticks, Ticks) {
    let before = tools.clock.now_fenced();
    let answer = call();
    let after = tools.clock.now_fenced();
    (answer, after.since(before), after)
}

/// When the burst after the one that was due at `due` comes: at a whole number of intervals, those left out that are over,
/// and not before the thread has paused for as long as the burst took.
fn next_burst(due: Nanos, interval: Nanos, begun: Nanos, ended: Nanos) -> Nanos {
    let rested = ended + (ended - begun);
    due + interval.times(((rested - due).0.div_ceil(interval.0.max(1))).max(1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clock::{Clock, MockClock};

    /// How `operation` does as a burst of 200.
    #[track_caller]
    pub fn check_is_real(kind: Kind, operation: impl Operation) {
        check_burst(kind, operation, 200);
    }

    /// How `operation` does as a burst: every call is a sample, none fails, and it is dearer than nothing in the median.
    #[track_caller]
    pub fn check_burst(kind: Kind, operation: impl Operation, calls: u32) {
        let options = Options::of(calls, Nanos::from_secs(600)); // never cut short
        let (mut tools, mut ring) = Tools::with_clock(Clock::monotonic(), 256);
        Bursts::new(0, kind, options, operation).burst(&mut tools);
        let mut values: Vec<u64> =
            std::iter::from_fn(|| ring.pop().ok()).map(|sample| sample.value.0).collect();
        values.sort_unstable();
        let (counters, made) = (&tools.output.counters, u64::from(calls));
        assert_eq!(
            (counters.calls.get(), counters.failed.of(kind).get(), values.len() as u64),
            (made, 0, made)
        );
        let (floor, median) = (counters.floor.get(), values[values.len() / 2]);
        assert!(median > floor, "{kind}: {median} ns is no more than {floor} ns");
    }

    /// An operation of 100 ns, longer at the calls named; it fails at others, and may not be had at all.
    struct Fake {
        hand: MockClock,
        calls: u64,
        slow: (u64, Nanos),
        refused: &'static [u64],
        to_be_had: bool,
    }

    impl Operation for Fake {
        fn prepare(&mut self, _calls: u32) -> bool {
            self.to_be_had
        }

        fn perform(&mut self) -> bool {
            self.hand.advance(if self.calls == self.slow.0 { self.slow.1 } else { Nanos(100) });
            self.calls += 1;
            !self.refused.contains(&(self.calls - 1))
        }
    }

    /// One burst of four calls (numbers 8 to 11, after the warm-up); the samples in ticks of half a nanosecond, and how
    /// many calls were made and failed.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Fake), samples: &[u64], calls: u64, failed: u64) {
        let (clock, hand) = Clock::mock_mhz(2_000);
        let (mut tools, mut ring) = Tools::with_clock(clock, 256);
        hand.step(Ticks(40)); // a pair of readings is 40 ticks apart
        let mut fake = Fake { hand, calls: 0, slow: (0, Nanos(100)), refused: &[], to_be_had: true };
        change(&mut fake);
        let options = Options { calls: 4, ..Options::default() };
        Bursts::new(2, Kind::Eventfd, options, fake).burst(&mut tools);
        let got: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
        assert!(got.iter().all(|sample| sample.channel == 2 && !sample.is_missed()));
        assert_eq!(got.iter().map(|sample| sample.value.0).collect::<Vec<_>>(), samples);
        let counters = &tools.output.counters;
        assert_eq!((counters.calls.get(), counters.failed.of(Kind::Eventfd).get()), (calls, failed));
        assert_eq!(counters.failed.of(Kind::Syscall).get(), 0, "counted for the probe itself");
    }

    #[test]
    fn each_call_is_a_sample_and_the_warm_up_none() {
        check(|_| (), &[240; 4], 4, 0);
        check(|fake| fake.slow = (7, Nanos::from_millis(1)), &[240; 4], 4, 0); // a call that warms up
        check(|fake| fake.slow = (9, Nanos(300)), &[240, 640, 240, 240], 4, 0);
    }

    #[test]
    fn what_the_kernel_refuses_is_no_sample_and_counted() {
        check(|fake| fake.refused = &[3, 9, 10], &[240; 2], 2, 2); // one of them while warming up
        check(|fake| fake.to_be_had = false, &[], 0, 1);
    }

    #[test]
    fn a_burst_is_cut_short_at_half_its_interval() {
        check(|fake| fake.slow = (9, Nanos::from_millis(4)), &[240, 8_000_040, 240, 240], 4, 0);
        check(|fake| fake.slow = (9, Nanos::from_millis(5)), &[240, 10_000_040], 2, 0);
    }

    /// A burst due at 100 that began and ended then, with an interval of 10; when the next is.
    #[track_caller]
    fn check_next(begun: u64, ended: u64, next: u64) {
        assert_eq!(next_burst(Nanos(100), Nanos(10), Nanos(begun), Nanos(ended)), Nanos(next));
    }

    #[test]
    fn bursts_keep_their_times_and_half_of_the_cpu_is_left() {
        check_next(100, 100, 110);
        check_next(100, 101, 110);
        check_next(101, 105, 110); // 4 long, 5 of pause
        check_next(101, 106, 120); // 5 long, and only 4 were left
        check_next(100, 150, 200);
        check_next(1_234, 1_235, 1_240); // late: those in between are over
    }
}
