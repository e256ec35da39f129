//! Going back: every cell that still holds one of our values gets its original, and no other does.
//!
//! Can be killed anywhere and run again any number of times: it decides from what stands in the kernel now and from the
//! journal's originals, never from what an earlier attempt may have done.

use host::Root;

use crate::Error;
use crate::cell::{ABSENT, Cell, Form, Reading, Step};
use crate::engine::{Engine, Locked};
use crate::facts::Facts;
use crate::journal::Journal;
use crate::ledger::{Ledger, RollbackTo, Undo};
use crate::record::{Begin, Entry, Outcome, Record, Shared, Target, What};
use crate::registry::{self, Knob};
use crate::status::Status;
use crate::transaction::{Item, Verdict, end, record_at_any_price};
use crate::writer::Expected;

/// How to roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackOptions {
    /// How far.
    pub to: RollbackTo,
    /// Overwrite what somebody else changed since, and use a damaged journal as far as it goes.
    pub force: bool,
    /// The wall clock, in seconds since 1970: for the history, nothing is decided by it.
    pub at: u64,
}

/// What a roll-back came to.
#[derive(Debug)]
pub struct RolledBack {
    /// Its own transaction; `None` when there was nothing to do, or it could not be recorded.
    pub id: Option<u64>,
    /// The transactions it undid.
    pub undone: Vec<u64>,
    /// The applies before them that are still in effect.
    pub remaining: Vec<u64>,
    /// One a cell.
    pub changes: Vec<Restored>,
    /// As a whole.
    pub result: Outcome,
    /// Why it could not be recorded; the values are back all the same.
    pub unrecorded: Option<String>,
    /// Damage of the journal that was passed over by force.
    pub damage: Option<String>,
}

/// What became of one cell.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// What stood there; `None` when it could not be read.
    pub from: Option<String>,
    /// The original.
    pub to: String,
    /// What that came to: `ok`, `foreign` (left alone), `not-applicable` (gone), `blocked`, `failed`.
    pub status: Status,
    /// Why, unless it is ok.
    pub reason: String,
}

impl Engine {
    /// Puts originals back.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Permission`], [`Error::NoSuchTransaction`]; [`Error::Integrity`] unless forced. What
    /// cannot be put back is a row of the result, not an error.
    pub fn rollback(&self, options: &RollbackOptions) -> Result<RolledBack, Error> {
        if !self.has_state()? {
            Ledger::default().undo(options.to, options.force)?;
            return Ok(RolledBack::nothing(None));
        }
        let locked = self.locked_patiently()?;
        let damage = locked.book.contents.damage.clone();
        if let Some(damaged) = self.damage(&locked.book).filter(|_| !options.force) {
            return Err(damaged);
        }
        let (undos, undoes) = locked.book.ledger.undo(options.to, options.force)?;
        if undos.is_empty() && undoes.is_empty() {
            return Ok(RolledBack::nothing(damage));
        }
        let (decided, bystanders) = self.decide(undos, options.force);
        let undoing = Undoing { at: options.at, releases: options.to == RollbackTo::Baseline, undoes };
        Ok(RolledBack { damage, ..self.restore(undoing, &locked, decided, &bystanders) })
    }

    /// Takes the apply `id` back, and what came after it; nothing when that has been done already. Unlike a step back it
    /// never takes anything that was there before.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Permission`], [`Error::Integrity`], [`Error::State`]. What cannot be put back is a row of
    /// the result, not an error.
    pub fn take_back(&self, id: u64, at: u64) -> Result<RolledBack, Error> {
        let locked = self.locked()?;
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        if !locked.book.ledger.live().contains(&id) {
            return Ok(RolledBack::nothing(None));
        }
        Ok(self.undo_from(&locked, id, at))
    }

    /// Undoes the apply `id` and everything after it, under a lock that is held already.
    pub(crate) fn undo_from(&self, locked: &Locked, id: u64, at: u64) -> RolledBack {
        let (undos, undoes) = locked.book.ledger.undo_from(id);
        let (decided, bystanders) = self.decide(undos, false);
        // Nobody's word: what nobody confirmed goes, and what was asked for before it stands again.
        self.restore(Undoing { at, releases: false, undoes }, locked, decided, &bystanders)
    }

    /// What [`Engine::rollback`] would write now, for doing it by hand.
    ///
    /// # Errors
    /// As [`Engine::rollback`], without the lock.
    pub fn rollback_steps(&self, options: &RollbackOptions) -> Result<Vec<Step>, Error> {
        let book = self.book()?;
        let (undos, _) = book.ledger.undo(options.to, options.force)?;
        let (decided, _) = self.decide(undos, options.force);
        let mut steps = Vec::new();
        for decided in &decided {
            if let Decision::Restore(item) = &decided.decision {
                let to = item.entry.to.as_deref().unwrap_or_default();
                steps.extend(item.cell.steps(&item.entry.from, to).unwrap_or_default());
            }
        }
        Ok(steps)
    }

    /// Looks at every cell and decides what to do with it; and the cells that must not change with them.
    fn decide(&self, undos: Vec<Undo>, force: bool) -> (Vec<Decided>, Vec<Item>) {
        let knobs = undos.iter().filter_map(|undo| registry::find(&undo.target.knob));
        let facts = Facts::read(&self.root, knobs);
        let mut decided: Vec<Decided> =
            undos.into_iter().map(|undo| decide(&self.root, &facts, undo, force)).collect();
        respect_changed_groups(&mut decided);
        let bystanders = self.bystanders(&facts, &decided);
        (decided, bystanders)
    }

    /// What the kernel will change by itself when we write, and was not changed by us before: it stays as it is.
    fn bystanders(&self, facts: &Facts, decided: &[Decided]) -> Vec<Item> {
        let written = |knob: &Knob| {
            let is_restored =
                |one: &Decided| matches!(&one.decision, Decision::Restore(item) if item.knob == knob.id);
            decided.iter().any(is_restored)
        };
        let mut items = Vec::new();
        for knob in registry::all().iter().filter(|knob| written(knob)) {
            for effect in knob.side_effects {
                let target = effect.target();
                let is_known = decided.iter().any(|one| one.undo.target == target);
                let cell = effect.of.cell(facts, effect.attribute, "").filter(|_| !is_known);
                items.extend(cell.and_then(|cell| preserve(&self.root, effect.of, cell, target)));
            }
        }
        items
    }

    fn restore(
        &self,
        Undoing { at, releases, undoes }: Undoing,
        locked: &Locked,
        decided: Vec<Decided>,
        bystanders: &[Item],
    ) -> RolledBack {
        let begin = Shared::from(Begin {
            id: locked.book.ledger.next_id,
            boot: locked.book.identity.boot.clone(),
            what: What::Rollback,
            at,
            profile: String::new(),
            undoes: undoes.clone(),
            changes: decided.iter().filter_map(|one| one.decision.entry().cloned()).collect(),
            holds: Vec::new(),
            standing: None,
            confirm_by: None,
            extends: None,
            sessions: Vec::new(),
            atomic: false,
            releases,
        });
        let journal = self.begin(locked, &begin);
        let (rows, recorded) = self.write_back(locked, decided, bystanders);
        let result = outcome(&rows);
        let ended = journal
            .and_then(|mut journal| record_at_any_price(&mut journal, &end(&begin, result, &recorded), true));
        RolledBack {
            id: ended.is_ok().then_some(begin.id),
            remaining: locked.book.ledger.remaining(&undoes),
            undone: undoes,
            changes: rows,
            result,
            unrecorded: ended.err().map(|error| error.unrecorded()),
            damage: None,
        }
    }

    /// The journal with this roll-back begun in it. Without it the values are put back all the same: to restore what the
    /// journal says needs no further record, and a full disk must not keep a host from its originals.
    fn begin<'l>(&self, locked: &'l Locked, begin: &Shared<Begin>) -> Result<Journal<'l>, Error> {
        let machine = locked.book.identity.machine.as_deref();
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged); // it is kept as it is, for whoever looks into it
        }
        let mut journal = Journal::new(&locked.dir, &locked.book.contents, machine, self.journal_bytes_max)?;
        let record = Record::Begin(begin.clone());
        // An apply on trial is not folded away: its number is what it is confirmed, or undone, by.
        if journal.is_full_with(&record) && locked.book.ledger.on_trial().is_none() {
            // It grows beyond its bound rather than not be written; the next apply tries again.
            let _ = journal
                .rewrite(&locked.book.ledger.folded(&locked.book.contents.records, self.journal_bytes_max));
        }
        record_at_any_price(&mut journal, &record, true)?;
        Ok(journal)
    }

    /// Writes what was decided; the rows to show, and the verdicts to record, one an entry.
    fn write_back(
        &self,
        locked: &Locked,
        decided: Vec<Decided>,
        bystanders: &[Item],
    ) -> (Vec<Restored>, Vec<Verdict>) {
        let items = decided.iter().filter_map(|one| one.decision.item());
        let items: Vec<&Item> = items.chain(bystanders).collect();
        let mut written = self.write(locked, &items, false).into_iter();
        let verdicts: Vec<Option<Verdict>> =
            decided.iter().map(|one| one.decision.item().and_then(|_| written.next())).collect();
        let (mut rows, mut recorded) = (Vec::new(), Vec::new());
        for (one, verdict) in decided.into_iter().zip(verdicts) {
            let verdict = verdict.unwrap_or_else(|| self.without_writing(&one));
            if one.decision.entry().is_some() {
                recorded.push(verdict.clone());
            }
            rows.push(one.row(verdict));
        }
        (rows, recorded)
    }

    /// What became of a cell that was not written.
    fn without_writing(&self, one: &Decided) -> Verdict {
        let verdict = |status, reason: &str, now: Option<String>| Verdict {
            status,
            reason: reason.to_owned(),
            now,
            for_good: false,
            is_foreign: false,
            is_unseen: false,
        };
        match &one.decision {
            Decision::GoesWithGroup { cell, .. } => match cell.read(&self.root) {
                Ok(Reading::Absent) => verdict(Status::Ok, "", Some(ABSENT.to_owned())),
                _ => verdict(Status::Failed, "its group is still there", one.from.clone()),
            },
            Decision::Settled(entry) => verdict(Status::Ok, "it was back already", Some(entry.from.clone())),
            Decision::Leave(status, reason) => verdict(*status, reason, one.from.clone()),
            Decision::Restore(_) | Decision::Preserve(_) => verdict(Status::Failed, "not tried", None),
        }
    }
}

/// What a roll-back undoes, and on whose word.
struct Undoing {
    /// The wall clock, for the history.
    at: u64,
    /// Whether somebody asked to let the host go.
    releases: bool,
    undoes: Vec<u64>,
}

/// One cell and what is to be done with it.
struct Decided {
    undo: Undo,
    from: Option<String>,
    decision: Decision,
}

enum Decision {
    /// Write the original.
    Restore(Item),
    /// Somebody else set a cell that the kernel changes when we write its neighbours: it is put back to *their* value.
    Preserve(Item),
    /// The file vanishes with the directory that is removed.
    GoesWithGroup { cell: Cell, entry: Entry },
    /// The original stands there.
    Settled(Entry),
    /// Not touched.
    Leave(Status, String),
}

impl Decision {
    fn item(&self) -> Option<&Item> {
        match self {
            Self::Restore(item) | Self::Preserve(item) => Some(item),
            _ => None,
        }
    }

    /// What the journal keeps: nothing of a cell that stays with somebody else.
    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Restore(item) => Some(&item.entry),
            Self::GoesWithGroup { entry, .. } | Self::Settled(entry) => Some(entry),
            Self::Preserve(_) | Self::Leave(..) => None,
        }
    }
}

fn decide(root: &Root, facts: &Facts, undo: Undo, force: bool) -> Decided {
    let leave = |undo, from, status, reason: String| Decided {
        undo,
        from,
        decision: Decision::Leave(status, reason),
    };
    let Some(knob) = registry::find(&undo.target.knob) else {
        let reason =
            format!("this quell knows no knob {}; write it by hand: {}", undo.target.knob, undo.line.path);
        return leave(undo, None, Status::Failed, reason);
    };
    let Some(cell) = knob.cell(facts, &undo.target.attribute, &undo.target.identity) else {
        return match facts.problem(knob) {
            Some(problem) => leave(undo, None, Status::Failed, format!("cannot be looked for: {problem}")),
            None => {
                let reason = "gone: this machine has no such thing any more".to_owned();
                leave(undo, None, Status::NotApplicable, reason)
            }
        };
    };
    let reading = match cell.read(root) {
        Ok(reading) => reading,
        Err(error) => {
            let reason = error.to_string();
            return leave(undo, None, Status::Failed, reason);
        }
    };
    let from = Some(reading.text().to_owned());
    let decision = weigh(root, knob, cell, &undo, &reading, force);
    Decided { undo, from, decision }
}

fn weigh(
    root: &Root,
    knob: &'static Knob,
    cell: Cell,
    undo: &Undo,
    reading: &Reading,
    force: bool,
) -> Decision {
    // The original's value with other bytes, in a plain file, is a write of ours that was interrupted.
    let is_anybodys = cell.is_reset_by_kernel();
    // A boot line that did not come up goes back by itself to the one before it.
    let came_back = matches!(cell.form, Form::BootLine { .. }) && undo.line.stood_before(reading.text());
    let is_original = reading.text() == undo.to || came_back;
    let is_ours = force || is_anybodys || is_original || undo.line.is_ours(&cell, reading);
    let entry = Entry {
        target: undo.target.clone(),
        path: cell.path.clone(),
        from: reading.text().to_owned(),
        raw: reading.raw().to_vec(),
        to: Some(undo.to.clone()),
        set_anew_by: None,
    };
    let is_set_anew = undo.line.is_set_anew;
    // It may be as it was now, and not any more when its neighbour is written: it is looked at again then.
    if !is_set_anew && !is_anybodys && is_settled(root, undo, reading) {
        return Decision::Settled(entry);
    }
    if *reading == Reading::Absent && !(cell.form == Form::Directory || undo.to == ABSENT) {
        return Decision::Leave(Status::NotApplicable, "gone: the file is not there any more".to_owned());
    }
    if !is_ours && is_set_anew {
        let theirs = Entry { to: Some(entry.from.clone()), ..entry };
        return Decision::Preserve(item(knob, cell, theirs, Expected::Anything, None));
    }
    if !is_ours {
        let reason =
            format!("somebody set it to {} since; it is left alone (--force overwrites it)", entry.from);
        return Decision::Leave(Status::Foreign, reason);
    }
    if undo.to == ABSENT && cell.lives_in.is_some() {
        return Decision::GoesWithGroup { cell, entry };
    }
    let expected = if is_set_anew || is_anybodys {
        Expected::Anything
    } else {
        Expected::Value(reading.text().to_owned())
    };
    Decision::Restore(item(knob, cell, entry, expected, Some(undo.raw.clone())))
}

/// The item that keeps a cell at what it holds now.
pub(crate) fn preserve(root: &Root, knob: &'static Knob, cell: Cell, target: Target) -> Option<Item> {
    let reading = cell.read(root).ok().filter(|reading| matches!(reading, Reading::Value { .. }))?;
    let text = reading.text().to_owned();
    let raw = reading.raw().to_vec();
    let entry = Entry {
        target,
        path: cell.path.clone(),
        from: text.clone(),
        raw: raw.clone(),
        to: Some(text),
        set_anew_by: None,
    };
    Some(item(knob, cell, entry, Expected::Anything, Some(raw)))
}

/// Whether the original stands there: in the kernel by its value, in plain files to the byte.
fn is_settled(root: &Root, undo: &Undo, reading: &Reading) -> bool {
    let bytes_match = root.is_live() || reading.raw() == undo.raw;
    *reading != Reading::Torn && reading.text() == undo.to && bytes_match
}

fn item(knob: &'static Knob, cell: Cell, entry: Entry, expected: Expected, raw: Option<Vec<String>>) -> Item {
    Item { knob: knob.id, cell, entry, expected, raw }
}

/// A group in which somebody changed something is theirs now, and not removed.
fn respect_changed_groups(decided: &mut [Decided]) {
    let changed: Vec<String> = decided
        .iter()
        .filter(|one| matches!(one.decision, Decision::Leave(Status::Foreign, _)))
        .filter_map(|one| one.undo.line.path.rsplit_once('/').map(|(dir, _)| dir.to_owned()))
        .collect();
    for one in decided {
        let is_theirs = matches!(&one.decision, Decision::Restore(item)
            if item.cell.form == Form::Directory && changed.contains(&item.cell.path));
        if is_theirs {
            let reason = "somebody changed something in the group since; it is left alone".to_owned();
            one.decision = Decision::Leave(Status::Foreign, reason);
        }
    }
}

impl Decided {
    fn row(self, verdict: Verdict) -> Restored {
        let preserved = matches!(self.decision, Decision::Preserve(_));
        let (status, reason) = match verdict.status {
            Status::Ok if preserved => {
                let now = verdict.now.as_deref().unwrap_or_default();
                (Status::Foreign, format!("somebody set it to {now} since; it is left alone"))
            }
            // Somebody's change between our look and our write.
            Status::Failed if verdict.is_foreign => (Status::Foreign, verdict.reason),
            // An effect that follows later does not make an original less restored.
            Status::Pending => (Status::Ok, verdict.reason),
            status => (status, verdict.reason),
        };
        Restored {
            knob: self.undo.target.knob,
            attribute: self.undo.target.attribute,
            identity: self.undo.target.identity,
            from: self.from,
            to: self.undo.to,
            status,
            reason,
        }
    }
}

fn outcome(rows: &[Restored]) -> Outcome {
    let bad = rows.iter().filter(|row| row.status.is_trouble()).count();
    match bad {
        0 => Outcome::Done,
        all if all == rows.len() => Outcome::Failed,
        _ => Outcome::Partly,
    }
}

impl RolledBack {
    fn nothing(damage: Option<String>) -> Self {
        Self {
            id: None,
            undone: Vec::new(),
            remaining: Vec::new(),
            changes: Vec::new(),
            result: Outcome::Done,
            unrecorded: None,
            damage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::{Book, Identity};
    use crate::record::{End, EntryResult};
    use crate::state::StateDir;
    use std::path::Path;
    use std::sync::Arc;

    /// A tree with two files, and the engine on it.
    fn bench() -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [("vm/swappiness", "10\n"), ("kernel/core_pattern", "core\n")] {
            let path = dir.path().join("proc/sys").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
        }
        let engine = Engine::new(Arc::new(Root::at(dir.path())), &dir.path().join("state"));
        (dir, engine)
    }

    /// A journal, sound in every check word, that says somebody's `entry` was applied here.
    fn forge(dir: &Path, entry: Entry) {
        let state = StateDir::create(&dir.join("state")).unwrap();
        let (boot, profile) = (String::from("unknown"), String::from("forged"));
        let book = Book::read(Some(&state), Identity { boot: boot.clone(), machine: None }).unwrap();
        let mut journal = Journal::new(&state, &book.contents, None, u64::MAX).unwrap();
        let now = entry.to.clone();
        let begin = Begin {
            id: 1,
            boot: boot.clone(),
            what: What::Apply,
            at: 0,
            profile,
            undoes: vec![],
            changes: vec![entry],
            holds: vec![],
            standing: None,
            confirm_by: None,
            extends: None,
            sessions: vec![],
            atomic: false,
            releases: false,
        };
        journal.commit(&Record::Begin(begin.into())).unwrap();
        let result = EntryResult { status: "ok".into(), now, reason: String::new(), refused_for_good: false };
        let end = End { id: 1, boot, outcome: Outcome::Done, results: vec![result] };
        journal.commit(&Record::End(end.into())).unwrap();
    }

    #[track_caller]
    fn check(knob: &str, attribute: &str, path: &str, original: &str, expected: Status) {
        let (dir, engine) = bench();
        let target = Target { knob: knob.into(), attribute: attribute.into(), identity: String::new() };
        let raw = vec![format!("{original}\n")];
        forge(
            dir.path(),
            Entry {
                target,
                path: path.into(),
                from: original.into(),
                raw,
                to: Some("10".into()),
                set_anew_by: None,
            },
        );
        let options = RollbackOptions { to: RollbackTo::Baseline, force: true, at: 0 };
        let back = engine.rollback(&options).unwrap();
        assert_eq!(back.changes[0].status, expected, "{:?}", back.changes);
        assert_eq!(engine.root().read("/proc/sys/kernel/core_pattern").unwrap(), "core\n");
    }

    #[test]
    fn a_forged_journal_writes_nothing_outside_the_registry_and_nothing_malformed() {
        let pattern = "/proc/sys/kernel/core_pattern";
        check("mem.swap", "swappiness", "/proc/sys/vm/swappiness", "60", Status::Ok);
        check("mem.swap", "swappiness", pattern, "60", Status::Ok); // the registry's path counts, not the record's
        check("mem.swap", "swappiness", "/proc/sys/vm/swappiness", "|/bin/sh", Status::Failed);
        check("kernel.core_pattern", "core_pattern", pattern, "|/bin/sh", Status::Failed);
        check("mem.swap", "../kernel/core_pattern", pattern, "|/bin/sh", Status::NotApplicable);
        check("irq.aff", "cpus", pattern, "0", Status::NotApplicable);
    }
}
