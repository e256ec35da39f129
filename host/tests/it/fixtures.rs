//! Captured machines: every reader over every tree, compared with the answers that stand beside it.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{env, fs};

use host::cpus::Cpus;
use host::{Root, irqs, tasks};

use crate::facts;

/// Where the captured machines stand.
pub fn hosts_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hosts")
}

/// The captured machines by name.
pub fn hosts() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(hosts_dir())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// A copy of a captured machine that a test may change, with the file modes that git does not keep.
pub struct Copy {
    _dir: tempfile::TempDir,
    pub root: Root,
    pub files: Vec<PathBuf>,
}

impl Copy {
    pub fn of(host: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        copy(&hosts_dir().join(host), dir.path(), &mut files);
        for path in fs::read_to_string(dir.path().join("read-only")).unwrap().lines() {
            let file = dir.path().join(path.trim_start_matches('/'));
            fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
        }
        Self { root: Root::at(dir.path()), files, _dir: dir }
    }
}

fn copy(from: &Path, to: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target, files);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            files.push(target);
        }
    }
}

/// Every answer about one machine, a line each; a missing file is told by its name from the tree's root.
fn answers(root: &Root) -> String {
    let prefix = root.prefix().to_str().unwrap();
    facts::all(root).into_iter().fold(String::new(), |mut text, (key, fact)| {
        let answer = fact.unwrap_or_else(|error| error.to_string().replace(prefix, ""));
        writeln!(text, "{key}: {answer}").unwrap();
        text
    })
}

#[test]
fn captured_machines_read_as_recorded() {
    for host in hosts() {
        let golden = hosts_dir().join(format!("{host}.facts"));
        let answers = answers(&Root::at(&hosts_dir().join(&host)));
        if env::var_os("QUELL_RENEW").is_some() {
            #[expect(
                clippy::disallowed_methods,
                reason = "a golden file of this repository, renewed on request"
            )]
            fs::write(&golden, &answers).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        for (answer, expected) in answers.lines().zip(expected.lines()) {
            assert_eq!(answer, expected, "{host}");
        }
        assert_eq!(answers.lines().count(), expected.lines().count(), "{host}");
    }
}

#[track_caller]
fn check_housekeeping(host: &str, expected: &str) {
    let cpus = Cpus::read(&Root::at(&hosts_dir().join(host))).unwrap();
    assert_eq!(cpus.housekeeping().to_string(), expected, "{host}");
}

#[test]
fn isolated_cpus_keep_no_house() {
    check_housekeeping("firecracker-2cpu-6.18", "0-1");
    check_housekeeping("qemu-4cpu-2node-6.1-rt", "0-1");
    check_housekeeping("qemu-4cpu-2node-6.12", "0-3"); // a cgroup partition does not show in sysfs
}

/// The interrupts that are marked as immovable, by name.
#[track_caller]
fn check_immovable(host: &str, expected: &[&str]) {
    let lines = irqs::lines(&Copy::of(host).root).unwrap();
    let immovable = lines.iter().filter(|line| line.immovable).map(|line| line.identity.actions.join(","));
    assert_eq!(immovable.collect::<Vec<_>>(), expected, "{host}");
}

#[test]
fn managed_interrupts_are_marked() {
    let queues = [
        "virtio1-req.0",
        "virtio1-req.1",
        "virtio1-req.2",
        "virtio1-req.3",
        "nvme0q1",
        "nvme0q2",
        "nvme0q3",
        "nvme0q4",
    ];
    check_immovable("firecracker-2cpu-6.18", &["virtio1-req.0"]);
    check_immovable("qemu-4cpu-2node-6.12", &[&["timer", ""], queues.as_slice()].concat());
    check_immovable("qemu-4cpu-2node-6.1-rt", &[]); // this kernel does not tell, and refuses the write
}

/// The real-time threads that are runnable on a CPU, the one that has it first.
#[track_caller]
fn check_occupants(host: &str, expected: &[&str]) {
    let root = Root::at(&hosts_dir().join(host));
    let occupants = tasks::running_realtime(&root).unwrap();
    let text = |o: &tasks::Occupant| {
        format!("{} {}:{} cpu{}", o.stat.name, o.stat.class, o.stat.rt_priority, o.stat.cpu)
    };
    assert_eq!(occupants.iter().map(text).collect::<Vec<_>>(), expected, "{host}");
}

#[test]
fn who_holds_a_cpu_is_named_first() {
    check_occupants("firecracker-2cpu-6.18", &[]);
    check_occupants("qemu-4cpu-2node-6.12", &["sh fifo:50 cpu3"]);
    check_occupants(
        "qemu-4cpu-2node-6.1-rt",
        &["rcu_preempt fifo:1 cpu0", "sh fifo:50 cpu3", "ktimers/3 fifo:1 cpu3"],
    );
}
