//! The language of the integration tests: run the built command, look at what it said, compare with what it
//! should.
//!
//! Everything is bounded and leaves nothing behind: a command that does not end is killed and reported with
//! what it had said, a daemon dies with its handle, files live in temporary folders. Whoever waits for another
//! process looks again and again ([`until`]); nothing here reads a clock.

mod agent;
mod daemon;
mod fixture;
mod golden;
pub mod machine;
mod needs;
mod output;
pub mod process;
mod quell;
pub mod socket;
mod until;

pub use agent::Agent;
pub use daemon::Daemon;
pub use fixture::Fixture;
pub use golden::golden;
pub use needs::{require, require_cpus, require_root};
pub use output::Output;
pub use quell::{NOBODY, Quell};
pub use until::until;
