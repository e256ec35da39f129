//! How much memory the machine has and can still give.

use crate::error::Malformed;
use crate::{Error, Root, text};

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What the kernel manages.
    pub total_bytes: u64,
    /// Used for nothing at all.
    pub free_bytes: u64,
    /// The kernel's estimate of what could be had without swapping: the head-room before huge pages are reserved.
    pub available_bytes: u64,
}

impl Memory {
    /// What holds now.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/meminfo", parse)
    }
}

// Format: "MemAvailable:   24351324 kB", a line a quantity   (Documentation/filesystems/proc.rst, meminfo)
fn parse(text: &str) -> Result<Memory, Malformed> {
    Ok(Memory {
        total_bytes: text::required_kib(text, "MemTotal")?,
        free_bytes: text::required_kib(text, "MemFree")?,
        available_bytes: text::required_kib(text, "MemAvailable")?,
    })
}
