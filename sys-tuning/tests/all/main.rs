//! The engine as a whole: over a fake machine, killed at every system call, and on the real kernel.
//!
//! What needs root says that it was skipped, and fails instead when QUELL_REQUIRE is set.

mod behaviour;
mod crash;
mod helper;
mod kernel;
mod killer;
mod tree;
