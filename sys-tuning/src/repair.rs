//! Holding the host to what was left on it: looking at the very cells that count, and putting back those that drifted.
//!
//! For whoever watches for long: what the journal says and where the cells stand is read once and kept until the journal's
//! file changes, so that a look costs the reading of the files and a repair the writing of them. A repair is not journaled:
//! the line it restores is in the journal with its original, and what it writes is the value that the line says is ours, so
//! that a record would change nothing about what a roll-back does, and cost every reader of the journal a reload.

use std::cell::Cell as Flag;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use host::Root;
use host::threads::monotonic_now;
use units::limits::BLOCKED_WRITES_MAX;
use units::{CpuSet, Nanos};

use crate::Error;
use crate::cell::{Cell, Effect, Form, Reading};
use crate::drift::watched;
use crate::effect;
use crate::engine::Engine;
use crate::errno;
use crate::facts::Facts;
use crate::journal;
use crate::lock::Lock;
use crate::record::Target;
use crate::registry::{self, Blast, Knob, SideEffect, When};
use crate::rollback::preserve;
use crate::standing::StandingProfile;
use crate::state::{Stamp, StateDir};
use crate::status::Status;
use crate::trading::Trading;
use crate::transaction::Item;
use crate::writer::{self, Done, Expected, Job};
use crate::{Applied, ApplyOptions, Over};

/// What is held, by number; numbers are good until [`Holder::refresh`] says that it read anew.
#[derive(Debug)]
pub struct Holder {
    engine: Engine,
    dir: Option<StateDir>,
    /// The journal as it was read; `None` before the first time.
    stamp: Option<Option<Stamp>>,
    lines: Vec<HeldLine>,
    /// What the kernel changes by itself when its neighbours are written: it is put back to what it was.
    side_effects: Vec<(&'static Knob, Cell, Target)>,
    /// Where the worker runs.
    cpus: CpuSet,
}

#[derive(Debug)]
struct HeldLine {
    target: Target,
    want: String,
    knob: &'static Knob,
    /// `None`: the machine has no such thing now.
    cell: Option<Cell>,
    /// Whether its value was ever seen to have taken effect: what never had any has not lost it.
    took_effect: Flag<bool>,
}

/// What a look at one line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// As it was left.
    Held,
    /// Something else stands there.
    Drifted(String),
    /// It stands as it was left, and what it had effected is gone: why.
    Lost(String),
    /// There is no such thing now, which is no drift.
    Gone,
    /// It cannot be read.
    Unreadable(String),
}

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Its number.
    pub index: usize,
    /// What stood there under the lock.
    pub found: Look,
    /// Why it could not be put back; `None` when it stands as wanted now, or is gone.
    pub refused: Option<String>,
    /// When that was known, by CLOCK_MONOTONIC.
    pub at: Nanos,
}

/// What one line was put back from, and what came of it.
struct Written {
    found: Look,
    done: Done,
    at: Nanos,
}

/// Looks at one line in one batch: who sets it again between each look and the write is not to keep the keeper from the
/// others, and is found again by the next batch.
const LOOKS_MAX: usize = 4;

/// A batch of repairs.
#[derive(Debug)]
pub struct Repairs {
    /// One a line, in the order they were asked for.
    pub lines: Vec<Repaired>,
    /// From before the lock was asked for until the last value was read back.
    pub took: Nanos,
}

impl Engine {
    /// Something that holds the host to what was left on it. Nothing is read yet.
    #[must_use]
    pub fn holder(&self) -> Holder {
        Holder {
            engine: self.clone(),
            dir: None,
            stamp: None,
            lines: Vec::new(),
            side_effects: Vec::new(),
            cpus: CpuSet::empty(),
        }
    }

    /// Brings about what the standing profile wants and nothing holds yet: an interrupt that came, a CPU that is back. Its
    /// changes belong to the apply that asked for it. `None` when there is nothing of the kind.
    ///
    /// What is held already and drifted is left to [`Holder::repair`], what `trading` forbids at `at` to later, the boot
    /// command line to people, and the knobs `except` as they are.
    ///
    /// # Errors
    /// As [`Engine::plan`] and [`Engine::apply`].
    pub fn complete(
        &self,
        standing: &StandingProfile,
        except: &[String],
        at: u64,
        trading: &Trading,
    ) -> Result<Option<Applied>, Error> {
        let second = i64::try_from(at).unwrap_or(i64::MAX);
        let mut plan = self.plan(&standing.profile.at(second))?.in_hours(trading, second);
        let book = self.book()?;
        let known = watched(&book);
        plan.changes.retain(|change| {
            let is_known = known.iter().any(|(target, _)| *target == change.planned.target);
            let is_left = except.contains(&change.planned.target.knob);
            !is_known && !is_left && change.when == When::Runtime
        });
        if plan.changes.is_empty() || !standing.is_this_boot {
            return Ok(None);
        }
        let options = ApplyOptions {
            accept_dangers: standing.accepts_dangers,
            at,
            by: standing.by,
            is_hold: true,
            over: Over::Standing(standing.transaction),
            ..ApplyOptions::PLAIN
        };
        self.apply(&plan, &options).map(Some)
    }
}

impl Holder {
    /// Reads anew when somebody changed the journal since; whether that was so.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Integrity`], [`Error::State`], [`Error::Host`]: then nothing is held, and the next
    /// call tries again.
    pub fn refresh(&mut self) -> Result<bool, Error> {
        if self.dir.is_none() {
            self.dir = StateDir::open(&self.engine.state_dir)?;
        }
        let stamp = self.journal_stamp();
        if self.stamp == Some(stamp) {
            return Ok(false);
        }
        let is_unsettled = self.reload()?;
        self.stamp = Some(stamp); // taken before the reading: what came between is read next time
        if is_unsettled {
            // Recorded, so that it is known tomorrow as well; with that the journal is another one, and read next time.
            match self.engine.settle_late() {
                Err(Error::Busy { .. }) => self.stamp = None, // still in the kernel
                other => _ = other?,
            }
        }
        Ok(true)
    }

    /// Has the next [`Holder::refresh`] read anew in any case: interrupts are renumbered, devices come and go.
    pub fn forget(&mut self) {
        self.stamp = None;
    }

    fn journal_stamp(&self) -> Option<Stamp> {
        self.dir.as_ref().and_then(|dir| dir.stamp(journal::NAME))
    }

    /// Whether the journal does not tell yet what came of writes that were stuck.
    fn reload(&mut self) -> Result<bool, Error> {
        let had_effect: BTreeSet<(Target, String)> =
            self.lines.drain(..).filter_map(HeldLine::with_effect).collect();
        self.side_effects.clear();
        self.engine.root.forget_attributes(); // devices may have come and gone behind their names
        let book = self.engine.book()?;
        if let Some(damaged) = self.engine.damage(&book) {
            return Err(damaged);
        }
        let wanted: Vec<(Target, String, &'static Knob)> = watched(&book)
            .into_iter()
            .filter_map(|(target, want)| {
                let knob = registry::find(&target.knob)?;
                Some((target, want?, knob))
            })
            .filter(|(_, _, knob)| knob.when == When::Runtime)
            .collect();
        let facts = Facts::read(&self.engine.root, wanted.iter().map(|(_, _, knob)| *knob));
        for knob in registry::all().iter().filter(|knob| wanted.iter().any(|(.., used)| used.id == knob.id)) {
            self.side_effects.extend(side_effects(knob, &facts));
        }
        let line = |(target, want, knob): (Target, String, &'static Knob)| {
            let cell = knob.cell(&facts, &target.attribute, &target.identity);
            let took_effect = Flag::new(had_effect.contains(&(target.clone(), want.clone())));
            HeldLine { target, want, knob, cell, took_effect }
        };
        self.lines = wanted.into_iter().map(line).collect();
        self.lines.sort_by_key(|line| registry::is_set_anew(&line.target)); // put back behind what changes it
        self.cpus = self.engine.worker_cpus();
        Ok(book.is_unsettled || !book.ledger.stuck.is_empty())
    }

    /// Whether another quell tunes this machine at this moment.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::State`].
    pub fn is_busy(&mut self) -> Result<bool, Error> {
        if self.dir.is_none() {
            self.dir = StateDir::open(&self.engine.state_dir)?;
        }
        match self.dir.as_ref().map(Lock::take_unnamed) {
            Some(Err(Error::Busy { .. })) => Ok(true),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(false),
        }
    }

    /// How many lines are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether the line `index` is a rule over things that come and go: it is kept by [`Engine::complete`], which journals
    /// the originals of what came, and not by [`Holder::repair`].
    #[must_use]
    pub fn is_rule(&self, index: usize) -> bool {
        self.lines[index].cell.as_ref().is_some_and(Cell::is_rule)
    }

    /// Which cell the line `index` is.
    #[must_use]
    pub fn target(&self, index: usize) -> &Target {
        &self.lines[index].target
    }

    /// What writing the line does to running threads.
    #[must_use]
    pub fn blast(&self, index: usize) -> Blast {
        self.lines[index].knob.blast
    }

    /// What is to stand there.
    #[must_use]
    pub fn wanted(&self, index: usize) -> &str {
        &self.lines[index].want
    }

    /// The files whose change may be a drift of the line, as paths of this machine; none where no file shows it.
    #[must_use]
    pub fn files(&self, index: usize) -> Vec<String> {
        let Some(cell) = &self.lines[index].cell else { return Vec::new() };
        if cell.is_fleeting() || cell.is_rule() {
            return Vec::new();
        }
        let effect = match &cell.effect {
            Effect::ListEquals(path) | Effect::MaskWithin(path) => Some(path.as_str()),
            _ => None, // an interrupt's effective CPU changes with every move that is wanted
        };
        cell.files().into_iter().chain(effect).map(|path| self.engine.root.display(path)).collect()
    }

    /// Reads the line `index`: the files of one cell and nothing else.
    #[must_use]
    pub fn look(&self, index: usize) -> Look {
        let line = &self.lines[index];
        let Some(cell) = &line.cell else { return Look::Gone };
        match cell.read(&self.engine.root) {
            Ok(Reading::Absent) if cell.form == Form::Directory => {
                Look::Drifted(Reading::Absent.text().to_owned())
            }
            Ok(Reading::Absent) => Look::Gone,
            Ok(_) if cell.is_reset_by_kernel() => Look::Held, // its fence is watched as a rule
            Ok(reading) if cell.satisfies(reading.text(), &line.want) => {
                line.lost_effect(&self.engine.root, cell, reading.text()).map_or(Look::Held, Look::Lost)
            }
            Ok(reading) => Look::Drifted(reading.text().to_owned()),
            Err(error) if error.is_absent() => Look::Gone,
            Err(error) => Look::Unreadable(error.to_string()),
        }
    }

    /// Puts the lines `which` back to what is wanted, as far as they drifted, and reads them back. `None` when somebody
    /// changed the journal since the last [`Holder::refresh`]: what is wanted may be something else now.
    ///
    /// # Errors
    /// [`Error::Busy`] while another quell tunes this machine: what it does is no drift, look again afterwards.
    /// [`Error::State`], [`Error::Permission`].
    pub fn repair(&self, which: &[usize]) -> Result<Option<Repairs>, Error> {
        let began = monotonic_now();
        let Some(dir) = &self.dir else { return Ok(None) };
        let lock = Arc::new(Lock::take_unnamed(dir)?);
        if self.stamp != Some(self.journal_stamp()) {
            return Ok(None);
        }
        let found: Vec<Look> = which.iter().map(|index| self.look(*index)).collect();
        let is_off = |look: &Look| matches!(look, Look::Drifted(_) | Look::Lost(_));
        let drifted: Vec<usize> =
            which.iter().zip(&found).filter(|(_, look)| is_off(look)).map(|(index, _)| *index).collect();
        let kept = self.kept(&drifted);
        let mut written = self.write(&lock, &drifted);
        self.run(&lock, kept.iter().map(Item::job).collect());
        let lines = which.iter().zip(found).map(|(index, found)| {
            let Some(Written { found, done, at }) = written.remove(index) else {
                let refused = if let Look::Unreadable(why) = &found { Some(why.clone()) } else { None };
                return Repaired { index: *index, found, refused, at: monotonic_now() };
            };
            let line = &self.lines[*index];
            let refused = match &found {
                Look::Lost(_) => line.still_lost(&self.engine.root, done),
                _ => refusal(line, done),
            };
            Repaired { index: *index, found, refused, at }
        });
        let lines = lines.collect();
        Ok(Some(Repairs { lines, took: monotonic_now() - began }))
    }

    /// Writes the lines `which`; what came of each, and when. What cannot block goes first: nothing waits for what can.
    fn write(&self, lock: &Arc<Lock>, which: &[usize]) -> BTreeMap<usize, Written> {
        let mut order = which.to_vec();
        order.sort_by_key(|index| can_block(self.lines[*index].knob));
        let (mut written, mut stuck) = (BTreeMap::new(), BTreeSet::new());
        for index in order {
            let Some((found, done)) = self.put_back(lock, index, &mut stuck) else { continue };
            written.insert(index, Written { found, done, at: monotonic_now() });
        }
        written
    }

    /// Puts one line back from what stands there, which must still stand there when it is written: what somebody sets
    /// between the look and the write is looked at in its turn. `None` when there is nothing to put back.
    fn put_back(&self, lock: &Arc<Lock>, index: usize, stuck: &mut BTreeSet<String>) -> Option<(Look, Done)> {
        let line = &self.lines[index];
        let files: Vec<String> = line.cell.iter().flat_map(Cell::files).map(str::to_owned).collect();
        let mut looks = 1;
        loop {
            let found = self.look(index);
            let job = line.job(&found)?;
            // Each write that does not come back leaves a thread behind: there is an end to that.
            let done = match stuck.len() > BLOCKED_WRITES_MAX {
                _ if files.iter().any(|file| stuck.contains(file)) => {
                    Done::Blocked("an earlier write of it is still in the kernel".to_owned())
                }
                true => Done::NotTried,
                false => self.run(lock, vec![job]).pop().unwrap_or(Done::NotTried),
            };
            match done {
                Done::Changed(_) if looks < LOOKS_MAX => looks += 1,
                Done::Blocked(_) => {
                    stuck.extend(files);
                    return Some((found, done));
                }
                _ => return Some((found, done)),
            }
        }
    }

    /// Carries out `jobs` in order; those that cannot block are not handed to a worker and waited for.
    fn run(&self, lock: &Arc<Lock>, jobs: Vec<Job>) -> Vec<Done> {
        let blocks = |job: &Job| registry::find(job.knob).is_none_or(can_block);
        if self.engine.root.is_live() && !jobs.iter().any(blocks) {
            return writer::run_here(&self.engine.root, lock, jobs);
        }
        let mode = self.engine.mode(self.cpus.clone(), false);
        writer::run(&self.engine.root, lock, jobs, &mode)
    }

    /// What the writing of these lines would change beside them, as it is now; not what is among them.
    fn kept(&self, which: &[usize]) -> Vec<Item> {
        let is_written = |knob: &Knob| which.iter().any(|index| self.lines[*index].knob.id == knob.id);
        let is_line = |target: &Target| which.iter().any(|index| self.lines[*index].target == *target);
        self.side_effects
            .iter()
            .filter(|(knob, _, target)| is_written(knob) && !is_line(target))
            .filter_map(|(knob, cell, target)| {
                preserve(&self.engine.root, knob, cell.clone(), target.clone())
            })
            .collect()
    }
}

impl HeldLine {
    /// What it is, and what it is to be, of one that was seen to have taken effect.
    fn with_effect(self) -> Option<(Target, String)> {
        self.took_effect.get().then_some((self.target, self.want))
    }

    /// Why the value `have`, which stands, has no effect any more; `None` when it has, or is not known to have had any.
    fn lost_effect(&self, root: &Root, cell: &Cell, have: &str) -> Option<String> {
        let may_be_lost = matches!(
            cell.effect,
            Effect::MaskWithin(_)
                | Effect::ListEquals(_)
                | Effect::ListsWithin(..)
                | Effect::Unbalanced { .. }
        );
        if !may_be_lost {
            return None; // told by the value itself, with the next interrupt, or by the next boot
        }
        let sight = effect::look(root, cell, &self.want, have);
        if sight.status == Status::Ok {
            self.took_effect.set(true);
        }
        (sight.status == Status::Failed && self.took_effect.get()).then_some(sight.reason)
    }

    /// Why the effect has not come back with the write.
    fn still_lost(&self, root: &Root, done: Done) -> Option<String> {
        let Done::Wrote(reading) = &done else { return refusal(self, done) };
        self.lost_effect(root, self.cell.as_ref()?, reading.text())
    }

    /// The write that puts it back from what was `found`; none where that is as wanted, or cannot be told.
    fn job(&self, found: &Look) -> Option<Job> {
        let from = match found {
            Look::Drifted(value) => Expected::Value(value.clone()),
            Look::Lost(_) => Expected::Effectless,
            Look::Held | Look::Gone | Look::Unreadable(_) => return None,
        };
        Some(Job { knob: self.knob.id, cell: self.cell.clone()?, from, to: self.want.clone(), raw: None })
    }
}

/// Whether a write of it may wait in the kernel for something.
fn can_block(knob: &Knob) -> bool {
    knob.blast > Blast::Ipi
}

fn side_effects(knob: &'static Knob, facts: &Facts) -> Vec<(&'static Knob, Cell, Target)> {
    let locate =
        |effect: &SideEffect| Some((knob, effect.of.cell(facts, effect.attribute, "")?, effect.target()));
    knob.side_effects.iter().filter_map(locate).collect()
}

/// Why a line does not stand as wanted after a write.
fn refusal(line: &HeldLine, done: Done) -> Option<String> {
    match done {
        Done::Wrote(_) | Done::Gone => None,
        Done::Refused(error, _) => Some(errno::refusal(line.knob.id, &error).reason),
        Done::Unseen(_, reason) | Done::Differs(_, reason) => Some(reason),
        Done::Changed(reading) => Some(format!("somebody sets it to {} at this moment", reading.text())),
        Done::Unreadable(error) => Some(error.to_string()),
        Done::Blocked(why) => Some(why),
        Done::Late(done, _) => refusal(line, *done),
        Done::NotTried => Some("no thread could be had to write it".to_owned()),
    }
}
