//! Applies that undo themselves: one that was not confirmed in time, and one of all or nothing that was cut off.
//!
//! The deadline is part of the apply's `begin`, on disk before the first write, and it is time of this boot that nobody can
//! set: whoever looks (the guard that `quell tune apply` leaves behind, the keeper, the next `quell tune`) comes to the
//! same answer and undoes what is overdue. A reboot before the confirmation counts as none.

use units::Nanos;

use crate::Error;
use crate::book::Book;
use crate::engine::Engine;
use crate::journal::Journal;
use crate::record::{Asked, Confirm, Record};
use crate::rollback::RolledBack;
use crate::transaction::record_at_any_price;

/// An apply that is to be undone, by whoever looks next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its transaction.
    pub id: u64,
    /// The profile.
    pub profile: String,
    /// What happened to it.
    pub why: DueWhy,
}

/// Why an apply is to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueWhy {
    /// It was not confirmed in time.
    NotConfirmed,
    /// It was to be all or nothing and has not ended. While somebody has the lock it may be under way.
    CutOff,
}

/// An apply that waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Its transaction.
    pub id: u64,
    /// The profile.
    pub profile: String,
    /// When it undoes itself, by CLOCK_BOOTTIME.
    pub deadline: Nanos,
}

impl Trial {
    /// Whether its time is over.
    #[must_use]
    pub fn is_overdue(&self, now: Nanos) -> bool {
        now >= self.deadline
    }
}

impl Engine {
    /// The apply that waits to be confirmed, if there is one. Takes no lock.
    ///
    /// # Errors
    /// [`Error::Permission`], [`Error::Integrity`], [`Error::State`], [`Error::Host`].
    pub fn on_trial(&self) -> Result<Option<Trial>, Error> {
        let book = self.book()?;
        if let Some(damaged) = self.damage(&book) {
            return Err(damaged);
        }
        Ok(trial(&book))
    }

    /// Keeps what waits to be confirmed, for good when this returns; `id` names it, so that nobody keeps what he has not
    /// seen. `now` is CLOCK_BOOTTIME. The answer is the transaction.
    ///
    /// # Errors
    /// [`Error::Refused`] when nothing waits, another transaction does, or its time is over; [`Error::Busy`],
    /// [`Error::Permission`], [`Error::Integrity`], [`Error::State`].
    pub fn confirm(&self, id: Option<u64>, now: Nanos) -> Result<u64, Error> {
        if !self.has_state()? {
            return Err(refused("nothing waits to be confirmed".to_owned()));
        }
        let locked = self.locked()?;
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        let trial = confirmable(trial(&locked.book), id, now)?;
        let Book { identity, contents, .. } = &locked.book;
        let machine = identity.machine.as_deref();
        let mut journal = Journal::new(&locked.dir, contents, machine, self.journal_bytes_max)?;
        let record = Record::Confirm(Confirm { id: trial.id, boot: identity.boot.clone() });
        record_at_any_price(&mut journal, &record, true)?;
        Ok(trial.id)
    }

    /// The apply that [`Engine::undo_due`] would undo, if there is one. Takes no lock. `now` is CLOCK_BOOTTIME.
    ///
    /// # Errors
    /// As [`Engine::on_trial`].
    pub fn due(&self, now: Nanos) -> Result<Option<Due>, Error> {
        let book = self.book()?;
        match self.damage(&book) {
            Some(damaged) => Err(damaged),
            None => Ok(due(&book, now)),
        }
    }

    /// Undoes the apply whose time to be confirmed is over, or that was to be all or nothing and was cut off; `None` when
    /// there is none. `now` is CLOCK_BOOTTIME, `at` the wall clock for the history.
    ///
    /// # Errors
    /// As [`Engine::rollback`]. [`Error::Busy`] means: look again soon.
    pub fn undo_due(&self, now: Nanos, at: u64) -> Result<Option<RolledBack>, Error> {
        if self.due(now)?.is_none() {
            return Ok(None);
        }
        let locked = self.locked()?;
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        // It may have been confirmed, or undone, or have ended, before the lock was ours.
        let Some(due) = due(&locked.book, now) else { return Ok(None) };
        Ok(Some(self.undo_from(&locked, due.id, at)))
    }

    /// Tries again to put back what the undoing of the apply `id` had to leave; `None` when nothing is left of it, or when
    /// somebody asked for something since, which is to stand then.
    ///
    /// # Errors
    /// As [`Engine::undo_due`].
    pub fn undo_rest(&self, id: u64, at: u64) -> Result<Option<RolledBack>, Error> {
        let locked = self.locked()?;
        if let Some(damaged) = self.damage(&locked.book) {
            return Err(damaged);
        }
        Ok(locked.book.ledger.is_left_of(id).then(|| self.undo_from(&locked, id, at)))
    }
}

fn trial(book: &Book) -> Option<Trial> {
    let Asked { id, boot, profile, confirm_by, .. } = book.ledger.on_trial()?;
    // The clock of another boot says nothing now.
    let deadline = if *boot == book.identity.boot { Nanos((*confirm_by)?) } else { Nanos::ZERO };
    Some(Trial { id: *id, profile: profile.clone(), deadline })
}

fn due(book: &Book, now: Nanos) -> Option<Due> {
    if let Some(Trial { id, profile, .. }) = trial(book).filter(|trial| trial.is_overdue(now)) {
        return Some(Due { id, profile, why: DueWhy::NotConfirmed });
    }
    let begin = book.ledger.cut_off()?;
    Some(Due { id: begin.id, profile: begin.profile.clone(), why: DueWhy::CutOff })
}

fn confirmable(trial: Option<Trial>, id: Option<u64>, now: Nanos) -> Result<Trial, Error> {
    let Some(trial) = trial else { return Err(refused("nothing waits to be confirmed".to_owned())) };
    match id {
        Some(other) if other != trial.id => {
            Err(refused(format!("transaction {other} does not wait to be confirmed, {} does", trial.id)))
        }
        _ if trial.is_overdue(now) => {
            Err(refused(format!("the time to confirm transaction {} is over", trial.id)))
        }
        _ => Ok(trial),
    }
}

fn refused(why: String) -> Error {
    Error::Refused(vec![why])
}
