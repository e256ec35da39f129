//! Starts a thread a CPU, gives each probe its turn, and stops them again.
//!
//! Start-up, in order: plan, threads in their roles, one report from each that it sits on its CPU, warm-up, samples.
//! A CPU that cannot be measured is an error and leaves nothing running; a priority that is refused is told
//! ([`ProbeThread::placement`]) and measured without.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use clock::{Clock, Source};
use host::threads::{self, Placement, Policy, Role, monotonic_now, sleep_until};
use rtrb::Consumer;
use units::{CpuId, Nanos};

use crate::bursts::Bursts;
use crate::futex_wake::FutexWake;
use crate::output::Output;
use crate::sched_yield::SchedYield;
use crate::spin_gap::SpinGap;
use crate::syscall::Getppid;
use crate::timer_wakeup::TimerWakeup;
use crate::tools::{Tools, Turn};
use crate::waits::Waits;
use crate::{Counters, Error, Kind, Plan, Probe, Sample, Slot, Spec};
use crate::{eventfd, huge_fault, minor_fault, udp_loopback, unix_stream};

/// A thread that has not run for this long will not: its CPU belongs to somebody of higher priority.
const START_DEADLINE: Nanos = Nanos::from_secs(2);

/// How much longer than a cycle a thread is waited for when it is asked to end.
const STOP_GRACE: Nanos = Nanos::from_secs(2);

/// Between two looks at a thread that is asked to end.
const STOP_POLL: Nanos = Nanos::from_millis(1);

/// Threads that measure, until they are stopped. Dropping it asks them to end and does not wait.
#[derive(Debug)]
pub struct Running {
    /// What [`Sample::channel`] is the index of.
    pub channels: Vec<Channel>,
    /// One a CPU, in ascending order.
    pub threads: Vec<ProbeThread>,
    /// How the cycle is divided.
    pub plan: Plan,
    stop: Arc<AtomicBool>,
}

/// A stream of samples: one probe on one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel {
    /// Which probe.
    pub probe: Kind,
    /// On which CPU.
    pub cpu: CpuId,
}

/// One thread, as far as its owner is concerned.
#[derive(Debug)]
pub struct ProbeThread {
    /// The CPU it measures.
    pub cpu: CpuId,
    /// Its role: name, CPU and policy.
    pub role: Role,
    /// What the kernel refused of that role.
    pub placement: Placement,
    handle: JoinHandle<()>,
}

impl ProbeThread {
    /// The policy the thread really has: the fair scheduler's, when the kernel refused that of the role.
    #[must_use]
    pub fn policy(&self) -> Policy {
        if self.placement.policy_refused.is_some() { Policy::Other } else { self.role.policy }
    }
}

/// What the collector gets of one thread.
#[derive(Debug)]
pub struct Feed {
    /// The CPU it measures.
    pub cpu: CpuId,
    /// Its samples, in the order of time within each channel.
    pub samples: Consumer<Sample>,
    /// Its counters.
    pub counters: Arc<Counters>,
}

/// How the stopping went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// CPUs whose thread did not end in time, because something of higher priority keeps it off its CPU. It ends as
    /// soon as it runs; until then its counters may still change.
    pub unfinished: Vec<CpuId>,
}

/// Starts the threads that `spec` asks for. They publish samples from now on (after the warm-up), so drain the feeds.
///
/// # Errors
/// [`Error`], with nothing left running.
///
/// # Panics
/// When `clock` is a mock: a thread that spins until a time that never comes.
pub fn start(spec: &Spec, clock: Clock) -> Result<(Running, Vec<Feed>), Error> {
    assert!(clock.source() != Source::Mock, "probe threads live in real time");
    let plan = spec.plan()?;
    let mut running = Running { channels: Vec::new(), threads: Vec::new(), plan, stop: Arc::default() };
    let mut feeds = Vec::new();
    for cpu in spec.cpus.iter() {
        // An error drops `running`, which ends those already started.
        feeds.push(running.start_thread(spec, cpu, clock)?);
    }
    Ok((running, feeds))
}

impl Running {
    fn start_thread(&mut self, spec: &Spec, cpu: CpuId, clock: Clock) -> Result<Feed, Error> {
        let first = u16::try_from(self.channels.len()).expect("Spec::plan bounds the channels");
        self.channels.extend(self.plan.slots.iter().map(|slot| Channel { probe: slot.probe.kind(), cpu }));
        let (output, samples) = Output::new(spec.ring_samples);
        let counters = Arc::clone(&output.counters);

        let probes = self.probes(first, spec.cpus.count(), &clock)?;
        let role = Role { name: format!("probe-cpu{cpu}"), cpus: cpu.into(), policy: spec.policy };
        let (plan, stop, stall) = (self.plan.clone(), Arc::clone(&self.stop), spec.stall);
        let warm_up_cycles = spec.warm_up_cycles;
        let (report, reports) = mpsc::channel();
        let body = move |placement: Placement| {
            let on_its_cpu = placement.cpus_refused.is_none();
            if report.send(placement).is_ok() && on_its_cpu {
                let waits = Waits::of_this_thread(clock, stall);
                let warming = Tools { clock, waits, output: Output::nowhere(), stop };
                probe(&plan, probes, warming, warm_up_cycles, output);
            }
        };
        let handle = threads::spawn(role.clone(), body).map_err(|cause| Error::Spawn { cpu, cause })?;
        let Ok(placement) = reports.recv_timeout(START_DEADLINE.into()) else {
            return Err(Error::NotScheduled { cpu, waited: START_DEADLINE });
        };
        if let Some(reason) = placement.cpus_refused {
            return Err(Error::Pin { cpu, reason });
        }
        self.threads.push(ProbeThread { cpu, role, placement, handle });
        Ok(Feed { cpu, samples, counters })
    }

    /// The probes of one thread, with what they work with; `first` is the first of their channels, `threads`
    /// how many threads there will be.
    fn probes(&self, first: u16, threads: usize, clock: &Clock) -> Result<Vec<Taking>, Error> {
        let open = |(slot, channel): (&Slot, u16)| {
            let opened = Taking::open(slot, channel, self.plan.cycle, threads, clock);
            opened.map_err(|cause| Error::Open { probe: slot.probe.kind(), cause })
        };
        self.plan.slots.iter().zip(first..).map(open).collect()
    }

    /// Ends the threads, each at the end of its turn at the latest, and waits for them: a cycle in ordinary life, two
    /// seconds more when they do not get their CPU. Counters are exact afterwards.
    #[must_use]
    pub fn stop(mut self) -> Stopped {
        self.request_stop();
        let deadline = monotonic_now() + self.plan.cycle + STOP_GRACE;
        let mut stopped = Stopped::default();
        for thread in self.threads.drain(..) {
            while !thread.handle.is_finished() && monotonic_now() < deadline {
                sleep_until(monotonic_now() + STOP_POLL);
            }
            let ended = thread.handle.is_finished() && thread.handle.join().is_ok();
            stopped.unfinished.extend((!ended).then_some(thread.cpu));
        }
        stopped
    }

    fn request_stop(&self) {
        self.stop.store(true, Ordering::Release); // pairs with Tools::stopping
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.request_stop();
    }
}

/// The body of a probe thread. Once its cycles have begun it allocates nothing.
fn probe(plan: &Plan, mut probes: Vec<Taking>, mut tools: Tools, warm_up_cycles: u32, output: Output) {
    cycles(plan, &mut probes, &mut tools, u64::from(warm_up_cycles));
    tools.output = output;
    cycles(plan, &mut probes, &mut tools, u64::MAX);
}

/// Gives each probe its turn in each of `count` cycles, from now on, until asked to stop.
fn cycles(plan: &Plan, probes: &mut [Taking], tools: &mut Tools, count: u64) {
    let origin = monotonic_now();
    for probe in &mut *probes {
        probe.begin(origin);
    }
    let mut cycle = 0;
    while cycle < count {
        tools.output.counters.cycles.add(1);
        let begin = origin + plan.cycle.times(cycle);
        for (probe, slot) in probes.iter_mut().zip(&plan.slots) {
            let start = begin + slot.offset;
            sleep_until(start);
            tools.waits.renew();
            probe.run(Turn { start, end: start + slot.length }, tools);
            if tools.stopping() {
                return; // not to sleep through the rest of the cycle first
            }
        }
        // The next one, or the one that a stall has taken us into: turns that are over are not made up for.
        cycle = (cycle + 1).max((monotonic_now() - origin).0 / plan.cycle.0);
        sleep_until(origin + plan.cycle.times(cycle));
    }
}

/// A probe of this thread.
enum Taking {
    TimerWakeup(TimerWakeup),
    SpinGap(SpinGap),
    Syscall(Bursts<Getppid>),
    SchedYield(Bursts<SchedYield>),
    Eventfd(Bursts<eventfd::RoundTrip>),
    FutexWake(Bursts<FutexWake>),
    MinorFault(Bursts<minor_fault::FirstTouch>),
    HugeFault(Bursts<huge_fault::FirstTouch>),
    UnixStream(Bursts<unix_stream::RoundTrip>),
    UdpLoopback(Bursts<udp_loopback::RoundTrip>),
}

impl Taking {
    fn open(slot: &Slot, channel: u16, cycle: Nanos, threads: usize, clock: &Clock) -> io::Result<Self> {
        let kind = slot.probe.kind();
        Ok(match slot.probe {
            Probe::TimerWakeup(options) => Self::TimerWakeup(TimerWakeup::new(channel, options, slot, cycle)),
            Probe::SpinGap(options) => Self::SpinGap(SpinGap::new(channel, options, clock)),
            Probe::Syscall(options) => Self::Syscall(Bursts::new(channel, kind, options, Getppid)),
            Probe::SchedYield(options) => Self::SchedYield(Bursts::new(channel, kind, options, SchedYield)),
            Probe::Eventfd(options) => {
                Self::Eventfd(Bursts::new(channel, kind, options, eventfd::RoundTrip::open()?))
            }
            Probe::FutexWake(options) => {
                Self::FutexWake(Bursts::new(channel, kind, options, FutexWake::default()))
            }
            Probe::MinorFault(options) => {
                Self::MinorFault(Bursts::new(channel, kind, options, minor_fault::FirstTouch::default()))
            }
            Probe::HugeFault(options) => {
                Self::HugeFault(Bursts::new(channel, kind, options, huge_fault::FirstTouch::open(threads)))
            }
            Probe::UnixStream(options) => {
                Self::UnixStream(Bursts::new(channel, kind, options, unix_stream::RoundTrip::open()?))
            }
            Probe::UdpLoopback(options) => {
                Self::UdpLoopback(Bursts::new(channel, kind, options, udp_loopback::RoundTrip::open()?))
            }
        })
    }

    /// The cycles to come begin at `origin`.
    fn begin(&mut self, origin: Nanos) {
        if let Self::TimerWakeup(probe) = self {
            probe.begin(origin);
        }
    }

    fn run(&mut self, turn: Turn, tools: &mut Tools) {
        match self {
            Self::TimerWakeup(probe) => probe.run(turn, tools),
            Self::SpinGap(probe) => probe.run(turn, tools),
            Self::Syscall(probe) => probe.run(turn, tools),
            Self::SchedYield(probe) => probe.run(turn, tools),
            Self::Eventfd(probe) => probe.run(turn, tools),
            Self::FutexWake(probe) => probe.run(turn, tools),
            Self::MinorFault(probe) => probe.run(turn, tools),
            Self::HugeFault(probe) => probe.run(turn, tools),
            Self::UnixStream(probe) => probe.run(turn, tools),
            Self::UdpLoopback(probe) => probe.run(turn, tools),
        }
    }
}
