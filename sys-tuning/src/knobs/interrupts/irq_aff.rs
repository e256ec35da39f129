//! Where each interrupt goes.
//!
//! Remembered by what an interrupt is called, because its number changes with a driver reload. A managed interrupt (NVMe
//! queues, many NIC queues) belongs to its driver: newer kernels mark its file read-only, older ones refuse the write;
//! either way it is not applicable, and remembered as such for this boot.

use host::irqs::{Line, affinity_path};
use units::CpuSet;

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
pub(crate) const MANAGED: &str = "managed by its driver or the kernel; isolcpus=managed_irq at boot, or fewer queues, keep it off isolated CPUs";

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
            draft.skip(wanted, &identity, Status::NotApplicable, immovable_reason(line, &cpus));
        } else {
            draft.wish(scope, wanted, "cpus", &identity, cpus.to_string());
        }
    }
}

/// Where an interrupt is that cannot be moved, and what helps if that is no good place.
fn immovable_reason(line: &Line, cpus: &CpuSet) -> String {
    let place = line.effective.as_ref().filter(|effective| !effective.is_empty()).unwrap_or(&line.affinity);
    if place.is_subset(cpus) {
        return format!("on CPU {place}, and kept there by its driver or the kernel");
    }
    format!("on CPU {place}; {MANAGED}")
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let line = facts.irq(identity)?;
    (attribute == "cpus").then(|| cell(line))
}

fn cell(line: &Line) -> Cell {
    let effect = match line.effective {
        Some(_) => Effect::MovesInto(format!("/proc/irq/{}/effective_affinity_list", line.irq)),
        None => Effect::ReadBack,
    };
    Cell { effect, ..Cell::plain(affinity_path(line.irq), Form::CpuList) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::irqs::Identity;

    #[track_caller]
    fn check(affinity: &str, effective: &str, expected: &str) {
        let line = Line {
            irq: units::Irq(36),
            identity: Identity { chip: "PCI-MSIX".into(), actions: vec!["nvme0q1".into()], occurrence: 0 },
            affinity: affinity.parse().unwrap(),
            effective: effective.parse().ok(),
            immovable: true,
        };
        assert_eq!(immovable_reason(&line, &"0-1".parse().unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_moved_is_told_with_its_place() {
        check("0-3", "1", "on CPU 1, and kept there by its driver or the kernel");
        check("2-3", "2", &format!("on CPU 2; {MANAGED}"));
        check("2-3", "", &format!("on CPU 2-3; {MANAGED}")); // it has not fired yet
    }
}
