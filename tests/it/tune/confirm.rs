//! `apply --confirm-within`: what is not confirmed is undone, whoever is left to do it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use report::Exit;
use serde_json::Value;

use super::{ORIGINAL, SWAPPINESS, Tuned};
use crate::harness::{require, require_root, until};

const HOUR: &str = "1h";
/// The shortest there is.
const SECOND: &str = "1s";

impl Tuned {
    fn on_trial(&self, within: &str) -> Value {
        let profile = self.profile("'mem.swap' = { swappiness = 10 }");
        let words = ["apply", "--profile", &profile, "--confirm-within", within, "--json"];
        self.run(words).succeeds().json("quell.apply/1")
    }

    /// The process that waits for the confirmation.
    fn guard(&self) -> Option<Pid> {
        let state = self.state().display().to_string();
        let is_it = |pid: i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("\0--guard\0") && line.contains(&state)
        };
        let processes =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        processes.into_iter().find(|pid| is_it(*pid)).map(Pid::from_raw)
    }

    fn stays(&self) -> bool {
        self.host.read(SWAPPINESS) == "10\n"
    }
}

#[test]
fn what_nobody_confirms_is_undone_by_the_guard() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let applied = tuned.on_trial(SECOND);
    assert!(applied["confirm"].as_str().unwrap().starts_with("quell tune confirm 1"), "{applied}");
    assert_eq!(applied["confirm_within_s"], 1);
    until("it is undone", || (tuned.host.snapshot() == before).then_some(()));
    until("the guard is gone", || tuned.guard().is_none().then_some(()));
    let history = tuned.run(["history", "--json"]).succeeds().json("quell.history/1");
    assert_eq!(history["transactions"][1]["undone"], true, "{history}");
}

#[test]
fn what_is_confirmed_stays_and_the_guard_goes() {
    let tuned = Tuned::small();
    tuned.on_trial(HOUR);
    assert!(tuned.stays() && tuned.guard().is_some());
    let history = tuned.run(["history", "--json"]).succeeds().json("quell.history/1");
    assert_eq!(history["transactions"][0]["on_trial"], true, "{history}");
    tuned
        .run(["confirm", "7"])
        .exits(Exit::Refused)
        .says_one_line(&["7 does not wait to be confirmed, 1 does"]);
    assert_eq!(tuned.run(["confirm", "1"]).succeeds().stdout, "transaction 1 is kept\n");
    until("the guard is gone", || tuned.guard().is_none().then_some(()));
    assert!(tuned.stays());
    tuned.run(["confirm"]).exits(Exit::Refused).says_one_line(&["nothing waits to be confirmed"]);
}

#[test]
fn a_roll_back_ends_the_trial() {
    let tuned = Tuned::small();
    tuned.on_trial(HOUR);
    tuned.run(["rollback"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
    until("the guard is gone", || tuned.guard().is_none().then_some(()));
}

#[test]
fn a_second_apply_is_refused_while_one_is_undecided() {
    let tuned = Tuned::small();
    tuned.on_trial(HOUR);
    let second = tuned.swappiness(33).exits(Exit::Refused);
    second.says_one_line(&["transaction 1 waits to be confirmed", "`quell tune confirm 1` keeps it"]);
    assert!(tuned.stays());
    tuned.run(["rollback"]).succeeds();
    tuned.swappiness(33).succeeds();
}

/// What stands in the way of one value stands in the way of no other, and goes away before the guard does.
#[test]
fn the_guard_goes_on_until_everything_is_back_and_tells_the_log() {
    let tuned = Tuned::small();
    fs::create_dir_all(tuned.host.path().join("dev")).unwrap();
    let log = UnixDatagram::bind(tuned.host.path().join("dev/log")).unwrap();
    let heard = || {
        let mut bytes = [0; 4096];
        let length = log.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    tuned.on_trial("2s");
    let file = tuned.host.path().join(SWAPPINESS.trim_start_matches('/'));
    let aside = file.with_extension("aside");
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap(); // nothing can be read there, nor written
    let told = heard();
    assert!(told.starts_with("<28>quell[") && told.contains("transaction 1 was not confirmed"), "{told}");
    assert!(told.contains("mem.swap swappiness"), "{told}");
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    let told = heard();
    assert!(told.ends_with("all of it is undone now"), "{told}");
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
    until("the guard is gone", || tuned.guard().is_none().then_some(()));
}

#[test]
fn the_guard_outlives_the_terminal() {
    let tuned = Tuned::small();
    tuned.on_trial("2s");
    let guard = tuned.guard().unwrap();
    assert_eq!(nix::unistd::getsid(Some(guard)), Ok(guard), "a session of its own");
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP] {
        kill(guard, signal).unwrap();
    }
    until("it is undone all the same", || (tuned.host.read(SWAPPINESS) == ORIGINAL).then_some(()));
}

#[test]
fn without_the_guard_the_next_command_undoes_it() {
    for verb in [&["history"][..], &["drift"], &["plan", "--profile", "observe"], &["confirm", "7"]] {
        let tuned = Tuned::small();
        tuned.on_trial(SECOND);
        kill(tuned.guard().unwrap(), Signal::SIGKILL).unwrap();
        let told = until("it is undone", || {
            let output = tuned.run(verb.iter().copied());
            output.stderr.contains("transaction 1").then_some(output)
        });
        assert!(told.stderr.contains("was not confirmed in time, and is undone now"), "{told}");
        assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL, "{verb:?}");
    }
}

#[test]
fn one_step_back_from_what_is_overdue_is_one_step() {
    let tuned = Tuned::small();
    tuned.swappiness(33).succeeds();
    tuned.on_trial(SECOND);
    let applied = Instant::now();
    kill(tuned.guard().unwrap(), Signal::SIGKILL).unwrap();
    until("its time is over", || (applied.elapsed() > Duration::from_secs(1)).then_some(()));
    let back = tuned.run(["rollback", "--json"]).succeeds();
    assert!(back.stderr.contains("transaction 2 (") && back.stderr.contains("is undone now"), "{back}");
    assert_eq!(back.json("quell.rollback/1")["changes"][0]["to"], "33");
    assert_eq!(tuned.host.read(SWAPPINESS), "33\n", "what was there before the trial stays");
    tuned.run(["rollback"]).succeeds();
    assert_eq!(tuned.host.read(SWAPPINESS), ORIGINAL);
}

#[test]
fn nothing_to_change_is_nothing_to_confirm() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    let again = tuned.run(["apply", "--profile", &profile, "--confirm-within", HOUR]).succeeds();
    assert!(again.stderr.contains("nothing was changed that would have to be confirmed"), "{again}");
    until("the guard is gone", || tuned.guard().is_none().then_some(()));
}

#[test]
fn a_time_that_makes_no_sense_is_refused() {
    let tuned = Tuned::small();
    for within in ["0s", "25h", "soon"] {
        let output =
            tuned.run(["apply", "--profile", "observe", "--confirm-within", within]).exits(Exit::Usage);
        assert!(output.stderr.contains("--confirm-within"), "{output}");
    }
    assert!(!tuned.state().exists());
}

#[test]
fn a_full_disk_and_a_torn_journal_do_not_keep_it() {
    if !(require_root() && require("unshare")) {
        return;
    }
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    let (quell, state, root) = (env!("CARGO_BIN_EXE_quell"), tuned.state(), tuned.host.path().display());
    let profile = tuned.profile("'mem.swap' = { swappiness = 10 }");
    fs::create_dir(&state).unwrap();
    let at = state.display();
    // Nobody is left who would know of it: the journal's last record torn, the disk full to the last byte.
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=0700 none {at} && {quell} tune apply --profile {profile} --root {root} \
         --state-dir {at} --confirm-within 2s >&2 && truncate -s -20 {at}/journal && \
         {{ cat /dev/zero > {at}/filler 2>/dev/null; true; }} && exec \"$@\""
    );
    let words = ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned);
    tuned.command(["explain", "mem.swap"]).under(words).run().succeeds();
    assert!(tuned.stays());
    until("it is undone", || (tuned.host.snapshot() == before).then_some(()));
}
