//! Where the kernel's unbound work runs.

use host::workqueues::CPUMASK;

use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

/// What was last asked for (Linux 6.7 or later); the mask itself then shows what came of it.
pub(crate) const REQUESTED: &str = "/sys/devices/virtual/workqueue/cpumask_requested";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.wq",
    group: Group::Isolation,
    doc: "unbound kernel work runs on any CPU its mask allows, the application's included",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "where unbound kernel work may run")],
    source: "housekeeping: rigtorp.se, TuneD realtime and cpu-partitioning",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("this kernel does not show its work queues"),
    effect: "the effective mask lies within the wanted CPUs; partitions may have taken CPUs from it",
    undo: "the requested mask is written",
    paths: &[CPUMASK, REQUESTED],
    side_effects: &[],
    reads: &[Topic::Cpus],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(cpus) = draft.cpus(scope, wanted, "cpus") {
        draft.wish(scope, wanted, "cpus", "", cpus.to_string());
    }
}

fn locate(facts: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    let requested = facts.workqueue_requested.then(|| REQUESTED.to_owned());
    (attribute == "cpus").then(|| Cell {
        effect: Effect::MaskWithin(CPUMASK.to_owned()),
        ..Cell::plain(CPUMASK, Form::CpuMask { online: facts.online().into(), requested })
    })
}
