//! How urgent the kernel's own threads are that serve one CPU, and those of interrupts.
//!
//! On a real-time kernel they compete with the application: below it they starve behind a spinning thread, above it they
//! stop it. A thread is known by its name, which holds its CPU or its interrupt; each one's policy and priority are
//! remembered. Sources: Documentation/admin-guide/kernel-per-CPU-kthreads.rst; Documentation/core-api/real-time (threaded
//! interrupts run at SCHED_FIFO 50); TuneD realtime-virtual-host, cluster-node-tuning-operator.

use host::scheduling::{KernelThread, Schedule};
use units::{CpuId, CpuSet};

use crate::cell::{Cell, Form};
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Group, Home, Kind, Knob, Needs, PLAIN, Sign, Topic};
use crate::status::Status;

/// As the kernel starts the threads of interrupts.
const OF_INTERRUPTS: i64 = 50;

const PRIORITY: Kind = Kind::Integer { min: 0, max: 98 };

/// The threads that serve one CPU each, or a few.
pub(crate) static KTHREADS: Knob = Knob {
    id: "iso.kprio",
    group: Group::Isolation,
    doc: "behind a busy real-time thread the kernel's own threads of that CPU wait, and with them whoever needs their work",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs whose threads it is asked of; all unless given"),
        Attribute::new(
            "ksoftirqd",
            PRIORITY,
            "softirqs that were put off: 1 to 98 for SCHED_FIFO, 0 for an ordinary thread",
        ),
        Attribute::new("rcuc", PRIORITY, "RCU callbacks on a real-time kernel"),
        Attribute::new("ktimers", PRIORITY, "timers on a real-time kernel"),
        Attribute::new(
            "rcub",
            PRIORITY,
            "lends readers that hold RCU up its priority; one thread for many CPUs",
        ),
        Attribute::at(
            "boot",
            Kind::Integer { min: 1, max: 98 },
            "the priority of RCU's threads from the boot on: rcutree.kthread_prio=",
            Home::Argument("rcutree.kthread_prio"),
        )
        .seen(Sign::Shown("/sys/module/rcutree/parameters/kthread_prio")),
    ],
    source: "2 to 4: TuneD realtime-virtual-host; 11, with rcutree.kthread_prio=11: cluster-node-tuning-operator",
    needs: Needs::SysNice,
    absence: Absence::NotApplicable("it has ended"),
    effect: "the policy and priority that the scheduler has for the thread",
    undo: "each thread that still runs gets its original policy and priority",
    paths: &["/proc/{tid}/task/{tid}/stat"],
    reads: &[Topic::Cpus, Topic::KernelThreads],
    wish: wish_kthreads,
    locate: |facts, attribute, name| {
        let is_kind =
            THREADS.contains(&attribute) && name.split_once('/').is_some_and(|(kind, _)| kind == attribute);
        locate(facts, name).filter(|_| is_kind)
    },
    ..PLAIN
};

/// The kinds of threads, which are attributes of their names.
const THREADS: [&str; 4] = ["ksoftirqd", "rcuc", "ktimers", "rcub"];

/// A thread of this kind has no CPU in its name.
const OF_MANY_CPUS: &str = "rcub";

/// The threads of interrupts.
pub(crate) static IRQ: Knob = Knob {
    id: "irq.threaded",
    group: Group::Interrupts,
    doc: "a network card's interrupt that is handled in a thread waits behind every real-time thread above it",
    attributes: &[
        Attribute::new(
            "priority",
            Kind::Integer { min: 1, max: 98 },
            "SCHED_FIFO priority of the threads of interrupts; the kernel starts them at 50",
        ),
        Attribute::new(
            "name",
            Kind::Name,
            "only of interrupts whose name holds this, as in eth0; all unless given",
        ),
    ],
    source: "by network card: rtctl's table; Documentation/core-api/real-time",
    needs: Needs::SysNice,
    absence: Absence::NotApplicable("it has ended"),
    effect: "the policy and priority that the scheduler has for the thread",
    undo: "each thread that still runs gets its original policy and priority",
    paths: &["/proc/{tid}/task/{tid}/stat"],
    reads: &[Topic::KernelThreads],
    wish: wish_irq,
    locate: |facts, attribute, name| {
        locate(facts, name).filter(|_| attribute == "priority" && name.starts_with("irq/"))
    },
    ..PLAIN
};

fn wish_kthreads(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    declared::wish(scope, wanted, draft);
    let cpus = match wanted.setting("cpus") {
        None => None,
        Some(_) => match draft.cpus(scope, wanted, "cpus") {
            None => return,
            chosen => chosen,
        },
    };
    for kind in THREADS {
        let Some(priority) = wanted.integer(kind) else { continue };
        if priority >= OF_INTERRUPTS {
            let reason = format!(
                "{kind} at {priority} is not below the threads of interrupts, which run at {OF_INTERRUPTS}: put-off work \
                 would hold interrupts up"
            );
            draft.danger(KTHREADS.id, true, reason);
        }
        let is_one = |thread: &&KernelThread| is_of(thread, kind, cpus.as_ref());
        let threads: Vec<&KernelThread> = scope.facts.kernel_threads.iter().filter(is_one).collect();
        if threads.is_empty() {
            let reason = format!("this kernel has no thread {kind}/* there; a real-time kernel has");
            draft.skip_attribute(KTHREADS.id, kind, Status::NotApplicable, reason);
        }
        threads.into_iter().for_each(|thread| wish_thread(scope, wanted, draft, (kind, thread), priority));
    }
}

/// Whether a thread is of this kind and serves one of these CPUs.
fn is_of(thread: &KernelThread, kind: &str, cpus: Option<&CpuSet>) -> bool {
    let Some((its_kind, place)) = thread.name.split_once('/') else { return false };
    let serves = |cpus: &CpuSet| place.parse().is_ok_and(|cpu| cpus.contains(CpuId(cpu)));
    its_kind == kind && (kind == OF_MANY_CPUS || cpus.is_none_or(serves))
}

fn wish_irq(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(priority) = wanted.integer("priority") else { return };
    let part = wanted.text("name").unwrap_or_default();
    // Format: "irq/24-virtio0-rx"   (kernel/irq/manage.c, setup_irq_thread)
    let is_one = |thread: &&KernelThread| {
        let action = thread.name.strip_prefix("irq/").and_then(|rest| rest.split_once('-'));
        action.is_some_and(|(_, action)| action.to_ascii_lowercase().contains(&part))
    };
    let threads: Vec<&KernelThread> = scope.facts.kernel_threads.iter().filter(is_one).collect();
    if threads.is_empty() {
        let which = if part.is_empty() { String::new() } else { format!(" whose name holds {part}") };
        let reason = format!(
            "no interrupt{which} is handled in a thread here: a real-time kernel does it, or threadirqs at boot \
             (irq.threadirqs)"
        );
        return draft.not_applicable(wanted, reason);
    }
    threads.into_iter().for_each(|thread| wish_thread(scope, wanted, draft, ("priority", thread), priority));
}

fn wish_thread(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    (attribute, thread): (&str, &KernelThread),
    priority: i64,
) {
    if let Schedule::Else(..) = thread.schedule {
        let reason =
            format!("it is scheduled as {}, which could not be put back; left alone", thread.schedule);
        return draft.skip(wanted, &thread.name, Status::NotApplicable, reason);
    }
    let to = if priority == 0 { "other".to_owned() } else { format!("fifo:{priority}") };
    draft.wish(scope, wanted, attribute, &thread.name, to);
}

fn locate(facts: &Facts, name: &str) -> Option<Cell> {
    let thread = facts.kernel_threads.iter().find(|thread| thread.name == name)?;
    let form = Form::Schedule { tid: thread.tid, start_ticks: thread.start_ticks };
    Some(Cell::plain(format!("{}/stat", host::affinity::dir(thread.tid)), form))
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::tasks::Pid;
    use host::threads::Policy;

    #[track_caller]
    fn check(name: &str, kind: &str, cpus: Option<&str>, expected: bool) {
        let schedule = Schedule::Policy(Policy::Other);
        let thread = KernelThread { name: name.to_owned(), tid: Pid(7), start_ticks: 1, schedule };
        let cpus = cpus.map(|cpus| cpus.parse::<CpuSet>().unwrap());
        assert_eq!(is_of(&thread, kind, cpus.as_ref()), expected, "{name} {kind}");
    }

    #[test]
    fn threads_are_told_by_their_names() {
        check("ksoftirqd/3", "ksoftirqd", None, true);
        check("ksoftirqd/3", "ksoftirqd", Some("2-3"), true);
        check("ksoftirqd/3", "ksoftirqd", Some("0-1"), false);
        check("rcuc/3", "rcu", None, false);
        check("rcub/0", "rcub", Some("3"), true); // serves many
        check("rcuc/x", "rcuc", Some("3"), false);
    }

    #[test]
    fn a_journal_cannot_name_another_thread() {
        let thread = |name: &str| KernelThread {
            name: name.to_owned(),
            tid: Pid(7),
            start_ticks: 1,
            schedule: Schedule::Policy(Policy::Other),
        };
        let names = ["ksoftirqd/0", "migration/0", "irq/9-acpi"];
        let facts = Facts { kernel_threads: names.map(thread).to_vec(), ..Facts::default() };
        assert!((KTHREADS.locate)(&facts, "ksoftirqd", "ksoftirqd/0").is_some());
        assert!((KTHREADS.locate)(&facts, "ksoftirqd", "migration/0").is_none());
        assert!((KTHREADS.locate)(&facts, "migration", "migration/0").is_none());
        assert!((IRQ.locate)(&facts, "priority", "irq/9-acpi").is_some());
        assert!((IRQ.locate)(&facts, "priority", "ksoftirqd/0").is_none());
    }
}
