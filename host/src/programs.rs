//! Which programs run on the machine, and which of systemd's units are active: by name only, to know who else is at work.
//!
//! A process may call itself anything, so a name is a hint for a person, never a proof. Sources:
//! Documentation/filesystems/proc.rst, 1.1 (comm, at most 15 characters); systemd, src/core/unit.c
//! (unit_export_invocation_id).

use std::collections::{BTreeMap, BTreeSet};

use crate::tasks::{self, Pid};
use crate::{Error, Root, if_present, text};

const UNITS: &str = "/run/systemd/units";

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Programs {
    /// The first process of each name; the kernel's own threads are among them.
    pub processes: BTreeMap<String, Pid>,
    /// The units that systemd holds active, one that ran and ended but counts as active among them.
    pub units: BTreeSet<String>,
}

impl Programs {
    /// What runs now. Reads one file a process of the machine.
    ///
    /// # Errors
    /// [`Error::Absent`] without `/proc`, [`Error::Read`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        let mut processes = BTreeMap::new();
        for pid in tasks::numbers(root, "/proc")? {
            // Absent: ended meanwhile. A name is bytes of the process's choice; what is no line is nobody we know.
            let name = if_present(root.parse(&format!("/proc/{pid}/comm"), text::line)).ok().flatten();
            if let Some(name) = name {
                processes.entry(name).or_insert(pid);
            }
        }
        let exported = if_present(root.list(UNITS))?.unwrap_or_default();
        let units = exported.iter().filter_map(|name| name.strip_prefix("invocation:")).map(str::to_owned);
        Ok(Self { processes, units: units.collect() })
    }

    /// Whether a process of this name runs; the kernel cuts names off after 15 characters.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.process(name).is_some()
    }

    /// The first process of this name, likewise.
    #[must_use]
    pub fn process(&self, name: &str) -> Option<Pid> {
        self.processes.get(name.get(..COMM_CHARS_MAX).unwrap_or(name)).copied()
    }

    /// Whether the service is active, by its unit or by a process of its name.
    #[must_use]
    pub fn is_alive(&self, service: &str) -> bool {
        self.runs(service) || self.units.contains(&format!("{service}.service"))
    }
}

/// TASK_COMM_LEN without the byte that ends it.
const COMM_CHARS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_units() {
        let dir = tempfile::tempdir().unwrap();
        for (pid, name) in
            [(1, "systemd\n"), (40, "irqbalance\n"), (41, "irqbalance\n"), (50, "power-profiles-\n")]
        {
            let process = dir.path().join("proc").join(pid.to_string());
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("comm"), name).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("proc/60")).unwrap(); // ended
        let units = dir.path().join("run/systemd/units");
        std::fs::create_dir_all(&units).unwrap();
        std::os::unix::fs::symlink("0123", units.join("invocation:tlp.service")).unwrap();
        let programs = Programs::read(&Root::at(dir.path())).unwrap();
        assert_eq!(programs.processes.get("irqbalance"), Some(&Pid(40)));
        assert_eq!(programs.processes.len(), 3);
        let alive = ["irqbalance", "power-profiles-daemon", "tlp"];
        assert!(alive.iter().all(|name| programs.is_alive(name)), "{programs:?}");
        assert!(!programs.is_alive("tuned") && !programs.runs("tlp"));
    }

    #[test]
    fn this_machine_has_some() {
        let programs = Programs::read(&Root::system()).unwrap();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert!(programs.runs(own.trim_end()), "{own} in {programs:?}");
    }
}
