//! Who decides how fast the CPUs run, and within which limits.
//!
//! A virtual machine usually has no frequency control: the kernel's directory is then absent or empty, and that is an
//! answer with a reason, not an error. Sources: Documentation/admin-guide/pm/cpufreq.rst, "Policy Interface in sysfs" and
//! "The boost File in sysfs"; Documentation/admin-guide/pm/intel_pstate.rst for `energy_performance_preference`;
//! drivers/cpufreq/cpufreq.c for the boost of one policy (Linux 6.6 or later).

use units::CpuSet;

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

const DIR: &str = "/sys/devices/system/cpu/cpufreq";

/// Whether frequencies above the sustained ones may be used, for drivers that have no switch of their own.
pub const BOOST: &str = "/sys/devices/system/cpu/cpufreq/boost";

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
    /// What the hardware can do, and what the policy allows of it.
    pub range: Option<Range>,
    /// How the processor is told to weigh energy against performance, where it decides by itself.
    pub preference: Option<Preference>,
    /// Whether it may use boost frequencies, where that is a choice of the policy.
    pub boost: Option<bool>,
}

/// Frequencies in kHz, as the kernel counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The lowest that the hardware has.
    pub hardware_min: u64,
    /// The highest that the hardware has; boost frequencies count while they are allowed.
    pub hardware_max: u64,
    /// The lowest that the policy uses.
    pub min: u64,
    /// The highest that the policy uses.
    pub max: u64,
    /// Those that can be set, ascending; empty where any can.
    pub steps: Vec<u64>,
}

/// How the processor is told to weigh energy against performance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// A word, or a number of the processor's.
    pub current: String,
    /// The words it takes.
    pub available: Vec<String>,
}

impl Policy {
    /// The attribute that names the governor.
    #[must_use]
    pub fn governor_path(&self) -> String {
        self.path("scaling_governor")
    }

    /// The attribute with the lowest frequency used, in kHz.
    #[must_use]
    pub fn min_path(&self) -> String {
        self.path("scaling_min_freq")
    }

    /// The attribute with the highest frequency used, in kHz.
    #[must_use]
    pub fn max_path(&self) -> String {
        self.path("scaling_max_freq")
    }

    /// The attribute with the weight of energy against performance.
    #[must_use]
    pub fn preference_path(&self) -> String {
        self.path("energy_performance_preference")
    }

    /// The attribute that allows this policy boost frequencies; refused with EINVAL while [`BOOST`] is 0.
    #[must_use]
    pub fn boost_path(&self) -> String {
        self.path("boost")
    }

    fn path(&self, name: &str) -> String {
        format!("{DIR}/policy{}/{name}", self.id)
    }
}

impl Range {
    /// The frequency to set for this share of the hardware's highest: the next one up that can be set.
    #[must_use]
    pub fn share(&self, percent: u32) -> u64 {
        let wanted = (self.hardware_max * u64::from(percent)).div_ceil(100);
        let wanted = wanted.clamp(self.hardware_min, self.hardware_max);
        self.steps.iter().copied().find(|step| *step >= wanted).unwrap_or(wanted)
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

/// Whether boost frequencies are allowed, where there is one switch for all policies.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "1\n"   (Documentation/admin-guide/pm/cpufreq.rst, "The boost File in sysfs")
pub fn boost(root: &Root) -> Result<Option<bool>, Error> {
    if_present(root.parse(BOOST, parse_switch))
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
        range: if_present(range(root, &file))?,
        preference: if_present(preference(root, &file))?,
        boost: if_present(root.parse(&file("boost"), parse_switch))?,
    })
}

// Format: "800000\n"; "3600000 2800000 \n" of a table, in the table's order   (Documentation/admin-guide/pm/cpufreq.rst)
fn range(root: &Root, file: &impl Fn(&str) -> String) -> Result<Range, Error> {
    let khz = |name: &str| root.parse(&file(name), text::number);
    let steps = if_present(root.parse(&file("scaling_available_frequencies"), parse_steps))?;
    Ok(Range {
        hardware_min: khz("cpuinfo_min_freq")?,
        hardware_max: khz("cpuinfo_max_freq")?,
        min: khz("scaling_min_freq")?,
        max: khz("scaling_max_freq")?,
        steps: steps.unwrap_or_default(),
    })
}

// Format: "balance_performance\n", "128\n"; "default performance balance_performance balance_power power \n"
//         (Documentation/admin-guide/pm/intel_pstate.rst, "Energy vs Performance Hints")
fn preference(root: &Root, file: &impl Fn(&str) -> String) -> Result<Preference, Error> {
    Ok(Preference {
        current: root.parse(&file("energy_performance_preference"), text::line)?,
        available: root.parse(&file("energy_performance_available_preferences"), text::words)?,
    })
}

fn parse_steps(text: &str) -> Result<Vec<u64>, Malformed> {
    let mut steps: Vec<u64> = text.split_ascii_whitespace().map(text::number).collect::<Result<_, _>>()?;
    steps.sort_unstable();
    Ok(steps)
}

fn parse_switch(text: &str) -> Result<bool, Malformed> {
    text::number::<u8>(text).map(|number| number != 0)
}

// Format: "0 1\n"   (Documentation/admin-guide/pm/cpufreq.rst, affected_cpus)
fn parse_cpus(text: &str) -> Result<CpuSet, Malformed> {
    text::cpulist(&text::words(text)?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    /// A policy as Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst describe it.
    fn tree() -> Tree {
        Tree::of(&[
            ("/sys/devices/system/cpu/cpufreq/policy0/affected_cpus", "0 1\n"),
            ("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n"),
            (
                "/sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors",
                "performance powersave \n",
            ),
            ("/sys/devices/system/cpu/cpufreq/policy0/scaling_driver", "intel_pstate\n"),
            ("/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_min_freq", "800000\n"),
            ("/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq", "3700000\n"),
            ("/sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq", "800000\n"),
            ("/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "3700000\n"),
        ])
    }

    fn only(tree: &Tree) -> Policy {
        match scaling(&tree.root).unwrap() {
            Scaling::Policies(policies) => policies.into_iter().next().unwrap(),
            Scaling::None { reason } => panic!("{reason}"),
        }
    }

    #[test]
    fn what_a_driver_does_not_have_is_not_there() {
        let tree = tree();
        let policy = only(&tree);
        assert_eq!(policy.cpus.to_string(), "0-1");
        assert_eq!(
            (policy.preference.is_none(), policy.boost, boost(&tree.root).unwrap()),
            (true, None, None)
        );
        let dir = "/sys/devices/system/cpu/cpufreq/policy0";
        tree.put(&format!("{dir}/energy_performance_preference"), "128\n");
        tree.put(&format!("{dir}/energy_performance_available_preferences"), "default performance power \n");
        tree.put(&format!("{dir}/boost"), "0\n");
        tree.put(BOOST, "1\n");
        let policy = only(&tree);
        assert_eq!((policy.boost, boost(&tree.root).unwrap()), (Some(false), Some(true)));
        let preference = policy.preference.unwrap();
        assert_eq!((preference.current.as_str(), preference.available.len()), ("128", 3));
    }

    #[track_caller]
    fn check_share(steps: &str, percent: u32, expected: u64) {
        let range = Range {
            hardware_min: 800_000,
            hardware_max: 3_700_000,
            min: 800_000,
            max: 3_700_000,
            steps: parse_steps(steps).unwrap(),
        };
        assert_eq!(range.share(percent), expected, "{percent} % of {steps:?}");
    }

    #[test]
    fn a_share_is_a_frequency_that_can_be_set() {
        check_share("", 100, 3_700_000);
        check_share("", 50, 1_850_000);
        check_share("", 0, 800_000); // not below what there is
        check_share("3700000 2800000 800000 \n", 50, 2_800_000); // the next one up
        check_share("2800000 800000 \n", 100, 3_700_000); // a table without boost frequencies
    }
}
