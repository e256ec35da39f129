//! Was the thread switched out, and for how long? The kernel's own account, asked only after something long.
//!
//! The kernel adds up the time a thread was ready to run and did not (`run_delay`). Asking costs 300 ns (Xeon) to 900
//! ns (EPYC guest), so it is done when a sample is long enough to be a stall. The difference to the answer before is
//! the evidence, less whatever shorter samples in between may account for: what remains was spent waiting *during
//! this sample*. When those shorter samples add up to a stall, the kernel is asked too, so that the deduction stays
//! below one.

use std::fs::File;
use std::os::unix::fs::FileExt;

use clock::Clock;
use units::{Nanos, Ticks};

use crate::Flags;

/// The calling thread's scheduler statistics.
///
/// Format: "93399 71906 2": ns on the CPU, ns waiting for it, times it got it
/// (Documentation/scheduler/sched-stats.rst). All three are 0 on a kernel that does not count; the first also in a
/// thread that has not met a timer tick yet.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";

/// Two of 2^64 and a count: 20 digits each.
const SCHEDSTAT_BYTES: usize = 64;

/// The account of the thread that opened it.
pub struct Waits {
    schedstat: Option<File>,
    clock: Clock,
    /// Samples of this length are asked about.
    long: Ticks,
    /// The reading before.
    waited: Nanos,
    /// Time since then that no reading accounts for, in samples too short to be asked about.
    short: Ticks,
    /// What the last reading told beyond the length of its sample: the thread may have been switched out between the
    /// sample's end and the reading, and then this belongs to the sample that follows at once.
    beyond: Nanos,
}

impl Waits {
    /// The account of the calling thread. Where the kernel keeps none, samples carry no evidence.
    pub fn of_this_thread(clock: Clock, long: Nanos) -> Self {
        let schedstat = File::open(SCHEDSTAT).ok();
        let mut waits = Self {
            schedstat,
            clock,
            long: clock.to_ticks(long),
            waited: Nanos::ZERO,
            short: Ticks(0),
            beyond: Nanos::ZERO,
        };
        if waits.read().is_none() {
            waits.schedstat = None;
        }
        waits
    }

    /// Reads the account, so that nothing from before can be evidence.
    pub fn renew(&mut self) {
        if let Some(waited) = self.read() {
            (self.waited, self.short, self.beyond) = (waited, Ticks(0), Nanos::ZERO);
        }
    }

    /// The evidence for a sample of length `value`, as [`Sample`](crate::Sample) carries it.
    #[inline]
    pub fn during(&mut self, value: Ticks) -> (u32, Flags) {
        if value >= self.long {
            return self.ask(value);
        }
        self.pass_over(value);
        if self.short >= self.long
            && let Some(waited) = self.read()
        {
            self.account(waited, Nanos::ZERO); // a switch just before the reading is the next sample's
        }
        (0, Flags::NONE)
    }

    /// Takes note of time in which the thread may have waited without a sample saying so.
    #[inline]
    pub fn pass_over(&mut self, time: Ticks) {
        self.short += time;
        self.beyond = Nanos::ZERO;
    }

    #[cold]
    fn ask(&mut self, value: Ticks) -> (u32, Flags) {
        let Some(waited) = self.read() else { return (0, Flags::NONE) };
        let here = self.account(waited, self.clock.to_nanos(value));
        (u32::try_from(here.0).unwrap_or(u32::MAX), Flags::WAIT_KNOWN)
    }

    /// What of the kernel's answer `waited` belongs to a sample of length `value`.
    fn account(&mut self, waited: Nanos, value: Nanos) -> Nanos {
        let since = waited - self.waited - self.clock.to_nanos(self.short) + self.beyond;
        let here = since.min(value);
        (self.waited, self.short, self.beyond) = (waited, Ticks(0), since - here);
        here
    }

    fn read(&self) -> Option<Nanos> {
        let mut text = [0; SCHEDSTAT_BYTES];
        let length = self.schedstat.as_ref()?.read_at(&mut text, 0).ok()?;
        run_delay(text.get(..length)?)
    }
}

/// The second number, unless the kernel does not count: whoever asks has got the CPU once.
fn run_delay(text: &[u8]) -> Option<Nanos> {
    let mut numbers = std::str::from_utf8(text).ok()?.split_ascii_whitespace().map(str::parse::<u64>);
    let (waited, times) = (numbers.nth(1)?.ok()?, numbers.next()?.ok()?);
    (times > 0).then_some(Nanos(waited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(run_delay(text.as_bytes()), expected.map(Nanos));
    }

    #[test]
    fn schedstat() {
        check("93399 71906 2\n", Some(71906));
        check("0 715 1\n", Some(715)); // a young thread
        check("0 0 0\n", None); // a kernel that does not count
        check("93399\n", None);
        check("", None);
        check("93399 many 2\n", None);
    }

    #[test]
    fn only_long_samples_are_asked_about_and_short_ones_deducted() {
        let (clock, _) = Clock::mock();
        let mut waits = Waits::of_this_thread(clock, Nanos::from_micros(10));
        if waits.schedstat.is_none() {
            println!("skipped: this kernel keeps no scheduler statistics");
            return;
        }
        assert_eq!(waits.during(Ticks(9_999)), (0, Flags::NONE));
        assert_eq!(waits.short, Ticks(9_999));
        waits.pass_over(Ticks(2));
        assert_eq!(waits.short, Ticks(10_001));
        assert_eq!(waits.during(Ticks(1)), (0, Flags::NONE));
        assert_eq!(waits.short, Ticks(0), "together they were a stall, so the account was read anew");
        // As if the thread had waited 30 us since the last reading, 4 us of it perhaps in short samples.
        waits.waited = waits.read().unwrap() - Nanos(30_000);
        let since = waits.read().unwrap() - waits.waited;
        waits.short = Ticks(4_000);
        let (waited_ns, flags) = waits.during(Ticks(10_000));
        assert!(flags.contains(Flags::WAIT_KNOWN));
        let expected = (since - Nanos(4_000)).min(Nanos(10_000)); // never more than the sample is long
        assert!(u64::from(waited_ns) >= expected.0, "{waited_ns} ns of {since}");
    }

    #[test]
    fn a_switch_before_the_account_of_short_samples_is_read_is_the_next_samples() {
        let (clock, _) = Clock::mock();
        let mut waits = Waits::of_this_thread(clock, Nanos::from_micros(10));
        if waits.schedstat.is_none() {
            println!("skipped: this kernel keeps no scheduler statistics");
            return;
        }
        // As if it had waited 30 us since the last reading, or all it ever did.
        let known = waits.read().unwrap();
        waits.pass_over(Ticks(9_999));
        waits.waited = known - Nanos(30_000);
        let since = known - waits.waited;
        assert_eq!(waits.during(Ticks(2)), (0, Flags::NONE), "together a stall, so the account is read");
        let (waited_ns, flags) = waits.during(Ticks(40_000));
        assert!(flags.contains(Flags::WAIT_KNOWN));
        assert!(u64::from(waited_ns) >= (since - Nanos(10_001)).0, "{waited_ns} ns of {since}");

        let answer = waits.waited + Nanos(30_000);
        waits.short = Ticks(10_001);
        assert_eq!(waits.account(answer, Nanos::ZERO), Nanos::ZERO);
        assert_eq!(waits.account(answer, Nanos(40_000)), Nanos(19_999));
    }

    #[test]
    fn what_is_beyond_a_sample_belongs_to_the_next_if_that_is_long_too() {
        let (clock, _) = Clock::mock();
        let mut waits = Waits::of_this_thread(clock, Nanos::from_micros(10));
        let (gap, recording) = (Nanos::from_micros(20), Nanos::from_millis(22));
        let answer = waits.waited + Nanos::from_millis(21); // switched out between the gap's end and the question
        assert_eq!(waits.account(answer, gap), gap);
        assert_eq!(waits.account(answer, recording), Nanos::from_millis(21) - gap);
        let answer = answer + Nanos::from_millis(21);
        assert_eq!(waits.account(answer, gap), gap);
        waits.pass_over(Ticks(0)); // nothing held the recording up, so it was before the gap
        assert_eq!(waits.account(answer, recording), Nanos::ZERO);
    }
}
