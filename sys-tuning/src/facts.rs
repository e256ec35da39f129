//! The machine as the planners see it: read once, before anything is decided.
//!
//! Planning is a pure function of these facts, of what the cells hold, and of the profile. A part of the machine that the
//! kernel does not show is `None` or empty; only a part that is there and cannot be understood is an error.

use host::cgroups::{self, Hierarchy, Version};
use host::cpufreq::{self, Scaling};
use host::cpus::{self, Cpus};
use host::hugepages::{self, PageSize, Pool};
use host::irqs::{self, Line};
use host::numa::{self, Node, NodeId};
use host::{Error, Root, if_present};
use units::{CpuId, CpuSet};

use crate::registry::{Knob, Topic};

/// What was read.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub is_fixture: bool,
    pub cpus: Option<Cpus>,
    /// The sets of hardware threads that share a core, each with more than one.
    pub sibling_groups: Vec<CpuSet>,
    pub irqs: Vec<Line>,
    pub nodes: Vec<Node>,
    pub page_sizes: Vec<PageSize>,
    pub pools: Vec<(NodeId, PageSize, Pool)>,
    pub hierarchies: Vec<Hierarchy>,
    pub scaling: Option<Scaling>,
    /// The period that real-time throttling counts in.
    pub rt_period_us: Option<i64>,
    pub workqueue_requested: bool,
}

impl Facts {
    /// Reads what `knobs` need.
    pub fn read<'k>(root: &Root, knobs: impl Iterator<Item = &'k Knob>) -> Result<Self, Error> {
        let topics: Vec<Topic> = knobs.flat_map(|knob| knob.reads).copied().collect();
        let wants = |topic| topics.contains(&topic);
        let cpus = if_present(Cpus::read(root))?;
        let nodes = if wants(Topic::Nodes) { nodes(root)? } else { Vec::new() };
        let page_sizes = if wants(Topic::Nodes) { hugepages::sizes(root)? } else { Vec::new() };
        let sibling_groups = cpus.as_ref().map_or(Ok(Vec::new()), |cpus| siblings(root, cpus))?;
        Ok(Self {
            is_fixture: !root.is_system(),
            cpus,
            sibling_groups,
            irqs: if wants(Topic::Irqs) {
                if_present(irqs::lines(root))?.unwrap_or_default()
            } else {
                Vec::new()
            },
            pools: pools(root, &nodes, &page_sizes)?,
            nodes,
            page_sizes,
            hierarchies: if wants(Topic::Cgroups) {
                if_present(cgroups::hierarchies(root))?.unwrap_or_default()
            } else {
                Vec::new()
            },
            scaling: if wants(Topic::Cpufreq) { Some(cpufreq::scaling(root)?) } else { None },
            rt_period_us: if_present(host::sysctl::read(root, "kernel.sched_rt_period_us"))?
                .and_then(|text| text.trim().parse().ok()),
            workqueue_requested: root.exists(crate::knobs::wq::REQUESTED),
        })
    }

    /// The CPUs that are on line; none where the kernel does not tell.
    pub fn online(&self) -> CpuSet {
        self.cpus.as_ref().map_or_else(CpuSet::empty, |cpus| cpus.online.clone())
    }

    /// Whether the machine could have this CPU.
    pub fn is_possible(&self, cpu: CpuId) -> bool {
        self.cpus.as_ref().is_some_and(|cpus| cpus.possible.contains(cpu))
    }

    /// One node's pool of huge pages of one size.
    pub fn pool(&self, node: NodeId, size: PageSize) -> Option<Pool> {
        self.pools.iter().find(|(n, s, _)| *n == node && *s == size).map(|(_, _, pool)| *pool)
    }

    /// The hierarchy whose groups have cpusets, if it is of this generation.
    pub fn cpuset_hierarchy(&self, version: Version) -> Option<&Hierarchy> {
        cgroups::with_controller(&self.hierarchies, "cpuset").filter(|hierarchy| hierarchy.version == version)
    }
}

fn siblings(root: &Root, cpus: &Cpus) -> Result<Vec<CpuSet>, Error> {
    let mut groups = Vec::new();
    for cpu in cpus.online.iter() {
        let group = cpus::place(root, cpu)?.map_or_else(CpuSet::empty, |place| place.siblings);
        // Each group once: with its first CPU.
        if group.count() > 1 && group.first() == Some(cpu) {
            groups.push(group);
        }
    }
    Ok(groups)
}

fn nodes(root: &Root) -> Result<Vec<Node>, Error> {
    let ids = if_present(numa::nodes(root))?.unwrap_or_default();
    ids.into_iter().map(|id| numa::node(root, id)).collect()
}

fn pools(root: &Root, nodes: &[Node], sizes: &[PageSize]) -> Result<Vec<(NodeId, PageSize, Pool)>, Error> {
    let mut pools = Vec::new();
    for node in nodes {
        for size in sizes {
            let pool = if_present(hugepages::pool(root, Some(node.id), *size))?;
            pools.extend(pool.map(|pool| (node.id, *size, pool)));
        }
    }
    Ok(pools)
}
