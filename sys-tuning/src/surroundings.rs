//! What else is at work on the machine: read for a plan that a person sees, and for nothing that has to be quick.
//!
//! Nothing here is changed by quell; it is what a plan may contradict (programs that write the same knobs, files that will
//! set them again, real-time threads that spin), and what hints are counted from. A part that cannot be read is named in the
//! plan, because rules that need it stay silent then.

use std::collections::{BTreeMap, BTreeSet};

use host::boot::Cmdline;
use host::cpus::Cpus;
use host::interfaces::{self, Interface};
use host::programs::Programs;
use host::resctrl::{self, Allocation};
use host::sysctl_files::{self, Line};
use host::tasks::{self, Occupant};
use host::{Error, Root, choice, if_present, modules};
use units::CpuSet;

pub(crate) const RCU_NORMAL: &str = "/sys/kernel/rcu_normal";
pub(crate) const RCU_EXPEDITED: &str = "/sys/kernel/rcu_expedited";
pub(crate) const THP_SHMEM: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
pub(crate) const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
pub(crate) const RT_RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
pub(crate) const NMI_WATCHDOG: &str = "/proc/sys/kernel/nmi_watchdog";
pub(crate) const BUSY_POLL: &str = "/proc/sys/net/core/busy_poll";
pub(crate) const BUSY_READ: &str = "/proc/sys/net/core/busy_read";
pub(crate) const NO_TURBO: &str = "/sys/devices/system/cpu/intel_pstate/no_turbo";
pub(crate) const BOOST: &str = "/sys/devices/system/cpu/cpufreq/boost";

/// Settings that rules compare with what is planned, planned themselves or not.
const COMPARED: [&str; 8] =
    [RCU_NORMAL, RCU_EXPEDITED, RT_RUNTIME, NMI_WATCHDOG, BUSY_POLL, BUSY_READ, NO_TURBO, BOOST];

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    pub programs: Programs,
    pub modules: BTreeSet<String>,
    /// The network interfaces.
    pub interfaces: Vec<Interface>,
    /// What files set below `/proc/sys` at the next boot.
    pub sysctl_lines: Vec<Line>,
    pub cmdline: Option<Cmdline>,
    /// The real-time threads of programs that had a CPU or waited for one at this moment.
    pub realtime: Vec<Occupant>,
    /// Settings as they are, by path.
    pub now: BTreeMap<&'static str, String>,
    /// How many interrupts the kernel shows.
    pub interrupts: usize,
    /// The caches of level 3.
    pub caches: Vec<Cache>,
    /// What could not be read, with the reason.
    pub unseen: Vec<String>,
}

/// One cache of level 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    pub cpus: CpuSet,
    /// Its ways and the fewest of a mask; the reason where it cannot be divided.
    pub ways: Result<(u32, u32), String>,
}

impl Surroundings {
    /// Reads them.
    pub fn read(root: &Root) -> Self {
        let mut unseen = Vec::new();
        let own = root.is_system().then(std::process::id);
        let mut seen = Self {
            programs: note(&mut unseen, Programs::read(root)),
            modules: note(&mut unseen, modules::loaded(root)),
            interfaces: note(&mut unseen, interfaces::interfaces(root)),
            sysctl_lines: note(&mut unseen, sysctl_files::lines(root)),
            cmdline: note(&mut unseen, if_present(Cmdline::read(root))),
            realtime: note(&mut unseen, tasks::running_realtime(root)),
            interrupts: note(&mut unseen, interrupts(root)),
            caches: note(&mut unseen, caches(root)),
            ..Self::default()
        };
        seen.realtime.retain(|occupant| !occupant.stat.is_kernel && Some(occupant.pid.0) != own);
        for path in COMPARED {
            let text = note(&mut unseen, if_present(root.read(path)));
            seen.now.extend(text.map(|text| (path, text.trim().to_owned())));
        }
        for path in [THP, THP_SHMEM] {
            let word = note(&mut unseen, if_present(choice::read(root, path)));
            seen.now.extend(word.map(|word| (path, word.current)));
        }
        Self { unseen, ..seen }
    }
}

fn interrupts(root: &Root) -> Result<usize, Error> {
    let names = root.list("/proc/irq")?;
    Ok(names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).count())
}

fn caches(root: &Root) -> Result<Vec<Cache>, Error> {
    let ways = match resctrl::allocation(root)? {
        Allocation::None { reason } => Err(reason),
        Allocation::Level3(level) => Ok((level.all.count(), level.ways_min)),
    };
    let mut sharers: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for cpu in Cpus::read(root)?.online.iter() {
        if let Some(cache) = resctrl::cache_of(root, cpu)? {
            sharers.entry(cache).or_insert_with(CpuSet::empty).insert(cpu);
        }
    }
    Ok(sharers.into_values().map(|cpus| Cache { cpus, ways: ways.clone() }).collect())
}

/// The value; its default, and a note, when it could not be had. A tree without the file is not worth a word.
fn note<T: Default>(unseen: &mut Vec<String>, read: Result<T, Error>) -> T {
    read.unwrap_or_else(|error| {
        if !error.is_absent() {
            unseen.push(error.to_string());
        }
        T::default()
    })
}
