//! Which CPUs there are, and which of them the kernel keeps for itself or leaves alone.
//!
//! The machine's CPUs come from sysfs, never from this process's affinity mask, which hides exactly the isolated ones.
//! Isolation by a cgroup v2 partition does not show here (`cgroups` reads it). Sources:
//! Documentation/admin-guide/cputopology.rst; Documentation/ABI/testing/sysfs-devices-system-cpu.

use std::str::FromStr;

use units::{CpuId, CpuSet};

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/devices/system/cpu";

/// The switch for hardware threads.
pub const SMT_CONTROL: &str = "/sys/devices/system/cpu/smt/control";

/// The attribute that takes `cpu` off line and back; not there for a CPU that cannot be.
#[must_use]
pub fn online_path(cpu: CpuId) -> String {
    format!("{DIR}/cpu{cpu}/online")
}

/// The machine's CPUs by state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// Allocated resources at boot: could ever be brought up.
    pub possible: CpuSet,
    /// Plugged in.
    pub present: CpuSet,
    /// Being scheduled on.
    pub online: CpuSet,
    /// Possible and not on line. Hot-removed CPUs beyond the kernel's limit may be listed too.
    pub offline: CpuSet,
    /// Outside the scheduler's load balancing since boot (`isolcpus=domain`).
    pub isolated: CpuSet,
    /// Running without the tick when one task is runnable; `None` when this kernel has no such mode, empty when it was
    /// not asked for at boot.
    pub nohz_full: Option<CpuSet>,
}

impl Cpus {
    /// What holds now.
    ///
    /// # Errors
    /// The first file that is absent (except `nohz_full`), unreadable or malformed.
    pub fn read(root: &Root) -> Result<Self, Error> {
        Ok(Self {
            possible: list(root, "possible")?,
            present: list(root, "present")?,
            online: list(root, "online")?,
            offline: list(root, "offline")?,
            isolated: list(root, "isolated")?,
            nohz_full: if_present(root.parse_attribute(&format!("{DIR}/nohz_full"), parse_nohz_full))?,
        })
    }

    /// The CPUs that the boot line keeps to an application: isolated, or tick-less.
    #[must_use]
    pub fn quiet(&self) -> CpuSet {
        self.nohz_full.as_ref().map_or_else(|| self.isolated.clone(), |cpus| cpus.union(&self.isolated))
    }

    /// The CPUs left for everything that is not the trading application: on line, and neither isolated nor tick-less.
    #[must_use]
    pub fn housekeeping(&self) -> CpuSet {
        self.online.difference(&self.quiet())
    }
}

// Format: "0-3\n"; "\n" for none   (Documentation/admin-guide/cputopology.rst)
fn list(root: &Root, name: &str) -> Result<CpuSet, Error> {
    root.parse_attribute(&format!("{DIR}/{name}"), text::cpulist)
}

// Format: "2-3\n", or "(null)\n" where the mask was never allocated   (drivers/base/cpu.c, print_cpus_nohz_full)
fn parse_nohz_full(text: &str) -> Result<CpuSet, Malformed> {
    if text.trim() == "(null)" { Ok(CpuSet::empty()) } else { text::cpulist(text) }
}

/// Where one CPU sits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The socket; `None` where firmware does not tell (the kernel's -1).
    pub package: Option<u32>,
    /// The core within its die: not unique in the machine, hence [`Place::siblings`].
    pub core: Option<u32>,
    /// The on-line hardware threads of this core, this CPU among them.
    pub siblings: CpuSet,
}

/// Where `cpu` sits; `None` while it is off line, because the kernel then takes its topology away.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn place(root: &Root, cpu: CpuId) -> Result<Option<Place>, Error> {
    let file = |name: &str| format!("{DIR}/cpu{cpu}/topology/{name}");
    let Some(siblings) = siblings(root, cpu)? else { return Ok(None) };
    Ok(Some(Place {
        package: if_present(root.parse(&file("physical_package_id"), parse_topology_id))?.flatten(),
        core: if_present(root.parse(&file("core_id"), parse_topology_id))?.flatten(),
        siblings,
    }))
}

/// The on-line hardware threads of the core of `cpu`, itself among them; `None` while it is off line.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn siblings(root: &Root, cpu: CpuId) -> Result<Option<CpuSet>, Error> {
    if_present(root.parse_attribute(&format!("{DIR}/cpu{cpu}/topology/thread_siblings_list"), text::cpulist))
}

// Format: "0\n", "-1\n" for unknown   (Documentation/ABI/stable/sysfs-devices-system-cpu)
/// Which life of `cpu` this is; `None` while it is off line.
///
/// The kernel makes the folder of a CPU's topology when it comes on line and removes it when it goes, so that its inode is
/// another one in each life. What was bound to the CPU in the last one (a kernel event, a thread's mask) may be dead.
/// Source: drivers/base/topology.c, topology_add_dev and topology_remove_dev.
#[must_use]
pub fn life(root: &Root, cpu: CpuId) -> Option<u64> {
    root.inode(&format!("{DIR}/cpu{cpu}/topology"))
}

fn parse_topology_id(text: &str) -> Result<Option<u32>, Malformed> {
    if text.trim() == "-1" { Ok(None) } else { text::number(text).map(Some) }
}

/// Whether the machine runs several hardware threads on a core, and whether that can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smt {
    /// The switch.
    pub control: SmtControl,
    /// Whether any on-line core has more than one on-line thread now.
    pub active: bool,
}

/// The state of the switch for hardware threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtControl {
    /// Enabled.
    On,
    /// Disabled; may be enabled.
    Off,
    /// Disabled until the next boot.
    ForceOff,
    /// The processor has none (as in most virtual machines).
    NotSupported,
    /// The kernel was built without the switch.
    NotImplemented,
    /// Enabled for this many threads a core.
    Threads(u32),
}

impl FromStr for SmtControl {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            "forceoff" => Ok(Self::ForceOff),
            "notsupported" => Ok(Self::NotSupported),
            "notimplemented" => Ok(Self::NotImplemented),
            threads => threads.parse().map(Self::Threads).map_err(|_| {
                format!("{word:?} is none of on, off, forceoff, notsupported, notimplemented or a number of threads")
            }),
        }
    }
}

/// The machine's hardware threads; `None` where the kernel shows no such directory.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "notsupported\n" and "0\n"   (Documentation/ABI/testing/sysfs-devices-system-cpu, .../cpu/smt)
pub fn smt(root: &Root) -> Result<Option<Smt>, Error> {
    let control = root.parse(SMT_CONTROL, |text| {
        text.trim().parse().map_err(|problem: String| Malformed::new(text, problem))
    });
    let Some(control) = if_present(control)? else { return Ok(None) };
    let active: u32 = root.parse(&format!("{DIR}/smt/active"), text::number)?;
    Ok(Some(Smt { control, active: active != 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_that_was_never_allocated_is_empty() {
        assert_eq!(parse_nohz_full("  (null)\n"), Ok(CpuSet::empty()));
        assert_eq!(parse_nohz_full("2-3\n").unwrap().to_string(), "2-3");
        assert!(parse_nohz_full("(nil)\n").is_err());
    }

    #[test]
    fn the_switch_for_hardware_threads() {
        for (word, expected) in [
            ("on", Some(SmtControl::On)),
            ("notsupported", Some(SmtControl::NotSupported)),
            ("2", Some(SmtControl::Threads(2))),
            ("On", None),
            ("", None),
        ] {
            assert_eq!(word.parse().ok(), expected, "{word:?}");
        }
    }
}
