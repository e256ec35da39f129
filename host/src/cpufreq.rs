//! Who decides how fast the CPUs run.
//!
//! A virtual machine usually has no frequency control: the kernel's directory is then absent or empty, and that is an
//! answer with a reason, not an error. Sources: Documentation/admin-guide/pm/cpufreq.rst, "Policy Interface in sysfs".

use units::CpuSet;

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/devices/system/cpu/cpufreq";

/// What the kernel lets one decide about frequencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scaling {
    /// Nothing.
    None {
        /// Why, as one would tell an operator.
        reason: &'static str,
    },
    /// Each policy rules the CPUs that share a clock; ascending by number.
    Policies(Vec<Policy>),
}

/// One group of CPUs that share a frequency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its number, usually that of its first CPU.
    pub id: u32,
    /// The on-line CPUs it rules.
    pub cpus: CpuSet,
    /// The governor in charge.
    pub governor: String,
    /// The governors that can be put in charge.
    pub governors: Vec<String>,
    /// The driver that talks to the hardware.
    pub driver: String,
}

impl Policy {
    /// The attribute that names the governor.
    #[must_use]
    pub fn governor_path(&self) -> String {
        format!("{DIR}/policy{}/scaling_governor", self.id)
    }
}

/// The machine's frequency policies.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn scaling(root: &Root) -> Result<Scaling, Error> {
    let Some(names) = if_present(root.list(DIR))? else {
        return Ok(Scaling::None { reason: "the kernel has no frequency control (no cpufreq directory)" });
    };
    let mut ids: Vec<u32> =
        names.iter().filter_map(|name| name.strip_prefix("policy")?.parse().ok()).collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return Ok(Scaling::None { reason: "no frequency driver runs here, as in most virtual machines" });
    }
    ids.into_iter().map(|id| policy(root, id)).collect::<Result<_, _>>().map(Scaling::Policies)
}

// Format: "performance\n", "performance powersave \n", "intel_pstate\n"   (Documentation/admin-guide/pm/cpufreq.rst)
fn policy(root: &Root, id: u32) -> Result<Policy, Error> {
    let file = |name: &str| format!("{DIR}/policy{id}/{name}");
    Ok(Policy {
        id,
        cpus: root.parse(&file("affected_cpus"), parse_cpus)?,
        governor: root.parse(&file("scaling_governor"), text::line)?,
        governors: root.parse(&file("scaling_available_governors"), text::words)?,
        driver: root.parse(&file("scaling_driver"), text::line)?,
    })
}

// Format: "0 1\n"   (Documentation/admin-guide/pm/cpufreq.rst, affected_cpus)
fn parse_cpus(text: &str) -> Result<CpuSet, Malformed> {
    text::cpulist(&text::words(text)?.join(","))
}
