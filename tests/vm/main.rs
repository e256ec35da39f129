//! What can be tried only on a machine that boots: real reboots, power cuts, isolated CPUs, movable interrupts.
//!
//! The machines are emulated ones with Debian's systemd; `cargo xtask vm` builds their images and starts these tests.
//! Without it (`QUELL_VM` unset) each says that it was left out. A test is a conversation with a guest:
//!
//! ```ignore
//! #[test]
//! fn a_reboot_is_survived() {
//!     let Some(lab) = Lab::open() else { return };
//!     let mut guest = lab.boot(&Spec::new(Kernel::Stock));
//!     guest.install();
//!     guest.run("quell tune apply --profile balanced").succeeds();
//!     guest.reboot();
//!     guest.run("quell tune verify --profile balanced").succeeds();
//! }
//! ```

#![expect(clippy::unwrap_used, reason = "a failed precondition of a test ends the test")]
#![expect(clippy::disallowed_methods, reason = "tests wait for machines, by looking again")]

mod harness;

mod boot_line;
mod boots;
mod hold;
mod isolation;
mod knobs;
mod numbers;
mod plan;
mod timeline;
mod units;
