//! Documents as plain text for a terminal of 80 columns: the answer first, then what it rests on.
//!
//! Every renderer is a function of the document and a [`Style`]; nothing is printed here. Strings in a
//! document come from other hosts, applications and kernels, so every control character in them is shown as
//! `\u{1b}` and not sent to the terminal: colour comes from here or not at all.

mod boot;
mod doctor;
mod explain;
mod page;
mod prove;
mod report;
mod sessions;
mod table;
mod tune;

pub use boot::boot;
pub use doctor::doctor;
pub use explain::{knob, knobs, knobs_markdown};
pub use prove::prove;
pub use report::{budgets, live, report, stalls};
pub use sessions::sessions;
pub use tune::{apply, drift, history, plan, rollback, verify};

/// How a text is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colour: the caller knows whether a terminal reads it, and NO_COLOR.
    pub colour: bool,
    /// Columns; text is wrapped, tables are fitted. Fewer than 40 count as 40.
    pub width: usize,
}

impl Style {
    /// 80 columns without colour: for files, pipes and tests.
    pub const PLAIN: Self = Self { colour: false, width: 80 };
}

impl Default for Style {
    fn default() -> Self {
        Self::PLAIN
    }
}
