//! What came of writes that were given up: looked at as soon as they are over, and recorded.
//!
//! A write that is stuck keeps its share of the lock (`lock.rs`), so whoever has the lock next knows that it is over, in
//! this process or in one that was killed meanwhile. What stands in the cell then tells what came of it: what was to be
//! written, what was there before, or what somebody else has set since. It is recorded as a second `end` of the
//! transaction, so that a value that came late is held, watched and undone like any other. An apply that was to be all or
//! nothing, and was taken back, takes that one back as well.

use std::sync::Arc;

use crate::Error;
use crate::book::Book;
use crate::cell::{Cell, Reading};
use crate::effect;
use crate::engine::{Engine, Locked};
use crate::facts::Facts;
use crate::journal::Journal;
use crate::ledger::{Ledger, Transaction};
use crate::record::{Begin, End, Entry, EntryResult, Outcome, Record, What};
use crate::registry::{self, Knob};
use crate::status::Status;
use crate::transaction::{Item, Verdict, record_at_any_price};
use crate::writer::Expected;

impl Engine {
    /// Records what came of writes that were stuck, once they are over; whether there was anything to record.
    ///
    /// # Errors
    /// [`Error::Busy`] while they are not, [`Error::Permission`], [`Error::State`], [`Error::Integrity`].
    pub(crate) fn settle_late(&self) -> Result<bool, Error> {
        self.locked().map(|locked| !locked.book.is_unsettled && locked.book.ledger.stuck.is_empty())
    }

    /// The book with what the machine shows of writes that were stuck and are over.
    pub(crate) fn settled(&self, book: Arc<Book>) -> Arc<Book> {
        let Some(last) = book.ledger.last_stuck() else { return book };
        let end = self.seen(&Facts::read(&self.root, last.stuck_knobs()), last);
        Arc::new(book.with_end(end))
    }

    /// The same, recorded. What cannot be recorded is known all the same as long as nothing else is.
    pub(crate) fn settle(&self, mut locked: Locked) -> Locked {
        let Some(last) = locked.book.ledger.last_stuck() else { return locked };
        let facts = Facts::read(&self.root, last.stuck_knobs());
        let mut end = self.seen(&facts, last);
        if last.is_taken_back() {
            self.take_late_ones_back(&locked, &facts, last, &mut end);
        }
        locked.book = self.record_late(&locked, &end).unwrap_or_else(|_| locked.book.with_end(end));
        locked
    }

    fn record_late(&self, locked: &Locked, end: &End) -> Result<Book, Error> {
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        let Book { identity, contents, .. } = &locked.book;
        let mut journal =
            Journal::new(&locked.dir, contents, identity.machine.as_deref(), self.journal_bytes_max)?;
        record_at_any_price(&mut journal, &Record::End(end.clone().into()), false)?;
        Book::read(Some(&locked.dir), identity.clone())
    }

    /// How the transaction ended, now that its writes are over.
    fn seen(&self, facts: &Facts, Transaction { begin, end }: &Transaction) -> End {
        let end = end.as_deref().expect("what has no end has no results that tell of a stuck write");
        let result = |(entry, result): (&Entry, &EntryResult)| match &entry.to {
            Some(to) if result.is_stuck() => self.result(facts, entry, to, result),
            Some(_) => result.clone(),
            // The kernel changes it when a neighbour is written, which may have been late.
            None => {
                let now = cell_of(facts, entry).and_then(|(_, cell)| self.text_in(&cell).ok());
                EntryResult { now: now.or_else(|| result.now.clone()), ..result.clone() }
            }
        };
        let results: Vec<EntryResult> = begin.changes.iter().zip(&end.results).map(result).collect();
        End { outcome: outcome(begin, end.outcome, &results), results, ..end.clone() }
    }

    /// What came of one write.
    fn result(&self, facts: &Facts, entry: &Entry, to: &str, stuck: &EntryResult) -> EntryResult {
        let failed = |why: String, now: Option<String>| EntryResult {
            status: Status::Failed.word().to_owned(),
            now,
            reason: format!("{}; {why}", stuck.reason),
            refused_for_good: false,
        };
        let Some((_, cell)) = cell_of(facts, entry) else {
            return failed("this machine has no such thing any more".to_owned(), None);
        };
        match self.text_in(&cell) {
            Ok(now) if cell.same(&now, to) => {
                let sight = effect::look(&self.root, &cell, to, &now);
                let late = format!("it took longer than its deadline: {}", stuck.reason);
                let reason = if sight.reason.is_empty() { late } else { format!("{}; {late}", sight.reason) };
                let status = sight.status.word().to_owned();
                EntryResult { status, now: Some(now), reason, refused_for_good: false }
            }
            Ok(now) if now == entry.from => failed("it came to nothing".to_owned(), Some(now)),
            Ok(now) => failed(format!("{now} stands there since"), None),
            Err(why) => failed(why, None),
        }
    }

    fn text_in(&self, cell: &Cell) -> Result<String, String> {
        match cell.read(&self.root) {
            Ok(Reading::Torn) => Err("the file is empty".to_owned()),
            Ok(reading) => Ok(reading.text().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Puts the original back where a write came late to an apply that had been taken back by then, and what the kernel
    /// changed with it.
    fn take_late_ones_back(&self, locked: &Locked, facts: &Facts, late: &Transaction, end: &mut End) {
        let stuck = late.end.iter().flat_map(|end| &end.results).map(EntryResult::is_stuck);
        let is_moved = |index: usize, entry: &Entry| end.left(index).is_some_and(|now| *now != entry.from);
        let entries = late.begin.changes.iter().zip(stuck).enumerate();
        let came: Vec<(usize, Item)> = entries
            .filter(|(_, (entry, is_stuck))| *is_stuck || entry.to.is_none())
            .filter(|(index, (entry, _))| is_moved(*index, entry))
            .filter_map(|(index, (entry, _))| Some((index, item(facts, entry)?)))
            .collect();
        // Side effects are the last of a transaction, and stay so.
        let reversed: Vec<Item> =
            came.iter().map(|(_, item)| item.reversed(item.entry.to.as_deref())).collect();
        let verdicts = self.write(locked, &reversed.iter().collect::<Vec<_>>(), false);
        for ((index, item), verdict) in came.iter().zip(&verdicts) {
            match item.entry.to {
                Some(_) => end.results[*index].take_back(verdict),
                None => end.results[*index].now.clone_from(&verdict.now),
            }
        }
        end.outcome = outcome(&late.begin, end.outcome, &end.results);
    }
}

impl EntryResult {
    fn take_back(&mut self, verdict: &Verdict) {
        let (status, told) = match verdict.status {
            Status::Ok | Status::Pending => (Status::Failed, "put back".to_owned()),
            Status::Blocked => (Status::Blocked, verdict.reason.clone()),
            _ => (Status::Failed, format!("could not be put back: {}", verdict.reason)),
        };
        status.word().clone_into(&mut self.status);
        self.now.clone_from(&verdict.now);
        self.reason = format!("{}; {told}", self.reason);
    }
}

impl Book {
    fn with_end(&self, end: End) -> Self {
        let end = Record::End(end.into());
        let records: Vec<Record> = self.contents.records.iter().cloned().chain([end]).collect();
        Self {
            identity: self.identity.clone(),
            contents: self.contents.clone(),
            ledger: Ledger::of(&records, &self.identity.boot),
            is_unsettled: true,
        }
    }
}

impl Transaction {
    /// The knobs whose writes were still in the kernel when it ended.
    fn stuck_knobs(&self) -> impl Iterator<Item = &'static Knob> {
        let results = self.end.iter().flat_map(|end| &end.results);
        let stuck = self.begin.changes.iter().zip(results).filter(|(_, result)| result.is_stuck());
        stuck.filter_map(|(entry, _)| registry::find(&entry.target.knob))
    }
}

fn cell_of(facts: &Facts, entry: &Entry) -> Option<(&'static Knob, Cell)> {
    let knob = registry::find(&entry.target.knob)?;
    Some((knob, knob.cell(facts, &entry.target.attribute, &entry.target.identity)?))
}

fn item(facts: &Facts, entry: &Entry) -> Option<Item> {
    let (knob, cell) = cell_of(facts, entry)?;
    Some(Item { knob: knob.id, cell, entry: entry.clone(), expected: Expected::Anything, raw: None })
}

/// How it ended as a whole. A roll-back has rows that are in no record, so that its first word stands.
fn outcome(begin: &Begin, was: Outcome, results: &[EntryResult]) -> Outcome {
    if begin.what == What::Rollback {
        return was;
    }
    let is_trouble = |result: &&EntryResult| result.status.parse().is_ok_and(Status::is_trouble);
    let wanted = begin.changes.iter().zip(results).filter(|(entry, _)| entry.to.is_some());
    let (mut good, mut bad, mut is_back) = (0, 0, true);
    for (entry, result) in wanted {
        if is_trouble(&result) {
            bad += 1;
        } else {
            good += 1;
        }
        is_back &= result.now.as_ref() == Some(&entry.from);
    }
    match (good, bad) {
        _ if begin.atomic && is_back => Outcome::RolledBack,
        (_, 0) => Outcome::Done,
        (0, _) if !begin.atomic => Outcome::Failed,
        _ => Outcome::Partly,
    }
}
