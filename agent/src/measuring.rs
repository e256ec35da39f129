//! What measures: clock, probe threads, collector; started as one list and stopped backwards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use clock::{Calibration, Clock};
use crossbeam_channel::{Receiver, Sender, bounded};
use host::Root;
use host::perf::Ring;
use host::tasks::{self, Pid};
use host::threads::{self, Policy, Role};
use latency::{Budget, Layout, Stalls, State, Watch};
use probes::{Channel, Feed, Running, Spec};
use report::{ClockReport, wall_time_now};
use tokio::sync::{Notify, oneshot};
use units::limits::TRACE_CPUS_MAX;
use units::{CpuId, CpuSet, Nanos};

use crate::collector::{BudgetEvent, Collector, EVENTS_MAX, Events, Lag, REQUESTS_MAX, Request, Watched};
use crate::facts::Facts;
use crate::placement::{self, Placement, PlacementError};
use crate::reporter::Ground;
use crate::rings::{CpuRing, Rings};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::sources;
use crate::watchdog::Watchdog;

/// Why measuring could not begin. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host does not show its CPUs.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// No CPU can be measured.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// A budget cannot be judged with these settings.
    #[error("{}", .0.join("\n"))]
    Budgets(Vec<String>),
    /// The probes could not be started.
    #[error(transparent)]
    Probes(#[from] probes::Error),
    /// The collector could not be started.
    #[error("cannot start the collector: {0}")]
    Collector(std::io::Error),
}

/// Everything that was found to be right before anything is started.
#[derive(Debug)]
pub struct Prepared {
    settings: Settings,
    facts: Facts,
    placement: Placement,
    spec: Spec,
    timing: Timing,
}

/// The clock, and what is known of it before its stamps were compared between CPUs.
#[derive(Debug, Clone)]
struct Timing {
    clock: Clock,
    report: ClockReport,
    calibration: Option<Calibration>,
}

/// What the collector is built from.
struct Parts {
    ground: Ground,
    timing: Timing,
    running: Running,
    feeds: Vec<Feed>,
    watched: Vec<Watched>,
}

/// A running measurement.
#[derive(Debug)]
pub struct Measuring {
    ground: Ground,
    timing: Timing,
    checked: OnceLock<bool>,
    /// Whether each watched budget is breached, as last noted.
    breached: Vec<AtomicBool>,
    requests: Sender<Request>,
    rings: Sender<Box<CpuRing>>,
    events: Receiver<BudgetEvent>,
    bell: Arc<Notify>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Option<(Running, JoinHandle<Collector>)>>,
}

/// A calibration is checked against one this many times as long; shorter would prove little.
const CHECK_FACTOR: u64 = 10;

impl Measuring {
    /// Finds out what can be measured here with `settings`, and starts it.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn start(settings: &Settings, root: &Root, watchdog: Option<Watchdog>) -> Result<Self, StartError> {
        // The calibration's wait and the look at busy CPUs want the same kind of time, so one is spent inside the
        // other.
        let mut timing = None;
        let facts = Facts::read(root, allowed, |facts| timing = Some(start_clock(facts)))?;
        let timing = timing.expect("Facts::read has called back");
        Prepared::new(settings, facts, timing)?.start(watchdog)
    }

    /// Checks `settings` against this host as it is now, without disturbing what runs; the clock is kept.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn prepare(&self, settings: &Settings, root: &Root) -> Result<Prepared, StartError> {
        // Those we were given at the start: by now this thread stays off the measured ones by itself.
        let allowed = self.ground.facts.topology.allowed.clone();
        let facts = Facts::read(root, |_| Some(allowed), |_| pause(clock::SPAN_DEFAULT))?;
        Prepared::new(settings, facts, self.timing.clone())
    }

    /// What is measured by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.ground.settings
    }

    /// Asks the collector for a snapshot of the last `span`; `None` when it has ended or too many are asked for
    /// already.
    #[must_use]
    pub fn ask(&self, span: Option<Nanos>) -> Option<oneshot::Receiver<Box<Snapshot>>> {
        let room = Snapshot::with_room(
            self.ground.channels.len(),
            self.ground.cpus.len(),
            self.ground.watched.len(),
        );
        let (reply, answer) = oneshot::channel();
        let request = Request { snapshot: Box::new(room), span: span.unwrap_or(Nanos::MAX), reply };
        self.requests.try_send(request).ok().map(|()| answer)
    }

    /// The measured CPUs that were to have nobody else on them, as long as nobody named them.
    #[must_use]
    pub fn isolated(&self) -> Option<&CpuSet> {
        let Ground { placement, settings, .. } = &self.ground;
        (placement.isolated && settings.cpus.is_none()).then_some(&placement.measured)
    }

    /// The CPUs whose kernel events are worth reading: the measured ones, and the isolated ones that were left alone.
    #[must_use]
    pub fn traced(&self) -> CpuSet {
        let Ground { placement, facts, .. } = &self.ground;
        let isolated = facts.topology.online.intersection(&facts.topology.isolated);
        placement.measured.union(&isolated).iter().take(TRACE_CPUS_MAX).collect()
    }

    /// Gives the collector the ring of a CPU to read from now on, one for each CPU at most; it keeps it until it ends.
    pub fn read_ring(&self, ring: Ring) {
        let probe = self.ground.probes.iter().find(|(cpu, _)| *cpu == ring.cpu()).map(|(_, tid)| tid.0);
        // Full only when somebody gives it more than there may be.
        let _ = self.rings.try_send(CpuRing::new(ring, probe, threads::monotonic_now()));
    }

    /// What a report needs beside a snapshot, as of now.
    #[must_use]
    pub fn ground(&self) -> Ground {
        let mut ground = self.ground.clone();
        ground.clock.checked = self.check_clock();
        ground
    }

    /// Whether the clock's rate, measured over the time since the start, lies within the bound that was stated after
    /// the calibration. Answered once it can be, and then for good: a clock that failed does not become right again.
    fn check_clock(&self) -> Option<bool> {
        let calibration = self.timing.calibration.as_ref()?;
        if let Some(known) = self.checked.get() {
            return Some(*known);
        }
        let longer = calibration.extended().ok()?;
        if longer.span() < calibration.span().times(CHECK_FACTOR) {
            return None;
        }
        Some(*self.checked.get_or_init(|| calibration.check(&longer).holds()))
    }

    /// Returns when a budget has changed its state since the last call.
    pub async fn bell(&self) {
        self.bell.notified().await;
    }

    /// The changes not told yet.
    pub fn events(&self) -> impl Iterator<Item = BudgetEvent> + '_ {
        self.events.try_iter()
    }

    /// What a watched budget is about.
    #[must_use]
    pub fn watched(&self, index: usize) -> Option<(Channel, &Budget)> {
        let (channel, budget) = self.ground.watched.get(index)?;
        Some((self.ground.channels[*channel], budget))
    }

    /// Remembers that a watched budget is now in `state`, for the status line.
    pub fn note(&self, index: usize, state: State) {
        if let Some(known) = self.breached.get(index) {
            known.store(state.is_breach(), Ordering::Relaxed); // one thread writes and reads it
        }
    }

    /// How many budgets are breached, of how many.
    #[must_use]
    pub fn breached(&self) -> (usize, usize) {
        let breached = self.breached.iter().filter(|known| known.load(Ordering::Relaxed)).count();
        (breached, self.breached.len())
    }

    /// The CPUs that are measured.
    #[must_use]
    pub fn measured(&self) -> &CpuSet {
        &self.ground.placement.measured
    }

    /// Ends the probes, then the collector, which drains what they left. Takes a cycle of the probes; two seconds more
    /// when something of higher priority keeps them off their CPUs.
    pub fn stop(&self) {
        let Some((running, collector)) = self.threads.lock().ok().and_then(|mut threads| threads.take())
        else {
            return; // stopped already
        };
        for cpu in running.stop().unfinished {
            tracing::warn!(%cpu, "the probe thread did not end in time: something of higher priority keeps its CPU");
        }
        self.stop.store(true, Ordering::Release); // pairs with the load in Collector::run
        drop(collector.join()); // an error is its panic, which ends the process where panics abort
    }
}

/// Where this process may measure: the CPUs it was given, and the isolated ones that it was not, as far as it can have them.
fn allowed(isolated: &CpuSet) -> Option<CpuSet> {
    let given = threads::allowed_cpus().ok()?;
    match threads::reachable_cpus() {
        Ok(reachable) => Some(given.union(&isolated.intersection(&reachable))),
        Err(_) => Some(given),
    }
}

impl Prepared {
    fn new(settings: &Settings, facts: Facts, timing: Timing) -> Result<Self, StartError> {
        let problems = settings.infeasible();
        if !problems.is_empty() {
            return Err(StartError::Budgets(problems));
        }
        let placement = placement::choose(&facts.topology, settings.cpus.as_ref())?;
        let spec = sources::spec(settings, placement.measured.clone(), Some(&facts));
        spec.plan()?;
        Ok(Self { settings: settings.clone(), facts, placement, spec, timing })
    }

    /// Starts the threads: the cross-CPU check while the CPUs are still free, the probes, the collector. The calling
    /// thread, which is to be the control thread, leaves the measured CPUs; then memory is locked.
    ///
    /// # Errors
    /// [`StartError`], with nothing left running.
    pub fn start(self, watchdog: Option<Watchdog>) -> Result<Measuring, StartError> {
        let Self { settings, facts, placement, spec, timing } = self;
        let mut clock = timing.report.clone();
        check_skew(&placement.measured, timing.clock, &mut clock);
        let (running, feeds) = probes::start(&spec, timing.clock)?;
        let mut refused: Vec<_> = running
            .threads
            .iter()
            .filter_map(|thread| Some((thread.role.name.clone(), thread.placement.policy_refused.clone()?)))
            .collect();
        refused.extend(threads::pin(&placement.housekeeping).err().map(|cause| {
            ("control".to_owned(), format!("cannot stay on CPU {}: {cause}", placement.housekeeping))
        }));
        let started = threads::monotonic_now();
        let watched = watched(&running.channels, &settings.budgets, started);
        let ground = Ground {
            time: timing.clock,
            clock,
            cpus: feeds.iter().map(|feed| feed.cpu).collect(),
            probes: probe_threads(&running),
            channels: running.channels.clone(),
            watched: watched.iter().map(|w| (w.channel, w.budget.clone())).collect(),
            refused,
            not_locked: None,
            started: (wall_time_now(), started),
            facts,
            placement,
            settings,
        };
        start_collector(Parts { ground, timing, running, feeds, watched }, watchdog)
    }
}

/// The numbers of the probe threads, as far as `/proc` tells.
fn probe_threads(running: &Running) -> Vec<(CpuId, Pid)> {
    let own = tasks::own(&Root::system()).unwrap_or_default();
    let tid = |name: &str| own.iter().find(|task| task.stat.name == name).map(|task| task.stat.tid);
    running.threads.iter().filter_map(|thread| Some((thread.cpu, tid(&thread.role.name)?))).collect()
}

/// One watch for each channel that a budget is about.
fn watched(channels: &[Channel], budgets: &[Budget], now: Nanos) -> Vec<Watched> {
    let mut watched = Vec::new();
    for budget in budgets {
        for (channel, key) in channels.iter().enumerate() {
            if key.probe.name() == budget.channel.as_str() {
                watched.push(Watched { budget: budget.clone(), channel, watch: Watch::new(now) });
            }
        }
    }
    watched
}

/// The best clock these facts allow, and what the report says of it.
fn start_clock(facts: &clock::Facts) -> Timing {
    let clock::Started { clock, calibration, doubts } = Clock::start(facts, clock::SPAN_DEFAULT, pause);
    let report = ClockReport {
        source: clock.source().to_string(),
        hz: clock.hz(),
        error_ppb: calibration.as_ref().map(|calibration| u64::from(calibration.error_ppb())),
        invariant: clock.invariant(),
        calibrated_over: calibration.as_ref().map(Calibration::span),
        checked: None,
        skew_bound: None,
        doubts,
    };
    Timing { clock, report, calibration }
}

fn pause(span: Nanos) {
    threads::sleep_until(threads::monotonic_now() + span);
}

/// Compares the clocks of the measured CPUs while nothing else of ours runs on them.
///
/// Each is compared with the first, so any two agree within the sum of their two limits: the largest two bound them
/// all.
fn check_skew(cpus: &CpuSet, clock: Clock, report: &mut ClockReport) {
    let mut limits = Vec::new();
    for pair in probes::clock_check::check(cpus, clock) {
        match pair {
            Ok(skew) if skew.consistent => limits.push(skew.limit()),
            Ok(skew) => report.doubts.push(format!(
                "stamps of CPU {} and CPU {} contradict each other by up to {}",
                skew.pair.0,
                skew.pair.1,
                skew.limit()
            )),
            Err(unchecked) => report.doubts.push(unchecked.to_string()),
        }
    }
    limits.sort_unstable();
    report.skew_bound = (!limits.is_empty()).then(|| limits.iter().rev().take(2).copied().sum());
}

fn start_collector(parts: Parts, watchdog: Option<Watchdog>) -> Result<Measuring, StartError> {
    let Parts { mut ground, timing, running, feeds, watched } = parts;
    let (requests, wanted) = bounded(REQUESTS_MAX);
    let (queue, events) = bounded(EVENTS_MAX);
    let (rings, incoming) = bounded(TRACE_CPUS_MAX);
    let bell = Arc::new(Notify::new());
    let stop = Arc::new(AtomicBool::new(false));
    let breached = watched.iter().map(|_| AtomicBool::new(false)).collect();
    let collector = Collector {
        clock: ground.time,
        feeds,
        channels: channels(&ground),
        watched,
        stall: ground.settings.stall,
        stalls: Stalls::new(),
        rings: Rings::new(incoming),
        requests: wanted,
        events: Events { queue, bell: bell.clone() },
        watchdog,
        lag: Lag::default(),
    };
    let role = Role {
        name: "collector".to_owned(),
        cpus: ground.placement.housekeeping.clone(),
        policy: Policy::Other,
    };
    let stopped = stop.clone();
    let handle = threads::spawn(role, move |_| collector.run(&stopped)).map_err(StartError::Collector)?;
    ground.not_locked = threads::lock_memory().err().map(|cause| cause.to_string());
    let (threads, checked) = (Mutex::new(Some((running, handle))), OnceLock::new());
    Ok(Measuring { ground, timing, checked, breached, requests, rings, events, bell, stop, threads })
}

/// The empty channels, each counting the limits of the budgets about it.
fn channels(ground: &Ground) -> Vec<latency::Channel> {
    let limits = |index: usize| -> Vec<Nanos> {
        ground
            .watched
            .iter()
            .filter(|(channel, _)| *channel == index)
            .map(|(_, budget)| budget.limit)
            .collect()
    };
    let empty = |index| latency::Channel::new(&Layout::default(), &limits(index), ground.started.1);
    (0..ground.channels.len())
        .map(|index| empty(index).expect("settings bound the budgets of a channel"))
        .collect()
}
