//! The system calls that the real programs make, against the filters of their units.
//!
//! A filter that lacks a call is noticed on a host as a knob that fails, or not at all; here by its name. The calls are
//! those that strace sees, so a path that no test takes is not covered.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::{units, values};
use crate::agent::{QUIET, settled};
use crate::harness::{Agent, Quell, require, until};

fn text_of(unit: &str) -> String {
    units().into_iter().find(|(name, _)| name == unit).unwrap().1
}

/// The system calls a unit allows.
fn allowed(unit: &str) -> BTreeSet<String> {
    let text = text_of(unit);
    // What systemd adds to every list (systemd.exec(5)): the calls of a start and of an end.
    let mut allowed = BTreeSet::from(["execve", "exit", "exit_group", "rt_sigreturn"].map(str::to_owned));
    allowed.extend(resolved("@default"));
    for words in values(&text, "SystemCallFilter") {
        let (takes, words) = words.strip_prefix('~').map_or((false, words), |words| (true, words));
        for call in words.split_whitespace().flat_map(resolved) {
            if takes {
                allowed.remove(&call)
            } else {
                allowed.insert(call)
            };
        }
    }
    allowed
}

/// A call, or the calls of a set and of the sets in it.
fn resolved(word: &str) -> Vec<String> {
    if !word.starts_with('@') {
        return vec![word.to_owned()];
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", word]).output().unwrap();
    assert!(output.status.success(), "{word}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let members =
        text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(resolved).collect()
}

/// The calls in a trace. Format: `4711  openat(AT_FDCWD, "/etc/quell", O_RDONLY) = 3`   (strace(1))
fn made(trace: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(trace).unwrap();
    let call = |line: &str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let name = rest.split_once('(')?.0;
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then(|| name.to_owned())
    };
    text.lines().filter_map(call).collect()
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "a figure for whoever runs it with --nocapture")]
fn check(unit: &str, made: &BTreeSet<String>) {
    let allowed = allowed(unit);
    let missing: Vec<&String> = made.difference(&allowed).collect();
    println!("{unit}: {} distinct calls made, {} allowed", made.len(), allowed.len());
    assert!(made.len() > 10, "{unit}: {made:?} is no trace of a daemon");
    assert!(missing.is_empty(), "{unit}: the filter lacks {missing:?}");
    // systemd cannot look into the structure that openat2 takes, and refuses the call where modes are restricted.
    let restricts = values(&text_of(unit), "RestrictSUIDSGID").any(|value| value == "yes");
    assert!(!restricts || !made.contains("openat2"), "{unit}: RestrictSUIDSGID= makes openat2 fail");
}

#[test]
fn the_agent_stays_within_its_filter() {
    if !(require("strace") && require("systemd-analyze")) {
        return;
    }
    let quell = Quell::new();
    let trace = quell.folder().join("trace");
    // Detached: the agent is our child, and gets the signals.
    let strace = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let every_probe = QUIET.replace("[\"timer-wakeup\"]", "[\"timer-wakeup\", \"spin-gap\", \"syscall\"]");
    let mut agent = Agent::of(&quell.under(strace), &every_probe);
    settled(&agent);
    agent.report();
    agent.reconfigure(QUIET);
    agent.signal(nix::sys::signal::Signal::SIGHUP);
    agent.wait_told("RELOADING=1");
    agent.wait_told("READY=1");
    agent.stop();
    until("its end is traced", || made(&trace).contains("exit_group").then_some(()));
    check("quell-agent.service", &made(&trace));
}
