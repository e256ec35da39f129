//! What a process takes from the machine, and what it may take.
//!
//! Sizes are the kernel's running counts, which a busy process may lead by a few pages a thread; the exact figures of
//! `smaps_rollup` cost a walk over all its pages. Source: Documentation/filesystems/proc.rst, 1.1; getrlimit(2).

use crate::error::Malformed;
use crate::tasks::Pid;
use crate::{Error, Root, text};

/// The memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, of whatever kind.
    pub rss_bytes: u64,
    /// Of these, anonymous: heap and stacks. `None` before Linux 4.5.
    pub rss_anon_bytes: Option<u64>,
    /// Of these, pages of files: its binary and libraries as far as they were touched. `None` before Linux 4.5.
    pub rss_file_bytes: Option<u64>,
    /// Of these, memory shared with others by name: rings. `None` before Linux 4.5.
    pub rss_shmem_bytes: Option<u64>,
    /// Address space locked into memory; locked on fault, it need not be resident.
    pub locked_bytes: u64,
    /// The binary's code, resident or not.
    pub text_bytes: u64,
}

impl Memory {
    /// This process's memory.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn own(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/self/status", parse_memory)
    }

    /// The memory of the process `pid`.
    ///
    /// # Errors
    /// [`Error::Absent`] when it has ended, [`Error::Read`]; [`Error::Format`] for a kernel thread, which has none.
    pub fn of(root: &Root, pid: Pid) -> Result<Self, Error> {
        root.parse(&format!("/proc/{pid}/status"), parse_memory)
    }
}

// Format: "VmRSS:\t    1760 kB", "RssAnon:\t     112 kB"   (Documentation/filesystems/proc.rst, table 1-2)
fn parse_memory(text: &str) -> Result<Memory, Malformed> {
    Ok(Memory {
        rss_bytes: text::required_kib(text, "VmRSS")?,
        rss_anon_bytes: text::field_kib(text, "RssAnon")?,
        rss_file_bytes: text::field_kib(text, "RssFile")?,
        rss_shmem_bytes: text::field_kib(text, "RssShmem")?,
        locked_bytes: text::required_kib(text, "VmLck")?,
        text_bytes: text::required_kib(text, "VmExe")?,
    })
}

/// A soft and a hard limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What holds.
    pub soft: Option<u64>,
    /// How far the process may raise it by itself.
    pub hard: Option<u64>,
}

/// The limits that decide whether a process can be a quiet one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory it may lock, in bytes.
    pub locked_memory_bytes: Limit,
    /// The highest real-time priority it may take without CAP_SYS_NICE.
    pub realtime_priority: Limit,
    /// CPU time in microseconds a real-time thread may use without blocking, before SIGXCPU.
    pub realtime_timeout_us: Limit,
}

impl Limits {
    /// This process's limits.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn own(root: &Root) -> Result<Self, Error> {
        root.parse("/proc/self/limits", parse_limits)
    }
}

fn parse_limits(text: &str) -> Result<Limits, Malformed> {
    Ok(Limits {
        locked_memory_bytes: parse_limit(text, "Max locked memory")?,
        realtime_priority: parse_limit(text, "Max realtime priority")?,
        realtime_timeout_us: parse_limit(text, "Max realtime timeout")?,
    })
}

// Format: "Max locked memory         8388608              unlimited            bytes     "   (proc_pid_limits(5))
fn parse_limit(text: &str, name: &str) -> Result<Limit, Malformed> {
    let values =
        text.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| text::missing(text, name))?;
    let mut values = values.split_ascii_whitespace().map(|value| match value {
        "unlimited" => Ok(None),
        number => text::number(number).map(Some),
    });
    match (values.next(), values.next()) {
        (Some(soft), Some(hard)) => Ok(Limit { soft: soft?, hard: hard? }),
        _ => Err(Malformed::new(name, "expected a soft and a hard limit")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlimited_is_no_number() {
        let text = "Max locked memory         8388608              unlimited            bytes     \n";
        let limit = parse_limit(text, "Max locked memory").unwrap();
        assert_eq!(limit, Limit { soft: Some(8_388_608), hard: None });
        assert!(parse_limit(text, "Max realtime priority").is_err());
        assert!(parse_limit("Max locked memory  many  1\n", "Max locked memory").is_err());
    }

    #[test]
    fn a_kernel_thread_has_no_memory() {
        assert!(parse_memory("Name:\tkthreadd\nThreads:\t1\n").is_err());
    }
}
