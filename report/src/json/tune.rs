//! The documents of `quell tune`: plan, apply, verify, rollback, drift, history.
//!
//! Words such as `status`, `when` and `blast` are those of the tuning engine, handed through as text. `knob`
//! is the id a profile uses; where one knob has several instances (an interrupt, a node, a CPU) `identity`
//! says which.

use serde::{Deserialize, Serialize};

use super::Schema;
use crate::wall::WallTime;

/// `quell.plan/1`: what would be changed, and why the rest would not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PlanDocument {
    /// `quell.plan/1`.
    pub schema: Schema<Self>,
    /// The profile planned for.
    pub profile: String,
    /// Its sessions that are on, where it has any.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// What would be changed, in the order it would be.
    pub changes: Vec<Change>,
    /// What would not be changed, each with its status and reason.
    pub skipped: Vec<Skipped>,
    /// Wishes that exclude one another.
    pub contradictions: Vec<Danger>,
    /// What could go wrong by applying this.
    pub dangers: Vec<Danger>,
    /// What is worth knowing about the division of the machine; nothing follows from it.
    #[serde(default)]
    pub hints: Vec<Hint>,
    /// Whether part of it takes hold with a reboot only.
    pub reboot_required: bool,
}

super::document!(PlanDocument, "quell.plan/1");

/// One thing worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hint {
    /// What it is about.
    pub topic: String,
    /// The sentence, with its arithmetic.
    pub what: String,
}

/// One value that is to become another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// The value now; `null` when it cannot be read.
    pub from: Option<String>,
    /// The value wanted.
    pub to: String,
    /// `runtime`, `boot` or `firmware`.
    pub when: String,
    /// What the change does to running threads, as in `harmless` or `ipi`.
    pub blast: String,
    /// Which guide asks for it.
    pub source: String,
    /// Why it is to change.
    pub reason: Option<String>,
}

/// One value that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Skipped {
    /// The knob.
    pub knob: String,
    /// Its attribute, when not the whole knob is skipped.
    #[serde(default)]
    pub attribute: Option<String>,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// `ok`, `not-applicable`, `failed`...
    pub status: String,
    /// Why.
    pub reason: Option<String>,
}

/// Something to know before applying.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Danger {
    /// The knob it is about, where it is about one.
    pub knob: Option<String>,
    /// What would happen.
    pub what: String,
    /// What to do instead.
    pub fix: Option<String>,
}

/// `quell.apply/1`: what was changed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ApplyDocument {
    /// `quell.apply/1`.
    pub schema: Schema<Self>,
    /// The transaction; `null` when there was nothing to do.
    pub id: Option<String>,
    /// The profile applied.
    #[serde(default)]
    pub profile: String,
    /// Each change and what became of it.
    pub changes: Vec<AppliedChange>,
    /// What was wanted and not tried, each with its status and reason.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// `applied`, `unchanged`, `partly`, `undone`, `failed`.
    pub result: String,
    /// Values written.
    #[serde(default)]
    pub writes: u64,
    /// Whether part of it takes hold with a reboot only.
    #[serde(default)]
    pub reboot_required: bool,
    /// The command that takes it back.
    #[serde(default)]
    pub way_back: Option<String>,
    /// The command that keeps it, when it undoes itself otherwise.
    #[serde(default)]
    pub confirm: Option<String>,
    /// In how many seconds it undoes itself.
    #[serde(default)]
    pub confirm_within_s: Option<u64>,
}

super::document!(ApplyDocument, "quell.apply/1");

/// `quell.confirm/1`: what was kept.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConfirmDocument {
    /// `quell.confirm/1`.
    pub schema: Schema<Self>,
    /// The transaction that does not undo itself any more.
    pub id: String,
}

super::document!(ConfirmDocument, "quell.confirm/1");

/// `quell.rollback/1`: what was put back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RollbackDocument {
    /// `quell.rollback/1`.
    pub schema: Schema<Self>,
    /// The transaction; `null` when there was nothing to do.
    pub id: Option<String>,
    /// The transaction or baseline gone back to.
    #[serde(default)]
    pub to: Option<String>,
    /// Each value put back and what became of it.
    pub changes: Vec<AppliedChange>,
    /// `restored`, `unchanged`, `partly`, `failed`.
    pub result: String,
    /// Values written.
    #[serde(default)]
    pub writes: u64,
}

super::document!(RollbackDocument, "quell.rollback/1");

/// A change and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AppliedChange {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// The value before.
    pub from: Option<String>,
    /// The value written.
    pub to: String,
    /// What became of it.
    pub status: String,
    /// Why, where it is not as wanted.
    pub reason: Option<String>,
}

/// `quell.verify/1`: whether every knob took effect.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerifyDocument {
    /// `quell.verify/1`.
    pub schema: Schema<Self>,
    /// The profile compared with.
    #[serde(default)]
    pub profile: String,
    /// Every attribute.
    pub knobs: Vec<VerifiedKnob>,
    /// How many in which state.
    pub summary: StatusCounts,
}

super::document!(VerifyDocument, "quell.verify/1");

/// One attribute as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VerifiedKnob {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// The value wanted.
    pub want: Option<String>,
    /// The value read.
    pub have: Option<String>,
    /// Whether the effect itself was seen, beyond the value read back; `null` when it cannot be told.
    pub effective: Option<bool>,
    /// How long the effect was watched, for effects that need a window.
    pub observed_for_s: Option<f64>,
    /// How long ago that was.
    #[serde(default)]
    pub observed_ago_s: Option<f64>,
    /// The status.
    pub status: String,
    /// Why, where it is not as wanted.
    pub reason: Option<String>,
    /// Who else sets it, where that is known.
    pub owner: Option<String>,
    /// What to do, where something can be done.
    pub fix: Option<String>,
}

/// How many attributes are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StatusCounts {
    /// As wanted, effect seen.
    pub ok: u64,
    /// Written; effect not visible yet.
    #[serde(default)]
    pub pending: u64,
    /// Takes hold with a reboot.
    #[serde(default)]
    pub needs_reboot: u64,
    /// This machine has no such thing.
    #[serde(default)]
    pub not_applicable: u64,
    /// No longer as wanted.
    pub drifted: u64,
    /// Changed by another owner.
    #[serde(default)]
    pub foreign: u64,
    /// A write is stuck in the kernel.
    #[serde(default)]
    pub blocked: u64,
    /// Not as wanted.
    #[serde(default)]
    pub failed: u64,
}

impl StatusCounts {
    /// Each word with its count, in the order in which they are shown.
    #[must_use]
    pub const fn by_word(&self) -> [(&'static str, u64); 8] {
        [
            ("ok", self.ok),
            ("pending", self.pending),
            ("needs-reboot", self.needs_reboot),
            ("not-applicable", self.not_applicable),
            ("drifted", self.drifted),
            ("foreign", self.foreign),
            ("blocked", self.blocked),
            ("failed", self.failed),
        ]
    }

    /// Counts one attribute by the word for its status; a word that is none of the eight counts as failed,
    /// because what was not understood is not ok.
    pub fn count(&mut self, word: &str) {
        *match word {
            "ok" => &mut self.ok,
            "pending" => &mut self.pending,
            "needs-reboot" => &mut self.needs_reboot,
            "not-applicable" => &mut self.not_applicable,
            "drifted" => &mut self.drifted,
            "foreign" => &mut self.foreign,
            "blocked" => &mut self.blocked,
            _ => &mut self.failed,
        } += 1;
    }
}

/// `quell.drift/1`: what is no longer as it was applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DriftDocument {
    /// `quell.drift/1`.
    pub schema: Schema<Self>,
    /// The profile that was applied; `null` when none was.
    pub profile: Option<String>,
    /// What drifted.
    pub drifted: Vec<Drifted>,
    /// How many in which state.
    pub summary: StatusCounts,
}

super::document!(DriftDocument, "quell.drift/1");

/// One attribute that is no longer as it was applied.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drifted {
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// The value applied.
    pub want: Option<String>,
    /// The value read.
    pub have: Option<String>,
    /// The status.
    pub status: String,
    /// Since when, where that is known.
    pub since: Option<WallTime>,
    /// Who changed it, where that is known.
    pub by: Option<String>,
    /// What speaks for that, or why nothing is known.
    pub reason: Option<String>,
}

/// `quell.history/1`: what was done to this host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// `quell.history/1`.
    pub schema: Schema<Self>,
    /// Newest first.
    pub transactions: Vec<Transaction>,
}

super::document!(HistoryDocument, "quell.history/1");

/// One transaction of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transaction {
    /// Its id, as `rollback --to` takes it.
    pub id: String,
    /// `apply` or `rollback`.
    pub verb: String,
    /// When it began, where the journal says so.
    pub at: Option<WallTime>,
    /// The profile, for an apply.
    pub profile: Option<String>,
    /// The sessions of it that were on.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// How it ended; `interrupted` when nothing says so.
    pub result: String,
    /// Values it changed.
    pub changes: u64,
    /// Whether it was made since the last boot; what it changed at run time is void otherwise.
    pub this_boot: bool,
    /// Whether it has been rolled back.
    pub undone: bool,
    /// Whether it undoes itself unless it is confirmed.
    #[serde(default)]
    pub on_trial: bool,
}
