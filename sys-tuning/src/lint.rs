//! What works against what: one table of rules, told before anything is written.
//!
//! Each rule is a pure function of what was read, of the profile, and of what its knobs came to; it answers with the
//! sentence to tell, or with nothing. None of them stops an apply: what would hurt the machine is a danger (`guard`). Rules
//! look at paths and arguments, not at ids, where several knobs may reach the same thing. Four files: CPUs that are to be
//! in two places, values that exclude each other, others that are at work on the same knobs, and hours.

mod cpus;
mod hours;
mod pairs;
mod rivals;

#[cfg(test)]
mod cases;

use units::CpuSet;

use crate::draft::Contradiction;
use crate::facts::Facts;
use crate::profile::{Profile, Value};
use crate::roles::Roles;
use crate::surroundings::Surroundings;

/// One way in which settings contradict each other.
pub(crate) struct Rule {
    /// As the plan names it.
    pub name: &'static str,
    /// What is wrong with it, in one line.
    pub doc: &'static str,
    /// The sentences to tell on this machine; none where the rule is kept.
    find: fn(&View<'_>) -> Vec<String>,
}

/// Every rule.
pub(crate) fn rules() -> impl Iterator<Item = &'static Rule> {
    [cpus::RULES, pairs::RULES, rivals::RULES, hours::RULES].into_iter().flatten()
}

/// Every rule's name and what is wrong where it is broken, for who wants to know what a plan is held against.
pub fn contradiction_rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    rules().map(|rule| (rule.name, rule.doc))
}

/// Every contradiction, rule by rule.
pub(crate) fn contradictions(view: &View<'_>) -> Vec<Contradiction> {
    let found = |rule: &'static Rule| {
        (rule.find)(view).into_iter().map(|reason| Contradiction { rule: rule.name, reason })
    };
    rules().flat_map(found).collect()
}

/// What rules look at.
pub(crate) struct View<'a> {
    pub profile: &'a Profile,
    pub facts: &'a Facts,
    pub roles: &'a Roles,
    pub surroundings: &'a Surroundings,
    /// Path and value of everything that is to stand somewhere, whether it stands there already or not.
    pub wishes: Vec<(&'a str, &'a str)>,
    /// What is to be on the boot line.
    pub arguments: Vec<&'a str>,
}

impl View<'_> {
    /// The CPUs that an attribute stands for.
    fn cpus(&self, knob: &str, attribute: &str) -> Option<CpuSet> {
        let setting = self.profile.setting(knob, attribute)?;
        setting.value.as_cpus().map(|choice| self.roles.resolve(choice))
    }

    fn flag(&self, knob: &str, attribute: &str) -> Option<bool> {
        match self.profile.setting(knob, attribute)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// What is to stand at `path`.
    fn wish(&self, path: &str) -> Option<&str> {
        self.wishes.iter().rfind(|(known, _)| *known == path).map(|(_, to)| *to)
    }

    /// What will stand at `path`: as planned, else as it is.
    fn value(&self, path: &str) -> Option<&str> {
        self.wish(path).or_else(|| self.surroundings.now.get(path).map(String::as_str))
    }

    /// The value of an argument that is to be on the boot line; empty for a bare word.
    fn argument(&self, name: &str) -> Option<&str> {
        let word = |argument: &&&str| argument.split_once('=').map_or(**argument, |(name, _)| name) == name;
        let found = self.arguments.iter().find(word)?;
        Some(found.split_once('=').map_or("", |(_, value)| value))
    }

    /// The CPUs of an argument, its flags left out.
    fn argument_cpus(&self, name: &str) -> Option<CpuSet> {
        crate::boot::without_flags(self.argument(name)?).parse().ok()
    }

    /// The value of an argument of the boot line that this boot was made with.
    fn booted(&self, name: &str) -> Option<&str> {
        self.surroundings.cmdline.as_ref()?.last(name).map(Option::unwrap_or_default)
    }
}
