//! Huge pages held for the application, by memory node and size.
//!
//! The most dangerous knob: the kernel takes whatever is asked for, one write that asks too much has taken a machine
//! down, and one that finds too little reports success. So a request is budgeted from the node's free memory before it is
//! planned, made in steps that check the head-room again, and read back; less than was asked for is a failure that is
//! undone. Source: Documentation/admin-guide/mm/hugetlbpage.rst.

use host::hugepages::PageSize;
use host::numa::{Node, NodeId};

use crate::cell::{self, Cell};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Setting, Value, Wanted};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

/// 4 Mi pages of 2 MiB are 8 TiB; beyond it is a slip.
const PAGES_MAX: i64 = 4 << 20;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.huge",
    group: Group::Memory,
    doc: "memory on huge pages needs few entries of the translation cache and is never swapped",
    attributes: &[
        Attribute::new("2M", Kind::Nodes { max: PAGES_MAX }, "pages of 2 MiB to hold on each node"),
        Attribute::new("1G", Kind::Nodes { max: PAGES_MAX }, "pages of 1 GiB to hold on each node"),
    ],
    source: "as the application needs: rigtorp.se, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Memory,
    absence: Absence::NotApplicable("this kernel has no such pool of huge pages"),
    effect: "the node's count, read back after every step",
    undo: "the original count is written; pages in use go when their owner frees them",
    paths: &["/sys/devices/system/node/node{node}/hugepages/hugepages-{size}kB/nr_hugepages"],
    side_effects: &[],
    reads: &[Topic::Nodes],
    wish,
    locate,
};

/// Free memory of a node that is never given to huge pages: a tenth of it, and at least a gibibyte.
pub(crate) fn floor_bytes(node: &Node) -> u64 {
    (node.total_bytes / 10).max(1 << 30)
}

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if scope.facts.nodes.is_empty() {
        return draft.not_applicable(wanted, "this kernel shows no memory nodes");
    }
    let asked = asked(scope.facts, wanted, draft);
    for node in &scope.facts.nodes {
        let of_node: Vec<&Asked<'_>> = asked.iter().filter(|asked| asked.node == node.id).collect();
        if let Some(refusal) = refusal(node, &of_node) {
            draft.danger(KNOB.id, false, refusal);
            continue;
        }
        for Asked { size, pages, .. } in of_node {
            draft.wish(scope, wanted, &size.to_string(), &node.id.to_string(), pages.to_string());
        }
    }
}

/// One number of a profile.
struct Asked<'w> {
    node: NodeId,
    size: PageSize,
    pages: u64,
    held: u64,
    setting: &'w Setting,
}

fn asked<'w>(facts: &Facts, wanted: &'w Wanted, draft: &mut Draft) -> Vec<Asked<'w>> {
    let mut list = Vec::new();
    for (name, setting) in &wanted.settings {
        let (Ok(size), Value::Nodes(counts)) = (name.parse::<PageSize>(), &setting.value) else { continue };
        if !facts.page_sizes.contains(&size) {
            draft.not_applicable(wanted, format!("this machine has no huge pages of {size}"));
            continue;
        }
        for (node, pages) in counts {
            match facts.pool(*node, size) {
                Some(pool) => list.push(Asked { node: *node, size, pages: *pages, held: pool.nr, setting }),
                None => draft.mistake(setting, &unknown_node(facts, *node)),
            }
        }
    }
    list
}

fn unknown_node(facts: &Facts, node: NodeId) -> String {
    let known: Vec<String> = facts.nodes.iter().map(|node| node.id.to_string()).collect();
    format!("mem.huge: {node} does not exist; this machine has {}", known.join(", "))
}

/// Why the node cannot give this much, with the arithmetic.
fn refusal(node: &Node, asked: &[&Asked<'_>]) -> Option<String> {
    let grown =
        |asked: &&Asked<'_>| asked.pages.saturating_sub(asked.held).saturating_mul(asked.size.bytes());
    let growth = asked.iter().map(grown).fold(0, u64::saturating_add);
    let floor = floor_bytes(node);
    let spare = node.free_bytes.saturating_sub(floor);
    if growth <= spare {
        return None;
    }
    let pages: Vec<String> = asked
        .iter()
        .map(|asked| {
            format!("{} × {} (held: {}; {})", asked.pages, asked.size, asked.held, asked.setting.place)
        })
        .collect();
    Some(format!(
        "{}: {} would take {} MiB more; {} MiB are free, {} MiB of them stay free (a tenth, at least 1 GiB), so at most \
         {} MiB can be given",
        node.id,
        pages.join(" and "),
        growth >> 20,
        node.free_bytes >> 20,
        floor >> 20,
        spare >> 20
    ))
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let (size, node) = (attribute.parse().ok()?, identity.parse().ok()?);
    facts.has_pool(node, size).then(|| cell::pages(node, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use units::CpuSet;

    /// A node of `total` MiB with `free` MiB, asked for `pages` of 2 MiB.
    #[track_caller]
    fn check(total: u64, free: u64, pages: u64, held: u64, expected: &str) {
        let (id, size) = (NodeId(0), PageSize::M2);
        let node = Node {
            id,
            cpus: CpuSet::empty(),
            total_bytes: total << 20,
            free_bytes: free << 20,
            distances: Vec::new(),
        };
        let setting = Setting { value: Value::Nodes(vec![(id, pages)]), place: "p:1".to_owned() };
        let refused = refusal(&node, &[&Asked { node: id, size, pages, held, setting: &setting }]);
        assert_eq!(refused.as_deref().unwrap_or("given"), expected);
    }

    #[test]
    fn the_budget() {
        check(20_480, 10_000, 512, 0, "given");
        check(20_480, 3_072, 512, 0, "given"); // exactly down to the floor of 2048 MiB
        check(
            20_480,
            3_072,
            513,
            0,
            "node0: 513 × 2M (held: 0; p:1) would take 1026 MiB more; 3072 MiB are free, 2048 MiB of them stay free \
             (a tenth, at least 1 GiB), so at most 1024 MiB can be given",
        );
        check(20_480, 100, 512, 512, "given"); // held already
        check(20_480, 100, 0, 512, "given"); // giving back needs nothing
        check(
            1_024,
            900,
            100_000,
            0,
            "node0: 100000 × 2M (held: 0; p:1) would take 200000 MiB more; 900 MiB are free, 1024 MiB of them stay \
             free (a tenth, at least 1 GiB), so at most 0 MiB can be given",
        );
    }
}
