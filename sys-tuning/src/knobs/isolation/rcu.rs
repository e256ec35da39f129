//! RCU callbacks off the quiet CPUs, and what else of RCU is said at boot.
//!
//! `nohz_full=` implies the first; asked for by name it also holds on kernels without tick-less mode. Source:
//! Documentation/admin-guide/kernel-parameters.txt, rcu_nocbs; Documentation/admin-guide/kernel-per-CPU-kthreads.rst.

use crate::boot::contribute;
use crate::draft::{Draft, Scope};
use crate::knobs::boot_line;
use crate::profile::{Value, Wanted};
use crate::registry::{Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.rcu",
    group: Group::Isolation,
    doc: "callbacks are invoked by threads that run on housekeeping CPUs, not in the softirq of the CPU that made them",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs whose callbacks are offloaded"),
        Attribute::new(
            "poll",
            Kind::Flag,
            "the offloading threads look for work, and nobody has to wake them",
        ),
        Attribute::new(
            "normal_after_boot",
            Kind::Flag,
            "grace periods are not expedited once the system is up: expediting interrupts every CPU",
        ),
        Attribute::new(
            "patience_ms",
            Kind::Integer { min: 0, max: 5000 },
            "how long a grace period waits for a tick-less CPU before it interrupts it",
        ),
    ],
    source: "the isolated CPUs: rigtorp.se, cluster-node-tuning-operator; normal_after_boot, patience 1000: TuneD network-latency",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Harmless,
    absence: boot_line::ABSENCE,
    effect: "the threads that serve offloaded CPUs exist; parameters of the module show the rest, or the boot log holds no refusal",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if wanted.setting("cpus").is_some()
        && let Some(cpus) = boot_line::quiet_cpus(scope, wanted, draft)
    {
        contribute(scope, wanted, draft, "cpus", format!("rcu_nocbs={cpus}"));
    }
    let is_true = |name: &str| matches!(wanted.setting(name).map(|set| &set.value), Some(Value::Flag(true)));
    if is_true("poll") {
        contribute(scope, wanted, draft, "poll", "rcu_nocb_poll".to_owned());
    }
    if is_true("normal_after_boot") {
        let argument = "rcupdate.rcu_normal_after_boot=1".to_owned();
        contribute(scope, wanted, draft, "normal_after_boot", argument);
    }
    if let Some(patience) = wanted.integer("patience_ms") {
        let argument = format!("rcutree.nohz_full_patience_delay={patience}");
        contribute(scope, wanted, draft, "patience_ms", argument);
    }
}
