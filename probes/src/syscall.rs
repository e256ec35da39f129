//! How long one system call takes: getppid, the cheapest that the kernel really carries out.
//!
//! It shows what entering and leaving the kernel costs on this host now: mitigations, tracing, audit and seccomp
//! filters all stand in that path. A burst of calls in a row is timed, each between two fenced readings of the clock;
//! the first few only warm the path up, because the sleep before made it cold.

use host::threads::sleep_until;
use units::{Nanos, Ticks};

use crate::Sample;
use crate::tools::{Tools, Turn};

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

impl Default for Options {
    /// 64 calls each 100 ms, 640 samples a second: enough for a p99.9 after 16 s, for less than 0.1 % of the CPU. In
    /// a row, so that the kernel's path stays warm for them as for a busy caller.
    fn default() -> Self {
        Self { calls: 64, interval: Nanos::from_millis(10), slot: Nanos::from_millis(10) }
    }
}

/// Calls before those that count: after a sleep the first takes 3.1 us, the second 0.28, and from the seventh on they
/// take the 0.20 of a warm path (medians of 300 bursts, 2-vCPU VM).
const WARM_UP_CALLS: u32 = 8;

/// Empty pairs of readings for the floor.
const FLOOR_PAIRS: usize = 16;

/// The probe on one CPU.
pub struct Syscall {
    channel: u16,
    options: Options,
}

impl Syscall {
    pub(crate) fn new(channel: u16, options: Options) -> Self {
        Self { channel, options }
    }

    /// Bursts until the slot ends. Bound: the slot's bursts.
    pub(crate) fn run(&mut self, turn: Turn, tools: &mut Tools) {
        let mut next = turn.start;
        while next < turn.end && !tools.stopping() {
            sleep_until(next);
            self.burst(getppid, tools);
            next += self.options.interval;
        }
    }

    fn burst(&self, call: impl Fn(), tools: &mut Tools) {
        for _ in 0..WARM_UP_CALLS {
            call();
        }
        let mut floor = [(); FLOOR_PAIRS].map(|()| timed(tools, || ()).0);
        floor.sort_unstable();
        tools.output.counters.floor.set(floor[FLOOR_PAIRS / 2]);
        tools.waits.renew();
        for _ in 0..self.options.calls {
            let (value, at) = timed(tools, &call);
            let (waited_ns, flags) = tools.waits.during(value);
            tools.output.push(Sample { at, value, waited_ns, channel: self.channel, flags });
        }
        tools.output.counters.calls.add(u64::from(self.options.calls));
    }
}

/// How long `call` takes, and when it ended.
#[inline]
fn timed(tools: &Tools, call: impl FnOnce()) -> (Ticks, Ticks) {
    let before = tools.clock.now_fenced();
    call();
    let after = tools.clock.now_fenced();
    (after.since(before), after)
}

/// The call under measurement, past libc's own function so that nothing can cache the answer.
#[inline]
fn getppid() {
    // SAFETY: getppid takes no argument, touches no memory of the process and cannot fail (getppid(2)); its result is
    // not used. JUSTIFICATION: the call is what is measured; a safe wrapper would be part of the figure.
    #[expect(unsafe_code, reason = "the bare system call is what is measured")]
    unsafe {
        libc::syscall(libc::SYS_getppid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Clock;

    #[test]
    fn each_call_is_a_sample_and_the_warm_up_none() {
        let (clock, hand) = Clock::mock_mhz(2_000);
        let (mut tools, mut ring) = Tools::with_clock(clock, 256);
        let probe = Syscall { channel: 2, options: Options { calls: 3, ..Options::default() } };
        hand.step(Ticks(40)); // a pair of readings is 40 ticks apart
        probe.burst(|| hand.advance(Nanos(100)), &mut tools);
        let samples: Vec<Sample> = std::iter::from_fn(|| ring.pop().ok()).collect();
        assert_eq!(
            samples.iter().map(|sample| (sample.channel, sample.value)).collect::<Vec<_>>(),
            [(2, Ticks(240)); 3]
        );
        let counters = &tools.output.counters;
        assert_eq!((counters.calls.get(), counters.floor.get()), (3, 40));
    }

    #[test]
    fn the_real_call_is_dearer_than_no_call() {
        let (mut tools, mut ring) = Tools::with_clock(Clock::monotonic(), 256);
        let probe = Syscall { channel: 0, options: Options { calls: 200, ..Options::default() } };
        probe.burst(getppid, &mut tools);
        let mut values: Vec<u64> =
            std::iter::from_fn(|| ring.pop().ok()).map(|sample| sample.value.0).collect();
        values.sort_unstable();
        let floor = tools.output.counters.floor.get();
        println!("getppid {} ns in the median of 200, floor {floor} ns (vDSO clock)", values[100]);
        assert!(values[100] > floor, "{} ns is no more than {floor} ns", values[100]);
    }
}
