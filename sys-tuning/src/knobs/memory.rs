//! Memory: what the kernel does to it behind the application's back.

pub(crate) mod cache;
pub(crate) mod dirty;
pub(crate) mod huge;
pub(crate) mod hugeboot;

use crate::registry::{Absence, Attribute, Blast, Flat, Group, Home, Kind, Knob, Needs, PLAIN, Shape, Sign};

/// How readily the kernel swaps anonymous memory out.
pub(crate) static SWAP: Knob = Knob {
    id: "mem.swap",
    group: Group::Memory,
    doc: "a page swapped out costs a disk read when the application touches it",
    attributes: &[Attribute::at(
        "swappiness",
        Kind::Integer { min: 0, max: 200 },
        "how readily anonymous pages are swapped out: 0 only when memory runs out, 200 first",
        Home::Sysctl("vm.swappiness"),
    )],
    source: "10: TuneD latency-performance; swap off: rigtorp.se low latency guide",
    absence: Absence::NotApplicable("this kernel cannot swap"),
    effect: "the kernel reads this variable at each reclaim",
    undo: "the original number is written",
    ..PLAIN
};

/// Transparent huge pages: whether the kernel makes huge pages behind the application's back.
///
/// Switching them also makes the kernel compute `vm.min_free_kbytes` anew (mm/khugepaged.c,
/// set_recommended_min_free_kbytes): that value is remembered with the others and put back with them. The write can block
/// for most of a second while a real-time thread spins on a CPU (measured), hence the blast class.
pub(crate) static THP: Knob = Knob {
    id: "mem.thp",
    group: Group::Memory,
    doc: "a fault that assembles a huge page, or khugepaged joining pages, stops the thread for up to milliseconds",
    attributes: &[
        Attribute::at(
            "enabled",
            Kind::Choice(&["always", "madvise", "never"]),
            "who gets huge pages unasked",
            Home::File("/sys/kernel/mm/transparent_hugepage/enabled"),
        )
        .shaped(Shape::Bracketed)
        .seen(Sign::Flat(&Flat {
            of: &["never"],
            counters: &["thp_fault_alloc", "thp_collapse_alloc"],
            unless: &[],
        })),
        Attribute::at(
            "defrag",
            Kind::Choice(&["always", "defer", "defer+madvise", "madvise", "never"]),
            "whether a fault waits for memory to be compacted",
            Home::File("/sys/kernel/mm/transparent_hugepage/defrag"),
        )
        .shaped(Shape::Bracketed),
    ],
    source: "never: rigtorp.se, TuneD network-latency, cluster-node-tuning-operator",
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel makes no transparent huge pages"),
    effect: "the bracketed word; over a window, no huge page is made on a fault or by joining. Pages that were joined \
             before stay joined",
    undo: "the original words are written, then vm.min_free_kbytes if the kernel changed it",
    side_effects: &[Attribute::at(
        "min_free_kbytes",
        Kind::Integer { min: 0, max: i64::MAX },
        "computed anew when huge pages are switched",
        Home::Sysctl("vm.min_free_kbytes"),
    )],
    ..PLAIN
};

/// Automatic NUMA balancing: the kernel unmaps pages to learn who touches them.
pub(crate) static NUMA: Knob = Knob {
    id: "mem.numa",
    group: Group::Memory,
    doc: "balancing makes pages fault on purpose and moves them while the application runs",
    attributes: &[Attribute::at(
        "balancing",
        Kind::Integer { min: 0, max: 3 },
        "0 off, 1 move pages to who uses them, 2 between memory tiers, 3 both",
        Home::Sysctl("kernel.numa_balancing"),
    )
    .seen(Sign::Flat(&Flat { of: &["0"], counters: &["numa_hint_faults"], unless: &[] }))],
    source: "0: rigtorp.se, TuneD network-latency, Documentation/admin-guide/sysctl/kernel.rst",
    needs: Needs::SysAdmin,
    blast: Blast::Ipi,
    absence: Absence::Satisfied("this kernel does no NUMA balancing"),
    effect: "the kernel's switch itself; over a window, no page faults to tell who uses it",
    undo: "the original number is written",
    ..PLAIN
};
