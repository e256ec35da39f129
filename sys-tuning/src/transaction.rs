//! The one way a batch of changes reaches the kernel: journaled with all originals, carried out, judged, recorded.

use std::io;

use nix::libc::ENOSPC;

use crate::Error;
use crate::cell::{Cell, Form, Reading};
use crate::effect;
use crate::engine::{Engine, Locked};
use crate::errno;
use crate::journal::Journal;
use crate::record::{Begin, End, Entry, EntryResult, Outcome, Record};
use crate::status::Status;
use crate::writer::{self, Done, Expected, Job};

/// One change in hand.
#[derive(Debug)]
pub(crate) struct Item {
    pub knob: &'static str,
    pub cell: Cell,
    pub entry: Entry,
    pub expected: Expected,
    /// The files' content when `entry.to` is an original.
    pub raw: Option<Vec<String>>,
}

/// What is told of a thread that is no more.
pub(crate) const ENDED: &str = "it has ended";

/// What became of one change.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub status: Status,
    pub reason: String,
    /// What stands there; `None` when it is not known.
    pub now: Option<String>,
    pub for_good: bool,
    /// Whether somebody else's change was found.
    pub is_foreign: bool,
    /// Whether the kernel took the write and goes on showing what stood there before: it may have taken effect all the same.
    pub is_unseen: bool,
}

impl Verdict {
    fn new(status: Status, reason: impl Into<String>, now: Option<String>) -> Self {
        Self { status, reason: reason.into(), now, for_good: false, is_foreign: false, is_unseen: false }
    }
}

impl Engine {
    /// Writes every item and judges what came of it, in order.
    pub(crate) fn write(&self, locked: &Locked, items: &[&Item], stop_at_failure: bool) -> Vec<Verdict> {
        let jobs = items.iter().map(|item| item.job()).collect();
        let mode = self.mode(self.worker_cpus(), stop_at_failure);
        let done = writer::run(&self.root, &locked.lock, jobs, &mode);
        items.iter().zip(done).map(|(item, done)| self.judge(item, self.look_again(item, done))).collect()
    }

    /// What stands there when the whole batch is through: what was written later, or somebody, may have taken it back.
    fn look_again(&self, item: &Item, done: Done) -> Done {
        let want = item.entry.to.as_deref().unwrap_or_default();
        let is_so = |now: &Reading| item.cell.satisfies(now.text(), want);
        match done {
            // What the kernel resets by itself is told as such, in `wrote`.
            Done::Wrote(before) if item.cell.is_reset_by_kernel() => Done::Wrote(before),
            Done::Wrote(before) => match item.cell.read(&self.root) {
                Ok(now) if now == before || is_so(&now) => Done::Wrote(now),
                Ok(Reading::Absent) if item.cell.is_fleeting() => Done::Gone,
                Ok(now) => {
                    let reason =
                        format!("{} stood there, and after the last write {}", before.text(), now.text());
                    Done::Differs(now, reason)
                }
                Err(error) => Done::Unreadable(error),
            },
            // A kernel may take its time to show what it took.
            Done::Unseen(before, reason) => match item.cell.read(&self.root) {
                Ok(now) if is_so(&now) => Done::Wrote(now),
                Ok(now) if now.text() == before.text() => Done::Unseen(now, reason),
                Ok(now) => Done::Differs(now, reason),
                Err(_) => Done::Unseen(before, reason),
            },
            Done::Differs(before, reason) => match item.cell.read(&self.root) {
                Ok(now) if is_so(&now) => Done::Wrote(now),
                Ok(now) => Done::Differs(now, reason),
                Err(_) => Done::Differs(before, reason),
            },
            Done::Late(done, why) => Done::Late(Box::new(self.look_again(item, *done)), why),
            other => other,
        }
    }

    /// The verdict of what stood well before others were taken back, with which it may have gone.
    pub(crate) fn judge_again(&self, item: &Item, verdict: Verdict) -> Verdict {
        let stood = matches!(verdict.status, Status::Ok | Status::Pending | Status::NeedsReboot);
        let Some(text) = verdict.now.clone().filter(|_| stood) else { return verdict };
        let before = Reading::Value { text, raw: Vec::new() };
        match self.look_again(item, Done::Wrote(before)) {
            Done::Wrote(_) => verdict,
            lost => self.judge(item, lost),
        }
    }

    fn judge(&self, item: &Item, done: Done) -> Verdict {
        // Of a torn file it is not known what it holds, nor of one that went away and may come back.
        let goes =
            item.cell.is_fleeting() || item.cell.lives_in.is_some() || item.cell.form == Form::Directory;
        let is_known = |reading: &Reading| match reading {
            Reading::Value { .. } => true,
            Reading::Absent => goes,
            Reading::Torn => false,
        };
        let text = |reading: Reading| is_known(&reading).then(|| reading.text().to_owned());
        match done {
            Done::Wrote(reading) => self.wrote(item, &reading),
            Done::Changed(reading) => {
                let reason = format!(
                    "somebody changed it to {} at this very moment; it was left alone",
                    reading.text()
                );
                Verdict { is_foreign: true, ..Verdict::new(Status::Failed, reason, text(reading)) }
            }
            Done::Refused(error, now) => {
                let refusal = errno::refusal(item.knob, &error);
                let now = now.ok().and_then(text);
                Verdict { for_good: refusal.for_good, ..Verdict::new(refusal.status, refusal.reason, now) }
            }
            Done::Unseen(reading, reason) => {
                Verdict { is_unseen: true, ..Verdict::new(Status::Failed, reason, text(reading)) }
            }
            Done::Differs(reading, reason) => Verdict::new(Status::Failed, reason, text(reading)),
            Done::Gone => {
                let gone = Some(Reading::Absent.text().to_owned());
                Verdict::new(Status::NotApplicable, ENDED, gone)
            }
            Done::Unreadable(error) if error.is_absent() => {
                let reason = format!("{error}: it went away");
                Verdict::new(Status::Failed, reason, text(Reading::Absent))
            }
            Done::Unreadable(error) => Verdict::new(Status::Failed, error.to_string(), None),
            Done::Blocked(why) => Verdict::new(Status::Blocked, why, None),
            Done::Late(done, why) => {
                let verdict = self.judge(item, *done);
                let reason = format!("it took longer than its deadline: {why}");
                let reason =
                    if verdict.reason.is_empty() { reason } else { format!("{}; {reason}", verdict.reason) };
                Verdict { reason, ..verdict }
            }
            Done::NotTried => Verdict::new(
                Status::Failed,
                "not tried: an earlier change failed, or no thread could be had",
                Some(item.entry.from.clone()),
            ),
        }
    }

    fn wrote(&self, item: &Item, reading: &Reading) -> Verdict {
        let want = item.entry.to.as_deref().unwrap_or_default();
        let sight = match reading {
            Reading::Value { text, .. } => effect::look(&self.root, &item.cell, want, text),
            // A removed group has no effect to look at.
            _ => return Verdict::new(Status::Ok, "", Some(reading.text().to_owned())),
        };
        if item.cell.is_reset_by_kernel()
            && let Ok(Reading::Value { text: now, .. }) = item.cell.read(&self.root)
            && !item.cell.satisfies(&now, want)
        {
            let reason = format!("the kernel gave it CPU {now} again meanwhile; apply again to move it");
            return Verdict::new(Status::Pending, reason, Some(reading.text().to_owned()));
        }
        let status = match sight.status {
            // Plain files show what was captured, not what was just written.
            Status::Failed if !self.root.is_live() => Status::Pending,
            status => status,
        };
        Verdict::new(status, sight.reason, Some(reading.text().to_owned()))
    }
}

impl Item {
    pub fn job(&self) -> Job {
        Job {
            knob: self.knob,
            cell: self.cell.clone(),
            from: self.expected.clone(),
            to: self.entry.to.clone().unwrap_or_else(|| self.entry.from.clone()),
            raw: self.raw.clone(),
        }
    }

    /// The change that takes this one back after it came to `verdict`. Where the kernel took the write and shows nothing
    /// of it, the original is written although it is what is shown.
    pub fn taken_back(&self, verdict: &Verdict) -> Self {
        // What the kernel sets anew is something else by then.
        let now = verdict.now.as_deref().filter(|_| self.entry.set_anew_by.is_none());
        let reversed = self.reversed(now);
        if verdict.is_unseen { Self { expected: Expected::Effectless, ..reversed } } else { reversed }
    }

    /// The same change, whatever stands there by now.
    pub fn again(&self) -> Self {
        let (knob, cell, entry) = (self.knob, self.cell.clone(), self.entry.clone());
        Self { knob, cell, entry, expected: Expected::Anything, raw: None }
    }

    /// The change that takes this one back; `now` stands there, as far as that is known.
    pub fn reversed(&self, now: Option<&str>) -> Self {
        let from = now.unwrap_or(&self.entry.from).to_owned();
        let entry = Entry { from, to: Some(self.entry.from.clone()), ..self.entry.clone() };
        Self {
            knob: self.knob,
            cell: self.cell.clone(),
            expected: now.map_or(Expected::Anything, |now| Expected::Value(now.to_owned())),
            raw: Some(self.entry.raw.clone()),
            entry,
        }
    }
}

/// The results of a transaction as its `end` keeps them.
pub(crate) fn end(begin: &Begin, outcome: Outcome, verdicts: &[Verdict]) -> Record {
    let result = |verdict: &Verdict| EntryResult {
        status: verdict.status.word().to_owned(),
        now: verdict.now.clone(),
        reason: verdict.reason.clone(),
        refused_for_good: verdict.for_good,
    };
    let results = verdicts.iter().map(result).collect();
    Record::End(End { id: begin.id, boot: begin.boot.clone(), outcome, results }.into())
}

/// How a transaction went as a whole.
pub(crate) fn outcome<'v>(verdicts: impl Iterator<Item = &'v Verdict>) -> Outcome {
    let (mut good, mut bad) = (0, 0);
    for verdict in verdicts {
        if verdict.status.is_trouble() { bad += 1 } else { good += 1 }
    }
    match (good, bad) {
        (_, 0) => Outcome::Done,
        (0, _) => Outcome::Failed,
        _ => Outcome::Partly,
    }
}

/// Appends a record; when the disk is full, into the room that was set aside for this. Whether it was recorded.
pub(crate) fn record_at_any_price(
    journal: &mut Journal<'_>,
    record: &Record,
    durably: bool,
) -> Result<(), Error> {
    let append = |journal: &mut Journal<'_>| {
        if durably { journal.commit(record) } else { journal.note(record) }
    };
    match append(journal) {
        Err(Error::State { cause, .. }) if is_full(&cause) => {
            journal.release()?;
            append(journal)
        }
        other => other,
    }
}

fn is_full(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(ENOSPC)
}
