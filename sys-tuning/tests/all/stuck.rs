//! Writes that do not come back: told with what is in their way, nothing else delayed, and what they come to in the end is
//! known, held and undone like any other value.

use std::os::unix::process::ExitStatusExt;

use sys_tuning::{
    Applied, ApplyOptions, Engine, Error, Look, Outcome, Profile, RollbackOptions, RollbackTo, RolledBack,
    Status,
};
use units::Nanos;

use crate::model::lies::{Kind, Lie};
use crate::model::mount::{Modelled, may_mount};
use crate::model::{self, Kernel};
use crate::process;

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const HUNG: &str = "/proc/sys/kernel/hung_task_timeout_secs";
const PROFILE: &str = "schema = \"quell.profile/1\"\n[knobs]\n'iso.hung' = { timeout_secs = 601 }\n\
                       'mem.thp' = { enabled = 'never' }\n'mem.swap' = { swappiness = 11 }\n";
const ATOMIC: ApplyOptions = ApplyOptions { atomic: true, ..ApplyOptions::PLAIN };
const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };

/// Twelve times what the product allows a write: those that nothing is in the way of must come back on a starved machine
/// too, and the one that is held is waited for as long.
const DEADLINE: Nanos = Nanos::from_secs(3);

/// A modelled machine whose huge-page selector does not come back from a write.
struct Bench {
    machine: Modelled,
    base: Kernel,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        if !may_mount(test) {
            return None;
        }
        let mut base = model::modelled("qemu-4cpu-2node-6.12");
        base.put(THP, "always [madvise] never\n");
        let machine = Modelled::new(base.clone());
        machine.hold(THP);
        Some(Self { machine, base })
    }

    fn engine(&self) -> Engine {
        self.machine.engine("state").with_write_deadline(DEADLINE)
    }

    fn apply(&self, options: &ApplyOptions) -> Applied {
        let engine = self.engine();
        engine.apply(&engine.plan(&profile()).unwrap(), options).unwrap()
    }

    /// Goes back as soon as the stuck write has let go of the lock.
    fn back(&self) -> RolledBack {
        loop {
            match self.engine().rollback(&BASELINE) {
                Err(Error::Busy { .. }) => {}
                other => return other.unwrap(),
            }
        }
    }

    /// The status of a knob as `quell tune drift` tells it, once it is not `blocked` any more; ok where it tells nothing.
    fn drift_when_over(&self, knob: &str) -> Status {
        loop {
            let drift = self.engine().drift().unwrap();
            let row = drift.drifted.iter().find(|row| row.knob == knob);
            match row.map_or(Status::Ok, |row| row.status) {
                Status::Blocked => {}
                status => return status,
            }
        }
    }

    fn text(&self, path: &str) -> String {
        self.machine.kernel().text(path).to_owned()
    }

    fn assert_as_before(&self) {
        let differs = model::differences(&self.machine.kernel().settings(), &self.base.settings());
        assert!(differs.is_empty(), "{differs:#?}");
    }
}

fn profile() -> Profile {
    Profile::parse("stuck", PROFILE).unwrap()
}

fn status(applied: &Applied, knob: &str) -> Status {
    applied.changes.iter().find(|row| row.knob == knob).unwrap().status
}

#[test]
fn a_stuck_write_delays_nothing_and_its_late_value_is_held_and_undone() {
    let Some(bench) = Bench::new("a_stuck_write_delays_nothing") else { return };
    let applied = bench.apply(&ApplyOptions::PLAIN);
    assert_eq!(applied.result, Outcome::Partly);
    let stuck: Vec<_> = applied.changes.iter().filter(|row| row.status != Status::Ok).collect();
    let [thp] = stuck.as_slice() else { panic!("{applied:#?}") };
    assert_eq!((thp.knob, thp.status, thp.now.as_ref()), ("mem.thp", Status::Blocked, None));
    let expected =
        "the write is still in the kernel after 3.00 s; no real-time thread kept a CPU to itself meanwhile";
    assert_eq!(thp.reason, expected);
    assert_eq!(
        (bench.text(SWAPPINESS), bench.text(HUNG)),
        ("11".into(), "601".into()),
        "the others are done"
    );

    // As long as it is in the kernel nobody writes behind it, and who looks is told.
    let engine = bench.engine();
    assert!(matches!(
        engine.apply(&engine.plan(&profile()).unwrap(), &ApplyOptions::PLAIN),
        Err(Error::Busy { .. })
    ));
    let of_thp = |verified: &sys_tuning::Verified| {
        verified.knobs.iter().find(|row| row.knob == "mem.thp").map(|row| row.status).unwrap()
    };
    assert_eq!(of_thp(&engine.verify(&profile()).unwrap()), Status::Blocked);
    let drift = engine.drift().unwrap();
    let [row] = drift.drifted.as_slice() else { panic!("{drift:#?}") };
    assert_eq!((row.status, row.reason.as_str()), (Status::Blocked, expected));

    bench.machine.let_go();
    assert_eq!(of_thp(&engine.verify(&profile()).unwrap()), Status::Ok);
    assert_eq!(bench.drift_when_over("mem.thp"), Status::Ok);
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    let line = (0..holder.len()).find(|line| holder.target(*line).knob == "mem.thp").unwrap();
    assert_eq!((holder.wanted(line), holder.look(line)), ("never", Look::Held));
    assert_eq!(engine.history().unwrap().transactions[0].outcome, Some(Outcome::Done), "it is recorded");
    // From then on it is a value like any other: another one is drift, whoever reads the journal next.
    bench.machine.kernel().write(THP, b"always").unwrap();
    assert_eq!(bench.drift_when_over("mem.thp"), Status::Drifted);
    bench.machine.kernel().write(THP, b"never").unwrap();
    assert_eq!(bench.back().result, Outcome::Done);
    bench.assert_as_before();
}

#[test]
fn a_late_value_is_undone_without_anybody_having_looked() {
    let Some(bench) = Bench::new("a_late_value_is_undone") else { return };
    bench.apply(&ApplyOptions::PLAIN);
    bench.machine.let_go();
    assert_eq!(bench.back().result, Outcome::Done);
    bench.assert_as_before();
}

#[test]
fn a_stuck_write_that_comes_to_nothing_is_told_as_failed() {
    let Some(bench) = Bench::new("a_stuck_write_that_comes_to_nothing") else { return };
    bench.apply(&ApplyOptions::PLAIN);
    bench.machine.kernel().lies = vec![Lie::new(THP, Kind::Dropped)];
    bench.machine.let_go();
    let verified = bench.engine().verify(&profile()).unwrap();
    let row = verified.knobs.iter().find(|row| row.knob == "mem.thp").unwrap();
    assert!(matches!(row.status, Status::Failed | Status::Blocked), "{row:?}");
    assert_eq!(bench.drift_when_over("mem.thp"), Status::Ok, "what was not changed has not drifted");
    bench.machine.kernel().lies.clear();
    let back = bench.back();
    assert!(back.changes.iter().all(|row| row.knob != "mem.thp"), "there is nothing to undo: {back:#?}");
    bench.assert_as_before();
}

#[test]
fn what_somebody_sets_behind_a_stuck_write_stays() {
    let Some(bench) = Bench::new("what_somebody_sets_behind_a_stuck_write") else { return };
    bench.apply(&ApplyOptions::PLAIN);
    bench.machine.let_go();
    bench.machine.kernel().write(THP, b"always").unwrap();
    let back = bench.back();
    let row = back.changes.iter().find(|row| row.knob == "mem.thp").unwrap();
    assert_eq!(row.status, Status::Foreign, "{back:#?}");
    assert!(bench.text(THP).contains("[always]"));
}

#[test]
fn an_apply_of_all_or_nothing_takes_a_late_value_back_too() {
    let Some(bench) = Bench::new("an_apply_of_all_or_nothing") else { return };
    let applied = bench.apply(&ATOMIC);
    assert_eq!(
        (applied.result, status(&applied, "mem.thp")),
        (Outcome::Partly, Status::Blocked),
        "{applied:#?}"
    );
    assert_eq!(bench.text(SWAPPINESS), bench.base.text(SWAPPINESS), "put back at once");
    bench.machine.let_go();
    assert!(bench.text(THP).contains("[never]"), "it came late");
    // Whoever has the lock next takes it back: here the keeper.
    let (engine, mut holder) = (bench.engine(), bench.engine().holder());
    while engine.history().unwrap().transactions[0].outcome != Some(Outcome::RolledBack) {
        holder.refresh().unwrap();
    }
    bench.assert_as_before();
    assert!(matches!(engine.standing().unwrap(), sys_tuning::Standing::NeverAsked), "nothing is to be held");
    assert!(bench.back().changes.is_empty(), "and nothing is left to undo");
}

#[test]
fn killed_while_a_write_is_stuck_and_put_back() {
    let Some(bench) = Bench::new("killed_while_a_write_is_stuck") else { return };
    let (root, state) = (bench.machine.root(), bench.machine.state("state"));
    let path = bench.machine.root().with_extension("toml");
    crate::tree::write(&path, PROFILE);
    let mut child = process::command(&root, &state, "live-apply", &path).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
    bench.machine.wait_for_a_held_write();
    bench.machine.wait_for_a_held_write();
    child.kill().unwrap();
    // The kernel does not let a thread go that is within a write: it has its share of the lock until that is through.
    assert!(bench.engine().holder().is_busy().unwrap());
    bench.machine.let_go();
    assert_eq!(child.wait().unwrap().signal(), Some(nix::libc::SIGKILL));
    assert!(bench.text(THP).contains("[never]"), "the write went through");
    assert_eq!(bench.back().result, Outcome::Done);
    bench.assert_as_before();
}
