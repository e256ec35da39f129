//! A cgroup v1 cpuset that holds the application's CPUs, where the controller is in a v1 hierarchy.
//!
//! With `balance = false` it is the fall-back for a v2 partition: the scheduler balances load within every set that has
//! `sched_load_balance`, the root's set first, so the root's is switched off, the other CPUs get a set of their own that
//! keeps theirs, and the application's set has none. Any other set that overlaps and balances undoes it, and is named. A
//! group made by quell is removed by the undo; one that was there keeps its original values. Who runs in the group is not
//! quell's business, and a group with tasks in it is not removed. Source:
//! Documentation/admin-guide/cgroup-v1/cpusets.rst, 1.7; cluster-node-tuning-operator, cpuset-configure.sh.

use host::cgroups::{Hierarchy, Version};
use units::CpuSet;

use crate::cell::{Cell, Effect, Form, PRESENT};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::group::GroupPath;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

/// The group, unless the profile names another.
pub(crate) const GROUP: &str = "quell";

/// The set of the CPUs that stay balanced.
const HOUSEKEEPING: &str = "quell-housekeeping";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.cpuset1",
    group: Group::Isolation,
    doc: "a group whose tasks run on these CPUs only, on request out of the scheduler's load balancing (cgroup v1)",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs of the group"),
        Attribute::new(
            "balance",
            Kind::Flag,
            "false: no load balancing among these CPUs, as isolcpus=domain; the others are balanced in a set of their own",
        ),
        Attribute::new("group", Kind::Group, "the group's name; quell unless given"),
    ],
    source: "cluster-node-tuning-operator, cpuset-configure.sh",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("the group is not there"),
    effect: "cpuset.effective_cpus equals the wanted CPUs; with balance = false no other set that overlaps them balances",
    undo: "a group is removed if quell made it, else its original CPUs, nodes and balancing are written",
    paths: &[
        "/sys/fs/cgroup/cpuset/{group}",
        "/sys/fs/cgroup/cpuset/{group}/cpuset.cpus",
        "/sys/fs/cgroup/cpuset/{group}/cpuset.mems",
        "/sys/fs/cgroup/cpuset/{group}/cpuset.sched_load_balance",
        "/sys/fs/cgroup/cpuset/cpuset.sched_load_balance",
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
    wish_group(scope, wanted, draft, &group, &cpus);
    let Some(balance) = wanted.text("balance") else { return };
    let others = scope.roles.online.difference(&cpus);
    if balance == "0" && others.is_empty() {
        let reason = format!("CPU {cpus} without balancing leaves no CPU that is balanced");
        return draft.danger(KNOB.id, false, reason);
    }
    if balance == "0" {
        wish_group(scope, wanted, draft, HOUSEKEEPING, &others);
        draft.wish(scope, wanted, "balance", HOUSEKEEPING, "1".to_owned());
    }
    // The root's first: as long as its set balances, the others' switches have no effect to be seen.
    draft.wish(scope, wanted, "balance", "", balance.clone());
    draft.wish(scope, wanted, "balance", &group, balance);
}

fn wish_group(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, group: &str, cpus: &CpuSet) {
    draft.wish(scope, wanted, "group", group, PRESENT.to_owned());
    draft.wish(scope, wanted, "cpus", group, cpus.to_string());
    draft.wish(scope, wanted, "mems", group, nodes(scope.facts));
}

/// Every memory node: a cpuset without any cannot hold a task. Nodes are listed as CPUs are.
fn nodes(facts: &Facts) -> String {
    let nodes: CpuSet = facts.nodes.iter().map(|node| units::CpuId(node.id.0)).collect();
    if nodes.is_empty() { "0".to_owned() } else { nodes.to_string() }
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let hierarchy = facts.cpuset_hierarchy(Version::V1)?;
    if (attribute, identity) == ("balance", "") {
        return Some(Cell::plain(format!("{}/cpuset.sched_load_balance", hierarchy.mount), Form::Number));
    }
    let dir = group_dir(hierarchy, identity)?;
    let inside = |name: &str, form| Cell {
        lives_in: Some(dir.clone()),
        ..Cell::plain(format!("{dir}/cpuset.{name}"), form)
    };
    match attribute {
        "group" => Some(Cell::plain(dir, Form::Directory)),
        "cpus" => Some(Cell {
            effect: Effect::ListEquals(format!("{dir}/cpuset.effective_cpus")),
            ..inside("cpus", Form::CpuList)
        }),
        "mems" => Some(inside("mems", Form::CpuList)),
        "balance" => Some(Cell {
            effect: Effect::Unbalanced { tree: hierarchy.mount.clone(), group: dir.clone() },
            ..inside("sched_load_balance", Form::Number)
        }),
        _ => None,
    }
}

/// The directory of a group, by its path below the hierarchy's root.
pub(crate) fn group_dir(hierarchy: &Hierarchy, path: &str) -> Option<String> {
    let path: GroupPath = path.parse().ok()?;
    Some(hierarchy.dir(path.name()))
}
