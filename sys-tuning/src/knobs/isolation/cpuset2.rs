//! A cgroup v2 cpuset partition: the run-time replacement of `isolcpus=`.
//!
//! Every write succeeds here even where its effect is refused; the truth is the partition's text, which then reads
//! "isolated invalid (reason)", the root's list of isolated CPUs, and the group's effective CPUs. A group below another
//! (`trading.slice/trading-engine.slice`) is a *remote* partition: every group above it has to hand its CPUs down in
//! `cpuset.cpus.exclusive` (Linux 6.7 or later). systemd owns its slices: it removes an empty one when its last unit
//! stops and makes it anew without the partition, and it takes the cpuset controller away from groups of which no unit
//! asks for it; drift shows either. Give such a slice `AllowedCPUs=` in its unit, or use a group systemd does not know.
//! Source: Documentation/admin-guide/cgroup-v2.rst, "Cpuset Interface Files".

use host::affinity::Runner;
use host::cgroups::{Hierarchy, Version};
use units::CpuSet;
use units::limits::TASKS_MOVED_MAX;

use super::cpuset1::{GROUP, group_dir};
use super::tasks::{identity, thread};
use crate::cell::{Cell, Effect, Form, PRESENT};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::fence::{Of, follows_an_interrupt};
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
        Attribute::new("group", Kind::Group, "the group, as in trading.slice; quell unless given"),
    ],
    source: "isolated: Documentation/admin-guide/cgroup-v2.rst (\"strongly advised\" over isolcpus)",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("the group is not there"),
    effect: "cpuset.cpus.partition reads as wanted, without \"invalid\"; cpuset.cpus.effective equals the CPUs, and those \
             of an isolated partition are in the root's cpuset.cpus.isolated",
    undo: "the group is removed if quell made it, else its original partition and CPUs are written; one that was invalid \
           is asked for again and may be invalid again",
    paths: &[
        "/sys/fs/cgroup/cgroup.subtree_control",
        "/sys/fs/cgroup/{group}/cgroup.subtree_control",
        "/sys/fs/cgroup/{group}",
        "/sys/fs/cgroup/{group}/cpuset.cpus",
        "/sys/fs/cgroup/{group}/cpuset.cpus.exclusive",
        "/sys/fs/cgroup/{group}/cpuset.cpus.partition",
        "/proc/{tid}/task/{tid}/status",
    ],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Cgroups, Topic::Tasks],
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
    for above in above(&group) {
        draft.wish(scope, wanted, "controller", above, "on".to_owned());
        if partition != "member" {
            wish_exclusive(scope, wanted, draft, above, &cpus);
        }
    }
    draft.wish(scope, wanted, "group", &group, PRESENT.to_owned());
    draft.wish(scope, wanted, "cpus", &group, cpus.to_string());
    if group.contains('/') && partition != "member" {
        wish_exclusive(scope, wanted, draft, &group, &cpus);
    }
    remember_kernel_threads(scope, wanted, draft);
    draft.wish(scope, wanted, "partition", &group, partition);
}

/// Before Linux 7.0 a partition that comes or goes gives every kernel thread that is not tied all CPUs it leaves, those of
/// the threads too that had been given fewer, by the kernel or by somebody.
///
/// They have a name of their own here although `iso.kthreads` sets the same: what that one changes is undone before the
/// partition is, and the kernel's resetting undoes it once more; what is remembered here is put back last.
fn remember_kernel_threads(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let had_fewer =
        |runner: &&Runner| !scope.roles.online.is_subset(&runner.allowed) && runner.stat.is_kernel;
    let is_free = |runner: &&Runner| !runner.stat.is_bound && !follows_an_interrupt(runner);
    let threads = scope.facts.reaching.runners.iter().filter(had_fewer).filter(is_free);
    for runner in threads.take(TASKS_MOVED_MAX) {
        draft.remember(scope, wanted, "kthread", &identity(runner));
    }
}

/// CPUs reach a remote partition only through groups that hold them exclusively.
fn wish_exclusive(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, group: &str, cpus: &CpuSet) {
    draft.wish(scope, wanted, "exclusive", group, cpus.to_string());
}

/// The groups above `group`, the outermost first: of `a/b/c`, `a` and `a/b`.
fn above(group: &str) -> impl Iterator<Item = &str> {
    group.match_indices('/').map(|(slash, _)| &group[..slash])
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    if attribute == "kthread" {
        return thread(facts, Of::Kernel, identity);
    }
    let hierarchy = facts.cpuset_hierarchy(Version::V2)?;
    if attribute == "controller" {
        return controller(hierarchy, identity);
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
        "exclusive" => Some(inside("cpuset.cpus.exclusive", Form::CpuList)),
        "partition" => Some(Cell {
            effect: Effect::ListsWithin(
                format!("{dir}/cpuset.cpus.effective"),
                format!("{}/cpuset.cpus.isolated", hierarchy.mount),
            ),
            ..inside("cpuset.cpus.partition", Form::Partition)
        }),
        _ => None,
    }
}

/// Whether the groups right below `group` have cpusets; the root's where it is empty.
fn controller(hierarchy: &Hierarchy, group: &str) -> Option<Cell> {
    let dir = if group.is_empty() { hierarchy.mount.clone() } else { group_dir(hierarchy, group)? };
    Some(Cell::plain(format!("{dir}/cgroup.subtree_control"), Form::Switch("cpuset")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_above(group: &str, expected: &[&str]) {
        assert_eq!(above(group).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_groups_above() {
        check_above("quell", &[]);
        check_above("trading.slice/engine", &["trading.slice"]);
        check_above("a/b/c", &["a", "a/b"]);
    }
}
