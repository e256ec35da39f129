//! What the journal holds: records, each one line of JSON in our own format.
//!
//! A transaction is a `begin`, on disk before the first write to the kernel, and an `end`. The `begin` holds everything
//! that is needed to undo it: the originals as they were read, and what is about to be written. Paths and raw bytes are
//! there for a person; the engine finds paths in its registry and renders what it writes from the canonical texts.

use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Record {
    Header(Header),
    Ledger(LedgerRecord),
    Begin(Begin),
    End(End),
}

impl Record {
    /// The boot the record belongs to; the header belongs to none.
    pub fn boot(&self) -> Option<&str> {
        match self {
            Self::Header(_) => None,
            Self::Ledger(record) => Some(&record.boot),
            Self::Begin(record) => Some(&record.boot),
            Self::End(record) => Some(&record.boot),
        }
    }
}

/// Whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// `None` on a machine without an identity.
    pub machine: Option<String>,
}

/// What is to be changed, before any of it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub id: u64,
    pub boot: String,
    pub what: What,
    /// Seconds since 1970, for people.
    pub at: u64,
    pub profile: String,
    /// The transactions a roll-back undoes.
    pub undoes: Vec<u64>,
    pub changes: Vec<Entry>,
    /// What the profile wants and already holds: watched for drift, not undone.
    pub holds: Vec<Hold>,
}

/// The kind of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A profile was applied.
    Apply,
    /// Earlier transactions were undone.
    Rollback,
}

/// One cell, by the registry's names: what survives a renumbering.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which of several of its kind; empty where there is one.
    pub identity: String,
}

/// One cell's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub target: Target,
    pub path: String,
    /// The original.
    pub from: String,
    /// The original's files, byte for byte.
    pub raw: Vec<String>,
    /// `None`: the kernel may change it by itself when a neighbour is written.
    pub to: Option<String>,
}

/// One cell that is as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    #[serde(flatten)]
    pub target: Target,
    pub value: String,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub id: u64,
    pub boot: String,
    pub outcome: Outcome,
    /// One a change of its `begin`, in the same order.
    pub results: Vec<EntryResult>,
}

impl End {
    /// What stood in the cell of the `begin`'s entry `index` when it was over, as far as that is known.
    pub fn left(&self, index: usize) -> Option<&String> {
        self.results.get(index)?.now.as_ref()
    }
}

/// How a transaction ended as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Something was, something was not.
    Partly,
    /// Nothing was.
    Failed,
    /// It was taken back, because a part of it failed.
    RolledBack,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryResult {
    /// A word of [`crate::Status`].
    pub status: String,
    /// The value read back; `None` when it is not known, so that anything on the way may be there.
    pub now: Option<String>,
    pub reason: String,
    /// The kernel will refuse it for as long as this boot lasts.
    pub refused_for_good: bool,
}

/// Everything that still counts of transactions that are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerRecord {
    pub boot: String,
    /// The next transaction's number.
    pub next_id: u64,
    pub entries: Vec<LedgerEntry>,
    /// What the kernel refuses in this boot; the value is its reason.
    pub refused: Vec<Hold>,
}

/// One cell that is not at its original value because of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LedgerEntry {
    #[serde(flatten)]
    pub target: Target,
    pub path: String,
    pub original: String,
    pub raw: Vec<String>,
    pub ours: Vec<Ours>,
    /// The kernel changed it when we wrote a neighbour.
    pub is_side_effect: bool,
}

/// A value, or a set of values, that is there because of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ours {
    /// What was read back.
    Value(String),
    /// Whatever may stand there after an interrupted change: its end, or what is passed on the way.
    Between { from: String, to: String },
    /// Whatever the kernel made of it.
    Anything,
}
