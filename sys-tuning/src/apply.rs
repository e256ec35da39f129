//! Applying a plan.

use std::collections::BTreeSet;

use units::Nanos;

use crate::Error;
use crate::book::Book;
use crate::boot::Part;
use crate::cell::{ABSENT, Reading};
use crate::draft::Skipped;
use crate::engine::{Engine, Locked};
use crate::journal::{self, Journal};
use crate::plan::{Change, Plan, Planned};
use crate::record::{Asked, Asker, Begin, Entry, Hold, Outcome, Record, Shared, Target, Wanted, What};
use crate::registry::When;
use crate::status::Status;
use crate::transaction::{ENDED, Item, Verdict, end, outcome, record_at_any_price};
use crate::writer::Expected;

/// How to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplyOptions {
    /// The first failure takes everything back.
    pub atomic: bool,
    /// Go on in spite of the dangers that may be accepted.
    pub accept_dangers: bool,
    /// The wall clock, in seconds since 1970: for the history, nothing is decided by it.
    pub at: u64,
    /// It undoes itself unless it is confirmed before CLOCK_BOOTTIME reads this.
    pub confirm_by: Option<Nanos>,
    /// Who wants it.
    pub by: Asker,
    /// This is no new wish: what stands in the kernel is to be what was asked for already. Where that is of this boot, the
    /// changes belong to it and are undone with it.
    pub is_hold: bool,
    /// What the asker saw standing when it decided to apply.
    pub over: Over,
}

/// What an apply is to come over. Whoever acts on what stands has to name it: between its look and the lock, root may have
/// asked for something else, which must not be overruled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Over {
    /// Whatever stands.
    #[default]
    Anything,
    /// Nobody asked for anything yet.
    Nothing,
    /// What this apply asked for still stands.
    Standing(u64),
}

impl ApplyOptions {
    /// As `quell tune apply` without a flag.
    pub const PLAIN: Self = Self {
        atomic: false,
        accept_dangers: false,
        at: 0,
        confirm_by: None,
        by: Asker::Root,
        is_hold: false,
        over: Over::Anything,
    };
}

/// What applying a plan came to.
#[derive(Debug)]
pub struct Applied {
    /// The transaction to go back from; `None` when nothing had to be recorded.
    pub id: Option<u64>,
    /// The profile.
    pub profile: String,
    /// One a change of the plan.
    pub changes: Vec<Applying>,
    /// What the plan did not try.
    pub skipped: Vec<Skipped>,
    /// Attributes that were as wanted already.
    pub satisfied: usize,
    /// As a whole.
    pub result: Outcome,
    /// Why the end of it could not be recorded; it can be undone all the same.
    pub unrecorded: Option<String>,
}

/// What became of one change.
#[derive(Debug, Clone)]
pub struct Applying {
    /// The knob.
    pub knob: &'static str,
    /// Its attribute.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
    /// What stood there when the journal was written.
    pub from: String,
    /// What was to stand there.
    pub to: String,
    /// What stands there; `None` when it cannot be said.
    pub now: Option<String>,
    /// What that means.
    pub status: Status,
    /// Why, unless it is ok.
    pub reason: String,
    /// For the boot line: what the change means for each argument. Empty for everything else.
    pub parts: Vec<Part>,
}

impl Engine {
    /// Makes the changes of `plan`: originals into the journal and onto the disk, then the writes, then a look at each
    /// effect. A change that fails is taken back; with `atomic`, everything is.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Permission`], [`Error::Busy`], [`Error::Integrity`], [`Error::State`]: in each of
    /// these cases no knob was written. [`Error::Busy`] is also what comes of something else standing than the options
    /// name: look again.
    pub fn apply(&self, plan: &Plan, options: &ApplyOptions) -> Result<Applied, Error> {
        check(plan, options)?;
        if plan.changes.is_empty() && plan.holds.is_empty() && !self.has_state()? {
            return Ok(Applied::nothing(plan));
        }
        let locked = self.locked()?;
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        if !options.over.is_so(&locked.book) {
            return Err(Error::Busy { path: locked.dir.display(journal::NAME), pid: None });
        }
        match locked.book.ledger.on_trial() {
            Some(_) if options.is_hold => return Ok(Applied::nothing(plan)),
            Some(trial) => return Err(undecided(trial)),
            None => {}
        }
        let prepared = self.prepare(plan, options, &locked);
        if options.atomic {
            let failed = prepared.settled.iter().filter(|row| row.status == Status::Failed);
            refuse(failed.map(|row| format!("{}: {} (--atomic)", row.knob, row.reason)).collect())?;
        }
        if prepared.items.is_empty() && is_known(plan, options, &locked) {
            return Ok(Applied::of(plan, None, prepared.settled, Outcome::Done));
        }
        self.carry_out(plan, options.atomic, &locked, prepared)
    }

    /// Looks at every cell again, now that nobody else of us can write: what is read here is what the journal keeps.
    fn prepare<'p>(&self, plan: &'p Plan, options: &ApplyOptions, locked: &Locked) -> Prepared<'p> {
        let mut prepared = Prepared {
            begin: begin(plan, options, locked),
            changes: Vec::new(),
            items: Vec::new(),
            settled: Vec::new(),
        };
        for change in &plan.changes {
            match change.planned.cell.read(&self.root) {
                Ok(reading)
                    if change.planned.set_anew_by().is_none()
                        && change.planned.cell.satisfies(reading.text(), &change.to) =>
                {
                    let now = Some(reading.text().to_owned());
                    prepared.settled.push(change.row(&change.to, Status::Ok, "it was so already", now));
                }
                Ok(Reading::Absent) if change.planned.cell.is_fleeting() => {
                    prepared.settled.push(change.row(&change.from, Status::NotApplicable, ENDED, None));
                }
                Ok(reading @ (Reading::Value { .. } | Reading::Absent)) => {
                    let expected = expected(&change.planned, &reading);
                    prepared.items.push(item(&change.planned, &reading, Some(change.to.clone()), expected));
                    prepared.changes.push(change);
                }
                Ok(Reading::Torn) => {
                    prepared.settled.push(change.row("", Status::Failed, "the file is empty", None));
                }
                Err(error) => {
                    let reason = error.to_string();
                    prepared.settled.push(change.row(&change.from, Status::Failed, &reason, None));
                }
            }
        }
        for planned in &plan.side_effects {
            if let Ok(reading @ Reading::Value { .. }) = planned.cell.read(&self.root) {
                prepared.items.push(item(planned, &reading, None, Expected::Anything));
            }
        }
        prepared.begin.changes = prepared.items.iter().map(|item| item.entry.clone()).collect();
        prepared
    }

    fn carry_out(
        &self,
        plan: &Plan,
        atomic: bool,
        locked: &Locked,
        prepared: Prepared<'_>,
    ) -> Result<Applied, Error> {
        let Prepared { begin, changes, items, settled } = prepared;
        let identity = &locked.book.identity;
        let machine = identity.machine.as_deref();
        let mut journal = Journal::new(&locked.dir, &locked.book.contents, machine, self.journal_bytes_max)?;
        let begin = Shared::from(begin);
        let record = Record::Begin(begin.clone());
        if journal.is_full_with(&record) {
            journal
                .rewrite(&locked.book.ledger.folded(&locked.book.contents.records, self.journal_bytes_max))?;
        }
        journal.reserve()?;
        journal.commit(&record)?;
        let (mut verdicts, taken_back) = self.make_changes(locked, &items, atomic);
        let is_back = verdicts.iter().zip(&items).all(|(verdict, item)| {
            let ended = item.cell.is_fleeting() && verdict.now.as_deref() == Some(ABSENT);
            ended || verdict.now.as_ref() == Some(&item.entry.from)
        });
        let result = match taken_back {
            true if is_back => Outcome::RolledBack,
            true => Outcome::Partly,
            false => outcome(verdicts.iter()),
        };
        self.look_at_side_effects(&items, &mut verdicts);
        // An end that is lost with the power leaves the profile standing, so that one that came to nothing is not lost; what
        // outlives the boot must be known to have ended; and one of all or nothing stands by its end alone.
        let came_to_nothing = matches!(result, Outcome::RolledBack | Outcome::Failed);
        let outlives = changes.iter().any(|change| change.when == When::Boot);
        let durably = came_to_nothing || outlives || atomic;
        let ended = record_at_any_price(&mut journal, &end(&begin, result, &verdicts), durably);
        let rows = changes.iter().zip(&items).zip(&verdicts).map(|((change, item), verdict)| {
            change.row(&item.entry.from, verdict.status, &verdict.reason, verdict.now.clone())
        });
        let rows = rows.chain(settled).collect();
        let unrecorded = ended.err().map(|error| error.unrecorded());
        Ok(Applied { unrecorded, ..Applied::of(plan, Some(begin.id), rows, result) })
    }

    /// Writes; the verdicts are those of the changes, and whether all of them were taken back.
    fn make_changes(&self, locked: &Locked, items: &[Item], atomic: bool) -> (Vec<Verdict>, bool) {
        let wanted: Vec<&Item> = items.iter().filter(|item| item.entry.to.is_some()).collect();
        let mut verdicts = self.write(locked, &wanted, atomic);
        let failed = verdicts.iter().any(|verdict| verdict.status.is_trouble());
        let taken_back = atomic && failed;
        let is_left = |item: &Item, verdict: &Verdict| {
            let moved = verdict.is_unseen || verdict.now.as_ref() != Some(&item.entry.from);
            let ended = item.cell.is_fleeting() && verdict.now.as_deref() == Some(ABSENT);
            let touched = !verdict.is_foreign && !ended && verdict.status != Status::Blocked;
            moved && touched && (taken_back || verdict.status == Status::Failed)
        };
        // Last first, and behind them what the kernel sets anew because of it.
        let mut back: Vec<usize> = (0..wanted.len()).filter(|i| is_left(wanted[*i], &verdicts[*i])).collect();
        back.reverse();
        back.sort_by_key(|i| wanted[*i].entry.set_anew_by.is_some());
        let written: BTreeSet<&str> = back.iter().map(|i| wanted[*i].knob).collect();
        let is_set_anew =
            |item: &Item| item.entry.set_anew_by.as_deref().is_some_and(|by| written.contains(by));
        let side_effects = items.iter().filter(|item| item.entry.to.is_none());
        let side_effects = side_effects.filter(|item| taken_back || is_set_anew(item));
        let others = (0..wanted.len()).filter(|i| !back.contains(i) && is_set_anew(wanted[*i]));
        let reversed: Vec<Item> = back
            .iter()
            .map(|i| wanted[*i].taken_back(&verdicts[*i]))
            .chain(side_effects.map(|item| item.reversed(None)))
            .chain(others.map(|i| wanted[i].again()))
            .collect();
        let undone = self.write(locked, &reversed.iter().collect::<Vec<_>>(), false);
        let is_any = !back.is_empty();
        for (index, undone) in back.into_iter().zip(undone) {
            verdicts[index].taken_back(&undone);
        }
        if is_any && !taken_back {
            let again = wanted.iter().zip(verdicts).map(|(item, verdict)| self.judge_again(item, verdict));
            verdicts = again.collect();
        }
        (verdicts, taken_back)
    }

    /// What the kernel made of the cells that nobody wrote; their verdicts come last, as their items do.
    fn look_at_side_effects(&self, items: &[Item], verdicts: &mut Vec<Verdict>) {
        for item in items.iter().filter(|item| item.entry.to.is_none()) {
            let now = item.cell.read(&self.root).ok().map(|reading| reading.text().to_owned());
            verdicts.push(Verdict {
                status: Status::Ok,
                reason: String::new(),
                now,
                for_good: false,
                is_foreign: false,
                is_unseen: false,
            });
        }
    }
}

impl Over {
    fn is_so(self, book: &Book) -> bool {
        let standing = book.ledger.standing().map(|asked| asked.id);
        match self {
            Self::Anything => true,
            Self::Nothing => standing.is_none() && !book.ledger.is_released(),
            Self::Standing(id) => standing == Some(id),
        }
    }
}

/// A plan, looked at again under the lock.
struct Prepared<'p> {
    begin: Begin,
    /// The changes that are still to be made, one an item.
    changes: Vec<&'p Change>,
    /// These, and the side effects behind them.
    items: Vec<Item>,
    /// What became of the others.
    settled: Vec<Applying>,
}

/// What stops an apply before it begins.
fn check(plan: &Plan, options: &ApplyOptions) -> Result<(), Error> {
    let mut refusals = plan.refusals(options.accept_dangers);
    if options.atomic {
        let failed = plan.skipped.iter().filter(|skipped| skipped.status == Status::Failed);
        refusals.extend(failed.map(|skipped| format!("{}: {} (--atomic)", skipped.knob, skipped.reason)));
        refusals.extend(plan.unreadable.iter().map(|what| format!("{what} (--atomic)")));
    }
    refuse(refusals)?;
    match plan.changes.iter().find(|change| change.planned.needs_rights) {
        Some(change) => Err(Error::Permission {
            what: change.planned.cell.path.clone(),
            cause: std::io::ErrorKind::PermissionDenied.into(),
        }),
        None => Ok(()),
    }
}

fn refuse(reasons: Vec<String>) -> Result<(), Error> {
    if reasons.is_empty() { Ok(()) } else { Err(Error::Refused(reasons)) }
}

fn begin(plan: &Plan, options: &ApplyOptions, locked: &Locked) -> Begin {
    let hold = |(target, value): &(Target, String)| Hold { target: target.clone(), value: value.clone() };
    let wanted = wanted(plan, options);
    let extends = options.is_hold.then(|| extended(&locked.book, plan)).flatten();
    Begin {
        id: locked.book.ledger.next_id,
        boot: locked.book.identity.boot.clone(),
        what: if extends.is_some() { What::Repair } else { What::Apply },
        releases: false,
        at: options.at,
        profile: plan.profile.clone(),
        undoes: Vec::new(),
        changes: Vec::new(),
        holds: plan.holds.iter().map(hold).collect(),
        standing: extends.is_none().then_some(wanted),
        confirm_by: options.confirm_by.map(|deadline| deadline.0),
        extends,
        sessions: plan.sessions.clone(),
        atomic: options.atomic,
    }
}

fn wanted(plan: &Plan, options: &ApplyOptions) -> Wanted {
    Wanted { text: plan.text.clone(), by: options.by, accepts_dangers: options.accept_dangers }
}

/// The apply of this boot that the plan's profile was asked for by, when that is the last one.
fn extended(book: &Book, plan: &Plan) -> Option<u64> {
    let standing = book.ledger.standing()?;
    let is_it = standing.boot == book.identity.boot
        && standing.wanted.text == plan.text
        && book.ledger.live().last() == Some(&standing.id);
    is_it.then_some(standing.id)
}

/// Whether the last apply was of the same profile and watches the same cells: then there is nothing to record.
fn is_known(plan: &Plan, options: &ApplyOptions, locked: &Locked) -> bool {
    let ledger = &locked.book.ledger;
    let Some(last) = ledger.live().pop() else { return false };
    let is_asked = ledger.standing().is_some_and(|standing| {
        let same = standing.profile == plan.profile && standing.wanted == wanted(plan, options);
        standing.id == last && same && standing.sessions == plan.sessions
    });
    // An interrupted one is not known to have come to an end.
    let has_ended = ledger.last_of(last).is_none_or(|last| last.end.is_some());
    let holds = ledger.holds();
    let is_watched = |target: &Target| ledger.lines.contains_key(target) || holds.contains_key(target);
    is_asked && has_ended && plan.holds.iter().all(|(target, _)| is_watched(target))
}

/// One undecided apply at a time: what a second one would be undone to, if the first is not confirmed, nobody could say.
fn undecided(trial: &Asked) -> Error {
    let id = trial.id;
    Error::Refused(vec![format!(
        "transaction {id} waits to be confirmed; `quell tune confirm {id}` keeps it, `quell tune rollback` undoes it"
    )])
}

/// What must still stand there when the write comes. A file that its group brings into being holds what the kernel puts
/// there.
fn expected(planned: &Planned, reading: &Reading) -> Expected {
    match reading {
        _ if planned.set_anew_by().is_some() => Expected::Anything,
        Reading::Absent if planned.cell.lives_in.is_some() => Expected::Anything,
        _ => Expected::Value(reading.text().to_owned()),
    }
}

fn item(planned: &Planned, reading: &Reading, to: Option<String>, expected: Expected) -> Item {
    let entry = Entry {
        target: planned.target.clone(),
        path: planned.cell.path.clone(),
        from: reading.text().to_owned(),
        raw: reading.raw().to_vec(),
        to,
        set_anew_by: planned.set_anew_by().map(str::to_owned),
    };
    Item { knob: planned.knob, cell: planned.cell.clone(), entry, expected, raw: None }
}

impl Change {
    fn row(&self, from: &str, status: Status, reason: &str, now: Option<String>) -> Applying {
        Applying {
            knob: self.knob,
            attribute: self.attribute.clone(),
            identity: self.identity.clone(),
            from: self.planned.cell.told(from, &self.to),
            to: self.to.clone(),
            now: now.map(|now| self.planned.cell.told(&now, &self.to)),
            status,
            reason: reason.to_owned(),
            parts: self.parts.clone(),
        }
    }
}

impl Verdict {
    /// The change was put back, or was to be.
    fn taken_back(&mut self, undone: &Self) {
        self.now.clone_from(&undone.now);
        let outcome = match undone.status {
            Status::Ok | Status::Pending => "put back".to_owned(),
            _ => format!("could not be put back: {}", undone.reason),
        };
        let was_ok = !self.status.is_trouble();
        self.reason = if self.reason.is_empty() { outcome } else { format!("{}; {outcome}", self.reason) };
        if was_ok {
            self.status = Status::Failed; // what was wanted does not stand there
        }
    }
}

impl Applied {
    fn nothing(plan: &Plan) -> Self {
        Self::of(plan, None, Vec::new(), Outcome::Done)
    }

    fn of(plan: &Plan, id: Option<u64>, changes: Vec<Applying>, result: Outcome) -> Self {
        let failed = plan.skipped.iter().any(|skipped| skipped.status.is_trouble())
            || changes.iter().any(|change| change.status.is_trouble())
            || !plan.unreadable.is_empty();
        let good = plan.satisfied > 0 || changes.iter().any(|change| !change.status.is_trouble());
        let result = match result {
            Outcome::Done if failed && good => Outcome::Partly,
            Outcome::Done if failed => Outcome::Failed,
            other => other,
        };
        Self {
            id,
            profile: plan.profile.clone(),
            changes,
            skipped: plan.skipped.clone(),
            satisfied: plan.satisfied,
            result,
            unrecorded: None,
        }
    }
}
