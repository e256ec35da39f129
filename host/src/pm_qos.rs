//! How long one CPU may take to wake up.
//!
//! The attribute's numbers are inverted against intuition: `0` puts no limit at all, and the strictest request is the
//! word `n/a`. Hence a type, and no number, leaves this file. Needs no capability beyond the file's owner, unlike the
//! cpuidle switches. Source: Documentation/ABI/testing/sysfs-devices-power, pm_qos_resume_latency_us.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use units::CpuId;

use crate::error::Malformed;
use crate::{Error, Root};

/// The longest wake-up a CPU's user accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeLatency {
    /// Any: every idle state may be used. The kernel's `0`, and its default.
    Unlimited,
    /// Idle states that need at most this many microseconds to leave.
    Micros(NonZeroU32),
    /// No latency accepted: the CPU polls when idle. The kernel's `n/a`.
    NoneAllowed,
}

/// The largest number of microseconds the kernel takes: its largest signed number itself means "no limit".
const MICROS_MAX: u32 = i32::MAX as u32 - 1;

/// The text the kernel reads.
impl fmt::Display for ResumeLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.pad("0"),
            Self::Micros(micros) => micros.fmt(f),
            Self::NoneAllowed => f.pad("n/a"),
        }
    }
}

/// The text the kernel writes.
impl FromStr for ResumeLatency {
    type Err = String;

    // Format: "0\n", "20\n", "n/a\n"   (Documentation/ABI/testing/sysfs-devices-power)
    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "n/a" => Ok(Self::NoneAllowed),
            "0" => Ok(Self::Unlimited),
            digits => digits
                .parse()
                .ok()
                .filter(|micros: &NonZeroU32| micros.get() <= MICROS_MAX)
                .map(Self::Micros)
                .ok_or_else(|| format!("not 0 (no limit), n/a (no latency allowed) or 1 to {MICROS_MAX} us")),
        }
    }
}

/// The attribute of `cpu`.
#[must_use]
pub fn path(cpu: CpuId) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us")
}

/// The limit in force for `cpu` (the machine-wide one of `/dev/cpu_dma_latency` apart).
///
/// # Errors
/// [`Error::Absent`] on a kernel without power management, [`Error::Read`], [`Error::Format`].
pub fn resume_latency(root: &Root, cpu: CpuId) -> Result<ResumeLatency, Error> {
    root.parse(&path(cpu), |text| text.parse().map_err(|problem: String| Malformed::new(text, problem)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_inverted() {
        let twenty = ResumeLatency::Micros(NonZeroU32::new(20).unwrap());
        for (text, expected) in
            [("0", ResumeLatency::Unlimited), ("n/a", ResumeLatency::NoneAllowed), ("20", twenty)]
        {
            assert_eq!(format!("{text}\n").parse(), Ok(expected));
            assert_eq!(expected.to_string(), text, "what is read can be written back");
        }
        for bad in ["", "-1", "00x", "N/A", "2147483647", "4294967296"] {
            assert!(bad.parse::<ResumeLatency>().is_err(), "{bad:?} was taken for a latency");
        }
    }
}
