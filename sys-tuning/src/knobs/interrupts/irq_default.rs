//! Where interrupts go that are requested from now on.

use host::irqs::DEFAULT_AFFINITY;
use units::CpuSet;

use crate::boot::contribute;
use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "irq.default",
    group: Group::Interrupts,
    doc: "a driver loaded later gets these CPUs for its interrupts",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "where new interrupts may be delivered"),
        Attribute::new(
            "boot",
            Kind::Cpus,
            "the same from the boot on, before any driver is loaded: irqaffinity=",
        ),
    ],
    source: "housekeeping: TuneD realtime-virtual-host, cluster-node-tuning-operator PR 1572",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel shows no default affinity"),
    effect: "the kernel reads this mask when an interrupt is requested; CPUs off line do not count",
    undo: "the original mask is written",
    paths: &[DEFAULT_AFFINITY],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Boot],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(cpus) = fit(scope, wanted, draft, "boot") {
        contribute(scope, wanted, draft, "boot", format!("irqaffinity={cpus}"));
    }
    if let Some(cpus) = fit(scope, wanted, draft, "cpus") {
        draft.wish(scope, wanted, "cpus", "", cpus.to_string());
    }
}

/// The CPUs of an attribute, when the kernel can use them; what speaks against them is noted.
fn fit(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, attribute: &str) -> Option<CpuSet> {
    let cpus = draft.cpus(scope, wanted, attribute)?;
    if cpus.intersection(&scope.roles.online).is_empty() {
        let setting = wanted.setting(attribute).expect("its CPUs were just read");
        draft.mistake(
            setting,
            &format!("irq.default.{attribute}: none of CPU {cpus} is on line; the kernel refuses it"),
        );
        return None;
    }
    Some(cpus)
}

fn locate(facts: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    (attribute == "cpus").then(|| {
        Cell::plain(DEFAULT_AFFINITY, Form::CpuMask { online: facts.online().into(), requested: None })
    })
}
