//! kill -9 at every system call of every changing command, then a fresh process rolls back: every byte of the machine is as
//! it was. The same harness must catch an engine that journals too late.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::helper;
use crate::killer::{self, Fate};
use crate::tree::{Machine, PROFILE};

/// What a run of the enumeration came to.
#[derive(Debug, Default)]
struct Tally {
    points: u64,
    killed: u64,
    wrong: u64,
    first_wrong: Option<String>,
}

/// Kills `victim` at points 1, 1 + `stride`, … on a machine brought to its start by `before`; after each, a fresh process
/// rolls back and the machine is compared with what it was before anything.
fn enumerate(before: &[&str], victim: &str, stride: u64) -> Tally {
    let mut tally = Tally { points: count(before, victim), ..Tally::default() };
    for point in (1..=tally.points).step_by(usize::try_from(stride).unwrap()) {
        let (machine, profile, original) = prepared(before);
        let mut command = helper::command(&machine.root(), &machine.state(), victim, &profile);
        // The order of two threads' calls may differ between runs, so that the last points may lie behind the end.
        if killer::run(&mut command, point) != Fate::Killed {
            continue;
        }
        tally.killed += 1;
        let code = helper::run(&machine.root(), &machine.state(), "rollback", &profile);
        let wrong = differences(&machine.snapshot(), &original);
        if code != 0 || !wrong.is_empty() {
            tally.wrong += 1;
            let example = || format!("point {point}: the roll-back answered {code}, differs {wrong:?}");
            tally.first_wrong.get_or_insert_with(example);
        }
    }
    tally
}

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The files that are not the same, with both contents.
fn differences(now: &Files, before: &Files) -> Vec<String> {
    let paths: BTreeSet<&PathBuf> = now.keys().chain(before.keys()).collect();
    let text = |files: &Files, path| files.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let differs = paths.into_iter().filter(|path| now.get(*path) != before.get(*path));
    differs
        .map(|path| format!("{}: {:?}, was {:?}", path.display(), text(now, path), text(before, path)))
        .collect()
}

fn prepared(before: &[&str]) -> (Machine, PathBuf, Files) {
    let machine = Machine::new();
    let original = machine.snapshot();
    let profile = machine.profile(PROFILE);
    for verb in before {
        assert_eq!(helper::run(&machine.root(), &machine.state(), verb, &profile), 0, "{verb}");
    }
    (machine, profile, original)
}

fn count(before: &[&str], victim: &str) -> u64 {
    let (machine, profile, _) = prepared(before);
    match killer::run(&mut helper::command(&machine.root(), &machine.state(), victim, &profile), 0) {
        Fate::Exited(_, points) => points,
        Fate::Killed => unreachable!("nobody killed it"),
    }
}

/// Every point with QUELL_FULL, every n-th otherwise.
fn stride(otherwise: u64) -> u64 {
    if std::env::var_os("QUELL_FULL").is_some() { 1 } else { otherwise }
}

#[track_caller]
fn check(before: &[&str], victim: &str, otherwise: u64) {
    let tally = enumerate(before, victim, stride(otherwise));
    println!(
        "{victim} after {before:?}: {} points, {} killed, {} wrong",
        tally.points, tally.killed, tally.wrong
    );
    assert!(tally.killed * stride(otherwise) * 10 >= tally.points * 9, "{tally:?}: too few were killed");
    assert_eq!(tally.wrong, 0, "{tally:?}");
}

#[test]
fn apply_is_killed_at_every_call() {
    check(&[], "apply", 7);
}

#[test]
fn rollback_is_killed_at_every_call() {
    check(&["apply"], "rollback", 7);
}

#[test]
fn the_harness_catches_an_engine_that_journals_too_late() {
    let tally = enumerate(&[], "apply-mutant", 29);
    println!("seeded bug: {} points, {} killed, {} wrong", tally.points, tally.killed, tally.wrong);
    assert!(tally.wrong > 0, "{tally:?}: the harness finds nothing");
}
