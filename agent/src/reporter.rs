//! From a snapshot and what is known of the host to the report: values in, a document out.
//!
//! The judgement of fitness stands here and is deliberately narrow: a host is fit only when every budget is met, on
//! figures that nothing degrades. What cannot be said is unknown, and unknown is never fit.

use clock::Clock;
use host::Root;
use host::perf::{Class, Label};
use host::process::{Memory, Usage};
use host::tasks::{self, Pid, Task};
use latency::{ChannelSnapshot, Culprit, Stall, State};
use probes::{Channel, Kind};
use report::{
    BudgetReport, BudgetState, CAUSE_UNEXPLAINED, Cause, ChannelReport, ClockReport, DelayPoint, Fitness,
    FitnessState, KindReport, Measuring, Missing, Report, RingReport, SelfReport, StallReport, ThreadReport,
    WallTime, encode_hist,
};
use units::{CpuId, Nanos, Quantile};

use crate::collector::preempted;
use crate::counted::Counted;
use crate::facts::{Facts, missing};
use crate::placement::Placement;
use crate::rings::RingSnapshot;
use crate::settings::Settings;
use crate::snapshot::Snapshot;

/// Delays at which the law of delay is given; the first is the spin probe's threshold or above it.
const DELAY_POINTS: [Nanos; 6] = [
    Nanos::from_micros(1),
    Nanos::from_micros(5),
    Nanos::from_micros(10),
    Nanos::from_micros(50),
    Nanos::from_micros(100),
    Nanos::from_millis(1),
];

/// Everything that does not change while the agent measures, and what was checked since it began.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The host.
    pub facts: Facts,
    /// Where is measured.
    pub placement: Placement,
    /// What it was told.
    pub settings: Settings,
    /// The clock, and what is known of it.
    pub clock: ClockReport,
    /// The channels, in the snapshot's order.
    pub channels: Vec<Channel>,
    /// The measured CPUs, in the order of the snapshot's counters.
    pub cpus: Vec<CpuId>,
    /// The probe threads, by their CPUs.
    pub probes: Vec<(CpuId, Pid)>,
    /// The clock itself.
    pub time: Clock,
    /// Indices of the channel of each watch.
    pub watched: Vec<(usize, latency::Budget)>,
    /// What threads were refused, by name.
    pub refused: Vec<(String, String)>,
    /// Why memory is not locked; `None` when it is.
    pub not_locked: Option<String>,
    /// When measuring began, on the wall clock and on CLOCK_MONOTONIC.
    pub started: (WallTime, Nanos),
}

/// What is read of the agent itself at the moment of the report.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Its threads.
    pub tasks: Vec<Task>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// What it has used since it began.
    pub usage: Option<Usage>,
    /// What could not be read.
    pub missing: Vec<Missing>,
}

impl Own {
    /// Reads `/proc/self`, and what the kernel counts of this process.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let mut own = Self::default();
        match tasks::own(root) {
            Ok(tasks) => own.tasks = tasks,
            Err(why) => own.missing.push(missing("the agent's threads", &why, "mount /proc")),
        }
        match Memory::own(root) {
            Ok(memory) => own.memory = Some(memory),
            Err(why) => own.missing.push(missing("the agent's memory", &why, "mount /proc")),
        }
        own.usage = Usage::own().ok();
        own
    }
}

/// What the reader of a report asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// How far back the figures reach; `None` is since the start.
    pub span: Option<Nanos>,
    /// Whether histograms are wanted.
    pub hist: bool,
}

/// Writes the report as of `wall`, the wall time at which `snapshot` was taken.
#[must_use]
pub fn report(ground: &Ground, snapshot: &Snapshot, own: &Own, wanted: Wanted, wall: WallTime) -> Report {
    let at = |instant: Nanos| wall.before(snapshot.at - instant);
    let since_start = snapshot.at - ground.started.1;
    let covered = |figures: &ChannelSnapshot| wanted.span.map_or(since_start, |_| figures.covered);
    let window = snapshot.channels.iter().map(covered).max().unwrap_or_default();
    let channels: Vec<ChannelReport> = ground
        .channels
        .iter()
        .zip(&snapshot.channels)
        .map(|(key, figures)| {
            let mut channel = channel(ground, key, figures, snapshot, wanted);
            channel.degraded.extend(moved(own, key.cpu));
            channel
        })
        .collect();
    let budgets: Vec<BudgetReport> =
        (0..snapshot.watches.len()).map(|index| budget(ground, snapshot, index, at)).collect();
    let stalls = stalls(ground, snapshot, at);
    Report {
        schema: report::Schema::new(),
        host: ground.facts.hostname().to_owned(),
        boot_id: ground.facts.boot.as_ref().map(|boot| boot.boot_id.clone()),
        generated_at: wall,
        agent_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        started_at: Some(ground.started.0),
        window_s: window.as_secs_f64(),
        fitness: fitness(&budgets, &channels, &ground.clock),
        clock: ground.clock.clone(),
        measuring: Some(measuring(&ground.placement)),
        channels,
        budgets,
        stalls_seen: Some(snapshot.stalls.seen()),
        // Not those that left the newest: the worst of them are still listed.
        stalls_dropped: Some(snapshot.stalls.seen().saturating_sub(stalls.len() as u64)),
        stalls,
        knobs: None,
        keeper: None,
        drift: Vec::new(),
        rings: snapshot.rings.iter().map(|ring| ring_report(ring, at)).collect(),
        threads: own.tasks.iter().map(|task| thread(task, &ground.refused)).collect(),
        self_: own_cost(own, ground.not_locked.is_none()),
        missing: all_missing(ground, own, !snapshot.rings.is_empty()),
        notes: notes(ground, snapshot),
    }
}

fn measuring(placement: &Placement) -> Measuring {
    Measuring { cpus: placement.measured.clone(), isolated: placement.isolated, why: placement.why.clone() }
}

fn channel(
    ground: &Ground,
    key: &Channel,
    figures: &ChannelSnapshot,
    snapshot: &Snapshot,
    wanted: Wanted,
) -> ChannelReport {
    let histogram = if wanted.span.is_some() { &figures.window } else { &figures.total };
    let quantile = |q: Quantile| histogram.value_at(q);
    let thread = ground.cpus.iter().position(|cpu| *cpu == key.cpu);
    let counted = thread.and_then(|index| snapshot.counted.get(index)).copied().unwrap_or_default();
    let has_pace = key.probe == Kind::TimerWakeup;
    ChannelReport {
        name: key.probe.to_string(),
        cpu: Some(key.cpu),
        count: histogram.count(),
        min: histogram.min(),
        p50: quantile(Quantile::P50),
        p90: quantile(Quantile::P90),
        p99: quantile(Quantile::P99),
        p99_9: quantile(Quantile::P99_9),
        p99_99: quantile(Quantile::P99_99),
        max: histogram.max(),
        mean: histogram.mean(),
        dropped: counted.dropped,
        hist: wanted.hist.then(|| encode_hist(&histogram.encode_v2())),
        unit: "ns".to_owned(),
        floor: counted.floor_of(key.probe, &ground.time),
        overflow: histogram.overflow(),
        scheduled: has_pace.then_some(counted.scheduled),
        corrected: has_pace.then_some(counted.corrected),
        total_count: Some(figures.total.count()),
        total_max: figures.total.max(),
        p99_interval: histogram.interval_at(Quantile::P99),
        p99_9_interval: histogram.interval_at(Quantile::P99_9),
        delay: delay_law(key.probe, figures, ground.time.to_nanos(counted.spun)),
        degraded: degraded(key.probe, histogram, &counted),
    }
}

/// The law of delay of a gap channel, since the start: only the total has the time that was observed beside it.
fn delay_law(probe: Kind, figures: &ChannelSnapshot, observed: Nanos) -> Vec<DelayPoint> {
    if probe != Kind::SpinGap {
        return Vec::new();
    }
    DELAY_POINTS
        .into_iter()
        .filter_map(|x| {
            let probability = latency::delay::exceedance(&figures.total, observed, x)?;
            Some(DelayPoint { longer_than: x, probability })
        })
        .collect()
}

fn degraded(probe: Kind, histogram: &latency::Histogram, counted: &Counted) -> Vec<String> {
    let mut reasons = Vec::new();
    if counted.dropped > 0 {
        reasons.push(format!("{} samples of this CPU were lost before they were recorded", counted.dropped));
    }
    let failed = counted.failed_of(probe);
    if failed > 0 {
        reasons
            .push(format!("{failed} times there was nothing to be timed: it needs {}", probe.about().needs));
    }
    if histogram.overflow() > 0 {
        reasons.push(format!("{} samples are beyond the histogram's range", histogram.overflow()));
    }
    reasons
}

/// A probe's thread that may run elsewhere now: a cpuset that shrinks, or a CPU that goes off line, moves it without a word
/// to it, and what it measures is no longer its CPU.
fn moved(own: &Own, cpu: CpuId) -> Option<String> {
    let name = format!("probe-cpu{cpu}");
    let allowed = &own.tasks.iter().find(|task| task.stat.name == name)?.allowed;
    (*allowed != cpu.into()).then(|| {
        format!("its thread was moved to CPU {allowed} (a cpuset, or CPU {cpu} went off line): these are figures of that")
    })
}

fn budget(
    ground: &Ground,
    snapshot: &Snapshot,
    index: usize,
    at: impl Fn(Nanos) -> WallTime,
) -> BudgetReport {
    let (channel, budget) = &ground.watched[index];
    let watch = &snapshot.watches[index];
    let key = &ground.channels[*channel];
    BudgetReport {
        name: budget.name.to_string(),
        channel: budget.channel.to_string(),
        state: match watch.state() {
            State::Ok => BudgetState::Ok,
            State::Pending => BudgetState::Pending,
            State::Breached => BudgetState::Breached,
            State::Resolving => BudgetState::Resolving,
            State::Unknown => BudgetState::Unknown,
        },
        value: snapshot.values[index],
        limit: budget.limit,
        since: at(watch.since()),
        samples: watch.seen().samples,
        exceeded: Some(watch.seen().exceeded),
        cpu: Some(key.cpu),
        terms: Some(budget.to_string()),
        missing_for: Some(watch.missing_for()).filter(|span| *span > Nanos::ZERO),
        breaches: Some(watch.breaches()),
    }
}

/// The worst stalls and the newest, each once, longest first.
fn stalls(ground: &Ground, snapshot: &Snapshot, at: impl Fn(Nanos) -> WallTime) -> Vec<StallReport> {
    let mut kept: Vec<&Stall> = snapshot.stalls.worst().chain(snapshot.stalls.newest()).collect();
    kept.sort_by_key(|stall| (std::cmp::Reverse(stall.duration), stall.seq));
    kept.dedup_by_key(|stall| stall.seq);
    kept.into_iter()
        .map(|stall| StallReport {
            at: at(stall.at),
            cpu: stall.cpu,
            duration: stall.duration,
            cause: cause(stall),
            seq: Some(stall.seq),
            channel: ground.channels.get(stall.channel).map(|key| key.probe.to_string()),
            sightings: Some(u64::from(stall.sightings)),
            waited_on_runqueue: stall.waited_on_runqueue,
        })
        .collect()
}

/// What had the CPU through most of a stall by the kernel's own events; without those, a probe thread that waited for its
/// CPU was preempted, its own scheduling statistics say so. Otherwise the stall is unexplained; nothing is guessed.
fn cause(stall: &Stall) -> Cause {
    if let Some(culprit) = &stall.culprit {
        let Culprit { kind, covered, error, .. } = culprit;
        let evidence = format!("had the CPU for {covered} of it (kernel events, clocks within {error})");
        return Cause { kind: (*kind).to_owned(), who: who(culprit), evidence: Some(evidence) };
    }
    match preempted(stall) {
        Some(waited) => Cause {
            kind: "task".to_owned(),
            who: None,
            evidence: Some(format!(
                "the probe's thread was runnable and waited {waited} for the CPU (schedstat)"
            )),
        },
        None => Cause {
            kind: CAUSE_UNEXPLAINED.to_owned(),
            who: None,
            evidence: stall
                .waited_on_runqueue
                .map(|waited| format!("waited {waited} for the CPU (schedstat)")),
        },
    }
}

/// Which thread, interrupt or softirq; the CPU's own timer and calls from others have no number and no name.
fn who(culprit: &Culprit) -> Option<String> {
    let (name, number) = (Label::from(culprit.name).to_string(), culprit.number);
    let what = if culprit.kind == "task" { "pid" } else { "number" };
    match (name.is_empty(), number) {
        (true, 0) => None,
        (true, _) => Some(format!("{what} {number}")),
        (false, _) => Some(format!("{name} ({what} {number})")),
    }
}

fn ring_report(ring: &RingSnapshot, at: impl Fn(Nanos) -> WallTime) -> RingReport {
    let kinds = Class::ALL.into_iter().map(|class| KindReport {
        kind: class.as_str().to_owned(),
        total: ring.total.by_class[class.index()],
        window: ring.window.by_class[class.index()],
    });
    RingReport {
        cpu: ring.cpu,
        since: at(ring.since),
        events: ring.total.events,
        lost: ring.total.lost,
        unknown: ring.total.unknown,
        window_s: ring.covered.as_secs_f64(),
        by_kind: kinds.collect(),
    }
}

fn fitness(budgets: &[BudgetReport], channels: &[ChannelReport], clock: &ClockReport) -> Fitness {
    let mut bad = Vec::new();
    let mut unsure = Vec::new();
    for budget in budgets {
        let place = budget.cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
        let terms = budget.terms.as_deref().unwrap_or("");
        let line = format!(
            "budget {} ({} {terms}) is {}{place}",
            budget.name,
            budget.channel,
            budget.state.as_str()
        );
        match budget.state {
            BudgetState::Ok => {}
            // Missed just now is not a breach yet, and not a good word either.
            BudgetState::Unknown | BudgetState::Pending => unsure.push(line),
            BudgetState::Breached | BudgetState::Resolving => bad.push(line),
        }
    }
    for channel in channels {
        let place = channel.cpu.map_or_else(String::new, |cpu| format!(" on CPU {cpu}"));
        bad.extend(channel.degraded.iter().map(|reason| format!("{}{place}: {reason}", channel.name)));
    }
    bad.extend(clock.doubts.iter().map(|doubt| format!("clock: {doubt}")));
    if clock.checked == Some(false) {
        bad.push("clock: a longer measurement lay outside the calibration's bound".to_owned());
    }
    if budgets.is_empty() {
        unsure.push("no budget is set, so nothing says what fit means".to_owned());
    }
    let state = match (bad.is_empty(), unsure.is_empty()) {
        (false, _) => FitnessState::Degraded,
        (true, false) => FitnessState::Unknown,
        (true, true) => FitnessState::Fit,
    };
    bad.extend(unsure);
    Fitness { state, reasons: bad }
}

fn thread(task: &Task, refused: &[(String, String)]) -> ThreadReport {
    let name = &task.stat.name;
    let single = (task.allowed.count() == 1).then(|| task.allowed.first()).flatten();
    ThreadReport {
        name: name.clone(),
        cpu: single,
        policy: task.stat.class.to_string(),
        priority: u8::try_from(task.stat.rt_priority).ok().filter(|priority| *priority > 0),
        cpu_time_s: Some(task.cpu_time.as_secs_f64()),
        cpus: Some(task.allowed.to_string()),
        switches_voluntary: Some(task.voluntary_switches),
        switches_involuntary: Some(task.involuntary_switches),
        refused: refused.iter().filter(|(who, _)| who == name).map(|(_, why)| why.clone()).collect(),
    }
}

fn own_cost(own: &Own, locked: bool) -> SelfReport {
    SelfReport {
        rss_bytes: own.memory.as_ref().map(|memory| memory.rss_bytes),
        rss_anon_bytes: own.memory.as_ref().map(|memory| memory.rss_anon_bytes),
        cpu_s: own.usage.map(|usage| usage.cpu_time.as_secs_f64()),
        wakeups: own.usage.map(|usage| usage.voluntary_switches),
        rss_file_bytes: own.memory.as_ref().map(|memory| memory.rss_bytes - memory.rss_anon_bytes),
        memory_locked: Some(locked),
    }
}

fn all_missing(ground: &Ground, own: &Own, has_rings: bool) -> Vec<Missing> {
    let mut all = ground.facts.missing.clone();
    all.extend(own.missing.iter().cloned());
    if let Some(why) = &ground.not_locked {
        all.push(missing(
            "locked memory (a page fault of ours may disturb a sample)",
            why,
            "LimitMEMLOCK=infinity in the unit, or CAP_IPC_LOCK",
        ));
    }
    for (who, why) in &ground.refused {
        all.push(Missing { what: format!("the role of thread {who}"), why: why.clone(), fix: None });
    }
    if !has_rings {
        all.push(missing(
            "who caused a stall, beyond whether the probe waited for its CPU",
            &"no tracepoint is read",
            "run the agent beside quell-keeper, which may open the kernel's events for it",
        ));
    }
    all
}

fn notes(ground: &Ground, snapshot: &Snapshot) -> Vec<String> {
    let mut notes = ground.placement.left_alone.clone();
    if ground.facts.is_virtual == Some(true) {
        notes.push(
            "this is a virtual machine: medians are the kernel's, the tails include the hypervisor's"
                .to_owned(),
        );
    }
    if snapshot.lag.skipped > 0 {
        let (late, skipped) = (snapshot.lag.late_max, snapshot.lag.skipped);
        let line = format!("the collector was late by up to {late} and left out {skipped} passes");
        notes.push(format!("{line}; nothing was lost unless drops are shown"));
    }
    if snapshot.lag.events_dropped > 0 {
        notes.push(format!("{} changes of budgets were not told one by one", snapshot.lag.events_dropped));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_another_cpu_say_so() {
        let mut own = Own::read(&Root::system());
        assert_eq!(moved(&own, CpuId(1)), None, "no such thread here, so nothing is known of it");
        own.tasks.truncate(1);
        own.tasks[0].stat.name = "probe-cpu1".to_owned();
        own.tasks[0].allowed = CpuId(1).into();
        assert_eq!(moved(&own, CpuId(1)), None);
        own.tasks[0].allowed = CpuId(0).into();
        assert!(moved(&own, CpuId(1)).unwrap().starts_with("its thread was moved to CPU 0 "));
    }
}
