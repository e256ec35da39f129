//! The detectors of lock-ups, at run time.
//!
//! The hard one needs a counter that interrupts unmaskably; without it (most virtual machines) the kernel refuses
//! even the value that stands there. CPUs without the tick are left out by the kernel itself. Each write stops and
//! starts the detectors of every CPU that has one, by a kernel thread of that CPU, and waits for it: behind a
//! real-time thread that spins it waits for long, hence the blast class. Sources:
//! Documentation/admin-guide/lockup-watchdogs.rst; Documentation/admin-guide/sysctl/kernel.rst, watchdog_cpumask;
//! kernel/watchdog.c, proc_nmi_watchdog, softlockup_start_all.

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Home, Kind, Knob, PLAIN, Topic};
use crate::status::Status;

/// Why the kernel takes no value.
pub(crate) const NO_COUNTER: &str = "the hard lock-up detector has no counter to run on, as in most virtual machines: \
     nothing interrupts there";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.watchdog",
    group: Group::Isolation,
    doc: "the detectors wake a thread, and interrupt unmaskably, on every CPU every few seconds",
    attributes: &[
        Attribute::at(
            "hard",
            Kind::Flag,
            "whether hard lock-ups are looked for (nmi_watchdog): takes a counter and interrupts",
            Home::Sysctl("kernel.nmi_watchdog"),
        ),
        Attribute::at(
            "soft",
            Kind::Flag,
            "whether soft lock-ups are looked for (soft_watchdog)",
            Home::Sysctl("kernel.soft_watchdog"),
        ),
        Attribute::at(
            "cpus",
            Kind::Cpus,
            "the CPUs on which either looks (watchdog_cpumask)",
            Home::Sysctl("kernel.watchdog_cpumask"),
        ),
    ],
    source: "hard false, housekeeping CPUs: TuneD network-latency and realtime, cluster-node-tuning-operator",
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel looks for no lock-ups"),
    effect: "the detector's own switches; the row NMI of /proc/interrupts stands still",
    undo: "the original values are written",
    reads: &[Topic::Cpus, Topic::Kernel],
    wish,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let mut rest = wanted.clone();
    if !scope.facts.kernel.has_nmi_switch && rest.settings.remove("hard").is_some() {
        draft.skip_attribute(KNOB.id, "hard", Status::NotApplicable, NO_COUNTER.to_owned());
    }
    declared::wish(scope, &rest, draft);
}
