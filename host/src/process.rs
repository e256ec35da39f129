//! What a process takes from the machine, and what it may take.
//!
//! Resident memory is counted page by page by the kernel (`smaps_rollup`): the running counts of `status` are kept by
//! thread and lag, by so much on Linux 6.1 that a program of 1.2 MB showed 4 kB. Source:
//! Documentation/filesystems/proc.rst, 1.1 and 3.6; getrlimit(2).

use std::io;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use units::Nanos;

use crate::error::Malformed;
use crate::tasks::Pid;
use crate::{Error, Root, text};

/// The memory of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, of whatever kind.
    pub rss_bytes: u64,
    /// Of these, anonymous: heap, stacks, and what it changed of its binary.
    pub rss_anon_bytes: u64,
    /// Address space locked into memory; locked on fault, it need not be resident.
    pub locked_bytes: u64,
    /// The binary's code, resident or not.
    pub text_bytes: u64,
}

impl Memory {
    /// This process's memory. Costs the kernel a walk over its resident pages, with its address space locked for
    /// reading (0.37 ms with 16 MiB, 2-vCPU VM): for a report, not for a loop.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn own(root: &Root) -> Result<Self, Error> {
        Self::below(root, "/proc/self")
    }

    /// The memory of the process `pid`.
    ///
    /// # Errors
    /// [`Error::Absent`] when it has ended or is one of the kernel's, [`Error::Read`] (another user's, without
    /// CAP_SYS_PTRACE), [`Error::Format`].
    pub fn of(root: &Root, pid: Pid) -> Result<Self, Error> {
        Self::below(root, &format!("/proc/{pid}"))
    }

    fn below(root: &Root, dir: &str) -> Result<Self, Error> {
        let (rss_bytes, rss_anon_bytes) = root.parse(&format!("{dir}/smaps_rollup"), parse_rollup)?;
        let (locked_bytes, text_bytes) = root.parse(&format!("{dir}/status"), parse_status)?;
        Ok(Self { rss_bytes, rss_anon_bytes, locked_bytes, text_bytes })
    }
}

/// Resident, and resident anonymous bytes.
// Format: "Rss:                1776 kB", "Anonymous:           112 kB"
// (Documentation/ABI/testing/procfs-smaps_rollup)
fn parse_rollup(text: &str) -> Result<(u64, u64), Malformed> {
    Ok((text::required_kib(text, "Rss")?, text::required_kib(text, "Anonymous")?))
}

/// Locked bytes, and those of the binary's code.
// Format: "VmLck:\t       0 kB", "VmExe:\t      20 kB"   (Documentation/filesystems/proc.rst, table 1-2)
fn parse_status(text: &str) -> Result<(u64, u64), Malformed> {
    Ok((text::required_kib(text, "VmLck")?, text::required_kib(text, "VmExe")?))
}

/// What this process has used since it began, by threads that have ended too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Time on a CPU.
    pub cpu_time: Nanos,
    /// Times a thread gave its CPU up.
    pub voluntary_switches: u64,
}

impl Usage {
    /// As of now. Source: getrusage(2).
    ///
    /// # Errors
    /// The kernel's refusal; none is documented for the calling process.
    pub fn own() -> io::Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let nanos = |time: TimeVal| Nanos::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0));
        Ok(Self {
            cpu_time: nanos(usage.user_time()) + nanos(usage.system_time()),
            voluntary_switches: u64::try_from(usage.voluntary_context_switches()).unwrap_or(0),
        })
    }
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

/// CAP_NET_ADMIN's number (include/uapi/linux/capability.h).
const NET_ADMIN: u32 = 12;

/// Whether this process has CAP_NET_ADMIN in effect; where that cannot be read, it is taken to have.
// Format: "CapEff:\t000001ffffffffff\n"   (Documentation/filesystems/proc.rst, 1.1)
#[must_use]
pub fn may_configure_network(root: &Root) -> bool {
    let status = root.read_lossy("/proc/thread-self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & (1 << NET_ADMIN) != 0)
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
        assert!(parse_status("Name:\tkthreadd\nThreads:\t1\n").is_err());
        assert!(parse_rollup("").is_err());
    }

    #[test]
    fn threads_that_ended_count() {
        let role = crate::threads::Role {
            name: "sleeper".to_owned(),
            cpus: crate::threads::allowed_cpus().unwrap(),
            policy: crate::threads::Policy::Other,
        };
        let before = Usage::own().unwrap();
        let naps = || {
            for _ in 0..20 {
                crate::threads::sleep_until(crate::threads::monotonic_now() + Nanos::from_millis(1));
            }
        };
        crate::threads::spawn(role, move |_| naps()).unwrap().join().unwrap();
        let after = Usage::own().unwrap();
        assert!(after.voluntary_switches >= before.voluntary_switches + 10, "{before:?} {after:?}");
        assert!(after.cpu_time >= before.cpu_time);
    }

    #[test]
    fn memory_that_was_touched_is_counted() {
        const BYTES: usize = 4 << 20;
        let before = Memory::own(&Root::system()).unwrap();
        let touched = std::hint::black_box(vec![1u8; BYTES]);
        let after = Memory::own(&Root::system()).unwrap();
        assert!(after.rss_anon_bytes >= before.rss_anon_bytes + BYTES as u64 / 2, "{before:?} {after:?}");
        drop(touched);
    }
}
