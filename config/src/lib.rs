//! TOML into checked values.
//!
//! One reader for every file a person writes for quell (the agent's configuration, profiles, the policy): unknown keys
//! are refused with the nearest known one, every mistake of a file is reported at once with `file:line`, and each value
//! knows where it came from. Files are given as layers; a later layer overrides single values of an earlier one.
//!
//! How it is used: [`Document::parse`] turns text into an owned tree; a [`Section`] reads keys out of one table of one
//! or more documents, collecting [`Mistake`]s in a [`Mistakes`] that the caller turns into a result when everything was
//! read. There is no serde here: a derive stops at the first mistake and cannot name the layer a value came from.

mod document;
mod mistakes;
mod section;

pub use document::{Document, Node, Value};
pub use mistakes::{Mistake, Mistakes, Place};
pub use section::{Located, Section};
