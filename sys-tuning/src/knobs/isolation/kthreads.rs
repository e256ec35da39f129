//! Keeping the kernel's own unbound threads off the application's CPUs.
//!
//! Threads that the kernel tied to a CPU (migration, ksoftirqd, every kworker) cannot be moved, and that is no failure:
//! unbound work is moved by its queues (`iso.wq`), the rest by what causes it. Source: rigtorp.se low latency guide;
//! Documentation/admin-guide/kernel-per-CPU-kthreads.rst.

use super::tasks::{locate, wish_fence};
use crate::fence::Of;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.kthreads",
    group: Group::Isolation,
    doc: "a kernel thread that may run on an isolated CPU takes it from the application",
    attributes: &[Attribute::new("cpus", Kind::Cpus, "where the kernel's unbound threads may run")],
    source: "housekeeping: rigtorp.se, TuneD scheduler plug-in, cluster-node-tuning-operator",
    needs: Needs::SysNice,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("it has ended"),
    effect: "no kernel thread that could be moved may use a CPU outside the wanted ones; looked up anew each time",
    undo: "each thread that still runs gets its original CPUs",
    paths: &["/proc/{tid}/task/{tid}/status"],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Tasks],
    wish: |scope, wanted, draft| wish_fence(scope, wanted, draft, Of::Kernel, Vec::new()),
    locate: |facts, attribute, identity| locate(facts, Of::Kernel, attribute, identity),
};
