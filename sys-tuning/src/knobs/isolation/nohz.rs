//! CPUs without the periodic tick while one thread is runnable on them.
//!
//! The kernel also takes RCU callbacks, unbound timers and unbound kernel threads away from them. Where the list does not
//! match `isolcpus=` it is dropped with a line in the boot log, and still shown on the command line. Source:
//! Documentation/timers/no_hz.rst; kernel/sched/isolation.c.

use crate::boot::contribute;
use crate::draft::{Draft, Scope};
use crate::knobs::boot_line;
use crate::profile::Wanted;
use crate::registry::{Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.nohz",
    group: Group::Isolation,
    doc: "a CPU that runs one thread is not interrupted by the tick",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "the CPUs to run without a tick")],
    source: "the isolated CPUs: rigtorp.se, TuneD cpu-partitioning, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Harmless,
    absence: boot_line::ABSENCE,
    effect: "/sys/devices/system/cpu/nohz_full equals the list, and the boot log holds no refusal",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(cpus) = boot_line::quiet_cpus(scope, wanted, draft) {
        contribute(scope, wanted, draft, "cpus", format!("nohz_full={cpus}"));
    }
}
