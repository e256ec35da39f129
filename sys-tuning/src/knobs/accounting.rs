//! What the kernel counts and watches, and who else works on the same settings.

use host::Root;
use host::programs::Programs;

use crate::registry::{
    Absence, Attribute, Blast, Elsewhere, Group, Home, Kind, Knob, Meaning, Needs, PLAIN, REPORTED, Sign,
};

/// Statistics that cost time at every switch of threads.
pub(crate) static STATISTICS: Knob = Knob {
    id: "svc.psi",
    group: Group::Accounting,
    doc: "pressure and scheduler statistics are computed at every switch and wake-up, also on isolated CPUs",
    attributes: &[
        Attribute::at(
            "schedstats",
            Kind::Flag,
            "whether each thread's waits are measured",
            Home::Sysctl("kernel.sched_schedstats"),
        ),
        Attribute::at(
            "perf_cpu_percent",
            Kind::Integer { min: 0, max: 100 },
            "per cent of a CPU that interrupts of sampling may take; 0 and 100 do not watch it",
            Home::Sysctl("kernel.perf_cpu_time_max_percent"),
        )
        .absent(Absence::Satisfied("this kernel has no perf events")),
        Attribute::at(
            "pressure",
            Kind::Flag,
            "at boot: whether stalls on resources are measured: psi=",
            Home::Argument("psi"),
        )
        .seen(Sign::Means(&[Meaning { of: "0", path: "/proc/pressure/cpu", shows: None }])),
    ],
    source: "kernel interfaces; Documentation names the cost (accounting/psi.rst, admin-guide/sysctl/kernel.rst), no guide \
             was read that sets them",
    needs: Needs::SysAdmin,
    blast: Blast::Ipi,
    absence: Absence::Satisfied("this kernel keeps no scheduler statistics"),
    effect: "the kernel's switches themselves; with psi=0 there is no /proc/pressure",
    ..PLAIN
};

/// Who may look with perf events: quell's agent names the cause of a stall with them.
pub(crate) static PARANOID: Knob = Knob {
    id: "perf.paranoid",
    group: Group::Accounting,
    doc: "what a process without rights may see with perf events; above 2 the agent sees no cause of a stall by itself",
    attributes: &[Attribute::at(
        "level",
        Kind::Integer { min: -1, max: 4 },
        "-1 everything, 0 no raw tracepoints, 1 no other CPUs, 2 no kernel, 3 and 4 nothing (Debian, Ubuntu)",
        Home::Sysctl("kernel.perf_event_paranoid"),
    )],
    source: "2: Documentation/admin-guide/perf-security.rst",
    absence: Absence::NotApplicable("this kernel has no perf events"),
    effect: "the kernel reads this variable at each opening of an event",
    ..PLAIN
};

/// Programs that set what quell sets: reported only, they are their owner's to stop.
pub(crate) static NOISE: Knob = Knob {
    id: "svc.noise",
    group: Group::Accounting,
    doc: "services that tune, balance or update by themselves undo what was set, at a moment of their own",
    attributes: &[Attribute::at(
        "fighting",
        Kind::Choice(&["none"]),
        "which of them run: irqbalance, tuned, numad, power-profiles-daemon, tlp, thermald, ksmtuned, cpupower, fwupd or its timer",
        Home::Elsewhere(&Elsewhere {
            infer: fighting,
            suits: |shown, wanted| shown == wanted,
            remedy: "`systemctl disable --now` it, and mask it where something else starts it",
        }),
    )],
    source: "none: rigtorp.se, cluster-node-tuning-operator, TuneD (Conflicts= of its unit)",
    effect: "the names of the processes that run, and of the units that systemd holds active",
    ..REPORTED
};

const RIVALS: &[&str] = &[
    "irqbalance",
    "tuned",
    "numad",
    "power-profiles-daemon",
    "tlp",
    "thermald",
    "ksmtuned",
    "fwupd",
    "cpupower",
];

/// What starts one of them by the clock: a firmware update can raise interrupts that no kernel sees.
const TIMERS: &[&str] = &["fwupd-refresh.timer"];

/// By the process, or by the unit that did its work and counts as active.
fn fighting(root: &Root) -> Option<String> {
    let programs = Programs::read(root).ok()?;
    let alive = |name: &&str| match programs.process(name) {
        Some(pid) => Some(format!("{name} ({pid})")),
        None => programs.is_alive(name).then(|| format!("{name}.service")),
    };
    let timers =
        TIMERS.iter().filter(|timer| programs.units.contains(**timer)).map(|timer| (*timer).to_owned());
    let mut found: Vec<String> = RIVALS.iter().filter_map(alive).chain(timers).collect();
    found.sort();
    Some(if found.is_empty() { "none".to_owned() } else { found.join(", ") })
}
