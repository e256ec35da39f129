//! `quell.budgets/1` and `quell.stalls/1`: parts of the report by themselves, for whoever asks often.

use serde::{Deserialize, Serialize};

use super::Schema;
use super::report::{BudgetReport, Report, StallReport};
use crate::wall::WallTime;

/// The budgets of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetsDocument {
    /// `quell.budgets/1`.
    pub schema: Schema<Self>,
    /// Host name.
    pub host: String,
    /// The boot these figures belong to, where the kernel tells.
    pub boot_id: Option<String>,
    /// When this was written.
    pub generated_at: WallTime,
    /// Every budget on every channel it is about.
    pub budgets: Vec<BudgetReport>,
}

super::document!(BudgetsDocument, "quell.budgets/1");

/// The stalls of a host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StallsDocument {
    /// `quell.stalls/1`.
    pub schema: Schema<Self>,
    /// Host name.
    pub host: String,
    /// The boot these figures belong to, where the kernel tells.
    pub boot_id: Option<String>,
    /// When this was written.
    pub generated_at: WallTime,
    /// The stalls kept.
    pub stalls: Vec<StallReport>,
    /// Stalls there have been.
    #[serde(default)]
    pub stalls_seen: Option<u64>,
    /// Stalls of those that are no longer kept.
    #[serde(default)]
    pub stalls_dropped: Option<u64>,
}

super::document!(StallsDocument, "quell.stalls/1");

impl From<&Report> for BudgetsDocument {
    fn from(report: &Report) -> Self {
        Self {
            schema: Schema::new(),
            host: report.host.clone(),
            boot_id: report.boot_id.clone(),
            generated_at: report.generated_at,
            budgets: report.budgets.clone(),
        }
    }
}

impl From<&Report> for StallsDocument {
    fn from(report: &Report) -> Self {
        Self {
            schema: Schema::new(),
            host: report.host.clone(),
            boot_id: report.boot_id.clone(),
            generated_at: report.generated_at,
            stalls: report.stalls.clone(),
            stalls_seen: report.stalls_seen,
            stalls_dropped: report.stalls_dropped,
        }
    }
}
