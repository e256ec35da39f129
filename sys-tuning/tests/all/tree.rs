//! Machines to work on: captured ones, copied, and one that is changed a little so that every form of cell occurs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use host::Root;
use std::sync::Arc;
use sys_tuning::Engine;

/// A fake machine with its state directory beside it; gone when dropped.
pub struct Machine {
    dir: tempfile::TempDir,
}

/// The machine that the small one is made of: two CPUs, Linux 6.18, cgroup v1.
const SMALL: &str = "firecracker-2cpu-6.18";

/// What the engine reads of it; the rest is left out, because the crash tests copy it thousands of times.
const READ: &[&str] = &[
    "etc/machine-id",
    "proc/irq/24",
    "proc/irq/36", // managed
    "proc/irq/41",
    "proc/irq/default_smp_affinity",
    "proc/self/mountinfo",
    "proc/sys/kernel",
    "proc/sys/vm",
    "sys/devices/system/cpu/cpu0/power",
    "sys/devices/system/cpu/cpu1/power",
    "sys/devices/system/cpu/isolated",
    "sys/devices/system/cpu/offline",
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/possible",
    "sys/devices/system/cpu/present",
    "sys/devices/system/node",
    "sys/devices/virtual/workqueue/cpumask",
    "sys/fs/cgroup/cpuset",
    "sys/fs/cgroup/unified/cgroup.controllers",
    "sys/kernel/irq/24",
    "sys/kernel/irq/36",
    "sys/kernel/irq/41",
    "sys/kernel/mm/hugepages",
    "sys/kernel/mm/transparent_hugepage",
];

/// How it differs from what was captured: a CPU is isolated, one limit is given in bytes, balancing is on, and there is a
/// group.
const CHANGES: &[(&str, &str)] = &[
    ("/sys/devices/system/cpu/isolated", "1\n"),
    ("/proc/sys/vm/dirty_background_ratio", "0\n"),
    ("/proc/sys/vm/dirty_background_bytes", "268435456\n"), // as on the captured QEMU guests
    ("/proc/sys/kernel/numa_balancing", "1\n"),
    ("/sys/fs/cgroup/cpuset/trading/cpuset.cpus", "0-1\n"),
    ("/sys/fs/cgroup/cpuset/trading/cpuset.mems", "\n"),
    ("/sys/fs/cgroup/cpuset/trading/cpuset.effective_cpus", "0-1\n"),
];

/// Everything the fake machine has, with values it does not have yet: all forms of cells, both directions of a pair.
pub const PROFILE: &str = r#"
schema = "quell.profile/1"
[knobs]
"mem.swap" = { swappiness = 10 }
"mem.dirty" = { bytes = 104857600, background_ratio = 3 }
"mem.thp" = { enabled = "never", defrag = "never" }
"mem.huge" = { "2M" = { node0 = 100 } }
"mem.numa" = { balancing = 0 }
"iso.vmstat" = { stat_interval = 10 }
"iso.hung" = { timeout_secs = 600 }
"iso.timermig" = { enabled = false }
"iso.wq" = { cpus = "housekeeping" }
"irq.default" = { cpus = "housekeeping" }
"irq.aff" = { cpus = "housekeeping" }
"cpu.qos" = { cpus = "isolated", latency_us = 0 }
"cpu.gov" = { governor = "performance" }
"iso.cpuset1" = { group = "trading", cpus = "1" }
"#;

/// What is applied before it, where a change of profiles is the point: some of the same, some other values.
pub const FIRST: &str = r#"
schema = "quell.profile/1"
[knobs]
"mem.swap" = { swappiness = 30 }
"mem.dirty" = { bytes = 52428800, background_bytes = 1048576 }
"mem.thp" = { enabled = "always" }
"iso.hung" = { timeout_secs = 600 }
"irq.aff" = { cpus = "1" }
"#;

impl Machine {
    /// The small one.
    pub fn new() -> Self {
        let machine = Self { dir: scratch() };
        for part in READ {
            copy(&captured(SMALL).join(part), &machine.root().join(part));
        }
        for (path, text) in CHANGES {
            machine.put(path, text);
        }
        machine.mark_read_only(SMALL);
        machine
    }

    /// A copy of the captured machine `name`.
    pub fn captured(name: &str) -> Self {
        let machine = Self { dir: scratch() };
        copy(&captured(name), &machine.root());
        machine.mark_read_only(name);
        machine
    }

    /// What git cannot keep: how the kernel marks an interrupt that belongs to its driver.
    fn mark_read_only(&self, name: &str) {
        let list = fs::read_to_string(captured(name).join("read-only")).unwrap_or_default();
        for file in list.lines().map(|path| self.file(path)).filter(|file| file.exists()) {
            fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
        }
    }

    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Where its journal is.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A profile of this text, as a file.
    pub fn profile(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("test.toml");
        write(&path, text);
        path
    }

    /// An engine of this process on it.
    pub fn engine(&self) -> Engine {
        Engine::new(Arc::new(Root::at(&self.root())), &self.state())
    }

    /// The place of one of its files.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Its text.
    #[track_caller]
    pub fn get(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap()
    }

    /// Sets it, as somebody else would.
    pub fn put(&self, path: &str, text: &str) {
        let path = self.file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, text);
    }

    /// Every file and directory below its root, with every byte.
    pub fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.root(), &mut files);
        files
    }
}

/// A whole text into a file.
pub fn write(path: &Path, text: &str) {
    use std::io::Write;
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The captured machines, which every crate's tests share.
pub fn captured(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hosts").join(name)
}

/// In memory where there is such a place: thousands of machines are made, and none has to survive the power.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else if from.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.insert(path.clone(), Vec::new());
            collect(&path, files);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
}
