//! How a cycle is divided among the probes, and which wishes cannot be fulfilled.
//!
//! Pure: a [`Spec`] in, slots or every objection at once out.

use std::ops::RangeInclusive;

use host::threads::Policy;
use units::Nanos;
use units::limits::CHANNELS_MAX;

use crate::spec::Pace;
use crate::{Error, Kind, Probe, Spec};

/// A cycle divided among the probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From the begin of one cycle to the next. Longer than asked for when one probe alone has a longer interval.
    pub cycle: Nanos,
    /// In the order of time; what remains of the cycle is slept.
    pub slots: Vec<Slot>,
}

/// A probe's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Whose.
    pub probe: Probe,
    /// From the cycle's begin to its own.
    pub offset: Nanos,
    /// How long it is.
    pub length: Nanos,
}

/// Shorter cycles are all changing of turns; longer ones would keep [`Running::stop`](crate::Running::stop) waiting.
const CYCLE: RangeInclusive<Nanos> = Nanos::from_millis(5)..=Nanos::from_secs(10);
/// Shorter is inside the spread of ordinary wake-ups; longer is no stall that a trading system could survive.
const STALL: RangeInclusive<Nanos> = Nanos::from_micros(1)..=Nanos::from_secs(1);
/// Below 50 us (20 000 samples a second, what [`RING_SAMPLES`](units::limits::RING_SAMPLES) is made for) a wake-up is
/// late for its successor.
const TIMER_INTERVAL: RangeInclusive<Nanos> = Nanos::from_micros(50)..=*CYCLE.end();
/// Below ten turns of the loop each turn would be a gap.
const GAP: RangeInclusive<Nanos> = Nanos(100)..=Nanos::from_secs(1);
/// Below, warming up is most of it.
const SPIN_SLOT_MIN: Nanos = Nanos::from_micros(500);
/// A burst of the most calls of getppid takes some 600 us.
const BURST_INTERVAL: RangeInclusive<Nanos> = Nanos::from_millis(2)..=*CYCLE.end();
const BURST_CALLS: RangeInclusive<u32> = 1..=4096;
/// A ring of 2^20 samples is 24 MiB.
const RING: RangeInclusive<usize> = 2..=1 << 20;

impl Spec {
    /// How the cycle is divided.
    ///
    /// # Errors [`Error::Spec`] with everything that cannot be done: no CPU, no probe, a probe twice, an option out
    /// of its range, slots longer than the cycle, and spinning at a real-time priority that the kernel would stop.
    pub fn plan(&self) -> Result<Plan, Error> {
        let mut objections = self.objections();
        let cycle = self.cycle_length();
        let mut offset = Nanos::ZERO;
        let mut slots = Vec::with_capacity(self.probes.len());
        for probe in &self.probes {
            let length = self.slot_length(probe, cycle);
            objections.extend(probe_objections(probe, length));
            slots.push(Slot { probe: *probe, offset, length });
            offset += length;
        }
        if offset > cycle {
            objections
                .push(format!("the slots take {offset} of a cycle of {cycle}: shorten them or lengthen it"));
        }
        let plan = Plan { cycle, slots };
        objections.extend(self.throttle_objection(&plan));
        if objections.is_empty() { Ok(plan) } else { Err(Error::Spec(objections)) }
    }

    fn objections(&self) -> Vec<String> {
        let mut objections = Vec::new();
        if self.cpus.is_empty() {
            objections.push("no CPU is chosen".to_owned());
        }
        if self.probes.is_empty() {
            objections.push("no probe is chosen".to_owned());
        }
        let channels = self.cpus.count() * self.probes.len();
        if channels > CHANNELS_MAX {
            let (cpus, probes) = (self.cpus.count(), self.probes.len());
            objections.push(format!(
                "{probes} probes on {cpus} CPUs are {channels} channels; {CHANNELS_MAX} at most"
            ));
        }
        for (index, probe) in self.probes.iter().enumerate() {
            if self.probes[..index].iter().any(|earlier| earlier.kind() == probe.kind()) {
                objections.push(format!("{} is chosen twice", probe.kind()));
            }
        }
        objections.extend(outside("the cycle", self.cycle, CYCLE));
        objections.extend(outside("a stall", self.stall, STALL));
        if !RING.contains(&self.ring_samples) {
            objections.push(format!(
                "a ring of {} samples: {} to {} are possible",
                self.ring_samples,
                RING.start(),
                RING.end()
            ));
        }
        objections
    }

    /// One probe alone may have an interval longer than the cycle.
    fn cycle_length(&self) -> Nanos {
        match self.probes[..] {
            [Probe::TimerWakeup(options)] => self.cycle.max(options.interval),
            [probe] => self.cycle.max(probe.bursts().map_or(Nanos::ZERO, |options| options.interval)),
            _ => self.cycle,
        }
    }

    fn slot_length(&self, probe: &Probe, cycle: Nanos) -> Nanos {
        match (self.probes.len(), probe, self.throttle()) {
            (1, Probe::SpinGap(_), Some((runtime, period))) => share(cycle, runtime, period),
            (1, ..) => cycle,
            _ => probe.slot(),
        }
    }

    /// The limit that a spinning thread of ours is under: runtime and period. Without one of the kernel's it is the
    /// whole period, of which [`share`] still leaves a tenth to the CPU's kernel threads.
    fn throttle(&self) -> Option<(Nanos, Nanos)> {
        let throttle = self.rt_throttle.unwrap_or_default();
        let runtime = throttle.runtime.unwrap_or(throttle.period);
        matches!(self.policy, Policy::Fifo(_)).then_some((runtime, throttle.period))
    }

    /// A spinning real-time thread must never be what the kernel stops (it would measure itself), nor starve a CPU.
    fn throttle_objection(&self, plan: &Plan) -> Option<String> {
        let (runtime, period) = self.throttle()?;
        let spin = plan.slots.iter().find(|slot| slot.probe.kind() == Kind::SpinGap)?.length;
        let allowed = share(period, runtime, period);
        let busiest = busiest(spin, plan.cycle, period);
        let why = match runtime < period {
            true => format!("the kernel stops real-time threads at {runtime} (sched_rt_runtime_us)"),
            false => "nothing would stop it from starving the CPU's kernel threads".to_owned(),
        };
        (busiest > allowed).then(|| {
            format!(
                "spin-gap at {} would spin {busiest} in {period}, and {why}: shorten its slot or its cycle so that it \
                 spins {allowed} at most, or use other",
                self.policy
            )
        })
    }
}

/// Nine tenths of what is allowed, for `time`: the rest is for the other probes, for whoever else runs at a real-time
/// priority on this CPU, and for a slot that a stall makes longer.
fn share(time: Nanos, runtime: Nanos, period: Nanos) -> Nanos {
    let allowed = u128::from(time.0) * u128::from(runtime.0) * 9 / (u128::from(period.0.max(1)) * 10);
    Nanos(u64::try_from(allowed).unwrap_or(u64::MAX)).min(time)
}

/// The most that slots of `spin` in each `cycle` can take of any `period`.
fn busiest(spin: Nanos, cycle: Nanos, period: Nanos) -> Nanos {
    let (whole, rest) = (period.0 / cycle.0.max(1), period.0 % cycle.0.max(1));
    spin.times(whole) + spin.min(Nanos(rest))
}

fn probe_objections(probe: &Probe, slot: Nanos) -> Vec<String> {
    let kind = probe.kind();
    let interval = |interval, range: RangeInclusive<Nanos>| {
        let too_long = format!("{kind}: an interval of {interval} does not fit its slot of {slot}");
        outside(&format!("{kind}: the interval"), interval, range).or((interval > slot).then_some(too_long))
    };
    match probe.pace() {
        Pace::Timer(options) => interval(options.interval, TIMER_INTERVAL).into_iter().collect(),
        Pace::Spin(options) => {
            let short = format!("{kind}: a slot of {slot} is too short; {SPIN_SLOT_MIN} at least");
            let threshold = outside(&format!("{kind}: the threshold"), options.threshold, GAP);
            threshold.into_iter().chain((slot < SPIN_SLOT_MIN).then_some(short)).collect()
        }
        Pace::Bursts(options) => {
            let (least, most) = (BURST_CALLS.start(), BURST_CALLS.end());
            let calls = format!("{kind}: {} calls a burst; {least} to {most} are possible", options.calls);
            let calls = (!BURST_CALLS.contains(&options.calls)).then_some(calls);
            interval(options.interval, BURST_INTERVAL).into_iter().chain(calls).collect()
        }
    }
}

fn outside(what: &str, value: Nanos, range: RangeInclusive<Nanos>) -> Option<String> {
    let (least, most) = (range.start(), range.end());
    (!range.contains(&value))
        .then(|| format!("{what} of {value} is out of range; {least} to {most} are possible"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PROBES, RtThrottle, bursts, spin_gap, timer_wakeup};
    use units::{CpuId, CpuSet};

    /// The slots as "probe offset+length", or every objection.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Spec), expected: &str) {
        let mut spec = Spec::new(CpuId(1).into());
        change(&mut spec);
        let got = match spec.plan() {
            Ok(plan) => {
                let slot = |slot: &Slot| format!("{} {}+{}", slot.probe.kind(), slot.offset, slot.length);
                format!("{}: {}", plan.cycle, plan.slots.iter().map(slot).collect::<Vec<_>>().join(", "))
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    fn alone(kind: Kind) -> impl Fn(&mut Spec) {
        move |spec| spec.probes = vec![kind.into()]
    }

    #[test]
    fn a_cycle_is_divided() {
        check(|_| (), "100 ms: timer-wakeup 0 ns+80.0 ms, spin-gap 80.0 ms+10.0 ms, syscall 90.0 ms+10.0 ms");
        check(alone(Kind::TimerWakeup), "100 ms: timer-wakeup 0 ns+100 ms");
        check(alone(Kind::SpinGap), "100 ms: spin-gap 0 ns+100 ms");
        let slow = timer_wakeup::Options { interval: Nanos::from_secs(1), ..Default::default() };
        check(|s| s.probes = vec![Probe::TimerWakeup(slow)], "1.00 s: timer-wakeup 0 ns+1.00 s");
    }

    #[test]
    fn each_probe_can_be_had_alone() {
        for about in PROBES {
            let mut spec = Spec::new(CpuId(1).into());
            alone(about.kind)(&mut spec);
            assert_eq!(spec.plan().unwrap().slots.len(), 1, "{}", about.name);
        }
        let rare = bursts::Options { interval: Nanos::from_secs(1), ..Default::default() };
        check(|s| s.probes = vec![Probe::Eventfd(rare)], "1.00 s: eventfd 0 ns+1.00 s");
    }

    #[test]
    fn a_real_time_spinner_stays_below_the_throttle_or_is_refused() {
        let fifo = |spec: &mut Spec| spec.policy = Policy::Fifo(80);
        let throttle = |runtime: Option<u64>| {
            Some(RtThrottle { runtime: runtime.map(Nanos::from_millis), period: Nanos::from_secs(1) })
        };
        let alone = alone(Kind::SpinGap);
        check(
            |s| (fifo(s), alone(s)).1,
            "100 ms: spin-gap 0 ns+85.5 ms", // not known: as by default
        );
        check(|s| (fifo(s), alone(s), s.rt_throttle = throttle(None)).2, "100 ms: spin-gap 0 ns+90.0 ms"); // -1
        check(
            |s| (fifo(s), alone(s), s.rt_throttle = throttle(Some(500))).2,
            "100 ms: spin-gap 0 ns+45.0 ms",
        );
        check(|s| (alone(s), s.rt_throttle = throttle(Some(500))).1, "100 ms: spin-gap 0 ns+100 ms"); // not real-time
        check(fifo, "100 ms: timer-wakeup 0 ns+80.0 ms, spin-gap 80.0 ms+10.0 ms, syscall 90.0 ms+10.0 ms");
        let greedy = spin_gap::Options { slot: Nanos::from_millis(90), ..Default::default() };
        let greedy = vec![Probe::SpinGap(greedy), Kind::Syscall.into()];
        check(
            |s| (fifo(s), s.probes = greedy).1,
            "cannot measure like this: spin-gap at fifo:80 would spin 900 ms in 1.00 s, and the kernel stops real-time \
             threads at 950 ms (sched_rt_runtime_us): shorten its slot or its cycle so that it spins 855 ms at most, or \
             use other",
        );
        check(
            |s| (fifo(s), alone(s), s.cycle = Nanos::from_secs(10)).2, // one slot longer than a period
            "cannot measure like this: spin-gap at fifo:80 would spin 1.00 s in 1.00 s, and the kernel stops real-time \
             threads at 950 ms (sched_rt_runtime_us): shorten its slot or its cycle so that it spins 855 ms at most, or \
             use other",
        );
        check(
            |s| (fifo(s), alone(s), s.cycle = Nanos::from_secs(10), s.rt_throttle = throttle(None)).3,
            "cannot measure like this: spin-gap at fifo:80 would spin 1.00 s in 1.00 s, and nothing would stop it from \
             starving the CPU's kernel threads: shorten its slot or its cycle so that it spins 900 ms at most, or use other",
        );
        check(
            |s| (fifo(s), alone(s), s.rt_throttle = throttle(Some(0))).2,
            "cannot measure like this: spin-gap: a slot of 0 ns is too short; 500 us at least",
        );
    }

    #[test]
    fn every_objection_comes_at_once() {
        check(
            |s| {
                s.cpus = CpuSet::empty();
                s.probes = vec![Kind::Syscall.into(), Kind::Syscall.into()];
                s.cycle = Nanos::from_secs(60);
                s.stall = Nanos(1);
                s.ring_samples = 0;
            },
            "cannot measure like this: no CPU is chosen; syscall is chosen twice; the cycle of 60.0 s is out of range; 5.00 \
             ms to 10.0 s are possible; a stall of 1 ns is out of range; 1.00 us to 1.00 s are possible; a ring of 0 \
             samples: 2 to 1048576 are possible",
        );
        check(|s| s.probes.clear(), "cannot measure like this: no probe is chosen");
        check(
            |s| s.cpus = (0..171).map(CpuId).collect(),
            "cannot measure like this: 3 probes on 171 CPUs are 513 channels; 512 at most",
        );
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let timer = |interval| Probe::TimerWakeup(timer_wakeup::Options { interval, ..Default::default() });
        check(
            |s| s.probes[0] = timer(Nanos(1)),
            "cannot measure like this: timer-wakeup: the interval of 1 ns is out of range; 50.0 us to 10.0 s are possible",
        );
        check(
            |s| s.probes[0] = timer(Nanos::from_millis(90)),
            "cannot measure like this: timer-wakeup: an interval of 90.0 ms does not fit its slot of 80.0 ms",
        );
        check(
            |s| s.probes[1] = Probe::SpinGap(spin_gap::Options { threshold: Nanos(10), slot: Nanos(1) }),
            "cannot measure like this: spin-gap: the threshold of 10 ns is out of range; 100 ns to 1.00 s are possible; \
             spin-gap: a slot of 1 ns is too short; 500 us at least",
        );
        check(
            |s| s.probes[2] = Probe::Syscall(bursts::Options { calls: 0, ..Default::default() }),
            "cannot measure like this: syscall: 0 calls a burst; 1 to 4096 are possible",
        );
        let long = spin_gap::Options { slot: Nanos::from_millis(30), ..Default::default() };
        check(
            |s| s.probes[1] = Probe::SpinGap(long),
            "cannot measure like this: the slots take 120 ms of a cycle of 100 ms: shorten them or lengthen it",
        );
    }
}
