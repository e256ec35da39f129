//! The memory nodes: their CPUs, their memory, and how far apart they are.
//!
//! A kernel without NUMA support shows no nodes at all (`Error::Absent`), which is not the same as one node. Source:
//! Documentation/ABI/stable/sysfs-devices-node.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use units::CpuSet;

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/devices/system/node";

/// One memory node, numbered as the kernel numbers it; written `node0`, as in sysfs and in profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The node's directory in sysfs.
    #[must_use]
    pub fn dir(self) -> String {
        format!("{DIR}/{self}")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("node{}", self.0))
    }
}

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("node").filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits
            .and_then(|digits| digits.parse().ok())
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no memory node, as in node0"))
    }
}

/// One memory node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which one.
    pub id: NodeId,
    /// Its on-line CPUs; none for a node of memory only.
    pub cpus: CpuSet,
    /// Its memory; zero for a node of CPUs only. Memory that the kernel initialises late is not counted yet, so the
    /// nodes may add up to less than the machine.
    pub total_bytes: u64,
    /// Its memory that is used for nothing.
    pub free_bytes: u64,
    /// Its memory that holds pages of files which are on the disk as they are, and which nobody has mapped: the kernel
    /// gives them away when it needs memory, though not all of them at once.
    pub clean_cache_bytes: u64,
    /// Firmware's relative cost of reaching the on-line nodes in ascending order, 10 meaning local.
    pub distances: Vec<u32>,
}

/// The nodes that are on line, ascending.
///
/// # Errors
/// [`Error::Absent`] without NUMA support, [`Error::Read`].
pub fn nodes(root: &Root) -> Result<Vec<NodeId>, Error> {
    let mut nodes: Vec<NodeId> = root.list(DIR)?.iter().filter_map(|name| name.parse().ok()).collect();
    nodes.sort_unstable();
    Ok(nodes)
}

/// The on-line CPUs of the node `id`.
///
/// # Errors
/// [`Error::Absent`] for a node that does not exist, [`Error::Read`], [`Error::Format`].
pub fn cpus(root: &Root, id: NodeId) -> Result<CpuSet, Error> {
    root.parse(&format!("{}/cpulist", id.dir()), text::cpulist)
}

/// How many PCI devices are attached to each node; those without a node (the kernel's -1, as in most virtual machines)
/// are not counted. `None` on a machine without PCI.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "0\n", "-1\n" for unknown   (Documentation/ABI/testing/sysfs-bus-pci, numa_node)
pub fn devices(root: &Root) -> Result<Option<BTreeMap<NodeId, usize>>, Error> {
    const PCI: &str = "/sys/bus/pci/devices";
    let Some(names) = if_present(root.list(PCI))? else { return Ok(None) };
    let mut counts = BTreeMap::new();
    for name in names {
        let node = if_present(root.parse_attribute(&format!("{PCI}/{name}/numa_node"), text::number::<i32>))?;
        if let Some(node) = node.and_then(|node| u16::try_from(node).ok()) {
            *counts.entry(NodeId(node)).or_default() += 1;
        }
    }
    Ok(Some(counts))
}

/// The node `id` as it is now.
///
/// # Errors
/// [`Error::Absent`] for a node that does not exist, [`Error::Read`], [`Error::Format`].
pub fn node(root: &Root, id: NodeId) -> Result<Node, Error> {
    let dir = id.dir();
    let memory = root.parse(&format!("{dir}/meminfo"), |text| parse_meminfo(text, id))?;
    Ok(Node {
        id,
        cpus: root.parse(&format!("{dir}/cpulist"), text::cpulist)?,
        total_bytes: memory.total_bytes,
        free_bytes: memory.free_bytes,
        clean_cache_bytes: memory.clean_cache_bytes,
        distances: root.parse(&format!("{dir}/distance"), parse_distances)?,
    })
}

/// A node's memory.
#[derive(Debug, PartialEq, Eq)]
struct NodeMemory {
    total_bytes: u64,
    free_bytes: u64,
    clean_cache_bytes: u64,
}

// Format: "Node 0 MemTotal:        5073100 kB"   (Documentation/ABI/stable/sysfs-devices-node, nodeX/meminfo)
fn parse_meminfo(text: &str, id: NodeId) -> Result<NodeMemory, Malformed> {
    let prefix = format!("Node {} ", id.0);
    let plain: String =
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(|line| format!("{line}\n")).collect();
    let known = |key| Ok::<u64, Malformed>(text::field_kib(&plain, key)?.unwrap_or(0));
    // Lists of file pages hold no shared memory; what is mapped may, so that this errs to the safe side.
    let cached = known("Active(file)")?.saturating_add(known("Inactive(file)")?);
    let busy = known("Dirty")?.saturating_add(known("Writeback")?).saturating_add(known("Mapped")?);
    Ok(NodeMemory {
        total_bytes: text::required_kib(&plain, "MemTotal")?,
        free_bytes: text::required_kib(&plain, "MemFree")?,
        clean_cache_bytes: cached.saturating_sub(busy),
    })
}

// Format: "10 20\n"   (Documentation/ABI/stable/sysfs-devices-node, nodeX/distance)
fn parse_distances(text: &str) -> Result<Vec<u32>, Malformed> {
    text.split_ascii_whitespace().map(text::number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        assert_eq!("node12".parse(), Ok(NodeId(12)));
        assert_eq!(NodeId(12).to_string(), "node12");
        for bad in ["node", "node-1", "node+1", "12", "node1x", "node99999"] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?} was taken for a node");
        }
    }

    /// A node's file by these lines: its total, free and clean cached kibibytes.
    #[track_caller]
    fn check(lines: &[&str], expected: Result<(u64, u64, u64), &str>) {
        let text: String = lines.iter().map(|line| format!("Node 1 {line} kB\n")).collect();
        let kib = |bytes: u64| bytes >> 10;
        let told = parse_meminfo(&text, NodeId(1))
            .map(|memory| (kib(memory.total_bytes), kib(memory.free_bytes), kib(memory.clean_cache_bytes)));
        assert_eq!(told.map_err(|malformed| malformed.problem), expected.map_err(str::to_owned));
    }

    #[test]
    fn what_of_a_node_is_file_cache_that_can_go() {
        let (total, free) = ("MemTotal: 900", "MemFree: 100");
        check(&[total, free], Ok((900, 100, 0)));
        check(&[total, free, "Active(file): 30", "Inactive(file): 40"], Ok((900, 100, 70)));
        let all = ["Active(file): 30", "Inactive(file): 40", "Dirty: 8", "Writeback: 2", "Mapped: 10"];
        check(&[&[total, free], &all[..]].concat(), Ok((900, 100, 50)));
        check(&[total, free, "Inactive(file): 5", "Mapped: 10"], Ok((900, 100, 0))); // shared memory is mapped too
        check(&[free], Err("the file has no line \"MemTotal\""));
    }
}
