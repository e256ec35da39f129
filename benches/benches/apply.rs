//! What the journal, the checks and the effect readers of `quell tune apply` cost beyond the kernel's own
//! writes.
//!
//! The engine applies a dozen knobs to the real kernel and rolls them back, round after round; in the same
//! rounds the same values are written to the same files bare. The journal lies on the file system of the
//! build, and then in memory (tmpfs), which tells the disk's part. Every value is put back, and every file of
//! the plan is compared with how it was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use benches::{Bench, Figures, is_short, require_root, target_dir};
use host::threads::monotonic_now;
use host::{Root, if_present};
use sys_tuning::{
    Applied, ApplyOptions, Applying, Engine, Outcome, Plan, Profile, RollbackOptions, RollbackTo, Status,
    Step,
};
use units::Nanos;

/// A knob of each kind: single sysctls, a coupled pair, bracketed choices, pages a node, masks, interrupts,
/// per-CPU requests, a control group of its own, a governor where there is one. Values that no distribution
/// sets, so that there is something to change.
const DOZEN: &str = r#"
schema = "quell.profile/1"
[knobs]
"mem.swap"       = { swappiness = 11 }
"mem.dirty"      = { ratio = 11, background_ratio = 4 }
"mem.thp"        = { enabled = "never", defrag = "never" }
"mem.huge"       = { "2M" = { node0 = 4 } }
"iso.vmstat"     = { stat_interval = 11 }
"iso.hung"       = { timeout_secs = 601 }
"iso.wq"         = { cpus = "0" }
"iso.timermig"   = { enabled = false }
"iso.cpuset1"    = { group = "quell-bench", cpus = "0" }
"irq.default"    = { cpus = "0" }
"irq.aff"        = { cpus = "0" }
"cpu.qos"        = { cpus = "0", latency_us = 0 }
"cpu.gov"        = { governor = "performance" }
"#;

/// The kernel changes it when the huge-page selector is written; restored last.
const SIDE_EFFECT: &str = "/proc/sys/vm/min_free_kbytes";

/// The promise.
const BEYOND_MS: f64 = 5.0;

/// What one record of the journal takes at most here; what is synced in the floor.
const RECORD: [u8; 4096] = [b'q'; 4096];

fn main() -> anyhow::Result<ExitCode> {
    let mut bench = Bench::new(
        "apply: a dozen knobs, journaled and verified, beyond the kernel's own writes",
        "Milliseconds; plan, apply and roll-back by the engine of `quell tune`, and bare writes of the same values to the \
         same files in the same rounds.",
    );
    if require_root(&mut bench) {
        let disk = target_dir()?;
        let plain = journaled_in(&mut bench, &disk)?;
        bench.gate("apply beyond the kernel's own writes, plan included, median", plain, BEYOND_MS, "ms");
        let memory = Path::new("/dev/shm");
        if memory.is_dir() && std::fs::metadata(memory)?.dev() != std::fs::metadata(&disk)?.dev() {
            journaled_in(&mut bench, memory)?;
        }
    }
    Ok(bench.finish())
}

/// What the rounds took, in milliseconds.
#[derive(Default)]
struct Times {
    plan: Figures,
    apply: Figures,
    again: Figures,
    back: Figures,
    bare: Figures,
    sync: Figures,
    beyond: Figures,
    beyond_with_plan: Figures,
}

/// The rounds with the journal below `place`, each with a journal of its own, as a host has after its start; the
/// median of plan and apply beyond the bare writes.
fn journaled_in(bench: &mut Bench, place: &Path) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir_in(place).with_context(|| format!("{}", place.display()))?;
    let root = Arc::new(Root::system());
    let engine = |number: usize| Engine::new(root.clone(), &folder.path().join(format!("state-{number}")));
    let profile = Profile::parse("dozen", DOZEN)?;
    let first = engine(0).plan(&profile)?;
    let found = Found::read(&root, &first)?;
    introduce(bench, place, &first);

    let mut times = Times::default();
    let (mut rewritten, mut restored) = (0, true);
    for number in 0..if is_short() { 3 } else { 40 } {
        rewritten += round(&engine(number), &profile, &mut times)?;
        restored &= found.is_still(&root);
        let bare = bare_writes(&root, &first, &found)?;
        restored &= found.is_still(&root);
        times.bare.add(bare);
        times.sync.add(sync(folder.path())?);
        times.beyond.add(times.apply.last() - bare);
        times.beyond_with_plan.add(times.plan.last() + times.apply.last() - bare);
    }
    times.print(bench);
    bench.check(&format!("applying again writes nothing: {rewritten} writes"), rewritten == 0);
    bench.check("every file is as it was found, after every round", restored);
    if !is_short() {
        let mut later = Times::default();
        (0..20).try_for_each(|_| round(&engine(0), &profile, &mut later).map(drop))?;
        bench.line("With one journal for twenty more rounds (three transactions each), the last:");
        bench.line(&format!("plan {:.2} ms, apply {:.2} ms", later.plan.last(), later.apply.last()));
    }
    Ok(times.beyond_with_plan.median())
}

fn introduce(bench: &mut Bench, place: &Path, plan: &Plan) {
    let knobs: BTreeSet<_> = plan.changes.iter().map(|change| change.knob).collect();
    let (changes, count) = (plan.changes.len(), knobs.len());
    bench.line(&format!("\nJournal in {}: {changes} changes of {count} knobs", place.display()));
    bench.check("there are ten knobs to change, or more", count >= 10);
}

impl Times {
    fn print(&self, bench: &Bench) {
        for (subject, figures) in [
            ("plan", &self.plan),
            ("apply: journal, write, verify", &self.apply),
            ("apply again, nothing to do, plan included", &self.again),
            ("roll-back", &self.back),
            ("floor: bare writes of the same values", &self.bare),
            ("floor: append 4 KiB and fdatasync, once", &self.sync),
            ("apply beyond the bare writes", &self.beyond),
            ("plan and apply beyond the bare writes", &self.beyond_with_plan),
        ] {
            bench.row(subject, figures, "ms");
        }
    }
}

/// Applies, applies again, rolls back; the writes of the second apply.
fn round(engine: &Engine, profile: &Profile, times: &mut Times) -> anyhow::Result<u64> {
    let options = ApplyOptions { accept_dangers: true, ..ApplyOptions::PLAIN };
    let (plan, took) = timed(|| engine.plan(profile));
    times.plan.add(took);
    let plan = plan?;
    let (applied, took) = timed(|| engine.apply(&plan, &options));
    times.apply.add(took);
    let applied = applied?;
    let before = engine.root().write_count();
    let (again, took) = timed(|| engine.plan(profile).and_then(|plan| engine.apply(&plan, &options)));
    times.again.add(took);
    let rewritten = engine.root().write_count() - before;
    let (back, took) =
        timed(|| engine.rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }));
    times.back.add(took);
    let (again, back) = (again?, back?);
    if (again.result, back.result) != (Outcome::Done, Outcome::Done) {
        bail!("applying again: {:?}, roll-back: {:?}", again.result, back.result);
    }
    verified(&applied, &plan)?;
    Ok(rewritten)
}

/// Every change of the plan was made and looked at; an interrupt moves when it next fires, so it may be
/// pending.
fn verified(applied: &Applied, plan: &Plan) -> anyhow::Result<()> {
    let is_seen = |change: &&Applying| matches!(change.status, Status::Ok | Status::Pending);
    if let Some(change) = applied.changes.iter().find(|change| !is_seen(change)) {
        bail!("{} {}: {}: {}", change.knob, change.identity, change.status, change.reason);
    }
    if applied.changes.len() != plan.changes.len() || applied.result != Outcome::Done {
        bail!("{} of {} changes were made: {:?}", applied.changes.len(), plan.changes.len(), applied.result);
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let from = monotonic_now();
    let result = work();
    (result, ms(monotonic_now() - from))
}

/// The kernel's own time for the values of the plan, put back afterwards; in milliseconds.
fn bare_writes(root: &Root, plan: &Plan, found: &Found) -> anyhow::Result<f64> {
    let steps: Vec<&Step> = plan.changes.iter().flat_map(|change| &change.steps).collect();
    let (written, took) = timed(|| steps.iter().try_for_each(|step| bare(root, step)));
    found.put_back(root, &steps)?;
    written?;
    Ok(took)
}

fn bare(root: &Root, step: &Step) -> Result<(), host::Error> {
    match step {
        Step::Write { path, text } => root.write(path, text),
        Step::MakeDir { path } => root.make_dir(path),
        Step::RemoveDir { path } => root.remove_dir(path),
        Step::Affinity { tid, start_ticks, cpus } => {
            host::affinity::set_allowed(root, *tid, *start_ticks, cpus)
        }
        Step::Schedule { tid, start_ticks, policy } => {
            host::scheduling::set_schedule(root, *tid, *start_ticks, *policy)
        }
        Step::Spread { .. }
        | Step::Steer { .. }
        | Step::Swap { .. }
        | Step::Link { .. }
        | Step::BootLine { .. } => {
            unreachable!("the profile that is timed has none of these")
        }
    }
}

/// What a step writes or makes.
fn path(step: &Step) -> &str {
    match step {
        Step::Write { path, .. } | Step::MakeDir { path } | Step::RemoveDir { path } => path,
        Step::Affinity { .. } | Step::Schedule { .. } => {
            unreachable!("the profile that is timed moves no thread")
        }
        Step::Spread { .. }
        | Step::Steer { .. }
        | Step::Swap { .. }
        | Step::Link { .. }
        | Step::BootLine { .. } => {
            unreachable!("the profile that is timed has none of these")
        }
    }
}

/// The files of a plan as they were found; `None` is not there.
struct Found(BTreeMap<String, Option<String>>);

impl Found {
    fn read(root: &Root, plan: &Plan) -> Result<Self, host::Error> {
        let steps = plan.changes.iter().flat_map(|change| &change.steps);
        let text = |path: &str| Ok((path.to_owned(), if_present(root.read(path))?));
        steps.map(path).chain([SIDE_EFFECT]).map(text).collect::<Result<_, _>>().map(Self)
    }

    fn is_still(&self, root: &Root) -> bool {
        self.0.iter().all(|(path, text)| if_present(root.read(path)).is_ok_and(|now| now == *text))
    }

    /// Puts everything back, last first, and the side effect at the very end.
    fn put_back(&self, root: &Root, steps: &[&Step]) -> Result<(), host::Error> {
        let mut first = Ok(());
        for path in steps.iter().rev().map(|step| path(step)).chain([SIDE_EFFECT]) {
            let put = match &self.0[path] {
                // Of a choice the kernel shows every word, the chosen one in brackets, and takes one.
                Some(text) => root.write(path, text.split(['[', ']']).nth(1).unwrap_or(text)),
                None if steps
                    .iter()
                    .any(|step| matches!(step, Step::MakeDir { path: made } if made == path)) =>
                {
                    root.remove_dir(path)
                }
                None => Ok(()), // it goes with the group it is in
            };
            first = first.and(put); // the others are put back whatever becomes of one
        }
        first
    }
}

/// What the disk takes for one durable record, in milliseconds.
fn sync(folder: &Path) -> anyhow::Result<f64> {
    let mut file = File::options().create(true).append(true).open(folder.join("floor"))?;
    let (synced, took) = timed(|| file.write_all(&RECORD).and_then(|()| file.sync_data()));
    synced?;
    Ok(took)
}

fn ms(time: Nanos) -> f64 {
    time.as_secs_f64() * 1e3
}
