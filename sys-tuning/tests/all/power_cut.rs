//! The power goes at every operation on the disk under the state directory, in several ways; then a fresh engine takes the
//! host back, or goes on, as if nothing had been.
//!
//! Two things are asked of what is left. While the machine runs on (the disk alone lost what it had not written) a roll-back
//! restores every byte, so no kernel file was written before its original was durable. After a reboot the host is held to
//! one of the two wishes, whole. The same harness must catch a disk that only says that it has synced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use host::Root;
use sys_tuning::{ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo, Standing};

use crate::disk::{Cut, Disk, Moment, lay_out};
use crate::model::mount::{Served, may_mount};
use crate::tree::{FIRST, Machine, PROFILE};

type World = BTreeMap<PathBuf, Vec<u8>>;

const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };
const LAST: RollbackOptions = RollbackOptions { to: RollbackTo::Last, force: false, at: 0 };

/// Small enough for a journal of two transactions to be rewritten.
const FOLDING_BYTES: u64 = 6 << 10;

/// What is done to the machine.
#[derive(Debug, Clone, Copy)]
enum Verb {
    ApplyFirst,
    Apply,
    ApplyAtomic,
    Fold,
    StepBack,
    RollBack,
}

fn act(engine: &Engine, verb: Verb) {
    let apply = |engine: &Engine, text: &str, atomic| {
        let plan = engine.plan(&Profile::parse("cut.toml", text).unwrap()).unwrap();
        engine.apply(&plan, &ApplyOptions { atomic, ..ApplyOptions::PLAIN }).unwrap();
    };
    match verb {
        Verb::ApplyFirst => apply(engine, FIRST, false),
        Verb::Apply => apply(engine, PROFILE, false),
        Verb::ApplyAtomic => apply(engine, PROFILE, true),
        Verb::Fold => apply(&engine.clone().with_journal_bytes_max(FOLDING_BYTES), PROFILE, false),
        Verb::StepBack => drop(engine.rollback(&LAST).unwrap()),
        Verb::RollBack => drop(engine.rollback(&BASELINE).unwrap()),
    }
}

/// A machine whose state directory lies on the disk.
struct Bench {
    machine: Arc<Machine>,
    original: World,
    disk: Disk<World>,
    _served: Served,
}

impl Bench {
    fn new() -> Self {
        let machine = Arc::new(Machine::new());
        machine.put(BOOT_ID, "00000000-0000-4000-8000-000000000001\n");
        machine.put("/proc/sys/kernel/hostname", "host\n");
        let original = machine.snapshot();
        let seen = machine.clone();
        let disk = Disk::new(move || seen.snapshot());
        std::fs::create_dir(machine.state()).unwrap();
        let served = Served::at(&machine.state(), disk.clone());
        Self { machine, original, disk, _served: served }
    }

    fn engine(&self) -> Engine {
        self.machine.engine()
    }

    fn standing(&self) -> String {
        told(&self.engine())
    }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

fn told(engine: &Engine) -> String {
    match engine.standing() {
        Ok(Standing::Profile(held)) => held.profile.to_toml(),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("error: {error}"),
    }
}

#[derive(Debug, Default)]
struct Tally {
    moments: usize,
    cuts: usize,
    wrong: Vec<String>,
}

/// Cuts the power at every operation of `victim`, after `before` was done in peace.
fn enumerate(before: &[Verb], victim: Verb, forgets_to_sync: bool, tally: &mut Tally) {
    let bench = Bench::new();
    before.iter().for_each(|verb| act(&bench.engine(), *verb));
    let former = bench.standing();
    bench.disk.take_moments();
    if forgets_to_sync {
        bench.disk.forget_to_sync();
    }
    act(&bench.engine(), victim);
    let next = bench.standing();
    let moments = bench.disk.take_moments();
    tally.moments += moments.len();
    for (number, moment) in moments.iter().enumerate() {
        for cut in cuts(number, moment) {
            tally.cuts += 1;
            for problem in recover(&bench.original, moment, cut, &[&former, &next]) {
                tally.wrong.push(format!("{before:?} {victim:?}, operation {number}, {cut:?}: {problem}"));
            }
        }
    }
}

/// The ways in which the power may go; where everything is durable they are all the same.
fn cuts(number: usize, moment: &Moment<World>) -> Vec<Cut> {
    if moment.pending() == 0 {
        return vec![Cut::Nothing];
    }
    let seeds = if std::env::var_os("QUELL_FULL").is_some() { 40 } else { 3 };
    let seeds = (0..seeds).map(|seed| number as u64 * 1000 + seed);
    let random = seeds.flat_map(|seed| [Cut::Some(seed), Cut::Torn(seed)]);
    [Cut::Nothing, Cut::Everything, Cut::Holes].into_iter().chain(random).collect()
}

/// A machine as it was at a moment, with what a cut left of its state directory.
struct Left {
    dir: tempfile::TempDir,
}

impl Left {
    fn new(world: &World, files: &BTreeMap<String, Vec<u8>>, from: &Path) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for (path, bytes) in world {
            let place = dir.path().join("root").join(path.strip_prefix(from).unwrap());
            if bytes.is_empty() && path.is_dir() {
                std::fs::create_dir_all(&place).unwrap();
            } else {
                std::fs::create_dir_all(place.parent().unwrap()).unwrap();
                std::io::Write::write_all(&mut std::fs::File::create(&place).unwrap(), bytes).unwrap();
            }
        }
        lay_out(files, &dir.path().join("state"));
        Self { dir }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(Root::at(&self.dir.path().join("root"))), &self.dir.path().join("state"))
    }

    /// What differs from `original`, which was taken below `from`.
    fn differences(&self, original: &World, from: &Path) -> Vec<String> {
        let at = |path: &PathBuf| self.dir.path().join("root").join(path.strip_prefix(from).unwrap());
        let differs = |(path, bytes): &(&PathBuf, &Vec<u8>)| {
            let place = at(path);
            !place.is_dir() && std::fs::read(place).ok().as_ref() != Some(*bytes)
        };
        original.iter().filter(differs).map(|(path, _)| path.display().to_string()).collect()
    }
}

/// What is wrong with the machine after a cut.
fn recover(original: &World, moment: &Moment<World>, cut: Cut, wishes: &[&String; 2]) -> Vec<String> {
    let files = moment.files(cut);
    let from = original.keys().next().unwrap().parent().unwrap();
    let mut problems = Vec::new();
    let mut say = |what: &str, found: String| problems.push(format!("{what}: {found}"));

    // Back: every byte, by a process that knows nothing but what is left.
    let left = Left::new(&moment.world, &files, from);
    match left.engine().rollback(&BASELINE) {
        Err(error) => say("roll-back", error.to_string()),
        Ok(_) => {
            let lost = left.differences(original, from);
            if !lost.is_empty() {
                say("roll-back", format!("lost {lost:?}"));
            }
        }
    }

    // On: the same wish again, and then back.
    let left = Left::new(&moment.world, &files, from);
    let engine = left.engine();
    let plan = engine.plan(&Profile::parse("cut.toml", PROFILE).unwrap()).unwrap();
    match engine.apply(&plan, &ApplyOptions::PLAIN) {
        Ok(applied) if applied.result == Outcome::Done => {
            let back = engine.rollback(&BASELINE).map(|back| back.result);
            let lost = left.differences(original, from);
            if !lost.is_empty() || !matches!(back, Ok(Outcome::Done)) {
                say("applied again, then back", format!("{back:?}, lost {lost:?}"));
            }
        }
        other => say("applied again", format!("{other:?}")),
    }

    // After a reboot: the kernel has its originals, and the host is held to one of the two wishes.
    let mut rebooted = original.clone();
    let boot_id = rebooted.keys().find(|path| path.ends_with(&BOOT_ID[1..])).unwrap().clone();
    rebooted.insert(boot_id, b"00000000-0000-4000-8000-000000000002\n".to_vec());
    let left = Left::new(&rebooted, &files, from);
    let standing = told(&left.engine());
    if !wishes.contains(&&standing) {
        say("after a reboot it stands", standing);
    }
    problems
}

#[test]
fn the_power_goes_at_every_operation_on_the_disk() {
    if !may_mount("the_power_goes_at_every_operation_on_the_disk") {
        return;
    }
    let mut tally = Tally::default();
    for (before, victim) in [
        (&[][..], Verb::Apply),
        (&[Verb::ApplyFirst], Verb::Apply),
        (&[Verb::ApplyFirst], Verb::ApplyAtomic),
        (&[Verb::ApplyFirst, Verb::Apply, Verb::StepBack], Verb::Fold),
        (&[Verb::ApplyFirst, Verb::Apply], Verb::StepBack),
        (&[Verb::Apply], Verb::RollBack),
        (&[Verb::ApplyFirst, Verb::Apply], Verb::RollBack),
    ] {
        enumerate(before, victim, false, &mut tally);
    }
    let Tally { moments, cuts, wrong } = tally;
    println!("{moments} moments at which the power may go, {cuts} cuts: {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n"));
    assert!(moments >= 50 && cuts >= 200, "too little was cut");
}

#[test]
fn a_sync_that_is_forgotten_is_noticed() {
    if !may_mount("a_sync_that_is_forgotten_is_noticed") {
        return;
    }
    let mut tally = Tally::default();
    enumerate(&[], Verb::Apply, true, &mut tally);
    println!("seeded bug: {} cuts, {} wrong", tally.cuts, tally.wrong.len());
    assert!(!tally.wrong.is_empty(), "the harness finds nothing");
}
