//! Intel's hint of performance against energy, a number a CPU.
//!
//! The processor may keep one for several CPUs, so that writing one's changes its neighbours'. Source:
//! Documentation/admin-guide/pm/intel_epb.rst.

use units::CpuId;

use crate::{Error, Root, text};

/// The most that saves energy; 0 is the most for performance.
pub const BIAS_MAX: u8 = 15;

/// The attribute of `cpu`.
#[must_use]
pub fn path(cpu: CpuId) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/power/energy_perf_bias")
}

/// The hint for `cpu`: 0 for performance, [`BIAS_MAX`] for energy.
///
/// # Errors
/// [`Error::Absent`] on processors without it, [`Error::Read`], [`Error::Format`].
// Format: "6\n"   (Documentation/admin-guide/pm/intel_epb.rst)
pub fn read(root: &Root, cpu: CpuId) -> Result<u8, Error> {
    root.parse(&path(cpu), text::number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Tree;

    #[test]
    fn a_number_or_nothing() {
        let tree = Tree::of(&[("/sys/devices/system/cpu/cpu1/power/energy_perf_bias", "6\n")]);
        assert_eq!(read(&tree.root, CpuId(1)).unwrap(), 6);
        assert!(read(&tree.root, CpuId(0)).unwrap_err().is_absent());
    }
}
