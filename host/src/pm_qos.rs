//! How long one CPU, or every CPU, may take to wake up.
//!
//! The attribute's numbers are inverted against intuition: `0` puts no limit at all, and the strictest request is the
//! word `n/a`. Hence a type, and no number, leaves this file. Needs no capability beyond the file's owner, unlike the
//! cpuidle switches. The request for every CPU is a descriptor: the kernel forgets it when that is closed, so that it can
//! never be left behind. Sources: Documentation/ABI/testing/sysfs-devices-power, pm_qos_resume_latency_us;
//! Documentation/power/pm_qos_interface.rst.

use std::fmt;
use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::str::FromStr;

use nix::fcntl::OFlag;
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

/// The device of the request for every CPU.
pub const GLOBAL: &str = "/dev/cpu_dma_latency";

/// The limit in force for every CPU, in microseconds: the strictest of all requests; 2 000 000 000 where there is none.
///
/// # Errors
/// [`Error::Absent`] on a kernel without CONFIG_CPU_IDLE; [`Error::Read`], also without rights: the device is root's.
// Format: a signed number of four bytes, in the machine's order   (Documentation/power/pm_qos_interface.rst)
pub fn global(root: &Root) -> Result<u32, Error> {
    let file = File::from(root.open(GLOBAL, OFlag::O_RDONLY)?);
    read_micros(&file, &root.display(GLOBAL))
}

fn read_micros(file: &File, path: &str) -> Result<u32, Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause };
    let mut micros = [0; 4];
    file.read_exact_at(&mut micros, 0).map_err(failed)?;
    let negative = |_| failed(std::io::Error::other("a negative latency"));
    u32::try_from(i32::from_ne_bytes(micros)).map_err(negative)
}

/// A request for every CPU, in force as long as this lives.
#[derive(Debug)]
pub struct GlobalLatency {
    file: File,
    path: String,
}

impl GlobalLatency {
    /// Asks that no CPU use an idle state that needs more than `micros` to leave; 0 makes idle CPUs poll.
    ///
    /// # Errors
    /// [`Error::Absent`] on a kernel without CONFIG_CPU_IDLE, [`Error::Write`].
    pub fn hold(root: &Root, micros: u32) -> Result<Self, Error> {
        let micros = i32::try_from(micros).unwrap_or(i32::MAX);
        Ok(Self { file: root.hold(GLOBAL, &micros.to_ne_bytes())?, path: root.display(GLOBAL) })
    }

    /// The limit in force, in microseconds: the strictest of all requests.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn in_force(&self) -> Result<u32, Error> {
        read_micros(&self.file, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_every_cpu_is_a_number_of_four_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        std::fs::create_dir(dir.path().join("dev")).unwrap();
        assert!(GlobalLatency::hold(&root, 10).unwrap_err().is_absent());
        assert!(global(&root).unwrap_err().is_absent());
        File::create(dir.path().join("dev/cpu_dma_latency")).unwrap();
        let held = GlobalLatency::hold(&root, 10).unwrap();
        assert_eq!(held.in_force().unwrap(), 10);
        assert_eq!(held.in_force().unwrap(), 10, "read again from its beginning");
        assert_eq!(global(&root).unwrap(), 10, "anybody may ask what is in force");
        assert_eq!(std::fs::read(dir.path().join("dev/cpu_dma_latency")).unwrap(), 10_i32.to_ne_bytes());
    }

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
