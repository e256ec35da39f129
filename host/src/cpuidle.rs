//! How deeply each CPU may sleep, and how deeply it did.
//!
//! The states differ by driver and by CPU, so they are told by name, never by number. Source:
//! Documentation/admin-guide/pm/cpuidle.rst, "Idle States Control" and "Representation of Idle States".

use units::{CpuId, Nanos};

use crate::{Error, Root, if_present, text};

/// One idle state of one CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its place in sysfs; deeper states have higher ones.
    pub index: u32,
    /// The driver's name for it: `POLL`, `C1`, `C6`.
    pub name: String,
    /// The longest it may take to leave it.
    pub exit_latency: Nanos,
    /// Times it was entered since boot.
    pub usage: u64,
    /// Whether somebody has forbidden it, for this CPU.
    pub disabled: bool,
}

/// The idle states of `cpu`, shallowest first; `None` where no driver runs, as in many virtual machines.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn states(root: &Root, cpu: CpuId) -> Result<Option<Vec<State>>, Error> {
    let dir = dir(cpu);
    let Some(names) = if_present(root.list(&dir))? else { return Ok(None) };
    let mut indices: Vec<u32> =
        names.iter().filter_map(|name| name.strip_prefix("state")?.parse().ok()).collect();
    indices.sort_unstable();
    indices.into_iter().map(|index| state(root, &dir, index)).collect::<Result<_, _>>().map(Some)
}

/// The attribute that forbids the state `index` to `cpu`; writing it needs CAP_SYS_ADMIN.
#[must_use]
pub fn disable_path(cpu: CpuId, index: u32) -> String {
    format!("{}/state{index}/disable", dir(cpu))
}

fn dir(cpu: CpuId) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle")
}

// Format: "POLL\n", "0\n" (us), "2127\n", "0\n"   (Documentation/admin-guide/pm/cpuidle.rst)
fn state(root: &Root, dir: &str, index: u32) -> Result<State, Error> {
    let file = |name: &str| format!("{dir}/state{index}/{name}");
    let micros: u32 = root.parse(&file("latency"), text::number)?;
    let disable: u64 = root.parse(&file("disable"), text::number)?;
    Ok(State {
        index,
        name: root.parse(&file("name"), text::line)?,
        exit_latency: Nanos::from_micros(u64::from(micros)),
        usage: root.parse(&file("usage"), text::number)?,
        disabled: disable != 0,
    })
}

/// The driver that puts CPUs to sleep; `None` where there is none.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "intel_idle\n", "none\n"   (Documentation/ABI/testing/sysfs-devices-system-cpu, current_driver)
pub fn driver(root: &Root) -> Result<Option<String>, Error> {
    let driver = if_present(root.parse("/sys/devices/system/cpu/cpuidle/current_driver", text::line))?;
    Ok(driver.filter(|name| name != "none"))
}

/// Who chooses the state of an idle CPU; `None` where there is no choosing.
///
/// `haltpoll`, for guests, looks at no state's `disable` (drivers/cpuidle/governors/haltpoll.c): what is forbidden there is
/// used all the same.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "menu\n"   (Documentation/admin-guide/pm/cpuidle.rst, current_governor)
pub fn governor(root: &Root) -> Result<Option<String>, Error> {
    let dir = "/sys/devices/system/cpu/cpuidle";
    let governor = match if_present(root.parse(&format!("{dir}/current_governor"), text::line))? {
        None => if_present(root.parse(&format!("{dir}/current_governor_ro"), text::line))?,
        found => found,
    };
    Ok(governor.filter(|name| name != "none"))
}

/// The attribute that counts how often `cpu` entered the state `index`.
#[must_use]
pub fn usage_path(cpu: CpuId, index: u32) -> String {
    format!("{}/state{index}/usage", dir(cpu))
}
