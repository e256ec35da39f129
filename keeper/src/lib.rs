//! The privileged part of quell: the only long-lived writer of kernel state.
//!
//! A small state machine over the closed registry of `sys-tuning`, inside the ceiling of a policy that root owns. It runs no
//! program, speaks no HTTP, holds no network socket, and parses nothing but root's TOML and messages of one fixed size.
//!
//! ```text
//! signals ─┐                    ┌─> policy, fence, ceiling: may it be?
//! clients ─┼─> loop ─> order ───┤
//! sources ─┘  (keeper)          └─> duty ─> engine ─> kernel        everything that was done or refused ─> audit
//! ```
//!
//! The loop ([`keeper`]) owns everything and waits in one place; whatever else has work from time to time (watching for
//! drift) is a [`source::Source`] of it. What is done to the host stands in [`duty`] and nowhere else.

pub mod arguments;
pub mod audit;
pub mod ceiling;
pub mod duty;
pub mod edges;
pub mod fence;
pub mod keeper;
pub mod measure;
pub mod moment;
pub mod notify;
pub mod peer;
pub mod policy;
pub mod rings;
pub mod seat;
pub mod server;
pub mod source;
pub mod trial;
pub mod watch;

mod carry_out;
