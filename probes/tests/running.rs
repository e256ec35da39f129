//! Probe threads on the machine at hand: accounts that close, stalls of known length, refusals.
//!
//! One test at a time, because they measure the same CPU. Injecting stalls needs the right to a real-time priority;
//! without it those tests say that they were skipped, and fail where `CI=true`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use clock::{Clock, Facts, SPAN_DEFAULT};
use host::threads::{self, Placement, Policy, Role, allowed_cpus, monotonic_now, sleep_until};
use probes::{Channel, Counter, Error, Feed, Kind, Probe, Sample, Spec, bursts, spin_gap, timer_wakeup};
use units::{CpuId, Nanos, Ticks};

const MS: Nanos = Nanos::from_millis(1);

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cpu() -> CpuId {
    allowed_cpus().expect("the kernel tells").iter().last().expect("this runs somewhere")
}

/// What this machine is measured with.
fn this_clock() -> Clock {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flag = |name: &str| Some(cpuinfo.split_whitespace().any(|word| word == name));
    let current = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let facts = Facts {
        constant_tsc: flag("constant_tsc"),
        nonstop_tsc: flag("nonstop_tsc"),
        current_clocksource: std::fs::read_to_string(current).ok(),
        ..Facts::of_this_cpu()
    };
    Clock::start(&facts, SPAN_DEFAULT, |span| sleep_until(monotonic_now() + span)).clock
}

fn poll_until(mut done: impl FnMut() -> bool) {
    while !done() {
        sleep_until(monotonic_now() + MS);
    }
}

fn drain(feed: &mut Feed, samples: &mut Vec<Sample>) {
    samples.extend(std::iter::from_fn(|| feed.samples.pop().ok()));
}

/// Every probe, in thirty cycles of 20 ms, with a ring of so many samples that is drained or not.
fn thirty_cycles(ring_samples: usize, drained: bool) -> (Feed, Vec<Sample>) {
    let probes = vec![
        Probe::TimerWakeup(timer_wakeup::Options { interval: MS, slot: MS.times(10) }),
        Probe::SpinGap(spin_gap::Options { slot: MS.times(5), ..Default::default() }),
        Probe::Syscall(bursts::Options { interval: MS.times(5), slot: MS.times(5), ..Default::default() }),
    ];
    let spec = Spec { probes, cycle: MS.times(20), ring_samples, ..Spec::new(cpu().into()) };
    let (running, mut feeds) = probes::start(&spec, this_clock()).unwrap();
    let channels =
        [Kind::TimerWakeup, Kind::SpinGap, Kind::Syscall].map(|probe| Channel { probe, cpu: cpu() });
    assert_eq!(running.channels, channels);

    let (mut feed, mut samples) = (feeds.remove(0), Vec::new());
    poll_until(|| {
        if drained {
            drain(&mut feed, &mut samples);
        }
        feed.counters.cycles.get() > 30
    });
    assert_eq!(running.stop().unfinished, []);
    drain(&mut feed, &mut samples);
    (feed, samples)
}

#[test]
fn every_sample_is_accounted_for() {
    let _turn = one_at_a_time();
    let (feed, samples) = thirty_cycles(1 << 14, true);
    let counters = &feed.counters;
    let of = |channel| samples.iter().filter(move |sample| sample.channel == channel);
    let count = |channel| of(channel).count() as u64;
    assert_eq!((counters.produced.get(), counters.dropped.get()), (samples.len() as u64, 0));

    let [scheduled, recorded, corrected, capped] =
        [&counters.scheduled, &counters.recorded, &counters.corrected, &counters.capped].map(Counter::get);
    assert_eq!(scheduled, recorded + corrected + capped);
    assert_eq!(count(0), recorded + corrected, "a sample each period");
    assert_eq!(of(0).filter(|sample| sample.is_missed()).count() as u64, corrected);
    assert!(
        scheduled >= 290,
        "ten periods in each of thirty cycles, the last perhaps cut short: {scheduled}"
    );

    let gaps: u64 = of(1).map(|sample| sample.value.0).sum();
    assert!(gaps <= counters.spun.get(), "gaps are part of the time looked at");
    assert!(counters.loops.get() > 0 && counters.loop_min.get() <= counters.loop_median.get());
    assert_eq!(count(2), counters.calls.get(), "a sample each call");
}

#[test]
fn what_does_not_fit_the_ring_is_counted() {
    let _turn = one_at_a_time();
    let (feed, samples) = thirty_cycles(16, false);
    assert_eq!(samples.len(), 16, "nobody drained it before the end");
    assert_eq!(feed.counters.produced.get(), 16 + feed.counters.dropped.get());
}

/// The time in which a thread of higher priority had the CPU.
type Stall = (Ticks, Ticks);

/// Runs `kind` alone while stalls of these lengths are injected, 20 ms apart; the stalls and the samples, or `None`
/// without the right to inject any.
fn inject(kind: Kind, lengths: &[Nanos]) -> Option<(Clock, Vec<Stall>, Vec<Sample>)> {
    let clock = this_clock();
    // In one cycle: the few microseconds between two, in which nothing is looked for, shall not come between.
    let spec = Spec {
        probes: vec![kind.into()],
        cycle: Nanos::from_secs(10),
        warm_up_cycles: 0,
        ..Spec::new(cpu().into())
    };
    let (running, mut feeds) = probes::start(&spec, clock).unwrap();
    let (mut feed, mut samples) = (feeds.remove(0), Vec::new());
    poll_until(|| feed.counters.cycles.get() > 0);
    let lengths = lengths.to_vec();
    let role = Role { name: "injector".into(), cpus: cpu().into(), policy: Policy::Fifo(50) };
    let injector = threads::spawn(role, move |placement: Placement| match placement.policy_refused {
        Some(reason) => Err(reason),
        None => Ok(lengths.into_iter().map(|length| stall(clock, length)).collect()),
    })
    .unwrap();
    poll_until(|| {
        drain(&mut feed, &mut samples);
        injector.is_finished()
    });
    assert_eq!(running.stop().unfinished, []);
    drain(&mut feed, &mut samples);
    assert_eq!(feed.counters.cycles.get(), 1);
    match injector.join().unwrap() {
        Ok(stalls) => Some((clock, stalls, samples)),
        Err(reason) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
            println!("skipped: {reason}");
            None
        }
    }
}

fn stall(clock: Clock, length: Nanos) -> Stall {
    sleep_until(monotonic_now() + MS.times(20));
    let from = clock.now();
    let until = from + clock.to_ticks(length);
    loop {
        let now = clock.now();
        if now >= until {
            return (from, now);
        }
    }
}

/// The samples that were under way at `instant`.
fn covering(samples: &[Sample], instant: Ticks) -> Vec<&Sample> {
    samples.iter().filter(|sample| sample.at > instant && sample.at - sample.value < instant).collect()
}

#[test]
fn the_spinning_probe_finds_every_stall_once_with_its_length() {
    let _turn = one_at_a_time();
    let lengths = [20, 50, 200, 2_000, 2_000, 5_000].map(Nanos::from_micros).repeat(6);
    let Some((clock, stalls, samples)) = inject(Kind::SpinGap, &lengths) else { return };
    let mut excess = Vec::new();
    for ((from, to), length) in stalls.into_iter().zip(&lengths) {
        let [sample] = covering(&samples, Ticks(from.0 / 2 + to.0 / 2))[..] else {
            panic!("not once: {length}")
        };
        let (gap, waited) = (clock.to_nanos(sample.value), sample.waited().unwrap());
        assert!(gap >= *length, "{length} was reported as {gap}");
        assert!(waited + Nanos::from_micros(10) >= *length, "preempted for {length}, and waited {waited}");
        excess.push(gap - *length);
    }
    excess.sort_unstable();
    println!(
        "{} stalls found once each; gap - stall: {} (min), {} (median), {} (max)",
        excess.len(),
        excess[0],
        excess[excess.len() / 2],
        excess[excess.len() - 1]
    );
}

#[test]
fn the_timer_probe_finds_every_stall_once() {
    let _turn = one_at_a_time();
    let Some((clock, stalls, samples)) = inject(Kind::TimerWakeup, &[MS.times(2); 20]) else { return };
    let mut preempted = 0;
    for (from, to) in stalls {
        // A deadline comes each millisecond: at 1.5 ms one has passed, and whoever waits for it waits until the end.
        let inside = covering(&samples, from + clock.to_ticks(Nanos::from_micros(1_500)));
        let (missed, woke): (Vec<&Sample>, Vec<&Sample>) = inside.into_iter().partition(|s| s.is_missed());
        let [sample] = woke[..] else { panic!("not once: {woke:?}") };
        let (late, waited) = (clock.to_nanos(sample.value), sample.waited().unwrap());
        // A millisecond of the clock that deadlines are on may be a little shorter than one of ours.
        assert!(sample.at >= to && late >= Nanos::from_micros(990), "a wake-up {late} late");
        assert!(missed.iter().all(|sample| sample.at >= to), "{missed:?}");
        preempted += usize::from(waited.times(2) >= late);
    }
    println!("20 stalls of 2 ms found once each, {preempted} with the evidence of waiting");
    assert!(preempted >= 15, "the rest is for a hypervisor that delays the timer interrupt itself");
}

#[test]
fn a_cpu_that_cannot_be_measured_is_refused_and_nothing_runs() {
    let _turn = one_at_a_time();
    let cpus = [cpu(), CpuId(8191)].into_iter().collect();
    let spec = Spec { cycle: MS.times(10), probes: vec![Kind::Syscall.into()], ..Spec::new(cpus) };
    let error = probes::start(&spec, Clock::monotonic()).unwrap_err();
    assert!(matches!(error, Error::Pin { cpu: CpuId(8191), .. }), "{error}");
    assert!(error.to_string().starts_with("CPU 8191 cannot be measured: cannot run on CPU 8191"), "{error}");
    poll_until(|| probe_threads() == 0); // the thread of the other CPU ends with its cycle, or this never does
}

fn probe_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this process exists");
    let name =
        |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
    tasks.flatten().map(name).filter(|name| name.starts_with("probe-cpu")).count()
}
