//! Where each interrupt goes.
//!
//! Remembered by what an interrupt is called, because its number changes with a driver reload. A managed interrupt (NVMe
//! queues, many NIC queues) belongs to its driver: newer kernels mark its file read-only, older ones refuse the write;
//! either way it is not applicable, and remembered as such for this boot.

use host::irqs::{Line, Place, affinity_path, effective_path};
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
            let place = scope.facts.irq_places.get(&line.irq);
            draft.skip(wanted, &identity, Status::NotApplicable, immovable_reason(place, &cpus));
        } else {
            draft.wish(scope, wanted, "cpus", &identity, cpus.to_string());
        }
    }
}

/// Where an interrupt is that cannot be moved, and what helps if that is no good place.
fn immovable_reason(place: Option<&Place>, cpus: &CpuSet) -> String {
    let Some(Place { affinity, effective }) = place else { return MANAGED.to_owned() };
    let place = effective.as_ref().filter(|effective| !effective.is_empty()).unwrap_or(affinity);
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
    let effect = match line.shows_effective {
        true => Effect::MovesInto(effective_path(line.irq)),
        false => Effect::ReadBack,
    };
    Cell { effect, ..Cell::plain(affinity_path(line.irq), Form::CpuList) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(affinity: &str, effective: &str, expected: &str) {
        let place = Place { affinity: affinity.parse().unwrap(), effective: effective.parse().ok() };
        assert_eq!(immovable_reason(Some(&place), &"0-1".parse().unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_moved_is_told_with_its_place() {
        check("0-3", "1", "on CPU 1, and kept there by its driver or the kernel");
        check("2-3", "2", &format!("on CPU 2; {MANAGED}"));
        check("2-3", "", &format!("on CPU 2-3; {MANAGED}")); // it has not fired yet
    }
}
