//! `quell.report/1`: one host, its latency, and how far the figures can be trusted.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use units::{CpuId, CpuSet, Nanos};

use super::keeper::{DriftReport, KeeperReport, RingReport};
use super::{Schema, ns};
use crate::wall::WallTime;

/// Everything the agent can say about its host, as of one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `quell.report/1`.
    pub schema: Schema<Self>,
    /// Host name.
    pub host: String,
    /// The boot these figures belong to, where the kernel tells.
    pub boot_id: Option<String>,
    /// When this was written.
    pub generated_at: WallTime,
    /// Version of the agent that measured.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// When the agent began to measure.
    #[serde(default)]
    pub started_at: Option<WallTime>,
    /// The time that the channels' figures cover, in seconds.
    pub window_s: f64,
    /// Whether the host is fit to trade, as far as can be told.
    pub fitness: Fitness,
    /// What time was measured with.
    pub clock: ClockReport,
    /// Where was measured, and why there.
    #[serde(default)]
    pub measuring: Option<Measuring>,
    /// Every channel.
    pub channels: Vec<ChannelReport>,
    /// Every budget on every channel it is about.
    pub budgets: Vec<BudgetReport>,
    /// The stalls kept, longest first.
    pub stalls: Vec<StallReport>,
    /// Stalls there have been since the agent began.
    #[serde(default)]
    pub stalls_seen: Option<u64>,
    /// Stalls of those that are no longer kept.
    #[serde(default)]
    pub stalls_dropped: Option<u64>,
    /// The tuning of the host, where it is known.
    pub knobs: Option<KnobsReport>,
    /// The keeper; `null` where none was looked for.
    #[serde(default)]
    pub keeper: Option<KeeperReport>,
    /// The newest drift events, oldest first.
    #[serde(default)]
    pub drift: Vec<DriftReport>,
    /// The kernel's own events, where they are read.
    #[serde(default)]
    pub rings: Vec<RingReport>,
    /// The agent's threads.
    pub threads: Vec<ThreadReport>,
    /// What the agent itself costs.
    #[serde(rename = "self")]
    pub self_: SelfReport,
    /// What could not be learned on this host.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// Whatever else the reader should know before trusting a figure.
    #[serde(default)]
    pub notes: Vec<String>,
}

super::document!(Report, "quell.report/1");

/// Whether a host may trade, and why or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fitness {
    /// The answer.
    pub state: FitnessState,
    /// What it rests on, the weightiest first.
    pub reasons: Vec<String>,
}

/// The answer. A word this version does not know is read as unknown, and unknown is never fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FitnessState {
    /// Every budget is met on good evidence.
    Fit,
    /// Something is wrong: a breach, drift, or figures that cannot be trusted.
    Degraded,
    /// Taken out of trading.
    Quarantined,
    /// Not enough is known.
    #[serde(other)]
    Unknown,
}

impl FitnessState {
    /// The word used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Degraded => "degraded",
            Self::Quarantined => "quarantined",
            Self::Unknown => "unknown",
        }
    }
}

/// The clock, and how far it can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockReport {
    /// `tsc` or `monotonic`.
    pub source: String,
    /// Ticks a second.
    pub hz: u64,
    /// Bound on the error of `hz`, in parts per billion; `null` where the source is not calibrated by us.
    pub error_ppb: Option<u64>,
    /// Whether the counter runs at one rate in every power state.
    pub invariant: bool,
    /// How long the calibration took.
    #[serde(default, with = "ns::option")]
    pub calibrated_over: Option<Nanos>,
    /// Whether a longer measurement lay within the bound; `null` before there was one.
    #[serde(default)]
    pub checked: Option<bool>,
    /// Bound on the difference between the counters of any two measured CPUs; `null` where it was not
    /// measured.
    #[serde(default, with = "ns::option")]
    pub skew_bound: Option<Nanos>,
    /// Why the source is not the counter, or what speaks against trusting it.
    #[serde(default)]
    pub doubts: Vec<String>,
}

/// Where was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measuring {
    /// CPUs with a probe thread each.
    #[serde(with = "ns::cpus")]
    pub cpus: CpuSet,
    /// Whether all of them are isolated from the rest of the system.
    pub isolated: bool,
    /// Why these.
    pub why: String,
}

/// One channel: its figures over the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelReport {
    /// What is measured, as in `timer-wakeup`.
    pub name: String,
    /// Where.
    #[serde(with = "ns::cpu::option")]
    pub cpu: Option<CpuId>,
    /// Samples in the window.
    pub count: u64,
    /// The shortest, exact.
    #[serde(with = "ns::option")]
    pub min: Option<Nanos>,
    /// The median; this and every other quantile is `null` while too few samples stand behind it.
    #[serde(with = "ns::option")]
    pub p50: Option<Nanos>,
    /// 90 %.
    #[serde(with = "ns::option")]
    pub p90: Option<Nanos>,
    /// 99 %.
    #[serde(with = "ns::option")]
    pub p99: Option<Nanos>,
    /// 99.9 %.
    #[serde(with = "ns::option")]
    pub p99_9: Option<Nanos>,
    /// 99.99 %.
    #[serde(with = "ns::option")]
    pub p99_99: Option<Nanos>,
    /// The longest, exact.
    #[serde(with = "ns::option")]
    pub max: Option<Nanos>,
    /// The mean.
    #[serde(with = "ns::option")]
    pub mean: Option<Nanos>,
    /// Samples of this CPU, of whichever of its channels, that were lost before they were recorded, since the agent began.
    pub dropped: u64,
    /// The histogram of the window, HDR V2 in base64, when it was asked for.
    pub hist: Option<String>,
    /// `ns`; a channel that counts something else says so here.
    #[serde(default = "nanoseconds")]
    pub unit: String,
    /// The shortest latency the probe could have reported here: what it costs to measure nothing.
    #[serde(default, with = "ns::option")]
    pub floor: Option<Nanos>,
    /// Samples longer than the histogram's range; above zero the quantiles are degraded.
    #[serde(default)]
    pub overflow: u64,
    /// Measurements that were due since the agent began, where the probe has a pace.
    #[serde(default)]
    pub scheduled: Option<u64>,
    /// Those of them that came too late to be made and were recorded with the latency they would have had.
    #[serde(default)]
    pub corrected: Option<u64>,
    /// Samples since the agent began.
    #[serde(default)]
    pub total_count: Option<u64>,
    /// The longest since the agent began, exact.
    #[serde(default, with = "ns::option")]
    pub total_max: Option<Nanos>,
    /// 95 % confidence interval of p99, `[low, high]`, if samples are independent.
    #[serde(default, with = "ns::interval")]
    pub p99_interval: Option<(Nanos, Nanos)>,
    /// 95 % confidence interval of p99.9.
    #[serde(default, with = "ns::interval")]
    pub p99_9_interval: Option<(Nanos, Nanos)>,
    /// The law of delay, for channels that record gaps: the chance that a random arrival waits longer.
    #[serde(default)]
    pub delay: Vec<DelayPoint>,
    /// Why these figures are worth less than they look; empty when they are not.
    #[serde(default)]
    pub degraded: Vec<String>,
}

/// A histogram's V2 bytes as [`ChannelReport::hist`] holds them: standard base64, with padding, as
/// HdrHistogram's own tools read it.
#[must_use]
pub fn encode_hist(v2: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(v2)
}

fn nanoseconds() -> String {
    "ns".to_owned()
}

/// One point of the law of delay.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DelayPoint {
    /// A delay.
    #[serde(with = "ns")]
    pub longer_than: Nanos,
    /// The chance that an arrival at a random instant waits longer than that.
    pub probability: f64,
}

/// One stall and its cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallReport {
    /// When it began.
    pub at: WallTime,
    /// Where.
    #[serde(with = "ns::cpu")]
    pub cpu: CpuId,
    /// How long it took.
    #[serde(with = "ns")]
    pub duration: Nanos,
    /// What did it.
    pub cause: Cause,
    /// Its number since the agent began.
    #[serde(default)]
    pub seq: Option<u64>,
    /// The channel that saw it.
    #[serde(default)]
    pub channel: Option<String>,
    /// How many samples saw it.
    #[serde(default)]
    pub sightings: Option<u64>,
    /// How much of it the probe's thread waited, runnable, for the CPU.
    #[serde(default, with = "ns::option")]
    pub waited_on_runqueue: Option<Nanos>,
}

/// [`Cause::kind`] when nothing explains a stall. It is an answer; a guess is not.
pub const CAUSE_UNEXPLAINED: &str = "unexplained";

/// What caused a stall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The kind, as in `task`, or [`CAUSE_UNEXPLAINED`].
    pub kind: String,
    /// Which one of its kind, where that is known.
    pub who: Option<String>,
    /// What it is concluded from.
    pub evidence: Option<String>,
}

/// One budget on one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// What the budget is called.
    pub name: String,
    /// The channel it is about.
    pub channel: String,
    /// What is known of it.
    pub state: BudgetState,
    /// The value at the budget's quantile over its window; `null` while too few samples stand behind it.
    #[serde(with = "ns::option")]
    pub value: Option<Nanos>,
    /// The limit.
    #[serde(with = "ns")]
    pub limit: Nanos,
    /// When this state began.
    pub since: WallTime,
    /// Samples it was last judged on.
    pub samples: u64,
    /// Those of them above the limit, exact.
    #[serde(default)]
    pub exceeded: Option<u64>,
    /// The channel's CPU.
    #[serde(default, with = "ns::cpu::option")]
    pub cpu: Option<CpuId>,
    /// The whole budget in its text form.
    #[serde(default)]
    pub terms: Option<String>,
    /// For how long samples have been too few to judge it; `null` while they are not.
    #[serde(default, with = "ns::option")]
    pub missing_for: Option<Nanos>,
    /// Breaches since the agent began.
    #[serde(default)]
    pub breaches: Option<u64>,
}

/// What is known of a budget. A word this version does not know is read as unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetState {
    /// Met.
    Ok,
    /// Missed, not yet for long enough.
    Pending,
    /// Missed for long enough.
    Breached,
    /// Breached, met again, not yet for long enough.
    Resolving,
    /// Too few samples to say.
    #[serde(other)]
    Unknown,
}

impl BudgetState {
    /// The word used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::Breached => "breached",
            Self::Resolving => "resolving",
            Self::Unknown => "unknown",
        }
    }

    /// Whether a breach has begun and not ended: the answer that exit code 3 stands for.
    #[must_use]
    pub const fn is_breach(self) -> bool {
        matches!(self, Self::Breached | Self::Resolving)
    }
}

/// How many attributes of the tuning are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnobsReport {
    /// The profile they are compared with.
    #[serde(default)]
    pub profile: Option<String>,
    /// When they were last checked.
    #[serde(default)]
    pub checked_at: Option<WallTime>,
    /// How many in which state.
    #[serde(flatten)]
    pub counts: super::tune::StatusCounts,
}

/// One thread of the agent, as the kernel runs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadReport {
    /// Its name.
    pub name: String,
    /// The CPU it is bound to, where it is one.
    #[serde(with = "ns::cpu::option")]
    pub cpu: Option<CpuId>,
    /// `other` or `fifo`.
    pub policy: String,
    /// Real-time priority, where it has one.
    pub priority: Option<u8>,
    /// CPU time used, in seconds.
    pub cpu_time_s: Option<f64>,
    /// Every CPU it may run on.
    #[serde(default)]
    pub cpus: Option<String>,
    /// Times it gave up the CPU to wait.
    #[serde(default)]
    pub switches_voluntary: Option<u64>,
    /// Times the CPU was taken from it.
    #[serde(default)]
    pub switches_involuntary: Option<u64>,
    /// What it asked for and was refused, with the reason.
    #[serde(default)]
    pub refused: Vec<String>,
}

/// What the agent itself costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SelfReport {
    /// Memory in use, in bytes.
    pub rss_bytes: Option<u64>,
    /// Anonymous memory in use, in bytes.
    pub rss_anon_bytes: Option<u64>,
    /// CPU time used, in seconds.
    pub cpu_s: Option<f64>,
    /// Times a thread of it woke.
    pub wakeups: Option<u64>,
    /// File-backed memory in use (the binary), in bytes.
    #[serde(default)]
    pub rss_file_bytes: Option<u64>,
    /// Whether its memory is locked, so that no page fault of its own comes at a bad moment.
    #[serde(default)]
    pub memory_locked: Option<bool>,
}

/// A fact that could not be learned on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// What is not known.
    pub what: String,
    /// Why.
    pub why: String,
    /// What would make it known, where something would.
    pub fix: Option<String>,
}
