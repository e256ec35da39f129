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
use host::sysctl_d::Assignments;
use host::tasks::{self, Occupant, Stat};
use host::{Error, Root, choice, if_present, modules};
use units::{CpuSet, Nanos};

use crate::trading::Trading;

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
    pub sysctl: Assignments,
    pub cmdline: Option<Cmdline>,
    /// The real-time threads of programs that have a CPU at this moment, and had one for most of their life.
    pub realtime: Vec<Occupant>,
    /// Settings as they are, by path.
    pub now: BTreeMap<&'static str, String>,
    /// How many interrupts the kernel shows.
    pub interrupts: usize,
    /// The caches of level 3.
    pub caches: Vec<Cache>,
    /// When the host trades, as far as whoever plans says so.
    pub trading: Trading,
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
            sysctl: Assignments::read(root),
            cmdline: note(&mut unseen, if_present(Cmdline::read(root))),
            realtime: note(&mut unseen, tasks::running_realtime(root)),
            interrupts: note(&mut unseen, interrupts(root)),
            caches: note(&mut unseen, caches(root)),
            ..Self::default()
        };
        let uptime = uptime(root);
        seen.realtime.retain(|occupant| {
            !occupant.stat.is_kernel && Some(occupant.pid.0) != own && spins(&occupant.stat, uptime)
        });
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

// Format: "350735.47 234388.90\n", the first in seconds since boot   (Documentation/filesystems/proc.rst, 1.3)
fn uptime(root: &Root) -> Option<Nanos> {
    let text = root.read("/proc/uptime").ok()?;
    let seconds: u64 = text.split('.').next()?.parse().ok()?;
    Some(Nanos::from_secs(seconds))
}

/// Whether a thread that runs now does so most of the time: one that wakes up for a moment holds nobody up. Where the
/// machine's age is not told, it is taken for one that does.
fn spins(stat: &Stat, uptime: Option<Nanos>) -> bool {
    let age = |uptime: Nanos| uptime - Nanos::from_millis(10).times(stat.start_ticks);
    uptime.is_none_or(|uptime| stat.cpu_time.times(2) >= age(uptime))
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

#[cfg(test)]
mod tests {
    use super::*;
    use host::tasks::{Class, Pid};
    use units::CpuId;

    /// A thread that started `age` seconds before the machine was 100 s old, and had a CPU for `ran` of them.
    #[track_caller]
    fn check(age: u64, ran: u64, expected: bool) {
        let stat = Stat {
            tid: Pid(7),
            name: "engine".to_owned(),
            state: 'R',
            class: Class::Fifo,
            rt_priority: 50,
            cpu: CpuId(1),
            start_ticks: (100 - age) * 100,
            is_kernel: false,
            is_bound: false,
            cpu_time: Nanos::from_secs(ran),
        };
        assert_eq!(spins(&stat, Some(Nanos::from_secs(100))), expected, "{age} {ran}");
        assert!(spins(&stat, None), "a machine that does not tell its age");
    }

    #[test]
    fn who_spins() {
        check(10, 10, true);
        check(10, 5, true);
        check(10, 4, false);
        check(0, 0, true); // just started, and running
    }
}
