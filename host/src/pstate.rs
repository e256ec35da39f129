//! The drivers of processors that choose their frequency themselves, as far as they have switches for the whole machine.
//!
//! `no_turbo` is inverted against every other boost switch: 1 forbids. While it is written the kernel lowers each policy's
//! upper limit to what is left, and puts it back later unless somebody wrote it meanwhile. Sources:
//! Documentation/admin-guide/pm/intel_pstate.rst, "Global Attributes"; Documentation/admin-guide/pm/amd-pstate.rst.

use crate::{Error, Root, if_present, text};

/// 1 forbids frequencies above the sustained ones.
pub const NO_TURBO: &str = "/sys/devices/system/cpu/intel_pstate/no_turbo";

/// The lowest share used of the highest performance, in percent.
pub const MIN_PERF_PCT: &str = "/sys/devices/system/cpu/intel_pstate/min_perf_pct";

/// Intel's driver, where it is in charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntelPstate {
    /// `active`, `passive` or `off`.
    pub status: String,
    /// Whether turbo frequencies are forbidden.
    pub no_turbo: Option<bool>,
    /// The lowest share used of the highest performance, in percent; not there while the driver is passive.
    pub min_perf_pct: Option<u32>,
}

/// Intel's driver; `None` on other processors, and where it was disabled at boot.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "active\n", "0\n", "22\n"   (Documentation/admin-guide/pm/intel_pstate.rst)
pub fn intel(root: &Root) -> Result<Option<IntelPstate>, Error> {
    let status = if_present(root.parse("/sys/devices/system/cpu/intel_pstate/status", text::line))?;
    let Some(status) = status else { return Ok(None) };
    let no_turbo: Option<u8> = if_present(root.parse(NO_TURBO, text::number))?;
    Ok(Some(IntelPstate {
        status,
        no_turbo: no_turbo.map(|number| number != 0),
        min_perf_pct: if_present(root.parse(MIN_PERF_PCT, text::number))?,
    }))
}

/// The mode of AMD's driver (`active`, `passive`, `guided`, `disable`); `None` where the kernel has none.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
// Format: "active\n"   (Documentation/admin-guide/pm/amd-pstate.rst, "User Space Interface in sysfs - General")
pub fn amd(root: &Root) -> Result<Option<String>, Error> {
    if_present(root.parse("/sys/devices/system/cpu/amd_pstate/status", text::line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    #[test]
    fn a_driver_that_is_off_has_no_switches() {
        let tree = Tree::of(&[("/sys/devices/system/cpu/intel_pstate/status", "off\n")]);
        let driver = intel(&tree.root).unwrap().unwrap();
        assert_eq!((driver.status.as_str(), driver.no_turbo, driver.min_perf_pct), ("off", None, None));
        tree.put(NO_TURBO, "1\n");
        tree.put(MIN_PERF_PCT, "22\n");
        let driver = intel(&tree.root).unwrap().unwrap();
        assert_eq!((driver.no_turbo, driver.min_perf_pct), (Some(true), Some(22)));
        tree.put(MIN_PERF_PCT, "many\n");
        assert!(intel(&tree.root).unwrap_err().to_string().contains("not a number"));
    }

    #[test]
    fn other_processors_have_neither() {
        let tree = Tree::of(&[]);
        assert_eq!((intel(&tree.root).unwrap(), amd(&tree.root).unwrap()), (None, None));
        tree.put("/sys/devices/system/cpu/amd_pstate/status", "guided\n");
        assert_eq!(amd(&tree.root).unwrap().as_deref(), Some("guided"));
    }
}
