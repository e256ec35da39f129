//! The closed table of everything quell may change in the kernel.
//!
//! A profile, the journal and every interface name knobs and attributes by id and give typed values; the paths stand in
//! this crate alone. What is not here cannot be written, however it is asked for. The files that turn a write into code
//! running as root, or that cannot be taken back, stand in [`DENIED`], and a test asserts that no knob reaches them.
//! How a knob is added is told in `knobs/mod.rs`.

mod attribute;
pub(crate) mod pattern;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::cell::Cell;
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::knobs;
use crate::profile::Wanted;
use crate::record::Target;
use crate::status::Status;

pub use attribute::{Attribute, Elsewhere, Flat, Home, Infer, Kind, Meaning, Shape, Sign};

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
    /// Every file it may write beside its attributes' homes; `{…}` stands for one number or one checked name.
    pub paths: &'static [&'static str],
    /// What the kernel changes when the attributes are written: it is remembered and put back with them.
    pub side_effects: &'static [SideEffect],
    /// What has to be read about the machine before it can plan, beside what its attributes' homes need.
    pub(crate) reads: &'static [Topic],
    /// What a profile's values come to on this machine.
    pub(crate) wish: fn(&Scope<'_>, &Wanted, &mut Draft),
    /// Where an attribute without a home of one identity stands; `None` when the machine has no such thing (any more).
    pub(crate) locate: fn(&Facts, attribute: &str, identity: &str) -> Option<Cell>,
}

/// What most knobs are: files with one value each, written at run time, without harm. A row says what differs.
pub(crate) const PLAIN: Knob = Knob {
    id: "",
    group: Group::Boot,
    doc: "",
    attributes: &[],
    source: "",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel has no such setting"),
    effect: "",
    undo: "the original value is written",
    paths: &[],
    side_effects: &[],
    reads: &[],
    wish: declared::wish,
    locate: |_, _, _| None,
};

/// Arguments of the kernel's command line.
pub(crate) const ARGUMENT: Knob =
    Knob { when: When::Boot, absence: knobs::boot_line::ABSENCE, undo: knobs::boot_line::UNDO, ..PLAIN };

/// What only the firmware's set-up changes: reported, never written.
pub(crate) const FIRMWARE: Knob = Knob {
    group: Group::Firmware,
    when: When::Firmware,
    absence: Absence::NotApplicable("nothing shows it here"),
    undo: "there is nothing to undo: it is only reported",
    ..PLAIN
};

/// What somebody else holds: reported, never written.
pub(crate) const REPORTED: Knob =
    Knob { when: When::Elsewhere, undo: "there is nothing to undo: it is only reported", ..PLAIN };

/// Another knob's attribute that the kernel sets anew when this one is written. One file has one name, whoever changes it.
#[derive(Debug, Clone, Copy)]
pub struct SideEffect {
    /// Whose it is; behind its cause in the registry, so that it is written after it.
    pub of: &'static Knob,
    /// Which.
    pub attribute: &'static str,
    /// What the kernel does.
    pub doc: &'static str,
}

impl SideEffect {
    /// The registry's names of it.
    pub(crate) fn target(&self) -> Target {
        let (knob, attribute) = (self.of.id.to_owned(), self.attribute.to_owned());
        Target { knob, attribute, identity: String::new() }
    }

    fn row(&self) -> Option<&'static Attribute> {
        self.of.attribute(self.attribute)
    }
}

/// Whether the kernel sets it anew when some other knob is written.
pub(crate) fn is_set_anew(target: &Target) -> bool {
    let is_it = |effect: &SideEffect| effect.of.id == target.knob && effect.attribute == target.attribute;
    all().iter().any(|knob| knob.side_effects.iter().any(is_it))
}

impl Knob {
    /// The attribute of this name, of those that profiles set.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Every file it may write; `{…}` stands for one number or one checked name.
    #[must_use]
    pub fn files(&self) -> Vec<Cow<'static, str>> {
        let side_effects = self.side_effects.iter().filter_map(SideEffect::row);
        let attributes = self.attributes.iter().chain(side_effects);
        let homes = attributes.clone().filter_map(|attribute| attribute.home.file());
        let line = attributes
            .filter(|attribute| attribute.parameter().is_some())
            .flat_map(|_| knobs::boot_line::PATHS);
        let mut files: Vec<Cow<'_, str>> =
            homes.chain(self.paths.iter().chain(line).map(|path| Cow::Borrowed(*path))).collect();
        let mut seen = std::collections::BTreeSet::new();
        files.retain(|file| seen.insert(file.clone()));
        files
    }

    /// Where an attribute of one identity stands; `None` when the machine has no such thing (any more).
    pub(crate) fn cell(&self, facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
        let mut known = self.attributes.iter();
        match known.find(|known| known.name == attribute && !matches!(known.home, Home::Knob)) {
            Some(declared) => declared::locate(facts, declared, identity),
            None => (self.locate)(facts, attribute, identity),
        }
    }

    /// What has to be read about the machine before it can plan.
    pub(crate) fn reads(&self, topic: Topic) -> bool {
        let is_argument = |attribute: &Attribute| attribute.parameter().is_some();
        let is_cpus = |attribute: &Attribute| attribute.kind == Kind::Cpus;
        self.reads.contains(&topic)
            || match topic {
                Topic::Boot => self.attributes.iter().any(is_argument),
                Topic::Cpus => self.attributes.iter().any(is_cpus),
                _ => false,
            }
    }

    /// The patterns of files that its attributes stand in.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = &'static str> {
        self.attributes.iter().filter_map(|attribute| match attribute.home {
            Home::Each(pattern) => Some(pattern),
            _ => None,
        })
    }

    /// What it means that the kernel does not have this attribute.
    pub(crate) fn absence_of(&self, attribute: &str) -> Absence {
        self.attribute(attribute).and_then(|attribute| attribute.absence).unwrap_or(self.absence)
    }
}

impl fmt::Debug for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Knob({})", self.id)
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
        /// Time and machine checks.
        Clock = "clock",
        /// Network devices and protocols.
        Network = "network",
        /// What the kernel counts and watches.
        Accounting = "accounting",
        /// Defences that cost time.
        Security = "security",
        /// The firmware's set-up.
        Firmware = "firmware",
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
        /// CAP_NET_ADMIN.
        NetAdmin = "CAP_NET_ADMIN",
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
        /// Never by quell: a service or a process holds it, and it is only reported.
        Elsewhere = "elsewhere",
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

impl Blast {
    /// All of them, mildest first.
    pub const ALL: [Self; 6] =
        [Self::Harmless, Self::Ipi, Self::Stall, Self::LinkReset, Self::TaskMove, Self::Memory];
}

impl FromStr for Blast {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words = Self::ALL.map(|blast| blast.to_string());
        let found = words.iter().position(|known| known == word).map(|index| Self::ALL[index]);
        found.ok_or_else(|| match units::nearest(word, words.iter().map(String::as_str)) {
            Some(near) => format!("{word:?} is no blast class; did you mean {near:?}?"),
            None => format!("{word:?} is no blast class; classes are {}", words.join(", ")),
        })
    }
}

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

impl Absence {
    /// What it comes to, and why.
    pub(crate) fn told(self) -> (Status, String) {
        match self {
            Self::NotApplicable(reason) => (Status::NotApplicable, reason.to_owned()),
            Self::Satisfied(reason) => (Status::Ok, format!("already so: {reason}")),
            Self::Missing(reason) => (Status::Failed, format!("missing: {reason}")),
        }
    }
}

/// A part of the machine that is read only when a knob asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Cpus,
    Siblings,
    Cgroups,
    Irqs,
    Nodes,
    Cpufreq,
    Tasks,
    Workqueues,
    Boot,
    FairServer,
    Network,
    Clock,
    Files,
    Power,
    Idle,
    KernelThreads,
    Kernel,
    Caches,
    Swaps,
    HugeSizes,
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

/// The attribute that is this parameter of the kernel's command line.
pub(crate) fn argument(parameter: &str) -> Option<&'static Attribute> {
    let attributes = ALL.iter().flat_map(|knob| knob.attributes);
    attributes.into_iter().find(|attribute| attribute.parameter() == Some(parameter))
}

/// Whether a knob of the running system sets this file.
pub(crate) fn is_settable(path: &str) -> bool {
    let attributes = ALL.iter().flat_map(|knob| knob.attributes);
    attributes.into_iter().filter_map(|attribute| attribute.home.file()).any(|file| file == path)
}

/// What no profile names: made of what other knobs ask for.
const COMPOSED: &[&Knob] = &[&knobs::boot_line::KNOB];

/// What may stall a CPU or take memory comes before what fences CPUs off: its kernel work then still runs everywhere.
/// Threads are moved before a partition takes CPUs, so that the partition goes first on the way back: the kernel gives no
/// thread the CPUs of another's partition.
const ALL: &[&Knob] = &[
    // Memory.
    &knobs::memory::SWAP,
    // Before what takes memory: what was swapped out comes back first.
    &knobs::memory::swapoff::KNOB,
    &knobs::memory::dirty::KNOB,
    &knobs::memory::THP,
    &knobs::memory::KSM,
    &knobs::memory::COMPACT,
    &knobs::memory::NUMA,
    // Behind what makes the kernel compute the reserve anew.
    &knobs::memory::free::KNOB,
    &knobs::memory::huge::KNOB,
    // Time, counting, defences.
    &knobs::clock::SOURCE,
    &knobs::clock::CHECKS,
    &knobs::accounting::STATISTICS,
    &knobs::accounting::PARANOID,
    &knobs::security::AVC,
    // What runs on every CPU.
    &knobs::isolation::VMSTAT,
    &knobs::isolation::HUNG,
    &knobs::isolation::RCUNORM,
    &knobs::isolation::watchdog::KNOB,
    // Throttling first: on a real-time kernel of 6.12 the fair server's runtime is otherwise refused with EBUSY.
    &knobs::isolation::rtthrottle::KNOB,
    &knobs::isolation::fairserver::KNOB,
    &knobs::isolation::TIMERMIG,
    &knobs::isolation::wq::KNOB,
    // Network: what makes queues and interrupts anew comes before what places them.
    &knobs::network::CHANNELS,
    &knobs::network::RINGS,
    &knobs::network::OFFLOAD,
    // Behind what makes queues, and what has rules taken.
    &knobs::network::flow::STEERING,
    &knobs::network::PAUSE,
    &knobs::network::EEE,
    &knobs::network::COALESCE,
    &knobs::network::BUSY,
    &knobs::network::TCP,
    &knobs::network::BUFFERS,
    &knobs::network::BUDGET,
    &knobs::network::place::STEERING,
    &knobs::network::place::POLLING,
    // Interrupts.
    &knobs::interrupts::irq_default::KNOB,
    &knobs::interrupts::irq_aff::KNOB,
    // Frequency and idle states. The preference before the governor: under the performance governor the processor takes no
    // other, so that it has to go first on the way back. Boost before the range, which boost changes.
    &knobs::power::preference::KNOB,
    &knobs::power::governor::KNOB,
    &knobs::power::boost::KNOB,
    &knobs::power::range::KNOB,
    &knobs::power::uncore::KNOB,
    &knobs::power::platform::KNOB,
    &knobs::power::qos::KNOB,
    &knobs::power::idle::KNOB,
    // Caches.
    &knobs::memory::cache::KNOB,
    // Threads of the kernel.
    &knobs::isolation::priority::KTHREADS,
    &knobs::isolation::priority::IRQ,
    // Threads, then CPUs.
    &knobs::isolation::tasks::KNOB,
    &knobs::isolation::kthreads::KNOB,
    &knobs::isolation::cpuset2::KNOB,
    &knobs::isolation::cpuset1::KNOB,
    // CPUs that go, last: what was set on them is put back when they are there again.
    &knobs::isolation::offline::SMT,
    &knobs::isolation::offline::CPUS,
    // Reported only.
    &knobs::network::around::NODE,
    &knobs::network::around::BYPASS,
    &knobs::network::flow::FIRMWARE,
    &knobs::network::around::BALANCER,
    &knobs::firmware::SETUP,
    &knobs::power::DMA,
    &knobs::isolation::services::STALLD,
    &knobs::isolation::services::STATIC_KEY,
    &knobs::firmware::SMI,
    &knobs::memory::LOCK,
    &knobs::accounting::NOISE,
    // On the boot line, in this order.
    &knobs::isolation::isolcpus::KNOB,
    &knobs::isolation::nohz::KNOB,
    &knobs::isolation::rcu::KNOB,
    &knobs::isolation::SKEW,
    &knobs::isolation::LOCKUP,
    &knobs::isolation::THREADIRQS,
    &knobs::isolation::preempt::KNOB,
    &knobs::isolation::services::SYSTEMD,
    &knobs::power::DRIVER,
    &knobs::power::idleboot::KNOB,
    &knobs::memory::hugeboot::KNOB,
    &knobs::security::MITIGATIONS,
    &knobs::security::AUDIT,
    &knobs::security::IOMMU,
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
mod tests;
