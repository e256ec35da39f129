//! Where each interrupt goes.
//!
//! Remembered by what an interrupt is called, because its number changes with a driver reload. A managed interrupt (NVMe
//! queues, many NIC queues) belongs to its driver: newer kernels mark its file read-only, older ones refuse the write;
//! either way it is not applicable, and remembered as such for this boot.

use host::irqs::{Line, affinity_path};

use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "irq.aff",
    group: Group::Interrupts,
    doc: "an interrupt stops whatever runs on its CPU for microseconds",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "where every movable interrupt may be delivered")],
    source: "housekeeping: rigtorp.se, Red Hat real-time guide, Solarflare user guide",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel shows no affinity of it"),
    effect: "the effective CPUs lie within the wanted ones; an interrupt moves when it next fires",
    undo: "the original CPUs are written to the interrupt of that name",
    paths: &["/proc/irq/{irq}/smp_affinity_list"],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Irqs],
    wish,
    locate,
};

/// Why a managed interrupt is left where it is; also what a refused write is told as.
pub(crate) const MANAGED: &str =
    "managed by its driver; isolcpus=managed_irq at boot keeps it off isolated CPUs";

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    if cpus.intersection(&scope.roles.online).is_empty() {
        let setting = wanted.setting("cpus").expect("its CPUs were just read");
        draft
            .mistake(setting, &format!("irq.aff.cpus: none of CPU {cpus} is on line; the kernel refuses it"));
        return;
    }
    if scope.facts.irqs.is_empty() {
        draft.not_applicable(wanted, "the kernel shows no interrupts");
    }
    for line in scope.facts.irqs.iter().filter(|line| !line.identity.actions.is_empty()) {
        let identity = line.identity.to_string();
        if line.immovable {
            draft.skip(wanted, &identity, Status::NotApplicable, MANAGED);
        } else {
            draft.wish(scope, wanted, "cpus", &identity, cpus.to_string());
        }
    }
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let line = facts.irqs.iter().find(|line| line.identity.to_string() == identity)?;
    (attribute == "cpus").then(|| cell(line))
}

fn cell(line: &Line) -> Cell {
    let effect = match line.effective {
        Some(_) => Effect::MovesInto(format!("/proc/irq/{}/effective_affinity_list", line.irq)),
        None => Effect::ReadBack,
    };
    Cell { effect, ..Cell::plain(affinity_path(line.irq), Form::CpuList) }
}
