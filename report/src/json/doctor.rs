//! The document of `quell doctor`: every precondition, with the way to it.

use serde::{Deserialize, Serialize};

use super::Schema;

/// `quell.doctor/1`: what tuning and measuring find on this host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DoctorDocument {
    /// `quell.doctor/1`.
    pub schema: Schema<Self>,
    /// One or more a precondition.
    pub findings: Vec<Finding>,
    /// Whether something keeps a profile from being applied or from holding.
    pub serious: bool,
}

super::document!(DoctorDocument, "quell.doctor/1");

/// What was found out about one precondition.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub check: String,
    /// `fine`, `notice`, `serious`.
    pub severity: String,
    /// What is so.
    pub what: String,
    /// What to do; `null` where nothing is to be done.
    pub fix: Option<String>,
}
