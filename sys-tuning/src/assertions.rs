//! What a profile takes for granted of the machine it is for: `[assert]`.
//!
//! A value that is right on one machine hurts another; an assertion says for which it was written. One that does not hold is
//! a danger that nobody can accept, with its place in the profile and what was counted. What cannot be told does not hold.
//! Left out on purpose: conditions on which values depend; that is what profiles of their own are for.

use std::fmt;
use std::str::FromStr;

use config::{Located, Section};
use host::Root;
use host::boot::Boot;
use host::memory::Memory;
use units::limits::CPUS_MAX;

use crate::draft::Danger;
use crate::facts::Facts;
use crate::roles::Roles;

/// One assertion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub what: What,
    pub place: String,
}

/// What is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    IsolatedMin(usize),
    IsolatedMax(usize),
    HousekeepingMin(usize),
    /// No two CPUs on line share a core.
    SmtOff,
    KernelMin(KernelVersion),
    Realtime(bool),
    MemoryMinMib(u64),
}

/// The two numbers that begin a kernel's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KernelVersion {
    major: u32,
    minor: u32,
}

impl FromStr for KernelVersion {
    type Err = String;

    // Format: "6.12" of a profile, "6.12.95+deb12-amd64" of a kernel
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split(['.', '-', '+']).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(format!("{text:?} is no version of a kernel, as in \"6.12\"")),
        }
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for What {
    /// As it stands in a profile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsolatedMin(count) => write!(f, "isolated.min = {count}"),
            Self::IsolatedMax(count) => write!(f, "isolated.max = {count}"),
            Self::HousekeepingMin(count) => write!(f, "housekeeping.min = {count}"),
            Self::SmtOff => f.write_str("smt = \"off\""),
            Self::KernelMin(version) => write!(f, "kernel.min = \"{version}\""),
            Self::Realtime(is) => write!(f, "kernel.realtime = {is}"),
            Self::MemoryMinMib(mib) => write!(f, "memory.min_mib = {mib}"),
        }
    }
}

/// Reads the section `[assert]`.
pub(crate) fn read(section: &Section<'_>) -> Vec<Assertion> {
    let (isolated, housekeeping) = (section.section("isolated"), section.section("housekeeping"));
    let (kernel, memory) = (section.section("kernel"), section.section("memory"));
    let count = |of: &Section<'_>, key: &str, what: fn(usize) -> What| {
        let found = of.integer(key, 0..=i64::try_from(CPUS_MAX).unwrap_or(i64::MAX))?;
        let count = usize::try_from(found.value).ok()?;
        Some(Located { value: what(count), place: found.place })
    };
    let smt = section.string("smt").and_then(|found| match found.value.as_str() {
        "off" => Some(Located { value: What::SmtOff, place: found.place }),
        other => {
            section.mistake(&found.place, format!("assert.smt = {other:?}: only \"off\" can be asserted"));
            None
        }
    });
    let version =
        kernel.parsed("min").map(|found| Located { value: What::KernelMin(found.value), place: found.place });
    let realtime = kernel.boolean("realtime");
    let mib = memory.integer("min_mib", 0..=i64::MAX >> 20);
    let found = [
        count(&isolated, "min", What::IsolatedMin),
        count(&isolated, "max", What::IsolatedMax),
        count(&housekeeping, "min", What::HousekeepingMin),
        smt,
        version,
        realtime.map(|found| Located { value: What::Realtime(found.value), place: found.place }),
        mib.and_then(|found| {
            let mib = u64::try_from(found.value).ok()?;
            Some(Located { value: What::MemoryMinMib(mib), place: found.place })
        }),
    ];
    [isolated, housekeeping, kernel, memory].into_iter().for_each(Section::finish);
    let assertion = |found: Located<What>| Assertion { what: found.value, place: found.place.to_string() };
    found.into_iter().flatten().map(assertion).collect()
}

/// What assertions are held against, beside the CPUs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    pub kernel_release: Option<String>,
    pub realtime: Option<bool>,
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Reads it; what cannot be read does not hold.
    pub fn read(root: &Root) -> Self {
        let boot = Boot::read(root).ok();
        Self {
            realtime: boot.as_ref().map(|boot| boot.realtime),
            kernel_release: boot.map(|boot| boot.kernel_release),
            memory_bytes: Memory::read(root).ok().map(|memory| memory.total_bytes),
        }
    }
}

/// The assertions that do not hold here.
pub(crate) fn broken(list: &[Assertion], machine: &Machine, facts: &Facts, roles: &Roles) -> Vec<Danger> {
    let told = |Assertion { what, place }: &Assertion| {
        let reason = objection(*what, machine, facts, roles)?;
        Some(Danger { knob: "assert", reason: format!("{place}: {what}: {reason}"), may_be_accepted: false })
    };
    list.iter().filter_map(told).collect()
}

/// Whether one of them is about the cores of every CPU.
pub(crate) fn ask_for_cores(list: &[Assertion]) -> bool {
    list.iter().any(|assertion| assertion.what == What::SmtOff)
}

/// Why it does not hold.
fn objection(what: What, machine: &Machine, facts: &Facts, roles: &Roles) -> Option<String> {
    let (isolated, housekeeping) = (&roles.isolated, &roles.housekeeping);
    match what {
        What::IsolatedMin(count) => (isolated.count() < count).then(|| counted("isolated", isolated)),
        What::IsolatedMax(count) => (isolated.count() > count).then(|| counted("isolated", isolated)),
        What::HousekeepingMin(count) => {
            (housekeeping.count() < count).then(|| counted("housekeeping", housekeeping))
        }
        What::SmtOff => {
            let group = facts.sibling_groups.first()?;
            Some(format!(
                "CPU {group} share a core; `echo off > /sys/devices/system/cpu/smt/control` or nosmt"
            ))
        }
        What::KernelMin(least) => match machine.kernel_release.as_deref().map(KernelVersion::from_str) {
            Some(Ok(version)) => (version < least).then(|| format!("the kernel is {version}")),
            _ => Some("the kernel's version cannot be told".to_owned()),
        },
        What::Realtime(wanted) => match machine.realtime {
            Some(is) if is == wanted => None,
            Some(true) => Some("the kernel is a real-time one".to_owned()),
            Some(false) => Some("the kernel is no real-time one".to_owned()),
            None => Some("the kernel's kind cannot be told".to_owned()),
        },
        What::MemoryMinMib(least) => match machine.memory_bytes {
            Some(bytes) => (bytes >> 20 < least).then(|| format!("the machine has {} MiB", bytes >> 20)),
            None => Some("the machine's memory cannot be told".to_owned()),
        },
    }
}

fn counted(role: &str, cpus: &units::CpuSet) -> String {
    match cpus.count() {
        0 => format!("no CPU is {role}"),
        1 => format!("CPU {cpus} is {role}, which is 1"),
        count => format!("CPU {cpus} are {role}, which are {count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    /// What does not hold of `text` on a machine of CPUs 0-3, two of them isolated, with 16 GiB and Linux 6.12.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let cpus = |text: &str| text.parse::<units::CpuSet>().unwrap();
        let roles = Roles { online: cpus("0-3"), isolated: cpus("2-3"), housekeeping: cpus("0-1") };
        let facts = Facts { sibling_groups: vec![cpus("2-3")], ..Facts::default() };
        let machine = Machine {
            kernel_release: Some("6.12.95+deb12-amd64".to_owned()),
            realtime: Some(false),
            memory_bytes: Some(16 << 30),
        };
        let told = match Profile::parse("p", &format!("schema = \"quell.profile/1\"\n[assert]\n{text}")) {
            Ok(profile) => {
                let again = Profile::parse("again", &profile.to_toml()).unwrap();
                let whats =
                    |profile: &Profile| profile.assertions.iter().map(|one| one.what).collect::<Vec<_>>();
                assert_eq!(whats(&again), whats(&profile), "{}", profile.to_toml());
                let broken = broken(&profile.assertions, &machine, &facts, &roles);
                broken.into_iter().map(|danger| danger.reason).collect::<Vec<_>>().join("; ")
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn what_a_profile_takes_for_granted() {
        check("isolated.min = 2", "");
        check("isolated.min = 3", "p:3: isolated.min = 3: CPU 2-3 are isolated, which are 2");
        check("isolated.max = 2", "");
        check("isolated.max = 1", "p:3: isolated.max = 1: CPU 2-3 are isolated, which are 2");
        check("housekeeping = { min = 2 }", "");
        check("housekeeping.min = 3", "p:3: housekeeping.min = 3: CPU 0-1 are housekeeping, which are 2");
        check(
            "smt = \"off\"",
            "p:3: smt = \"off\": CPU 2-3 share a core; `echo off > /sys/devices/system/cpu/smt/control` or nosmt",
        );
        check("kernel.min = \"6.12\"", "");
        check("kernel.min = \"6.13\"", "p:3: kernel.min = \"6.13\": the kernel is 6.12");
        check(
            "kernel.min = \"7.0\"\nmemory.min_mib = 16384",
            "p:3: kernel.min = \"7.0\": the kernel is 6.12",
        );
        check("kernel.realtime = false", "");
        check("kernel.realtime = true", "p:3: kernel.realtime = true: the kernel is no real-time one");
        check("memory.min_mib = 16385", "p:3: memory.min_mib = 16385: the machine has 16384 MiB");
        check("smt = \"on\"", "error: p:3: assert.smt = \"on\": only \"off\" can be asserted");
        check(
            "kernel.min = \"new\"",
            "error: p:3: assert.kernel.min: \"new\" is no version of a kernel, as in \"6.12\"",
        );
        check("isolated.mim = 1", "error: p:3: unknown key \"assert.isolated.mim\"; did you mean \"min\"?");
    }

    #[test]
    fn what_cannot_be_told_does_not_hold() {
        let roles = Roles::divide(&Facts::default(), &crate::roles::Isolated::Auto, None);
        for what in [
            What::KernelMin(KernelVersion { major: 1, minor: 0 }),
            What::Realtime(false),
            What::MemoryMinMib(1),
        ] {
            let told = objection(what, &Machine::default(), &Facts::default(), &roles);
            assert!(told.is_some_and(|told| told.contains("cannot be told")), "{what}");
        }
    }
}
