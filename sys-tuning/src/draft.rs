//! What a knob makes of a profile on one machine, before the cells are looked at.

use std::collections::{BTreeMap, BTreeSet};

use units::CpuSet;

use crate::boot::Asked;
use crate::cell::Cell;
use crate::facts::Facts;
use crate::knobs::boot_line;
use crate::profile::{Setting, Wanted};
use crate::registry::Knob;
use crate::roles::{Roles, unknown_cpu};
use crate::status::Status;

/// What a knob may look at.
pub(crate) struct Scope<'a> {
    pub facts: &'a Facts,
    pub roles: &'a Roles,
}

/// One cell and the value it is to have.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub knob: &'static Knob,
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    pub cell: Cell,
    /// `None`: only remembered and restored, because the kernel changes it when a neighbour is written.
    pub to: Option<String>,
    /// Whose writing changes it: its own knob's, or that of another, by the kernel's doing.
    pub cause: &'static str,
    pub reason: String,
}

/// Something of the profile that will not be done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The knob.
    pub knob: &'static str,
    /// Its attribute; empty when it is the whole knob.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// What that means.
    pub status: Status,
    /// Why.
    pub reason: String,
}

/// A consequence that somebody has to accept before anything is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Danger {
    /// The knob, or `cpus` for the division of the CPUs.
    pub knob: &'static str,
    /// What would happen, with the arithmetic.
    pub reason: String,
    /// Whether it can be accepted at all.
    pub may_be_accepted: bool,
}

/// Two wishes, or a wish and the machine, that work against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The rule's name.
    pub rule: &'static str,
    /// What works against what.
    pub reason: String,
}

/// Everything the knobs of one profile come to.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub wishes: Vec<Wish>,
    /// What goes on the boot line, to become one wish.
    pub arguments: Vec<Asked>,
    pub skipped: Vec<Skipped>,
    pub dangers: Vec<Danger>,
    /// What a knob sees by itself; the pair rules are in `lint`.
    pub contradictions: Vec<Contradiction>,
    /// What is wrong with the profile on this machine, with its place.
    pub mistakes: Vec<String>,
}

impl Draft {
    /// Wishes for one cell of `wanted`'s knob, found through the registry.
    pub fn wish(&mut self, scope: &Scope<'_>, wanted: &Wanted, attribute: &str, identity: &str, to: String) {
        self.add(scope, wanted.knob, attribute, identity, Some(to));
    }

    /// The same, with a reason of its own in place of what the knob is for.
    pub fn wish_because(
        &mut self,
        scope: &Scope<'_>,
        wanted: &Wanted,
        attribute: &str,
        identity: &str,
        to: String,
        reason: String,
    ) {
        let before = self.wishes.len();
        self.wish(scope, wanted, attribute, identity, to);
        if let Some(wish) = self.wishes.get_mut(before) {
            wish.reason = reason;
        }
    }

    /// Wishes for the boot line, which no profile names.
    pub fn wish_line(&mut self, scope: &Scope<'_>, line: String) {
        self.add(scope, &boot_line::KNOB, "arguments", "", Some(line));
    }

    /// Has the cells remembered that the kernel will change by itself.
    pub fn remember_side_effects(&mut self, scope: &Scope<'_>, knob: &'static Knob) {
        for effect in knob.side_effects {
            let before = self.wishes.len();
            self.add(scope, effect.of, effect.attribute, "", None);
            self.caused_by(before, knob.id);
        }
    }

    fn caused_by(&mut self, before: usize, cause: &'static str) {
        if let Some(wish) = self.wishes.get_mut(before) {
            wish.cause = cause;
        }
    }

    /// What is wished is not remembered beside it: it is written, behind what changes it.
    pub fn settle_side_effects(&mut self) {
        let name = |wish: &Wish| (wish.knob.id, wish.attribute.clone(), wish.identity.clone());
        let remembered = self.wishes.iter().filter(|wish| wish.to.is_none());
        let causes: BTreeMap<_, _> = remembered.map(|wish| (name(wish), wish.cause)).collect();
        if causes.is_empty() {
            return;
        }
        for wish in self.wishes.iter_mut().filter(|wish| wish.to.is_some()) {
            if let Some(cause) = causes.get(&name(wish)) {
                wish.cause = cause;
            }
        }
        let wished: BTreeSet<_> = self.wishes.iter().filter(|wish| wish.to.is_some()).map(name).collect();
        self.wishes.retain(|wish| wish.to.is_some() || !wished.contains(&name(wish)));
    }

    /// Has one cell of several remembered that the kernel will change by itself.
    pub fn remember(&mut self, scope: &Scope<'_>, wanted: &Wanted, attribute: &str, identity: &str) {
        self.add(scope, wanted.knob, attribute, identity, None);
    }

    /// The same of a cell of the knob `of`, which writing `wanted`'s changes: one file has one name, whoever changes it.
    pub fn remember_of(
        &mut self,
        scope: &Scope<'_>,
        wanted: &Wanted,
        of: &'static Knob,
        attribute: &str,
        identity: &str,
    ) {
        let before = self.wishes.len();
        self.add(scope, of, attribute, identity, None);
        self.caused_by(before, wanted.knob.id);
    }

    fn add(
        &mut self,
        scope: &Scope<'_>,
        knob: &'static Knob,
        attribute: &str,
        identity: &str,
        to: Option<String>,
    ) {
        let (attribute, identity) = (attribute.to_owned(), identity.to_owned());
        match knob.cell(scope.facts, &attribute, &identity) {
            Some(cell) => {
                let (cause, reason) = (knob.id, knob.doc.to_owned());
                self.wishes.push(Wish { knob, attribute, identity, cell, to, cause, reason });
            }
            None => self.skipped.push(Skipped {
                knob: knob.id,
                attribute,
                identity,
                status: Status::NotApplicable,
                reason: "this machine has no such thing".to_owned(),
            }),
        }
    }

    /// The whole knob has nothing to act on here.
    pub fn not_applicable(&mut self, wanted: &Wanted, reason: impl Into<String>) {
        self.skip(wanted, "", Status::NotApplicable, reason);
    }

    pub fn skip(&mut self, wanted: &Wanted, identity: &str, status: Status, reason: impl Into<String>) {
        self.skipped.push(Skipped {
            knob: wanted.knob.id,
            attribute: String::new(),
            identity: identity.to_owned(),
            status,
            reason: reason.into(),
        });
    }

    /// One attribute of one of several will not be done.
    pub fn skip_one(
        &mut self,
        wanted: &Wanted,
        attribute: &str,
        identity: &str,
        status: Status,
        reason: String,
    ) {
        let (knob, attribute, identity) = (wanted.knob.id, attribute.to_owned(), identity.to_owned());
        self.skipped.push(Skipped { knob, attribute, identity, status, reason });
    }

    /// One attribute will not be done.
    pub fn skip_attribute(&mut self, knob: &'static str, attribute: &str, status: Status, reason: String) {
        let (attribute, identity) = (attribute.to_owned(), String::new());
        self.skipped.push(Skipped { knob, attribute, identity, status, reason });
    }

    pub fn danger(&mut self, knob: &'static str, may_be_accepted: bool, reason: String) {
        self.dangers.push(Danger { knob, reason, may_be_accepted });
    }

    pub fn contradiction(&mut self, rule: &'static str, reason: String) {
        self.contradictions.push(Contradiction { rule, reason });
    }

    /// A setting that cannot be met on this machine.
    pub fn mistake(&mut self, setting: &Setting, problem: &str) {
        self.mistakes.push(format!("{}: {problem}", setting.place));
    }

    /// The CPUs of a `cpus` attribute; `None` after noting why there are none.
    pub fn cpus(&mut self, scope: &Scope<'_>, wanted: &Wanted, attribute: &str) -> Option<CpuSet> {
        let setting = wanted.setting(attribute)?;
        let choice = setting.value.as_cpus()?;
        let cpus = scope.roles.resolve(choice);
        if let Some(problem) = unknown_cpu(scope.facts, &cpus) {
            self.mistake(setting, &format!("{}.{attribute}: {problem}", wanted.knob.id));
            return None;
        }
        if cpus.is_empty() {
            self.not_applicable(wanted, format!("there are no {choice} CPUs on this machine"));
            return None;
        }
        Some(cpus)
    }
}
