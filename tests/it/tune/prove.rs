//! `quell tune prove` on the kernel it runs on: a harmless knob, switched and always put back.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use report::Exit;
use serde_json::Value;

use super::kernel::{Kernel, SWAPPINESS, other, read};
use crate::harness::{Daemon, Quell, require_root, until};

/// A loaded machine takes its time over a dozen blocks.
const TIMEOUT: Duration = Duration::from_secs(600);

/// A comparison of `mem.swap` with the value that it switches to, and its command line.
struct Compared {
    kernel: Kernel,
    on: String,
    profile: String,
}

impl Compared {
    fn new() -> Self {
        let kernel = Kernel::new();
        let on = other(SWAPPINESS, 37, 38).to_string();
        let profile = kernel.profile(&format!("'mem.swap' = {{ swappiness = {on} }}"));
        Self { kernel, on, profile }
    }

    fn line(&self, words: &[&str]) -> Quell {
        let words = ["prove", "--json", "--profile", &self.profile].into_iter().chain(words.iter().copied());
        self.kernel.command(words).timeout(TIMEOUT)
    }

    /// Stops the process in a block in which the knob is on: looked at while it cannot go on, so that it is certain.
    fn stopped_while_on(&self, proving: &Daemon) {
        until("the knob is on", || {
            if read(SWAPPINESS) != self.on {
                return None;
            }
            proving.signal(Signal::SIGSTOP);
            until("it has stopped", || is_stopped(proving.pid()).then_some(()));
            let is_on = read(SWAPPINESS) == self.on;
            if !is_on {
                proving.signal(Signal::SIGCONT);
            }
            is_on.then_some(())
        });
    }

    /// The process that undoes what a killed one leaves.
    fn guard(&self) -> Option<i32> {
        let state = self.kernel.state().display().to_string();
        let is_it = |pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("\0--guard\0") && line.contains(&state)
        };
        let mut processes = fs::read_dir("/proc").unwrap();
        processes.by_ref().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(is_it)
    }

    fn history(&self) -> Value {
        self.kernel.run(["history", "--json"]).succeeds().json("quell.history/1")
    }
}

/// Format: "1234 (quell) T 1 …"   (Documentation/filesystems/proc.rst, 1.1)
fn is_stopped(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn a_harmless_knob_is_compared_and_put_back() {
    if !require_root() {
        return;
    }
    let compared = Compared::new();
    let words = ["--for", "100ms", "--settle", "10ms", "--blocks", "12", "--seed", "7"];
    let proved = compared.line(&words).run().succeeds().json("quell.prove/1");
    compared.kernel.is_as_it_was();
    assert_eq!(proved["seed"], 7);
    assert_eq!(proved["looks"][0]["pairs"], 6, "all that agree decide at 5 %: {proved}");
    let knob = &proved["knobs"][0];
    assert_eq!((knob["knob"].as_str(), knob["pairs"].as_u64()), (Some("mem.swap"), Some(6)), "{proved}");
    let from = compared.kernel.original(SWAPPINESS);
    assert_eq!(knob["switched"][0], format!("swappiness {from} -> {}", compared.on));
    let figure = &proved["figures"][0];
    assert_eq!(figure["probe"], "timer-wakeup");
    assert_eq!(figure["instead_of"], "p99.99", "a hundred samples are too few for it: {proved}");
    assert!(figure["before"].as_u64().unwrap() > 0);
    let change = &knob["changes"][0];
    let interval = [&change["low_percent"], &change["high_percent"]].map(|end| end.as_f64().unwrap());
    let percent = change["percent"].as_f64().unwrap();
    assert!(interval[0] <= percent && percent <= interval[1], "{change}");
    // Each pair was one apply that was never confirmed, and its way back.
    let transactions = compared.history();
    let verbs = |verb: &str| {
        let transactions = transactions["transactions"].as_array().unwrap().iter();
        transactions.filter(|transaction| transaction["verb"] == verb).count() as u64
    };
    let switched = 6 + knob["void"].as_u64().unwrap();
    assert_eq!((verbs("apply"), verbs("rollback")), (switched, switched), "{transactions}");
    compared.kernel.run(["drift"]).succeeds();
    until("the guard is gone", || compared.guard().is_none().then_some(()));
}

#[test]
fn a_signal_puts_back_at_once() {
    if !require_root() {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let compared = Compared::new();
        let proving = compared.line(&["--for", "2s", "--settle", "10ms"]).start();
        compared.stopped_while_on(&proving);
        proving.signal(signal);
        proving.signal(Signal::SIGCONT);
        let ended = proving.wait().exits(Exit::Aborted);
        compared.kernel.is_as_it_was();
        let found = ended.json("quell.prove/1");
        assert_eq!(
            (found["result"].as_str(), found["knobs"][0]["stopped"].as_str()),
            (Some("aborted"), Some("aborted"))
        );
    }
}

#[test]
fn killed_it_is_put_back_by_a_roll_back() {
    if !require_root() {
        return;
    }
    let compared = Compared::new();
    let proving = compared.line(&["--for", "2s", "--settle", "10ms"]).start();
    compared.stopped_while_on(&proving);
    proving.signal(Signal::SIGKILL);
    let _ = proving.wait();
    assert_eq!(read(SWAPPINESS), compared.on, "nobody is left who would have put it back");
    let waits = compared.history();
    assert_eq!(waits["transactions"][0]["on_trial"], true, "the guard and the keeper would undo it: {waits}");
    assert!(compared.guard().is_some(), "it waits until the block's time is over");
    compared.kernel.run(["rollback"]).succeeds();
    compared.kernel.is_as_it_was();
    until("the guard is gone", || compared.guard().is_none().then_some(()));
}

#[test]
fn somebody_elses_value_is_left_alone() {
    if !require_root() {
        return;
    }
    let compared = Compared::new();
    let proving = compared.line(&["--for", "1s", "--settle", "10ms"]).start();
    compared.stopped_while_on(&proving);
    fs::write(SWAPPINESS, "42").unwrap();
    proving.signal(Signal::SIGCONT);
    let ended = proving.wait().exits(Exit::Partly);
    ended.says_one_line(&["cannot be taken back", "quell tune rollback"]);
    assert_eq!(read(SWAPPINESS), "42");
    compared.kernel.run(["rollback", "--force"]).succeeds();
    compared.kernel.is_as_it_was();
}

/// Nothing here is switched, so that it needs no rights.
#[test]
fn what_cannot_be_compared_is_told_before_anything_is_switched() {
    let quell = Quell::new();
    let state = quell.folder().join("state").display().to_string();
    let check = |knobs: &str, words: &[&str], exit: Exit, expected: &[(&str, &str)]| {
        let text = format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n");
        let profile = quell.file("profile.toml", &text).display().to_string();
        let line = ["tune", "prove", "--json", "--profile", &profile, "--state-dir", &state];
        let output = quell.args(line).args(words.iter().copied()).run().exits(exit);
        let found = output.json("quell.prove/1");
        let skipped: Vec<(&str, &str)> = found["skipped"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["knob"].as_str().unwrap(), row["status"].as_str().unwrap()))
            .collect();
        assert_eq!(skipped, expected, "{found}");
        assert!(!std::path::Path::new(&state).exists(), "nothing was written");
    };
    let now = read(SWAPPINESS);
    let as_it_is = format!("'mem.swap' = {{ swappiness = {now} }}");
    check("'iso.skew' = { enabled = true }", &[], Exit::Refused, &[("iso.skew", "refused")]);
    check("'mem.huge' = { '2M' = { node0 = 1 } }", &["mem.huge"], Exit::Refused, &[("mem.huge", "refused")]);
    check(&as_it_is, &[], Exit::Held, &[("mem.swap", "ok")]);
    let both = format!("{as_it_is}\n'iso.skew' = {{ enabled = true }}");
    check(&both, &["mem.swap"], Exit::Held, &[("mem.swap", "ok")]); // only what is named is looked at
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let quell = Quell::new();
    let check = |words: &[&str], parts: &[&str]| {
        let output = quell.args(["tune", "prove", "--profile", "balanced"]).args(words.iter().copied()).run();
        let output = output.exits(Exit::Usage);
        parts.iter().for_each(|part| assert!(output.stderr.contains(part), "{part}: {output}"));
    };
    check(
        &["--for", "1ms", "--margin", "0", "--blocks", "1", "--probe", "timer-wakeup,spin-gp"],
        &["a block is 100 ms to 600 s long", "--margin 0", "--blocks 1:", "did you mean spin-gap?"],
    );
    check(&["--root", "/tmp", "--state-dir", "/tmp/none"], &["only the running machine can be measured"]);
    check(
        &["mem.thq", "iso.skew"],
        &["mem.thq: no such knob", "iso.skew: the profile balanced wants nothing of it"],
    );
}
