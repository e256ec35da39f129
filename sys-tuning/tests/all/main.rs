//! The engine as a whole: over a fake machine, killed at every system call, and on the real kernel.
//!
//! What needs root, strace or setpriv says that it was skipped without, and fails instead when QUELL_REQUIRE is set.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first thing it did not expect, and its counts are results"
)]

mod behaviour;
mod boot;
mod crash;
mod dice;
mod disk;
mod faults;
mod isolation;
mod kernel;
mod killer;
mod lies;
mod matrix;
mod model;
mod network;
mod plan_result;
mod power;
mod power_cut;
mod process;
mod repair;
mod rows;
mod standing;
mod stuck;
mod tree;

/// Whether a test that needs a right or a program may run; says that it was skipped when not.
fn may_run(test: &str, needs: &str, has: bool) -> bool {
    assert!(
        has || std::env::var_os("QUELL_REQUIRE").is_none(),
        "{test} needs {needs}, and QUELL_REQUIRE is set"
    );
    suits(test, needs, has)
}

/// Whether the machine is of the kind that a test is about; says that it was skipped when not. Nothing can be installed to
/// change that, so QUELL_REQUIRE does not ask for it.
fn suits(test: &str, needs: &str, has: bool) -> bool {
    if !has {
        println!("{test}: skipped, it needs {needs}");
    }
    has
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
