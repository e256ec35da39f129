//! `unsafe` lives in named homes only; ARCHITECTURE.md repeats the list.

use crate::finding::Finding;
use crate::repo::Repo;
use crate::rust::{RustFile, lines_with};

/// Where `unsafe` may stand, beside counting allocators of tests.
pub const HOMES: [&str; 8] = [
    "clock/src/tsc.rs",
    "host/src/inherited.rs",
    "host/src/messages.rs",
    "host/src/perf/sys.rs",
    "host/src/steering/ioctl.rs",
    "host/src/swaps.rs",
    "host/src/threads.rs",
    "probes/src/syscall.rs",
];

/// `unsafe` outside its homes, and homes that have none.
pub fn check(repo: &Repo) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        repo.rust().iter().filter(|file| !is_home(file)).flat_map(stray).collect();
    findings.extend(HOMES.iter().filter(|home| !lives_in(repo, home)).map(|home| {
        Finding::new(
            "xtask/src/tidy/unsafe_homes.rs",
            1,
            format!("no `unsafe` in `{home}`"),
            "remove the home from the list",
        )
    }));
    findings
}

fn stray(file: &RustFile) -> Vec<Finding> {
    let remedy = format!("use a safe call (nix), or a function of {}", HOMES.join(", "));
    lines_with(&file.code, "unsafe")
        .map(|line| Finding::new(&file.path, line, "`unsafe` outside its homes", &remedy))
        .collect()
}

fn is_home(file: &RustFile) -> bool {
    // A global allocator cannot be written without; it is there to prove that the hot path does not allocate.
    HOMES.contains(&file.path.as_str())
        || (file.is_test() && lines_with(&file.code, "GlobalAlloc").next().is_some())
}

fn lives_in(repo: &Repo, home: &str) -> bool {
    repo.rust().iter().any(|file| file.path == home && lines_with(&file.code, "unsafe").next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[track_caller]
    fn check_file(path: &str, text: &str, expected: &[&str]) {
        let found = lines(&check(&Repo::of([(path, text)])));
        let found: Vec<&str> = found.iter().map(|line| line.split_once(", ").unwrap().0).collect();
        let found: Vec<&str> = found.into_iter().filter(|line| !line.starts_with("xtask/")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn unsafe_stays_at_home() {
        check_file("clock/src/tsc.rs", "unsafe { rdtsc() }\n", &[]);
        check_file(
            "agent/src/lib.rs",
            "a\nunsafe { b }\n",
            &["agent/src/lib.rs:2: `unsafe` outside its homes"],
        );
        check_file("agent/src/lib.rs", "#![deny(unsafe_code)] // not unsafe\n", &[]);
        check_file("agent/tests/hot_path.rs", "unsafe impl GlobalAlloc for Counting {}\n", &[]);
        check_file(
            "agent/tests/other.rs",
            "unsafe { b }\n",
            &["agent/tests/other.rs:1: `unsafe` outside its homes"],
        );
        check_file(
            "agent/src/lib.rs",
            "unsafe impl GlobalAlloc for C {}\n",
            &["agent/src/lib.rs:1: `unsafe` outside its homes"],
        );
    }

    #[test]
    fn a_home_without_unsafe_is_a_dead_row() {
        let found =
            lines(&check(&Repo::of([("clock/src/tsc.rs", "unsafe {}"), ("host/src/threads.rs", "// safe")])));
        assert_eq!(found.len(), HOMES.len() - 1);
        assert!(found.iter().any(|line| line.contains("no `unsafe` in `host/src/threads.rs`")), "{found:?}");
    }
}
