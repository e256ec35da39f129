//! What the host is, read once at start: the ground on which CPUs and clock are chosen, and what the report names.
//!
//! A fact that cannot be read is not an error here: it becomes a line in [`Facts::missing`] that says what is lost and
//! how to allow it. Only what nothing can be done without (which CPUs exist) stops the start.

use std::collections::{BTreeMap, BTreeSet};

use host::Root;
use host::boot::Boot;
use host::clocksource::Clocksource;
use host::cpuinfo::CpuInfo;
use host::cpus::Cpus;
use host::rt::Throttling;
use host::stat::{self, Spent};
use host::tasks::{self, Occupant, Pid};
use host::threads;
use report::Missing;
use units::{CpuId, CpuSet, Nanos};

use crate::placement::{OCCUPIED_SHARE, Topology};

/// A fact that the host or our rights do not give: what, why, and what would allow it.
pub fn missing(what: &str, why: &dyn ToString, fix: &str) -> Missing {
    Missing { what: what.to_owned(), why: why.to_string(), fix: Some(fix.to_owned()) }
}

/// The host at start.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Name, boot and kernel; `None` when `/proc` does not tell.
    pub boot: Option<Boot>,
    /// For the choice of CPUs.
    pub topology: Topology,
    /// For the choice of the clock.
    pub clock: clock::Facts,
    /// What real-time threads may run before they are stopped; `None` when unknown or not throttled.
    pub rt_throttle: Option<Throttling>,
    /// Whether this is a virtual machine, where tails belong to the hypervisor.
    pub is_virtual: Option<bool>,
    /// What could not be had.
    pub missing: Vec<Missing>,
}

impl Facts {
    /// Reads the host below `root`, of whose CPUs this process is `allowed` some, which may depend on those that are
    /// isolated; `None` where the kernel does not tell. `meanwhile` is called once, between two readings of CPU use, and
    /// has to take a tenth of a second, which is ten ticks of those readings: calibrating the clock, for which it is given
    /// what is known of it, is just that.
    ///
    /// # Errors
    /// The CPU list cannot be read: there is nothing to measure on.
    pub fn read(
        root: &Root,
        allowed: impl FnOnce(&CpuSet) -> Option<CpuSet>,
        meanwhile: impl FnOnce(&clock::Facts),
    ) -> Result<Self, host::Error> {
        let mut gaps = Vec::new();
        let cpus = Cpus::read(root)?;
        let isolated = cpus.quiet();
        let allowed = allowed(&isolated).unwrap_or_else(|| cpus.online.clone());
        let cpuinfo = CpuInfo::read(root)
            .map_err(|why| {
                gaps.push(missing("processor flags", &why, "mount /proc without hidepid restrictions"));
            })
            .ok();
        let clock = clock_facts(root, cpuinfo.as_ref());
        let mut topology =
            Topology { online: cpus.online, allowed, isolated, busy: Vec::new(), bound: CpuSet::empty() };
        topology.busy = busy_shares(root, &topology.candidates(), || meanwhile(&clock), &mut gaps);
        topology.bound = bound(root, &topology.busy, &mut gaps);
        let boot = Boot::read(root)
            .map_err(|why| {
                gaps.push(missing("host name and boot id", &why, "mount /proc/sys"));
            })
            .ok();
        let rt_throttle = Throttling::read(root)
            .map_err(|why| {
                gaps.push(missing("real-time throttling", &why, "mount /proc/sys"));
            })
            .ok();
        Ok(Self {
            boot,
            topology,
            clock,
            rt_throttle,
            is_virtual: cpuinfo.and_then(|info| info.is_virtual()),
            missing: gaps,
        })
    }

    /// The host's name, for reports.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.boot.as_ref().map_or("unknown", |boot| boot.hostname.as_str())
    }
}

fn clock_facts(root: &Root, cpuinfo: Option<&CpuInfo>) -> clock::Facts {
    let source = Clocksource::read(root).ok();
    clock::Facts {
        constant_tsc: cpuinfo.and_then(|info| info.has("constant_tsc")),
        nonstop_tsc: cpuinfo.and_then(|info| info.has("nonstop_tsc")),
        current_clocksource: source.as_ref().map(|source| source.current.clone()),
        available_clocksource: source.map(|source| source.available.join(" ")),
        ..clock::Facts::of_this_cpu()
    }
}

/// How busy each of `cpus` is over the time that `wait` takes, with others than ourselves.
fn busy_shares(
    root: &Root,
    cpus: &CpuSet,
    wait: impl FnOnce(),
    gaps: &mut Vec<Missing>,
) -> Vec<(CpuId, f64)> {
    let before = Used::read(root);
    wait();
    match (before, Used::read(root)) {
        (Ok(before), Ok(after)) => after.shares_since(&before, cpus),
        (Err(why), _) | (_, Err(why)) => {
            gaps.push(missing(
                "whether an application spins on the measured CPUs",
                &why,
                "make /proc/stat readable",
            ));
            Vec::new()
        }
    }
}

/// The time that CPUs were in use until an instant, by all and by ourselves.
#[derive(Debug)]
pub struct Used {
    all: BTreeMap<CpuId, Spent>,
    ours: BTreeMap<CpuId, Nanos>,
    at: Nanos,
}

impl Used {
    /// As of now.
    ///
    /// # Errors
    /// `/proc/stat` cannot be read.
    pub fn read(root: &Root) -> Result<Self, host::Error> {
        Ok(Self { all: stat::per_cpu(root)?, ours: own_time(root), at: threads::monotonic_now() })
    }

    /// How busy each of `cpus` was with others since `earlier`, 0 to 1, where it can be told.
    #[must_use]
    pub fn shares_since(&self, earlier: &Self, cpus: &CpuSet) -> Vec<(CpuId, f64)> {
        let elapsed = (self.at - earlier.at).as_secs_f64();
        let own_share = |cpu: &CpuId| {
            let time = |used: &Self| used.ours.get(cpu).copied().unwrap_or_default();
            (time(self) - time(earlier)).as_secs_f64() / elapsed
        };
        cpus.iter()
            .filter_map(|cpu| Some((cpu, self.all.get(&cpu)?.shares_since(earlier.all.get(&cpu)?)?.busy)))
            .map(|(cpu, busy)| (cpu, (busy - own_share(&cpu)).max(0.0)))
            .collect()
    }
}

/// CPU time of our threads that are bound to one CPU, by CPU: while we measure already, probes are part of what is
/// busy.
fn own_time(root: &Root) -> BTreeMap<CpuId, Nanos> {
    let mut times = BTreeMap::new();
    for task in tasks::own(root).unwrap_or_default() {
        if let (1, Some(cpu)) = (task.allowed.count(), task.allowed.first()) {
            *times.entry(cpu).or_default() += task.cpu_time;
        }
    }
    times
}

/// The CPUs that are busy with threads of somebody else which may run nowhere else; looked for only where one is busy.
fn bound(root: &Root, busy: &[(CpuId, f64)], gaps: &mut Vec<Missing>) -> CpuSet {
    if busy.iter().all(|(_, share)| *share <= OCCUPIED_SHARE) {
        return CpuSet::empty();
    }
    match tasks::running_bound(root) {
        Ok(mut running) => {
            running.retain(|occupant| occupant.pid.0 != std::process::id());
            spinning(root, &running)
        }
        Err(why) => {
            gaps.push(missing("which applications are bound to a CPU", &why, "mount /proc"));
            CpuSet::empty()
        }
    }
}

/// How long the bound threads are watched: several slices of the fair scheduler, and five slots of a spinning probe of
/// another quell, which is bound, was just seen running, and leaves nine tenths of its CPU to others.
const WATCHED: Nanos = Nanos::from_millis(50);

/// The CPUs that `bound` use most of.
fn spinning(root: &Root, bound: &[Occupant]) -> CpuSet {
    if bound.is_empty() {
        return CpuSet::empty();
    }
    let (before, from) = (bound_time(root, bound), threads::monotonic_now());
    threads::sleep_until(from + WATCHED);
    let (after, elapsed) = (bound_time(root, bound), threads::monotonic_now() - from);
    let spins = |cpu: CpuId, time: Nanos| {
        let used = time - before.get(&cpu).copied().unwrap_or(time);
        used.as_secs_f64() > elapsed.as_secs_f64() * OCCUPIED_SHARE
    };
    after.into_iter().filter(|(cpu, time)| spins(*cpu, *time)).map(|(cpu, _)| cpu).collect()
}

/// CPU time of `bound`, by CPU; who has ended, or is hidden, has none.
fn bound_time(root: &Root, bound: &[Occupant]) -> BTreeMap<CpuId, Nanos> {
    let mut times = BTreeMap::new();
    let pids: BTreeSet<Pid> = bound.iter().map(|occupant| occupant.pid).collect();
    for task in pids.into_iter().flat_map(|pid| tasks::of(root, pid).unwrap_or_default()) {
        if let Some(occupant) = bound.iter().find(|occupant| occupant.stat.tid == task.stat.tid) {
            *times.entry(occupant.stat.cpu).or_default() += task.cpu_time;
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_read_and_an_empty_tree_is_refused() {
        let facts = Facts::read(&Root::system(), |_| None, |_| ()).unwrap();
        assert!(!facts.topology.online.is_empty());
        assert_ne!(facts.hostname(), "");
        let dir = tempfile::tempdir().unwrap();
        assert!(Facts::read(&Root::at(dir.path()), |_| None, |_| ()).is_err());
    }

    #[test]
    fn what_is_hidden_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let cpu = dir.path().join("sys/devices/system/cpu");
        std::fs::create_dir_all(&cpu).unwrap();
        for name in ["possible", "present", "online", "offline", "isolated"] {
            let text = if matches!(name, "offline" | "isolated") { "\n" } else { "0-1\n" };
            std::io::Write::write_all(&mut std::fs::File::create(cpu.join(name)).unwrap(), text.as_bytes())
                .unwrap();
        }
        let facts = Facts::read(&Root::at(dir.path()), |_| None, |_| ()).unwrap();
        assert_eq!(facts.hostname(), "unknown");
        assert_eq!(facts.is_virtual, None);
        assert_eq!(facts.missing.len(), 4, "{:?}", facts.missing);
    }
}
