//! The watch over the knobs: what drifts is seen, named, put back where the policy says so, and told.
//!
//! Three ways to notice, each for what the others cannot see: the kernel's notices of writes to files (at once, with the
//! writer), a sweep that reads the cells themselves (for what the kernel changes without a write, every second, within a
//! budget of time), and a survey of what came or went (interrupts, CPUs, workqueues), after which what stands is brought
//! about on the new as well. Only values count: our own writes and those of `quell tune` are no drift, since the value
//! stands as wanted afterwards.

pub mod drifts;
pub mod notices;
pub mod rivalry;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;

use host::Root;
use host::interfaces::{Interface, interfaces};
use host::threads::{cpu_time, monotonic_now};
use orders::{Deed, DriftEvent, Text, Writer};
use report::WallTime;
use sys_tuning::{Due, DueWhy, Error, Holder, Look, Repairs, Standing, Target};
use units::Nanos;
use units::limits::{
    BUSY_TOLD_AFTER, NOTICED_PASSES_MAX, SURVEY_PERIOD, SWEEP_BUDGET, SWEEP_LINES_MIN, SWEEP_PERIOD,
    WRITER_PATIENCE,
};

use crate::audit::{Entry, Level, Often};
use crate::duty::Duty;
use crate::moment::Moment;
use crate::source::Source;

use notices::{Notices, Told, Unclaimed, Wrote};
use rivalry::{Move, Rivalry, Rules};

/// How soon it is looked again while another quell tunes this machine.
const BUSY: Nanos = Nanos::from_millis(100);

/// Of files that the kernel does not let us watch, or that are too many.
const UNWATCHED: &str =
    "not watched (fs.inotify.max_user_watches?): drift of these is seen by the sweep alone";

/// How long after its deadline an apply that was not confirmed is left to its own guard.
const GUARD_FIRST: Nanos = Nanos::from_secs(1);

/// The watch.
#[derive(Debug, Default)]
pub struct Watch {
    /// `None` until the first call, and where the system has no more of it.
    notices: Option<Notices>,
    holder: Option<Holder>,
    /// What is known of each cell that ever drifted.
    cells: BTreeMap<Target, Cell>,
    /// Lines that are to be looked at, because of a notice or because another quell was at work.
    pending: BTreeSet<usize>,
    sweep: Sweep,
    survey_at: Nanos,
    /// What came and went, as far as it is cheap to tell.
    fingerprint: String,
    /// Whether the journal was read before: what stood then was just taken up.
    is_begun: bool,
    /// The apply that is held, to tell a new wish from our own repairs.
    standing: Option<u64>,
    /// When to undo what was not confirmed or was cut off, by CLOCK_BOOTTIME: a machine that was asleep is late already.
    overdue_at: Option<Nanos>,
    /// Since when another quell is at work.
    busy_since: Option<Nanos>,
    /// Passes of the running second: after too many, notices wait for the next one.
    passes: u32,
    passes_since: Nanos,
    /// Drifts whose writer may be named yet.
    unnamed: Vec<Untold>,
    /// Writers whose drift may be seen yet.
    unclaimed: Unclaimed,
    /// The same reason is told once.
    trouble: Option<String>,
    next: Nanos,
}

/// One cell that drifted.
#[derive(Debug, Default)]
struct Cell {
    rivalry: Rivalry,
    /// What was told of it last: a value that stays is told once.
    told: Option<(String, Deed)>,
}

/// Which lines the next sweep reads: as many as the budget allows, in turn.
#[derive(Debug)]
struct Sweep {
    at: Nanos,
    next: usize,
    lines: usize,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { at: Nanos::ZERO, next: 0, lines: SWEEP_LINES_MIN }
    }
}

impl Sweep {
    /// The lines of this sweep, of so many in all.
    fn take(&mut self, count: usize) -> Vec<usize> {
        let length = self.lines.min(count);
        let lines = (0..length).map(|step| (self.next + step) % count).collect();
        self.next = if count == 0 { 0 } else { (self.next + length) % count };
        lines
    }

    /// Learns from what one cost how many lines the next may have.
    fn cost(&mut self, lines: usize, spent: Nanos) {
        let afford = SWEEP_BUDGET.0.saturating_mul(lines as u64) / spent.0.max(1);
        // Not all at once: one cheap sweep must not make the next one expensive.
        let afford = usize::try_from(afford).unwrap_or(usize::MAX).min(self.lines.saturating_mul(2));
        self.lines = afford.max(SWEEP_LINES_MIN);
    }
}

/// One drift in hand.
struct Drift {
    line: usize,
    found: String,
    seen_at: Nanos,
    writer: Option<Wrote>,
}

/// What was done about a drift.
struct Outcome {
    deed: Deed,
    reason: Option<String>,
    repaired_at: Option<Nanos>,
}

impl Outcome {
    fn of(deed: Deed) -> Self {
        Self { deed, reason: None, repaired_at: None }
    }

    fn failed(reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..Self::of(Deed::Failed) }
    }

    fn repaired(at: Nanos) -> Self {
        Self { repaired_at: Some(at), ..Self::of(Deed::Repaired) }
    }
}

/// A drift that was dealt with and is to be told.
#[derive(Debug)]
struct Untold {
    /// Its line, until the journal is read anew.
    line: usize,
    target: Target,
    wanted: String,
    found: String,
    deed: Deed,
    reason: Option<String>,
    seen_at: Nanos,
    repaired_at: Option<Nanos>,
    writer: Option<Wrote>,
    /// Until when the writer's name is waited for.
    until: Nanos,
}

impl Source for Watch {
    fn descriptors<'s>(&'s self, into: &mut Vec<BorrowedFd<'s>>) {
        if let Some(notices) = self.notices.as_ref().filter(|_| self.passes < NOTICED_PASSES_MAX) {
            notices.descriptors(into);
        }
    }

    fn deadline(&self) -> Option<Nanos> {
        self.unnamed.iter().map(|untold| untold.until).chain([self.next]).min()
    }

    fn on_ready(&mut self, now: Moment, duty: &mut Duty) {
        if now.monotonic >= self.passes_since + SWEEP_PERIOD {
            (self.passes, self.passes_since) = (0, now.monotonic);
        }
        self.passes = self.passes.saturating_add(1);
        let mut told = self.notices.as_mut().map(Notices::take).unwrap_or_default();
        self.unclaimed.give(&mut told, now.monotonic);
        self.name_writers(&told, now, duty);
        self.next = self.sweep.at;
        match self.turn(&mut told, now, duty) {
            Ok(()) => (self.trouble, self.busy_since) = (None, None),
            Err(Error::Busy { .. }) => {
                self.next = now.monotonic + BUSY;
                let since = *self.busy_since.get_or_insert(now.monotonic);
                if now.monotonic >= since + BUSY_TOLD_AFTER {
                    let why = "another quell holds the tuning lock: nothing is looked at meanwhile";
                    self.tell_trouble(why.to_owned(), now, duty);
                }
            }
            Err(error) => {
                self.next = now.monotonic + SWEEP_PERIOD;
                self.tell_trouble(error.to_string(), now, duty);
            }
        }
        self.unclaimed.keep(told, monotonic_now());
    }
}

impl Watch {
    /// Tells the drifts whose writer has been named since, and those for which it has been waited long enough.
    fn name_writers(&mut self, told: &Told, now: Moment, duty: &mut Duty) {
        for mut untold in std::mem::take(&mut self.unnamed) {
            untold.writer = told.writers.get(&untold.line).cloned();
            match untold.writer.is_some() || untold.until <= now.monotonic {
                true => untold.tell(now, duty),
                false => self.unnamed.push(untold),
            }
        }
    }

    /// Tells what is left to tell, at the end: nobody is waited for any more.
    pub fn finish(&mut self, now: Moment, duty: &mut Duty) {
        std::mem::take(&mut self.unnamed).into_iter().for_each(|untold| untold.tell(now, duty));
    }

    fn turn(&mut self, told: &mut Told, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        self.undo_due(now, duty)?;
        let holder = self.holder.get_or_insert_with(|| duty.engine.holder());
        self.pending.extend(&told.lines);
        if told.overflowed {
            self.pending.extend(0..holder.len());
        }
        if holder.is_busy()? {
            return Err(Error::Busy { path: String::new(), pid: None });
        }
        if holder.refresh()? {
            told.writers.clear(); // lines have other numbers from here on
            if let Err(error) = self.begin(now, duty) {
                // Half begun is not begun: the next pass reads anew.
                self.holder.iter_mut().for_each(Holder::forget);
                return Err(error);
            }
        }
        let Some(holder) = &self.holder else { return Ok(()) };
        let (sweeps, count) = (now.monotonic >= self.sweep.at || told.overflowed, holder.len());
        let mut lines: BTreeSet<usize> = self.pending.iter().copied().filter(|line| *line < count).collect();
        if sweeps {
            let began = cpu_time();
            let swept = if told.overflowed { (0..count).collect() } else { self.sweep.take(count) };
            let drifted = swept.iter().copied().filter(|line| holder.look(*line) != Look::Held);
            lines.extend(drifted);
            self.sweep.cost(swept.len(), cpu_time() - began);
            self.sweep.at = now.monotonic + SWEEP_PERIOD;
            self.next = self.sweep.at;
            // What stood as wanted was not looked at one by one below.
            self.settle(&swept, &lines, now, duty);
        }
        self.look(&lines, told, now, duty)?;
        self.pending.clear();
        if now.monotonic >= self.survey_at {
            self.survey_at = now.monotonic + SURVEY_PERIOD;
            self.survey(now, duty)?;
        }
        Ok(())
    }

    /// The journal was read anew: what is held, and where, may be other cells now.
    fn begin(&mut self, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        self.pending.clear();
        self.finish(now, duty); // lines have other numbers from here on
        self.overdue_at = match duty.engine.due(now.boottime)? {
            // No guard stands by it, and the lock is free: nobody is at it any more.
            Some(Due { why: DueWhy::CutOff, .. }) => Some(now.boottime),
            _ => duty.engine.on_trial()?.map(|trial| trial.deadline.max(now.boottime) + GUARD_FIRST),
        };
        let standing = match duty.engine.standing()? {
            Standing::Profile(standing) => Some(standing.transaction),
            Standing::Released | Standing::NeverAsked => None,
        };
        let is_new = standing != self.standing;
        let is_first = !self.is_begun;
        if is_new && !is_first && duty.take_up(now) {
            return Err(Error::Busy { path: String::new(), pid: None });
        }
        if is_new {
            self.cells.clear(); // asked for anew: who fought over the old has to begin again
            self.standing = standing;
        }
        self.is_begun = true;
        let Some(holder) = &self.holder else { return Ok(()) };
        let mut files: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for line in 0..holder.len() {
            for file in holder.files(line) {
                files.entry(file).or_default().push(line);
            }
        }
        match Notices::watching(files) {
            Ok(notices) => {
                if notices.unwatched > 0 {
                    let entry = Entry::new(Level::Warning, "unwatched").text("reason", UNWATCHED);
                    duty.audit.tell(now.wall, &entry.number("files", notices.unwatched as u64));
                }
                if let Some(errno) = notices.anonymous().filter(|_| is_first) {
                    let why =
                        format!("fanotify: {errno}: writers cannot be named (CAP_SYS_ADMIN is missing)");
                    duty.audit
                        .tell(now.wall, &Entry::new(Level::Notice, "writers-unknown").text("reason", &why));
                }
                self.notices = Some(notices);
            }
            Err(errno) => {
                let why = format!("inotify: {errno}: drift is seen by the sweep alone");
                duty.audit.tell(now.wall, &Entry::new(Level::Warning, "no-notices").text("reason", &why));
                self.notices = None;
            }
        }
        self.pending = (0..holder.len()).collect(); // what happened before the watches stood
        Ok(())
    }

    /// Looks at these lines and does about each drift what is to be done.
    fn look(
        &mut self,
        lines: &BTreeSet<usize>,
        told: &mut Told,
        now: Moment,
        duty: &mut Duty,
    ) -> Result<(), Error> {
        let (Some(holder), rules) = (&self.holder, rules(duty, now)) else { return Ok(()) };
        let mut drifts = Vec::new();
        for line in lines {
            match holder.look(*line) {
                Look::Drifted(found) | Look::Lost(found) => {
                    drifts.push(Drift { line: *line, found, seen_at: now.monotonic, writer: None });
                }
                Look::Held => right(&mut self.cells, holder.target(*line), &rules, now, duty),
                Look::Gone | Look::Unreadable(_) => {}
            }
        }
        if drifts.is_empty() {
            return Ok(());
        }
        if let Some(notices) = &mut self.notices {
            notices.take_writers(told);
        }
        for drift in &mut drifts {
            drift.writer = told.writers.remove(&drift.line);
        }
        let (broken, drifts) = drifts.into_iter().partition(|drift: &Drift| holder.is_rule(drift.line));
        self.keep_rules(broken, now, duty)?;
        self.act(drifts, &rules, now, duty)
    }

    /// Threads and queues that came since are brought to what the profile wants of their kind, and remembered for the way
    /// back: an apply of its own, within the hour's changes.
    fn keep_rules(&mut self, broken: Vec<Drift>, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        let left = duty.ceiling.left(now.monotonic, duty.policy.changes_per_hour_max);
        let Some(holder) = self.holder.as_ref().filter(|_| !broken.is_empty()) else { return Ok(()) };
        let repairs: Vec<bool> = broken.iter().map(|drift| may_repair(duty, holder, drift)).collect();
        if left > 0 && repairs.contains(&true) {
            duty.complete(now)?;
        }
        let kept_at = monotonic_now();
        for (drift, may_repair) in broken.into_iter().zip(repairs) {
            let outcome = match holder.look(drift.line) {
                _ if !may_repair => Outcome::of(Deed::Observed),
                Look::Held => Outcome::repaired(kept_at),
                _ if left == 0 => Outcome::failed(NO_CHANGE_LEFT),
                _ => Outcome::failed("not all that came could be changed"),
            };
            let untold = news(&mut self.cells, holder, drift, outcome);
            self.unnamed.extend(untold.and_then(|untold| untold.tell_if_named(&self.notices, now, duty)));
        }
        Ok(())
    }

    fn act(&mut self, drifts: Vec<Drift>, rules: &Rules, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        let Some(holder) = &self.holder else { return Ok(()) };
        let mut left = duty.ceiling.left(now.monotonic, duty.policy.changes_per_hour_max);
        let (mut repairs, mut done) = (Vec::new(), Vec::new());
        for drift in drifts {
            let cell = self.cells.entry(holder.target(drift.line).clone()).or_default();
            let waits = duty.trading(now).forbids(holder.blast(drift.line), now.wall_s());
            let outcome = match cell.rivalry.drifted(now.monotonic, rules) {
                _ if !may_repair(duty, holder, &drift) => Outcome::of(Deed::Observed),
                // The end of the window has everything looked at again.
                Move::Repair if waits.is_some() => Outcome { reason: waits, ..Outcome::of(Deed::Observed) },
                Move::Wait => Outcome::of(Deed::Observed),
                Move::Repair if left == 0 => Outcome::failed(NO_CHANGE_LEFT),
                Move::Repair => {
                    left -= 1;
                    repairs.push(drift);
                    continue;
                }
                Move::GiveUp | Move::Leave => Outcome {
                    reason: Some("another writer insists: it is left alone".to_owned()),
                    ..Outcome::of(Deed::Left)
                },
            };
            done.push((drift, outcome));
        }
        if !repairs.is_empty() {
            let lines: Vec<usize> = repairs.iter().map(|drift| drift.line).collect();
            let Some(Repairs { lines, .. }) = holder.repair(&lines)? else {
                return Ok(()); // the journal changed: everything is looked at again
            };
            for (drift, line) in repairs.into_iter().zip(lines) {
                self.cells
                    .entry(holder.target(drift.line).clone())
                    .or_default()
                    .rivalry
                    .repaired(now.monotonic);
                duty.ceiling.count(now.monotonic, u32::from(line.refused.is_none()));
                let outcome =
                    line.refused.map_or_else(|| Outcome::repaired(line.at), |why| Outcome::failed(&why));
                done.push((drift, outcome));
            }
        }
        for (drift, outcome) in done {
            let untold = news(&mut self.cells, holder, drift, outcome);
            self.unnamed.extend(untold.and_then(|untold| untold.tell_if_named(&self.notices, now, duty)));
        }
        Ok(())
    }

    fn settle(&mut self, swept: &[usize], drifted: &BTreeSet<usize>, now: Moment, duty: &mut Duty) {
        let (Some(holder), rules) = (&self.holder, rules(duty, now)) else { return };
        for line in swept.iter().filter(|line| !drifted.contains(line)) {
            right(&mut self.cells, holder.target(*line), &rules, now, duty);
        }
    }

    /// Brings what stands about on what came since the last time.
    fn survey(&mut self, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        let fingerprint = fingerprint(duty, now);
        if fingerprint == self.fingerprint {
            return Ok(());
        }
        if self.fingerprint.is_empty() {
            self.fingerprint = fingerprint;
            return Ok(()); // the profile was just taken up
        }
        if let Some(holder) = &mut self.holder {
            holder.forget(); // numbers may be others now, though the journal is the same
        }
        if duty.held.unfit.is_some() && duty.take_up(now) {
            return Err(Error::Busy { path: String::new(), pid: None });
        }
        duty.complete(now)?; // what stands in the way of it now is met again by the next survey
        self.fingerprint = fingerprint;
        Ok(())
    }

    /// The guard of an apply that was to be confirmed may have been killed, and who was to make all or nothing of one too.
    fn undo_due(&mut self, now: Moment, duty: &mut Duty) -> Result<(), Error> {
        if self.overdue_at.is_some_and(|at| now.boottime >= at) {
            duty.undo_due(now)?;
            self.overdue_at = None;
        }
        Ok(())
    }

    fn tell_trouble(&mut self, why: String, now: Moment, duty: &mut Duty) {
        if self.trouble.as_ref() != Some(&why) {
            duty.audit.tell(now.wall, &Entry::new(Level::Error, "watch").text("reason", &why));
            self.trouble = Some(why);
        }
    }
}

fn rules(duty: &Duty, now: Moment) -> Rules {
    let policy = &duty.policy;
    Rules { rounds: policy.fight_rounds, settle: policy.settle, counts: now.boottime >= policy.boot_settle }
}

/// The cell stands as wanted.
fn right(cells: &mut BTreeMap<Target, Cell>, target: &Target, rules: &Rules, now: Moment, duty: &mut Duty) {
    let Some(cell) = cells.get_mut(target) else { return };
    cell.told = None;
    if cell.rivalry.is_right(now.monotonic, rules) {
        let entry = Entry::new(Level::Notice, "fight-over").text("knob", &target.knob);
        duty.audit.tell(now.wall, &entry.text("attribute", &target.attribute));
    }
}

/// Why a drift that is to be put back is not.
const NO_CHANGE_LEFT: &str = "no change is left of this hour's";

/// Whether the policy has this drift put back.
fn may_repair(duty: &Duty, holder: &Holder, drift: &Drift) -> bool {
    let policy = &duty.policy;
    policy.repair && duty.held.wish.is_some() && !policy.leaves(&holder.target(drift.line).knob)
}

/// What there is to tell of a drift; nothing when just that was told of the cell already.
fn news(
    cells: &mut BTreeMap<Target, Cell>,
    holder: &Holder,
    drift: Drift,
    outcome: Outcome,
) -> Option<Untold> {
    let target = holder.target(drift.line);
    let cell = cells.entry(target.clone()).or_default();
    let Outcome { deed, reason, repaired_at } = outcome;
    let news = (drift.found.clone(), deed);
    // Who insists goes on changing the value: that he does is told once.
    let is_known =
        cell.told.as_ref().is_some_and(|told| *told == news || deed == Deed::Left && told.1 == deed);
    if is_known && deed != Deed::Repaired {
        return None;
    }
    cell.told = Some(news);
    let Drift { line, found, seen_at, writer } = drift;
    Some(Untold {
        line,
        target: target.clone(),
        wanted: holder.wanted(line).to_owned(),
        found,
        deed,
        reason,
        seen_at,
        repaired_at,
        writer,
        until: seen_at + WRITER_PATIENCE,
    })
}

impl Untold {
    /// Tells it, unless its writer may be named yet; then it comes back.
    fn tell_if_named(self, notices: &Option<Notices>, now: Moment, duty: &mut Duty) -> Option<Self> {
        let may_be_named = notices.as_ref().is_some_and(|notices| notices.anonymous().is_none());
        if self.writer.is_none() && may_be_named {
            return Some(self);
        }
        self.tell(now, duty);
        None
    }

    /// Writes it down.
    fn tell(self, now: Moment, duty: &mut Duty) {
        let Self { target, deed, writer, .. } = &self;
        duty.drifts.add(DriftEvent {
            number: 0,
            knob: Text::cut(&target.knob),
            attribute: Text::cut(&target.attribute),
            identity: Text::cut(&target.identity),
            wanted: Text::cut(&self.wanted),
            found: Text::cut(&self.found),
            at: now.wall.since(WallTime::from_unix_s(0)).0,
            seen_at: self.seen_at.0,
            repaired_at: self.repaired_at.map(|at| at.0),
            writer: writer.as_ref().map(|wrote| Writer { pid: wrote.pid, comm: Text::cut(&wrote.comm) }),
            deed: *deed,
        });
        let level = if *deed == Deed::Repaired { Level::Warning } else { Level::Error };
        let mut entry = Entry::new(level, "drift")
            .text("knob", &target.knob)
            .text("attribute", &target.attribute)
            .text("wanted", &self.wanted)
            .text("found", &self.found)
            .text("deed", deed.word());
        if !target.identity.is_empty() {
            entry = entry.text("identity", &target.identity);
        }
        if let Some(Wrote { pid, comm, command }) = writer {
            entry = entry.number("writer", u64::from(*pid)).text("comm", comm).text("command", command);
        }
        if let Some(at) = self.repaired_at {
            entry = entry.number("repaired_in_us", (at - self.seen_at).0 / 1000);
        }
        let entry = self.reason.iter().fold(entry, |entry, why| entry.text("reason", why));
        duty.audit.tell_some(now.wall, now.monotonic, Often::Drift, entry);
    }
}

/// What a profile may want something of, and comes and goes: a few small reads, and some for each network card. The
/// trading windows that are open are a part of it: at the end of one, what had to wait is due.
fn fingerprint(duty: &Duty, now: Moment) -> String {
    let root = duty.engine.root();
    let names = |dir: &str| root.list(dir).unwrap_or_default().join(" ");
    let online = root.read("/sys/devices/system/cpu/online").unwrap_or_default();
    let open: Vec<&str> =
        duty.trading(now).open(now.wall_s()).map(|(window, _)| window.name.as_str()).collect();
    [online, names("/proc/irq"), names("/sys/devices/virtual/workqueue"), cards(root), open.join(" ")]
        .join("\n")
}

/// Each network card with its number, under which it is new when it was taken away and came back, and its queues, which are
/// made anew when their count changes. Without those that have no device: containers' come and go all day.
fn cards(root: &Root) -> String {
    let card = |one: Interface| format!("{} {} {}", one.index, one.name, one.queues.join(" "));
    let found = interfaces(root).unwrap_or_default();
    found.into_iter().filter(Interface::is_device).map(card).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_takes_what_it_can_afford_in_turn() {
        let mut sweep = Sweep { lines: 3, ..Sweep::default() };
        assert_eq!(sweep.take(7), [0, 1, 2]);
        assert_eq!(sweep.take(7), [3, 4, 5]);
        assert_eq!(sweep.take(7), [6, 0, 1]);
        assert_eq!(sweep.take(2), [0, 1], "the list became shorter");
        assert!(sweep.take(0).is_empty());
    }

    #[test]
    fn what_a_sweep_costs_says_how_long_the_next_may_be() {
        let mut sweep = Sweep { lines: 100, ..Sweep::default() };
        sweep.cost(100, SWEEP_BUDGET.times(2));
        assert_eq!(sweep.lines, 50);
        sweep.cost(50, Nanos(SWEEP_BUDGET.0 / 8));
        assert_eq!(sweep.lines, 100, "twice as many at most");
        sweep.cost(100, SWEEP_BUDGET.times(1000));
        assert_eq!(sweep.lines, SWEEP_LINES_MIN);
    }
}
