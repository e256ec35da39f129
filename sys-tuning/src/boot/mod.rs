//! The boot command line: quell's part of it, tried once before it is kept.
//!
//! The package installs one snippet that has GRUB expand a variable; what the variable holds stands in three small files
//! of ours, and only those are ever written. A new line is a *trial*: armed for one boot, forgotten by GRUB before that
//! boot begins, and kept only after the kernel was seen to have accepted every argument. Whatever else happens (a panic, a
//! hang and a reset, a power cut), the next boot is the line that booted before.
//!
//! ```text
//! apply ─> trial written, armed ─> reboot: GRUB disarms, boots it ─> accepted? ─> settle: the trial is the good line
//!                                                   └─ panic, reset ─> reboot: the good line, as before
//! ```
//!
//! Knobs contribute arguments to one line (`compose`); the engine journals, writes and restores that line as one cell,
//! so that there is no half of an edit. Left out on purpose: editing grub.cfg, /etc/default/grub or boot entries, running
//! update-grub, and rebooting.

mod accept;
mod compose;
mod environment;
mod facts;
mod line;
mod loader;
mod rows;
mod settle;

pub use accept::{Judged, Verdict};
pub use compose::Part;
pub use environment::{Standing, State, Stored, install, state};
pub use settle::{Confirm, Settled};

pub(crate) use accept::judge_line;
pub(crate) use compose::{Asked, compose, contribute, departure, parts};
pub(crate) use environment::{forget, read_line, trial_file, write_line};
pub(crate) use facts::BootFacts;
pub(crate) use line::{Line, NONE, without_flags};
pub(crate) use rows::rows;
pub(crate) use settle::settle;
