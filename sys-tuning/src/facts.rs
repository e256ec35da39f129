//! The machine as the planners see it: read once, before anything is decided.
//!
//! Planning is a pure function of these facts, of what the cells hold, and of the profile. A part of the machine that the
//! kernel does not show is `None` or empty; only a part that is there and cannot be understood is an error.

mod caches;
mod power;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use host::affinity::{self, Reaching};
use host::cgroups::{self, Hierarchy, Version};
use host::clocksource::Clocksource;
use host::cpufreq::{self, Scaling};
use host::cpus::{self, Cpus};
use host::hugepages::{self, PageSize, Pool};
use host::irqs::{self, Line, Place};
use host::numa::{self, Node, NodeId};
use host::scheduling::{self, KernelThread};
use host::swaps::{self, Area};
use host::workqueues::{self, Queue};
use host::{Error, Root, if_present, rt};
use units::{CpuId, CpuSet, Irq, Nanos};

use crate::boot::BootFacts;
use crate::headroom::Floor;
use crate::interfaces::Network;
use crate::knobs::memory::sizes_of_their_own;
use crate::registry::{Knob, Topic, pattern};

pub(crate) use caches::CacheFacts;
pub(crate) use power::{IdleFacts, KernelFacts, PowerFacts};

/// What was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub is_fixture: bool,
    pub cpus: Option<Cpus>,
    /// The sets of hardware threads that share a core, each with more than one: of the CPUs that were asked for.
    pub sibling_groups: Vec<CpuSet>,
    pub irqs: Vec<Line>,
    /// Where those go that cannot be moved.
    pub irq_places: BTreeMap<Irq, Place>,
    pub irqs_by_name: OnceCell<HashMap<String, usize>>,
    pub nodes: Vec<Node>,
    pub page_sizes: Vec<PageSize>,
    pub pools: Vec<(NodeId, PageSize, Pool)>,
    /// What each node keeps: as the profile says, else the default.
    pub floor: Floor,
    /// What the kernel keeps free for itself now, in KiB.
    pub min_free_kib: Option<u64>,
    /// Sizes of transparent huge pages with a word of their own that makes some, whatever the common one says.
    pub huge_sizes: Vec<String>,
    pub hierarchies: Vec<Hierarchy>,
    /// CPUs that cgroup partitions keep out of everybody else's scheduling; `None` on kernels that do not tell.
    pub partitioned: Option<CpuSet>,
    pub scaling: Option<Scaling>,
    pub power: PowerFacts,
    pub idle: IdleFacts,
    pub kernel: KernelFacts,
    pub caches: Option<CacheFacts>,
    /// The kernel's threads of a CPU or of an interrupt.
    pub kernel_threads: Vec<KernelThread>,
    /// The period that real-time throttling counts in.
    pub rt_period_us: Option<i64>,
    /// The CPUs on which the fair server is seen to leave ordinary threads a share.
    pub fair_served: Option<CpuSet>,
    /// The memory nodes that devices are attached to, with how many there are and the nodes' CPUs.
    pub device_nodes: Vec<DeviceNode>,
    pub workqueue_requested: bool,
    pub queues: Vec<Queue>,
    /// The threads that may use CPUs they are to be kept off; read for planning only.
    pub reaching: Reaching,
    /// The boot loader and what stands on its line of ours.
    pub boot: Option<BootFacts>,
    /// The clock source, and what it could be.
    pub clocksource: Option<Clocksource>,
    /// The identities of the files of each pattern.
    pub files: BTreeMap<&'static str, Vec<String>>,
    /// The areas that are swapped to; `None` on a kernel that cannot swap.
    pub swaps: Option<Vec<Area>>,
    /// The network interfaces, and what of their drivers was asked for.
    pub network: Network,
    pub problems: Vec<(Topic, String)>,
}

/// A memory node with devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    pub id: NodeId,
    pub devices: usize,
    pub cpus: CpuSet,
}

/// What could not be read.
#[derive(Default)]
struct Problems {
    list: Vec<(Topic, String)>,
}

impl Problems {
    /// The value; its default when it could not be had.
    fn note<T: Default>(&mut self, topic: Topic, read: Result<T, Error>) -> T {
        read.unwrap_or_else(|error| {
            self.list.push((topic, error.to_string()));
            T::default()
        })
    }
}

impl Facts {
    /// Reads what `knobs` need. Never fails as a whole: what cannot be understood is a problem of the knobs that need it,
    /// and must not keep the others from being planned or, above all, put back.
    pub fn read<'k>(root: &Root, knobs: impl Iterator<Item = &'k Knob>) -> Self {
        let knobs: Vec<&Knob> = knobs.collect();
        let wants = |topic| knobs.iter().any(|knob| knob.reads(topic));
        let mut problems = Problems::default();
        let cpus = problems.note(Topic::Cpus, if_present(Cpus::read(root)));
        let hierarchies = problems.note(Topic::Cgroups, if_present(cgroups::hierarchies(root)));
        let mut facts = Self {
            is_fixture: !root.is_live(),
            partitioned: problems.note(Topic::Cgroups, partitioned(root, hierarchies.as_ref())),
            hierarchies: hierarchies.unwrap_or_default(),
            rt_period_us: rt_period_us(root),
            fair_served: cpus
                .as_ref()
                .filter(|_| wants(Topic::FairServer))
                .map(|cpus| fair_served(root, cpus)),
            device_nodes: problems.note(Topic::Cpus, device_nodes(root)),
            workqueue_requested: root.exists(crate::knobs::isolation::wq::REQUESTED),
            cpus,
            ..Self::default()
        };
        if wants(Topic::Irqs) {
            facts.irqs = problems.note(Topic::Irqs, if_present(irqs::lines(root))).unwrap_or_default();
            for line in facts.irqs.iter().filter(|line| line.immovable) {
                let place = problems.note(Topic::Irqs, if_present(Place::read(root, line.irq)));
                facts.irq_places.extend(place.map(|place| (line.irq, place)));
            }
        }
        if wants(Topic::Network) {
            facts.network = problems.note(Topic::Network, Network::read(root));
        }
        if wants(Topic::Workqueues) {
            facts.queues =
                problems.note(Topic::Workqueues, if_present(workqueues::queues(root))).unwrap_or_default();
        }
        if wants(Topic::Cpufreq) {
            facts.scaling = problems.note(Topic::Cpufreq, cpufreq::scaling(root).map(Some));
        }
        if wants(Topic::Power) {
            facts.power = problems.note(Topic::Power, PowerFacts::read(root, facts.cpus.as_ref()));
        }
        if wants(Topic::Idle) {
            facts.idle = problems.note(Topic::Idle, IdleFacts::read(root, facts.cpus.as_ref()));
        }
        if wants(Topic::Kernel) {
            facts.kernel = problems.note(Topic::Kernel, KernelFacts::read(root));
        }
        if wants(Topic::Caches) {
            facts.caches =
                problems.note(Topic::Caches, CacheFacts::read(root, facts.cpus.as_ref()).map(Some));
        }
        if wants(Topic::KernelThreads) {
            let of_something = |name: &str| name.contains('/');
            let threads = if_present(scheduling::kernel_threads(root, of_something));
            facts.kernel_threads = problems.note(Topic::KernelThreads, threads).unwrap_or_default();
        }
        if wants(Topic::Nodes) {
            facts.min_free_kib = min_free_kib(root);
            facts.nodes = problems.note(Topic::Nodes, nodes(root));
            facts.page_sizes = problems.note(Topic::Nodes, hugepages::sizes(root));
            facts.pools = pools(root, &facts.nodes, &facts.page_sizes, &mut problems);
        }
        if wants(Topic::HugeSizes) {
            facts.huge_sizes = sizes_of_their_own(root);
        }
        if wants(Topic::Boot) {
            facts.boot = problems.note(Topic::Boot, BootFacts::read(root).map(Some));
        }
        if wants(Topic::Swaps) {
            facts.swaps = problems.note(Topic::Swaps, if_present(swaps::areas(root)));
        }
        if wants(Topic::Clock) {
            facts.clocksource = problems.note(Topic::Clock, if_present(Clocksource::read(root)));
        }
        for pattern in knobs.iter().flat_map(|knob| knob.patterns()) {
            let files = problems.note(Topic::Files, pattern::find(root, pattern));
            facts.files.insert(pattern, files);
        }
        facts.problems = problems.list;
        facts
    }

    /// Reads the threads that may use one of `cpus`: not with the rest, because which CPUs those are is told by the rest,
    /// and because it costs more than everything else together.
    pub fn read_tasks(&mut self, root: &Root, cpus: &CpuSet) {
        match affinity::reaching(root, cpus) {
            Ok(reaching) => self.reaching = reaching,
            Err(error) => self.problems.push((Topic::Tasks, error.to_string())),
        }
    }

    /// Reads the cores of `cpus`: not with the rest, because it is one file a CPU, and for most profiles the isolated ones
    /// are enough.
    pub fn read_siblings(&mut self, root: &Root, cpus: &CpuSet) {
        match siblings(root, cpus) {
            Ok(groups) => self.sibling_groups = groups,
            Err(error) => self.problems.push((Topic::Cpus, error.to_string())),
        }
    }

    /// Why a knob cannot be planned: something it needs to know could not be read or understood.
    pub fn problem(&self, knob: &Knob) -> Option<&str> {
        let concerns = |(topic, _): &&(Topic, String)| knob.reads(*topic);
        self.problems.iter().find(concerns).map(|(_, problem)| problem.as_str())
    }

    /// The CPUs that are on line; none where the kernel does not tell.
    pub fn online(&self) -> CpuSet {
        self.cpus.as_ref().map_or_else(CpuSet::empty, |cpus| cpus.online.clone())
    }

    /// Whether the machine could have this CPU.
    pub fn is_possible(&self, cpu: CpuId) -> bool {
        self.cpus.as_ref().is_some_and(|cpus| cpus.possible.contains(cpu))
    }

    /// Whether the fair server leaves ordinary threads of this CPU a share, as far as was seen.
    pub fn is_fair_served(&self, cpu: CpuId) -> bool {
        self.fair_served.as_ref().is_some_and(|cpus| cpus.contains(cpu))
    }

    /// Whether the pattern has a file of this identity.
    pub fn has_file(&self, pattern: &str, identity: &str) -> bool {
        self.files.get(pattern).is_some_and(|files| files.iter().any(|known| known == identity))
    }

    /// The interrupt of this name. A look-up: a machine has hundreds, and each is looked for.
    pub fn irq(&self, identity: &str) -> Option<&Line> {
        let by_name = self.irqs_by_name.get_or_init(|| {
            self.irqs.iter().enumerate().map(|(index, line)| (line.identity.to_string(), index)).collect()
        });
        self.irqs.get(*by_name.get(identity)?)
    }

    /// One node's pool of huge pages of one size.
    pub fn pool(&self, node: NodeId, size: PageSize) -> Option<Pool> {
        self.pools.iter().find(|(n, s, _)| *n == node && *s == size).map(|(_, _, pool)| *pool)
    }

    /// Whether the node and the size exist.
    pub fn has_pool(&self, node: NodeId, size: PageSize) -> bool {
        self.nodes.iter().any(|known| known.id == node) && self.page_sizes.contains(&size)
    }

    /// Whether the kernel can keep CPUs out of its scheduling by cgroup partitions here.
    pub fn has_partitions(&self) -> bool {
        self.cpuset_hierarchy(Version::V2).is_some()
    }

    /// The hierarchy whose groups have cpusets, if it is of this generation.
    pub fn cpuset_hierarchy(&self, version: Version) -> Option<&Hierarchy> {
        cgroups::with_controller(&self.hierarchies, "cpuset").filter(|hierarchy| hierarchy.version == version)
    }
}

/// The groups of more than one, by their first CPU. What one thread of a core tells holds for the others.
fn siblings(root: &Root, cpus: &CpuSet) -> Result<Vec<CpuSet>, Error> {
    let (mut groups, mut told) = (Vec::new(), CpuSet::empty());
    for cpu in cpus.iter() {
        if told.contains(cpu) {
            continue;
        }
        let group = cpus::siblings(root, cpu)?.unwrap_or_else(CpuSet::empty);
        if group.count() > 1 {
            told = told.union(&group);
            groups.push(group);
        }
    }
    groups.sort_by_key(CpuSet::first);
    Ok(groups)
}

fn partitioned(root: &Root, hierarchies: Option<&Vec<Hierarchy>>) -> Result<Option<CpuSet>, Error> {
    let unified = hierarchies.into_iter().flatten().find(|hierarchy| hierarchy.version == Version::V2);
    unified.map_or(Ok(None), |hierarchy| cgroups::isolated(root, hierarchy))
}

/// Not seen, for want of rights or of the server, is not served: it is used only to waive a danger.
fn fair_served(root: &Root, cpus: &Cpus) -> CpuSet {
    let is_served = |cpu: &CpuId| rt::fair_server_runtime(root, *cpu).is_ok_and(|time| time > Nanos::ZERO);
    cpus.online.iter().filter(is_served).collect()
}

fn device_nodes(root: &Root) -> Result<Vec<DeviceNode>, Error> {
    let counts = numa::devices(root)?.unwrap_or_default().into_iter();
    counts
        .map(|(id, devices)| {
            let cpus = if_present(numa::cpus(root, id))?.unwrap_or_else(CpuSet::empty);
            Ok(DeviceNode { id, devices, cpus })
        })
        .collect()
}

/// Only for a check before the kernel makes it, so that not knowing is no problem.
fn rt_period_us(root: &Root) -> Option<i64> {
    host::sysctl::read(root, "kernel.sched_rt_period_us").ok()?.trim().parse().ok()
}

/// Only to tell what a larger one would take, so that not knowing counts it whole.
fn min_free_kib(root: &Root) -> Option<u64> {
    host::sysctl::read(root, "vm.min_free_kbytes").ok()?.trim().parse().ok()
}

fn nodes(root: &Root) -> Result<Vec<Node>, Error> {
    let ids = if_present(numa::nodes(root))?.unwrap_or_default();
    ids.into_iter().map(|id| numa::node(root, id)).collect()
}

fn pools(
    root: &Root,
    nodes: &[Node],
    sizes: &[PageSize],
    problems: &mut Problems,
) -> Vec<(NodeId, PageSize, Pool)> {
    let mut pools = Vec::new();
    for node in nodes {
        for size in sizes {
            let pool = if_present(hugepages::pool(root, Some(node.id), *size));
            let pool = problems.note(Topic::Nodes, pool);
            pools.extend(pool.map(|pool| (node.id, *size, pool)));
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of `cpus` on a machine of two cores with two threads each, where nothing is to be read of CPU 0.
    #[track_caller]
    fn check(asked: &str, expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for (cpu, core) in [(1, "1,3"), (2, "0,2"), (3, "1,3"), (4, "4")] {
            let folder = dir.path().join(format!("sys/devices/system/cpu/cpu{cpu}/topology"));
            std::fs::create_dir_all(&folder).unwrap();
            let mut file = std::fs::File::create(folder.join("thread_siblings_list")).unwrap();
            std::io::Write::write_all(&mut file, format!("{core}\n").as_bytes()).unwrap();
        }
        let mut facts = Facts::default();
        facts.read_siblings(&Root::at(dir.path()), &asked.parse().unwrap());
        let told: Vec<String> = facts.sibling_groups.iter().map(CpuSet::to_string).collect();
        assert_eq!(told, expected, "{asked}");
        assert!(facts.problems.is_empty());
    }

    #[test]
    fn cores_are_told_of_the_cpus_that_were_asked_for() {
        check("", &[]);
        check("3", &["1,3"]);
        check("1-3", &["0,2", "1,3"]); // by their first CPU, each once
        check("4", &[]); // a core of its own
        check("0", &[]); // off line: it shares with nobody
    }
}
