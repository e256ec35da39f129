//! CPUs fenced off from a kind of threads: which threads reach over the fence, which of them can be moved, and which are
//! there on purpose.
//!
//! The fence is a rule, not a list: threads come and go, so what holds is "no thread that could be moved may use a fenced
//! CPU", looked up anew each time. Whether a thread is the application's is told by its control group, or by its mask: who
//! may use fenced CPUs only was put there by somebody.

use std::fmt;
use std::str::FromStr;

use host::affinity::{self, Runner};
use host::{Error, Root};
use units::CpuSet;
use units::limits::TASKS_SEEN_MAX;

use crate::group::GroupPath;

/// Whose threads a fence keeps off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those of programs.
    Programs,
    /// The kernel's own.
    Kernel,
}

/// A set of CPUs and who is kept off them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fence {
    pub of: Of,
    pub cpus: CpuSet,
    /// Groups whose threads may run anywhere.
    pub application: Vec<GroupPath>,
}

/// What a thread that may use fenced CPUs is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Of no concern: another kind, the application's, or pinned there on purpose.
    Welcome,
    /// It may use these when it is moved.
    Stray(Box<CpuSet>),
    /// The kernel does not let it be moved.
    Tied,
    /// It may use no other CPU that is on line.
    Enclosed,
}

impl Fence {
    pub fn standing(&self, runner: &Runner, online: &CpuSet) -> Standing {
        let is_kind = runner.stat.is_kernel == (self.of == Of::Kernel);
        if !is_kind || runner.allowed.intersection(&self.cpus).is_empty() || follows_an_interrupt(runner) {
            return Standing::Welcome;
        }
        if runner.stat.is_bound {
            // A kernel thread that is tied to other CPUs is no matter of this fence; one that is tied here is told.
            return Standing::Tied;
        }
        let usable = runner.allowed.intersection(online);
        if usable.is_subset(&self.cpus) && self.of == Of::Programs || self.is_application(runner) {
            return Standing::Welcome;
        }
        let rest = runner.allowed.difference(&self.cpus);
        if rest.intersection(online).is_empty() { Standing::Enclosed } else { Standing::Stray(rest.into()) }
    }

    fn is_application(&self, runner: &Runner) -> bool {
        let is_in = |group: &GroupPath| {
            runner.groups.iter().any(|membership| membership.group.is_within(group.name()))
        };
        self.application.iter().any(is_in)
    }

    /// Who reaches over the fence now, in words that fit a column: "none", or how many and the first of them.
    pub fn strays(&self, root: &Root) -> Result<String, Error> {
        let found = affinity::reaching(root, &self.cpus)?;
        let online = host::cpus::Cpus::read(root)?.online;
        let strays: Vec<&Runner> = found
            .runners
            .iter()
            .filter(|runner| matches!(self.standing(runner, &online), Standing::Stray(_)))
            .collect();
        Ok(match (strays.as_slice(), found.unseen) {
            ([], 0) => NONE.to_owned(),
            ([], unseen) => format!("unknown: {unseen} threads beyond {TASKS_SEEN_MAX} were not looked at"),
            (strays, unseen) => told(strays, unseen),
        })
    }
}

/// The thread of an interrupt goes where its interrupt goes, when that next fires: it is no matter of its own.
// Format: "irq/24-virtio0-rx"   (kernel/irq/manage.c, setup_irq_thread)
pub(crate) fn follows_an_interrupt(runner: &Runner) -> bool {
    runner.stat.is_kernel && runner.stat.name.starts_with("irq/")
}

/// Nobody reaches over the fence.
pub(crate) const NONE: &str = "none";

/// Threads that are named; the rest is counted.
const NAMED_MAX: usize = 3;

fn told(strays: &[&Runner], unseen: usize) -> String {
    let name = |runner: &&Runner| who(runner);
    let named: Vec<String> = strays.iter().take(NAMED_MAX).map(name).collect();
    let more = if strays.len() > NAMED_MAX { ", ..." } else { "" };
    let beyond = if unseen > 0 { format!(", {unseen} not looked at") } else { String::new() };
    format!("{} threads: {}{more}{beyond}", strays.len(), named.join(", "))
}

/// A thread by name and number; its name was chosen by whoever runs it.
pub(crate) fn who(runner: &Runner) -> String {
    format!("{} {}", runner.stat.name.escape_debug(), runner.stat.tid)
}

/// As the journal names it: the fenced CPUs, and the groups that are exempt.
impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cpus)?;
        let groups: Vec<String> = self.application.iter().map(ToString::to_string).collect();
        if groups.is_empty() { Ok(()) } else { write!(f, " {}", groups.join(",")) }
    }
}

/// A fence without its kind, which its knob knows.
pub(crate) fn parse(of: Of, text: &str) -> Result<Fence, String> {
    let (cpus, groups) = text.split_once(' ').unwrap_or((text, ""));
    let cpus = CpuSet::from_str(cpus).map_err(|error| error.to_string())?;
    let groups = groups.split(',').filter(|group| !group.is_empty());
    let application: Result<Vec<GroupPath>, String> = groups.map(str::parse).collect();
    Ok(Fence { of, cpus, application: application? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::cgroups::Membership;
    use host::tasks::{Class, Pid, Stat};
    use units::{CpuId, Nanos};

    fn runner(allowed: &str, group: &str) -> Runner {
        let stat = Stat {
            tid: Pid(7),
            name: "x".to_owned(),
            state: 'S',
            class: Class::Other,
            rt_priority: 0,
            cpu: CpuId(0),
            start_ticks: 1,
            is_kernel: false,
            is_bound: false,
            cpu_time: Nanos::ZERO,
        };
        let groups = group.parse().map(|group| Membership { controllers: Vec::new(), group });
        Runner {
            process: Pid(7),
            stat,
            allowed: allowed.parse().unwrap(),
            groups: groups.into_iter().collect(),
        }
    }

    fn fence(of: Of) -> Fence {
        parse(of, "2-3 quell,trading.slice").unwrap()
    }

    #[track_caller]
    fn check(of: Of, runner: &Runner, expected: &str) {
        let standing = fence(of).standing(runner, &"0-3".parse().unwrap());
        let told = match standing {
            Standing::Welcome => "welcome".to_owned(),
            Standing::Stray(to) => format!("to {to}"),
            Standing::Tied => "tied".to_owned(),
            Standing::Enclosed => "enclosed".to_owned(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn who_is_moved() {
        check(Of::Programs, &runner("0-3", "user.slice"), "to 0-1");
        check(Of::Programs, &runner("1-2", "user.slice"), "to 1");
        check(Of::Programs, &runner("0-1", "user.slice"), "welcome");
        check(Of::Programs, &runner("3", "user.slice"), "welcome"); // pinned there on purpose
        check(Of::Programs, &runner("2-7", "user.slice"), "welcome"); // 4-7 are off line
        check(Of::Programs, &runner("0-3", "trading.slice/engine.service"), "welcome");
        check(Of::Programs, &runner("0-3", "quell"), "welcome");
        check(Of::Programs, &runner("0-3", "quell2"), "to 0-1");
        check(Of::Kernel, &runner("0-3", ""), "welcome"); // a program's
        let mut kernel = runner("0-7", "");
        kernel.stat.is_kernel = true;
        check(Of::Kernel, &kernel, "to 0-1,4-7");
        check(Of::Programs, &kernel, "welcome");
        kernel.allowed = "3".parse().unwrap();
        check(Of::Kernel, &kernel, "enclosed"); // the kernel pins nothing there on purpose but by tying it
        kernel.stat.name = "irq/24-eth0-rx".to_owned();
        check(Of::Kernel, &kernel, "welcome"); // it follows its interrupt
        kernel.stat.name = "migration/3".to_owned();
        kernel.stat.is_bound = true;
        check(Of::Kernel, &kernel, "tied");
    }

    #[test]
    fn a_fence_is_read_as_it_is_written() {
        for text in ["2-3 quell,trading.slice", "2", "0-1,7 a/b@c.slice"] {
            assert_eq!(parse(Of::Programs, text).unwrap().to_string(), text);
        }
        for bad in ["x", "2-3 ../a", "2-3 a b"] {
            assert!(parse(Of::Programs, bad).is_err(), "{bad:?}");
        }
    }
}
