//! What the journal holds: records, each one line of JSON in our own format.
//!
//! A transaction is a `begin`, on disk before the first write to the kernel, and an `end`. The `begin` holds everything
//! that is needed to undo it: the originals as they were read, and what is about to be written. Paths and raw bytes are
//! there for a person; the engine finds paths in its registry and renders what it writes from the canonical texts.

use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::status::Status;

/// One line of the journal. A transaction's is shared with who goes by it: it has an entry a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Record {
    Header(Header),
    Ledger(LedgerRecord),
    Begin(Shared<Begin>),
    End(Shared<End>),
    Confirm(Confirm),
}

impl Record {
    /// Reads one record.
    ///
    /// The kind comes first because it is written first, so that each record is read straight into its type; serde's
    /// internally tagged enum and its flattened fields would buffer every value of a long journal.
    // Format: {"kind":"end","id":1,…}
    pub fn from_json(json: &str) -> Option<Self> {
        let (kind, _) = json.strip_prefix("{\"kind\":\"")?.split_once('"')?;
        let record = match kind {
            "header" => serde_json::from_str(json).map(Self::Header),
            "ledger" => serde_json::from_str(json).map(Self::Ledger),
            "begin" => serde_json::from_str::<Begin>(json).map(|begin| Self::Begin(begin.into())),
            "end" => serde_json::from_str::<End>(json).map(|end| Self::End(end.into())),
            "confirm" => serde_json::from_str(json).map(Self::Confirm),
            _ => return None,
        };
        record.ok()
    }
}

/// A part of a record, written as if it were not shared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shared<T>(Arc<T>);

impl<T: Clone> Shared<T> {
    /// The part, to be changed for this holder alone.
    pub fn make_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Shared<T> {
    fn from(part: T) -> Self {
        Self(Arc::new(part))
    }
}

impl<T: Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
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
    /// What the host is to be held to from now on; an apply has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Wanted>,
    /// When it undoes itself unless it is confirmed: CLOCK_BOOTTIME of its boot, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<u64>,
    /// The apply that a repair belongs to, and is undone with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<u64>,
    /// The sessions of the profile that it was made in, and for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// The first failure takes everything back, and so does a write that comes to its end after it was given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic: bool,
    /// A roll-back that somebody asked for all the way: the host is to be let go, also where nothing of it was confirmed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releases: bool,
}

/// A profile that was asked for, so that it can be applied again without the file it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// The profile as one TOML text, its includes resolved.
    pub text: String,
    pub by: Asker,
    /// The dangers that may be accepted were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts_dangers: bool,
}

/// Who wants a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asker {
    /// Whoever ran `quell tune apply`.
    #[default]
    Root,
    /// The host's policy, before anybody asked.
    Policy,
}

/// An apply was confirmed, and does not undo itself any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirm {
    pub id: u64,
    pub boot: String,
}

/// The kind of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A profile was applied.
    Apply,
    /// Earlier transactions were undone.
    Rollback,
    /// What an apply wants was brought about where it came to be missing.
    Repair,
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
#[serde(from = "FlatEntry")]
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
    /// The knob whose writing has the kernel set it anew, where that is another one: it is written, and put back, after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_anew_by: Option<String>,
}

/// One cell that is as wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatHold")]
pub(crate) struct Hold {
    #[serde(flatten)]
    pub target: Target,
    pub value: String,
}

/// What became of a transaction. A second one right behind the first takes its place: it says what came of writes that were
/// still in the kernel when the first was written.
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

impl EntryResult {
    /// Whether the write was still in the kernel.
    pub fn is_stuck(&self) -> bool {
        self.status == Status::Blocked.word()
    }
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
    /// What was asked for and not undone, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Asked>,
    /// The last thing that was asked for was to let the host go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub released: bool,
}

/// One apply that is not undone, as far as it says what the host is to be held to; of this boot or an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub id: u64,
    pub boot: String,
    pub profile: String,
    pub at: u64,
    pub wanted: Wanted,
    /// The sessions that the host was last brought to it in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// As in its `begin`, until it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<u64>,
    /// The same wish of earlier boots, whose changes of what outlives a boot are this one's: one step back undoes both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restates: Vec<u64>,
    /// What it found as wanted, and its repairs did; only of transactions that are not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
}

/// One cell that is not at its original value because of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatLedgerEntry")]
pub(crate) struct LedgerEntry {
    #[serde(flatten)]
    pub target: Target,
    pub path: String,
    pub original: String,
    pub raw: Vec<String>,
    pub ours: Vec<Ours>,
    /// The kernel changed it when we wrote a neighbour, and nobody asked for it.
    pub is_side_effect: bool,
    /// The kernel sets it anew when a neighbour is put back.
    pub is_set_anew: bool,
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

/// An [`Entry`] as it is read: a flattened target would be buffered value by value.
#[derive(Deserialize)]
struct FlatEntry {
    knob: String,
    attribute: String,
    identity: String,
    path: String,
    from: String,
    raw: Vec<String>,
    to: Option<String>,
    #[serde(default)]
    set_anew_by: Option<String>,
}

impl From<FlatEntry> for Entry {
    fn from(flat: FlatEntry) -> Self {
        let FlatEntry { knob, attribute, identity, path, from, raw, to, set_anew_by } = flat;
        Self { target: Target { knob, attribute, identity }, path, from, raw, to, set_anew_by }
    }
}

/// A [`Hold`] as it is read.
#[derive(Deserialize)]
struct FlatHold {
    knob: String,
    attribute: String,
    identity: String,
    value: String,
}

impl From<FlatHold> for Hold {
    fn from(flat: FlatHold) -> Self {
        let FlatHold { knob, attribute, identity, value } = flat;
        Self { target: Target { knob, attribute, identity }, value }
    }
}

/// A [`LedgerEntry`] as it is read.
#[derive(Deserialize)]
struct FlatLedgerEntry {
    knob: String,
    attribute: String,
    identity: String,
    path: String,
    original: String,
    raw: Vec<String>,
    ours: Vec<Ours>,
    is_side_effect: bool,
    #[serde(default)]
    is_set_anew: bool,
}

impl From<FlatLedgerEntry> for LedgerEntry {
    fn from(flat: FlatLedgerEntry) -> Self {
        let FlatLedgerEntry { knob, attribute, identity, path, original, raw, ours, .. } = flat;
        let FlatLedgerEntry { is_side_effect, is_set_anew, .. } = flat;
        let target = Target { knob, attribute, identity };
        Self { target, path, original, raw, ours, is_side_effect, is_set_anew }
    }
}
