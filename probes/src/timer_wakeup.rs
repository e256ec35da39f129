//! How late a sleeping thread wakes.
//!
//! Sleeps to absolute deadlines on CLOCK_MONOTONIC, like cyclictest, and takes `now - deadline`. Unlike cyclictest it
//! forgets no period: deadlines that passed while the thread was held up get a sample each, flagged
//! [`Flags::MISSED`], so a stall counts for as many periods as it swallowed. (10 ms stalls each 100 ms under a 1 ms
//! interval: cyclictest 2.4 printed a p95 of 37 us where 5 ms is true.) Deadlines that passed in another probe's slot
//! count too: this thread would have slept.

use clock::Clock;
use host::threads::{monotonic_now, sleep_until};
use units::{Nanos, Ticks};

use crate::timetable::Timetable;
use crate::tools::{Tools, Turn};
use crate::{Flags, Sample, Slot};

/// How the probe is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Between wake-ups.
    pub interval: Nanos,
    /// Of each cycle, when there are other probes.
    pub slot: Nanos,
}

impl Default for Options {
    /// A wake-up each millisecond in 80 % of the default cycle: 2 % of a CPU (2-vCPU VM).
    fn default() -> Self {
        Self { interval: Nanos::from_millis(1), slot: Nanos::from_millis(80) }
    }
}

/// Samples one stall may make: 10 s at the default interval. Of the periods beyond, most of a ring's worth, nothing
/// more could be learned: they are counted.
const MISSED_MAX: u64 = 10_000;

/// The probe on one CPU.
pub struct TimerWakeup {
    channel: u16,
    timetable: Timetable,
    /// The deadline to sleep to.
    next: u64,
}

impl TimerWakeup {
    /// For cycles of `cycle`.
    pub(crate) fn new(channel: u16, options: Options, slot: &Slot, cycle: Nanos) -> Self {
        let per_slot = slot.length.0 / options.interval.0;
        let (origin, interval) = (Nanos::ZERO, options.interval);
        let timetable = Timetable { origin, cycle, offset: slot.offset, interval, per_slot };
        Self { channel, timetable, next: 0 }
    }

    /// The first of the cycles to come begins at `origin`.
    pub(crate) fn begin(&mut self, origin: Nanos) {
        self.timetable.origin = origin;
        self.next = 0;
    }

    /// Sleeps and wakes until the slot ends. Bound: the slot's deadlines.
    pub(crate) fn run(&mut self, turn: Turn, tools: &mut Tools) {
        while !tools.stopping() {
            let deadline = self.timetable.deadline(self.next);
            if deadline > turn.end {
                return;
            }
            sleep_until(deadline);
            self.woke(monotonic_now(), tools.clock.now(), tools);
        }
    }

    /// Records the wake-up at `now` and every period missed before it.
    fn woke(&mut self, now: Nanos, at: Ticks, tools: &mut Tools) {
        let due = self.timetable.due(now).max(self.next + 1); // a clock set back can wake nobody early, but be sure
        let value = self.lateness(self.next, now, &tools.clock);
        let (waited_ns, flags) = tools.waits.during(value);
        tools.output.push(Sample { at, value, waited_ns, channel: self.channel, flags });

        let missed = self.next + 1..due;
        let sampled = missed.start..due.min(missed.start + MISSED_MAX);
        for index in sampled.clone() {
            let value = self.lateness(index, now, &tools.clock);
            tools.output.push(Sample {
                at,
                value,
                waited_ns: 0,
                channel: self.channel,
                flags: Flags::MISSED,
            });
        }
        let counters = &tools.output.counters;
        counters.scheduled.add(due - self.next);
        counters.recorded.add(1);
        counters.corrected.add(sampled.end - sampled.start);
        counters.capped.add(missed.end - sampled.end);
        self.next = due;
    }

    fn lateness(&self, index: u64, now: Nanos, clock: &Clock) -> Ticks {
        clock.to_ticks(now - self.timetable.deadline(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    const MS: Nanos = Nanos::from_millis(1);

    /// Wakes at these times, with deadlines each ms from 1 ms on; the samples as (lateness in us, missed), and the
    /// counters scheduled, recorded, corrected, capped.
    #[track_caller]
    fn check(wakes_us: &[u64], samples: &[(u64, bool)], counters: [u64; 4]) {
        let (mut tools, mut ring) = Tools::for_test(1 << 15);
        let slot = Slot { probe: Kind::TimerWakeup.into(), offset: Nanos::ZERO, length: MS.times(100) };
        let mut probe = TimerWakeup::new(3, Options::default(), &slot, MS.times(100));
        for wake in wakes_us {
            probe.woke(Nanos::from_micros(*wake), Ticks(*wake), &mut tools);
        }
        let got: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
        let late = |sample: &Sample| (tools.clock.to_nanos(sample.value).0 / 1_000, sample.is_missed());
        assert_eq!(got.iter().map(late).take(samples.len()).collect::<Vec<_>>(), samples);
        assert!(got.iter().all(|sample| sample.channel == 3));
        let c = &tools.output.counters;
        assert_eq!([&c.scheduled, &c.recorded, &c.corrected, &c.capped].map(crate::Counter::get), counters);
        assert_eq!(got.len() as u64, counters[1] + counters[2], "a sample each");
        assert_eq!(counters[0], counters[1] + counters[2] + counters[3], "no period is forgotten");
    }

    #[test]
    fn every_missed_period_is_recorded() {
        check(&[1_020, 2_030], &[(20, false), (30, false)], [2, 2, 0, 0]);
        check(&[1_999], &[(999, false)], [1, 1, 0, 0]);
        check(&[2_000], &[(1_000, false), (0, true)], [2, 1, 1, 0]); // at the very deadline of the next
        check(
            &[4_500, 5_010],
            &[(3_500, false), (2_500, true), (1_500, true), (500, true), (10, false)],
            [5, 2, 3, 0],
        );
    }

    #[test]
    fn a_stall_of_ten_seconds_is_ten_thousand_samples_and_a_longer_one_no_more() {
        check(&[10_000_500], &[(9_999_500, false), (9_998_500, true)], [10_000, 1, 9_999, 0]);
        check(&[3_600_000_000], &[(3_599_999_000, false)], [3_600_000, 1, 10_000, 3_589_999]);
    }

    #[test]
    fn a_period_of_known_stalls_has_the_quantiles_of_theory() {
        // 10 ms stalls each 100 ms at 1 kHz: a tenth of all arrivals meets one, and waits 0 to 10 ms, so p95 is 5 ms.
        let wakes = (1..10_000).filter(|ms| !(1..10).contains(&(ms % 100))).map(|ms| ms * 1_000 + 20);
        let (mut tools, mut ring) = Tools::for_test(1 << 15);
        let slot = Slot { probe: Kind::TimerWakeup.into(), offset: Nanos::ZERO, length: MS.times(100) };
        let mut probe = TimerWakeup::new(0, Options::default(), &slot, MS.times(100));
        for wake in wakes {
            probe.woke(Nanos::from_micros(wake), Ticks(0), &mut tools);
        }
        let mut late: Vec<u64> = std::iter::from_fn(|| ring.pop().ok())
            .map(|sample| tools.clock.to_nanos(sample.value).0)
            .collect();
        late.sort_unstable();
        let p95 = late[late.len() * 95 / 100];
        assert!((4_750_000..5_250_000).contains(&p95), "p95 = {p95} ns");
    }
}
