//! From settings to the probes: which ones, how fast, and what each channel can resolve.

use latency::{ChannelFacts, Layout};
use probes::{Kind, Probe, RtThrottle, Spec, spin_gap, timer_wakeup};
use units::{CpuSet, Nanos};

use crate::facts::Facts;
use crate::settings::Settings;

/// The spec that `settings` ask for on `cpus`.
#[must_use]
pub fn spec(settings: &Settings, cpus: CpuSet, facts: Option<&Facts>) -> Spec {
    let mut probes: Vec<Probe> = settings.probes.iter().map(|kind| probe(*kind, settings)).collect();
    let base = Spec::new(cpus);
    make_room(&mut probes, base.cycle);
    let throttle = facts.and_then(|facts| facts.rt_throttle.as_ref());
    Spec {
        policy: settings.policy,
        probes,
        stall: settings.stall,
        rt_throttle: throttle.map(|found| RtThrottle { runtime: found.runtime, period: found.period }),
        ..base
    }
}

fn probe(kind: Kind, settings: &Settings) -> Probe {
    match Probe::from(kind) {
        Probe::TimerWakeup(options) => {
            Probe::TimerWakeup(timer_wakeup::Options { interval: settings.interval, ..options })
        }
        Probe::SpinGap(options) => Probe::SpinGap(spin_gap::Options { slot: settings.spin, ..options }),
        bursts => bursts,
    }
}

/// The timer's slot is most of the cycle: where the probes beside it want more of it than that leaves, it is shortened.
fn make_room(probes: &mut [Probe], cycle: Nanos) {
    let others = |probe: &&Probe| probe.kind() != Kind::TimerWakeup;
    let left = cycle - probes.iter().filter(others).map(Probe::slot).sum();
    for probe in probes {
        if let Probe::TimerWakeup(options) = probe {
            options.slot = options.slot.min(left);
        }
    }
}

/// What is known of a probe's channel before its first sample: whether a budget can be judged on it follows from that.
#[must_use]
pub fn channel_facts(probe: Kind, settings: &Settings, layout: &Layout) -> ChannelFacts {
    let spec = spec(settings, CpuSet::empty(), None);
    let sample_period =
        spec.probes.iter().find(|candidate| candidate.kind() == probe).and_then(|p| sample_period(p, &spec));
    let kept = layout
        .counting_slot
        .times(u64::try_from(layout.counting_slots.saturating_sub(1)).unwrap_or(u64::MAX));
    ChannelFacts { floor: floor(probe), sample_period, slot: layout.counting_slot, kept }
}

/// The mean time between samples of a probe with a pace; gaps come when they come.
fn sample_period(probe: &Probe, spec: &Spec) -> Option<Nanos> {
    let (in_slot, each) = match (probe, probe.bursts()) {
        (_, Some(options)) => (u64::from(options.calls), options.interval),
        (Probe::TimerWakeup(options), _) => (1, options.interval),
        _ => return None,
    };
    let slot = if spec.probes.len() == 1 { spec.cycle } else { probe.slot() };
    let samples = (slot.0 / each.0.max(1)).max(1) * in_slot;
    Some(Nanos(spec.cycle.0.max(each.0) / samples))
}

/// The shortest latency a probe can tell from none: two fenced readings of the clock with nothing between them, some 20
/// ns apart (the report's floor for syscall on a 2-vCPU VM), and the threshold for gaps.
fn floor(probe: Kind) -> Nanos {
    match probe {
        Kind::SpinGap => spin_gap::Options::default().threshold,
        _ => Nanos(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probes::PROBES;
    use units::CpuId;

    #[track_caller]
    fn check(probes: &[Kind], probe: Kind, expected: Option<Nanos>) {
        let settings = Settings { probes: probes.to_vec(), ..Settings::default() };
        assert_eq!(channel_facts(probe, &settings, &Layout::default()).sample_period, expected);
    }

    #[test]
    fn samples_come_as_often_as_the_cycle_lets_them() {
        use Kind::{Eventfd, SpinGap, Syscall, TimerWakeup};
        let all = [TimerWakeup, SpinGap, Syscall];
        check(&[TimerWakeup], TimerWakeup, Some(Nanos::from_millis(1)));
        check(&all, TimerWakeup, Some(Nanos::from_micros(1_250))); // 80 of each 100 ms
        check(&all, Syscall, Some(Nanos(1_562_500))); // 64 each 100 ms
        check(&all, SpinGap, None); // no pace of its own
        check(&[Eventfd], Eventfd, Some(Nanos(62_500))); // 64 each 4 ms
        check(&[TimerWakeup, Eventfd], Eventfd, Some(Nanos(1_562_500))); // 64 each 100 ms
    }

    /// Room for the timer, in ms, beside these.
    #[track_caller]
    fn check_room(probes: &[Kind], expected: u64) {
        let probes = probes.to_vec();
        let spec = spec(&Settings { probes, ..Settings::default() }, CpuId(0).into(), None);
        assert!(spec.plan().is_ok(), "{spec:?}");
        assert_eq!(spec.probes[0].slot(), Nanos::from_millis(expected));
    }

    #[test]
    fn every_probe_has_room_beside_the_timer() {
        use Kind::{SpinGap, Syscall, TimerWakeup};
        check_room(&[TimerWakeup], 80); // and the whole cycle when it is alone
        check_room(&[TimerWakeup, SpinGap, Syscall], 80);
        check_room(&PROBES.map(|about| about.kind), 61); // 11 of those, and seven times 4
    }
}
