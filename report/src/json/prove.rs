//! The document of `quell tune prove`: which knobs earn their place on this host.

use serde::{Deserialize, Serialize};
use units::Nanos;

use super::tune::Skipped;
use super::{Schema, ns};

/// `quell.prove/1`: each knob against its absence, in pairs of blocks.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProveDocument {
    /// `quell.prove/1`.
    pub schema: Schema<Self>,
    /// The profile whose values were switched on and off.
    pub profile: String,
    /// The CPUs that were measured, as a cpulist; `null` when nothing was.
    pub cpus: Option<String>,
    /// How long a block is, in ns.
    #[serde(with = "ns")]
    pub block: Nanos,
    /// What passes after each switch before measuring, in ns.
    #[serde(with = "ns")]
    pub settle: Nanos,
    /// Repeats the order of the blocks.
    pub seed: u64,
    /// How often one of all knobs may be misjudged, for each of "matters" and "does nothing".
    pub error: f64,
    /// A change below this, in per cent, is nothing.
    pub margin_percent: f64,
    /// Pairs of blocks that a knob gets at most.
    pub pairs_max: u64,
    /// After how many pairs a knob is judged, and the part of the error that is spent then.
    pub looks: Vec<ProveLook>,
    /// What is compared.
    pub figures: Vec<ProveFigure>,
    /// The knobs that were compared, those that earn their place first.
    pub knobs: Vec<ProvedKnob>,
    /// The knobs that were not, each with its reason.
    pub skipped: Vec<Skipped>,
    /// `proved`, `undecided` (a knob at least), `aborted`, `held` (nothing to compare, or to measure by), `refused`.
    pub result: String,
    /// Why, when it is none of the first two.
    pub reason: Option<String>,
}

super::document!(ProveDocument, "quell.prove/1");

/// When it is looked, and what that costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProveLook {
    /// After so many pairs.
    pub pairs: u64,
    /// Its part of the error.
    pub share: f64,
}

/// What a block gives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProveFigure {
    /// The probe.
    pub probe: String,
    /// The quantile that is compared.
    pub quantile: String,
    /// The one that was asked for, where a block has too few samples for it.
    pub instead_of: Option<String>,
    /// What it was without any knob, before the first pair, in ns.
    #[serde(with = "ns")]
    pub before: Nanos,
}

/// What became of a knob.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProvedKnob {
    /// The knob.
    pub knob: String,
    /// What was switched, as in `swappiness 60 -> 10`.
    pub switched: Vec<String>,
    /// `helps`, `hurts`, `mixed`, `nothing` (no figure moves by the margin), `undecided`.
    pub verdict: String,
    /// Pairs of blocks that count.
    pub pairs: u64,
    /// Pairs that do not, because somebody else changed the value or samples were lost.
    pub void: u64,
    /// What ended it: `decided`, `all pairs used`, `aborted`, `given up`.
    pub stopped: String,
    /// Why it was given up.
    pub reason: Option<String>,
    /// One a figure, in their order.
    pub changes: Vec<ProvedChange>,
}

/// What a knob does to one figure, in per cent of what it is without.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProvedChange {
    /// The most likely change; `null` without a pair.
    pub percent: Option<f64>,
    /// The interval's lower end; `null` before the first look.
    pub low_percent: Option<f64>,
    /// Its upper end.
    pub high_percent: Option<f64>,
    /// Whether it is one of those that make the knob matter.
    pub moved: bool,
}
