//! A cgroup v2 cpuset partition: the run-time replacement of `isolcpus=`.
//!
//! Every write succeeds here even where its effect is refused; the truth is the partition's text, which then reads
//! "isolated invalid (reason)". Source: Documentation/admin-guide/cgroup-v2.rst, "Cpuset Interface Files".

use host::cgroups::Version;

use super::cpuset1::{GROUP, group_dir};
use crate::cell::{Cell, Effect, Form, PRESENT};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.cpuset2",
    group: Group::Isolation,
    doc: "takes CPUs out of everybody else's scheduling at run time (cgroup v2)",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs of the group"),
        Attribute::new(
            "partition",
            Kind::Choice(&["member", "root", "isolated"]),
            "isolated: no load balancing among them; root: balanced apart from the others; member: shared",
        ),
        Attribute::new("group", Kind::Name, "the group's name; quell unless given"),
    ],
    source: "isolated: Documentation/admin-guide/cgroup-v2.rst (\"strongly advised\" over isolcpus)",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("the group is not there"),
    effect: "cpuset.cpus.partition reads as wanted, without \"invalid\", and cpuset.cpus.effective equals the CPUs",
    undo: "the group is removed if quell made it, else its original partition and CPUs are written",
    paths: &[
        "/sys/fs/cgroup/cgroup.subtree_control",
        "/sys/fs/cgroup/{group}",
        "/sys/fs/cgroup/{group}/cpuset.cpus",
        "/sys/fs/cgroup/{group}/cpuset.cpus.partition",
    ],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Cgroups],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if scope.facts.cpuset_hierarchy(Version::V2).is_none() {
        let reason = match scope.facts.cpuset_hierarchy(Version::V1) {
            Some(hierarchy) => format!("cpusets are cgroup v1 here ({}): see iso.cpuset1", hierarchy.mount),
            None => "no cpuset controller is mounted".to_owned(),
        };
        return draft.not_applicable(wanted, reason);
    }
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let partition = wanted.text("partition").unwrap_or_else(|| "member".to_owned());
    if partition != "member" && scope.roles.online.is_subset(&cpus) {
        let reason = format!("a partition of CPU {cpus} leaves no CPU to anything else");
        return draft.danger(KNOB.id, false, reason);
    }
    let group = wanted.text("group").unwrap_or_else(|| GROUP.to_owned());
    draft.wish(scope, wanted, "controller", "", "on".to_owned());
    draft.wish(scope, wanted, "group", &group, PRESENT.to_owned());
    draft.wish(scope, wanted, "cpus", &group, cpus.to_string());
    draft.wish(scope, wanted, "partition", &group, partition);
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let hierarchy = facts.cpuset_hierarchy(Version::V2)?;
    if attribute == "controller" {
        let path = format!("{}/cgroup.subtree_control", hierarchy.mount);
        return Some(Cell::plain(path, Form::Switch("cpuset")));
    }
    let dir = group_dir(hierarchy, identity)?;
    let inside =
        |name: &str, form| Cell { lives_in: Some(dir.clone()), ..Cell::plain(format!("{dir}/{name}"), form) };
    match attribute {
        "group" => Some(Cell::plain(dir.clone(), Form::Directory)),
        "cpus" => Some(Cell {
            effect: Effect::ListEquals(format!("{dir}/cpuset.cpus.effective")),
            ..inside("cpuset.cpus", Form::CpuList)
        }),
        "partition" => Some(inside("cpuset.cpus.partition", Form::Word)),
        _ => None,
    }
}
