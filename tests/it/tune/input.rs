//! Bad input: one clear line, the documented code, and nothing written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use report::Exit;

use super::{HOSTS, SWAPPINESS, Tuned};
use crate::harness::{Quell, require_root};

/// A profile of this text is refused in one line that holds `words`, by every verb that takes one.
#[track_caller]
fn refused(tuned: &Tuned, text: &str, exit: Exit, words: &[&str]) {
    let before = tuned.host.snapshot();
    let profile = tuned.toml("p.toml", text);
    for verb in ["plan", "apply", "verify"] {
        tuned.run([verb, "--profile", &profile]).exits(exit).says_one_line(words);
    }
    assert!(tuned.host.snapshot() == before && !tuned.state().exists(), "{text}");
}

#[test]
fn a_profile_with_a_mistake() {
    let tuned = Tuned::small();
    let check = |knob: &str, words: &[&str]| {
        refused(&tuned, &format!("[knobs]\n{knob}"), Exit::Usage, &[&["p.toml:3: "], words].concat());
    };
    check("'mem.swp' = { swappiness = 1 }", &["\"knobs.mem.swp\"", "did you mean \"mem.swap\"?"]);
    check("'mem.swap' = { swapiness = 1 }", &["swapiness", "did you mean \"swappiness\"?"]);
    check("'mem.swap' = { swappiness = 'ten' }", &["mem.swap.swappiness", "integer", "a string"]);
    check("'mem.swap' = 10", &["mem.swap", "must be a table"]);
    check("'mem.swap' = { swappiness = 201 }", &["swappiness = 201", "0 to 200"]);
    check("'mem.swap' = { swappiness = -1 }", &["-1", "0 to 200"]);
    check("'iso.hung' = { timeout_secs = '10 min' }", &["timeout_secs", "integer"]); // the unit is in the name
    check("'mem.thp' = { enabled = 'Never' }", &["\"Never\"", "did you mean \"never\"?"]);
    check("'mem.dirty' = { ratio = 10, bytes = 8192 }", &["ratio and bytes", "keep one"]);
    check("'mem.dirty' = { bytes = 4096 }", &["4096", "8192"]);
    check("'cpu.qos' = { latency_us = 20 }", &["cpus is missing", "isolated"]);
    check("'irq.default' = { cpus = '0-3' }", &["CPU 2-3 do not exist", "CPUs 0-1"]);
    check("'irq.default' = { cpus = '3-0' }", &["3-0", "backwards"]);
    check("'mem.huge' = { 2M = { node7 = 1 } }", &["node7 does not exist", "node0"]);
    check("'mem.huge' = { 3M = { node0 = 1 } }", &["3M"]);
    check("'iso.rtthrottle' = { runtime_us = 2000000 }", &["2000000", "period of 1000000"]);
    check("'mem.swap' = { swappiness = 1 1 }", &[","]); // broken TOML
}

#[test]
fn a_profile_that_cannot_be_had() {
    let tuned = Tuned::small();
    let check = |profile: &str, words: &[&str]| {
        tuned.run(["plan", "--profile", profile]).exits(Exit::Usage).says_one_line(words);
    };
    check("balancd", &["\"balancd\"", "did you mean \"balanced\"?"]);
    check("night-shift", &["\"night-shift\"", "observe, balanced, colo"]);
    check("./nothing.toml", &["nothing.toml", "No such file"]);
    check("/", &["cannot read"]);
    let binary = tuned.quell.folder().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    check(binary.to_str().unwrap(), &["binary.toml", "UTF-8"]);
    check(&tuned.quell.file("empty.toml", "").display().to_string(), &["empty.toml:1", "schema"]);
}

#[test]
fn includes_that_lead_nowhere() {
    let tuned = Tuned::small();
    tuned.toml("a.toml", "include = ['b.toml']");
    let b = tuned.toml("b.toml", "include = ['a.toml']");
    let circle = tuned.run(["plan", "--profile", &b]).exits(Exit::Usage);
    circle.says_one_line(&["a.toml:2", "\"b.toml\"", "it includes this file in turn"]);
    refused(&tuned, "include = ['none.toml']", Exit::Usage, &["none.toml", "No such file"]);
    refused(&tuned, "include = ['balancd']", Exit::Usage, &["p.toml:2", "did you mean \"balanced\"?"]);
}

#[test]
fn every_mistake_is_told_at_once() {
    let tuned = Tuned::small();
    let profile = tuned.profile("'mem.swp' = {}\n'iso.hung' = { timeout_secs = -5 }");
    let output = tuned.run(["apply", "--profile", &profile]).exits(Exit::Usage);
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(lines[0].contains("profile.toml:3:") && lines[1].contains("profile.toml:4:"), "{output}");
}

#[test]
fn what_would_hurt_the_host_is_refused_with_the_reason() {
    let check = |tuned: &Tuned, text: &str, flags: &[&str], words: &[&str]| {
        let before = tuned.host.snapshot();
        let profile = tuned.toml("p.toml", text);
        let words_of = ["apply", "--profile", &profile].into_iter().chain(flags.iter().copied());
        tuned.run(words_of).exits(Exit::Refused).says_one_line(words);
        assert!(tuned.host.snapshot() == before && !tuned.state().exists(), "{text}");
    };
    let small = Tuned::small();
    let huge = "[knobs]\n'mem.huge' = { 2M = { node0 = 100000 } }";
    let arithmetic = ["200000 MiB more", "MiB are free", "stay free", "at most", "p.toml:3"];
    check(&small, huge, &[], &arithmetic);
    check(&small, huge, &["--accept-dangers"], &arithmetic); // no flag gives away the last memory
    for (name, all) in [(HOSTS[0], "0-1"), (HOSTS[1], "0-3")] {
        let tuned = Tuned::new(name);
        let text = format!("[cpus]\nisolated = '{all}'");
        let knob = "\n[knobs]\n'mem.swap' = { swappiness = 10 }";
        check(&tuned, &(text.clone() + knob), &[], &["no housekeeping CPU", all]);
        check(&tuned, &(text + knob), &["--accept-dangers"], &["no housekeeping CPU"]);
        let first = format!("[cpus]\nisolated = '0'{knob}");
        check(&tuned, &first, &[], &["CPU 0 is isolated"]);
        let profile = tuned.toml("p.toml", &first);
        tuned.run(["apply", "--accept-dangers", "--profile", &profile]).succeeds();
    }
    let asserted = "[assert]\nisolated.min = 2\n[knobs]\n'mem.swap' = { swappiness = 10 }";
    let counted = ["p.toml:3", "isolated.min = 2", "no CPU is isolated"];
    check(&small, asserted, &[], &counted);
    check(&small, asserted, &["--accept-dangers"], &counted); // the profile itself says so
    refused(&small, "[cpus]\nisolated = '1,9'", Exit::Usage, &["p.toml:3", "CPU 9 does not exist"]);
}

#[test]
fn a_root_needs_a_journal_of_its_own() {
    let tuned = Tuned::small();
    let root = tuned.host.path().display().to_string();
    let tune = |words: &[&str]| Quell::new().args(["tune"]).args(words.iter().copied()).run();
    tune(&["plan", "--profile", "balanced", "--root", &root])
        .exits(Exit::Usage)
        .says_one_line(&["--state-dir"]);
    let nowhere = tune(&["drift", "--root", "/nowhere", "--state-dir", "/nowhere/s"]).exits(Exit::Usage);
    nowhere.says_one_line(&["/nowhere", "no such directory", "--root"]);
}

/// Spoils the state directory after one apply; the next apply and roll-back say so and write nothing.
#[track_caller]
fn spoiled(spoil: impl FnOnce(&Tuned, &Path), words: &[&str]) {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    spoil(&tuned, &tuned.state());
    tuned.swappiness(20).exits(Exit::Integrity).says_one_line(words);
    tuned.run(["rollback"]).exits(Exit::Integrity).says_one_line(words);
    tuned.run(["drift"]).exits(Exit::Integrity).says_one_line(words);
    tuned.run(["history"]).exits(Exit::Integrity).says_one_line(words);
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n");
}

#[test]
fn a_state_directory_that_cannot_be_trusted() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |mode| {
        move |_: &Tuned, state: &Path| fs::set_permissions(state, fs::Permissions::from_mode(mode)).unwrap()
    };
    spoiled(mode(0o777), &["state: is open to others", "0700"]);
    spoiled(mode(0o750), &["state: is open to others", "0700"]);
    let link = |tuned: &Tuned, state: &Path| {
        let elsewhere = tuned.quell.folder().join("elsewhere");
        fs::rename(state, &elsewhere).unwrap();
        symlink(&elsewhere, state).unwrap();
    };
    spoiled(link, &["state: is a symbolic link"]);
    let file = |tuned: &Tuned, state: &Path| {
        fs::rename(state.join("journal"), tuned.quell.folder().join("journal")).unwrap();
        symlink(tuned.quell.folder().join("journal"), state.join("journal")).unwrap();
    };
    spoiled(file, &["journal: is a symbolic link"]);
    if require_root() {
        let stranger = |_: &Tuned, state: &Path| std::os::unix::fs::chown(state, Some(65534), None).unwrap();
        spoiled(stranger, &["state: does not belong to this user"]);
    }
}

#[test]
fn a_journal_that_cannot_be_trusted() {
    let middle = |_: &Tuned, state: &Path| {
        let mut bytes = fs::read(state.join("journal")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(state.join("journal"), bytes).unwrap();
    };
    spoiled(middle, &["journal: damaged at byte", "rollback --force"]);
    let machine =
        |tuned: &Tuned, _: &Path| tuned.host.write("/etc/machine-id", &format!("{}\n", "f".repeat(32)));
    spoiled(machine, &["journal: it is the journal of machine", "move it away"]);
    let later = |_: &Tuned, state: &Path| {
        let text = fs::read_to_string(state.join("journal")).unwrap();
        fs::write(state.join("journal"), text.replace("q1 ", "q2 ")).unwrap();
    };
    spoiled(later, &["journal: written by a later quell", "q2"]);
}

#[test]
fn force_restores_from_what_is_intact_and_says_so() {
    let tuned = Tuned::small();
    let before = tuned.host.snapshot();
    tuned.swappiness(10).succeeds();
    let journal = tuned.state().join("journal");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replace("\"kind\":\"end\"", "\"kind\":\"xxx\"") + "x\n").unwrap();
    let forced = tuned.run(["rollback", "--to", "baseline", "--force", "--json"]).succeeds();
    let json = forced.json("quell.rollback/1");
    assert_eq!((&json["result"], &json["writes"]), (&"restored".into(), &1.into()), "{forced}");
    forced.says_one_line(&["not in the journal", "damaged at byte"]);
    assert!(tuned.host.snapshot() == before);
}

#[test]
fn what_another_boot_left_is_void() {
    let tuned = Tuned::small();
    tuned.swappiness(10).succeeds();
    tuned.host.write("/proc/sys/kernel/random/boot_id", "99999999-735c-4f0b-8721-54d9cd01e8e9\n");
    let back = tuned.run(["rollback", "--to", "baseline", "--json"]).succeeds().json("quell.rollback/1");
    assert_eq!((&back["writes"], &back["result"]), (&0.into(), &"unchanged".into()));
    assert_eq!(tuned.host.read(SWAPPINESS), "10\n", "whoever set it in this boot, it was not us");
    let history = tuned.run(["history", "--json"]).succeeds().json("quell.history/1");
    let of_this_boot = history["transactions"].as_array().unwrap().iter().map(|one| one["this_boot"] == true);
    let [released, apply] = of_this_boot.collect::<Vec<_>>()[..] else { panic!("{history:#}") };
    assert!(released && !apply, "the host is held to nothing from now on: {history:#}");
    tuned.run(["drift"]).succeeds();
}
