//! kill -9 at every system call of every changing command, then a fresh process rolls back: every byte of the machine is as
//! it was. The same harness must catch an engine that journals too late.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::killer::{self, Fate};
use crate::model::lies::{Kind, Lie};
use crate::model::mount::{Modelled, may_mount};
use crate::model::wishes;
use crate::tree::{Machine, PROFILE};
use crate::{model, process};
use sys_tuning::Standing;

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
    let (points, [former, next]) = rehearse(before, victim);
    let mut tally = Tally { points, ..Tally::default() };
    for point in (1..=tally.points).step_by(usize::try_from(stride).unwrap()) {
        let (machine, profile, original) = prepared(before);
        let mut command = process::command(&machine.root(), &machine.state(), victim, &profile);
        // The order of two threads' calls may differ between runs, so that the last points may lie behind the end.
        if killer::run(&mut command, point) != Fate::Killed {
            continue;
        }
        tally.killed += 1;
        let stands = standing(&machine);
        let code = process::run(&machine.root(), &machine.state(), "rollback", &profile);
        let wrong = differences(&machine.snapshot(), &original);
        let is_whole = stands == former || stands == next;
        if code != 0 || !wrong.is_empty() || !is_whole || !is_free(&machine) {
            tally.wrong += 1;
            let example =
                || format!("point {point}: the roll-back answered {code}, differs {wrong:?}, {stands}");
            tally.first_wrong.get_or_insert_with(example);
        }
    }
    tally
}

/// What the machine is to be held to, whole.
fn standing(machine: &Machine) -> String {
    match machine.engine().standing() {
        Ok(Standing::Profile(held)) => held.profile.to_toml(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("error: {error}"),
    }
}

/// Whether nothing is to be held any more.
fn is_free(machine: &Machine) -> bool {
    matches!(machine.engine().standing(), Ok(Standing::Released | Standing::NeverAsked))
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
        assert_eq!(process::run(&machine.root(), &machine.state(), verb, &profile), 0, "{verb}");
    }
    (machine, profile, original)
}

fn count(before: &[&str], victim: &str) -> u64 {
    rehearse(before, victim).0
}

/// How many points `victim` has, and what stands before and after it when nobody kills it.
fn rehearse(before: &[&str], victim: &str) -> (u64, [String; 2]) {
    let (machine, profile, _) = prepared(before);
    let former = standing(&machine);
    match killer::run(&mut process::command(&machine.root(), &machine.state(), victim, &profile), 0) {
        Fate::Exited(_, points) => (points, [former, standing(&machine)]),
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
fn a_change_of_profiles_is_killed_at_every_call() {
    check(&["apply-first"], "apply", 19);
}

#[test]
fn an_atomic_apply_is_killed_at_every_call() {
    check(&["apply-first"], "apply-atomic", 19);
}

/// One write of an apply of all or nothing is refused, so that it takes back what it wrote before; killed anywhere in that.
#[test]
fn an_atomic_apply_that_fails_is_killed_while_it_takes_itself_back() {
    if !may_mount("an_atomic_apply_that_fails_is_killed") {
        return;
    }
    let base = model::modelled(model::CAPTURED[0]);
    let machine = Modelled::new(base.clone());
    let profile = machine.root().with_extension("toml");
    let text = "schema = \"quell.profile/1\"\n[knobs]\n'iso.hung' = { timeout_secs = 601 }\n\
                'iso.vmstat' = { stat_interval = 9 }\n'mem.swap' = { swappiness = 11 }\n";
    crate::tree::write(&profile, text);
    let wanted = sys_tuning::Profile::parse("p", text).unwrap();
    let plan = machine.engine("unused").plan(&wanted).unwrap();
    let last = plan.changes.last().and_then(|change| wishes::written(change).into_iter().next()).unwrap();
    let refusing = Lie::new(&last, Kind::Refused(nix::libc::EIO));
    let begin = |state: &str| {
        *machine.kernel() = base.clone();
        machine.kernel().lies = vec![refusing.clone()];
        process::command(&machine.root(), &machine.state(state), "live-apply-atomic", &profile)
    };
    let Fate::Exited(7, points) = killer::run(&mut begin("rehearsal"), 0) else { panic!("it does not fail") };
    let written = machine.kernel().writes;
    assert!(written > 2, "{written} writes: nothing was taken back");
    let lost = || model::differences(&machine.kernel().settings(), &base.settings());
    assert!(lost().is_empty(), "{:?}", lost());
    let (mut killed, mut halfway, mut wrong) = (0, 0, Vec::new());
    for point in (1..=points).step_by(usize::try_from(stride(23)).unwrap()) {
        let state = format!("state{point}");
        if killer::run(&mut begin(&state), point) != Fate::Killed {
            continue;
        }
        killed += 1;
        halfway += u32::from(!lost().is_empty());
        let code = process::run(&machine.root(), &machine.state(&state), "live-rollback", &profile);
        if code != 0 || !lost().is_empty() {
            wrong.push(format!("point {point}: the roll-back answered {code}, lost {:?}", lost()));
        }
    }
    println!(
        "a failing atomic apply: {points} points, {killed} killed, {halfway} of them halfway, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty() && killed > 0, "{wrong:#?}");
}

#[test]
fn a_switch_of_sessions_is_killed_at_every_call() {
    check(&["apply-day"], "switch", 19);
}

#[test]
fn after_a_kill_the_session_that_is_on_is_brought_about() {
    let points = count(&["apply-day"], "switch");
    let night = |machine: &Machine| {
        let value = machine.get("/proc/sys/vm/swappiness");
        let Ok(Standing::Profile(held)) = machine.engine().standing() else { panic!("nothing stands") };
        (value, held.sessions)
    };
    let mut runs = 0;
    for point in (1..=points).step_by(usize::try_from(stride(41)).unwrap()) {
        let (machine, profile, original) = prepared(&["apply-day"]);
        let (root, state) = (machine.root(), machine.state());
        let before = machine.snapshot();
        killer::run(&mut process::command(&root, &state, "switch", &profile), point);
        // As above: a plain file that was killed while it was empty is nobody's to write.
        let now = machine.snapshot();
        let torn = before.iter().any(|(path, bytes)| !bytes.is_empty() && now[path].is_empty());
        let switched = process::run(&root, &state, "switch", &profile);
        let drift = machine.engine().drift().unwrap();
        let settled = drift.drifted.is_empty() && drift.interrupted.is_none();
        let is_night = night(&machine) == ("60\n".to_owned(), vec!["night".to_owned()]);
        let back = process::run(&root, &state, "rollback", &profile);
        let is_done = if torn { switched == 7 } else { switched == 0 && settled && is_night };
        assert!(
            is_done && back == 0 && machine.snapshot() == original,
            "point {point}: {switched}, {back}, {drift:#?}"
        );
        runs += 1;
    }
    println!("switch killed, switched again, rolled back: {runs} runs, 0 wrong");
}

#[test]
fn one_step_back_is_killed_at_every_call() {
    check(&["apply-first", "apply"], "rollback-last", 19);
}

#[test]
fn the_rewriting_of_the_journal_is_killed_at_every_call() {
    check(&["apply-first", "apply", "rollback-last"], "folding-apply", 13);
    check(&["apply-first", "apply"], "folding-rollback", 13);
    check(&["apply-first", "apply-day"], "folding-switch", 13);
}

#[test]
fn the_roll_back_after_a_kill_is_killed_too() {
    let (applies, rollbacks) = (count(&[], "apply"), count(&["apply"], "rollback"));
    let step = usize::try_from(stride(97)).unwrap();
    let (mut pairs, mut wrong) = (0, 0);
    // Every combination would be millions; this goes through both at once, each several times.
    for (index, first) in (1..=applies).step_by(step).enumerate() {
        let (machine, profile, original) = prepared(&[]);
        let (root, state) = (machine.root(), machine.state());
        killer::run(&mut process::command(&root, &state, "apply", &profile), first);
        for nested in 0..3 {
            let second = 1 + (index as u64 * 131 + nested * 389) % rollbacks;
            killer::run(&mut process::command(&root, &state, "rollback", &profile), second);
        }
        let code = process::run(&root, &state, "rollback", &profile);
        pairs += 1;
        wrong += u32::from(code != 0 || machine.snapshot() != original);
    }
    println!("apply killed, then its roll-back three times: {pairs} runs, {wrong} wrong");
    assert_eq!(wrong, 0);
}

#[test]
fn after_a_kill_one_can_as_well_apply_again() {
    let points = count(&[], "apply");
    let mut runs = 0;
    for point in (1..=points).step_by(usize::try_from(stride(41)).unwrap()) {
        let (machine, profile, original) = prepared(&[]);
        let (root, state) = (machine.root(), machine.state());
        killer::run(&mut process::command(&root, &state, "apply", &profile), point);
        // Killed between truncating a plain file and writing it, which a kernel attribute cannot be: nobody knows what it
        // held, so applying again leaves it alone and says so. Going back works all the same.
        let now = machine.snapshot();
        let torn = original.iter().any(|(path, bytes)| !bytes.is_empty() && now[path].is_empty());
        let applied = process::run(&root, &state, "apply", &profile);
        let drift = machine.engine().drift().unwrap();
        let settled = drift.drifted.is_empty() && drift.interrupted.is_none();
        let back = process::run(&root, &state, "rollback", &profile);
        let is_done = if torn { applied == 7 } else { applied == 0 && settled };
        let is_fine = is_done && back == 0 && machine.snapshot() == original;
        assert!(is_fine, "point {point}: {applied}, {back}, {drift:#?}");
        runs += 1;
    }
    println!("apply killed, applied again, rolled back: {runs} runs, 0 wrong");
}

/// What a rival does to a machine that was tuned: of most forms of cells one.
fn spoil(machine: &Machine) {
    for (path, text) in [
        ("/proc/sys/vm/swappiness", "42\n"),
        ("/proc/sys/kernel/hung_task_timeout_secs", "7\n"),
        ("/proc/sys/vm/dirty_bytes", "8192000\n"),
        ("/proc/irq/default_smp_affinity", "2\n"),
        ("/proc/irq/41/smp_affinity_list", "1\n"),
        ("/sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us", "500\n"),
    ] {
        machine.put(path, text);
    }
}

#[test]
fn a_repair_is_killed_at_every_call() {
    let spoiled = || {
        let (machine, profile, original) = prepared(&["apply"]);
        let tuned = machine.snapshot();
        spoil(&machine);
        (machine, profile, original, tuned)
    };
    let (machine, profile, _, tuned) = spoiled();
    let mut repair = process::command(&machine.root(), &machine.state(), "repair", &profile);
    let Fate::Exited(0, points) = killer::run(&mut repair, 0) else { panic!("a repair fails") };
    assert!(machine.snapshot() == tuned, "a repair brings back what was applied");
    let (mut killed, mut wrong) = (0, Vec::new());
    for point in (1..=points).step_by(usize::try_from(stride(5)).unwrap()) {
        let (machine, profile, original, tuned) = spoiled();
        let (root, state) = (machine.root(), machine.state());
        if killer::run(&mut process::command(&root, &state, "repair", &profile), point) != Fate::Killed {
            continue;
        }
        killed += 1;
        let repaired = process::run(&root, &state, "repair", &profile);
        let is_tuned = machine.snapshot() == tuned;
        let back = process::run(&root, &state, "rollback", &profile);
        let lost = differences(&machine.snapshot(), &original);
        if repaired != 0 || !is_tuned || back != 0 || !lost.is_empty() {
            wrong.push(format!("point {point}: {repaired}, {is_tuned}, then {back}, lost {lost:?}"));
        }
    }
    println!("repair: {points} points, {killed} killed, {} wrong", wrong.len());
    assert!(wrong.is_empty() && killed > 0, "{wrong:#?}");
}

#[test]
fn the_harness_catches_an_engine_that_journals_too_late() {
    let tally = enumerate(&[], "apply-mutant", 29);
    println!("seeded bug: {} points, {} killed, {} wrong", tally.points, tally.killed, tally.wrong);
    assert!(tally.wrong > 0, "{tally:?}: the harness finds nothing");
}
