//! What the journal's records come to in this boot: for each cell its original, and what may stand there because of us.
//!
//! The rule that protects other owners is here: a cell is restored only when it holds one of *our* values, and which
//! values those are is exact after a finished transaction, and a small set after one that was interrupted. Records of
//! other boots say nothing about this one, except of the cells that outlive a boot (the boot line); of the rest they only
//! appear in the history.

mod line;

use std::collections::{BTreeMap, BTreeSet};

use units::limits::{HISTORY_KEPT, STANDING_KEPT};

use crate::Error;
use crate::record::{
    Asked, Asker, Begin, Confirm, End, Entry, EntryResult, Hold, LedgerEntry, LedgerRecord, Ours, Outcome,
    Record, Shared, Target, What,
};
use crate::registry::{self, When};

/// The standing of every cell we touched in this boot.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    boot: String,
    pub lines: BTreeMap<Target, Line>,
    /// What the kernel refuses for as long as this boot lasts.
    pub refused: BTreeMap<Target, String>,
    /// The transactions of this boot, oldest first, and of earlier ones what outlives a boot.
    pub transactions: Vec<Transaction>,
    /// The transactions of this and earlier boots, oldest first, as far as they are kept.
    pub history: Vec<Transaction>,
    pub next_id: u64,
    /// The cells that the last transaction left to writes that were still in the kernel, with what was said of each:
    /// nobody has told yet what came of them.
    pub stuck: BTreeMap<Target, String>,
    /// What was asked for and not undone, in this boot and earlier ones, oldest first: the last one is to be held.
    asked: Vec<Asked>,
    /// Somebody asked to let the host go, since anything else was asked for.
    released: bool,
    /// Cells are restored in the reverse of the order they were first changed in.
    sequence: u64,
}

/// One transaction; one without an end was interrupted.
#[derive(Debug, Clone)]
pub(crate) struct Transaction {
    pub begin: Shared<Begin>,
    pub end: Option<Shared<End>>,
}

/// One cell's standing.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub path: String,
    pub original: String,
    pub raw: Vec<String>,
    pub ours: Vec<Ours>,
    /// Changed by the kernel when we wrote a neighbour, whether we wrote it as well or not: it is put back after that one.
    pub is_set_anew: bool,
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
    /// Somebody asked for it.
    is_written: bool,
}

/// The layer that stands for all transactions that are no longer kept.
const FOLDED: u64 = 0;

/// How far to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackTo {
    /// Undo the last apply of which something is in effect.
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
        let mut open: Option<Transaction> = None;
        for record in records {
            match record {
                Record::Header(_) => {}
                Record::Ledger(folded) => ledger.unfold(folded),
                Record::Begin(begin) => {
                    ledger.close(open.take());
                    open = Some(Transaction { begin: begin.clone(), end: None });
                }
                Record::End(end) => {
                    // An end without its begin is left of a damaged journal.
                    let is_its =
                        |open: &&mut Transaction| open.begin.id == end.id && open.begin.boot == end.boot;
                    if let Some(open) = open.as_mut().filter(is_its) {
                        open.end = Some(end.clone());
                    }
                }
                Record::Confirm(confirm) => {
                    ledger.close(open.take());
                    ledger.confirmed(confirm);
                }
            }
        }
        ledger.stuck = open.as_ref().map(|open| open.stuck(boot)).unwrap_or_default();
        ledger.close(open);
        ledger
    }

    fn unfold(&mut self, folded: &LedgerRecord) {
        self.next_id = self.next_id.max(folded.next_id);
        self.asked.clone_from(&folded.asked);
        self.released = folded.released;
        let is_this_boot = folded.boot == self.boot;
        if is_this_boot {
            let refused =
                folded.refused.iter().map(|refused| (refused.target.clone(), refused.value.clone()));
            self.refused.extend(refused);
        }
        let counts = |entry: &&LedgerEntry| is_this_boot || outlives_a_boot(&entry.target);
        for entry in folded.entries.iter().filter(counts) {
            let LedgerEntry { target, path, original, raw, ours, is_side_effect, is_set_anew } = entry;
            let layer = Layer {
                id: FOLDED,
                from: original.clone(),
                raw: raw.clone(),
                ours_before: Vec::new(),
                is_written: !is_side_effect,
            };
            let line = Line {
                path: path.clone(),
                original: original.clone(),
                raw: raw.clone(),
                ours: ours.clone(),
                is_set_anew: *is_set_anew,
                sequence: self.sequence,
                layers: vec![layer],
            };
            self.sequence += 1;
            self.lines.insert(target.clone(), line);
        }
    }

    fn close(&mut self, open: Option<Transaction>) {
        let Some(transaction) = open else { return };
        self.next_id = self.next_id.max(transaction.begin.id + 1);
        self.history.push(transaction.clone());
        self.ask(&transaction);
        let is_this_boot = transaction.begin.boot == self.boot;
        let Some(transaction) = (if is_this_boot { Some(transaction) } else { transaction.outliving() })
        else {
            return;
        };
        let end = transaction.end.as_ref();
        let stands = transaction.stands();
        for (index, entry) in transaction.begin.changes.iter().enumerate() {
            let result = end.and_then(|end| end.results.get(index));
            if let Some(result) = result.filter(|result| result.refused_for_good && is_this_boot) {
                self.refused.insert(entry.target.clone(), result.reason.clone());
            }
            match transaction.begin.what {
                What::Apply => self.changed(transaction.begin.id, entry, result, stands),
                // Undone with the apply it belongs to.
                What::Repair => {
                    let id = transaction.begin.extends.unwrap_or(transaction.begin.id);
                    self.changed(id, entry, result, stands);
                }
                What::Rollback => self.restored(&transaction.begin.undoes, entry, result),
            }
        }
        if end.is_some() {
            transaction.begin.holds.iter().for_each(|hold| self.found(hold));
        }
        self.transactions.push(transaction);
    }

    /// What the transaction says about what the host is to be held to.
    fn ask(&mut self, transaction: &Transaction) {
        let begin = &transaction.begin;
        match (&begin.standing, begin.what) {
            (Some(wanted), What::Apply) if transaction.stands() => self.push(Asked {
                id: begin.id,
                boot: begin.boot.clone(),
                profile: begin.profile.clone(),
                at: begin.at,
                wanted: wanted.clone(),
                sessions: begin.sessions.clone(),
                confirm_by: begin.confirm_by,
                restates: Vec::new(),
                holds: Vec::new(),
            }),
            // Of one that was interrupted it is not known how far it came.
            (_, What::Repair) if transaction.end.is_some() => {
                let is_its = |asked: &&mut Asked| Some(asked.id) == begin.extends;
                if let Some(asked) = self.asked.iter_mut().rfind(is_its) {
                    asked.sessions.clone_from(&begin.sessions);
                }
            }
            (_, What::Rollback) if transaction.end.is_some() => {
                // What was never confirmed and undid itself is no word of anybody's to let the host go, however often it
                // is undone.
                let was_kept =
                    |id| self.asked.iter().any(|asked| asked.id == id && asked.confirm_by.is_none());
                self.released |= begin.releases || begin.undoes.iter().any(|id| was_kept(*id));
                self.asked.retain(|asked| !begin.undoes.contains(&asked.id));
            }
            _ => {}
        }
    }

    fn push(&mut self, mut asked: Asked) {
        // After a reboot the same is asked for again: that is no second wish, and one step back takes it away.
        if let Some(before) = self.asked.pop_if(|last| asked.confirm_by.is_none() && asked.is_again(last)) {
            asked.restates = before.restates.into_iter().chain([before.id]).collect();
        }
        self.asked.push(asked);
        let surplus = self.asked.len().saturating_sub(STANDING_KEPT);
        self.asked.drain(..surplus);
    }

    fn confirmed(&mut self, confirm: &Confirm) {
        let is_it = |asked: &Asked| asked.id == confirm.id && asked.boot == confirm.boot;
        if let Some(index) = self.asked.iter().position(is_it) {
            let asked = self.asked.remove(index);
            self.push(Asked { confirm_by: None, ..asked });
        }
    }

    /// What the host is to be held to. What was left unconfirmed by an earlier boot went with that boot.
    pub fn standing(&self) -> Option<&Asked> {
        self.asked.iter().rfind(|asked| asked.confirm_by.is_none() || asked.boot == self.boot)
    }

    /// Whether the last thing that was asked for was to let the host go.
    pub fn is_released(&self) -> bool {
        self.released && self.standing().is_none()
    }

    /// The apply that undoes itself unless it is confirmed. That of an earlier boot counts while something of it is still
    /// in effect.
    pub fn on_trial(&self) -> Option<&Asked> {
        let is_here = |asked: &&Asked| asked.boot == self.boot || self.in_effect().contains(&asked.id);
        self.asked.iter().filter(|asked| asked.confirm_by.is_some()).rfind(is_here)
    }

    /// The apply of this boot that was to be all or nothing and has not ended. It is under way, or was cut off and is to be
    /// undone.
    pub fn cut_off(&self) -> Option<&Begin> {
        let last = self.transactions.last().filter(|last| last.is_cut_off())?;
        Some(&*last.begin).filter(|begin| begin.boot == self.boot)
    }

    /// What the last apply that is not undone, and the repairs that belong to it, found as wanted.
    pub fn holds(&self) -> BTreeMap<&Target, &str> {
        let Some(last) = self.live().pop() else { return BTreeMap::new() };
        let folded = self.asked.iter().filter(|asked| asked.id == last).flat_map(|asked| &asked.holds);
        let mut holds: BTreeMap<&Target, &str> =
            folded.map(|hold| (&hold.target, hold.value.as_str())).collect();
        for Transaction { begin, end } in self.transactions.iter().filter(|one| one.is_of(last)) {
            // What was found as wanted in one session the next one may change: from then on it is a line.
            for (index, entry) in begin.changes.iter().enumerate().filter(|(_, entry)| entry.to.is_some()) {
                if end.as_ref().is_none_or(|end| end.left(index) != Some(&entry.from)) {
                    holds.remove(&entry.target);
                }
            }
            holds.extend(begin.holds.iter().map(|hold| (&hold.target, hold.value.as_str())));
        }
        holds
    }

    /// The apply `id` or the last of what belongs to it; `None` where all of that is folded.
    pub fn last_of(&self, id: u64) -> Option<&Transaction> {
        self.transactions.iter().rfind(|one| one.is_of(id))
    }

    /// A later apply found a cell as it wants it: of an interrupted change to that value it is now known how it ended.
    fn found(&mut self, hold: &Hold) {
        let Some(line) = self.lines.get_mut(&hold.target) else { return };
        let is_ours = |ours: &Ours| match ours {
            Ours::Value(value) | Ours::Between { to: value, .. } => *value == hold.value,
            Ours::Anything => false,
        };
        if line.ours.iter().any(is_ours) {
            line.ours = vec![Ours::Value(hold.value.clone())];
        }
    }

    /// A cell was to be changed.
    fn changed(&mut self, id: u64, entry: &Entry, result: Option<&EntryResult>, stands: bool) {
        let now = result.and_then(|result| result.now.as_ref());
        // One of several that the kernel left alone on the way there it may change on the way back, and nobody looks for
        // it then as for the knob's own side effects.
        let may_change_yet = entry.to.is_none() && !entry.target.identity.is_empty() && stands;
        if now == Some(&entry.from) && !may_change_yet {
            return; // as it was, and whoever's it was
        }
        let sequence = self.sequence;
        self.sequence += 1;
        let line = self.lines.entry(entry.target.clone()).or_insert_with(|| Line {
            path: entry.path.clone(),
            original: entry.from.clone(),
            raw: entry.raw.clone(),
            ours: Vec::new(),
            is_set_anew: false,
            sequence,
            layers: Vec::new(),
        });
        line.is_set_anew |= entry.to.is_none() || entry.set_anew_by.is_some();
        // A second change for one transaction (a repair) takes nothing away from what its first one found.
        match line.layers.iter_mut().find(|layer| layer.id == id) {
            Some(layer) => layer.is_written |= entry.to.is_some(),
            None => line.layers.push(Layer {
                id,
                from: entry.from.clone(),
                raw: entry.raw.clone(),
                ours_before: line.ours.clone(),
                is_written: entry.to.is_some(),
            }),
        }
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
                match line.layers.iter().position(|layer| undoes.contains(&layer.id)) {
                    // Layers above it that were left earlier (they were somebody else's then) are gone with it.
                    Some(first) => {
                        line.ours = line.layers[first].ours_before.clone();
                        line.layers.truncate(first);
                    }
                    None => line.ours = vec![Ours::Value(now.clone())], // left of a damaged journal
                }
            }
            Some(now) if *now != entry.from => line.ours = vec![Ours::Value(now.clone())],
            Some(_) => {}
        }
        if line.layers.is_empty() {
            self.lines.remove(&entry.target);
        }
    }

    /// The last transaction, when it left cells to writes that were still in the kernel.
    pub fn last_stuck(&self) -> Option<&Transaction> {
        self.history.last().filter(|_| !self.stuck.is_empty())
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

    /// The transactions of which something stands in the kernel: applies that are not undone, and what roll-backs had to
    /// leave of others.
    fn in_effect(&self) -> BTreeSet<u64> {
        self.lines.values().flat_map(|line| line.layers.iter().map(|layer| layer.id)).collect()
    }

    /// Whether something of the apply `id`, which is undone, stands in the kernel yet, and nobody asked for anything since.
    pub fn is_left_of(&self, id: u64) -> bool {
        self.in_effect().last() == Some(&id) && self.live().last().is_none_or(|last| *last < id)
    }

    /// The applies not among `undone` of which something stands in the kernel, oldest first.
    pub fn remaining(&self, undone: &[u64]) -> Vec<u64> {
        let in_effect = self.in_effect();
        self.live().into_iter().filter(|id| in_effect.contains(id) && !undone.contains(id)).collect()
    }

    /// The cells that are as they are because of an apply that is not undone.
    pub fn live_lines(&self) -> impl Iterator<Item = (&Target, &Line)> {
        let live = self.live();
        let is_live =
            move |(_, line): &(&Target, &Line)| line.layers.iter().any(|layer| live.contains(&layer.id));
        self.lines.iter().filter(is_live)
    }

    /// The cells to put back, in the order to do it, and the transactions that are undone by it.
    ///
    /// # Errors
    /// [`Error::NoSuchTransaction`].
    pub fn undo(&self, to: RollbackTo, force: bool) -> Result<(Vec<Undo>, Vec<u64>), Error> {
        // What an earlier roll-back could not put back is in effect, though its transaction is undone.
        let all: BTreeSet<u64> = self.live().into_iter().chain(self.in_effect()).collect();
        let undoes: Vec<u64> = match to {
            RollbackTo::Last => match self.last_in_effect(force) {
                Some(last) => {
                    let again = self.asked.iter().filter(|asked| asked.id == last);
                    let again: BTreeSet<u64> =
                        again.flat_map(|asked| asked.restates.iter().copied()).collect();
                    all.into_iter().filter(|id| *id >= last || again.contains(id)).collect()
                }
                // Nothing of it is in effect in this boot yet; it would be once somebody holds the host to it.
                None => self.standing().map(|asked| asked.id).into_iter().collect(),
            },
            RollbackTo::Baseline => {
                let asked: BTreeSet<u64> = self.asked.iter().map(|asked| asked.id).collect();
                all.union(&asked).copied().collect()
            }
            RollbackTo::Id(id) if self.transactions.iter().any(|known| known.begin.id == id) => {
                all.into_iter().filter(|other| *other > id).collect()
            }
            RollbackTo::Id(id) => return Err(Error::NoSuchTransaction { id, known: self.known_ids() }),
        };
        let undos = self.undo_all(&undoes);
        Ok((undos, undoes))
    }

    /// The cells to put back when the apply `id` and everything after it is undone, and the transactions undone by it.
    pub fn undo_from(&self, id: u64) -> (Vec<Undo>, Vec<u64>) {
        let later = self.live().into_iter().chain(self.in_effect()).filter(|other| *other >= id);
        let undoes: BTreeSet<u64> = later.chain([id]).collect();
        let undoes: Vec<u64> = undoes.into_iter().collect();
        (self.undo_all(&undoes), undoes)
    }

    fn undo_all(&self, undoes: &[u64]) -> Vec<Undo> {
        let mut undos: Vec<Undo> =
            self.lines.iter().filter_map(|(target, line)| line.undo(target, undoes)).collect();
        // What the kernel sets anew is put right after the neighbours whose writing makes it do so.
        undos.sort_by_key(|undo| (undo.line.is_set_anew, std::cmp::Reverse(undo.line.sequence)));
        undos
    }

    /// Where a step back leads to: before the last apply that has something in effect, since undoing one that has nothing
    /// would look like a step and be none. What was left to somebody else does not bar the way, unless it is to be forced.
    fn last_in_effect(&self, force: bool) -> Option<u64> {
        let in_effect = self.in_effect();
        let left = in_effect.last().copied();
        let last = self.remaining(&[]).pop();
        let last = if force { left.max(last) } else { last.or(left) };
        last.or_else(|| self.live().pop())
    }

    fn known_ids(&self) -> String {
        let ids: Vec<String> = self.transactions.iter().map(|known| known.begin.id.to_string()).collect();
        if ids.is_empty() { "there is none".to_owned() } else { format!("there are {}", ids.join(", ")) }
    }

    /// The records of a journal that says the same in fewer bytes: the newest transactions as they are, as many as half of
    /// `bytes_max` holds, those before them folded into one record.
    pub fn folded(&self, records: &[Record], bytes_max: u64) -> Vec<Record> {
        let (kept_from, mut bytes) = (self.history.len().saturating_sub(HISTORY_KEPT), 0);
        let newest = self.history[kept_from..].iter().rev().take_while(|transaction| {
            bytes += transaction.bytes();
            bytes <= bytes_max / 2
        });
        let mut kept: Vec<&Transaction> = newest.collect(); // newest first
        // A roll-back is folded with what it undoes, a repair with what it extends: alone they could not say which layer
        // they took away or added to.
        let reaches_back = |kept: &[&Transaction]| {
            let ids: BTreeSet<u64> = kept.iter().map(|one| one.begin.id).collect();
            let is_far = |id: &u64| !ids.contains(id);
            kept.iter().position(|one| one.begin.undoes.iter().chain(&one.begin.extends).any(is_far))
        };
        while let Some(index) = reaches_back(&kept) {
            kept.truncate(index);
        }
        let kept: BTreeSet<u64> = kept.iter().map(|transaction| transaction.begin.id).collect();
        let is_kept = |record: &&Record| match record {
            Record::Begin(begin) => kept.contains(&begin.id),
            Record::End(end) => kept.contains(&end.id),
            Record::Confirm(confirm) => kept.contains(&confirm.id),
            Record::Header(_) | Record::Ledger(_) => false,
        };
        let old: Vec<Record> = records.iter().filter(|record| !is_kept(record)).cloned().collect();
        let mut folded = vec![Record::Ledger(Self::of(&old, &self.boot).fold(self.next_id))];
        folded.extend(records.iter().filter(is_kept).cloned());
        folded
    }

    fn fold(self, next_id: u64) -> LedgerRecord {
        let asked = self.folded_asked();
        let mut lines: Vec<(Target, Line)> = self.lines.into_iter().collect();
        lines.sort_by_key(|(_, line)| line.sequence);
        let entry = |(target, line): (Target, Line)| LedgerEntry {
            is_side_effect: line.is_side_effect(),
            is_set_anew: line.is_set_anew,
            target,
            path: line.path,
            original: line.original,
            raw: line.raw,
            ours: line.ours,
        };
        LedgerRecord {
            boot: self.boot,
            next_id,
            entries: lines.into_iter().map(entry).collect(),
            refused: self.refused.into_iter().map(|(target, value)| Hold { target, value }).collect(),
            asked,
            released: self.released,
        }
    }

    /// What stays of what was asked for: the applies of this boot are one layer from now on, and the last of them says what
    /// that is held to.
    fn folded_asked(&self) -> Vec<Asked> {
        let holds = self.holds().into_iter();
        let holds =
            holds.map(|(target, value)| Hold { target: target.clone(), value: value.to_owned() }).collect();
        let (ours, others): (Vec<&Asked>, Vec<&Asked>) =
            self.asked.iter().partition(|asked| asked.boot == self.boot);
        let last = ours.last().map(|last| Asked { id: FOLDED, holds, ..Asked::clone(last) });
        others.into_iter().cloned().chain(last).collect()
    }
}

impl Asked {
    /// Whether it is the wish of an earlier boot, again.
    fn is_again(&self, earlier: &Self) -> bool {
        let same = self.profile == earlier.profile && self.wanted == earlier.wanted;
        let policy = |asked: &Self| asked.wanted.by == Asker::Policy;
        self.boot != earlier.boot && same || policy(self) && policy(earlier)
    }
}

/// What may stand in a cell after an interrupted change.
fn possible(entry: &Entry) -> Ours {
    match &entry.to {
        Some(to) => Ours::Between { from: entry.from.clone(), to: to.clone() },
        None => Ours::Anything,
    }
}

/// Whether a boot leaves the cell as it was.
fn outlives_a_boot(target: &Target) -> bool {
    registry::find(&target.knob).is_some_and(|knob| knob.when == When::Boot)
}

impl Transaction {
    /// What of it counts after a boot: the changes of cells that outlive one. A roll-back still undoes what it undid.
    fn outliving(self) -> Option<Self> {
        let Self { mut begin, end } = self;
        let is_kept: Vec<bool> = begin.changes.iter().map(|entry| outlives_a_boot(&entry.target)).collect();
        let holds = begin.holds.iter().any(|hold| outlives_a_boot(&hold.target));
        if begin.what != What::Rollback && !holds && !is_kept.contains(&true) {
            return None;
        }
        let mut kept = is_kept.iter();
        let part = begin.make_mut();
        part.changes.retain(|_| kept.next() == Some(&true));
        part.holds.retain(|hold| outlives_a_boot(&hold.target));
        let end = end.map(|mut end| {
            let mut kept = is_kept.iter();
            end.make_mut().results.retain(|_| kept.next() == Some(&true));
            end
        });
        Some(Self { begin, end })
    }

    /// Whether it is the apply `id`, or a repair that belongs to it.
    fn is_of(&self, id: u64) -> bool {
        self.begin.id == id || self.begin.extends == Some(id)
    }

    /// Whether it is an apply that counts: not one that failed, or was taken back at once, and left nothing.
    fn stands(&self) -> bool {
        let came_to_nothing = self.end.as_ref().is_some_and(|end| {
            let is_original = |(index, entry): (usize, &Entry)| end.left(index) == Some(&entry.from);
            matches!(end.outcome, Outcome::RolledBack | Outcome::Failed)
                && self.begin.changes.iter().enumerate().all(is_original)
        });
        self.begin.what == What::Apply && !came_to_nothing && !self.is_taken_back() && !self.is_cut_off()
    }

    /// Whether it was to be all or nothing and nobody knows how far it came: what it wanted is not to be had by halves.
    fn is_cut_off(&self) -> bool {
        self.begin.atomic && self.end.is_none()
    }

    /// Whether it was to be all or nothing and was taken back, as far as that was possible.
    pub fn is_taken_back(&self) -> bool {
        self.begin.atomic && self.end.as_ref().is_some_and(|end| end.outcome != Outcome::Done)
    }

    /// The cells whose write was still in the kernel when it ended, in the boot `boot`.
    fn stuck(&self, boot: &str) -> BTreeMap<Target, String> {
        let results = self.end.iter().filter(|end| end.boot == boot).flat_map(|end| &end.results);
        let with_entries = self.begin.changes.iter().zip(results);
        let stuck = with_entries.filter(|(_, result)| result.is_stuck());
        stuck.map(|(entry, result)| (entry.target.clone(), result.reason.clone())).collect()
    }

    fn bytes(&self) -> u64 {
        let length = |record: &Record| serde_json::to_string(record).map_or(0, |json| json.len() as u64);
        length(&Record::Begin(self.begin.clone()))
            + self.end.as_ref().map_or(0, |end| length(&Record::End(end.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Cell, Form, Reading};
    use proptest::prelude::*;

    const CELLS: usize = 3;
    const INITIAL: [i64; CELLS] = [60, 61, 62];

    /// A kernel of three numbers and a journal, with an engine that does to them what the real one does to files.
    struct Model {
        kernel: [i64; CELLS],
        records: Vec<Record>,
        /// What others set, by cell.
        foreign: [Vec<i64>; CELLS],
        /// Whether the last write to a cell was somebody else's.
        is_foreign: [bool; CELLS],
    }

    #[derive(Debug, Clone)]
    enum Event {
        /// We set these cells (those that differ), and are killed after so many writes, or not at all.
        Apply([Option<i64>; CELLS], Option<usize>),
        Rollback(RollbackTo, bool, Option<usize>),
        /// Somebody else sets a cell.
        Foreign(usize, i64),
        /// Killed while the journal's record was being written: nothing of it counts.
        Torn,
    }

    fn target(cell: usize) -> Target {
        Target { knob: "k".into(), attribute: cell.to_string(), identity: String::new() }
    }

    fn entry(cell: usize, from: i64, to: i64) -> Entry {
        let (from, to) = (from.to_string(), Some(to.to_string()));
        Entry { target: target(cell), path: String::new(), from, raw: Vec::new(), to, set_anew_by: None }
    }

    impl Model {
        fn new() -> Self {
            let (foreign, is_foreign) = (Default::default(), [false; CELLS]);
            Self { kernel: INITIAL, records: Vec::new(), foreign, is_foreign }
        }

        fn ledger(&self) -> Ledger {
            Ledger::of(&self.records, "boot")
        }

        fn step(&mut self, event: &Event) {
            match event {
                Event::Apply(values, killed_after) => {
                    let entries = (0..CELLS).filter_map(|cell| {
                        let to = values[cell].filter(|to| *to != self.kernel[cell])?;
                        Some(entry(cell, self.kernel[cell], to))
                    });
                    let entries = entries.collect();
                    self.transact(What::Apply, Vec::new(), entries, *killed_after);
                }
                Event::Rollback(to, force, killed_after) => self.roll_back(*to, *force, *killed_after),
                Event::Foreign(cell, value) => {
                    self.kernel[*cell] = *value;
                    self.foreign[*cell].push(*value);
                    self.is_foreign[*cell] = true;
                }
                Event::Torn => {}
            }
        }

        fn rollback(&mut self, to: RollbackTo, killed_after: Option<usize>) {
            self.roll_back(to, false, killed_after);
        }

        fn roll_back(&mut self, to: RollbackTo, force: bool, killed_after: Option<usize>) {
            let (undos, undoes) = self.ledger().undo(to, force).unwrap();
            let cell = Cell::plain("/f", Form::Number);
            let mut entries = Vec::new();
            for undo in undos {
                let index: usize = undo.target.attribute.parse().unwrap();
                let now = self.kernel[index];
                let reading = Reading::Value { text: now.to_string(), raw: Vec::new() };
                if force || now.to_string() == undo.to || undo.line.is_ours(&cell, &reading) {
                    entries.push(entry(index, now, undo.to.parse().unwrap()));
                }
            }
            self.transact(What::Rollback, undoes, entries, killed_after);
        }

        fn transact(
            &mut self,
            what: What,
            undoes: Vec<u64>,
            changes: Vec<Entry>,
            killed_after: Option<usize>,
        ) {
            let (id, boot) = (self.ledger().next_id, || "boot".to_owned());
            let profile = String::new();
            let begin = Begin {
                id,
                boot: boot(),
                what,
                at: 0,
                profile,
                undoes,
                changes,
                holds: vec![],
                standing: None,
                confirm_by: None,
                extends: None,
                sessions: Vec::new(),
                atomic: false,
                releases: false,
            };
            self.records.push(Record::Begin(begin.clone().into()));
            for entry in begin.changes.iter().take(killed_after.unwrap_or(usize::MAX)) {
                let cell: usize = entry.target.attribute.parse().unwrap();
                let to: i64 = entry.to.as_ref().unwrap().parse().unwrap();
                if self.kernel[cell] != to {
                    self.kernel[cell] = to;
                    self.is_foreign[cell] = self.foreign[cell].contains(&to);
                }
            }
            if killed_after.is_some() {
                return;
            }
            let result = |entry: &Entry| EntryResult {
                status: "ok".into(),
                now: entry.to.clone(),
                reason: String::new(),
                refused_for_good: false,
            };
            let results = begin.changes.iter().map(result).collect();
            let end = End { id, boot: boot(), outcome: Outcome::Done, results };
            self.records.push(Record::End(end.into()));
        }
    }

    /// Whether the line takes what stands in its cell for ours, or for what it goes back to.
    fn knows(line: &Line, target: &Target, kernel: [i64; CELLS]) -> bool {
        let now = kernel[target.attribute.parse::<usize>().unwrap()].to_string();
        let reading = Reading::Value { text: now.clone(), raw: Vec::new() };
        line.layers.first().is_some_and(|layer| layer.from == now)
            || line.is_ours(&Cell::plain("/f", Form::Number), &reading)
    }

    fn killed() -> impl Strategy<Value = Option<usize>> {
        prop_oneof![3 => Just(None), 1 => (0..=CELLS).prop_map(Some)]
    }

    fn ours() -> impl Strategy<Value = Event> {
        // Few values, the initial ones among them, so that they meet.
        let value = prop::option::of(prop_oneof![Just(10i64), Just(20), Just(60), Just(61)]);
        let back = prop_oneof![Just(RollbackTo::Last), Just(RollbackTo::Baseline)];
        prop_oneof![
            4 => (prop::array::uniform3(value), killed())
                .prop_map(|(values, killed)| Event::Apply(values, killed)),
            2 => (back, any::<bool>(), killed()).prop_map(|(to, force, killed)| Event::Rollback(to, force, killed)),
            1 => Just(Event::Torn),
        ]
    }

    fn anybody() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => ours(),
            1 => (0..CELLS, 1000i64..1004).prop_map(|(cell, value)| Event::Foreign(cell, value)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Whatever we did and wherever we were killed: going back to the beginning goes back to the beginning.
        #[test]
        fn every_original_comes_back(events in prop::collection::vec(ours(), 0..12)) {
            let mut model = Model::new();
            events.iter().for_each(|event| model.step(event));
            model.rollback(RollbackTo::Baseline, Some(1)); // killed on the way back, too
            model.rollback(RollbackTo::Baseline, None);
            prop_assert_eq!(model.kernel, INITIAL);
            prop_assert!(model.ledger().lines.is_empty());
        }

        /// Folding the journal's older part into one record changes nothing about that.
        #[test]
        fn folding_loses_nothing(
            events in prop::collection::vec(ours(), 0..12),
            folded_at in prop::collection::vec(0usize..12, 1..3),
            room in 0u64..12_000,
        ) {
            let mut model = Model::new();
            for (index, event) in events.iter().enumerate() {
                if folded_at.contains(&index) {
                    model.records = model.ledger().folded(&model.records, room);
                    let (now, ledger) = (model.kernel, model.ledger());
                    prop_assert!(ledger.lines.iter().all(|(target, line)| knows(line, target, now)));
                }
                model.step(event);
            }
            model.rollback(RollbackTo::Baseline, None);
            prop_assert_eq!(model.kernel, INITIAL);
        }

        /// What we wrote last is never taken for somebody else's, and a cell that is back is forgotten.
        #[test]
        fn our_own_values_are_known(events in prop::collection::vec(anybody(), 0..14)) {
            let mut model = Model::new();
            for event in &events {
                model.step(event);
                let (now, ledger) = (model.kernel, model.ledger());
                for (target, line) in &ledger.lines {
                    let is_foreign = model.is_foreign[target.attribute.parse::<usize>().unwrap()];
                    prop_assert!(is_foreign || knows(line, target, now), "{:?}: {:?}", target, line);
                }
            }
            model.roll_back(RollbackTo::Baseline, true, None);
            prop_assert!(model.ledger().lines.is_empty(), "force leaves nothing behind");
        }

        /// With others at work: what somebody set last is left alone, and no value of ours stays.
        #[test]
        fn what_others_set_is_left_alone(events in prop::collection::vec(anybody(), 0..14)) {
            let mut model = Model::new();
            events.iter().for_each(|event| model.step(event));
            let (before, theirs) = (model.kernel, model.is_foreign);
            let was_known: Vec<bool> =
                (0..CELLS).map(|cell| model.ledger().lines.contains_key(&target(cell))).collect();
            model.rollback(RollbackTo::Baseline, None);
            for cell in 0..CELLS {
                let now = model.kernel[cell];
                let is_somebodys = now == INITIAL[cell] || model.foreign[cell].contains(&now);
                prop_assert!(is_somebodys, "cell {}: {} is ours and stayed", cell, now);
                if theirs[cell] && !was_known[cell] {
                    prop_assert_eq!(now, before[cell], "cell {} was not ours to touch", cell);
                }
            }
        }

        /// A value that nobody of us ever wrote or saw is left alone, whatever happened before it was set.
        #[test]
        fn a_late_foreign_value_stays(events in prop::collection::vec(anybody(), 0..14), cell in 0..CELLS) {
            let mut model = Model::new();
            events.iter().for_each(|event| model.step(event));
            model.step(&Event::Foreign(cell, 42));
            model.rollback(RollbackTo::Baseline, None);
            prop_assert_eq!(model.kernel[cell], 42);
        }
    }
}
