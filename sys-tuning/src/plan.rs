//! A plan: exactly what would be written, and why not the rest; made from what was seen, without touching anything.

use host::tasks::Occupant;
use nix::errno::Errno;

use crate::boot::{self, BootFacts, Part};
use crate::cell::{ABSENT, Cell, Effect, Form, Reading, Step};
use crate::draft::{Contradiction, Danger, Skipped, Wish};
use crate::hints::{self, Hint};
use crate::ledger::Ledger;
use crate::profile::Profile;
use crate::record::Target;
use crate::registry::{Absence, Blast, When};
use crate::status::Status;
use crate::surroundings::{RT_RUNTIME, Surroundings};
use crate::survey::{Seen, Survey, unwritable_reason};

/// What applying a profile would do here and now.
#[derive(Debug)]
pub struct Plan {
    /// The profile.
    pub profile: String,
    /// Its sessions that are on, where it has any.
    pub sessions: Vec<String>,
    /// The changes, in the order in which they are made.
    pub changes: Vec<Change>,
    /// What the profile wants and is not among the changes, except what holds already.
    pub skipped: Vec<Skipped>,
    /// How many attributes are as wanted already.
    pub satisfied: usize,
    /// What works against what.
    pub contradictions: Vec<Contradiction>,
    /// What has to be accepted before anything is written.
    pub dangers: Vec<Danger>,
    /// What is worth knowing about the division of the machine; nothing follows from it.
    pub hints: Vec<Hint>,
    /// What could not be read, with the reason, so that the plan may be missing changes.
    pub unreadable: Vec<String>,
    /// Whether a part of it takes hold with the next boot only.
    pub reboot_required: bool,
    /// The profile as a text that can be applied again without its file.
    pub(crate) text: String,
    /// Cells the kernel changes by itself when these changes are made.
    pub(crate) side_effects: Vec<Planned>,
    /// Cells that are as wanted already, or will be when the changes are made.
    pub(crate) holds: Vec<(Target, String)>,
}

/// One cell to be changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// The knob.
    pub knob: &'static str,
    /// Its attribute.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// What stands there.
    pub from: String,
    /// What is to stand there.
    pub to: String,
    /// When it takes hold.
    pub when: When,
    /// What it does to running threads.
    pub blast: Blast,
    /// Which guide asks for it.
    pub source: &'static str,
    /// What it is for.
    pub reason: String,
    /// What is written. Huge pages are written in several smaller steps, each checked.
    pub steps: Vec<Step>,
    /// For the boot line: what the change means for each argument. Empty for everything else.
    pub parts: Vec<Part>,
    pub(crate) planned: Planned,
}

/// A cell and its registry names.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub knob: &'static str,
    pub target: Target,
    pub cell: Cell,
    pub needs_rights: bool,
    /// The knob whose writing changes it: its own, or another one of the plan.
    pub cause: &'static str,
}

impl Planned {
    /// The knob whose writing, before this, has the kernel set it anew.
    pub fn set_anew_by(&self) -> Option<&'static str> {
        (self.cause != self.knob).then_some(self.cause)
    }
}

impl Plan {
    /// Judges what was seen. Pure.
    pub(crate) fn of(
        profile: &Profile,
        survey: Survey,
        ledger: &Ledger,
        surroundings: &Surroundings,
    ) -> Self {
        let contradictions = survey.contradictions(profile, surroundings);
        let unthrottled = survey
            .seen
            .iter()
            .any(|seen| seen.wish.cell.path == RT_RUNTIME && seen.wish.to.as_deref() == Some("-1"));
        let hints = hints::hints(&survey.facts, &survey.roles, surroundings, unthrottled);
        let mut plan = Self {
            profile: profile.name.clone(),
            sessions: profile.sessions_on().to_vec(),
            text: profile.to_toml(),
            changes: Vec::new(),
            skipped: survey.draft.skipped,
            satisfied: 0,
            contradictions,
            hints,
            dangers: survey.draft.dangers,
            unreadable: Vec::new(),
            reboot_required: false,
            side_effects: Vec::new(),
            holds: Vec::new(),
        };
        let mut side_effects = Vec::new();
        let waits = |seen: &Seen| seen.wish.cell.effect == Effect::Booted;
        let line_waits =
            survey.seen.iter().any(waits) && survey.facts.boot.as_ref().is_some_and(BootFacts::waits);
        for seen in survey.seen {
            let knob = seen.wish.knob.id;
            match judge(&seen, ledger, &plan, survey.facts.is_fixture) {
                Judgement::SideEffect(planned) => side_effects.push(*planned),
                Judgement::Holds(value) => {
                    plan.satisfied += 1;
                    plan.holds.push((target(&seen.wish), value));
                }
                Judgement::Met => plan.satisfied += 1,
                Judgement::Watch(value) => plan.holds.push((target(&seen.wish), value)),
                Judgement::Change(mut change) => {
                    if let Form::BootLine { .. } = change.planned.cell.form {
                        change.parts = boot::parts(&change.from, &change.to, &survey.draft.arguments);
                    }
                    plan.changes.push(*change);
                }
                Judgement::Skip(status, reason) => plan.skipped.push(skipped(&seen.wish, status, reason)),
                Judgement::Unreadable(reason) => plan.unreadable.push(format!("{knob}: {reason}")),
            }
        }
        plan.dangers.extend(behind_a_spinner(&plan.changes, &surroundings.realtime));
        // A side effect matters only where its cause is written.
        let is_caused = |planned: &Planned| plan.changes.iter().any(|change| change.knob == planned.cause);
        side_effects.retain(is_caused);
        plan.side_effects = side_effects;
        plan.reboot_required = line_waits || plan.changes.iter().any(|change| change.when == When::Boot);
        plan
    }

    /// The plan without what takes hold with a boot, which is only skipped: for whoever may not edit the boot line.
    #[must_use]
    pub fn at_runtime(mut self) -> Self {
        let (boot, runtime) = self.changes.into_iter().partition(|change| change.when == When::Boot);
        self.changes = runtime;
        let reason = "only `quell tune apply` edits the boot line";
        let skipped =
            |change: Change| Skipped { status: Status::NeedsReboot, ..change.skipped(reason.to_owned()) };
        let boot: Vec<Change> = boot;
        self.skipped.extend(boot.into_iter().map(skipped));
        self
    }

    /// What of it concerns these knobs: their changes, and no other's.
    #[must_use]
    pub fn only(mut self, knobs: &[&str]) -> Self {
        self.changes.retain(|change| knobs.contains(&change.knob));
        self.side_effects.retain(|planned| knobs.contains(&planned.cause));
        self.skipped.retain(|skipped| knobs.contains(&skipped.knob));
        self.reboot_required = self.changes.iter().any(|change| change.when == When::Boot);
        self
    }

    /// The dangers that stand in the way.
    pub(crate) fn refusals(&self, accept_dangers: bool) -> Vec<String> {
        let stands = |danger: &&Danger| !(accept_dangers && danger.may_be_accepted);
        self.dangers
            .iter()
            .filter(stands)
            .map(|danger| format!("{}: {}", danger.knob, danger.reason))
            .collect()
    }
}

/// A write that waits for kernel work on every CPU does not come back while a real-time thread keeps one of them: measured
/// with the huge-page selector, 0.65 to 0.91 s behind a SCHED_FIFO spinner and 0.07 ms without.
fn behind_a_spinner(changes: &[Change], realtime: &[Occupant]) -> Option<Danger> {
    let change = changes.iter().find(|change| change.blast == Blast::Stall)?;
    let Occupant { pid, stat } = realtime.first()?;
    let reason = format!(
        "the write waits for kernel work on every CPU, and CPU {} is held by real-time thread {:?} ({} {}, process {pid}) \
         at this moment: it may stay in the kernel for a second or for as long as the thread spins; apply before the thread \
         starts",
        stat.cpu, stat.name, stat.class, stat.rt_priority
    );
    Some(Danger { knob: change.knob, reason, may_be_accepted: true })
}

/// What becomes of one wish.
enum Judgement {
    Change(Box<Change>),
    Holds(String),
    /// As wanted, and nothing that could be kept so.
    Met,
    /// Nothing to write: it comes true with the changes of its neighbours.
    Watch(String),
    Skip(Status, String),
    Unreadable(String),
    SideEffect(Box<Planned>),
}

fn judge(seen: &Seen, ledger: &Ledger, plan: &Plan, is_fixture: bool) -> Judgement {
    let Seen { wish, reading, unwritable } = seen;
    let reading = match reading {
        Ok(reading) => reading,
        Err(error) if error.is_permission() => return Judgement::Unreadable(error.to_string()),
        Err(error) => return Judgement::Skip(Status::Failed, error.to_string()),
    };
    let Some(to) = &wish.to else {
        return match reading {
            Reading::Value { .. } => Judgement::SideEffect(planned(seen).into()),
            _ => Judgement::Skip(Status::NotApplicable, "this kernel does not show it".to_owned()),
        };
    };
    match reading {
        Reading::Torn => return Judgement::Skip(Status::Failed, "the file is empty".to_owned()),
        Reading::Absent if wish.cell.form == Form::Directory && is_fixture => {
            let reason = "control groups cannot be made in a tree of plain files".to_owned();
            return Judgement::Skip(Status::NotApplicable, reason);
        }
        Reading::Absent if wish.cell.form == Form::Directory || comes_with_its_group(wish, plan) => {}
        Reading::Absent => return absent(wish.knob.absence_of(&wish.attribute)),
        Reading::Value { text, .. } if wish.cell.is_reported() => {
            return match wish.cell.satisfies(text, to) {
                true => Judgement::Met,
                false => Judgement::Skip(Status::NotApplicable, reported(&wish.cell, text, to)),
            };
        }
        Reading::Value { text, .. } if wish.cell.satisfies(text, to) && !is_set_anew(wish, plan) => {
            return Judgement::Holds(wish.cell.told(text, to));
        }
        Reading::Value { .. } if wish.cell.is_rule() => {
            return Judgement::Watch(to.clone());
        }
        Reading::Value { .. } => {}
    }
    if let Some(reason) = ledger.refused.get(&target(wish)) {
        return Judgement::Skip(
            Status::NotApplicable,
            format!("refused by the kernel in this boot: {reason}"),
        );
    }
    match unwritable {
        Some(errno) if *errno != Errno::EACCES && *errno != Errno::EPERM => {
            let reason = format!("{}: cannot be written: {}", wish.cell.path, unwritable_reason(*errno));
            Judgement::Skip(Status::Failed, reason)
        }
        _ => change(seen, ledger, reading.text(), to, is_set_anew(wish, plan)),
    }
}

/// Whether a file is absent only because the plan has yet to make its directory.
fn comes_with_its_group(wish: &Wish, plan: &Plan) -> bool {
    let is_made = |dir: &String| plan.changes.iter().any(|change| change.planned.cell.path == *dir);
    wish.cell.lives_in.as_ref().is_some_and(is_made)
}

/// Whether the kernel sets it anew because of a change of this plan, which comes before it.
fn is_set_anew(wish: &Wish, plan: &Plan) -> bool {
    wish.cause != wish.knob.id && plan.changes.iter().any(|change| change.knob == wish.cause)
}

fn absent(absence: Absence) -> Judgement {
    let (status, reason) = absence.told();
    Judgement::Skip(status, reason)
}

/// What is only reported, in words.
pub(crate) fn reported(cell: &Cell, shown: &str, expected: &str) -> String {
    let remedy = if let Form::Inferred(attribute) = cell.form { attribute.home.remedy() } else { "" };
    format!("expected {expected}, inferred {shown}: reported only, {remedy}")
}

fn change(seen: &Seen, ledger: &Ledger, from: &str, to: &str, is_set_anew: bool) -> Judgement {
    let wish = &seen.wish;
    let planned = if is_set_anew { planned(seen) } else { Planned { cause: wish.knob.id, ..planned(seen) } };
    let steps = match wish.cell.steps(from, to) {
        Ok(steps) => steps,
        Err(problem) => return Judgement::Skip(Status::Failed, problem),
    };
    let left = ledger.lines.get(&target(wish)).and_then(|line| line.left());
    let reason = match left.filter(|left| !wish.cell.same(left, from)) {
        Some(left) => format!("{} (was set to {left}, and somebody set it to {from} since)", wish.reason),
        None => wish.reason.clone(),
    };
    let reason = match planned.set_anew_by() {
        Some(cause) => {
            format!("{reason} (the kernel sets it anew when {cause} is written, so it is written after that)")
        }
        None => reason,
    };
    Judgement::Change(Box::new(Change {
        knob: wish.knob.id,
        attribute: wish.attribute.clone(),
        identity: wish.identity.clone(),
        from: wish.cell.told(from, to),
        to: to.to_owned(),
        when: wish.knob.when,
        blast: wish.knob.blast,
        source: wish.knob.source,
        reason,
        steps,
        parts: Vec::new(),
        planned,
    }))
}

fn planned(seen: &Seen) -> Planned {
    Planned {
        knob: seen.wish.knob.id,
        cause: seen.wish.cause,
        target: target(&seen.wish),
        cell: seen.wish.cell.clone(),
        needs_rights: seen.unwritable.is_some(),
    }
}

/// The registry's names of a wish.
pub(crate) fn target(wish: &Wish) -> Target {
    Target {
        knob: wish.knob.id.to_owned(),
        attribute: wish.attribute.clone(),
        identity: wish.identity.clone(),
    }
}

fn skipped(wish: &Wish, status: Status, reason: String) -> Skipped {
    Skipped {
        knob: wish.knob.id,
        attribute: wish.attribute.clone(),
        identity: wish.identity.clone(),
        status,
        reason,
    }
}

impl Change {
    /// The row of a change that is not made now.
    pub(crate) fn skipped(&self, reason: String) -> Skipped {
        Skipped {
            knob: self.knob,
            attribute: self.attribute.clone(),
            identity: self.identity.clone(),
            status: Status::Failed,
            reason,
        }
    }

    /// Whether the change brings something into being that was not there.
    #[must_use]
    pub fn is_creation(&self) -> bool {
        self.from == ABSENT
    }
}
