//! The counter the kernel keeps time by.
//!
//! A kernel that watched its time-stamp counter and found it wanting has taken `tsc` out of the available ones; it says
//! why in its log only, which is not read here. Source: Documentation/timers/timekeeping.rst;
//! Documentation/ABI/testing/sysfs-devices-clocksource.

use crate::{Error, Root, text};

const DIR: &str = "/sys/devices/system/clocksource/clocksource0";

/// The attribute that selects the clock source.
pub const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// The clock source in use, and those that could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocksource {
    /// In use.
    pub current: String,
    /// Could be, best first; the current one among them.
    pub available: Vec<String>,
}

impl Clocksource {
    /// What holds now.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    // Format: "tsc\n" and "tsc kvm-clock \n"   (Documentation/ABI/testing/sysfs-devices-clocksource)
    pub fn read(root: &Root) -> Result<Self, Error> {
        Ok(Self {
            current: root.parse(CURRENT, text::line)?,
            available: root.parse(&format!("{DIR}/available_clocksource"), text::words)?,
        })
    }
}
