//! How much of the time real-time threads may have.
//!
//! From Linux 6.12 on a second guard stands beside this one: the fair server leaves ordinary threads a share even where
//! throttling is off. It can be read in debugfs only, by root. Sources: Documentation/scheduler/sched-rt-group.rst;
//! Documentation/scheduler/sched-deadline.rst and kernel/sched/debug.c for the fair server.

use units::{CpuId, Nanos};

use crate::error::Malformed;
use crate::{Error, Root, sysctl, text};

/// The share of each period that real-time threads may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttling {
    /// Time they may use in a period; `None` when there is no limit (the kernel's -1).
    pub runtime: Option<Nanos>,
    /// The period.
    pub period: Nanos,
}

impl Throttling {
    /// What holds now.
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
    pub fn read(root: &Root) -> Result<Self, Error> {
        Ok(Self {
            runtime: root.parse(&sysctl::path("kernel.sched_rt_runtime_us")?, parse_runtime)?,
            period: root.parse(&sysctl::path("kernel.sched_rt_period_us")?, parse_micros)?,
        })
    }
}

// Format: "950000\n", "-1\n" for no limit   (Documentation/scheduler/sched-rt-group.rst, 2.1)
fn parse_runtime(text: &str) -> Result<Option<Nanos>, Malformed> {
    if text.trim() == "-1" { Ok(None) } else { parse_micros(text).map(Some) }
}

fn parse_micros(text: &str) -> Result<Nanos, Malformed> {
    text::number::<u32>(text).map(|micros| Nanos::from_micros(u64::from(micros)))
}

/// The time in each period that ordinary threads of `cpu` get whatever real-time threads do; zero when it was taken
/// away.
///
/// # Errors
/// [`Error::Absent`] before Linux 6.12 and without debugfs, [`Error::Read`] without root, [`Error::Format`].
// Format: "50000000\n", in ns   (kernel/sched/debug.c, sched_fair_server_runtime_show)
pub fn fair_server_runtime(root: &Root, cpu: CpuId) -> Result<Nanos, Error> {
    root.parse(&fair_server_path(cpu), |text| text::number(text).map(Nanos))
}

/// The attribute that sets it, in nanoseconds.
#[must_use]
pub fn fair_server_path(cpu: CpuId) -> String {
    format!("{FAIR_SERVERS}{cpu}/runtime")
}

/// The CPU whose fair server's attribute this is.
#[must_use]
pub fn cpu_of_fair_server(path: &str) -> Option<CpuId> {
    path.strip_prefix(FAIR_SERVERS)?.strip_suffix("/runtime")?.parse().ok().map(CpuId)
}

// Format: "/sys/kernel/debug/sched/fair_server/cpu3/runtime" (kernel/sched/debug.c)
const FAIR_SERVERS: &str = "/sys/kernel/debug/sched/fair_server/cpu";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(parse_runtime("950000\n"), Ok(Some(Nanos::from_millis(950))));
        assert_eq!(parse_runtime("-1\n"), Ok(None));
        assert!(parse_runtime("-2\n").is_err() && parse_runtime("\n").is_err());
    }

    #[test]
    fn a_fair_server_is_found_by_its_attribute() {
        assert_eq!(cpu_of_fair_server(&fair_server_path(CpuId(13))), Some(CpuId(13)));
        for other in ["/sys/kernel/debug/sched/fair_server/cpu3/period", "/proc/sys/vm/swappiness"] {
            assert_eq!(cpu_of_fair_server(other), None);
        }
    }
}
