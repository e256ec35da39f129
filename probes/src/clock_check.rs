//! Do the counters of two CPUs agree? Bounds on the skew between them, from messages that cannot arrive before they
//! are sent.
//!
//! Two pinned threads play ping-pong over a pair of atomics. CPU a stamps before it sends and after the answer is
//! there, CPU b stamps in between: whatever the skew is, b's stamp lies between a's two, so each round trip confines
//! it to an interval as long as itself, and all of them to the intersection. That is a bound, not an estimate:
//! [`Skew::offset_ns`] is merely the middle, which moves with every run, and a one-way figure between two CPUs is
//! never better than [`Skew::bound`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use clock::Clock;
use host::threads::{self, Placement, Policy, Role, monotonic_now, sleep_until};
use units::{CpuId, CpuSet, Nanos, Ticks};

/// How long a pair plays: some four thousand round trips (2-vCPU VM), of which the fastest decide.
pub const PLAY: Nanos = Nanos::from_millis(3);

/// Round trips below which a pair plays on: with fewer, the shortest is likely not one of two CPUs that both ran.
const ROUND_TRIPS_MIN: u64 = 100;

/// A thread that waits in vain for this long naps as long. On a busy CPU whoever spins uses its time slice up, and two
/// such threads may take turns without ever meeting. The one that answers naps for shorter, and so is awake when the
/// other is.
const PING_NAP: Nanos = Nanos::from_millis(1);
const PONG_NAP: Nanos = Nanos::from_micros(50);

/// Pairs that are checked; beyond, a check of a large machine would take seconds.
pub const PAIRS_MAX: usize = 64;

/// How long a thread may take to get its CPU, and a busy pair to make [`ROUND_TRIPS_MIN`].
const START_DEADLINE: Nanos = Nanos::from_millis(500);

/// What is known about the skew between two CPUs' counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// The two CPUs, a and b.
    pub pair: (CpuId, CpuId),
    /// How far b's counter is ahead of a's, in nanoseconds, give or take [`Skew::bound`].
    pub offset_ns: i64,
    /// How wrong the offset can be; at most half the shortest round trip.
    pub bound: Nanos,
    /// The shortest round trip.
    pub round_trip_min: Nanos,
    /// Round trips made.
    pub round_trips: u64,
    /// Whether one skew explains every round trip. If not, a counter was moved or a CPU changed place beneath us (a
    /// virtual machine), and the bound says only how far the contradictions go.
    pub consistent: bool,
}

impl Skew {
    /// No stamp of the one CPU is further off the other's than this.
    #[must_use]
    pub fn limit(&self) -> Nanos {
        Nanos(self.offset_ns.unsigned_abs()) + self.bound
    }
}

/// Why a pair could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("clocks of CPU {} and CPU {} could not be compared: {reason}", pair.0, pair.1)]
pub struct Unchecked {
    /// The two CPUs.
    pub pair: (CpuId, CpuId),
    /// Why.
    pub reason: String,
}

/// Compares the first of `cpus` with each other one, [`PAIRS_MAX`] pairs at most; some 4 ms a pair, half a second
/// where a CPU cannot be had. Empty for one CPU.
#[must_use]
pub fn check(cpus: &CpuSet, clock: Clock) -> Vec<Result<Skew, Unchecked>> {
    let Some(first) = cpus.first() else { return Vec::new() };
    cpus.iter().skip(1).take(PAIRS_MAX).map(|other| check_pair(first, other, clock)).collect()
}

/// Compares two CPUs.
///
/// # Errors
/// [`Unchecked`] when a thread cannot run on its CPU, or does not within half a second.
pub fn check_pair(a: CpuId, b: CpuId, clock: Clock) -> Result<Skew, Unchecked> {
    let failed = |reason: String| Unchecked { pair: (a, b), reason };
    let table = Arc::new(Table::default());
    let (result, results) = mpsc::channel();
    let (ours, report) = (Arc::clone(&table), result.clone());
    let pong = move |placement: Placement| match placement.cpus_refused {
        Some(reason) => drop(report.send(Err(reason))),
        None => ours.pong(clock),
    };
    let ping = move |placement: Placement| {
        let played = match placement.cpus_refused {
            Some(reason) => Err(reason),
            None => table.ping(clock),
        };
        drop(result.send(played)); // nobody listens when it came too late
    };
    // The threads are not joined: one that is kept off its CPU ends by itself, by the time it runs.
    spawn("skew-pong", b, pong).map_err(|cause| failed(cause.to_string()))?;
    spawn("skew-ping", a, ping).map_err(|cause| failed(cause.to_string()))?;
    let deadline = START_DEADLINE.times(2) + PLAY.times(2);
    let played = results.recv_timeout(deadline.into()).unwrap_or_else(|_| Err(not_scheduled(a)));
    played.and_then(|trips| trips.skew((a, b), clock).ok_or_else(|| not_together(a, b))).map_err(failed)
}

fn not_scheduled(cpu: CpuId) -> String {
    format!("the thread on CPU {cpu} did not run within {START_DEADLINE}")
}

fn not_together(a: CpuId, b: CpuId) -> String {
    format!("threads on CPU {a} and CPU {b} did not run at the same time within {START_DEADLINE}")
}

fn spawn(name: &str, cpu: CpuId, body: impl FnOnce(Placement) + Send + 'static) -> std::io::Result<()> {
    let role = Role { name: name.to_owned(), cpus: cpu.into(), policy: Policy::Other };
    threads::spawn(role, body).map(drop)
}

/// What the two threads share; each word on a cache line of its own, with its neighbour for the prefetcher.
#[derive(Debug, Default)]
struct Table {
    /// The number of the latest ping; [`OVER`] ends the game.
    ping: Line,
    /// The number of the latest answer.
    pong: Line,
    /// The stamp that goes with it.
    stamp: Line,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

const OVER: u64 = u64::MAX;

impl Table {
    /// Sends pings for [`PLAY`], beginning with the first answer; longer where the other one loses its CPU in between.
    fn ping(&self, clock: Clock) -> Result<RoundTrips, String> {
        let mut trips = RoundTrips::default();
        let (play, patience) = (clock.to_ticks(PLAY), clock.to_ticks(START_DEADLINE));
        let over = clock.now() + patience;
        let mut enough = over;
        for number in 1.. {
            let sent = clock.now_fenced();
            self.ping.0.store(number, Ordering::Release); // pairs with pong's load
            // Pairs with pong's store, and so makes the stamp before it visible.
            let mut patience = Patience::new(PING_NAP, clock);
            while self.pong.0.load(Ordering::Acquire) != number && clock.now() < over {
                patience.wait(clock);
            }
            let received = clock.now_fenced();
            if received >= over || (received >= enough && trips.count >= ROUND_TRIPS_MIN) {
                break; // the last one may have been given up, not answered
            }
            if number == 1 {
                enough = received + play;
            } else {
                let stamp = Ticks(self.stamp.0.load(Ordering::Relaxed)); // ordered by the load of `pong` above
                trips.add(sent, stamp, received);
            }
        }
        self.ping.0.store(OVER, Ordering::Release); // pairs with pong's load
        Ok(trips)
    }

    /// Answers each ping with a stamp, until the game is over or nobody plays.
    fn pong(&self, clock: Clock) {
        let over = clock.now() + clock.to_ticks(START_DEADLINE.times(2) + PLAY.times(2));
        let mut answered = 0;
        let mut patience = Patience::new(PONG_NAP, clock);
        while clock.now() < over {
            let number = self.ping.0.load(Ordering::Acquire); // pairs with ping's stores
            if number == OVER {
                return;
            }
            if number != answered {
                self.stamp.0.store(clock.now_fenced().0, Ordering::Relaxed); // ordered by the store below
                self.pong.0.store(number, Ordering::Release); // pairs with ping's load
                answered = number;
                patience = Patience::new(PONG_NAP, clock);
            }
            patience.wait(clock);
        }
    }
}

/// Spinning for a nap's length, then naps.
struct Patience {
    nap: Nanos,
    spin_until: Ticks,
}

impl Patience {
    fn new(nap: Nanos, clock: Clock) -> Self {
        Self { nap, spin_until: clock.now() + clock.to_ticks(nap) }
    }

    /// One turn of waiting; some time after the nap the caller looks again.
    fn wait(&mut self, clock: Clock) {
        if clock.now() < self.spin_until {
            return std::hint::spin_loop();
        }
        sleep_until(monotonic_now() + self.nap);
        *self = Self::new(self.nap, clock);
    }
}

/// The skew that all round trips allow, in ticks by which b is ahead of a: from `least` to `most`.
#[derive(Debug)]
struct RoundTrips {
    count: u64,
    shortest: Ticks,
    least: i128,
    most: i128,
}

impl Default for RoundTrips {
    fn default() -> Self {
        Self { count: 0, shortest: Ticks(u64::MAX), least: i128::MIN, most: i128::MAX }
    }
}

impl RoundTrips {
    /// The stamp came after `sent` and before `received`, whatever its counter said.
    fn add(&mut self, sent: Ticks, stamp: Ticks, received: Ticks) {
        let ahead_of = |ours: Ticks| i128::from(stamp.0) - i128::from(ours.0);
        self.count += 1;
        self.shortest = self.shortest.min(received.since(sent));
        self.least = self.least.max(ahead_of(received));
        self.most = self.most.min(ahead_of(sent));
    }

    /// `None` when there was no round trip.
    fn skew(&self, pair: (CpuId, CpuId), clock: Clock) -> Option<Skew> {
        if self.count == 0 {
            return None;
        }
        let consistent = self.least <= self.most;
        let nanos = |ticks: i128| {
            let magnitude = clock.to_nanos(Ticks(u64::try_from(ticks.unsigned_abs()).unwrap_or(u64::MAX)));
            i64::try_from(magnitude.0).unwrap_or(i64::MAX)
                * i64::try_from(ticks.signum()).expect("-1, 0 or 1")
        };
        let half = Nanos(nanos((self.most - self.least).abs() / 2).unsigned_abs() + 1); // what halving cut
        let round_trip_min = clock.to_nanos(self.shortest);
        // Contradictions are as far from the middle as they are apart, and each is uncertain by a round trip.
        let bound = if consistent { half } else { half + Nanos(round_trip_min.0 / 2) };
        let offset_ns = nanos((self.least + self.most) / 2);
        Some(Skew { pair, offset_ns, bound, round_trip_min, round_trips: self.count, consistent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Round trips as (sent, stamp, received); offset, bound and consistency.
    #[track_caller]
    fn check_trips(trips: &[(u64, u64, u64)], expected: Option<(i64, u64, bool)>) {
        let mut sum = RoundTrips::default();
        for (sent, stamp, received) in trips {
            sum.add(Ticks(*sent), Ticks(*stamp), Ticks(*received));
        }
        let skew = sum.skew((CpuId(0), CpuId(1)), Clock::mock().0);
        assert_eq!(skew.map(|skew| (skew.offset_ns, skew.bound.0, skew.consistent)), expected);
    }

    #[test]
    fn a_round_trip_confines_the_skew() {
        check_trips(&[], None);
        check_trips(&[(1_000, 1_100, 1_200)], Some((0, 101, true)));
        check_trips(&[(1_000, 6_100, 1_200)], Some((5_000, 101, true))); // b is ahead
        check_trips(&[(9_000, 100, 9_200)], Some((-9_000, 101, true))); // b is behind
        check_trips(&[(1_000, 1_020, 1_200), (2_000, 2_180, 2_200)], Some((0, 21, true))); // the two leave -20..=20
        check_trips(&[(1_000, 1_100, 1_200), (2_000, 2_500, 2_200)], Some((200, 201, false))); // it jumped
    }

    #[test]
    fn the_bound_is_at_most_half_a_round_trip_and_real_cpus_are_inside_it() {
        let cpus = threads::allowed_cpus().unwrap();
        let clock = Clock::monotonic(); // one clock for all CPUs: the true skew is 0
        for result in check(&cpus, clock) {
            let skew = match result {
                Ok(skew) => skew,
                Err(unchecked) => {
                    println!("skipped: {unchecked}"); // a CPU that somebody else keeps busy
                    continue;
                }
            };
            println!("{skew:?}, |skew| <= {}", skew.limit());
            assert!(skew.consistent && skew.round_trips > 0, "{skew:?}");
            assert!(skew.bound.0 <= skew.round_trip_min.0 / 2 + 1, "{skew:?}");
            assert!(skew.offset_ns.unsigned_abs() <= skew.bound.0, "a false bound: {skew:?}");
        }
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_said() {
        let cpu = threads::allowed_cpus().unwrap().first().unwrap();
        let unchecked = check_pair(cpu, CpuId(8191), Clock::monotonic()).unwrap_err();
        assert!(unchecked.to_string().contains("cannot run on CPU 8191"), "{unchecked}");
        assert!(check(&cpu.into(), Clock::monotonic()).is_empty(), "one CPU agrees with itself");
    }
}
