//! The system calls that the real programs make, against the filters of their units.
//!
//! A filter that lacks a call is noticed on a host as a knob that fails, or not at all; here by its name. The calls are
//! those that strace sees, so a path that no test takes is not covered.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use super::{systemd, units, values};
use crate::agent::{QUIET, settled};
use crate::harness::{Agent, Fixture, Quell, require, until};

fn text_of(unit: &str) -> String {
    units().into_iter().find(|(name, _)| name == unit).unwrap().1
}

/// The calls that come with the right they need: by themselves each is refused by the filter as it would be by the kernel.
fn of_drop_in(drop_in: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(systemd().join("drop-ins").join(drop_in)).unwrap();
    values(&text, "SystemCallFilter").flat_map(str::split_whitespace).flat_map(resolved).collect()
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
    calls(&std::fs::read_to_string(trace).unwrap())
}

fn calls(text: &str) -> BTreeSet<String> {
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

/// The command line of `quell` under a tracer that stands beside it: the program itself is our child and gets the signals.
fn traced(quell: &Quell) -> (Quell, PathBuf) {
    let trace = quell.folder().join("trace");
    let strace = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", trace.to_str().unwrap()];
    (quell.under(strace), trace)
}

/// All that was traced, once the end is in it.
fn whole(trace: &Path) -> BTreeSet<String> {
    until("the end is traced", || made(trace).contains("exit_group").then_some(()));
    made(trace)
}

/// What `ExecReload=` starts runs behind the same filter.
#[test]
fn a_reload_passes_the_filters() {
    if !(require("strace") && require("systemd-analyze")) {
        return;
    }
    let trace = tempfile::NamedTempFile::new().unwrap();
    let kill =
        ["-qq", "-o", trace.path().to_str().unwrap(), "/bin/kill", "-0", &std::process::id().to_string()];
    assert!(Command::new("strace").args(kill).status().unwrap().success());
    for unit in ["quell-agent.service", "quell-keeper.service"] {
        check(unit, &made(trace.path()));
    }
}

#[test]
fn the_keeper_stays_within_its_filter() {
    if !(require("strace") && require("systemd-analyze")) {
        return;
    }
    let host = Fixture::copy("firecracker-2cpu-6.18");
    let quell = Quell::new();
    let profile = "schema = 'quell.profile/1'\n[knobs]\n'mem.swap' = { swappiness = 10 }\n'iso.vmstat' = { stat_interval = 120 }\n";
    let profile = quell.file("held.toml", profile).display().to_string();
    let policy = format!(
        "profile = {profile:?}\nrepair = true\nboot_settle = \"0s\"\nsettle = \"1s\"\nallow = [\"rings\", \"repair\"]\n"
    );
    let policy = quell.file("policy.toml", &policy);
    std::fs::set_permissions(&policy, Permissions::from_mode(0o644)).unwrap();
    let (keeper, trace) = traced(&quell.program("quell-keeper"));
    let keeper = keeper.on(&host).args(["--policy", "policy.toml", "--socket", "keeper.sock"]);
    let mut keeper = keeper.start().ready();
    host.write("/proc/sys/vm/swappiness", "30\n"); // somebody else
    until("it is repaired", || (host.read("/proc/sys/vm/swappiness") == "10\n").then_some(()));
    keeper.signal(Signal::SIGHUP);
    keeper.wait_told("RELOADING=1");
    keeper.wait_told("READY=1");
    keeper.stop();
    let optional = of_drop_in("quell-keeper.service.d/10-cap-sys-admin.conf");
    check("quell-keeper.service", &whole(&trace).difference(&optional).cloned().collect());
}

#[test]
fn the_agent_stays_within_its_filter() {
    if !(require("strace") && require("systemd-analyze")) {
        return;
    }
    let (quell, trace) = traced(&Quell::new());
    let names = probes::PROBES.map(|about| format!("{:?}", about.name)).join(", ");
    let every_probe = QUIET.replace("[\"timer-wakeup\"]", &format!("[{names}]"));
    let mut agent = Agent::of(&quell, &every_probe);
    settled(&agent);
    agent.report();
    agent.reconfigure(QUIET);
    agent.signal(Signal::SIGHUP);
    agent.wait_told("RELOADING=1");
    agent.wait_told("READY=1");
    agent.stop();
    check("quell-agent.service", &whole(&trace));
}
