//! Control groups: directories that bring their files with them, and cpusets whose writes succeed where their effect is
//! refused (Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/cpusets.rst).

use nix::errno::Errno;
use units::CpuSet;

use super::Kernel;
use super::rules::WORKQUEUE;

const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/cpuset";

/// The files that the cpuset controller brings into a group of a v2 tree.
const CPUSET_V2: &[(&str, &str)] = &[
    ("cpuset.cpus", "\n"),
    ("cpuset.cpus.effective", "\n"),
    ("cpuset.cpus.exclusive", "\n"),
    ("cpuset.cpus.exclusive.effective", "\n"),
    ("cpuset.cpus.partition", "member\n"),
    ("cpuset.mems", "\n"),
];

const CPUSET_V1: &[(&str, &str)] = &[
    ("cgroup.procs", ""),
    ("cpuset.cpus", "\n"),
    ("cpuset.mems", "\n"),
    ("cpuset.effective_cpus", "\n"),
    ("cpuset.sched_load_balance", "1\n"),
];

fn is_v2(kernel: &Kernel) -> bool {
    kernel.files.contains_key(&format!("{V2}/cgroup.controllers"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// mkdir: of a group, in a tree of groups.
pub fn make(kernel: &mut Kernel, path: &str) -> Result<(), Errno> {
    let above = parent(path).to_owned();
    if !kernel.dirs.contains(&above) {
        return Err(Errno::ENOENT);
    }
    if kernel.is_dir(path).is_some() {
        return Err(Errno::EEXIST);
    }
    if is_v2(kernel) && above.starts_with(V2) {
        kernel.dirs.insert(path.to_owned());
        for (name, text) in
            [("cgroup.procs", ""), ("cgroup.controllers", "\n"), ("cgroup.subtree_control", "\n")]
        {
            kernel.put(&format!("{path}/{name}"), text);
        }
        if hands_down(kernel, &above) {
            bring_cpuset(kernel, path);
        }
        settle(kernel);
        return Ok(());
    }
    if above.starts_with(V1) {
        kernel.dirs.insert(path.to_owned());
        for (name, text) in CPUSET_V1 {
            kernel.put(&format!("{path}/{name}"), *text);
        }
        return Ok(());
    }
    Err(Errno::EPERM)
}

/// rmdir: a group without groups and tasks in it.
pub fn remove(kernel: &mut Kernel, path: &str) -> Result<(), Errno> {
    if !kernel.dirs.contains(path) {
        return Err(Errno::ENOENT);
    }
    if !path.starts_with(V2) || path == V2 || path == V1 {
        return Err(Errno::EPERM);
    }
    let below = format!("{path}/");
    if kernel.dirs.iter().any(|dir| dir.starts_with(&below)) {
        return Err(Errno::EBUSY);
    }
    if !kernel.text(&format!("{path}/cgroup.procs")).is_empty() {
        return Err(Errno::EBUSY);
    }
    kernel.remove(path);
    settle(kernel);
    Ok(())
}

fn hands_down(kernel: &Kernel, dir: &str) -> bool {
    kernel
        .text(&format!("{dir}/cgroup.subtree_control"))
        .split_ascii_whitespace()
        .any(|word| word == "cpuset")
}

fn bring_cpuset(kernel: &mut Kernel, group: &str) {
    for (name, text) in CPUSET_V2 {
        let path = format!("{group}/{name}");
        if !kernel.files.contains_key(&path) {
            kernel.put(&path, *text);
        }
    }
}

/// The groups right below one.
fn children(kernel: &Kernel, dir: &str) -> Vec<String> {
    let prefix = format!("{dir}/");
    let is_child = |path: &&String| path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'));
    kernel.dirs.iter().filter(is_child).cloned().collect()
}

pub fn write(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    let (dir, name) = path.rsplit_once('/').ok_or(Errno::EINVAL)?;
    match name {
        "cgroup.subtree_control" => switch(kernel, dir, path, text)?,
        "cpuset.cpus" | "cpuset.cpus.exclusive" => {
            let cpus: CpuSet = text.parse().map_err(|_| Errno::EINVAL)?;
            let known = kernel.cpus("/sys/devices/system/cpu/possible");
            if !cpus.is_subset(&known) {
                return Err(Errno::EINVAL);
            }
            kernel.show(path, &cpus);
            if !is_v2(kernel) {
                let effective = cpus.intersection(&kernel.online());
                kernel.show(&format!("{dir}/cpuset.effective_cpus"), effective);
            }
        }
        "cpuset.mems" => kernel.show(path, text),
        "cpuset.sched_load_balance" if ["0", "1"].contains(&text) => kernel.show(path, text),
        "cpuset.cpus.partition" if ["member", "root", "isolated"].contains(&text) => kernel.show(path, text),
        _ => return Err(Errno::EINVAL),
    }
    settle(kernel);
    Ok(())
}

fn switch(kernel: &mut Kernel, dir: &str, path: &str, text: &str) -> Result<(), Errno> {
    for word in text.split_ascii_whitespace() {
        let mut words: Vec<String> = kernel.text(path).split_ascii_whitespace().map(str::to_owned).collect();
        let (sign, name) = word.split_at(1);
        let offered = kernel.text(&format!("{dir}/cgroup.controllers")).to_owned();
        match sign {
            "+" if !offered.split_ascii_whitespace().any(|one| one == name) => return Err(Errno::ENOENT),
            "+" if !words.iter().any(|one| one == name) => words.push(name.to_owned()),
            "+" => {}
            "-" => words.retain(|one| one != name),
            _ => return Err(Errno::EINVAL),
        }
        kernel.show(path, words.join(" "));
    }
    for child in children(kernel, dir) {
        let controllers = kernel.text(path).to_owned();
        kernel.show(&format!("{child}/cgroup.controllers"), controllers);
        if hands_down(kernel, dir) {
            bring_cpuset(kernel, &child);
        } else {
            for (name, _) in CPUSET_V2 {
                kernel.files.remove(&format!("{child}/{name}"));
            }
        }
    }
    Ok(())
}

/// What the cpusets of a v2 tree come to, all of them anew: no write of theirs is refused, its effect is.
pub fn settle(kernel: &mut Kernel) {
    if !is_v2(kernel) || !kernel.files.contains_key(&format!("{V2}/cpuset.cpus.effective")) {
        return;
    }
    let (mut taken, mut isolated) = (CpuSet::empty(), CpuSet::empty());
    settle_below(kernel, V2, &kernel.online(), true, &mut taken, &mut isolated);
    let left = kernel.online().difference(&taken);
    kernel.show(&format!("{V2}/cpuset.cpus.effective"), &left);
    kernel.show(&format!("{V2}/cpuset.cpus.isolated"), &isolated);
    settle_members(kernel, V2, &left);
    settle_workqueue(kernel);
}

/// Decides the partitions, the outermost first.
fn settle_below(
    kernel: &mut Kernel,
    dir: &str,
    available: &CpuSet,
    may_part: bool,
    taken: &mut CpuSet,
    isolated: &mut CpuSet,
) {
    for group in children(kernel, dir) {
        let partition = format!("{group}/cpuset.cpus.partition");
        let exclusive = kernel.cpus(&format!("{group}/cpuset.cpus.exclusive"));
        let own = kernel.cpus(&format!("{group}/cpuset.cpus"));
        let cpus = if exclusive.is_empty() { own } else { exclusive.clone() };
        let word = kernel.text(&partition).split(' ').next().unwrap_or_default().to_owned();
        if word == "root" || word == "isolated" {
            let usable = cpus.intersection(available).difference(taken);
            let problem = if cpus.is_empty() {
                Some("cpuset.cpus and cpuset.cpus.exclusive are empty")
            } else if !may_part && exclusive.is_empty() {
                Some("Parent is not a partition root")
            } else if usable.is_empty() || available.difference(taken).is_subset(&usable) {
                Some("Parent unable to distribute cpu downstream")
            } else {
                None
            };
            match problem {
                Some(problem) => kernel.show(&partition, format!("{word} invalid ({problem})")),
                None => {
                    kernel.show(&partition, &word);
                    kernel.show(&format!("{group}/cpuset.cpus.effective"), &usable);
                    *taken = taken.union(&usable);
                    if word == "isolated" {
                        *isolated = isolated.union(&usable);
                    }
                }
            }
        }
        settle_below(kernel, &group, available, false, taken, isolated);
    }
}

/// A group that is no valid partition shares what is left.
fn settle_members(kernel: &mut Kernel, dir: &str, left: &CpuSet) {
    for group in children(kernel, dir) {
        let state = kernel.text(&format!("{group}/cpuset.cpus.partition")).to_owned();
        if !["root", "isolated"].contains(&state.as_str()) {
            let own = kernel.cpus(&format!("{group}/cpuset.cpus")).intersection(left);
            let effective = if own.is_empty() { left } else { &own };
            kernel.show(&format!("{group}/cpuset.cpus.effective"), effective);
        }
        settle_members(kernel, &group, left);
    }
}

/// Unbound work keeps off partitions, where the kernel shows both masks.
pub fn settle_workqueue(kernel: &mut Kernel) {
    let requested = format!("{WORKQUEUE}_requested");
    if !kernel.files.contains_key(&requested) {
        return;
    }
    let isolated = kernel.cpus(&format!("{V2}/cpuset.cpus.isolated"));
    let asked = CpuSet::from_mask(kernel.text(&requested)).unwrap_or_else(|_| CpuSet::empty());
    let rest = asked.difference(&isolated);
    let effective = if rest.is_empty() { asked } else { rest };
    kernel.show(WORKQUEUE, effective.mask());
    kernel.show(&format!("{WORKQUEUE}_isolated"), isolated.mask());
}
