//! What is to be measured, where and how: the caller's wishes, with defaults that suit a host at work.

use host::threads::Policy;
use units::limits::RING_SAMPLES;
use units::{CpuSet, Nanos};

use crate::{DEFAULT_PROBES, Kind, bursts, spin_gap, timer_wakeup};

/// What is to be measured. [`Spec::plan`] says whether it can be, and how the time is divided.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The CPUs to measure, a thread each.
    pub cpus: CpuSet,
    /// How the probe threads are scheduled. A real-time thread that spins needs [`Spec::rt_throttle`]; RLIMIT_RTTIME
    /// is the caller's, and must exceed the longest slot in which a probe spins.
    pub policy: Policy,
    /// The probes, in the order of their slots. One alone gets the whole cycle.
    pub probes: Vec<Probe>,
    /// The time in which each probe has its turn once.
    pub cycle: Nanos,
    /// Cycles run before anything is published, so that caches, predictors and page tables are warm.
    pub warm_up_cycles: u32,
    /// Samples this long are asked whether the thread was waiting for its CPU
    /// ([`Sample::waited`](crate::Sample::waited)).
    pub stall: Nanos,
    /// The kernel's limit for real-time threads; `None` (not known) is taken for the kernel's default.
    pub rt_throttle: Option<RtThrottle>,
    /// Samples a ring holds.
    pub ring_samples: usize,
}

/// A probe and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// How late a sleeping thread wakes.
    TimerWakeup(timer_wakeup::Options),
    /// How long a running thread is held up.
    SpinGap(spin_gap::Options),
    /// How long a system call takes.
    Syscall(bursts::Options),
    /// How long giving the CPU up takes.
    SchedYield(bursts::Options),
    /// How long telling oneself something through an eventfd takes.
    Eventfd(bursts::Options),
    /// How long waking nobody takes.
    FutexWake(bursts::Options),
    /// How long the first touch of a page takes.
    MinorFault(bursts::Options),
    /// How long the first touch of a huge page takes.
    HugeFault(bursts::Options),
    /// How long a byte there and back over unix sockets takes.
    UnixStream(bursts::Options),
    /// How long a datagram to oneself takes.
    UdpLoopback(bursts::Options),
}

/// How much of each period the kernel leaves to real-time threads before it stops them.
///
/// Source: /proc/sys/kernel/sched_rt_runtime_us and sched_rt_period_us, Documentation/scheduler/sched-rt-group.rst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtThrottle {
    /// `None` is -1: no limit.
    pub runtime: Option<Nanos>,
    /// In which time.
    pub period: Nanos,
}

impl Default for RtThrottle {
    /// The kernel's: 0.95 s of each second.
    fn default() -> Self {
        Self { runtime: Some(Nanos::from_millis(950)), period: Nanos::from_secs(1) }
    }
}

impl Spec {
    /// The default probes on `cpus` with default options, under the fair scheduler: spinning 10 % of the time, a wake-up
    /// each millisecond of 80 %.
    #[must_use]
    pub fn new(cpus: CpuSet) -> Self {
        Self {
            cpus,
            policy: Policy::Other,
            probes: DEFAULT_PROBES.map(Probe::from).to_vec(),
            cycle: Nanos::from_millis(100),
            warm_up_cycles: 1,
            stall: Nanos::from_micros(10),
            rt_throttle: None,
            ring_samples: RING_SAMPLES,
        }
    }
}

impl Probe {
    /// Which probe.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::TimerWakeup(_) => Kind::TimerWakeup,
            Self::SpinGap(_) => Kind::SpinGap,
            Self::Syscall(_) => Kind::Syscall,
            Self::SchedYield(_) => Kind::SchedYield,
            Self::Eventfd(_) => Kind::Eventfd,
            Self::FutexWake(_) => Kind::FutexWake,
            Self::MinorFault(_) => Kind::MinorFault,
            Self::HugeFault(_) => Kind::HugeFault,
            Self::UnixStream(_) => Kind::UnixStream,
            Self::UdpLoopback(_) => Kind::UdpLoopback,
        }
    }

    /// The slot its options ask for, when it has to share the cycle.
    #[must_use]
    pub fn slot(&self) -> Nanos {
        match self.pace() {
            Pace::Timer(options) => options.slot,
            Pace::Spin(options) => options.slot,
            Pace::Bursts(options) => options.slot,
        }
    }

    /// How it is paced, if it times calls in bursts.
    #[must_use]
    pub fn bursts(&self) -> Option<&bursts::Options> {
        if let Pace::Bursts(options) = self.pace() { Some(options) } else { None }
    }

    pub(crate) fn pace(&self) -> Pace<'_> {
        match self {
            Self::TimerWakeup(options) => Pace::Timer(options),
            Self::SpinGap(options) => Pace::Spin(options),
            Self::Syscall(options)
            | Self::SchedYield(options)
            | Self::Eventfd(options)
            | Self::FutexWake(options)
            | Self::MinorFault(options)
            | Self::HugeFault(options)
            | Self::UnixStream(options)
            | Self::UdpLoopback(options) => Pace::Bursts(options),
        }
    }
}

/// How a probe spends its slot.
pub(crate) enum Pace<'p> {
    /// Asleep until the next deadline.
    Timer(&'p timer_wakeup::Options),
    /// In a loop.
    Spin(&'p spin_gap::Options),
    /// With calls in a row, now and then.
    Bursts(&'p bursts::Options),
}

/// Bursts of a probe that is asked for by name: alone 250 a second, and a slot that leaves room for the probes beside it.
const BY_NAME: bursts::Options = bursts::Options::of(64, Nanos::from_millis(4));

/// The same with one call a burst: a huge page takes 225 us (2-vCPU VM), 6 % of a CPU when the probe is alone, and while
/// several were held more of the host's pool would be.
const ONE_BY_NAME: bursts::Options = bursts::Options { calls: 1, ..BY_NAME };

/// With default options.
impl From<Kind> for Probe {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::TimerWakeup => Self::TimerWakeup(timer_wakeup::Options::default()),
            Kind::SpinGap => Self::SpinGap(spin_gap::Options::default()),
            Kind::Syscall => Self::Syscall(bursts::Options::default()),
            Kind::SchedYield => Self::SchedYield(BY_NAME),
            Kind::Eventfd => Self::Eventfd(BY_NAME),
            Kind::FutexWake => Self::FutexWake(BY_NAME),
            Kind::MinorFault => Self::MinorFault(BY_NAME),
            Kind::HugeFault => Self::HugeFault(ONE_BY_NAME),
            Kind::UnixStream => Self::UnixStream(BY_NAME),
            Kind::UdpLoopback => Self::UdpLoopback(BY_NAME),
        }
    }
}
