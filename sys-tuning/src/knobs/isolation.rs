//! Keeping CPUs to one application: what the kernel does on every CPU, who may run where, and what is said at boot.

pub(crate) mod cpuset1;
pub(crate) mod cpuset2;
pub(crate) mod fairserver;
pub(crate) mod isolcpus;
pub(crate) mod kthreads;
pub(crate) mod nohz;
pub(crate) mod offline;
pub(crate) mod preempt;
pub(crate) mod priority;
pub(crate) mod rcu;
pub(crate) mod rtthrottle;
pub(crate) mod services;
pub(crate) mod tasks;
pub(crate) mod watchdog;
pub(crate) mod wq;

use crate::registry::{ARGUMENT, Absence, Attribute, Blast, Group, Home, Kind, Knob, Meaning, PLAIN, Sign};

/// How often each CPU folds its memory counters into the machine's.
pub(crate) static VMSTAT: Knob = Knob {
    id: "iso.vmstat",
    group: Group::Isolation,
    doc: "the folding runs as kernel work on every CPU that has something to fold",
    attributes: &[Attribute::at(
        "stat_interval",
        Kind::Integer { min: 1, max: 3600 },
        "seconds between two foldings",
        Home::Sysctl("vm.stat_interval"),
    )],
    source: "120: rigtorp.se; 10: TuneD network-latency, cluster-node-tuning-operator",
    absence: Absence::NotApplicable("this kernel keeps no per-CPU memory counters"),
    effect: "the kernel reads this variable when it arms the next folding",
    undo: "the original number is written",
    ..PLAIN
};

/// How long a task may hang before the kernel says so.
pub(crate) static HUNG: Knob = Knob {
    id: "iso.hung",
    group: Group::Isolation,
    doc: "the watchdog walks every task; behind a busy application tasks wait long without being broken",
    attributes: &[Attribute::at(
        "timeout_secs",
        Kind::Integer { min: 0, max: 86_400 },
        "seconds without being scheduled before a task is reported; 0 never looks",
        Home::Sysctl("kernel.hung_task_timeout_secs"),
    )],
    source: "600: TuneD network-latency, cluster-node-tuning-operator",
    absence: Absence::Satisfied("this kernel has no watchdog for hung tasks"),
    effect: "the write wakes the watchdog, which takes the new interval",
    undo: "the original number is written",
    ..PLAIN
};

/// Whether an idle CPU's timers may be run by a busy one.
pub(crate) static TIMERMIG: Knob = Knob {
    id: "iso.timermig",
    group: Group::Isolation,
    doc: "migrated timers fire on CPUs that did not ask for them; forbidding it keeps timers on CPUs being evacuated",
    attributes: &[Attribute::at(
        "enabled",
        Kind::Flag,
        "whether timers move to a CPU that is awake",
        Home::Sysctl("kernel.timer_migration"),
    )],
    source: "false: TuneD network-latency; true: cluster-node-tuning-operator (isolated CPUs cannot be evacuated otherwise)",
    blast: Blast::Ipi,
    absence: Absence::NotApplicable("this kernel does not migrate timers"),
    effect: "the kernel's switch itself",
    undo: "the original number is written",
    ..PLAIN
};

/// The ticks of different CPUs at different moments.
///
/// Together they meet at the locks of timekeeping and the scheduler. Costs some power, because idle CPUs wake at
/// different times too. Source: Documentation/admin-guide/kernel-parameters.txt, skew_tick.
pub(crate) static SKEW: Knob = Knob {
    id: "iso.skew",
    group: Group::Isolation,
    doc: "ticks that all CPUs take at once contend for the same locks",
    attributes: &[Attribute::at(
        "enabled",
        Kind::Flag,
        "shift each CPU's tick by a part of its period",
        Home::Argument("skew_tick"),
    )],
    source: "on: TuneD network-latency, cluster-node-tuning-operator",
    effect: "the kernel shows none; the boot log of the trial holds no refusal",
    ..ARGUMENT
};

/// The detectors of lock-ups, off from the start.
///
/// Each runs a timer and a thread of the highest priority on every CPU. With them off a CPU that hangs in the kernel is
/// not reported. Source: Documentation/admin-guide/lockup-watchdogs.rst; kernel/watchdog.c, which sets the variables
/// behind these two files.
pub(crate) static LOCKUP: Knob = Knob {
    id: "iso.lockup",
    group: Group::Isolation,
    doc: "the detector wakes a thread of the highest priority on every CPU, every few seconds",
    attributes: &[
        Attribute::at(
            "nosoftlockup",
            Kind::Flag,
            "no detector of soft lock-ups",
            Home::Switch("nosoftlockup"),
        )
        .seen(Sign::Means(&[Meaning {
            of: "",
            path: "/proc/sys/kernel/soft_watchdog",
            shows: Some("0"),
        }])),
        Attribute::at(
            "nowatchdog",
            Kind::Flag,
            "no detector at all, of hard lock-ups either",
            Home::Switch("nowatchdog"),
        )
        .seen(Sign::Means(&[Meaning {
            of: "",
            path: "/proc/sys/kernel/watchdog",
            shows: Some("0"),
        }])),
        Attribute::at(
            "hard",
            Kind::Flag,
            "false: no detector of hard lock-ups, and its counter is left to perf: nmi_watchdog=",
            Home::Argument("nmi_watchdog"),
        )
        .seen(Sign::Means(&[Meaning {
            of: "0",
            path: "/proc/sys/kernel/nmi_watchdog",
            shows: Some("0"),
        }])),
    ],
    source: "nosoftlockup: TuneD network-latency, cluster-node-tuning-operator; nmi_watchdog=0: cluster-node-tuning-operator",
    effect: "kernel.soft_watchdog, kernel.watchdog and kernel.nmi_watchdog, which the arguments set",
    ..ARGUMENT
};

/// Whether grace periods of RCU interrupt every CPU to be shorter.
///
/// Forced to normal on real-time kernels. Both files take 1 at once, which contradicts itself. Source:
/// Documentation/admin-guide/kernel-parameters.txt, rcupdate.rcu_normal; kernel/ksysfs.c.
pub(crate) static RCUNORM: Knob = Knob {
    id: "iso.rcunorm",
    group: Group::Isolation,
    doc: "an expedited grace period interrupts every CPU, the application's included, to end sooner",
    attributes: &[
        Attribute::at(
            "normal",
            Kind::Flag,
            "whether grace periods that ask to be expedited are not",
            Home::File("/sys/kernel/rcu_normal"),
        ),
        Attribute::at(
            "expedited",
            Kind::Flag,
            "whether all grace periods are expedited",
            Home::File("/sys/kernel/rcu_expedited"),
        ),
    ],
    source: "normal: TuneD network-latency (rcu_normal_after_boot), cluster-node-tuning-operator",
    absence: Absence::NotApplicable("this kernel does not let grace periods be chosen"),
    effect: "RCU reads these variables at each grace period",
    undo: "the original numbers are written",
    ..PLAIN
};

/// Interrupts in threads, from the start.
///
/// A real-time kernel has them always. Source: Documentation/admin-guide/kernel-parameters.txt, threadirqs.
pub(crate) static THREADIRQS: Knob = Knob {
    id: "irq.threadirqs",
    group: Group::Interrupts,
    doc: "an interrupt's work then runs in a thread that has a priority and waits for more urgent ones",
    attributes: &[Attribute::at(
        "enabled",
        Kind::Flag,
        "all interrupts that can be are handled in threads",
        Home::Switch("threadirqs"),
    )],
    source: "Documentation/admin-guide/kernel-parameters.txt; priorities of such threads: rtctl",
    effect: "the kernel shows none beside the threads irq/*, some of which there are without it; the boot log of the trial \
             holds no refusal",
    ..ARGUMENT
};
