//! The control groups: which hierarchies are mounted where, who is in which group, and what a cpuset allows.
//!
//! A host runs cgroup v2 (one unified tree), v1 (one tree a controller), or both at once with the controllers divided
//! between them; nothing here assumes which. Only hierarchies below `/sys/fs/cgroup` are used. A write to a cpuset
//! succeeds even where its effect is refused: a partition's state is the text read back. Sources:
//! Documentation/admin-guide/cgroup-v2.rst, "Cpuset"; Documentation/admin-guide/cgroup-v1/cpusets.rst;
//! Documentation/filesystems/proc.rst, 3.5 (mountinfo); cgroups(7).

use std::fmt;
use std::str::FromStr;

use units::CpuSet;
use units::limits::CPUSETS_SEEN_MAX;

use crate::error::Malformed;
use crate::tasks::Pid;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/fs/cgroup";

/// The generation of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for one controller, or a few mounted together.
    V1,
    /// The unified tree.
    V2,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its generation.
    pub version: Version,
    /// Where it is mounted, below `/sys/fs/cgroup`.
    pub mount: String,
    /// The group that the mount shows as its root: `/`, except in a container.
    pub root: String,
    /// The controllers that can be used in it; a named v1 hierarchy has one like `name=systemd`.
    pub controllers: Vec<String>,
}

impl Hierarchy {
    /// Whether `controller` can be used in this hierarchy.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|held| held == controller)
    }

    /// The directory of the group `name`.
    #[must_use]
    pub fn dir(&self, name: &GroupName) -> String {
        if name.0.is_empty() { self.mount.clone() } else { format!("{}/{name}", self.mount) }
    }
}

/// The hierarchies mounted below `/sys/fs/cgroup`, in the order of mounting.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`] of the mount table or of a v2 tree's list of controllers.
// Format of cgroup.controllers: "cpuset cpu io memory pids\n"   (Documentation/admin-guide/cgroup-v2.rst)
pub fn hierarchies(root: &Root) -> Result<Vec<Hierarchy>, Error> {
    let mut hierarchies = root.parse("/proc/self/mountinfo", parse_mountinfo)?;
    for hierarchy in hierarchies.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
        hierarchy.controllers =
            root.parse(&format!("{}/cgroup.controllers", hierarchy.mount), text::words)?;
    }
    Ok(hierarchies)
}

/// The hierarchy in which `controller` can be used here, if any: no controller is in two.
#[must_use]
pub fn with_controller<'a>(hierarchies: &'a [Hierarchy], controller: &str) -> Option<&'a Hierarchy> {
    hierarchies.iter().find(|hierarchy| hierarchy.has(controller))
}

// Format: "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset"
//         "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
//         with optional fields before the dash   (Documentation/filesystems/proc.rst, 3.5)
fn parse_mountinfo(text: &str) -> Result<Vec<Hierarchy>, Malformed> {
    let mut hierarchies = Vec::new();
    for line in text.lines() {
        let wrong = || Malformed::new(line, "expected \"... root mount ... - type source options\"");
        let (place, kind) = line.split_once(" - ").ok_or_else(wrong)?;
        let mut place = place.split(' ').skip(3);
        let (root, mount) = place.next().zip(place.next()).ok_or_else(wrong)?;
        let mut kind = kind.split(' ');
        let (kind, options) = (kind.next().ok_or_else(wrong)?, kind.nth(1).unwrap_or_default());
        let version = match kind {
            "cgroup" => Version::V1,
            "cgroup2" => Version::V2,
            _ => continue,
        };
        if mount == DIR || mount.strip_prefix(DIR).is_some_and(|below| below.starts_with('/')) {
            let (mount, root) = (mount.to_owned(), root.to_owned());
            hierarchies.push(Hierarchy {
                version,
                mount,
                root,
                controllers: v1_controllers(version, options),
            });
        }
    }
    Ok(hierarchies)
}

/// A v1 hierarchy's controllers stand among the options of its file system.
fn v1_controllers(version: Version, options: &str) -> Vec<String> {
    let is_controller = |option: &&str| !V1_OPTIONS.iter().any(|other| option.starts_with(other));
    let words = options.split(',').filter(|_| version == Version::V1);
    words.filter(|option| !option.is_empty()).filter(is_controller).map(str::to_owned).collect()
}

/// What else may stand among them.
const V1_OPTIONS: [&str; 9] = [
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "release_agent=",
    "cpuset_v2_mode",
    "favordynmods",
    "seclabel",
];

/// The path of a group below the root of its hierarchy: `trading/engine`; empty for the root group itself.
///
/// Checked component by component, so that a name from outside cannot climb.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(String);

/// Bytes of one component: the kernel's NAME_MAX.
const COMPONENT_BYTES_MAX: usize = 255;

impl GroupName {
    /// The hierarchy's root group.
    #[must_use]
    pub fn root() -> Self {
        Self(String::new())
    }

    /// Whether this group is `other` or below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        match self.0.strip_prefix(&other.0) {
            Some(below) => other.0.is_empty() || below.is_empty() || below.starts_with('/'),
            None => false,
        }
    }

    /// From a path as the kernel writes it, with a leading slash: `/trading/engine`, `/`.
    fn from_kernel(path: &str) -> Result<Self, String> {
        match path.strip_prefix('/') {
            Some("") => Ok(Self::root()),
            Some(inner) => inner.parse(),
            None => Err("not an absolute path".to_owned()),
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split('/').try_for_each(check_component)?;
        Ok(Self(text.to_owned()))
    }
}

fn check_component(component: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("{component:?} is no name of a control group: {why}"));
    match component {
        "" => refused("empty; a group is named as in trading/engine"),
        "." | ".." => refused("it climbs"),
        _ if component.len() > COMPONENT_BYTES_MAX => refused("longer than 255 bytes"),
        _ if component.contains(char::is_control) => refused("a control character"),
        _ => Ok(()),
    }
}

/// One line of a process's membership: the group it is in, in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The hierarchy's controllers; empty for the unified one.
    pub controllers: Vec<String>,
    /// The group, from the root of the process's cgroup namespace.
    pub group: GroupName,
}

/// The groups this process is in, one for each hierarchy.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
pub fn own(root: &Root) -> Result<Vec<Membership>, Error> {
    root.parse("/proc/self/cgroup", parse_memberships)
}

/// The groups the process `pid` is in, one for each hierarchy.
///
/// # Errors
/// [`Error::Absent`] when it has ended, [`Error::Read`], [`Error::Format`].
pub fn of(root: &Root, pid: Pid) -> Result<Vec<Membership>, Error> {
    root.parse(&format!("/proc/{pid}/cgroup"), parse_memberships)
}

/// The groups that the thread shown at `dir` is in: threads of one process may be in several.
pub(crate) fn of_thread(root: &Root, dir: &str) -> Result<Vec<Membership>, Error> {
    root.parse(&format!("{dir}/cgroup"), parse_memberships)
}

// Format: "3:cpuset:/trading\n", "1:name=systemd:/\n", "0::/user.slice\n"   (cgroups(7), /proc/PID/cgroup)
fn parse_memberships(text: &str) -> Result<Vec<Membership>, Malformed> {
    let membership = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = fields
            .next()
            .zip(fields.next())
            .ok_or_else(|| Malformed::new(line, "expected \"id:controllers:path\""))?;
        // The group may be removed while its last process ends.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let group = GroupName::from_kernel(path).map_err(|problem| Malformed::new(line, problem))?;
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Ok(Membership { controllers, group })
    };
    text.lines().map(membership).collect()
}

/// The CPUs of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpuset {
    /// What was asked for; `None` for a v2 root, which has no limit; empty in a v2 group that takes its parent's.
    pub cpus: Option<CpuSet>,
    /// What its tasks may run on.
    pub effective: CpuSet,
    /// `member`, `root`, `isolated`, or one of the latter with ` invalid (reason)`; v2 below the root only.
    pub partition: Option<String>,
    /// Whether the scheduler balances load among its CPUs; v1 only.
    pub load_balance: Option<bool>,
}

/// The cpuset of the group `name`; `hierarchy` is the one [`with_controller`] `cpuset`.
///
/// # Errors
/// [`Error::Absent`] when the group does not exist or the controller is not enabled in it, [`Error::Read`],
/// [`Error::Format`].
pub fn cpuset(root: &Root, hierarchy: &Hierarchy, name: &GroupName) -> Result<Cpuset, Error> {
    let dir = hierarchy.dir(name);
    let file = |name: &str| format!("{dir}/cpuset.{name}");
    let effective = match hierarchy.version {
        Version::V1 => file("effective_cpus"),
        Version::V2 => file("cpus.effective"),
    };
    Ok(Cpuset {
        cpus: if_present(root.parse(&file("cpus"), text::cpulist))?,
        effective: root.parse(&effective, text::cpulist)?,
        partition: if_present(root.parse(&file("cpus.partition"), text::line))?,
        load_balance: if_present(root.parse(&file("sched_load_balance"), text::number::<u8>))?
            .map(|on| on != 0),
    })
}

/// The v1 sets below `tree`, itself included, within which the scheduler balances load, with their CPUs: of nested ones
/// the outermost, whose balancing includes the others'. At most [`CPUSETS_SEEN_MAX`] sets are looked at.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`]; one that is removed meanwhile is left out.
pub fn balancing(root: &Root, tree: &str) -> Result<Vec<(String, CpuSet)>, Error> {
    let (mut found, mut dirs, mut seen) = (Vec::new(), vec![tree.to_owned()], 0);
    while let Some(dir) = dirs.pop().filter(|_| seen < CPUSETS_SEEN_MAX) {
        seen += 1;
        let switch = root.parse(&format!("{dir}/cpuset.sched_load_balance"), text::number::<u8>);
        match if_present(switch)? {
            None => {}
            Some(0) => dirs.extend(if_present(below(root, &dir))?.unwrap_or_default()),
            Some(_) => {
                let cpus = if_present(root.parse(&format!("{dir}/cpuset.effective_cpus"), text::cpulist))?;
                found.extend(cpus.map(|cpus| (dir, cpus)));
            }
        }
    }
    Ok(found)
}

fn below(root: &Root, dir: &str) -> Result<Vec<String>, Error> {
    let names = root.list(dir)?;
    // Only a group has such a file in it; the files of the group itself have nothing in them.
    let is_group = |path: &String| root.exists(&format!("{path}/cpuset.cpus"));
    Ok(names.iter().map(|name| format!("{dir}/{name}")).filter(is_group).collect())
}

/// The CPUs that cgroup partitions hold outside load balancing, over the whole unified tree (Linux 6.7 or later).
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn isolated(root: &Root, hierarchy: &Hierarchy) -> Result<Option<CpuSet>, Error> {
    if_present(root.parse(&format!("{}/cpuset.cpus.isolated", hierarchy.mount), text::cpulist))
}

/// The processes in a group, not those in the groups below it. A process outside our pid namespace is not shown.
///
/// # Errors
/// [`Error::Absent`] when the group does not exist, [`Error::Read`], [`Error::Format`].
// Format: "1\n67\n"   (Documentation/admin-guide/cgroup-v2.rst, cgroup.procs)
pub fn procs(root: &Root, hierarchy: &Hierarchy, name: &GroupName) -> Result<Vec<Pid>, Error> {
    root.parse(&format!("{}/cgroup.procs", hierarchy.dir(name)), |text| {
        let pids: Result<Vec<u32>, Malformed> = text.lines().map(text::number).collect();
        Ok(pids?.into_iter().filter(|pid| *pid != 0).map(Pid).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, accepted: bool) {
        assert_eq!(name.parse::<GroupName>().is_ok(), accepted, "{name:?}");
    }

    #[test]
    fn names_neither_climb_nor_hide() {
        check("trading", true);
        check("trading.slice/engine@1.service", true);
        check("system.slice/dev-disk-by\\x2dlabel.mount", true); // systemd escapes like that
        for bad in ["", "/", "/trading", "trading/", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\0b"] {
            check(bad, false);
        }
        check("memory.slice", true); // like a kernel file; mkdir refuses those that are
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
    }

    #[track_caller]
    fn check_within(group: &str, other: &str, expected: bool) {
        let parsed = |name: &str| name.parse().unwrap_or_else(|_| GroupName::root());
        assert_eq!(parsed(group).is_within(&parsed(other)), expected, "{group:?} in {other:?}");
    }

    #[test]
    fn a_group_is_within_itself_and_those_above() {
        check_within("trading.slice", "trading.slice", true);
        check_within("trading.slice/engine.service", "trading.slice", true);
        check_within("trading.slice2", "trading.slice", false);
        check_within("trading.slice", "trading.slice/engine.service", false);
        check_within("a/b", "", true);
        check_within("", "a", false);
    }

    #[test]
    fn a_table_of_mounts_gives_the_hierarchies() {
        let text = "23 27 0:22 / /sys rw,relatime shared:7 - sysfs sysfs rw\n\
                    34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
                    33 25 0:28 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,release_agent=/x,name=systemd\n\
                    35 31 0:31 / /mnt/elsewhere rw,relatime - cgroup cgroup rw,memory\n\
                    41 31 0:38 /box /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = parse_mountinfo(text).unwrap();
        let rows: Vec<(&str, &str, Vec<&str>)> = found
            .iter()
            .map(|h| (h.mount.as_str(), h.root.as_str(), h.controllers.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            rows,
            [
                ("/sys/fs/cgroup/cpuset", "/", vec!["cpuset"]),
                ("/sys/fs/cgroup/systemd", "/", vec!["name=systemd"]),
                ("/sys/fs/cgroup", "/box", vec![]), // a unified tree lists its controllers itself
            ]
        );
        assert!(parse_mountinfo("1 2 3\n").is_err());
    }

    #[test]
    fn memberships() {
        let found = parse_memberships("3:cpuset:/\n1:cpu,cpuacct:/a b/c\n0::/gone (deleted)\n").unwrap();
        assert_eq!(found[0].group, GroupName::root());
        assert_eq!(found[1].controllers, ["cpu", "cpuacct"]);
        assert_eq!(found[1].group.to_string(), "a b/c");
        assert_eq!((found[2].controllers.len(), found[2].group.to_string().as_str()), (0, "gone"));
        for bad in ["3:cpuset", "0::relative", "0::/../escape"] {
            assert!(parse_memberships(bad).is_err(), "{bad:?}");
        }
    }
}
