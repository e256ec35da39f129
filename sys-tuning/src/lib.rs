//! Tuning a host so that every original value can be put back.
//!
//! A *knob* ([`registry`]) declares what can be set; a *profile* says what is wanted; a *plan* is exactly what would be
//! written here and now. Knobs only plan. One engine ([`Engine`]) journals the originals, writes, verifies effects, notices
//! drift and rolls back:
//!
//! ```text
//! profile ──┐
//!           ├─> draft ─> plan ─> journal (on disk) ─> kernel ─> effects ─> journal
//! machine ──┘                       └──────────── rollback <── compare ──┘
//! ```
//!
//! The promise everything here serves: **no original value is ever lost.** The journal is on disk before the first write;
//! a value is restored only while it is still ours; a roll-back needs no daemon and can be killed and repeated at will.
//! Left out on purpose: measuring, budgets, sockets, and what the command line prints.

pub mod boot;
pub mod registry;
pub mod script;

mod apply;
mod assertions;
mod book;
mod cell;
mod confirm;
mod culprit;
mod declared;
mod doctor;
mod draft;
mod drift;
mod effect;
mod engine;
mod errno;
mod error;
mod facts;
mod fence;
mod fixture;
mod flow_rules;
mod group;
mod guard;
mod headroom;
mod hints;
mod history;
mod interfaces;
mod journal;
mod knobs;
mod late;
mod ledger;
mod lint;
mod lock;
mod observe;
mod plan;
mod profile;
mod provenance;
mod record;
mod repair;
mod roles;
mod rollback;
mod sessions;
mod standing;
mod state;
mod status;
mod surroundings;
mod survey;
mod trading;
mod transaction;
mod verify;
mod writer;

pub use apply::{Applied, ApplyOptions, Applying, Over};
pub use cell::Step;
pub use confirm::{Due, DueWhy, Trial};
pub use doctor::{Finding, Severity, is_serious};
pub use draft::{Contradiction, Danger, Skipped};
pub use drift::{Drift, Drifted};
pub use engine::Engine;
pub use error::{Error, ProfileMistakes};
pub use group::GroupPath;
pub use hints::Hint;
pub use history::{History, Past};
pub use interfaces::InterfaceChoice;
pub use ledger::RollbackTo;
pub use lint::contradiction_rules;
pub use plan::{Change, Plan};
pub use profile::{Profile, SCHEMA, SHIPPED};
pub use record::{Asker, Outcome, Target, What};
pub use repair::{Holder, Look, Repaired, Repairs};
pub use roles::{CpuChoice, Isolated};
pub use rollback::{Restored, RollbackOptions, RolledBack};
pub use sessions::{Session, Turn};
pub use standing::{Standing, StandingProfile};
pub use state::StateDir;
pub use status::Status;
pub use trading::{Hours, Span, Trading, Window};
pub use verify::{Agreement, Verified, Verifying};
