//! CPUs out of the scheduler's reach from the start.
//!
//! What a cgroup partition does at run time, irreversibly until the next boot; and the only way to keep managed
//! interrupts off CPUs. Source: Documentation/admin-guide/kernel-parameters.txt, isolcpus; kernel/sched/isolation.c.

use crate::boot::contribute;
use crate::draft::{Draft, Scope};
use crate::knobs::boot_line;
use crate::profile::{Value, Wanted};
use crate::registry::{Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.isolcpus",
    group: Group::Isolation,
    doc: "the scheduler balances no thread onto these CPUs, and managed interrupts avoid them",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs to isolate"),
        Attribute::new("domain", Kind::Flag, "keep the scheduler's balancing away; unless said, true"),
        Attribute::new(
            "managed_irq",
            Kind::Flag,
            "keep managed interrupts away while a queue has other CPUs; unless said, true",
        ),
    ],
    source: "managed_irq,domain: TuneD realtime, cluster-node-tuning-operator; the plain list: rigtorp.se",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::TaskMove,
    absence: boot_line::ABSENCE,
    effect: "/sys/devices/system/cpu/isolated equals the list, and the boot log holds no refusal",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(cpus) = boot_line::quiet_cpus(scope, wanted, draft) else { return };
    let says_no = |name: &str| matches!(wanted.setting(name).map(|set| &set.value), Some(Value::Flag(false)));
    let flags = ["managed_irq", "domain"].into_iter().filter(|name| !says_no(name));
    let words: Vec<String> = flags.map(str::to_owned).chain([cpus.to_string()]).collect();
    if words.len() == 1 {
        return draft.not_applicable(
            wanted,
            "neither domain nor managed_irq is wanted: there is nothing to isolate from",
        );
    }
    contribute(scope, wanted, draft, "cpus", format!("isolcpus={}", words.join(",")));
}
