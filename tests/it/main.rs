//! One integration binary: the real command against real and fixture hosts.
//!
//! One file a subject; [`harness`] is the language they are written in. A test is a few lines:
//!
//! ```ignore
//! #[test]
//! fn a_plan_changes_nothing() {
//!     let host = Fixture::copy("vm-2cpu");
//!     let quell = Quell::new().on(&host);
//!     quell.args(["tune", "plan", "--profile", "balanced"]).run().succeeds();
//!     assert_eq!(host.read("/proc/sys/vm/swappiness"), "60\n");
//! }
//! ```

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]
#![expect(clippy::disallowed_methods, reason = "tests write the files they hand to the command under test")]

mod harness;

mod agent;
mod config;
mod doctor;
mod help;
mod keeper;
mod readers;
mod rings;
mod socket;
mod stall;
mod tune;
mod units;
mod up;
