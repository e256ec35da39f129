//! Comparing a machine with a profile: what is wanted, what stands there, and whether it took effect.

use std::collections::BTreeMap;

use crate::Error;
use crate::boot;
use crate::cell::{Effect, Reading};
use crate::draft::{Contradiction, Skipped};
use crate::effect;
use crate::engine::Engine;
use crate::ledger::Ledger;
use crate::observe::{self, Look};
use crate::plan::{self, target};
use crate::profile::Profile;
use crate::record::Target;
use crate::registry::Absence;
use crate::status::Status;
use crate::surroundings::Surroundings;
use crate::survey::{Seen, Survey};

/// What verifying came to.
#[derive(Debug)]
pub struct Verified {
    /// The profile.
    pub profile: String,
    /// One an attribute (and, where there are several of a kind, one each).
    pub knobs: Vec<Verifying>,
    /// What works against what.
    pub contradictions: Vec<Contradiction>,
    /// What could not be taken into account, with the reason.
    pub notes: Vec<String>,
}

/// One attribute.
#[derive(Debug, Clone)]
pub struct Verifying {
    /// The knob.
    pub knob: &'static str,
    /// Its attribute; empty when it is the whole knob.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// What the profile wants.
    pub want: Option<String>,
    /// What stands there.
    pub have: Option<String>,
    /// What holds in effect.
    pub effective: Option<String>,
    /// Over what time the effect was watched, in seconds; `None` for effects that need no window.
    pub observed_for_s: Option<f64>,
    /// How long ago that was.
    pub observed_ago_s: Option<f64>,
    /// What that means.
    pub status: Status,
    /// Why, unless it is ok.
    pub reason: String,
    /// Who set what stands there, as far as it is known.
    pub owner: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
}

/// The answer to "is the machine as the profile wants it?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Everything that applies was checked and is so.
    Yes,
    /// Something is not, or not yet.
    No,
    /// There was nothing to check.
    NothingChecked,
}

impl Verified {
    /// How many attributes have this status.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.knobs.iter().filter(|knob| knob.status == status).count()
    }

    /// The answer as a whole; what does not apply here neither helps nor hurts.
    #[must_use]
    pub fn agreement(&self) -> Agreement {
        let bad = self.knobs.iter().any(|knob| !matches!(knob.status, Status::Ok | Status::NotApplicable));
        match (bad, self.count(Status::Ok)) {
            (true, _) => Agreement::No,
            (false, 0) => Agreement::NothingChecked,
            (false, _) => Agreement::Yes,
        }
    }
}

impl Engine {
    /// Compares the machine with `profile`. Writes nothing; works without rights as far as files are readable.
    ///
    /// # Errors
    /// [`Error::Host`]; [`Error::Profile`] for what this machine cannot be asked for.
    pub fn verify(&self, profile: &Profile) -> Result<Verified, Error> {
        self.verify_with(profile, &self.looks())
    }

    /// The same, with what windows showed.
    pub(crate) fn verify_with(&self, profile: &Profile, looks: &[Look]) -> Result<Verified, Error> {
        let survey = Survey::take(&self.root, profile)?;
        let contradictions = survey.contradictions(profile, &Surroundings::default());
        let mut notes = Vec::new();
        let book = self.book();
        let trouble = match &book {
            Ok(book) => self.damage(book).map(|damaged| damaged.to_string()),
            Err(error) => Some(error.to_string()),
        };
        notes.extend(trouble.map(|why| format!("drift may show as not applied: {why}")));
        let unknown = Ledger::default();
        let ledger = book.as_ref().map_or(&unknown, |book| &book.ledger);
        let skipped = survey.draft.skipped.into_iter().map(skipped);
        let dangers = survey.draft.dangers.into_iter().filter(|danger| danger.knob != "cpus").map(|danger| {
            let fix = Some("change the profile".to_owned());
            Verifying { status: Status::Failed, reason: danger.reason, fix, ..Verifying::of(danger.knob) }
        });
        let mut knobs: Vec<Verifying> = skipped.chain(dangers).collect();
        let holds = ledger.holds();
        let last = ledger.last_live().map(|last| last.begin.id);
        let known = |target: &Target| Known::of(ledger, last, &holds, target);
        for seen in survey.seen.iter().filter(|seen| seen.wish.to.is_some()) {
            let row = self.compare(seen, ledger, &known(&target(&seen.wish)), &profile.name);
            match seen.wish.cell.effect {
                Effect::Booted => knobs.extend(boot::rows(&self.root, &survey.draft.arguments, &row)),
                _ => knobs.push(observe::judge(row, &seen.wish.cell, looks)),
            }
        }
        Ok(Verified { profile: profile.name.clone(), knobs, contradictions, notes })
    }

    fn compare(&self, seen: &Seen, ledger: &Ledger, known: &Known, profile: &str) -> Verifying {
        let wish = &seen.wish;
        let want = wish.to.clone().unwrap_or_default();
        let row = Verifying {
            attribute: wish.attribute.clone(),
            identity: wish.identity.clone(),
            want: Some(want.clone()),
            ..Verifying::of(wish.knob.id)
        };
        let have = match &seen.reading {
            Ok(Reading::Value { text, .. }) => text,
            Ok(Reading::Absent) if wish.cell.lives_in.is_none() && wish.attribute != "group" => {
                return row.absent(wish.knob.absence_of(&wish.attribute));
            }
            Ok(Reading::Absent) => return row.unlike("there is no such group", profile),
            Ok(Reading::Torn) => return row.with(Status::Failed, "the file is empty"),
            Err(error) => return row.with(Status::Failed, error.to_string()),
        };
        let row = Verifying { have: Some(wish.cell.told(have, &want)), owner: known.owner(have), ..row };
        if wish.cell.satisfies(have, &want) {
            let sight = effect::look(&self.root, &wish.cell, &want, have);
            return Verifying {
                effective: sight.effective.map(|effective| wish.cell.told(&effective, &want)),
                status: sight.status,
                reason: sight.reason,
                ..row
            };
        }
        if wish.cell.is_reported() {
            let reason = plan::reported(&wish.cell, have, &want);
            return Verifying { effective: Some(have.clone()), ..row.with(Status::Failed, reason) };
        }
        if let Some(reason) = ledger.refused.get(&target(wish)) {
            let sight = effect::look(&self.root, &wish.cell, &want, have);
            let row = Verifying { effective: sight.effective, ..row };
            return row.with(Status::NotApplicable, reason.clone());
        }
        if let Some(reason) = ledger.stuck.get(&target(wish)) {
            return row.with(Status::Blocked, reason.clone());
        }
        match &known.wanted {
            Some(ours) if wish.cell.satisfies(ours, &want) => Verifying {
                fix: Some(format!("quell tune apply --profile {profile}")),
                ..row.with(Status::Drifted, format!("was {ours} when it was applied, and is {have} now"))
            },
            _ => row.unlike("not applied", profile),
        }
    }
}

/// What the ledger knows of one cell.
struct Known {
    wanted: Option<String>,
    id: Option<u64>,
}

impl Known {
    /// `last` is the last apply that is not undone.
    fn of(ledger: &Ledger, last: Option<u64>, holds: &BTreeMap<&Target, &str>, target: &Target) -> Self {
        let Some(last) = last else { return Self { wanted: None, id: None } };
        let left = ledger.lines.get(target).and_then(|line| line.left().map(str::to_owned));
        let held = || holds.get(target).map(|value| (*value).to_owned());
        Self { wanted: left.or_else(held), id: Some(last) }
    }

    fn owner(&self, have: &str) -> Option<String> {
        let is_ours = self.wanted.as_deref() == Some(have);
        self.id.filter(|_| is_ours).map(|id| format!("quell (transaction {id})"))
    }
}

impl Verifying {
    pub(crate) fn of(knob: &'static str) -> Self {
        Self {
            knob,
            attribute: String::new(),
            identity: String::new(),
            want: None,
            have: None,
            effective: None,
            observed_for_s: None,
            observed_ago_s: None,
            status: Status::Failed,
            reason: "not checked".to_owned(),
            owner: None,
            fix: None,
        }
    }

    fn with(self, status: Status, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), ..self }
    }

    fn unlike(self, reason: &str, profile: &str) -> Self {
        let fix = Some(format!("quell tune apply --profile {profile}"));
        Self { fix, ..self.with(Status::Failed, reason) }
    }

    fn absent(self, absence: Absence) -> Self {
        match absence {
            Absence::NotApplicable(reason) => self.with(Status::NotApplicable, reason),
            Absence::Satisfied(reason) => self.with(Status::Ok, reason),
            Absence::Missing(reason) => self.with(Status::Failed, format!("missing: {reason}")),
        }
    }
}

fn skipped(skipped: Skipped) -> Verifying {
    Verifying {
        attribute: skipped.attribute,
        identity: skipped.identity,
        status: skipped.status,
        reason: skipped.reason,
        ..Verifying::of(skipped.knob)
    }
}
