//! The house: every crate, its level, and what it must not know.
//!
//! The one table behind ARCHITECTURE.md's; tidy compares manifests and sources with it. A crate uses lower
//! levels only. `Never` and `says_never` make "must not know" concrete: packages that would bring the
//! knowledge in, and paths of the standard library that would do so without a package. A new crate starts
//! with its row here.

/// One crate of the workspace.
pub struct Crate {
    /// Its package and its folder.
    pub name: &'static str,
    /// It uses crates of lower levels only.
    pub level: u8,
    /// Packages from outside.
    pub outside: Outside,
    /// Paths that shipped code must not contain (written out: imports here are one path a line).
    pub says_never: &'static [&'static str],
}

/// Which packages from outside a crate may use.
pub enum Outside {
    /// These and no other.
    Only(&'static [&'static str]),
    /// All in the root's list but these.
    Never(&'static [&'static str]),
}

use Outside::{Never, Only};

/// The row of `name`, if it is one of ours.
pub fn find(name: &str) -> Option<&'static Crate> {
    HOUSE.iter().find(|row| row.name == name)
}

/// The table, lowest level first.
pub const HOUSE: &[Crate] = &[
    Crate { name: "units", level: 0, outside: Only(&["thiserror", "proptest"]), says_never: IO },
    // Only the project's own tasks: they must run while the product does not compile.
    Crate { name: "xtask", level: 0, outside: Only(&["anyhow", "toml"]), says_never: &[] },
    // Knows no threads, nor what is timed.
    Crate {
        name: "clock",
        level: 1,
        outside: Never(&[
            "axum",
            "clap",
            "core_affinity",
            "crossbeam-channel",
            "hdrhistogram",
            "rtrb",
            "serde",
            "tokio",
        ]),
        says_never: &["std::net", "std::thread"],
    },
    // Knows text and places in it, not what the values mean.
    Crate {
        name: "config",
        level: 1,
        outside: Never(&["axum", "clap", "core_affinity", "hdrhistogram", "libc", "nix", "rtrb", "tokio"]),
        says_never: &["std::net", "std::thread"],
    },
    // Knows the kernel, not profiles or budgets.
    Crate {
        name: "host",
        level: 1,
        outside: Never(&["axum", "clap", "hdrhistogram", "rtrb", "serde", "serde_json", "tokio", "toml"]),
        says_never: &["std::net"],
    },
    // Pure: knows neither where samples come from, nor files, nor clocks.
    Crate {
        name: "latency",
        level: 1,
        outside: Only(&["hdrhistogram", "thiserror", "fastrand", "proptest"]),
        says_never: IO,
    },
    // Knows words, not how values were measured, nor sockets.
    Crate {
        name: "report",
        level: 1,
        outside: Never(&[
            "axum",
            "clap",
            "core_affinity",
            "hdrhistogram",
            "hyper",
            "libc",
            "nix",
            "rtrb",
            "tokio",
        ]),
        says_never: &["std::net", "std::os::unix::net", "std::thread"],
    },
    // Memory and orderings: knows neither clocks nor histograms, and no package at all; these are its tests'.
    Crate { name: "shm-ring", level: 1, outside: Only(&["fastrand", "loom", "proptest"]), says_never: STD },
    // Messages of one size: knows neither who sends them nor what carries them.
    Crate { name: "orders", level: 1, outside: Only(&["thiserror", "proptest"]), says_never: IO },
    // Samples; knows neither histograms nor budgets. Sockets only of its own: what loopback costs is a sample.
    Crate {
        name: "probes",
        level: 2,
        outside: Never(&["axum", "clap", "hdrhistogram", "serde", "serde_json", "tokio", "toml"]),
        says_never: &[],
    },
    // Plans and writes knobs; knows neither latency nor probes.
    Crate {
        name: "sys-tuning",
        level: 2,
        outside: Never(&["axum", "clap", "core_affinity", "hdrhistogram", "hyper", "rtrb", "tokio"]),
        says_never: &["std::net"],
    },
    // The privileged part: no network, no async, no foreign text but root's TOML; it starts no program.
    Crate {
        name: "keeper",
        level: 3,
        outside: Never(&[
            "axum",
            "clap",
            "core_affinity",
            "hdrhistogram",
            "hyper",
            "rtrb",
            "serde_json",
            "tokio",
            "tracing",
        ]),
        says_never: &["std::net", "std::process::Command", "TcpListener", "TcpStream"],
    },
    // The daemon; knows neither the command line nor the network.
    Crate {
        name: "agent",
        level: 3,
        outside: Never(&["clap", "libc", "rustls", "ureq"]),
        says_never: &["TcpListener", "TcpStream"],
    },
    // The command; knows the fleet only as text.
    Crate {
        name: "quell",
        level: 4,
        outside: Never(&["libc", "rusqlite", "rustls", "tokio-postgres"]),
        says_never: &["std::thread::spawn"],
    },
    // Beside the house: measures all of it, used by nobody.
    Crate { name: "benches", level: 5, outside: Never(&["clap"]), says_never: &[] },
];

/// What a pure crate never says: files, network, threads, processes, environment, clocks.
const IO: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
];

/// What a crate that runs without the standard library never says.
const STD: &[&str] = &["std::", "extern crate alloc"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_climb() {
        for pair in HOUSE.windows(2) {
            assert!(pair[0].level <= pair[1].level, "{} stands above {}", pair[0].name, pair[1].name);
        }
        for row in HOUSE {
            assert_eq!(HOUSE.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
        assert!(find("units").is_some() && find("utils").is_none());
    }
}
