//! The language of the integration tests: run the built command, look at what it said, compare with what it
//! should.
//!
//! Everything is bounded and leaves nothing behind: a command that does not end is killed and reported with
//! what it had said, a daemon dies with its handle, files live in temporary folders. Nothing here sleeps or
//! reads a clock.

mod daemon;
mod fixture;
mod golden;
mod needs;
mod output;
mod quell;

pub use daemon::Daemon;
pub use fixture::Fixture;
pub use golden::golden;
pub use needs::{require, require_root};
pub use output::Output;
pub use quell::Quell;
