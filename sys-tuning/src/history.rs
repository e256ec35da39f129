//! What was done, transaction by transaction, as far as the journal keeps it.

use crate::Error;
use crate::engine::Engine;
use crate::record::{Outcome, What};

/// The transactions, oldest first.
#[derive(Debug)]
pub struct History {
    /// One each.
    pub transactions: Vec<Past>,
    /// What is wrong with the journal, if anything.
    pub damage: Option<String>,
}

/// One transaction.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its number.
    pub id: u64,
    /// What it was.
    pub what: What,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The profile that was applied; empty for a roll-back.
    pub profile: String,
    /// The sessions of the profile that were on.
    pub sessions: Vec<String>,
    /// Cells it was to change.
    pub changes: usize,
    /// How it ended; `None` when it was interrupted.
    pub outcome: Option<Outcome>,
    /// The transactions it undid.
    pub undoes: Vec<u64>,
    /// Whether it belongs to this boot; what earlier ones changed is void.
    pub is_this_boot: bool,
    /// Whether something of it stands: an apply of this boot that is not undone, or an earlier one of the boot line.
    pub is_live: bool,
    /// Whether it undoes itself unless it is confirmed.
    pub is_on_trial: bool,
}

impl Engine {
    /// What was done.
    ///
    /// # Errors
    /// [`Error::Permission`] when the journal may not be read, [`Error::Integrity`] when it is another machine's,
    /// [`Error::State`].
    pub fn history(&self) -> Result<History, Error> {
        let book = self.book()?;
        let live = book.ledger.live();
        let on_trial = book.ledger.on_trial().map(|asked| asked.id);
        let past = book.ledger.history.iter().map(|transaction| {
            let begin = &transaction.begin;
            let is_this_boot = begin.boot == book.identity.boot;
            Past {
                id: begin.id,
                what: begin.what,
                at: begin.at,
                profile: begin.profile.clone(),
                sessions: begin.sessions.clone(),
                changes: begin.changes.iter().filter(|entry| entry.to.is_some()).count(),
                outcome: transaction.end.as_ref().map(|end| end.outcome),
                undoes: begin.undoes.clone(),
                is_this_boot,
                is_on_trial: on_trial == Some(begin.id),
                is_live: live.contains(&begin.id),
            }
        });
        Ok(History {
            transactions: past.collect(),
            damage: self.damage(&book).map(|error| error.to_string()),
        })
    }
}
