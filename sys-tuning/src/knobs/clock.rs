//! Time, and the machine checks that interrupt it.

use host::Root;
use host::clocksource::{CURRENT, Clocksource};

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Home, Kind, Knob, Meaning, PLAIN, Sign, Topic};
use crate::status::Status;

/// The counter that the kernel keeps time by.
///
/// A kernel that found the time-stamp counter wanting has taken it out of the available ones, and then says yes to a write
/// of it and keeps the other: what is not available is refused before anything is written. Another source is taken while
/// every CPU stands still (stop_machine), hence the blast class. Source: Documentation/timers/timekeeping.rst;
/// kernel/time/clocksource.c; kernel/time/timekeeping.c, timekeeping_notify.
pub(crate) static SOURCE: Knob = Knob {
    id: "clk.src",
    group: Group::Clock,
    doc: "reading a clock costs 20 ns in user space with the time-stamp counter, and a system call and a slow bus with others",
    attributes: &[
        Attribute::at(
            "source",
            Kind::Choice(&[
                "tsc",
                "kvm-clock",
                "hyperv_clocksource_tsc_page",
                "xen",
                "hpet",
                "acpi_pm",
                "arch_sys_counter",
            ]),
            "the clock source",
            Home::File(CURRENT),
        )
        .seen(Sign::Told(in_user_space)),
        Attribute::at(
            "tsc",
            Kind::Choice(&["reliable", "nowatchdog"]),
            "at boot: reliable trusts the counter from the start and starts no watchdog, nowatchdog starts none: tsc=",
            Home::Argument("tsc"),
        ),
    ],
    source: "tsc; tsc=reliable: TuneD network-latency, cluster-node-tuning-operator; tsc=nowatchdog: \
             Documentation/admin-guide/kernel-parameters.txt (strict latency requirements)",
    blast: Blast::Stall,
    absence: Absence::Missing("every kernel has a clock source"),
    effect: "the current source, and that the C library reads it without a system call; of the argument the kernel shows \
             nothing, the boot log of the trial holds no refusal",
    reads: &[Topic::Clock],
    wish: wish_source,
    ..PLAIN
};

/// Sources that the vDSO reads (arch/x86/include/asm/vdso/clocksource.h; arm64 has one).
const IN_USER_SPACE: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "xen", "arch_sys_counter"];

fn wish_source(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let (Some(source), Some(clock)) = (wanted.text("source"), &scope.facts.clocksource)
        && !clock.available.contains(&source)
    {
        let reason = format!("this kernel offers {}, not {source}", clock.available.join(", "));
        return draft.skip_attribute(SOURCE.id, "source", Status::Failed, reason);
    }
    declared::wish(scope, wanted, draft);
}

fn in_user_space(root: &Root, source: &str) -> Option<(String, bool)> {
    let current = Clocksource::read(root).ok()?.current;
    let how = if IN_USER_SPACE.contains(&current.as_str()) {
        "read in user space"
    } else {
        "read by a system call"
    };
    Some((format!("{current}, {how}"), current == source))
}

/// Corrected machine checks: found by polling on every CPU.
///
/// One variable behind the files of all CPUs (arch/x86/kernel/cpu/mce/core.c), so the first CPU's is written. Not looking
/// hides memory that begins to fail: watch EDAC or the firmware's log instead.
pub(crate) static CHECKS: Knob = Knob {
    id: "mce.ce",
    group: Group::Clock,
    doc: "every CPU looks for corrected errors every few minutes, and an error's interrupt stops whatever runs",
    attributes: &[
        Attribute::at(
            "ignore",
            Kind::Flag,
            "neither look for corrected errors nor be interrupted by them",
            Home::File("/sys/devices/system/machinecheck/machinecheck0/ignore_ce"),
        ),
        Attribute::at(
            "interval_secs",
            Kind::Integer { min: 0, max: 86_400 },
            "seconds between two looks; 0 does not look, and takes the interrupts",
            Home::File("/sys/devices/system/machinecheck/machinecheck0/check_interval"),
        ),
        Attribute::at(
            "boot",
            Kind::Choice(&["off", "ignore_ce", "no_cmci"]),
            "at boot: off handles no machine check at all, ignore_ce no corrected ones, no_cmci is not interrupted by them: \
             mce=",
            Home::Argument("mce"),
        )
        .seen(Sign::Means(&[Meaning {
            of: "ignore_ce",
            path: "/sys/devices/system/machinecheck/machinecheck0/ignore_ce",
            shows: Some("1"),
        }])),
    ],
    source: "ignore: TuneD realtime, cpu-partitioning; mce=off: cluster-node-tuning-operator",
    blast: Blast::Ipi,
    absence: Absence::NotApplicable("this machine shows no machine checks (a virtual machine)"),
    effect: "the kernel's variables themselves: setting one stops or starts the timers of every CPU",
    ..PLAIN
};
