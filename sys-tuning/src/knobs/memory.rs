//! Memory: what the kernel does to it behind the application's back.

pub(crate) mod cache;
pub(crate) mod dirty;
pub(crate) mod free;
pub(crate) mod huge;
pub(crate) mod hugeboot;
pub(crate) mod swapoff;

use host::{Root, if_present};

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::knobs::isolation::tasks::APPLICATION;
use crate::profile::Wanted;
use crate::registry::{
    Absence, Attribute, Blast, Elsewhere, Flat, Group, Home, Kind, Knob, Meaning, Needs, PLAIN, REPORTED,
    Shape, SideEffect, Sign, Topic,
};
use crate::status::Status;

/// How readily the kernel swaps anonymous memory out.
pub(crate) static SWAP: Knob = Knob {
    id: "mem.swap",
    group: Group::Memory,
    doc: "a page swapped out costs a disk read when the application touches it",
    attributes: &[
        Attribute::at(
            "swappiness",
            Kind::Integer { min: 0, max: 200 },
            "how readily anonymous pages are swapped out: 0 only when memory runs out, 200 first",
            Home::Sysctl("vm.swappiness"),
        ),
        Attribute::at(
            "areas",
            Kind::Choice(&["none", "some"]),
            "whether the host is expected to have areas to swap to; mem.swapoff switches them off",
            Home::Elsewhere(&Elsewhere {
                infer: areas,
                suits: |shown, wanted| shown == wanted,
                remedy: "mem.swapoff, or `swapoff -a`; and take them out of /etc/fstab",
            }),
        )
        .absent(Absence::Satisfied("this kernel cannot swap")),
    ],
    source: "10: TuneD latency-performance; swap off: rigtorp.se low latency guide",
    absence: Absence::NotApplicable("this kernel cannot swap"),
    effect: "the kernel reads this variable at each reclaim; /proc/swaps lists the areas",
    undo: "the original number is written",
    ..PLAIN
};

/// Transparent huge pages: whether the kernel makes huge pages behind the application's back.
///
/// Switching them also makes the kernel compute `vm.min_free_kbytes` anew (mm/khugepaged.c,
/// set_recommended_min_free_kbytes): that value is remembered with the others and put back with them, and written behind
/// them where the profile has it. The write can block
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
        .seen(Sign::All(&[
            Sign::Told(no_size_of_its_own),
            Sign::Flat(&Flat {
                of: &["never"],
                counters: &["thp_fault_alloc", "thp_collapse_alloc"],
                unless: &[],
            }),
        ])),
        Attribute::at(
            "each_size",
            Kind::Choice(&["always", "inherit", "madvise", "never"]),
            "the same by size: inherit does as enabled says, anything else goes before it, never included",
            Home::Each("/sys/kernel/mm/transparent_hugepage/hugepages-{size}kB/enabled"),
        )
        .shaped(Shape::Bracketed)
        .absent(Absence::Satisfied("this kernel makes huge pages of one size only")),
        Attribute::at(
            "defrag",
            Kind::Choice(&["always", "defer", "defer+madvise", "madvise", "never"]),
            "whether a fault waits for memory to be compacted",
            Home::File("/sys/kernel/mm/transparent_hugepage/defrag"),
        )
        .shaped(Shape::Bracketed),
        Attribute::at(
            "shmem_enabled",
            Kind::Choice(&["always", "within_size", "advise", "never"]),
            "who gets huge pages in shared memory unasked",
            Home::File("/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
        )
        .shaped(Shape::Bracketed)
        .seen(Sign::Flat(&Flat { of: &["never"], counters: &["thp_file_alloc"], unless: &[] })),
        Attribute::at(
            "boot",
            Kind::Choice(&["always", "madvise", "never"]),
            "the same as enabled from the boot on: transparent_hugepage=",
            Home::Argument("transparent_hugepage"),
        )
        .seen(Sign::Shown("/sys/kernel/mm/transparent_hugepage/enabled")),
    ],
    source: "never: rigtorp.se, TuneD network-latency, cluster-node-tuning-operator",
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel makes no transparent huge pages"),
    effect: "the bracketed word, and with never, that no size has a word of its own that makes huge pages all the same \
             (Linux 6.8); over a window, no huge page is made on a fault or by joining. Pages that were joined before \
             stay joined",
    undo: "the original words are written, then vm.min_free_kbytes if the kernel changed it",
    side_effects: &[SideEffect {
        of: &free::KNOB,
        attribute: "min_free_kbytes",
        doc: "computed anew when huge pages are switched",
    }],
    reads: &[Topic::HugeSizes],
    wish: wish_thp,
    ..PLAIN
};

/// With never: no size that is not to inherit it, which would go before it.
// Format: "always inherit [madvise] never"   (Documentation/admin-guide/mm/transhuge.rst, from Linux 6.8)
fn no_size_of_its_own(root: &Root, value: &str) -> Option<(String, bool)> {
    if value != "never" {
        return None;
    }
    let sizes = sizes_of_their_own(root);
    Some(if sizes.is_empty() { ("never".to_owned(), true) } else { (sizes.join(", "), false) })
}

/// The sizes with a word that makes huge pages whatever `enabled` says, as in "hugepages-64kB: always".
pub(crate) fn sizes_of_their_own(root: &Root) -> Vec<String> {
    const DIR: &str = "/sys/kernel/mm/transparent_hugepage";
    let of_size = |name: String| {
        name.starts_with("hugepages-").then_some(())?;
        let text = root.read_lossy(&format!("{DIR}/{name}/enabled")).ok()?;
        let word =
            text.split_ascii_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))?;
        ["always", "madvise"].contains(&word).then(|| format!("{name}: {word}"))
    };
    let mut sizes: Vec<String> = root.list(DIR).unwrap_or_default().into_iter().filter_map(of_size).collect();
    sizes.sort();
    sizes
}

/// With `never`, what goes before it would keep it from its effect: a mistake where the profile says so itself, and not to
/// be had where the machine does.
fn wish_thp(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let word = |attribute: &str| wanted.text(attribute);
    let never = word("enabled").is_some_and(|word| word == "never");
    let each = wanted.setting("each_size").filter(|_| never).zip(word("each_size"));
    if let Some((setting, word)) = each.filter(|(_, word)| ["always", "madvise"].contains(&word.as_str())) {
        let problem = format!(
            "mem.thp.each_size: {word} goes before enabled, so that never would have no effect; \"inherit\" does as enabled \
             says"
        );
        return draft.mistake(setting, &problem);
    }
    let before = draft.wishes.len();
    declared::wish(scope, wanted, draft);
    let own = &scope.facts.huge_sizes;
    if never && wanted.setting("each_size").is_none() && !own.is_empty() {
        let is_it = |index: &usize| draft.wishes[*index].attribute == "enabled";
        if let Some(index) = (before..draft.wishes.len()).find(is_it) {
            draft.wishes.remove(index);
        }
        let reason = format!(
            "{} goes before it: each_size = \"inherit\" has each size do as enabled says",
            own.join(", ")
        );
        draft.skip_attribute(THP.id, "enabled", Status::Failed, reason);
    }
}

/// Automatic NUMA balancing: the kernel unmaps pages to learn who touches them.
pub(crate) static NUMA: Knob = Knob {
    id: "mem.numa",
    group: Group::Memory,
    doc: "balancing makes pages fault on purpose and moves them while the application runs",
    attributes: &[
        Attribute::at(
            "balancing",
            Kind::Integer { min: 0, max: 3 },
            "0 off, 1 move pages to who uses them, 2 between memory tiers, 3 both",
            Home::Sysctl("kernel.numa_balancing"),
        )
        .seen(Sign::Flat(&Flat { of: &["0"], counters: &["numa_hint_faults"], unless: &[] })),
        Attribute::at(
            "statistics",
            Kind::Flag,
            "whether each allocation counts on which node it was made and for which it was meant",
            Home::Sysctl("vm.numa_stat"),
        )
        .seen(Sign::Flat(&Flat { of: &["0"], counters: &["numa_hit", "numa_miss"], unless: &[] }))
        .absent(Absence::Satisfied("this kernel keeps no statistics of memory nodes")),
    ],
    source: "0: rigtorp.se, TuneD network-latency, Documentation/admin-guide/sysctl/kernel.rst",
    needs: Needs::SysAdmin,
    blast: Blast::Ipi,
    absence: Absence::Satisfied("this kernel does no NUMA balancing"),
    effect: "the kernel's switch itself; over a window, no page faults to tell who uses it",
    undo: "the original number is written",
    ..PLAIN
};

// Format: a head line, then "/dev/sda2    partition    1048572    0    -2"   (swapon(8); mm/swapfile.c, swap_show)
fn areas(root: &Root) -> Option<String> {
    let listed = if_present(root.read_lossy("/proc/swaps")).ok()??;
    Some(if listed.lines().count() > 1 { "some" } else { "none" }.to_owned())
}

/// Joining equal pages: a thread scans memory, and a write to a joined page has to copy it first.
pub(crate) static KSM: Knob = Knob {
    id: "mem.ksm",
    group: Group::Memory,
    doc: "the scanner takes a CPU, and the first write to a page it joined faults and copies",
    attributes: &[Attribute::at(
        "run",
        Kind::Integer { min: 0, max: 2 },
        "0 stops the scanner, 1 runs it, 2 stops it and separates what it joined",
        Home::File("/sys/kernel/mm/ksm/run"),
    )
    .seen(Sign::All(&[
        Sign::Means(&[Meaning { of: "2", path: "/sys/kernel/mm/ksm/pages_sharing", shows: Some("0") }]),
        Sign::Flat(&Flat {
            of: &["0", "2"],
            counters: &["/sys/kernel/mm/ksm/full_scans", "/sys/kernel/mm/ksm/pages_shared"],
            unless: &[],
        }),
    ]))],
    source: "0: rigtorp.se; 2: TuneD realtime-virtual-host",
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel joins no pages"),
    effect: "with 2, no page is shared any more; over a window, the scanner goes through memory no more",
    undo: "the original number is written; what was separated is joined again as the scanner finds it",
    ..PLAIN
};

/// Moving pages to make room for huge ones.
///
/// Writing another number than 0 makes the kernel compact at once (mm/compaction.c), which is what taking this back may
/// do: hence the blast class. Other reasons to compact remain: a large allocation, and the daemon when one failed.
pub(crate) static COMPACT: Knob = Knob {
    id: "mem.compact",
    group: Group::Memory,
    doc: "pages that are moved fault in whoever uses them, applications that allocate nothing included",
    attributes: &[
        Attribute::at(
            "proactiveness",
            Kind::Integer { min: 0, max: 100 },
            "how eagerly memory is compacted in the background; 0 never unasked",
            Home::Sysctl("vm.compaction_proactiveness"),
        )
        .seen(Sign::Flat(&Flat {
            of: &["0"],
            counters: &["compact_migrate_scanned"],
            unless: &["compact_stall", "compact_daemon_wake"],
        }))
        .absent(Absence::Satisfied("this kernel compacts no memory unasked")),
        Attribute::at(
            "unevictable",
            Kind::Flag,
            "whether locked memory may be moved too",
            Home::Sysctl("vm.compact_unevictable_allowed"),
        ),
    ],
    source: "0 and false: Documentation/admin-guide/sysctl/vm.rst (latency spikes in unsuspecting applications)",
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel compacts no memory"),
    effect: "over a window, no page is looked at for moving, unless an allocation or the daemon asked for it",
    undo: "the original numbers are written; another number than 0 makes the kernel compact once",
    ..PLAIN
};

/// Memory that engines lock: reported only, because the limit is their unit's.
pub(crate) static LOCK: Knob = Knob {
    id: "mem.lock",
    group: Group::Memory,
    doc: "an engine that may not lock its memory has it paged out, and faults when it needs it",
    attributes: &[Attribute::at(
        "limit",
        Kind::Choice(&["unlimited"]),
        "how much memory each process of the application's control groups (quell, trading.slice) may lock",
        Home::Elsewhere(&Elsewhere {
            infer: locked_limit,
            suits: |shown, wanted| shown == wanted,
            remedy: "LimitMEMLOCK=infinity in its unit",
        }),
    )
    .absent(Absence::NotApplicable("no process runs in the application's control groups"))],
    source: "unlimited: rigtorp.se (mlockall)",
    effect: "the limit of every process in those groups (proc/PID/limits)",
    ..REPORTED
};

/// The least limit among the application's processes, with who has it; `None` where there is none.
// Format: "Max locked memory         8388608              8388608              bytes"   (fs/proc/base.c, lnames)
fn locked_limit(root: &Root) -> Option<String> {
    let mut seen = false;
    for process in root.list("/proc").ok()?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let groups = root.read_lossy(&format!("/proc/{process}/cgroup")).unwrap_or_default();
        let is_in = |line: &str| {
            let path = line.splitn(3, ':').nth(2).unwrap_or_default();
            APPLICATION.iter().any(|group| path.trim_start_matches('/').split('/').next() == Some(group))
        };
        if !groups.lines().any(is_in) {
            continue;
        }
        let limits = root.read_lossy(&format!("/proc/{process}/limits")).unwrap_or_default();
        let Some(limit) = limits.lines().find_map(|line| line.strip_prefix("Max locked memory")) else {
            continue;
        };
        seen = true;
        let soft = limit.split_ascii_whitespace().next().unwrap_or_default();
        if soft != "unlimited" {
            return Some(format!("{soft} bytes of process {process}"));
        }
    }
    seen.then(|| "unlimited".to_owned())
}
