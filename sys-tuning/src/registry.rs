//! The closed table of everything quell may change in the kernel.
//!
//! A profile, the journal and every interface name knobs and attributes by id and give typed values; the paths stand in
//! this crate alone. What is not here cannot be written, however it is asked for. The files that turn a write into code
//! running as root, or that cannot be taken back, stand in [`DENIED`], and a test asserts that no knob reaches them.

use std::fmt;

use crate::cell::Cell;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::knobs;
use crate::profile::Wanted;

/// One thing to tune: its attributes, its source, what a change of it costs, and how it is undone.
pub struct Knob {
    /// As profiles and reports name it.
    pub id: &'static str,
    /// The part of the machine it belongs to.
    pub group: Group,
    /// What it does and for whom.
    pub doc: &'static str,
    /// What can be set.
    pub attributes: &'static [Attribute],
    /// Which guides ask for it.
    pub source: &'static str,
    /// What a process needs to change it.
    pub needs: Needs,
    /// When a change takes hold.
    pub when: When,
    /// What a change does to running threads.
    pub blast: Blast,
    /// What it means that the kernel does not have it.
    pub absence: Absence,
    /// How it is seen that a value took effect.
    pub effect: &'static str,
    /// How a change is taken back.
    pub undo: &'static str,
    /// Every file it may write; `{…}` stands for one number or one checked name.
    pub paths: &'static [&'static str],
    /// Attributes nobody sets, which the kernel changes when the others are written: remembered and put back with them.
    pub side_effects: &'static [&'static str],
    /// What has to be read about the machine before it can plan.
    pub(crate) reads: &'static [Topic],
    /// What a profile's values come to on this machine.
    pub(crate) wish: fn(&Scope<'_>, &Wanted, &mut Draft),
    /// Where an attribute of one identity stands; `None` when the machine has no such thing (any more).
    pub(crate) locate: fn(&Facts, attribute: &str, identity: &str) -> Option<Cell>,
}

impl fmt::Debug for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knob({})", self.id)
    }
}

/// One value of a knob.
#[derive(Debug)]
pub struct Attribute {
    /// As profiles name it.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// What it means, with its unit.
    pub doc: &'static str,
    /// The attribute that means the same in another way: the later one of the two holds.
    pub excludes: Option<&'static str>,
}

impl Attribute {
    /// An attribute that excludes no other.
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, doc, excludes: None }
    }
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Integer {
        /// The least allowed.
        min: i64,
        /// The most allowed.
        max: i64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// True or false.
    Flag,
    /// A cpulist, or `housekeeping`, `isolated`, `all`.
    Cpus,
    /// A table of a number a memory node: `{ node0 = 512 }`.
    Nodes {
        /// The most allowed on one node.
        max: i64,
    },
    /// Microseconds, or `any`.
    Latency,
    /// A checked name.
    Name,
    /// The path of a control group.
    Group,
    /// A line that other knobs compose: no profile can give it.
    Line,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "integer, {min} to {max}"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Self::Flag => f.write_str("true or false"),
            Self::Cpus => f.write_str("CPUs: a list as in 2-3, or housekeeping, isolated, all"),
            Self::Nodes { max } => write!(f, "a number a memory node, 0 to {max}, as in {{ node0 = 512 }}"),
            Self::Latency => f.write_str("microseconds, or \"any\""),
            Self::Name => f.write_str("a name of a-z 0-9 . _ -"),
            Self::Group => f.write_str("a control group, as in trading.slice"),
            Self::Line => f.write_str("composed of other knobs' arguments"),
        }
    }
}

/// Spells a closed set of words once: the enum, its texts, its `Display`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }
    };
}

words!(
    /// The part of the machine a knob belongs to.
    Group {
        /// Memory.
        Memory = "memory",
        /// Keeping CPUs to one application.
        Isolation = "isolation",
        /// Interrupts.
        Interrupts = "interrupts",
        /// Frequency and idle states.
        Power = "power",
        /// The kernel's command line.
        Boot = "boot",
    }
);

words!(
    /// What a process needs to make a change.
    Needs {
        /// To own the file: uid 0.
        Root = "root",
        /// uid 0 and CAP_SYS_ADMIN.
        SysAdmin = "root with CAP_SYS_ADMIN",
        /// CAP_SYS_NICE.
        SysNice = "CAP_SYS_NICE",
    }
);

words!(
    /// When a change takes hold.
    When {
        /// At once.
        Runtime = "runtime",
        /// With the next boot.
        Boot = "boot",
        /// In the firmware's set-up, by hand.
        Firmware = "firmware",
    }
);

words!(
    /// What a change does to running threads, mildest first.
    Blast {
        /// Nothing.
        Harmless = "harmless",
        /// Interrupts every CPU once.
        Ipi = "ipi",
        /// May hold a CPU up for long.
        Stall = "stall",
        /// Takes a network link down and up.
        LinkReset = "link-reset",
        /// Moves work to other CPUs.
        TaskMove = "task-move",
        /// Takes memory from everything else.
        Memory = "memory",
    }
);

/// What it means that the kernel does not have a knob, with the reason to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// There is nothing to tune.
    NotApplicable(&'static str),
    /// The kernel is as wanted without it.
    Satisfied(&'static str),
    /// Every kernel we know has it: something is wrong.
    Missing(&'static str),
}

/// A part of the machine that is read only when a knob asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Cpus,
    Cgroups,
    Irqs,
    Nodes,
    Cpufreq,
    Tasks,
    Workqueues,
    Boot,
    FairServer,
}

/// Every knob, in the order in which changes are made.
#[must_use]
pub fn all() -> &'static [&'static Knob] {
    ALL
}

/// The knob of this id.
#[must_use]
pub fn find(id: &str) -> Option<&'static Knob> {
    ALL.iter().chain(COMPOSED).copied().find(|knob| knob.id == id)
}

/// What no profile names: made of what other knobs ask for.
const COMPOSED: &[&Knob] = &[&knobs::boot_line::KNOB];

/// What may stall a CPU or take memory comes before what fences CPUs off: its kernel work then still runs everywhere.
/// Threads are moved before a partition takes CPUs, so that the partition goes first on the way back: the kernel gives no
/// thread the CPUs of another's partition.
const ALL: &[&Knob] = &[
    &knobs::swap::KNOB,
    &knobs::dirty::KNOB,
    &knobs::thp::KNOB,
    &knobs::numa::KNOB,
    &knobs::huge::KNOB,
    &knobs::vmstat::KNOB,
    &knobs::hung::KNOB,
    &knobs::fairserver::KNOB,
    &knobs::rtthrottle::KNOB,
    &knobs::timermig::KNOB,
    &knobs::wq::KNOB,
    &knobs::irq_default::KNOB,
    &knobs::irq_aff::KNOB,
    &knobs::qos::KNOB,
    &knobs::governor::KNOB,
    &knobs::tasks::KNOB,
    &knobs::kthreads::KNOB,
    &knobs::cpuset2::KNOB,
    &knobs::cpuset1::KNOB,
    // On the boot line, in this order.
    &knobs::isolcpus::KNOB,
    &knobs::nohz::KNOB,
    &knobs::rcu::KNOB,
    &knobs::skew::KNOB,
    &knobs::lockup::KNOB,
    &knobs::hugeboot::KNOB,
];

/// Files no knob may reach: they run a program as root, cannot be taken back before a reboot, or stop the machine.
pub const DENIED: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/core_pipe_limit",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/sys/kernel/uevent_helper",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/usermodehelper/bset",
    "/proc/sys/kernel/usermodehelper/inheritable",
    "/proc/sys/kernel/modules_disabled",
    "/proc/sys/kernel/kexec_load_disabled",
    "/proc/sys/kernel/kexec_load_limit_panic",
    "/proc/sys/kernel/kexec_load_limit_reboot",
    "/proc/sys/kernel/sysrq",
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/cad_pid",
    "/proc/sys/kernel/panic",
    "/proc/sys/vm/mmap_min_addr",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/protected_hardlinks",
    "/proc/self/mem",
    "/dev/mem",
    "/dev/kmem",
    "/dev/port",
    "/sys/power/state",
    "/sys/power/disk",
    "/sys/fs/cgroup/{controller}/release_agent",
    "/sys/kernel/security/lockdown",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_knob_reaches_a_denied_file() {
        for knob in ALL.iter().chain(COMPOSED) {
            for path in knob.paths {
                let reached =
                    DENIED.iter().find(|denied| path.starts_with(**denied) || denied.starts_with(path));
                // A group's directory is above what is denied in it; the knob makes and removes it, no more.
                let is_group = path.ends_with("/{group}");
                assert!(reached.is_none() || is_group, "{} reaches {reached:?}", knob.id);
            }
        }
    }

    #[test]
    fn ids_and_attributes_are_unique_and_told() {
        let mut ids: Vec<&str> = ALL.iter().map(|knob| knob.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), ALL.len());
        for knob in ALL {
            assert!(knob.id.parse::<units::Name>().is_ok(), "{}", knob.id);
            assert!(!knob.paths.is_empty() && !knob.attributes.is_empty(), "{}", knob.id);
            let told = [knob.doc, knob.source, knob.effect, knob.undo];
            assert!(told.iter().all(|text| !text.is_empty()), "{}", knob.id);
            for attribute in knob.attributes {
                let other = attribute.excludes.map(|other| knob.attributes.iter().any(|a| a.name == other));
                assert_ne!(other, Some(false), "{} {}", knob.id, attribute.name);
            }
        }
    }
}
