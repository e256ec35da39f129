//! A fake machine: plain files with the text of a 2-CPU virtual machine with Linux 6.18 (and, so that every form of cell
//! occurs, a default affinity and limits in bytes as other machines have them).

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

const FILES: &[(&str, &str)] = &[
    ("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
    ("proc/sys/kernel/random/boot_id", "25be2e43-735c-4f0b-8721-54d9cd01e8e9\n"),
    ("proc/sys/kernel/hostname", "fake\n"),
    ("proc/sys/kernel/osrelease", "6.18.44\n"),
    ("proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC\n"),
    ("proc/sys/vm/swappiness", "60\n"),
    ("proc/sys/vm/dirty_ratio", "20\n"),
    ("proc/sys/vm/dirty_bytes", "0\n"),
    ("proc/sys/vm/dirty_background_ratio", "0\n"),
    ("proc/sys/vm/dirty_background_bytes", "67108864\n"),
    ("proc/sys/vm/min_free_kbytes", "67584\n"),
    ("proc/sys/vm/stat_interval", "1\n"),
    ("proc/sys/kernel/numa_balancing", "1\n"),
    ("proc/sys/kernel/hung_task_timeout_secs", "120\n"),
    ("proc/sys/kernel/sched_rt_runtime_us", "950000\n"),
    ("proc/sys/kernel/sched_rt_period_us", "1000000\n"),
    ("proc/sys/kernel/timer_migration", "1\n"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("sys/kernel/mm/transparent_hugepage/defrag", "always defer defer+madvise [madvise] never\n"),
    ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "0\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "0\n"),
    ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/surplus_hugepages", "0\n"),
    (
        "sys/devices/system/node/node0/meminfo",
        "Node 0 MemTotal:       24684084 kB\nNode 0 MemFree:        23877596 kB\n",
    ),
    ("sys/devices/system/node/node0/cpulist", "0-1\n"),
    ("sys/devices/system/node/node0/distance", "10\n"),
    ("sys/devices/system/cpu/possible", "0-1\n"),
    ("sys/devices/system/cpu/present", "0-1\n"),
    ("sys/devices/system/cpu/online", "0-1\n"),
    ("sys/devices/system/cpu/offline", "\n"),
    ("sys/devices/system/cpu/isolated", "1\n"),
    ("sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us", "0\n"),
    ("sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us", "0\n"),
    ("sys/devices/virtual/workqueue/cpumask", "3\n"),
    ("proc/irq/default_smp_affinity", "3\n"),
    ("proc/irq/36/smp_affinity_list", "0-1\n"),
    ("proc/irq/36/effective_affinity_list", "1\n"),
    ("proc/irq/41/smp_affinity_list", "0-1\n"),
    ("proc/irq/41/effective_affinity_list", "0\n"),
    ("sys/kernel/irq/36/chip_name", "PCI-MSIX-0000:00:02.0\n"),
    ("sys/kernel/irq/36/actions", "virtio1-req.0\n"),
    ("sys/kernel/irq/36/hwirq", "1\n"),
    ("sys/kernel/irq/41/chip_name", "PCI-MSIX-0000:00:04.0\n"),
    ("sys/kernel/irq/41/actions", "virtio3-rx\n"),
    ("sys/kernel/irq/41/hwirq", "1\n"),
    ("proc/self/mountinfo", "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"),
    ("sys/fs/cgroup/cpuset/trading/cpuset.cpus", "0-1\n"),
    ("sys/fs/cgroup/cpuset/trading/cpuset.mems", "\n"),
    ("sys/fs/cgroup/cpuset/trading/cpuset.effective_cpus", "0-1\n"),
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

impl Machine {
    /// A fresh one.
    pub fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        for (path, text) in FILES {
            machine.put(&format!("/{path}"), text);
        }
        // As the kernel marks a managed interrupt.
        let managed = fs::Permissions::from_mode(0o444);
        fs::set_permissions(machine.file("/proc/irq/36/smp_affinity_list"), managed).unwrap();
        machine
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
