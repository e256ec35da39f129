//! The same answer everywhere: on hosts that lack what others have, a knob is not applicable, with the reason; never an
//! error, never a pass for what nobody looked at.
//!
//! Every knob of the registry, on this machine (looked at, not written), on captured ones with and without a real-time
//! kernel, and on one that has what a container has: no frequency control, no cgroup v2, no memory nodes, no debugfs.

use std::collections::BTreeMap;
use std::sync::Arc;

use host::Root;
use sys_tuning::registry::{self, When};
use sys_tuning::{ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo, Status};

use crate::dice::Dice;
use crate::model::wishes;
use crate::tree::Machine;

const ACCEPTING: ApplyOptions = ApplyOptions { accept_dangers: true, ..ApplyOptions::PLAIN };
const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };

/// Settings of each knob that are tried.
const WISHES: usize = 6;

/// What a container does not see of its host.
const HIDDEN: &[&str] = &[
    "/sys/devices/system/cpu/cpufreq",
    "/sys/devices/system/cpu/cpuidle",
    "/sys/devices/system/node",
    "/sys/fs/cgroup",
    "/sys/kernel/debug",
    "/sys/kernel/irq",
    "/sys/kernel/mm/hugepages",
    "/sys/module",
    "/proc/irq",
    "/boot",
];

fn contained() -> Machine {
    let machine = Machine::captured("qemu-4cpu-2node-6.12");
    for path in HIDDEN {
        let _ = std::fs::remove_dir_all(machine.file(path)); // what the capture lacks is not there either
    }
    let mounts: String = machine
        .get("/proc/self/mountinfo")
        .lines()
        .filter(|line| !line.contains("cgroup") && !line.contains("debugfs"))
        .map(|line| format!("{line}\n"))
        .collect();
    machine.put("/proc/self/mountinfo", &mounts);
    machine
}

/// Each knob alone, so that none can hide behind another: what plan and verify say of it.
fn look(name: &str, engine: &Engine) -> BTreeMap<Status, usize> {
    let mut told = BTreeMap::new();
    for knob in registry::all() {
        for round in 0..WISHES {
            let settings = wishes::settings(knob, &mut Dice::new(round as u64));
            let profile = wishes::parse(&wishes::profile("1", &[(knob, settings.clone())]));
            // What names something that this machine has not (a CPU, a node) is a mistake of the profile, with its place.
            let Ok(plan) = engine.plan(&profile) else { continue };
            assert!(plan.unreadable.is_empty(), "{name}: {} {settings}: {:?}", knob.id, plan.unreadable);
            for row in &plan.skipped {
                assert!(!row.reason.is_empty(), "{name}: {} {settings}: skipped without a reason", knob.id);
            }
            let verified = engine.verify(&profile).unwrap();
            for row in &verified.knobs {
                *told.entry(row.status).or_default() += 1;
                let is_silent = row.status != Status::Ok && row.reason.is_empty();
                assert!(!is_silent, "{name}: {} {settings}: {} without a reason", knob.id, row.status);
            }
            // What is wished off on the command line is not put there: that asks for nothing.
            let is_off = settings.contains("false") || settings.contains("= 0");
            let asks =
                settings != "{  }" && !(knob.when == When::Boot && is_off && !settings.contains("true"));
            let is_looked_at = !verified.knobs.is_empty() || !plan.dangers.is_empty();
            assert!(is_looked_at || !asks, "{name}: {} {settings}: nothing is said of it", knob.id);
        }
    }
    told
}

/// Every knob that says it is not applicable does nothing, and everything else there and back.
fn there_and_back(name: &str, machine: &Machine) {
    let (before, engine) = (machine.snapshot(), machine.engine());
    for profile in ["observe", "balanced", "colo", "colo-rt"] {
        let profile = Profile::load(profile).unwrap();
        let plan = engine.plan(&profile).unwrap();
        let trouble: Vec<_> = plan.skipped.iter().filter(|row| row.status.is_trouble()).collect();
        assert!(trouble.is_empty() && plan.unreadable.is_empty(), "{name} {}: {trouble:#?}", profile.name);
        if plan.dangers.iter().any(|danger| !danger.may_be_accepted) {
            continue;
        }
        let applied = engine.apply(&plan, &ACCEPTING).unwrap();
        assert_eq!(applied.result, Outcome::Done, "{name} {}: {applied:#?}", profile.name);
    }
    engine.rollback(&BASELINE).unwrap();
    assert!(machine.snapshot() == before, "{name}");
}

#[test]
fn not_applicable_is_said_with_the_reason_on_every_kind_of_host() {
    for (name, machine) in [
        ("plain", Machine::captured("qemu-4cpu-2node-6.12")),
        ("real-time", Machine::captured("qemu-4cpu-2node-6.1-rt")),
        ("older cgroups", Machine::captured("firecracker-2cpu-6.18")),
        ("container", contained()),
    ] {
        println!("{name}: {:?}", look(name, &machine.engine()));
        there_and_back(name, &machine);
    }
}

#[test]
fn this_machine_answers_for_every_knob() {
    let state = tempfile::tempdir().unwrap();
    let engine = Engine::new(Arc::new(Root::system()), &state.path().join("state"));
    println!("this machine: {:?}", look("this machine", &engine));
    assert_eq!(engine.root().write_count(), 0);
}

#[test]
fn a_container_is_told_what_it_lacks() {
    let machine = contained();
    let engine = machine.engine();
    let reason = |knobs: &str| {
        let text = format!("schema = \"quell.profile/1\"\n[cpus]\nisolated = \"1\"\n[knobs]\n{knobs}");
        let verified = engine.verify(&Profile::parse("container.toml", &text).unwrap()).unwrap();
        let rows = verified.knobs.iter().map(|row| format!("{}: {}", row.status, row.reason));
        rows.collect::<Vec<_>>().join("; ")
    };
    for (knobs, why) in [
        ("'cpu.gov' = { governor = 'performance' }", "no frequency control"),
        ("'iso.cpuset2' = { cpus = '1', partition = 'isolated' }", "no cpuset controller"),
        ("'mem.huge' = { 2M = { node0 = 1 } }", "no memory nodes"),
        ("'iso.fairserver' = { cpus = '1', runtime_us = 0 }", "debugfs"),
        ("'irq.aff' = { cpus = 'housekeeping' }", "no interrupts"),
        ("'iso.isolcpus' = { cpus = '1' }", "no boot loader"),
    ] {
        let told = reason(knobs);
        assert!(told.starts_with("not-applicable: ") && told.contains(why), "{knobs}: {told}");
    }
}
