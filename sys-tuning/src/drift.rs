//! Drift: what quell set, or found as wanted, and is not so any more.

use std::collections::BTreeMap;

use crate::Error;
use crate::book::Book;
use crate::boot;
use crate::cell::{ABSENT, Form, Reading};
use crate::engine::Engine;
use crate::facts::Facts;
use crate::record::Target;
use crate::registry;
use crate::status::Status;

/// What looking for drift came to.
#[derive(Debug)]
pub struct Drift {
    /// The profile that was applied last and is not undone.
    pub profile: Option<String>,
    /// How many cells were compared.
    pub checked: usize,
    /// Those that are not as they were left.
    pub drifted: Vec<Drifted>,
    /// The transaction that was interrupted, if the last one was: its cells are not compared but listed as failed.
    pub interrupted: Option<u64>,
}

/// One cell.
#[derive(Debug, Clone)]
pub struct Drifted {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// As it was left.
    pub want: String,
    /// As it is; `None` when it cannot be read.
    pub have: Option<String>,
    /// What that means.
    pub status: Status,
    /// Why.
    pub reason: String,
    /// Since when, in seconds since 1970; `None` when nobody was watching.
    pub since: Option<u64>,
    /// Who changed it, where that is known.
    pub by: Option<String>,
}

impl Engine {
    /// Compares the machine with what was left by the applies that are not undone. Writes nothing.
    ///
    /// # Errors
    /// [`Error::Permission`] when the journal may not be read, [`Error::Integrity`], [`Error::State`], [`Error::Host`].
    pub fn drift(&self) -> Result<Drift, Error> {
        let book = self.book()?;
        if let Some(damaged) = self.damage(&book) {
            return Err(damaged); // what is missing in it cannot be compared, and must not pass for unchanged
        }
        let watched = watched(&book);
        let knobs = watched.iter().filter_map(|(target, _)| registry::find(&target.knob));
        let facts = Facts::read(&self.root, knobs);
        let last = book.ledger.last_live();
        let stuck = &book.ledger.stuck;
        let drifted = watched
            .iter()
            .filter_map(|(target, want)| self.drifted(&facts, target, want.as_deref()))
            .map(|row| row.unless_stuck(stuck));
        Ok(Drift {
            profile: last.map(|last| last.begin.profile.clone()),
            checked: watched.len(),
            drifted: drifted.collect(),
            interrupted: book
                .ledger
                .transactions
                .last()
                .filter(|last| last.end.is_none())
                .map(|last| last.begin.id),
        })
    }

    fn drifted(&self, facts: &Facts, target: &Target, want: Option<&str>) -> Option<Drifted> {
        let row = |have: Option<String>, status, reason: String| Drifted {
            knob: target.knob.clone(),
            attribute: target.attribute.clone(),
            identity: target.identity.clone(),
            want: want.unwrap_or_default().to_owned(),
            have,
            status,
            reason,
            since: None,
            by: None,
        };
        let cell = registry::find(&target.knob)
            .and_then(|knob| knob.cell(facts, &target.attribute, &target.identity));
        let Some(cell) = cell else {
            let reason = "gone: this machine has no such thing any more".to_owned();
            return Some(row(None, Status::NotApplicable, reason));
        };
        let have = match cell.read(&self.root) {
            Ok(Reading::Value { text, .. }) => text,
            Ok(reading) => reading.text().to_owned(),
            Err(error) => return Some(row(None, Status::Failed, error.to_string())),
        };
        match want {
            Some(want) if cell.satisfies(&have, want) => None,
            // That none reaches over the fence is watched as a rule.
            Some(_) if cell.is_reset_by_kernel() => None,
            // Threads end; whoever has the number now is none of ours.
            _ if cell.is_fleeting() && have == ABSENT => None,
            Some(want) => {
                let of_line =
                    matches!(cell.form, Form::BootLine { .. }).then(|| boot::departure(&self.root, want));
                let reason = of_line.flatten().unwrap_or_else(|| CHANGED.to_owned());
                Some(row(Some(have), Status::Drifted, reason))
            }
            None => {
                let reason = "its last change was interrupted: apply again, or roll back".to_owned();
                Some(row(Some(have), Status::Failed, reason))
            }
        }
    }
}

impl Drifted {
    /// The row as it is while the write is still in the kernel: what it will come to, nobody knows.
    fn unless_stuck(self, stuck: &BTreeMap<Target, String>) -> Self {
        let target = Target {
            knob: self.knob.clone(),
            attribute: self.attribute.clone(),
            identity: self.identity.clone(),
        };
        match stuck.get(&target) {
            Some(reason) => Self { status: Status::Blocked, reason: reason.clone(), ..self },
            None => self,
        }
    }
}

const CHANGED: &str = "changed since it was applied; nobody was watching";

/// Every cell that has a value to be compared with; `None` where it is not known which.
pub(crate) fn watched(book: &Book) -> Vec<(Target, Option<String>)> {
    // What a roll-back left to its new owner is not ours to watch.
    let lines = book.ledger.live_lines().filter(|(_, line)| !line.is_side_effect());
    let left = lines.map(|(target, line)| (target.clone(), line.left().map(str::to_owned)));
    let mut watched: BTreeMap<Target, Option<String>> = left.collect();
    // What the last apply found as it wants it counts, although an earlier one had left something else there.
    let holds = book.ledger.holds().into_iter();
    watched.extend(holds.map(|(target, value)| (target.clone(), Some(value.to_owned()))));
    watched.into_iter().collect()
}
