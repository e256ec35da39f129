//! CPUs that are taken off line: the second hardware thread of each core, or single ones.
//!
//! Either stops the whole machine for a moment for each CPU, and what was set on a CPU goes with it: so both come last, and
//! first on the way back. What follows the CPUs on line by itself stays changed: a cgroup v1 cpuset that loses a CPU does
//! not get it back. Sources: Documentation/core-api/cpu_hotplug.rst; Documentation/ABI/testing/sysfs-devices-system-cpu,
//! smt/control.

use host::Root;
use host::cpus::{SMT_CONTROL, SmtControl, online_path};
use units::{CpuId, CpuSet};

use crate::cell::{Cell, Effect, Form};
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Home, Kind, Knob, Meaning, PLAIN, Sign, Topic};
use crate::status::Status;

const SMT_ACTIVE: &str = "/sys/devices/system/cpu/smt/active";
const ONLINE: &str = "/sys/devices/system/cpu/online";

/// Whether cores run a second hardware thread.
pub(crate) static SMT: Knob = Knob {
    id: "iso.smt",
    group: Group::Isolation,
    doc: "a second hardware thread shares the core's units and caches: what runs on it slows the first one down",
    attributes: &[
        Attribute::at(
            "control",
            Kind::Choice(&["on", "off"]),
            "whether cores run more than one hardware thread",
            Home::File(SMT_CONTROL),
        )
        .seen(Sign::Means(&[
            Meaning { of: "off", path: SMT_ACTIVE, shows: Some("0") },
            Meaning { of: "on", path: SMT_ACTIVE, shows: Some("1") },
        ])),
        Attribute::at(
            "boot",
            Kind::Flag,
            "no core starts a second hardware thread, from the boot on: nosmt. control can still start them",
            Home::Switch("nosmt"),
        )
        .seen(Sign::Told(one_thread_a_core)),
    ],
    source: "off: rigtorp.se and other low-latency guides; or the whole core to the application",
    blast: Blast::Stall,
    absence: Absence::NotApplicable("this kernel shows no switch for hardware threads"),
    effect: "no core on line has two threads on line (smt/active)",
    undo: "the original word is written, and the CPUs come back",
    reads: &[Topic::Cpus, Topic::Siblings, Topic::Cgroups, Topic::Power, Topic::Boot],
    wish: wish_smt,
    ..PLAIN
};

/// Threads that are on line now may have been started since by whoever wrote the switch: then the boot log tells.
fn one_thread_a_core(root: &Root, _: &str) -> Option<(String, bool)> {
    let active = root.read_lossy(SMT_ACTIVE).ok()?.trim().to_owned();
    (active == "0").then_some((active, true))
}

fn wish_smt(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(word) = wanted.text("control") else { return declared::wish(scope, wanted, draft) };
    let control = scope.facts.power.smt.map(|smt| smt.control);
    let skip = match (control, word.as_str()) {
        (Some(SmtControl::NotSupported), "off") => {
            Some((Status::Ok, "already so: the processor shows one hardware thread a core"))
        }
        (Some(SmtControl::ForceOff), "off") => Some((Status::Ok, "already so: off until the next boot")),
        (Some(SmtControl::ForceOff), _) => {
            Some((Status::Failed, "off until the next boot (nosmt=force on the kernel's command line)"))
        }
        (Some(SmtControl::NotSupported | SmtControl::NotImplemented), _) => Some((
            Status::NotApplicable,
            "neither the processor nor the kernel lets hardware threads be switched",
        )),
        _ => None,
    };
    if let Some((status, reason)) = skip {
        draft.skip_attribute(SMT.id, "control", status, reason.to_owned());
        let mut rest = wanted.clone();
        rest.settings.remove("control");
        return declared::wish(scope, &rest, draft);
    }
    let seconds: CpuSet = scope.facts.sibling_groups.iter().flat_map(|group| group.iter().skip(1)).collect();
    if word == "off" && !refuse_kept(scope, draft, SMT.id, &seconds) {
        return;
    }
    declared::wish(scope, wanted, draft);
}

/// Single CPUs, for more power to the others.
pub(crate) static CPUS: Knob = Knob {
    id: "iso.offline",
    group: Group::Isolation,
    doc: "cores that nobody needs leave power and heat to the others, which then boost higher",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "the CPUs to take off line")],
    source: "unused cores: rigtorp.se; offlined: cluster-node-tuning-operator (a udev rule of the distribution may bring \
             them back)",
    blast: Blast::Stall,
    absence: Absence::NotApplicable("this CPU cannot be taken off line"),
    effect: "the kernel's list of CPUs on line lacks it",
    undo: "the CPU is brought back on line",
    paths: &["/sys/devices/system/cpu/cpu{cpu}/online"],
    reads: &[Topic::Cpus, Topic::Cgroups],
    wish: wish_offline,
    locate,
    ..PLAIN
};

fn wish_offline(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    if cpus.contains(CpuId(0)) {
        let reason = "CPU 0 cannot go off line: the kernel keeps work there that nobody else does".to_owned();
        return draft.danger(CPUS.id, false, reason);
    }
    if !refuse_kept(scope, draft, CPUS.id, &cpus) {
        return;
    }
    for cpu in cpus.iter() {
        draft.wish(scope, wanted, "online", &format!("cpu{cpu}"), "0".to_owned());
    }
}

/// Whether these CPUs may go: not those kept for the application, nor all the others.
fn refuse_kept(scope: &Scope<'_>, draft: &mut Draft, knob: &'static str, going: &CpuSet) -> bool {
    let none = CpuSet::empty();
    let partitioned = scope.facts.partitioned.as_ref().unwrap_or(&none);
    let kept = going.intersection(&scope.roles.isolated.union(partitioned));
    if !kept.is_empty() {
        let reason = format!(
            "CPU {kept} would go off line and is kept for the application (cpus.isolated, or a cgroup partition, which \
             becomes invalid without it); take it out of one of both"
        );
        draft.danger(knob, false, reason);
        return false;
    }
    let left = scope.roles.housekeeping.difference(going);
    if left.is_empty() {
        let reason = format!(
            "CPU {} are all the housekeeping CPUs there are: with them off line no CPU is left to interrupts, the kernel's \
             work and everybody else",
            scope.roles.housekeeping
        );
        draft.danger(knob, false, reason);
        return false;
    }
    true
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let cpu = CpuId(identity.strip_prefix("cpu")?.parse().ok()?);
    let is_known = attribute == "online" && facts.is_possible(cpu) && cpu != CpuId(0);
    is_known.then(|| Cell {
        effect: Effect::Listed { path: ONLINE.to_owned(), cpu },
        ..Cell::plain(online_path(cpu), Form::Number)
    })
}
