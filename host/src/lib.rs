//! The machine as the kernel shows it: one file a kernel interface.
//!
//! Every reader takes a [`Root`], so that a test can own the kernel: the same code reads `/` and a captured fixture tree.
//! What a kernel may not offer is an `Option` or an [`Error::Absent`], never a zero. Nothing here knows profiles or
//! budgets, and nothing caches: each call reads what is true now.

pub mod threads;

mod error;
mod root;

pub use error::Error;
pub use root::Root;
