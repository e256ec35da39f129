//! What a bench needs beside the product, and how it says that it went without.
//!
//! The words are those of the integration tests: `cargo xtask test` installs the programs, gathers the
//! reasons in the file named by `QUELL_SKIPS`, and with `QUELL_REQUIRE=1` nothing may be missing.

use std::fs::OpenOptions;
use std::io::Write;

use crate::Bench;

/// Whether `program` is installed; otherwise the part of the bench that needs it is skipped, said, and where
/// nothing may be missing, failed.
#[must_use = "a bench that lacks what it needs leaves that part out"]
pub fn require(bench: &mut Bench, program: &str) -> bool {
    need(
        bench,
        is_installed(program),
        &format!("no `{program}` on this machine (cargo xtask test installs it)"),
    )
}

/// Whether the bench runs as root; otherwise as [`require`].
#[must_use = "a bench that lacks what it needs leaves that part out"]
pub fn require_root(bench: &mut Bench) -> bool {
    need(bench, nix::unistd::geteuid().is_root(), "not root")
}

fn need(bench: &mut Bench, is_met: bool, reason: &str) -> bool {
    if !is_met {
        bench.line(&format!("skipped: {reason}"));
        say_skipped(reason);
        if std::env::var_os("QUELL_REQUIRE").is_some_and(|value| value == "1") {
            bench.check("nothing is missing (QUELL_REQUIRE=1)", false);
        }
    }
    is_met
}

/// To the file that `cargo xtask test` names, one write a line; without one the printed line is all there is.
fn say_skipped(reason: &str) {
    let Some(path) = std::env::var_os("QUELL_SKIPS") else { return };
    let name = std::env::args().next().unwrap_or_default();
    let name = name.rsplit('/').next().and_then(|file| file.split('-').next()).unwrap_or("bench");
    let line = format!("benches::{name}: {reason}\n");
    let file = OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes())); // printed already
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(Into::into); // a user's PATH lacks them
    std::env::split_paths(&path).chain(sbin).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_found() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
