//! The document of `quell tune explain`: knobs as the registry declares them.

use serde::{Deserialize, Serialize};

use super::Schema;

/// `quell.explain/1`: what can be tuned, one entry a knob, in the order in which changes are made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExplainDocument {
    /// `quell.explain/1`.
    pub schema: Schema<Self>,
    /// The knobs asked for.
    pub knobs: Vec<ExplainedKnob>,
}

super::document!(ExplainDocument, "quell.explain/1");

/// One knob.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExplainedKnob {
    /// As profiles name it.
    pub id: String,
    /// The part of the machine it belongs to.
    pub group: String,
    /// What it does and for whom.
    pub doc: String,
    /// What can be set.
    pub attributes: Vec<ExplainedAttribute>,
    /// Which guides ask for it.
    pub source: String,
    /// What a process needs to change it.
    pub needs: String,
    /// `runtime`, `boot` or `firmware`.
    pub when: String,
    /// What a change does to running threads, as in `harmless` or `ipi`.
    pub blast: String,
    /// What it means that the kernel does not have it: `not-applicable`, `satisfied` or `missing`, and why.
    pub absence: String,
    /// How it is seen that a value took effect.
    pub effect: String,
    /// How a change is taken back.
    pub undo: String,
    /// What the kernel changes with it, and is put back with it.
    pub side_effects: Vec<String>,
    /// Every file it may write; braces stand for a number or a name.
    pub files: Vec<String>,
}

/// One value of a knob.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExplainedAttribute {
    /// As profiles name it.
    pub name: String,
    /// Its type and range, in words.
    pub kind: String,
    /// What it means, with its unit.
    pub doc: String,
    /// The attribute that says the same in another way.
    pub excludes: Option<String>,
    /// The file or the kernel parameter it is; `null` where it is more than one.
    pub home: Option<String>,
    /// Where its effect is seen, when that is elsewhere.
    pub effect: Option<String>,
    /// What its absence means, where that is not what it means of the knob.
    pub absence: Option<String>,
}
