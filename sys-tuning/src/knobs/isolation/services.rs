//! What services do about isolation, which quell reports and does not touch: systemd's own CPUs, and stalld.

use host::tasks::{self, Pid};
use host::{Error, Root, if_present, timestamps};
use units::CpuSet;

use crate::registry::{ARGUMENT, Absence, Attribute, Elsewhere, Group, Home, Kind, Knob, REPORTED, Sign};

/// Where systemd and all that it starts may run.
///
/// A unit's own `CPUAffinity=` or `AllowedCPUs=` goes before this. Sources: systemd-system.conf(5), CPUAffinity=;
/// systemd(1), systemd.cpu_affinity; TuneD cpu-partitioning.
pub(crate) static SYSTEMD: Knob = Knob {
    id: "iso.systemd",
    group: Group::Isolation,
    doc: "every service inherits the CPUs of PID 1: where that may run on isolated CPUs, so may each new process",
    attributes: &[
        Attribute::at(
            "cpus",
            Kind::Cpus,
            "where PID 1 is expected to run: reported only",
            Home::Elsewhere(&Elsewhere {
                infer: first_process,
                suits: is_within,
                remedy: "the service manager keeps its own: write CPUAffinity= with these CPUs into \
                         /etc/systemd/system.conf.d/50-quell.conf below [Manager] and run `systemctl daemon-reexec`, \
                         or set boot_cpus",
            }),
        )
        .absent(Absence::NotApplicable("PID 1 cannot be seen from here")),
        Attribute::at(
            "boot_cpus",
            Kind::Cpus,
            "where systemd runs from the next boot on",
            Home::Argument("systemd.cpu_affinity"),
        )
        .seen(Sign::Told(|root, value| {
            let shown = first_process(root)?;
            let holds = is_within(&shown, value);
            Some((shown, holds))
        })),
    ],
    source: "housekeeping: cluster-node-tuning-operator (systemd.cpu_affinity), TuneD cpu-partitioning (system.conf.d)",
    effect: "the CPUs that the kernel shows for PID 1",
    ..ARGUMENT
};

fn first_process(root: &Root) -> Option<String> {
    tasks::of(root, Pid(1)).ok()?.first().map(|task| task.allowed.to_string())
}

fn is_within(shown: &str, wanted: &str) -> bool {
    matches!((shown.parse::<CpuSet>(), wanted.parse::<CpuSet>()),
        (Ok(shown), Ok(wanted)) if !shown.is_empty() && shown.is_subset(&wanted))
}

/// The daemon that lends starving threads a real-time policy.
///
/// It turns real-time throttling off when it starts, and has frozen systems where it ran above the kernel's own threads.
/// Source: stalld(8); performance-addon-operators.
pub(crate) static STALLD: Knob = Knob {
    id: "iso.stalld",
    group: Group::Isolation,
    doc: "with neither throttling nor a fair server, a starved kernel thread waits for ever unless somebody lends it time",
    attributes: &[Attribute::at(
        "running",
        Kind::Choice(&["on", "off"]),
        "whether stalld is expected to run: reported only",
        Home::Elsewhere(&Elsewhere {
            infer: |root| {
                let word = if runs(root, "stalld").ok()? { "on" } else { "off" };
                Some(word.to_owned())
            },
            suits: |shown, wanted| shown == wanted,
            remedy: "it is a service: `systemctl enable --now stalld.service`, or `disable --now`",
        }),
    )],
    source: "on with real-time hints: cluster-node-tuning-operator; \"probably not\" needed: stalld's own README",
    absence: Absence::NotApplicable("processes cannot be seen from here"),
    effect: "a process of this name runs",
    ..REPORTED
};

/// The kernel's code, patched when the first socket asks for stamps of its packets and when the last such socket goes.
///
/// Programs that synchronise clocks or trace packets do both. Sources: net/core/dev.c, net_enable_timestamp; TuneD rtentsk.
pub(crate) static STATIC_KEY: Knob = Knob {
    id: "iso.static_key",
    group: Group::Isolation,
    doc: "each time the stamping of packets is switched on or off, every CPU is interrupted, isolated ones too",
    attributes: &[Attribute::at(
        "timestamps",
        Kind::Choice(&["held", "free"]),
        "held: a process keeps a socket that asks for stamps, so that nothing is switched whoever else comes and goes",
        Home::Elsewhere(&Elsewhere {
            infer: |root| {
                Some(if timestamps::holder(root).ok()?.is_some() { "held" } else { "free" }.to_owned())
            },
            suits: |shown, wanted| shown == wanted,
            remedy: "a process holds it so that it can never be left behind: set hold.timestamps in \
                     /etc/quell/policy.toml and start quell-hold.service",
        }),
    )],
    source: "held: TuneD network-latency (rtentsk plug-in), cluster-node-tuning-operator",
    absence: Absence::NotApplicable("the descriptors of quell-hold cannot be seen from here"),
    effect: "quell-hold runs and has a socket open that is not local; whether other programs ask too the kernel shows nobody",
    ..REPORTED
};

/// Whether a process of this name runs.
pub(crate) fn runs(root: &Root, name: &str) -> Result<bool, Error> {
    for process in root.list("/proc")?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let comm = if_present(root.read_lossy(&format!("/proc/{process}/comm")))?; // absent: ended meanwhile
        if comm.is_some_and(|comm| comm.trim() == name) {
            return Ok(true);
        }
    }
    Ok(false)
}
