//! Words that leave the process: documents as types, as JSON, as text; exit codes.
//!
//! A document is one type with public fields ([`Report`], [`BudgetsDocument`], [`PlanDocument`]...). Whoever
//! knows the facts fills it; here it becomes JSON that others rely on (keys are added, never renamed) or text
//! for a person ([`text`]). The command line reads back what the agent serves, so every type is read as well
//! as written, and keys it does not know are passed over.
//!
//! Durations are whole nanoseconds, wall times RFC 3339, absent is `null` and never 0. Left out on purpose:
//! how a value was measured, and the sockets and files it goes to.

pub mod text;

#[cfg(test)]
mod example;
mod exit;
mod json;
mod wall;

pub use exit::Exit;
pub use json::boot::{BootArgument, BootDocument, BootLine};
pub use json::doctor::{DoctorDocument, Finding};
pub use json::error::ErrorDocument;
pub use json::explain::{ExplainDocument, ExplainedAttribute, ExplainedKnob};
pub use json::keeper::{DriftReport, KeeperReport, KindReport, RingReport, WriterReport};
pub use json::lists::{BudgetsDocument, StallsDocument};
pub use json::prove::{ProveDocument, ProveFigure, ProveLook, ProvedChange, ProvedKnob};
pub use json::report::{
    BudgetReport, BudgetState, CAUSE_UNEXPLAINED, Cause, ChannelReport, ClockReport, DelayPoint, Fitness,
    FitnessState, KnobsReport, Measuring, Missing, Report, SelfReport, StallReport, ThreadReport,
    encode_hist,
};
pub use json::sessions::{Session, SessionOverride, SessionsDocument};
pub use json::tune::{
    AppliedChange, ApplyDocument, Change, ConfirmDocument, Danger, DriftDocument, Drifted, Hint,
    HistoryDocument, PlanDocument, RollbackDocument, Skipped, StatusCounts, Transaction, VerifiedKnob,
    VerifyDocument,
};
pub use json::{Document, JsonError, Schema};
pub use wall::{WallTime, wall_time_now};
