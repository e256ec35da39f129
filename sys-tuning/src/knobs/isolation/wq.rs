//! Where the kernel's unbound work runs.
//!
//! One mask limits every unbound queue, and queues that the kernel shows have one of their own: work runs where both allow
//! it, and where they have no CPU in common, by the first alone. The queues' own masks are narrowed too, so that they say
//! what holds, and hold when the first is widened by somebody. Queues appear when a driver loads, with a mask of every
//! CPU: that none reaches beyond the wanted ones is watched as a rule, and applying again narrows the new ones. Source:
//! Documentation/core-api/workqueue.rst; kernel/workqueue.c, wqattrs_actualize_cpumask.

use host::Root;
use host::workqueues::{CPUMASK, DIR, queue_cpumask};
use units::CpuSet;

use crate::cell::{Cell, Effect, Form};
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::fence::NONE;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Home, Kind, Knob, Needs, Sign, Topic, When};

/// What was last asked for (Linux 6.7 or later); the mask itself then shows what came of it.
pub(crate) const REQUESTED: &str = "/sys/devices/virtual/workqueue/cpumask_requested";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.wq",
    group: Group::Isolation,
    doc: "unbound kernel work runs on any CPU its mask allows, the application's included",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "where unbound kernel work may run"),
        Attribute::at(
            "boot",
            Kind::Cpus,
            "the same from the boot on, before any driver makes a queue (Linux 6.6): workqueue.unbound_cpus=",
            Home::Argument("workqueue.unbound_cpus"),
        )
        .seen(Sign::Told(narrowed)),
    ],
    source: "housekeeping: rigtorp.se, TuneD realtime and cpu-partitioning; at boot: \
             Documentation/admin-guide/kernel-parameters.txt",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("this kernel does not show its work queues"),
    effect: "the effective mask lies within the wanted CPUs; partitions may have taken CPUs from it. No queue's own mask \
             reaches beyond them; looked up anew each time, so that queues of drivers loaded later count",
    undo: "the requested mask and the queues' own masks are written",
    paths: &[CPUMASK, REQUESTED, "/sys/devices/virtual/workqueue/{queue}/cpumask"],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Workqueues],
    wish,
    locate,
};

/// A knob of the running system may have narrowed it since. A kernel before 6.6 ignores the argument without a word, as
/// every parameter of a module that it does not know: that its log is silent proves nothing here.
fn narrowed(root: &Root, value: &str) -> Option<(String, bool)> {
    let (shown, asked) = (root.read_lossy(CPUMASK).ok()?, value.parse::<CpuSet>().ok()?);
    let shown = CpuSet::from_mask(shown.trim()).ok()?;
    let holds = shown.is_subset(&asked);
    Some((shown.to_string(), holds))
}

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    declared::wish(scope, wanted, draft);
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    draft.wish(scope, wanted, "cpus", "", cpus.to_string());
    for queue in &scope.facts.queues {
        let Some(mask) = &queue.cpus else { continue }; // bound to CPUs: its work comes from there
        let within = mask.intersection(&cpus);
        let to = if within.is_empty() { &cpus } else { &within };
        draft.wish(scope, wanted, "cpus", &queue.name, to.to_string());
    }
    if !scope.facts.queues.is_empty() {
        draft.wish(scope, wanted, "beyond", &cpus.to_string(), NONE.to_owned());
    }
}

fn locate(facts: &Facts, attribute: &str, queue: &str) -> Option<Cell> {
    let online = || facts.online().into();
    if attribute == "beyond" {
        let cpus = Box::new(queue.parse().ok()?);
        return Some(Cell::plain(DIR, Form::QueuesBeyond { cpus, online: online() }));
    }
    if attribute != "cpus" {
        return None;
    }
    if !queue.is_empty() {
        let known = facts.queues.iter().find(|known| known.name == queue && known.cpus.is_some())?;
        let form = Form::CpuMask { online: online(), requested: None };
        return Some(Cell::plain(queue_cpumask(&known.name), form));
    }
    let requested = facts.workqueue_requested.then(|| REQUESTED.to_owned());
    Some(Cell {
        effect: Effect::MaskWithin(CPUMASK.to_owned()),
        ..Cell::plain(CPUMASK, Form::CpuMask { online: online(), requested })
    })
}
