//! Which CPUs belong to the application and which to everything else, and the words profiles use for them.

use std::fmt;
use std::str::FromStr;

use units::{CpuSet, ParseError};

use crate::facts::Facts;

/// CPUs as a profile names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CpuChoice {
    /// Those that are not isolated.
    Housekeeping,
    /// Those kept for the application.
    Isolated,
    /// Every CPU that is on line.
    All,
    /// These.
    List(Box<CpuSet>),
}

impl FromStr for CpuChoice {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "housekeeping" => Ok(Self::Housekeeping),
            "isolated" => Ok(Self::Isolated),
            "all" => Ok(Self::All),
            _ => text.parse().map(|cpus| Self::List(Box::new(cpus))).map_err(|error: ParseError| {
                ParseError { problem: format!("{}, or housekeeping, isolated, all", error.problem), ..error }
            }),
        }
    }
}

impl fmt::Display for CpuChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Housekeeping => f.pad("housekeeping"),
            Self::Isolated => f.pad("isolated"),
            Self::All => f.pad("all"),
            Self::List(cpus) => cpus.fmt(f),
        }
    }
}

/// Which CPUs a profile wants isolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolated {
    /// Those the kernel keeps out of its scheduling, since boot or by a cgroup partition; that of the profile itself
    /// counts, so that the word means the same before it is applied and after.
    Auto,
    /// These.
    List(Box<CpuSet>),
}

impl fmt::Display for Isolated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::List(cpus) => cpus.fmt(f),
        }
    }
}

impl FromStr for Isolated {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => {
                text.parse().map(|cpus| Self::List(Box::new(cpus))).map_err(|error: ParseError| ParseError {
                    problem: format!("{}, or auto for what the kernel shows", error.problem),
                    ..error
                })
            }
        }
    }
}

/// The machine's CPUs, divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles {
    pub online: CpuSet,
    pub isolated: CpuSet,
    pub housekeeping: CpuSet,
}

impl Roles {
    /// Divides the machine's CPUs as the profile wants them; `own` are those that it isolates by a partition of its own.
    pub fn divide(facts: &Facts, wanted: &Isolated, own: Option<&CpuSet>) -> Self {
        let online = facts.online();
        let none = CpuSet::empty();
        let isolated = match (wanted, &facts.cpus) {
            (Isolated::List(cpus), _) => CpuSet::clone(cpus),
            (Isolated::Auto, Some(cpus)) => cpus
                .online
                .difference(&cpus.housekeeping())
                .union(facts.partitioned.as_ref().unwrap_or(&none))
                // Where there are no partitions there will be none.
                .union(own.filter(|_| facts.has_partitions()).unwrap_or(&none)),
            (Isolated::Auto, None) => none,
        };
        Self { housekeeping: online.difference(&isolated), isolated, online }
    }

    /// The CPUs a choice stands for.
    pub fn resolve(&self, choice: &CpuChoice) -> CpuSet {
        match choice {
            CpuChoice::Housekeeping => self.housekeeping.clone(),
            CpuChoice::Isolated => self.isolated.clone(),
            CpuChoice::All => self.online.clone(),
            CpuChoice::List(cpus) => CpuSet::clone(cpus),
        }
    }
}

/// What is wrong with a list of CPUs on this machine: one that does not exist.
pub(crate) fn unknown_cpu(facts: &Facts, cpus: &CpuSet) -> Option<String> {
    let known = facts.cpus.as_ref()?;
    let unknown = cpus.difference(&known.possible);
    let verb = if unknown.count() == 1 { "does" } else { "do" };
    let has = &known.present;
    (!unknown.is_empty()).then(|| format!("CPU {unknown} {verb} not exist; this machine has CPUs {has}"))
}
