//! A kernel as far as its files show it: what a write does to the file, to its neighbours, and what is refused.
//!
//! Pure: a tree of texts and the rule of each path; [`mount`] puts it where the engine finds it. It is made of a captured
//! machine, so that the texts are a kernel's own, and it behaves as those kernels were measured to: numbers have ranges,
//! selectors move a bracket, one member of a pair zeroes the other, pools of huge pages give what they have, partitions
//! turn invalid without refusing anything, interrupts move when they fire. [`lies`] makes a path behave otherwise.

pub mod cgroup;
pub mod declared;
pub mod lies;
pub mod mount;
pub mod rules;
pub mod wishes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use units::CpuSet;

use lies::Lie;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub text: String,
    /// Its mode bits; the kernel marks an interrupt that belongs to its driver by taking the write bits away.
    pub mode: u16,
}

/// What a machine does that its files do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Habits {
    /// Interrupts that have not fired since they were moved: their effective CPUs stay.
    pub quiet_irqs: BTreeSet<String>,
    /// Interrupts whose driver keeps them, and what the kernel says when somebody moves them all the same.
    pub managed_irqs: BTreeMap<String, i32>,
    /// Pools of huge pages that get no more than this many, because memory is in pieces.
    pub page_limits: BTreeMap<String, u64>,
}

/// A kernel.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    pub files: BTreeMap<String, File>,
    pub dirs: BTreeSet<String>,
    pub habits: Habits,
    pub lies: Vec<Lie>,
    /// What somebody sets right before the next reads of a path, one value a read.
    pub rival: BTreeMap<String, VecDeque<String>>,
    /// Writes that reached it, refused ones too.
    pub writes: u64,
}

/// Everything that its files show, lies not considered: what is so.
pub type Truth = BTreeMap<String, Option<String>>;

impl Kernel {
    /// The captured machine below `dir`.
    pub fn captured(dir: &Path) -> Self {
        let mut kernel = Self::default();
        for top in ["proc", "sys"] {
            kernel.take_in(&dir.join(top), &format!("/{top}"));
        }
        let read_only = fs::read_to_string(dir.join("read-only")).unwrap_or_default();
        for path in read_only.lines() {
            if let Some(file) = kernel.files.get_mut(path) {
                file.mode = 0o444;
            }
        }
        kernel
    }

    fn take_in(&mut self, from: &Path, path: &str) {
        self.dirs.insert(path.to_owned());
        let Ok(entries) = fs::read_dir(from) else { return };
        for entry in entries.map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let inner = format!("{path}/{name}");
            if entry.path().is_dir() {
                self.take_in(&entry.path(), &inner);
            } else if name != ".gitkeep" {
                let bytes = fs::read(entry.path()).unwrap();
                let mode = entry.metadata().unwrap().permissions().mode();
                let mode = if mode & 0o222 == 0 { 0o444 } else { 0o644 };
                self.files.insert(inner, File { text: String::from_utf8_lossy(&bytes).into_owned(), mode });
            }
        }
    }

    /// Puts a file there, and the directories above it.
    pub fn put(&mut self, path: &str, text: impl Into<String>) {
        let mut dir = path;
        while let Some((above, _)) = dir.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            self.dirs.insert(above.to_owned());
            dir = above;
        }
        self.files.insert(path.to_owned(), File { text: text.into(), mode: 0o644 });
    }

    /// Takes a file, or a directory and everything below it, away.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.files.retain(|name, _| name != path && !name.starts_with(&below));
        self.dirs.retain(|name| name != path && !name.starts_with(&below));
    }

    /// The text of a file, trimmed; empty where there is none.
    pub fn text(&self, path: &str) -> &str {
        self.files.get(path).map_or("", |file| file.text.trim())
    }

    /// Sets what a file shows, if it is there.
    pub fn show(&mut self, path: &str, text: impl std::fmt::Display) {
        if let Some(file) = self.files.get_mut(path) {
            file.text = format!("{text}\n");
        }
    }

    pub fn cpus(&self, path: &str) -> CpuSet {
        self.text(path).parse().unwrap_or_else(|_| CpuSet::empty())
    }

    pub fn online(&self) -> CpuSet {
        self.cpus("/sys/devices/system/cpu/online")
    }

    /// What is so, whatever anybody is told.
    pub fn truth(&self) -> Truth {
        let files = self.files.iter().map(|(path, file)| (path.clone(), Some(file.text.clone())));
        let dirs = self.dirs.iter().map(|path| (path.clone(), None));
        files.chain(dirs).collect()
    }

    /// What a roll-back owes: all that somebody sets. Where an interrupt was delivered last, and how much memory is free,
    /// nobody sets.
    pub fn settings(&self) -> Truth {
        const FOLLOWS: [&str; 3] = ["/effective_affinity_list", "/meminfo", "/free_hugepages"];
        let mut settings = self.truth();
        settings.retain(|path, _| !FOLLOWS.iter().any(|name| path.ends_with(name)));
        settings
    }

    /// What read(2) answers from the start of the file.
    pub fn read(&mut self, path: &str) -> Result<String, Errno> {
        if let Some(value) = self.rival.get_mut(path).and_then(VecDeque::pop_front) {
            self.show(path, value);
        }
        let text = self.files.get(path).map(|file| file.text.clone()).ok_or(Errno::ENOENT)?;
        lies::told(self, path, text)
    }

    /// What write(2) answers: the bytes taken.
    pub fn write(&mut self, path: &str, bytes: &[u8]) -> Result<usize, Errno> {
        self.writes += 1;
        lies::written(self, path, bytes)
    }

    /// mkdir(2): control groups can be made, nothing else.
    pub fn make_dir(&mut self, path: &str) -> Result<(), Errno> {
        self.writes += 1;
        cgroup::make(self, path)
    }

    /// rmdir(2).
    pub fn remove_dir(&mut self, path: &str) -> Result<(), Errno> {
        self.writes += 1;
        cgroup::remove(self, path)
    }

    /// Whether there is something of this name, and whether that is a directory.
    pub fn is_dir(&self, path: &str) -> Option<bool> {
        if lies::is_gone(self, path) {
            return None;
        }
        if self.dirs.contains(path) {
            return Some(true);
        }
        self.files.contains_key(path).then_some(false)
    }

    /// The names right below a directory.
    pub fn list(&self, dir: &str) -> Vec<(String, bool)> {
        let prefix = format!("{dir}/");
        let name =
            |path: &String| path.strip_prefix(&prefix).filter(|rest| !rest.contains('/')).map(str::to_owned);
        let files = self.files.keys().filter_map(name).map(|name| (name, false));
        let dirs = self.dirs.iter().filter_map(name).map(|name| (name, true));
        files.chain(dirs).filter(|(name, _)| !lies::is_gone(self, &format!("{prefix}{name}"))).collect()
    }
}

/// What differs between two truths, one line a path.
pub fn differences(now: &Truth, before: &Truth) -> Vec<String> {
    let paths: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    let differs = paths.into_iter().filter(|path| now.get(*path) != before.get(*path));
    differs.map(|path| format!("{path}: {:?}, not {:?}", now.get(path), before.get(path))).collect()
}

/// The captured machines that models are made of, each with the little that its capture leaves out.
pub const CAPTURED: [&str; 3] = ["qemu-4cpu-2node-6.12", "qemu-4cpu-2node-6.1-rt", "firecracker-2cpu-6.18"];

/// A model of a captured machine, with what a bare-metal host has beside it: frequency control, the groups' switches, more
/// memory than an emulated guest's.
pub fn modelled(name: &str) -> Kernel {
    let mut kernel = Kernel::captured(&crate::tree::captured(name));
    let root = "/sys/fs/cgroup";
    if kernel.files.contains_key(&format!("{root}/cgroup.controllers")) {
        kernel.put(&format!("{root}/cgroup.subtree_control"), "cpu memory pids\n");
        kernel.remove(&format!("{root}/trading"));
    }
    for (policy, cpu) in kernel.online().iter().enumerate() {
        let dir = format!("/sys/devices/system/cpu/cpufreq/policy{policy}");
        for (name, text) in [
            ("scaling_governor", "powersave".to_owned()),
            ("scaling_available_governors", "performance powersave".to_owned()),
            ("scaling_driver", "intel_pstate".to_owned()),
            ("affected_cpus", cpu.to_string()),
            ("related_cpus", cpu.to_string()),
        ] {
            kernel.put(&format!("{dir}/{name}"), format!("{text}\n"));
        }
    }
    for node in ["node0", "node1"] {
        let path = format!("/sys/devices/system/node/{node}/meminfo");
        rules::set_field(&mut kernel, &path, "MemTotal:", 16 << 20);
        rules::set_field(&mut kernel, &path, "MemFree:", 12 << 20);
    }
    declared::add(&mut kernel);
    cgroup::settle(&mut kernel);
    kernel
}
