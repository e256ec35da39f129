//! The privileged part of quell: the only long-lived writer of kernel state.
//!
//! A small state machine over the closed registry of `sys-tuning`, inside the ceiling of a policy that root owns. It runs no
//! program, speaks no HTTP, holds no network socket, and parses nothing but root's TOML and messages of one fixed size.
pub mod rings;
