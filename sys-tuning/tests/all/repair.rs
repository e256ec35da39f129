//! Holding a machine of plain files to what was left on it.

use std::fs;

use nix::fcntl::{Flock, FlockArg};
use sys_tuning::{
    ApplyOptions, Engine, Error, Holder, Look, Profile, RollbackOptions, RollbackTo, Standing, Trading,
};

use crate::model::mount::{Modelled, may_mount};
use crate::model::{self, CAPTURED};
use crate::tree::Machine;

const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const HUNG: &str = "/proc/sys/kernel/hung_task_timeout_secs";
const LATENCY: &str = "/sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us";

fn profile(knobs: &str) -> Profile {
    Profile::parse("p.toml", &format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}\n")).unwrap()
}

fn apply(engine: &Engine, knobs: &str) {
    engine.apply(&engine.plan(&profile(knobs)).unwrap(), &ApplyOptions::PLAIN).unwrap();
}

const THREE: &str = "'mem.swap' = { swappiness = 10 }\n'iso.hung' = { timeout_secs = 120 }\n\
                     'cpu.qos' = { cpus = 'isolated', latency_us = 0 }";

/// A machine that `THREE` was applied to, and what holds it there.
fn held() -> (Machine, Engine, Holder) {
    let machine = Machine::new();
    machine.put(HUNG, "120\n"); // holds already
    let engine = machine.engine();
    apply(&engine, THREE);
    let mut holder = engine.holder();
    assert!(holder.refresh().unwrap());
    (machine, engine, holder)
}

fn index(holder: &Holder, knob: &str) -> usize {
    (0..holder.len()).find(|index| holder.target(*index).knob == knob).unwrap()
}

fn all(holder: &Holder) -> Vec<usize> {
    (0..holder.len()).collect()
}

#[test]
fn what_was_written_and_what_was_found_is_held() {
    let (machine, _, holder) = held();
    assert_eq!(holder.len(), 3);
    assert!(all(&holder).into_iter().all(|index| holder.look(index) == Look::Held));
    let swap = index(&holder, "mem.swap");
    assert_eq!(
        (holder.wanted(swap), holder.files(swap)),
        ("10", vec![machine.file(SWAPPINESS).display().to_string()])
    );
}

#[test]
fn drift_is_put_back_and_the_journal_is_not_touched() {
    let (machine, engine, holder) = held();
    let journal = || fs::read(machine.state().join("journal")).unwrap();
    let before = journal();
    machine.put(SWAPPINESS, "33\n");
    machine.put(HUNG, "7\n");
    let repairs = holder.repair(&all(&holder)).unwrap().unwrap();
    let mut found: Vec<Look> = repairs.lines.iter().map(|line| line.found.clone()).collect();
    found.sort_by_key(|look| format!("{look:?}"));
    assert_eq!(found, [Look::Drifted("33".into()), Look::Drifted("7".into()), Look::Held]);
    assert!(repairs.lines.iter().all(|line| line.refused.is_none()), "{repairs:?}");
    assert_eq!((machine.get(SWAPPINESS), machine.get(HUNG)), ("10\n".into(), "120\n".into()));
    assert!(journal() == before && engine.drift().unwrap().drifted.is_empty());
    engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }).unwrap();
    assert_eq!(machine.get(SWAPPINESS), "60\n", "the original is the one of the apply");
}

#[test]
fn what_somebody_else_tunes_meanwhile_is_no_drift() {
    let (machine, engine, mut holder) = held();
    machine.put(SWAPPINESS, "33\n");
    let lock = fs::File::open(machine.state().join("lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    assert!(matches!(holder.repair(&all(&holder)), Err(Error::Busy { .. })));
    drop(lock);
    apply(&engine, "'mem.swap' = { swappiness = 33 }");
    assert!(holder.repair(&all(&holder)).unwrap().is_none(), "what is wanted has to be read again");
    assert_eq!(machine.get(SWAPPINESS), "33\n");
    assert!(holder.refresh().unwrap());
    assert!(!holder.refresh().unwrap(), "once a change");
    assert_eq!(holder.wanted(index(&holder, "mem.swap")), "33");
    engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }).unwrap();
    assert!(holder.refresh().unwrap() && holder.is_empty(), "nothing is held of what was undone");
}

#[test]
fn what_is_gone_is_no_drift_and_what_comes_back_is() {
    let (machine, _, holder) = held();
    let latency = index(&holder, "cpu.qos");
    fs::remove_file(machine.file(LATENCY)).unwrap();
    assert_eq!(holder.look(latency), Look::Gone);
    assert_eq!(holder.repair(&[latency]).unwrap().unwrap().lines[0].refused, None);
    machine.put(LATENCY, "0\n"); // a CPU that is back has the kernel's default
    assert!(matches!(holder.look(latency), Look::Drifted(_)));
    holder.repair(&[latency]).unwrap().unwrap();
    assert_eq!(holder.look(latency), Look::Held);
}

#[test]
fn what_the_kernel_changes_beside_a_repair_is_put_back() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "'mem.thp' = { enabled = 'always' }");
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    machine.put("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    machine.put("/proc/sys/vm/min_free_kbytes", "70000\n"); // set by somebody since
    let repairs = holder.repair(&all(&holder)).unwrap().unwrap();
    assert!(repairs.lines.iter().all(|line| line.refused.is_none()), "{repairs:?}");
    assert_eq!(machine.get("/sys/kernel/mm/transparent_hugepage/enabled"), "[always] madvise never\n");
    assert_eq!(machine.get("/proc/sys/vm/min_free_kbytes"), "70000\n");
}

#[test]
fn a_refused_repair_says_why() {
    let (machine, _, holder) = held();
    machine.put(SWAPPINESS, "what is this\n");
    let repairs = holder.repair(&[index(&holder, "mem.swap")]).unwrap().unwrap();
    let why = repairs.lines[0].refused.clone().unwrap();
    assert!(why.contains("what is this"), "{why}");
}

#[test]
fn what_came_since_is_brought_about_as_part_of_the_apply() {
    let machine = Machine::new();
    fs::rename(machine.file("/proc/irq/41"), machine.file("/proc/irq-41")).unwrap();
    fs::rename(machine.file("/sys/kernel/irq/41"), machine.file("/sys/kernel/irq-41")).unwrap();
    let engine = machine.engine();
    apply(&engine, "'irq.aff' = { cpus = '0' }");
    let complete = || {
        let Standing::Profile(standing) = engine.standing().unwrap() else { panic!("it stands") };
        engine.complete(&standing, &[], 0, &Trading::NEVER).unwrap()
    };
    assert!(complete().is_none());
    machine.put("/proc/irq/24/smp_affinity_list", "1\n");
    assert!(complete().is_none(), "drift of what is held is another matter");
    fs::rename(machine.file("/proc/irq-41"), machine.file("/proc/irq/41")).unwrap();
    fs::rename(machine.file("/sys/kernel/irq-41"), machine.file("/sys/kernel/irq/41")).unwrap();
    assert_eq!(complete().unwrap().changes.len(), 1);
    assert_eq!(machine.get("/proc/irq/41/smp_affinity_list"), "0\n");
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    holder.repair(&all(&holder)).unwrap().unwrap();
    let back = engine.rollback(&RollbackOptions { to: RollbackTo::Last, force: false, at: 0 }).unwrap();
    assert_eq!((back.undone.as_slice(), back.changes.len()), (&[1][..], 2), "one step takes both back");
    assert_eq!(machine.get("/proc/irq/41/smp_affinity_list"), "0-1\n");
}

#[test]
fn what_cannot_block_is_put_back_first_and_told_by_its_own_moment() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "'mem.thp' = { enabled = 'never' }\n'mem.swap' = { swappiness = 10 }");
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    machine.put("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
    machine.put(SWAPPINESS, "33\n");
    let (thp, swap) = (index(&holder, "mem.thp"), index(&holder, "mem.swap"));
    let repairs = holder.repair(&[thp, swap]).unwrap().unwrap();
    let [of_thp, of_swap] = repairs.lines.as_slice() else { panic!("{repairs:?}") };
    assert_eq!((of_thp.index, of_swap.index), (thp, swap), "told in the order they were asked for");
    assert!(of_thp.refused.is_none() && of_swap.refused.is_none(), "{repairs:?}");
    assert!(of_swap.at < of_thp.at, "{repairs:?}");
}

const TRADING: &str = "/sys/fs/cgroup/cpuset/trading";

/// The value stands and the kernel gives the group something else: it is written again, and told if that changes nothing.
#[test]
fn an_effect_that_is_lost_behind_its_value_is_drift() {
    let machine = Machine::new();
    let engine = machine.engine();
    apply(&engine, "'iso.cpuset1' = { group = 'trading', cpus = '1' }");
    let effective = format!("{TRADING}/cpuset.effective_cpus");
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    let cpus = (0..holder.len()).find(|index| holder.target(*index).attribute == "cpus").unwrap();
    assert_eq!(holder.look(cpus), Look::Held, "what never had an effect has lost none");
    machine.put(&effective, "1\n");
    assert_eq!(holder.look(cpus), Look::Held);
    machine.put(&effective, "0-1\n");
    let Look::Lost(why) = holder.look(cpus) else { panic!("{:?}", holder.look(cpus)) };
    assert_eq!(why, "of CPU 1 the group has CPU 0-1");
    let file = machine.file(&format!("{TRADING}/cpuset.cpus"));
    let written = || fs::metadata(&file).unwrap().modified().unwrap();
    let before = written();
    let repairs = holder.repair(&[cpus]).unwrap().unwrap();
    assert!(written() > before, "it is written again");
    assert_eq!(repairs.lines[0].refused.as_ref(), Some(&why), "plain files do not follow");
    machine.put(&effective, "1\n");
    assert_eq!(holder.look(cpus), Look::Held);
}

/// A knob that the policy leaves alone is not completed either.
#[test]
fn what_is_left_alone_is_not_brought_about() {
    let machine = Machine::new();
    let paths = ["/proc/irq/41", "/sys/kernel/irq/41"];
    let aside = |path: &str| machine.file(&path.replace("irq/41", "irq-41"));
    paths.iter().for_each(|path| fs::rename(machine.file(path), aside(path)).unwrap());
    let engine = machine.engine();
    apply(&engine, "'irq.aff' = { cpus = '0' }");
    paths.iter().for_each(|path| fs::rename(aside(path), machine.file(path)).unwrap());
    let Standing::Profile(standing) = engine.standing().unwrap() else { panic!("it stands") };
    assert!(engine.complete(&standing, &["irq.aff".to_owned()], 0, &Trading::NEVER).unwrap().is_none());
    assert_eq!(machine.get("/proc/irq/41/smp_affinity_list"), "0-1\n");
    assert_eq!(engine.complete(&standing, &[], 0, &Trading::NEVER).unwrap().unwrap().changes.len(), 1);
}

/// What somebody sets between the look and the write is not written over unseen: it is looked at in its turn.
#[test]
fn a_value_that_is_set_again_meanwhile_is_looked_at_again() {
    if !may_mount("a_value_that_is_set_again_meanwhile") {
        return;
    }
    let machine = Modelled::new(model::modelled(CAPTURED[0]));
    let engine = machine.engine("state");
    apply(&engine, "'mem.swap' = { swappiness = 10 }");
    let mut holder = engine.holder();
    holder.refresh().unwrap();
    let set_at_each_read = |values: &[u32]| {
        let values = values.iter().map(u32::to_string).collect();
        machine.kernel().rival = [(SWAPPINESS.to_owned(), values)].into();
    };
    // Two looks find 33, and 42 stands there when it comes to the write.
    set_at_each_read(&[33, 33, 42]);
    let repairs = holder.repair(&[0]).unwrap().unwrap();
    assert_eq!(repairs.lines[0].found, Look::Drifted("42".to_owned()));
    assert_eq!(repairs.lines[0].refused, None);
    assert_eq!(machine.kernel().text(SWAPPINESS), "10");
    // Whoever does not let up is told, and nothing of his is written over unseen.
    set_at_each_read(&(50..90).collect::<Vec<_>>());
    let writes = machine.kernel().writes;
    let repairs = holder.repair(&[0]).unwrap().unwrap();
    let refused = repairs.lines[0].refused.clone().unwrap();
    assert!(refused.starts_with("somebody sets it to ") && refused.ends_with(" at this moment"), "{refused}");
    assert_eq!(machine.kernel().writes, writes);
}
