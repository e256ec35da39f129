//! A cgroup v1 cpuset that holds the application's CPUs, where the controller is in a v1 hierarchy.
//!
//! A group made by quell is removed by the undo; one that was there keeps its original CPUs and nodes. Who runs in the
//! group is not quell's business, and a group with tasks in it is not removed. Source:
//! Documentation/admin-guide/cgroup-v1/cpusets.rst.

use host::cgroups::{Hierarchy, Version};
use units::CpuSet;

use crate::cell::{Cell, Effect, Form, PRESENT};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

/// The group, unless the profile names another.
pub(crate) const GROUP: &str = "quell";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.cpuset1",
    group: Group::Isolation,
    doc: "a group whose tasks run on these CPUs only (cgroup v1)",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs of the group"),
        Attribute::new("group", Kind::Name, "the group's name; quell unless given"),
    ],
    source: "cluster-node-tuning-operator, cpuset-configure.sh",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("the group is not there"),
    effect: "cpuset.effective_cpus equals the wanted CPUs",
    undo: "the group is removed if quell made it, else its original CPUs and nodes are written",
    paths: &[
        "/sys/fs/cgroup/cpuset/{group}",
        "/sys/fs/cgroup/cpuset/{group}/cpuset.cpus",
        "/sys/fs/cgroup/cpuset/{group}/cpuset.mems",
    ],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Cgroups, Topic::Nodes],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if scope.facts.cpuset_hierarchy(Version::V1).is_none() {
        let reason = match scope.facts.cpuset_hierarchy(Version::V2) {
            Some(hierarchy) => format!("cpusets are cgroup v2 here ({}): see iso.cpuset2", hierarchy.mount),
            None => "no cpuset controller is mounted".to_owned(),
        };
        return draft.not_applicable(wanted, reason);
    }
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let group = wanted.text("group").unwrap_or_else(|| GROUP.to_owned());
    draft.wish(scope, wanted, "group", &group, PRESENT.to_owned());
    draft.wish(scope, wanted, "cpus", &group, cpus.to_string());
    draft.wish(scope, wanted, "mems", &group, nodes(scope.facts));
}

/// Every memory node: a cpuset without any cannot hold a task. Nodes are listed as CPUs are.
fn nodes(facts: &Facts) -> String {
    let nodes: CpuSet = facts.nodes.iter().map(|node| units::CpuId(node.id.0)).collect();
    if nodes.is_empty() { "0".to_owned() } else { nodes.to_string() }
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let dir = group_dir(facts.cpuset_hierarchy(Version::V1)?, identity)?;
    let inside = |name: &str| Cell {
        lives_in: Some(dir.clone()),
        ..Cell::plain(format!("{dir}/cpuset.{name}"), Form::CpuList)
    };
    match attribute {
        "group" => Some(Cell::plain(dir, Form::Directory)),
        "cpus" => Some(Cell {
            effect: Effect::ListEquals(format!("{dir}/cpuset.effective_cpus")),
            ..inside("cpus")
        }),
        "mems" => Some(inside("mems")),
        _ => None,
    }
}

/// The directory of a group right below the hierarchy's root.
pub(crate) fn group_dir(hierarchy: &Hierarchy, name: &str) -> Option<String> {
    let name: units::Name = name.parse().ok()?;
    Some(hierarchy.dir(&name.as_str().parse().ok()?))
}
