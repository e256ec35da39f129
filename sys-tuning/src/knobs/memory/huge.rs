//! Huge pages held for the application, by memory node and size.
//!
//! The most dangerous knob: the kernel takes whatever is asked for, one write that asks too much has taken a machine
//! down, and one that finds too little reports success. So a request is budgeted from the node's memory (`guard`) before it
//! is planned, made in steps that check the head-room again, and read back; less than was asked for is a failure that is
//! undone. Source: Documentation/admin-guide/mm/hugetlbpage.rst.

use host::hugepages::PageSize;
use host::numa::NodeId;

use crate::cell::{self, Cell};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Value, Wanted};
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

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if scope.facts.nodes.is_empty() {
        return draft.not_applicable(wanted, "this kernel shows no memory nodes");
    }
    for (name, setting) in &wanted.settings {
        let (Ok(size), Value::Nodes(counts)) = (name.parse::<PageSize>(), &setting.value) else { continue };
        if !scope.facts.page_sizes.contains(&size) {
            draft.not_applicable(wanted, format!("this machine has no huge pages of {size}"));
            continue;
        }
        for (node, pages) in counts {
            match scope.facts.pool(*node, size) {
                Some(_) => draft.wish(scope, wanted, name, &node.to_string(), pages.to_string()),
                None if scope.facts.nodes.iter().any(|known| known.id == *node) => {
                    draft.not_applicable(wanted, format!("{node} has no pool of huge pages of {size}"));
                }
                None => draft.mistake(setting, &unknown_node(scope.facts, *node)),
            }
        }
    }
}

fn unknown_node(facts: &Facts, node: NodeId) -> String {
    let known: Vec<String> = facts.nodes.iter().map(|node| node.id.to_string()).collect();
    format!("mem.huge: {node} does not exist; this machine has {}", known.join(", "))
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let (size, node) = (attribute.parse().ok()?, identity.parse().ok()?);
    facts.has_pool(node, size).then(|| cell::pages(node, size, facts.floor))
}
