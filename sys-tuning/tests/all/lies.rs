//! Lies: a kernel that says what is not so must never make the engine say so too.
//!
//! Every knob of the registry, every file that it writes, every way of not doing as told: the plan is made on an honest
//! kernel, the lie comes with the write. What the engine then claims, once when it has applied and once more when it
//! verifies, is held against what is so. A *false pass* is an `ok` for what is not so; a *false failure* is a `failed` or
//! `drifted` for what is so and can be seen. When the lie has ended, the originals come back byte for byte.

use std::collections::BTreeMap;

use sys_tuning::registry::{self, Knob};
use sys_tuning::{ApplyOptions, Engine, Plan, Profile, RollbackOptions, RollbackTo, Status};

use crate::dice::Dice;
use crate::model::lies::{Kind, Lie};
use crate::model::mount::{Modelled, may_mount};
use crate::model::wishes::{self, Followed};
use crate::model::{self, CAPTURED, Kernel, Truth};

const ACCEPTING: ApplyOptions = ApplyOptions { accept_dangers: true, ..ApplyOptions::PLAIN };
const BASELINE: RollbackOptions = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };

/// Settings of a knob that are tried before it is told as having nothing to write on a machine.
const ATTEMPTS: usize = 24;

/// Which lies are told: all of them in a full run; else every so manieth, of two changes a knob.
struct Stride {
    changes_max: usize,
    step: usize,
    next: usize,
}

impl Stride {
    fn new() -> Self {
        match std::env::var_os("QUELL_FULL") {
            Some(_) => Self { changes_max: usize::MAX, step: 1, next: 0 },
            None => Self { changes_max: 2, step: 5, next: 0 },
        }
    }

    fn takes(&mut self) -> bool {
        self.next += 1;
        self.next.is_multiple_of(self.step)
    }
}

#[derive(Debug, Default)]
struct Tally {
    lies: usize,
    claims: usize,
    /// Roll-backs that found a value that was not left there, said so, and restored it when they were told to.
    foreign: usize,
    false_passes: Vec<String>,
    false_failures: Vec<String>,
    lost: Vec<String>,
}

/// One kernel, one wish, and what the kernel is to lie about.
struct Bench<'m> {
    machine: &'m Modelled,
    base: &'m Kernel,
    /// Each trial has a state directory of its own.
    trials: usize,
}

impl Bench<'_> {
    fn engine(&mut self) -> Engine {
        self.trials += 1;
        *self.machine.kernel() = self.base.clone();
        self.machine.engine(&format!("state{}", self.trials))
    }

    /// Settings of `knob` that change something here.
    fn wish(&mut self, knob: &'static Knob, dice: &mut Dice) -> Option<(Profile, Plan)> {
        for _ in 0..ATTEMPTS {
            let profile = wishes::parse(&wishes::profile("1", &[(knob, wishes::settings(knob, dice))]));
            let engine = self.engine();
            let Ok(plan) = engine.plan(&profile) else { continue };
            let refused = plan.dangers.iter().any(|danger| !danger.may_be_accepted);
            if !refused && plan.changes.iter().any(|change| !wishes::written(change).is_empty()) {
                return Some((profile, plan));
            }
        }
        None
    }

    /// One lie. The answer is what is wrong with what was claimed.
    fn try_lie(&mut self, profile: &Profile, path: &str, kind: Kind, tally: &mut Tally) {
        let engine = self.engine();
        let plan = engine.plan(profile).unwrap();
        let followed = Followed::plan(self.base, &plan);
        self.machine.kernel().lies = vec![Lie::new(path, kind)];
        let told = format!("{kind:?} of {path}");
        let applied = engine.apply(&plan, &ACCEPTING).unwrap();
        let now = self.machine.kernel().truth();
        let claim = |row: &sys_tuning::Applying| {
            Claim::of(row.knob, &row.attribute, &row.identity, (row.status, &row.reason))
        };
        let claims: Vec<Claim> = applied.changes.iter().map(claim).collect();
        judge(&format!("apply: {told}"), &plan, &followed, &now, &claims, kind, tally);
        let verified = engine.verify(profile).unwrap();
        let now = self.machine.kernel().truth();
        let claim = |row: &sys_tuning::Verifying| {
            Claim::of(row.knob, &row.attribute, &row.identity, (row.status, &row.reason))
        };
        let claims: Vec<Claim> = verified.knobs.iter().map(claim).collect();
        judge(&format!("verify: {told}"), &plan, &followed, &now, &claims, kind, tally);
        tally.lies += 1;
        self.machine.kernel().lies.clear();
        let mut back = engine.rollback(&BASELINE).unwrap();
        // What changed by itself after it was looked at is somebody else's as far as anybody can tell: it is told, left
        // alone, and restored when that is asked for.
        if back.changes.iter().any(|row| row.status == Status::Foreign) {
            tally.foreign += 1;
            back = engine.rollback(&RollbackOptions { force: true, ..BASELINE }).unwrap();
        }
        let lost = model::differences(&self.machine.kernel().settings(), &self.base.settings());
        if !lost.is_empty() {
            tally.lost.push(format!("{told}: {lost:?} after {:?}", back.changes));
        }
    }
}

/// What somebody is told of one cell.
struct Claim {
    cell: (String, String, String),
    status: Status,
    reason: String,
}

impl Claim {
    fn of(knob: &str, attribute: &str, identity: &str, (status, reason): (Status, &str)) -> Self {
        let cell = (knob.to_owned(), attribute.to_owned(), identity.to_owned());
        Self { cell, status, reason: reason.to_owned() }
    }
}

fn judge(
    told: &str,
    plan: &Plan,
    followed: &Followed,
    now: &Truth,
    claims: &[Claim],
    kind: Kind,
    tally: &mut Tally,
) {
    for (index, change) in plan.changes.iter().enumerate() {
        let cell = (change.knob.to_owned(), change.attribute.clone(), change.identity.clone());
        let claim = claims.iter().find(|claim| claim.cell == cell);
        let Some(Claim { status, reason, .. }) = claim.filter(|_| !followed.touched[index].is_empty()) else {
            continue;
        };
        tally.claims += 1;
        let is_so = followed.is_so(index, now);
        let row =
            || format!("{told}: {} {} {}: {status} {reason}", change.knob, change.attribute, change.identity);
        if *status == Status::Ok && !is_so {
            tally.false_passes.push(row());
        }
        if status.is_trouble() && is_so && kind.is_visible() {
            tally.false_failures.push(row());
        }
    }
}

/// Whether this kind says anything about this file: what has no consequences cannot be without them, and what is written
/// last is not reset by what is written later.
fn applies(kind: Kind, plan: &Plan, followed: &Followed, index: usize, path: &str) -> bool {
    match kind {
        Kind::NoEffect => {
            followed.touched[index].iter().any(|touched| touched != path && wishes::is_effect(touched))
        }
        // A list without a word in it is what stood there: nothing tells that anything was done.
        Kind::Emptied => !path.ends_with("/cgroup.subtree_control"),
        // What is less than was asked for there is an effect.
        Kind::Clamped => path != model::rules::WORKQUEUE,
        Kind::CoupledReset => {
            plan.changes[index + 1..].iter().any(|later| !wishes::written(later).is_empty())
        }
        _ => true,
    }
}

/// What can be said of few files is said of all of them.
fn is_rare(kind: Kind) -> bool {
    matches!(kind, Kind::NoEffect | Kind::CoupledReset)
}

#[test]
fn no_lie_passes_and_no_truth_fails() {
    if !may_mount("no_lie_passes_and_no_truth_fails") {
        return;
    }
    let (mut tally, mut by_kind) = (Tally::default(), BTreeMap::<String, usize>::new());
    let mut untried: BTreeMap<&str, usize> = BTreeMap::new();
    let mut stride = Stride::new();
    for name in CAPTURED {
        let base = model::modelled(name);
        let machine = Modelled::new(base.clone());
        let mut bench = Bench { machine: &machine, base: &base, trials: 0 };
        for knob in registry::all() {
            let mut dice = Dice::new(7);
            let Some((profile, plan)) = bench.wish(knob, &mut dice) else {
                *untried.entry(knob.id).or_default() += 1;
                continue;
            };
            let followed = Followed::plan(&base, &plan);
            let written =
                plan.changes.iter().enumerate().filter(|(_, change)| !wishes::written(change).is_empty());
            for (index, change) in written.take(stride.changes_max) {
                for path in wishes::written(change) {
                    let kinds =
                        Kind::ALL.iter().filter(|kind| applies(**kind, &plan, &followed, index, &path));
                    for kind in kinds.filter(|kind| is_rare(**kind) || stride.takes()) {
                        bench.try_lie(&profile, &path, *kind, &mut tally);
                        *by_kind.entry(format!("{kind:?}")).or_default() += 1;
                    }
                }
            }
        }
    }
    println!("by kind: {by_kind:?}");
    untried.retain(|_, machines| *machines == CAPTURED.len());
    println!("knobs that write no file of a kernel on any of the models: {:?}", untried.keys());
    println!(
        "{} lies, {} claims, {} values that changed by themselves: {} false passes, {} false failures, {} originals lost",
        tally.lies,
        tally.claims,
        tally.foreign,
        tally.false_passes.len(),
        tally.false_failures.len(),
        tally.lost.len()
    );
    let all = [&tally.false_passes, &tally.false_failures, &tally.lost];
    assert!(all.iter().all(|list| list.is_empty()), "{}", tell(&all));
    assert!(tally.lies >= 200 && tally.claims >= tally.lies, "too little was tried: {tally:?}");
}

fn tell(lists: &[&Vec<String>; 3]) -> String {
    let names = ["false passes", "false failures", "lost"];
    let told = names.iter().zip(lists).map(|(name, list)| {
        let first: Vec<&str> = list.iter().take(40).map(String::as_str).collect();
        format!("{name} ({}):\n  {}", list.len(), first.join("\n  "))
    });
    told.collect::<Vec<_>>().join("\n")
}
