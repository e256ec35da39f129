//! Writing to the kernel without ever waiting for it for long.
//!
//! A write may block (one to the huge-page selector waits for kernel work on a CPU where a real-time thread spins), so the
//! whole batch goes to a worker thread, and the caller waits at most one deadline for a write that does not come back. The
//! stuck write is left to its thread, which keeps the lock; a fresh worker goes on with the rest. The worker looks before
//! it writes: a cell that no longer holds what the journal says is not touched.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use host::occupancy::Sample;
use host::threads::{Policy, Role, monotonic_now, spawn};
use host::{Error, Root, affinity, ethtool, numa, resctrl, scheduling, steering, swaps};
use units::limits::BLOCKED_WRITES_MAX;
use units::{CpuSet, Nanos};

use crate::boot;
use crate::cell::{Cell, Form, OFF, Reading, Step};
use crate::culprit;
use crate::errno;
use crate::fixture;
use crate::headroom;
use crate::lock::Lock;

/// One cell to write.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub knob: &'static str,
    pub cell: Cell,
    /// What the journal says stands there; anything else is somebody's change of this moment.
    pub from: Expected,
    pub to: String,
    /// The files' content byte for byte, when the value is an original.
    pub raw: Option<Vec<String>>,
}

/// What may stand in a cell before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expected {
    /// This value.
    Value(String),
    /// Anything: the kernel itself changes it while neighbours are written, or the operator said so.
    Anything,
    /// Anything, and it is written although it stands: what it had effected is gone, or it may not be what stands.
    Effectless,
}

/// What came of one job.
#[derive(Debug)]
pub(crate) enum Done {
    /// It was written, or held the value already; this was read back.
    Wrote(Reading),
    /// Somebody changed it since it was journaled: this stands there, nothing was written.
    Changed(Reading),
    /// The kernel refused; this stands there now.
    Refused(Error, Result<Reading, Error>),
    /// The kernel took the write and goes on showing what stood there before: it may have taken effect all the same.
    Unseen(Reading, String),
    /// The value did not stay what was written, or growing on would have endangered the machine.
    Differs(Reading, String),
    /// The thread it was about has ended.
    Gone,
    /// It could not be looked at.
    Unreadable(Error),
    /// The write is still in the kernel: since when, and who may be in its way.
    Blocked(String),
    /// The write came back after its deadline, while others of the batch were written: what came of it, and what was said of
    /// it when it was given up.
    Late(Box<Done>, String),
    /// A part of the batch before it failed.
    NotTried,
}

impl Done {
    fn is_failure(&self) -> bool {
        match self {
            Self::Late(done, _) => done.is_failure(),
            other => !matches!(other, Self::Wrote(_) | Self::Gone),
        }
    }
}

/// How a batch is carried out.
pub(crate) struct Mode {
    /// The rest is not tried after the first failure.
    pub stop_at_failure: bool,
    pub deadline: Nanos,
    /// Where the worker runs.
    pub cpus: CpuSet,
    pub pulse: Pulse,
}

/// Called again and again while writes are waited for: a batch may take long, and whoever waits for a sign of life of this
/// process must not take that for its end.
#[derive(Clone, Default)]
pub(crate) struct Pulse(Option<Arc<dyn Fn() + Send + Sync>>);

impl Pulse {
    pub fn new(beat: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(beat)))
    }

    pub fn beat(&self) {
        if let Some(beat) = &self.0 {
            beat();
        }
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulse").field(&self.0.is_some()).finish()
    }
}

/// The longest time between two beats.
const BEAT: Nanos = Nanos::from_secs(1);

/// What the worker and its client share.
struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

struct Progress {
    done: Vec<Option<Done>>,
    running: Option<Running>,
    /// Workers of an earlier generation were given up.
    generation: u64,
    finished: bool,
}

/// The job in hand.
#[derive(Clone, Copy)]
struct Running {
    index: usize,
    /// When its present write began.
    since: Nanos,
    /// The thread that writes.
    tid: i32,
}

impl Shared {
    fn of(jobs: usize) -> Arc<Self> {
        let progress = Progress {
            done: std::iter::repeat_with(|| None).take(jobs).collect(),
            running: None,
            generation: 0,
            finished: false,
        };
        Arc::new(Self { progress: Mutex::new(progress), changed: Condvar::new() })
    }

    /// What came of each job; those that nobody came to were not tried.
    fn taken(&self) -> Vec<Done> {
        self.progress().done.iter_mut().map(|done| done.take().unwrap_or(Done::NotTried)).collect()
    }

    /// A worker that panicked took the process with it or left its job without a result; the data are plain.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out `jobs` in order.
pub(crate) fn run(root: &Arc<Root>, lock: &Arc<Lock>, jobs: Vec<Job>, mode: &Mode) -> Vec<Done> {
    if jobs.is_empty() {
        return Vec::new();
    }
    let shared = Shared::of(jobs.len());
    let batch = Batch { root: root.clone(), lock: lock.clone(), jobs: jobs.into(), shared, mode };
    batch.start(0, BTreeSet::new());
    batch.wait();
    batch.shared.taken()
}

/// Carries out `jobs` in order on the thread that asks: for writes that cannot block, where the way to a worker and back
/// would be most of the time.
pub(crate) fn run_here(root: &Arc<Root>, lock: &Arc<Lock>, jobs: Vec<Job>) -> Vec<Done> {
    let shared = Shared::of(jobs.len());
    let worker = Worker {
        root: root.clone(),
        jobs: jobs.into(),
        shared: shared.clone(),
        generation: 0,
        stop_at_failure: false,
        stuck: BTreeSet::new(),
        lock: lock.clone(),
    };
    worker.work(0);
    shared.taken()
}

struct Batch<'m> {
    root: Arc<Root>,
    lock: Arc<Lock>,
    jobs: Arc<[Job]>,
    shared: Arc<Shared>,
    mode: &'m Mode,
}

impl Batch<'_> {
    /// Starts a worker at job `first`; jobs on files in `stuck` are not tried.
    fn start(&self, first: usize, stuck: BTreeSet<String>) {
        let generation = self.shared.progress().generation;
        let worker = Worker {
            root: self.root.clone(),
            jobs: self.jobs.clone(),
            shared: self.shared.clone(),
            generation,
            stop_at_failure: self.mode.stop_at_failure,
            stuck,
            lock: self.lock.clone(),
        };
        let role = Role { name: "tune-writer".into(), cpus: self.mode.cpus.clone(), policy: Policy::Other };
        // The role's CPUs may be refused inside a cpuset; writing elsewhere is better than not writing.
        if spawn(role, move |_| worker.work(first)).is_err() {
            let mut progress = self.shared.progress();
            progress.finished = true; // no thread to be had: the rest is not tried
        }
    }

    fn deadline(&self, index: usize) -> Nanos {
        let patience = match self.jobs[index].cell.form {
            Form::Pages { .. } => PAGES_PATIENCE,
            Form::Link { .. } | Form::Spread { .. } | Form::FlowRule { .. } => LINK_PATIENCE,
            Form::SwapArea { .. } => SWAP_PATIENCE,
            Form::BootLine { .. } if self.root.is_system() => DISK_PATIENCE,
            _ => 1,
        };
        self.mode.deadline.times(patience)
    }

    /// Waits until all is done, giving up on writes that do not come back.
    fn wait(&self) {
        let (mut stuck, mut blocked) = (BTreeSet::new(), 0);
        // Who was runnable when the write that began then had taken its time.
        let mut look: Option<(Nanos, Option<Sample>)> = None;
        let mut progress = self.shared.progress();
        while !progress.finished {
            let (left, until_look) = match progress.running {
                Some(Running { index, since, .. }) => {
                    let (deadline, now) = (self.deadline(index), monotonic_now());
                    let is_looked = look.as_ref().is_some_and(|(began, _)| *began == since);
                    let until_look = Nanos(deadline.0 / LOOK_AFTER);
                    (since + deadline - now, (!is_looked).then(|| (since, since + until_look - now)))
                }
                None => (self.mode.deadline, None),
            };
            if let Some((since, Nanos::ZERO)) = until_look {
                drop(progress);
                look = Some((since, Sample::take(&self.root, monotonic_now()).ok()));
                progress = self.shared.progress();
                continue;
            }
            if left > Nanos::ZERO {
                let until = until_look.map_or(left, |(_, until)| until.min(left)).min(BEAT);
                let waited = self.shared.changed.wait_timeout(progress, Duration::from(until));
                progress = waited.unwrap_or_else(PoisonError::into_inner).0;
                self.mode.pulse.beat();
                continue;
            }
            let Some(running) = progress.running.take() else { continue };
            progress.done[running.index] = Some(Done::Blocked(String::new()));
            progress.generation += 1;
            drop(progress);
            blocked += 1;
            stuck.extend(self.jobs[running.index].cell.files().into_iter().map(str::to_owned));
            let began = look.take().and_then(|(_, sample)| sample);
            let told = culprit::told(&self.root, self.deadline(running.index), running.tid, began.as_ref());
            self.shared.progress().explain(running.index, told);
            if blocked > BLOCKED_WRITES_MAX || self.mode.stop_at_failure {
                return;
            }
            self.start(running.index + 1, stuck.clone());
            progress = self.shared.progress();
        }
    }
}

impl Progress {
    /// Says why the write `index`, which was given up, is stuck; it may have come back since.
    fn explain(&mut self, index: usize, told: String) {
        if let Some(Done::Blocked(why) | Done::Late(_, why)) = &mut self.done[index] {
            *why = told;
        }
    }
}

/// One thread's part of a batch.
struct Worker {
    root: Arc<Root>,
    jobs: Arc<[Job]>,
    shared: Arc<Shared>,
    generation: u64,
    stop_at_failure: bool,
    stuck: BTreeSet<String>,
    /// Held while a write of this thread may be in the kernel.
    lock: Arc<Lock>,
}

impl Worker {
    fn work(self, first: usize) {
        let tid = nix::unistd::gettid().as_raw();
        for index in first..self.jobs.len() {
            let job = &self.jobs[index];
            if !self.tick(index, tid) {
                return; // given up: somebody else does the rest
            }
            let stuck = job.cell.files().into_iter().find(|file| self.stuck.contains(*file));
            let done = match stuck {
                Some(file) => Done::Blocked(format!("an earlier write of {file} is still in the kernel")),
                None => self.perform(index, tid, job),
            };
            let stop = self.stop_at_failure && done.is_failure();
            let mut progress = self.shared.progress();
            if progress.generation != self.generation {
                // Given up, and somebody else does the rest. Before the batch is over it can still be told what came of it.
                if let Some(Done::Blocked(why)) = progress.done[index].take() {
                    progress.done[index] = Some(Done::Late(Box::new(done), why));
                }
                return;
            }
            progress.done[index] = Some(done);
            progress.running = None;
            if stop {
                break;
            }
        }
        // Before the client goes on: the lock is free once its own share is gone.
        drop(self.lock);
        self.shared.progress().finished = true;
        self.shared.changed.notify_one();
    }

    /// A write begins; false when this worker was given up.
    fn tick(&self, index: usize, tid: i32) -> bool {
        let mut progress = self.shared.progress();
        if progress.generation != self.generation {
            return false;
        }
        progress.running = Some(Running { index, since: monotonic_now(), tid });
        true
    }

    fn perform(&self, index: usize, tid: i32, job: &Job) -> Done {
        let before = match job.cell.read(&self.root) {
            Ok(reading) => reading,
            Err(error) => return Done::Unreadable(error),
        };
        if job.cell.is_fleeting() && before == Reading::Absent {
            return Done::Gone;
        }
        if self.is_settled(job, &before) {
            return Done::Wrote(before);
        }
        if let Expected::Value(expected) = &job.from
            && before.text() != expected
        {
            return Done::Changed(before);
        }
        if let Some(objection) = self.swap_objection(job) {
            return Done::Differs(before, objection);
        }
        let stood = before.text().to_owned();
        let written = match job.cell.form {
            Form::Pages { .. } if before != Reading::Torn && job.from != Expected::Effectless => {
                return self.resize(index, tid, job, before);
            }
            Form::BootLine { ref dir } => boot::write_line(&self.root, dir, &job.to),
            _ if !self.root.is_live() => fixture::write(&self.root, &job.cell, &job.to, job.raw.as_deref()),
            _ => self.write(job, before.text()),
        };
        let after = job.cell.read(&self.root);
        match (written, after) {
            (Err(error), _) if job.cell.is_fleeting() && error.is_absent() => Done::Gone,
            (Ok(()), Ok(Reading::Absent)) if job.cell.is_fleeting() => Done::Gone,
            // What stands there counts, whatever the call said.
            (Err(_), Ok(after)) if job.cell.same(after.text(), &job.to) => Done::Wrote(after),
            (Err(error), after) => Done::Refused(error, after),
            (Ok(()), Err(error)) => Done::Unreadable(error),
            (Ok(()), Ok(after)) if job.cell.same(after.text(), &job.to) => Done::Wrote(after),
            (Ok(()), Ok(after)) => {
                let stands = job.cell.told(after.text(), &job.to);
                let reason = format!("wrote {}, and {stands} stands there", job.to);
                let is_unseen = after.text() == stood && job.cell.can_be_written_again();
                if is_unseen { Done::Unseen(after, reason) } else { Done::Differs(after, reason) }
            }
        }
    }

    /// Whether there is nothing to write. Plain files must match byte for byte: there the bytes are all there is.
    fn is_settled(&self, job: &Job, now: &Reading) -> bool {
        let bytes_match =
            self.root.is_live() || job.raw.as_ref().is_none_or(|raw| raw.is_empty() || raw == now.raw());
        let is_lost = job.from == Expected::Effectless;
        now.text() == job.to && bytes_match && *now != Reading::Torn && !is_lost
    }

    fn write(&self, job: &Job, from: &str) -> Result<(), Error> {
        let steps = job.cell.steps(from, &job.to).map_err(|problem| Error::Format {
            path: self.root.display(&job.cell.path),
            line: job.to.clone(),
            problem,
        })?;
        let written = steps.iter().try_for_each(|step| self.step(job, step));
        match job.cell.form {
            Form::CacheWays => written.map_err(|error| resctrl::explained(&self.root, error)),
            _ => written,
        }
    }

    fn step(&self, job: &Job, step: &Step) -> Result<(), Error> {
        let (knob, cell) = (job.knob, &job.cell);
        let once = || match step {
            Step::Write { path, text } => self.root.write(path, text),
            Step::MakeDir { path } => self.root.make_dir(path),
            Step::RemoveDir { path } => self.root.remove_dir(path),
            // The call would reach a thread of the running machine that has this number.
            Step::Affinity { cpus, .. } if !self.root.is_system() => fixture::confine(&self.root, cell, cpus),
            Step::Affinity { tid, start_ticks, cpus } => {
                affinity::set_allowed(&self.root, *tid, *start_ticks, cpus)
            }
            Step::Schedule { policy, .. } if !self.root.is_system() => {
                fixture::schedule(&self.root, cell, *policy)
            }
            Step::Schedule { tid, start_ticks, policy } => {
                scheduling::set_schedule(&self.root, *tid, *start_ticks, *policy)
            }
            Step::Link { address, aspect, values } => ethtool::set(&self.root, address, *aspect, values),
            Step::Spread { address, to } => steering::set_spread(&self.root, address, to),
            Step::Steer { address, flow, queue } => steering::steer(&self.root, address, flow, *queue),
            Step::Swap { area, to } if !self.root.is_system() => fixture::swap(&self.root, area, *to),
            Step::Swap { area, to: None } => swaps::switch_off(&self.root, area),
            Step::Swap { area, to: Some(to) } => swaps::switch_on(&self.root, area, to.priority),
            Step::BootLine { dir, .. } => {
                Err(Error::Path { path: dir.clone(), problem: "a boot line is more than one write" })
            }
        };
        let mut result = once();
        for _ in 0..RETRIES {
            match &result {
                Err(error) if errno::is_transient(knob, error) => result = once(),
                _ => break,
            }
        }
        result
    }

    /// Gets a pool of huge pages to its size in steps, looking at the node's head-room before each.
    fn resize(&self, index: usize, tid: i32, job: &Job, before: Reading) -> Done {
        let mut now = before;
        loop {
            let next = match self.next_size(job, now.text()) {
                Ok(Some(next)) => next,
                Ok(None) if !self.root.is_live() => return self.finish_plain(job),
                Ok(None) => return Done::Wrote(now),
                Err(reason) => return Done::Differs(now, reason),
            };
            if !self.tick(index, tid) {
                let reason =
                    format!("stopped at {} pages: that step took longer than its deadline", now.text());
                return Done::Differs(now, reason);
            }
            let step = Step::Write { path: job.cell.path.clone(), text: next.clone() };
            let written = self.step(job, &step);
            let after = match job.cell.read(&self.root) {
                Ok(after) => after,
                Err(error) => return Done::Unreadable(error),
            };
            if let Err(error) = written {
                return Done::Refused(error, Ok(after));
            }
            if after.text() != next {
                let reason = refused_pages(now.text(), &next, after.text());
                let is_unseen = after.text() == now.text();
                return if is_unseen { Done::Unseen(after, reason) } else { Done::Differs(after, reason) };
            }
            now = after;
        }
    }

    /// Why what is swapped to an area is not brought back at this very moment.
    fn swap_objection(&self, job: &Job) -> Option<String> {
        let Form::SwapArea { area, floor } = &job.cell.form else { return None };
        let areas = swaps::areas(&self.root).ok()?;
        let used = areas.iter().find(|known| known.path == *area)?.used_kib << 10;
        if job.to != OFF || used == 0 {
            return None;
        }
        let nodes = numa::nodes(&self.root).unwrap_or_default();
        let nodes: Vec<_> = nodes.into_iter().filter_map(|id| numa::node(&self.root, id).ok()).collect();
        headroom::swap_objection(&nodes, *floor, used).map(|objection| format!("left as it is: {objection}"))
    }

    /// A plain file gets its bytes as the kernel would show them.
    fn finish_plain(&self, job: &Job) -> Done {
        let written = fixture::write(&self.root, &job.cell, &job.to, job.raw.as_deref());
        match (written, job.cell.read(&self.root)) {
            (Ok(()), Ok(after)) => Done::Wrote(after),
            (Err(error), after) => Done::Refused(error, after),
            (Ok(()), Err(error)) => Done::Unreadable(error),
        }
    }

    /// The size to ask for next; `None` when it is reached.
    fn next_size(&self, job: &Job, now: &str) -> Result<Option<String>, String> {
        let Form::Pages { node, size, floor } = job.cell.form else { return Ok(None) };
        let count = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no count of pages"));
        let (now, to) = (count(now)?, count(&job.to)?);
        if now >= to {
            return Ok((now > to).then(|| to.to_string()));
        }
        let step = (STEP_BYTES / size.bytes()).max(1).min(to - now);
        let node = numa::node(&self.root, node).map_err(|error| error.to_string())?;
        if let Some(objection) = headroom::objection(&node, floor, step * size.bytes()) {
            return Err(format!("stopped at {now} of {to} pages: {objection}"));
        }
        Ok(Some((now + step).to_string()))
    }
}

/// Why a pool did not get the size that was asked for.
fn refused_pages(before: &str, asked: &str, now: &str) -> String {
    let (before, asked) = (before.parse::<u64>(), asked.parse::<u64>());
    match (before, asked) {
        (Ok(before), Ok(asked)) if asked < before => {
            format!("asked to shrink to {asked} pages, {now} are in use; they go when their owner frees them")
        }
        (_, asked) => format!("asked for {} pages, the kernel gave {now}", asked.unwrap_or_default()),
    }
}

/// Attempts after the first at a write that the kernel was too busy for.
const RETRIES: usize = 3;

/// How much longer than others a write for huge pages may take: the kernel may have to compact memory first (0.3 s for four
/// pages on an emulated machine with Linux 6.12, where everything else met its deadline).
const PAGES_PATIENCE: u64 = 20;

/// How much longer a driver may take: it may stop the card, and wait for the link.
const LINK_PATIENCE: u64 = 40;

/// How much longer it may take to read back what is swapped out: a disk gives some GiB in that minute.
const SWAP_PATIENCE: u64 = 240;

/// How much longer an edit of the boot line may take: it is flushed to a disk several times over.
pub(crate) const DISK_PATIENCE: u64 = 40;

/// The part of its deadline after which a write is looked at for the first time: of 250 ms 50, where the slowest write that
/// nothing is in the way of takes 0.3 ms (workqueue cpumask, 2-vCPU VM), and 200 ms are left for whoever is in the way to be
/// seen in it.
const LOOK_AFTER: u64 = 5;

/// Memory taken between two looks at the head-room: 64 pages of 2 MiB take the kernel about 0.2 ms (2-vCPU VM).
const STEP_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateDir;
    use nix::sys::stat::Mode as FileMode;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use units::limits::KERNEL_WRITE_DEADLINE;

    /// A tree of plain files, and the lock that a batch needs.
    struct Bench {
        dir: tempfile::TempDir,
        root: Arc<Root>,
        lock: Option<Arc<Lock>>,
        /// Far away while nothing is stuck: a starved machine must not fail a test.
        deadline: Nanos,
        beats: Arc<AtomicUsize>,
    }

    impl Bench {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("sys")).unwrap();
            let bench = Self {
                root: Arc::new(Root::at(dir.path())),
                lock: Some(Arc::new(Lock::take(&state(dir.path())).unwrap())),
                deadline: Nanos::from_secs(3600),
                beats: Arc::default(),
                dir,
            };
            for (name, text) in files {
                std::fs::File::create(bench.path(name)).unwrap();
                bench.root.write(&format!("/sys/{name}"), text).unwrap();
            }
            bench
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join("sys").join(name)
        }

        /// A pipe: opening it blocks until somebody opens its other end, as a stuck kernel attribute does.
        fn stuck(&mut self, name: &str) {
            self.deadline = KERNEL_WRITE_DEADLINE; // every test of a stuck write waits for it
            nix::unistd::mkfifo(&self.path(name), FileMode::S_IRWXU).unwrap();
        }

        fn run(&self, jobs: Vec<Job>, stop_at_failure: bool) -> Vec<Done> {
            let cpus = host::threads::allowed_cpus().unwrap();
            let beats = self.beats.clone();
            let pulse = Pulse::new(move || {
                beats.fetch_add(1, Ordering::Relaxed);
            });
            let mode = Mode { stop_at_failure, deadline: self.deadline, cpus, pulse };
            run(&self.root, self.lock.as_ref().unwrap(), jobs, &mode)
        }
    }

    fn state(dir: &Path) -> StateDir {
        StateDir::create(&dir.join("state")).unwrap()
    }

    fn job(name: &str, from: &str, to: &str) -> Job {
        Job {
            knob: "mem.swap",
            cell: Cell::plain(format!("/sys/{name}"), Form::Number),
            from: Expected::Value(from.to_owned()),
            to: to.to_owned(),
            raw: None,
        }
    }

    fn words(done: &[Done]) -> Vec<&'static str> {
        let word = |done: &Done| match done {
            Done::Wrote(_) => "wrote",
            Done::Changed(_) => "changed",
            Done::Refused(..) => "refused",
            Done::Unseen(..) => "unseen",
            Done::Differs(..) => "differs",
            Done::Unreadable(_) => "unreadable",
            Done::Gone => "gone",
            Done::Blocked(_) => "blocked",
            Done::Late(..) => "late",
            Done::NotTried => "not tried",
        };
        done.iter().map(word).collect()
    }

    #[test]
    fn a_batch_is_written_in_order() {
        let bench = Bench::new(&[("a", "1\n"), ("b", "1\n")]);
        let done = bench.run(vec![job("a", "1", "2"), job("b", "1", "3"), job("a", "2", "4")], false);
        assert_eq!(words(&done), ["wrote", "wrote", "wrote"]);
        assert_eq!(bench.root.read("/sys/a").unwrap(), "4\n");
    }

    #[test]
    fn a_batch_comes_to_the_same_without_a_worker() {
        let bench = Bench::new(&[("a", "1\n"), ("b", "7\n")]);
        let jobs = vec![job("a", "1", "2"), job("b", "1", "3"), job("none", "1", "2"), job("a", "2", "4")];
        let done = run_here(&bench.root, bench.lock.as_ref().unwrap(), jobs);
        assert_eq!(words(&done), ["wrote", "changed", "changed", "wrote"]);
        assert_eq!(bench.root.read("/sys/a").unwrap(), "4\n");
    }

    #[test]
    fn what_changed_since_it_was_journaled_is_not_touched() {
        let bench = Bench::new(&[("a", "42\n"), ("b", "2\n")]);
        let writes = bench.root.write_count();
        let done = bench.run(vec![job("a", "1", "2"), job("b", "1", "2")], false);
        assert_eq!(words(&done), ["changed", "wrote"], "b holds what it should");
        assert_eq!(bench.root.write_count() - writes, 0);
        assert_eq!(bench.root.read("/sys/a").unwrap(), "42\n");
    }

    #[test]
    fn the_rest_is_not_tried_when_asked_so() {
        let bench = Bench::new(&[("a", "42\n"), ("b", "1\n")]);
        let jobs = || vec![job("a", "1", "2"), job("b", "1", "2")];
        assert_eq!(words(&bench.run(jobs(), true)), ["changed", "not tried"]);
        assert_eq!(words(&bench.run(jobs(), false)), ["changed", "wrote"]);
    }

    #[test]
    fn while_a_write_is_stuck_there_are_signs_of_life() {
        let mut bench = Bench::new(&[]);
        bench.stuck("pipe");
        bench.deadline = BEAT.times(3);
        assert_eq!(words(&bench.run(vec![job("pipe", "1", "2")], false)), ["blocked"]);
        let beats = bench.beats.load(Ordering::Relaxed);
        assert!(beats >= 3, "{beats} beats in three times their longest distance");
    }

    #[test]
    fn a_stuck_write_does_not_stop_the_others_and_keeps_the_lock() {
        let mut bench = Bench::new(&[("a", "1\n"), ("b", "1\n")]);
        bench.stuck("pipe");
        let jobs = vec![job("a", "1", "2"), job("pipe", "1", "2"), job("pipe", "1", "3"), job("b", "1", "2")];
        let done = bench.run(jobs, false);
        // The second job on the stuck file is not even begun: never two writes to one file at once.
        assert_eq!(words(&done), ["wrote", "blocked", "blocked", "wrote"]);
        bench.lock = None;
        assert!(
            Lock::take(&state(bench.dir.path())).is_err(),
            "the stuck thread holds its share of the lock"
        );
        // Both ends open: the stuck thread comes back, finds itself given up and lets go.
        let _end = std::fs::OpenOptions::new().read(true).write(true).open(bench.path("pipe")).unwrap();
    }

    #[test]
    fn too_many_stuck_writes_end_the_batch() {
        let mut bench = Bench::new(&[("a", "1\n")]);
        let names: Vec<String> = (0..=BLOCKED_WRITES_MAX).map(|n| format!("pipe{n}")).collect();
        names.iter().for_each(|name| bench.stuck(name));
        let jobs = names.iter().map(|name| job(name, "1", "2")).chain([job("a", "1", "2")]).collect();
        let done = bench.run(jobs, false);
        assert_eq!(words(&done).iter().filter(|word| **word == "blocked").count(), BLOCKED_WRITES_MAX + 1);
        assert_eq!(words(&done).last(), Some(&"not tried"));
        for name in &names {
            std::fs::OpenOptions::new().read(true).write(true).open(bench.path(name)).unwrap();
        }
    }
}
