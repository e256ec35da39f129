//! Where interrupts go that are requested from now on.

use host::irqs::DEFAULT_AFFINITY;

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "irq.default",
    group: Group::Interrupts,
    doc: "a driver loaded later gets these CPUs for its interrupts",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "where new interrupts may be delivered")],
    source: "housekeeping: TuneD realtime-virtual-host, cluster-node-tuning-operator PR 1572",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel shows no default affinity"),
    effect: "the kernel reads this mask when an interrupt is requested; CPUs off line do not count",
    undo: "the original mask is written",
    paths: &[DEFAULT_AFFINITY],
    side_effects: &[],
    reads: &[Topic::Cpus],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    if cpus.intersection(&scope.roles.online).is_empty() {
        let setting = wanted.setting("cpus").expect("its CPUs were just read");
        draft.mistake(
            setting,
            &format!("irq.default.cpus: none of CPU {cpus} is on line; the kernel refuses it"),
        );
        return;
    }
    let isolated = cpus.intersection(&scope.roles.isolated);
    if !isolated.is_empty() {
        let reason =
            format!("irq.default sends new interrupts to CPU {isolated}, which the profile isolates");
        draft.contradiction("irq-default-on-isolated", reason);
    }
    draft.wish(scope, wanted, "cpus", "", cpus.to_string());
}

fn locate(facts: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    (attribute == "cpus").then(|| {
        Cell::plain(DEFAULT_AFFINITY, Form::CpuMask { online: facts.online().into(), requested: None })
    })
}
