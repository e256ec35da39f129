//! What the journal's records come to in this boot: for each cell its original, and what may stand there because of us.
//!
//! The rule that protects other owners is here: a cell is restored only when it holds one of *our* values, and which
//! values those are is exact after a finished transaction, and a small set after one that was interrupted. Records of
//! other boots say nothing about this one and only appear in the history.

use std::collections::{BTreeMap, BTreeSet};

use units::limits::{HISTORY_KEPT, JOURNAL_BYTES_MAX};

use crate::Error;
use crate::cell::{Cell, Reading};
use crate::record::{
    Begin, End, Entry, EntryResult, Hold, LedgerEntry, LedgerRecord, Ours, Outcome, Record, Target, What,
};

/// The standing of every cell we touched in this boot.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    boot: String,
    pub lines: BTreeMap<Target, Line>,
    /// What the kernel refuses for as long as this boot lasts.
    pub refused: BTreeMap<Target, String>,
    /// The transactions of this boot, oldest first.
    pub transactions: Vec<Transaction>,
    /// The transactions of this and earlier boots, oldest first, as far as they are kept.
    pub history: Vec<Transaction>,
    pub next_id: u64,
    /// Cells are restored in the reverse of the order they were first changed in.
    sequence: u64,
}

/// One transaction; one without an end was interrupted.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub begin: Begin,
    pub end: Option<End>,
}

/// One cell's standing.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub path: String,
    pub original: String,
    pub raw: Vec<String>,
    pub ours: Vec<Ours>,
    /// Not written by us, but changed by the kernel when we wrote a neighbour.
    pub is_side_effect: bool,
    pub sequence: u64,
    /// The changes that are not undone, oldest first.
    layers: Vec<Layer>,
}

/// One transaction's change of one cell.
#[derive(Debug, Clone)]
struct Layer {
    id: u64,
    from: String,
    raw: Vec<String>,
    ours_before: Vec<Ours>,
}

/// The layer that stands for all transactions that are no longer kept.
const FOLDED: u64 = 0;

/// How far to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackTo {
    /// Undo the last apply that is not undone.
    Last,
    /// Undo everything after this transaction: the state it left.
    Id(u64),
    /// Undo everything quell did since the machine booted.
    Baseline,
}

/// One cell to put back.
#[derive(Debug, Clone)]
pub(crate) struct Undo {
    pub target: Target,
    pub line: Line,
    pub to: String,
    pub raw: Vec<String>,
}

impl Ledger {
    /// What `records` come to in the boot `boot`.
    pub fn of(records: &[Record], boot: &str) -> Self {
        let mut ledger = Self { boot: boot.to_owned(), next_id: 1, ..Self::default() };
        let mut open: Option<Begin> = None;
        for record in records {
            match record {
                Record::Header(_) => {}
                Record::Ledger(folded) => ledger.unfold(folded),
                Record::Begin(begin) => {
                    ledger.close(open.take(), None);
                    open = Some(begin.clone());
                }
                Record::End(end) => {
                    // An end without its begin is left of a damaged journal.
                    let begin = open.take_if(|begin| begin.id == end.id && begin.boot == end.boot);
                    ledger.close(begin, Some(end));
                }
            }
        }
        ledger.close(open, None);
        ledger
    }

    fn unfold(&mut self, folded: &LedgerRecord) {
        self.next_id = self.next_id.max(folded.next_id);
        if folded.boot != self.boot {
            return;
        }
        let refused = folded.refused.iter().map(|refused| (refused.target.clone(), refused.value.clone()));
        self.refused.extend(refused);
        for LedgerEntry { target, path, original, raw, ours, is_side_effect } in &folded.entries {
            let layer =
                Layer { id: FOLDED, from: original.clone(), raw: raw.clone(), ours_before: Vec::new() };
            let line = Line {
                path: path.clone(),
                original: original.clone(),
                raw: raw.clone(),
                ours: ours.clone(),
                is_side_effect: *is_side_effect,
                sequence: self.sequence,
                layers: vec![layer],
            };
            self.sequence += 1;
            self.lines.insert(target.clone(), line);
        }
    }

    fn close(&mut self, begin: Option<Begin>, end: Option<&End>) {
        let Some(begin) = begin else { return };
        self.next_id = self.next_id.max(begin.id + 1);
        let transaction = Transaction { begin, end: end.cloned() };
        self.history.push(transaction.clone());
        if transaction.begin.boot != self.boot {
            return;
        }
        for (index, entry) in transaction.begin.changes.iter().enumerate() {
            let result = end.and_then(|end| end.results.get(index));
            if let Some(result) = result.filter(|result| result.refused_for_good) {
                self.refused.insert(entry.target.clone(), result.reason.clone());
            }
            match transaction.begin.what {
                What::Apply => self.changed(transaction.begin.id, entry, result),
                What::Rollback => self.restored(&transaction.begin.undoes, entry, result),
            }
        }
        self.transactions.push(transaction);
    }

    /// A cell was to be changed.
    fn changed(&mut self, id: u64, entry: &Entry, result: Option<&EntryResult>) {
        let now = result.and_then(|result| result.now.as_ref());
        if now == Some(&entry.from) {
            return; // as it was, and whoever's it was
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let line = self.lines.entry(entry.target.clone()).or_insert_with(|| Line {
            path: entry.path.clone(),
            original: entry.from.clone(),
            raw: entry.raw.clone(),
            ours: Vec::new(),
            is_side_effect: entry.to.is_none(),
            sequence,
            layers: Vec::new(),
        });
        let layer =
            Layer { id, from: entry.from.clone(), raw: entry.raw.clone(), ours_before: line.ours.clone() };
        line.layers.push(layer);
        match now {
            Some(now) => line.ours = vec![Ours::Value(now.clone())],
            None => line.ours.push(possible(entry)),
        }
    }

    /// A cell was to be put back.
    fn restored(&mut self, undoes: &[u64], entry: &Entry, result: Option<&EntryResult>) {
        let Some(line) = self.lines.get_mut(&entry.target) else { return };
        match result.and_then(|result| result.now.as_ref()) {
            None if entry.to.as_ref() == Some(&entry.from) => {} // there was nothing to write
            None => line.ours.push(possible(entry)),
            Some(now) if Some(now) == entry.to.as_ref() => {
                let first = line.layers.iter().position(|layer| undoes.contains(&layer.id));
                if let Some(first) = first {
                    line.ours = line.layers[first].ours_before.clone();
                }
                line.layers.retain(|layer| !undoes.contains(&layer.id));
            }
            Some(now) if *now != entry.from => line.ours = vec![Ours::Value(now.clone())],
            Some(_) => {}
        }
        if line.layers.is_empty() {
            self.lines.remove(&entry.target);
        }
    }

    /// The applies that are not undone, oldest first; the folded ones count as one.
    pub fn live(&self) -> Vec<u64> {
        let undone: BTreeSet<u64> = self
            .transactions
            .iter()
            .filter(|transaction| transaction.end.is_some())
            .flat_map(|transaction| transaction.begin.undoes.iter().copied())
            .collect();
        let folded = self.lines.values().any(|line| line.layers.iter().any(|layer| layer.id == FOLDED));
        let applies = self.transactions.iter().filter(|transaction| transaction.stands());
        let ids = applies.map(|transaction| transaction.begin.id);
        folded.then_some(FOLDED).into_iter().chain(ids).filter(|id| !undone.contains(id)).collect()
    }

    /// The last apply that is not undone.
    pub fn last_live(&self) -> Option<&Transaction> {
        let last = self.live().pop()?;
        self.transactions.iter().find(|transaction| transaction.begin.id == last)
    }

    /// The cells to put back, in the order to do it, and the transactions that are undone by it.
    ///
    /// # Errors
    /// [`Error::NoSuchTransaction`].
    pub fn undo(&self, to: RollbackTo) -> Result<(Vec<Undo>, Vec<u64>), Error> {
        let live = self.live();
        let undoes: Vec<u64> = match to {
            RollbackTo::Last => live.last().copied().into_iter().collect(),
            // What an earlier roll-back could not put back is among the layers, though its transaction is undone.
            RollbackTo::Baseline => {
                let layers = self.lines.values().flat_map(|line| line.layers.iter().map(|layer| layer.id));
                live.into_iter().chain(layers).collect::<BTreeSet<u64>>().into_iter().collect()
            }
            RollbackTo::Id(id) if self.transactions.iter().any(|known| known.begin.id == id) => {
                live.into_iter().filter(|other| *other > id).collect()
            }
            RollbackTo::Id(id) => return Err(Error::NoSuchTransaction { id, known: self.known_ids() }),
        };
        let everything = to == RollbackTo::Baseline;
        let mut undos: Vec<Undo> =
            self.lines.iter().filter_map(|(target, line)| line.undo(target, &undoes, everything)).collect();
        // A side effect is put right after the neighbours whose writing causes it.
        undos.sort_by_key(|undo| (undo.line.is_side_effect, std::cmp::Reverse(undo.line.sequence)));
        Ok((undos, undoes))
    }

    fn known_ids(&self) -> String {
        let ids: Vec<String> = self.transactions.iter().map(|known| known.begin.id.to_string()).collect();
        if ids.is_empty() { "there is none".to_owned() } else { format!("there are {}", ids.join(", ")) }
    }

    /// The records of a journal that says the same in fewer bytes: the newest transactions as they are, those before them
    /// folded into one record.
    pub fn folded(&self, records: &[Record]) -> Vec<Record> {
        let (kept_from, mut bytes) = (self.history.len().saturating_sub(HISTORY_KEPT), 0);
        let kept: BTreeSet<u64> = self.history[kept_from..]
            .iter()
            .rev()
            .take_while(|transaction| {
                bytes += transaction.bytes();
                bytes <= JOURNAL_BYTES_MAX / 2
            })
            .map(|transaction| transaction.begin.id)
            .collect();
        let is_kept = |record: &&Record| match record {
            Record::Begin(begin) => kept.contains(&begin.id),
            Record::End(end) => kept.contains(&end.id),
            Record::Header(_) | Record::Ledger(_) => false,
        };
        let old: Vec<Record> = records.iter().filter(|record| !is_kept(record)).cloned().collect();
        let mut folded = vec![Record::Ledger(Self::of(&old, &self.boot).fold(self.next_id))];
        folded.extend(records.iter().filter(is_kept).cloned());
        folded
    }

    fn fold(self, next_id: u64) -> LedgerRecord {
        let mut lines: Vec<(Target, Line)> = self.lines.into_iter().collect();
        lines.sort_by_key(|(_, line)| line.sequence);
        let entry = |(target, line): (Target, Line)| LedgerEntry {
            target,
            path: line.path,
            original: line.original,
            raw: line.raw,
            ours: line.ours,
            is_side_effect: line.is_side_effect,
        };
        LedgerRecord {
            boot: self.boot,
            next_id,
            entries: lines.into_iter().map(entry).collect(),
            refused: self.refused.into_iter().map(|(target, value)| Hold { target, value }).collect(),
        }
    }
}

/// What may stand in a cell after an interrupted change.
fn possible(entry: &Entry) -> Ours {
    match &entry.to {
        Some(to) => Ours::Between { from: entry.from.clone(), to: to.clone() },
        None => Ours::Anything,
    }
}

impl Transaction {
    /// Whether it is an apply that left something: not one that was taken back at once, and whole.
    fn stands(&self) -> bool {
        let is_original = |(result, entry): (&EntryResult, &Entry)| result.now.as_ref() == Some(&entry.from);
        let taken_back = self.end.as_ref().is_some_and(|end| {
            end.outcome == Outcome::RolledBack && end.results.iter().zip(&self.begin.changes).all(is_original)
        });
        self.begin.what == What::Apply && !taken_back
    }

    fn bytes(&self) -> u64 {
        let length = |record: &Record| serde_json::to_string(record).map_or(0, |json| json.len() as u64);
        length(&Record::Begin(self.begin.clone()))
            + self.end.as_ref().map_or(0, |end| length(&Record::End(end.clone())))
    }
}

impl Line {
    /// The value we left, when it is exactly known.
    pub fn left(&self) -> Option<&str> {
        match self.ours.as_slice() {
            [Ours::Value(value)] => Some(value),
            _ => None,
        }
    }

    /// Whether what stands there now may be there because of us.
    pub fn is_ours(&self, cell: &Cell, now: &Reading) -> bool {
        let interrupted = self.ours.iter().any(|ours| !matches!(ours, Ours::Value(_)));
        match now {
            Reading::Torn => interrupted,
            Reading::Absent | Reading::Value { .. } => self.ours.iter().any(|ours| match ours {
                Ours::Value(value) => cell.same(value, now.text()),
                Ours::Between { from, to } => cell.on_the_way(from, to, now.text()),
                Ours::Anything => true,
            }),
        }
    }

    fn undo(&self, target: &Target, undoes: &[u64], everything: bool) -> Option<Undo> {
        let layer = self.layers.iter().find(|layer| everything || undoes.contains(&layer.id))?;
        Some(Undo {
            target: target.clone(),
            line: self.clone(),
            to: layer.from.clone(),
            raw: layer.raw.clone(),
        })
    }
}
