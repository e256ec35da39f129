//! Which CPUs are measured, and where the agent's own threads stay: a pure choice over what the host shows.
//!
//! Isolated CPUs are what a trading host is about, so they are measured when there are any, and everything else of the
//! agent stays off them. A CPU on which somebody spins is left alone: a probe there would be the noise. Where that is so of
//! every isolated CPU, some of the others are measured, and the kernel's events speak for the isolated ones. Without
//! isolated CPUs the allowed ones are measured, and the report says that they also run everything else; there a
//! spinning application is told from passing work by being bound to its CPU.

use units::{CpuId, CpuSet};

/// CPUs measured on a host without isolation: enough to show what the host is like, few enough to cost little.
const SHARED_CPUS_MAX: usize = 4;

/// Busy share above which a CPU counts as occupied by a spinning application.
pub const OCCUPIED_SHARE: f64 = 0.5;

/// What the choice is made from.
#[derive(Debug, Clone)]
pub struct Topology {
    /// On line.
    pub online: CpuSet,
    /// This process may run there: its inherited mask, and the isolated CPUs that its cpuset leaves it.
    pub allowed: CpuSet,
    /// Isolated by boot line or `nohz_full`.
    pub isolated: CpuSet,
    /// Busy share of each CPU that could be measured, 0 to 1, where it could be told; our own threads are no business.
    pub busy: Vec<(CpuId, f64)>,
    /// Busy ones that run a thread which may run nowhere else.
    pub bound: CpuSet,
}

impl Topology {
    /// This process may run there, and they are on line.
    #[must_use]
    pub fn usable(&self) -> CpuSet {
        self.online.intersection(&self.allowed)
    }

    /// The isolated CPUs that are usable, or else every usable one.
    #[must_use]
    pub fn candidates(&self) -> CpuSet {
        let isolated = self.isolated.intersection(&self.usable());
        if isolated.is_empty() { self.usable() } else { isolated }
    }

    /// The busy ones among the candidates, with their shares.
    fn occupied(&self) -> Vec<(CpuId, f64)> {
        let busy = self.busy.iter().filter(|(_, share)| *share > OCCUPIED_SHARE).copied();
        let candidates = self.candidates();
        busy.filter(|(cpu, _)| {
            candidates.contains(*cpu) && (self.isolated.contains(*cpu) || self.bound.contains(*cpu))
        })
        .collect()
    }
}

/// The choice, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// One probe thread on each.
    pub measured: CpuSet,
    /// The collector and the control thread.
    pub housekeeping: CpuSet,
    /// Whether the measured CPUs are isolated ones.
    pub isolated: bool,
    /// Why these, in words for the report.
    pub why: String,
    /// CPUs that were wanted and left alone, each with its reason.
    pub left_alone: Vec<String>,
}

/// Why no CPU can be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A CPU was asked for that is not there.
    #[error("CPU {absent} does not exist or is off line; on line are {online}")]
    NoSuchCpu {
        /// What was asked for and is not on line.
        absent: Box<CpuSet>,
        /// What is.
        online: Box<CpuSet>,
    },
    /// A CPU was asked for on which the kernel will not let this process run.
    #[error(
        "CPU {denied} is outside this process's cpuset or affinity ({allowed}); widen CPUAffinity= or the cpuset, or measure others"
    )]
    NotAllowed {
        /// What was asked for and is denied.
        denied: Box<CpuSet>,
        /// What is allowed.
        allowed: Box<CpuSet>,
    },
    /// Every CPU that could be measured is occupied.
    #[error(
        "every CPU that could be measured ({candidates}) is busy with an application of its own; name CPUs to measure all \
         the same (--cpus, measure.cpus)"
    )]
    AllOccupied {
        /// The isolated CPUs, or all.
        candidates: Box<CpuSet>,
    },
}

/// Chooses; `wanted` is an explicit list, `None` is "choose for me".
///
/// # Errors
/// [`PlacementError`] when nothing sensible is left.
pub fn choose(topology: &Topology, wanted: Option<&CpuSet>) -> Result<Placement, PlacementError> {
    let usable = topology.usable();
    let (measured, why, left_alone) = match wanted {
        Some(wanted) => (explicit(topology, wanted)?, "as asked for".to_owned(), Vec::new()),
        None => automatic(topology)?,
    };
    let isolated = measured.is_subset(&topology.isolated);
    let off_measured = usable.difference(&measured).difference(&topology.isolated);
    let housekeeping = match off_measured.is_empty() {
        false => off_measured,
        true if !usable.difference(&topology.isolated).is_empty() => usable.difference(&topology.isolated),
        true => usable,
    };
    Ok(Placement { measured, housekeeping, isolated, why, left_alone })
}

fn explicit(topology: &Topology, wanted: &CpuSet) -> Result<CpuSet, PlacementError> {
    let absent = wanted.difference(&topology.online);
    if !absent.is_empty() {
        return Err(PlacementError::NoSuchCpu {
            absent: Box::new(absent),
            online: Box::new(topology.online.clone()),
        });
    }
    let denied = wanted.difference(&topology.allowed);
    if !denied.is_empty() {
        return Err(PlacementError::NotAllowed {
            denied: Box::new(denied),
            allowed: Box::new(topology.allowed.clone()),
        });
    }
    Ok(wanted.clone())
}

fn automatic(topology: &Topology) -> Result<(CpuSet, String, Vec<String>), PlacementError> {
    let (candidates, occupied) = (topology.candidates(), topology.occupied());
    let free = candidates.difference(&occupied.iter().map(|(cpu, _)| *cpu).collect());
    let others = topology.usable().difference(&candidates);
    if free.is_empty() && others.is_empty() {
        return Err(PlacementError::AllOccupied { candidates: Box::new(candidates) });
    }
    let left_alone = occupied
        .iter()
        .map(|(cpu, share)| {
            let percent = share * 100.0;
            format!("CPU {cpu} is {percent:.0} % busy with an application: a probe there would be its noise")
        })
        .collect();
    let Topology { isolated, allowed, .. } = topology;
    let (measured, why) = if free.is_empty() {
        let why = format!(
            "every isolated CPU ({candidates}) has an application of its own: these run everything else"
        );
        (others.iter().take(SHARED_CPUS_MAX).collect(), why)
    } else if free.is_subset(isolated) {
        (free, "isolated CPUs".to_owned())
    } else if isolated.is_empty() {
        let why = "this host has no isolated CPU: these also run everything else, and the figures include it";
        (free.iter().take(SHARED_CPUS_MAX).collect(), why.to_owned())
    } else {
        let why = format!(
            "the isolated CPUs ({isolated}) are outside this process's cpuset ({allowed}): these run everything else"
        );
        (free.iter().take(SHARED_CPUS_MAX).collect(), why)
    };
    Ok((measured, why, left_alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(online: &str, allowed: &str, isolated: &str, busy: &[(u16, f64)]) -> Topology {
        let set = |text: &str| text.parse().unwrap();
        let busy = busy.iter().map(|(cpu, share)| (CpuId(*cpu), *share)).collect();
        let bound = CpuSet::empty();
        Topology { online: set(online), allowed: set(allowed), isolated: set(isolated), busy, bound }
    }

    #[track_caller]
    fn check(topology: &Topology, wanted: Option<&str>, expected: &str) {
        let wanted = wanted.map(|text| text.parse().unwrap());
        let got = match choose(topology, wanted.as_ref()) {
            Ok(p) => {
                format!("measure {} from {}, left alone {}", p.measured, p.housekeeping, p.left_alone.len())
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn isolated_cpus_come_first() {
        check(&topology("0-7", "0-7", "4-7", &[]), None, "measure 4-7 from 0-3, left alone 0");
        check(
            &topology("0-7", "0-7", "4-7", &[(CpuId(5).0, 0.99)]),
            None,
            "measure 4,6-7 from 0-3, left alone 1",
        );
        // A trading host at work: the agent starts all the same, and disturbs nobody.
        check(&topology("0-3", "0-3", "3", &[(3, 1.0)]), None, "measure 0-2 from 0-2, left alone 1");
        check(
            &topology("0-3", "3", "3", &[(3, 1.0)]),
            None,
            "every CPU that could be measured (3) is busy with an application of its own; name CPUs to measure all the same \
             (--cpus, measure.cpus)",
        );
    }

    #[test]
    fn without_isolation_a_few_shared_ones() {
        check(&topology("0-1", "0-1", "", &[]), None, "measure 0-1 from 0-1, left alone 0");
        check(&topology("0-63", "0-63", "", &[]), None, "measure 0-3 from 4-63, left alone 0");
        check(&topology("0-3", "0-1", "2-3", &[]), None, "measure 0-1 from 0-1, left alone 0");
    }

    #[test]
    fn a_shared_cpu_is_left_to_whoever_is_bound_to_it() {
        let busy = topology("0-2", "0-2", "", &[(0, 0.9), (1, 0.9), (2, 0.2)]);
        check(&busy, None, "measure 0-2 from 0-2, left alone 0"); // work that may move away
        let bound = Topology { bound: "1-2".parse().unwrap(), ..busy };
        check(&bound, None, "measure 0,2 from 1, left alone 1");
        check(&bound, Some("1"), "measure 1 from 0,2, left alone 0"); // told so
    }

    #[test]
    fn a_wish_is_granted_or_refused_with_the_reason() {
        check(&topology("0-3", "0-3", "", &[]), Some("1"), "measure 1 from 0,2-3, left alone 0");
        check(
            &topology("0-3", "0-3", "", &[]),
            Some("3-5"),
            "CPU 4-5 does not exist or is off line; on line are 0-3",
        );
        check(
            &topology("0-3", "0", "", &[]),
            Some("1"),
            "CPU 1 is outside this process's cpuset or affinity (0); widen CPUAffinity= or the cpuset, or measure others",
        );
    }
}
