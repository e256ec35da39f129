//! Parts of the report that come from beside the samples: the keeper's word on the tuning, and the kernel's own events.

use serde::{Deserialize, Serialize};
use units::{CpuId, Nanos};

use super::ns;
use crate::wall::WallTime;

/// The keeper, as the agent knows it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KeeperReport {
    /// Whether it answers. Without it the agent only measures.
    pub connected: bool,
    /// Since when it does, or does not.
    pub since: Option<WallTime>,
    /// Why it does not, where that is more than its absence.
    pub problem: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The profile it holds the host to.
    pub profile: Option<String>,
    /// Whether that could be applied.
    pub applied: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
    /// The fence: orders given under a lower one are refused.
    pub fence: Option<u64>,
    /// Times an attribute was found drifted since the keeper started.
    pub drifted: Option<u64>,
    /// Times one was put back.
    pub repaired: Option<u64>,
    /// Fights with another writer that were given up.
    pub fights: Option<u64>,
    /// Seconds in which an apply on trial has to be confirmed.
    pub confirm_left_s: Option<u64>,
}

/// One attribute that was not as it was left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Its number since the keeper started; a gap says that some were dropped.
    pub seq: u64,
    /// When it was seen.
    pub at: WallTime,
    /// The knob.
    pub knob: String,
    /// Its attribute.
    pub attribute: String,
    /// Which one, where a knob has several.
    #[serde(default)]
    pub identity: Option<String>,
    /// As it was left.
    pub want: String,
    /// As it was found.
    pub found: String,
    /// Who wrote it, where that is known.
    pub writer: Option<WriterReport>,
    /// When it was seen, on CLOCK_MONOTONIC.
    #[serde(with = "ns")]
    pub seen_ns: Nanos,
    /// When it was put back, on the same clock; `null` when it was not.
    #[serde(with = "ns::option")]
    pub repaired_ns: Option<Nanos>,
    /// What was done: `repaired`, `left`, `failed`, `observed`.
    pub action: String,
}

/// The process that wrote a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterReport {
    /// Its number.
    pub pid: u32,
    /// Its name, as it calls itself.
    pub comm: String,
}

/// The kernel events of one CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingReport {
    /// The CPU.
    #[serde(with = "ns::cpu")]
    pub cpu: CpuId,
    /// When reading began.
    pub since: WallTime,
    /// Records read since then.
    pub events: u64,
    /// Events since then for which there was no room.
    pub lost: u64,
    /// Records since then that were not understood.
    pub unknown: u64,
    /// The time that the windows cover, in seconds.
    pub window_s: f64,
    /// What happened, by kind; each thing counts once.
    pub by_kind: Vec<KindReport>,
}

/// How often one kind of thing happened on a CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindReport {
    /// As in `context-switch`, `irq`, `softirq`, `function-call-ipi`.
    pub kind: String,
    /// Since reading began.
    pub total: u64,
    /// In the window.
    pub window: u64,
}
