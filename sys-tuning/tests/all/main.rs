//! The engine as a whole: over a fake machine, killed at every system call, and on the real kernel.
//!
//! What needs root says that it was skipped, and fails instead when QUELL_REQUIRE is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first thing it did not expect, and its counts are results"
)]

mod behaviour;
mod crash;
mod faults;
mod helper;
mod kernel;
mod killer;
mod tree;

/// Whether a test that needs more than every machine has may run; says that it was skipped when not.
fn may_run(test: &str, needs: &str, has: bool) -> bool {
    assert!(
        has || std::env::var_os("QUELL_REQUIRE").is_none(),
        "{test} needs {needs}, and QUELL_REQUIRE is set"
    );
    if !has {
        println!("{test}: skipped, it needs {needs}");
    }
    has
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
