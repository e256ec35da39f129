//! What a test needs beside the product, and how it says that it went without.
//!
//! ```ignore
//! if !require("strace") {
//!     return;
//! }
//! ```
//!
//! `cargo xtask test` installs the programs (its table is xtask/src/debian.rs), gathers the reasons and
//! prints them; with `QUELL_REQUIRE=1`, as in CI, a missing component fails the test.

use std::fs::OpenOptions;
use std::io::Write;

use units::CpuSet;

/// Whether `program` is here; if not, the test says that it was skipped, or fails where nothing may be
/// missing.
#[must_use = "a test that lacks what it needs returns"]
#[track_caller]
pub fn require(program: &str) -> bool {
    need(is_installed(program), &format!("no `{program}` on this machine (cargo xtask test installs it)"))
}

/// Whether the test runs as root; else as [`require`].
#[must_use = "a test that lacks what it needs returns"]
#[track_caller]
pub fn require_root() -> bool {
    need(nix::unistd::geteuid().is_root(), "not root")
}

/// Whether there are `wanted` CPUs in `cpus`; else as [`require`].
#[must_use = "a test that lacks what it needs returns"]
#[track_caller]
pub fn require_cpus(wanted: usize, cpus: &CpuSet) -> bool {
    need(cpus.count() >= wanted, &format!("needs {wanted} CPUs, there are {cpus}"))
}

#[track_caller]
fn need(is_met: bool, reason: &str) -> bool {
    let strict = std::env::var_os("QUELL_REQUIRE").is_some_and(|value| value == "1");
    judge(is_met, strict, reason, say_skipped)
}

#[track_caller]
fn judge(is_met: bool, strict: bool, reason: &str, say_skipped: impl FnOnce(&str)) -> bool {
    assert!(is_met || !strict, "{reason}, and with QUELL_REQUIRE=1 nothing may be missing");
    if !is_met {
        say_skipped(reason);
    }
    is_met
}

/// To the file that `cargo xtask test` names; else past libtest, which keeps the output of passing tests to
/// itself.
fn say_skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    // One write each: lines of tests that run at once do not mix.
    let said = match std::env::var_os("QUELL_SKIPS") {
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes())),
        None => std::io::stderr().write_all(format!("skipped: {line}").as_bytes()),
    };
    said.unwrap();
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
        let present = "sh";
        assert!(require(present));
        assert!(!is_installed("no-such-program"));
    }

    #[test]
    fn what_is_missing_is_said_or_fails() {
        let mut said = Vec::new();
        assert!(judge(true, true, "met", |reason| said.push(reason.to_owned())));
        assert!(!judge(false, false, "not root", |reason| said.push(reason.to_owned())));
        assert_eq!(said, ["not root"]);
        let strict = || judge(false, true, "not root", |_| {});
        let message = std::panic::catch_unwind(strict).unwrap_err();
        assert!(message.downcast_ref::<String>().unwrap().starts_with("not root, and with QUELL_REQUIRE=1"));
    }
}
