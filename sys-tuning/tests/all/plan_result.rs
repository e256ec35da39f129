//! The plan is the result: on random machines with random profiles over every knob, what the plan says is what stands there
//! afterwards, to the byte; what it calls refused writes nothing; a second plan is empty; and the way back is exact.
//!
//! A machine is a captured one that lacks parts, holds other values, and has interrupts and pools of its own mind. A seed
//! makes the whole case again: `QUELL_SEED=17` runs that one alone.

use std::collections::BTreeMap;

use sys_tuning::registry;
use sys_tuning::{
    Applied, ApplyOptions, Change, Engine, Error, Plan, Profile, RollbackOptions, RollbackTo, Status,
};

use crate::dice::Dice;
use crate::model::mount::{Modelled, may_mount};
use crate::model::wishes::{self, Followed};
use crate::model::{self, CAPTURED, Kernel};

const ACCEPTING: ApplyOptions = ApplyOptions { accept_dangers: true, ..ApplyOptions::PLAIN };
const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };

/// Parts that hosts lack: directories with everything below them, and single files.
const PARTS: &[&str] = &[
    "/sys/devices/system/cpu/cpufreq",
    "/sys/devices/system/node",
    "/sys/devices/system/node/node1",
    "/sys/devices/virtual/workqueue",
    "/sys/devices/virtual/workqueue/cpumask_requested",
    "/sys/fs/cgroup",
    "/sys/kernel/debug",
    "/sys/kernel/mm",
    "/sys/kernel/mm/hugepages",
    "/sys/kernel/mm/hugepages/hugepages-1048576kB",
    "/sys/kernel/mm/transparent_hugepage",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/sys/kernel/irq",
    "/sys/devices/system/cpu/cpu1/power",
    "/proc/irq",
    "/proc/irq/default_smp_affinity",
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/stat_interval",
    "/proc/sys/vm/dirty_bytes",
    "/proc/sys/vm/min_free_kbytes",
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/kernel/timer_migration",
    "/proc/sys/kernel/hung_task_timeout_secs",
    "/proc/sys/kernel/sched_rt_runtime_us",
];

/// Numbers that hosts hold, each with some that its kernel takes.
const VALUES: &[(&str, &[&str])] = &[
    ("/proc/sys/vm/swappiness", &["0", "1", "10", "60", "100", "200"]),
    ("/proc/sys/vm/stat_interval", &["1", "10", "120"]),
    ("/proc/sys/vm/min_free_kbytes", &["5631", "67584", "90112"]),
    ("/proc/sys/kernel/numa_balancing", &["0", "1"]),
    ("/proc/sys/kernel/timer_migration", &["0", "1"]),
    ("/proc/sys/kernel/hung_task_timeout_secs", &["0", "120", "600"]),
    ("/proc/sys/kernel/sched_rt_runtime_us", &["-1", "950000", "1000000"]),
    ("/sys/kernel/mm/transparent_hugepage/enabled", &["always", "madvise", "never"]),
    ("/sys/kernel/mm/transparent_hugepage/defrag", &["always", "defer", "madvise", "never"]),
    ("/proc/sys/vm/dirty_ratio", &["0", "10", "20", "40"]),
    ("/proc/sys/vm/dirty_bytes", &["8192", "268435456"]),
    ("/proc/sys/vm/dirty_background_ratio", &["0", "3", "10"]),
    ("/proc/sys/vm/dirty_background_bytes", &["1", "1048576"]),
];

/// A host that somebody might have.
fn machine(dice: &mut Dice) -> (String, Kernel) {
    let name = *dice.pick(&CAPTURED);
    let mut kernel = model::modelled(name);
    for (path, values) in VALUES {
        if dice.once_in(2) && kernel.files.contains_key(*path) {
            let value = *dice.pick(values);
            model::rules::write(&mut kernel, path, value.as_bytes()).unwrap();
        }
    }
    let irqs: Vec<String> =
        kernel.list("/proc/irq").into_iter().filter(|(_, is_dir)| *is_dir).map(|one| one.0).collect();
    for irq in irqs {
        match dice.below(12) {
            // As Linux 6.12 shows it, and as earlier ones do not.
            0 => {
                if let Some(file) = kernel.files.get_mut(&format!("/proc/irq/{irq}/smp_affinity_list")) {
                    file.mode = 0o444;
                }
            }
            1 => drop(kernel.habits.managed_irqs.insert(irq, nix::libc::EIO)),
            2 | 3 => drop(kernel.habits.quiet_irqs.insert(irq)),
            _ => {}
        }
    }
    let pools: Vec<String> = kernel.files.keys().filter(|path| is_pool(path)).cloned().collect();
    for pool in pools {
        if dice.once_in(2) {
            continue;
        }
        let pages = if pool.contains("2048kB") { dice.below(64) } else { dice.below(3) };
        model::rules::write(&mut kernel, &pool, pages.to_string().as_bytes()).unwrap();
    }
    let mut lacks = Vec::new();
    for part in PARTS {
        if dice.once_in(12) {
            kernel.remove(part);
            lacks.push(*part);
        }
    }
    kernel.writes = 0;
    (format!("{name} without {lacks:?}"), kernel)
}

fn is_pool(path: &str) -> bool {
    path.starts_with("/sys/devices/system/node/") && path.ends_with("/nr_hugepages")
}

fn wish(dice: &mut Dice) -> String {
    let isolated = *dice.pick(&["auto", "", "1", "1", "1", "0", "2-3", "1-3"]);
    let mut knobs = Vec::new();
    for knob in registry::all() {
        // A few at a time: of many there is nearly always one that the machine cannot have, and then nothing is written.
        if dice.once_in(8) {
            knobs.push((*knob, wishes::settings(knob, dice)));
        }
    }
    wishes::profile(isolated, &knobs)
}

/// What the cases came to.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    impossible: usize,
    refused: usize,
    changes: usize,
    statuses: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

fn case(seed: u64, tally: &mut Tally) {
    let mut dice = Dice::new(seed);
    let (name, base) = machine(&mut dice);
    let text = wish(&mut dice);
    let model = Modelled::new(base.clone());
    let engine = model.engine("state");
    tally.cases += 1;
    let mut problems = Vec::new();
    let profile = match Profile::parse("wishes.toml", &text) {
        Err(error) if error.to_string().contains("iso.cpuset2.cpus") => {
            tally.impossible += 1; // it isolates what it leaves to everybody else
            return;
        }
        parsed => parsed.unwrap_or_else(|error| panic!("{error}\n{text}")),
    };
    match engine.plan(&profile) {
        // The profile names what this machine cannot have: told before anything is written.
        Err(Error::Profile(_)) => {
            tally.impossible += 1;
            if model.kernel().writes > 0 {
                problems.push("what is impossible was begun".to_owned());
            }
        }
        Err(error) => problems.push(format!("plan: {error}")),
        Ok(plan) => carry_out(&engine, &model, &base, &plan, &profile, tally, &mut problems),
    }
    if !problems.is_empty() {
        tally.wrong.push(format!("seed {seed}: {name}\n{text}  {}", problems.join("\n  ")));
    }
}

fn carry_out(
    engine: &Engine,
    model: &Modelled,
    base: &Kernel,
    plan: &Plan,
    profile: &Profile,
    tally: &mut Tally,
    problems: &mut Vec<String>,
) {
    let original = base.truth();
    if model.kernel().writes > 0 {
        problems.push("planning wrote".to_owned());
    }
    if !plan.dangers.is_empty() {
        tally.refused += 1;
        let refused = matches!(engine.apply(plan, &ApplyOptions::PLAIN), Err(Error::Refused(_)));
        let untouched = model.kernel().writes == 0 && model.kernel().truth() == original;
        if !refused || !untouched {
            problems.push(format!("dangers were not refused: {:?}", plan.dangers));
        }
        if plan.dangers.iter().any(|danger| !danger.may_be_accepted) {
            let deadly = matches!(engine.apply(plan, &ACCEPTING), Err(Error::Refused(_)));
            if !deadly || model.kernel().writes > 0 {
                problems.push("what cannot be accepted was".to_owned());
            }
            return;
        }
    }
    let applied = match engine.apply(plan, &ACCEPTING) {
        Ok(applied) => applied,
        Err(error) => return problems.push(format!("apply: {error}")),
    };
    tally.changes += applied.changes.len();
    let followed = Followed::plan(base, plan);
    let unlike = model::differences(&model.kernel().truth(), &followed.kernel.truth());
    if !unlike.is_empty() {
        problems.push(format!("the result is not the plan: {unlike:?}"));
    }
    problems.extend(unpredicted(base, plan, &applied, tally));
    match engine.plan(profile) {
        Ok(second) if second.changes.is_empty() => {}
        Ok(second) => {
            let left = second.changes.iter().map(|change| format!("{} {}", change.knob, change.attribute));
            problems.push(format!("a second plan is not empty: {:?}", left.collect::<Vec<_>>()));
        }
        Err(error) => problems.push(format!("second plan: {error}")),
    }
    let writes = model.kernel().writes;
    if let Err(error) = engine.plan(profile).and_then(|plan| engine.apply(&plan, &ACCEPTING)) {
        problems.push(format!("applied again: {error}"));
    }
    if model.kernel().writes != writes {
        problems.push("applied again, it wrote".to_owned());
    }
    if let Err(error) = engine.rollback(&BASELINE) {
        problems.push(format!("roll-back: {error}"));
    }
    let lost = model::differences(&model.kernel().settings(), &base.settings());
    if !lost.is_empty() {
        problems.push(format!("not back: {lost:?}"));
    }
}

/// Rows that say something else than the plan did. What only the kernel knows is no prediction: that an interrupt is its
/// driver's where no file says so, and when one fires next.
fn unpredicted(base: &Kernel, plan: &Plan, applied: &Applied, tally: &mut Tally) -> Vec<String> {
    let mut problems = Vec::new();
    for (change, row) in plan.changes.iter().zip(&applied.changes) {
        *tally.statuses.entry(row.status.word()).or_default() += 1;
        let irq = irq_of(change);
        let is_managed = irq.as_ref().is_some_and(|irq| base.habits.managed_irqs.contains_key(irq));
        let is_quiet = irq.as_ref().is_some_and(|irq| base.habits.quiet_irqs.contains(irq));
        // Of the hard lock-up detector only the refusal tells that it has no counter to run on.
        let is_deaf = wishes::written(change).iter().any(|path| path.ends_with("/nmi_watchdog"));
        let holds = row.now.as_deref() == Some(change.to.as_str());
        let is_as_planned = match row.status {
            Status::Ok => holds,
            Status::Pending => holds && is_quiet,
            Status::NotApplicable => {
                (is_managed || is_deaf) && row.now.as_deref() == Some(change.from.as_str())
            }
            _ => false,
        };
        if !is_as_planned {
            problems.push(format!(
                "{} {} {}: planned {} to {}, came to {:?}: {} {}",
                change.knob,
                change.attribute,
                change.identity,
                change.from,
                change.to,
                row.now,
                row.status,
                row.reason
            ));
        }
    }
    problems
}

/// The number of the interrupt that a change moves.
fn irq_of(change: &Change) -> Option<String> {
    let path = wishes::written(change).into_iter().next()?;
    Some(path.strip_prefix("/proc/irq/")?.split_once('/')?.0.to_owned())
}

#[test]
fn the_plan_is_the_result_on_random_machines() {
    if !may_mount("the_plan_is_the_result_on_random_machines") {
        return;
    }
    let cases = if std::env::var_os("QUELL_FULL").is_some() { 1000 } else { 60 };
    let only = std::env::var("QUELL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..cases, |seed: u64| seed..seed + 1);
    let mut tally = Tally::default();
    seeds.for_each(|seed| case(seed, &mut tally));
    println!(
        "{} machines: {} wishes impossible there, {} with dangers, {} changes {:?}: {} wrong",
        tally.cases,
        tally.impossible,
        tally.refused,
        tally.changes,
        tally.statuses,
        tally.wrong.len()
    );
    let first: Vec<&str> = tally.wrong.iter().take(8).map(String::as_str).collect();
    assert!(first.is_empty(), "{} wrong:\n{}", tally.wrong.len(), first.join("\n"));
    assert!(only.is_some() || tally.changes > tally.cases, "too little was changed: {tally:?}");
}
