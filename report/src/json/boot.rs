//! The document of `quell tune boot`: the line that boots, the line on trial, and what the kernel accepted.

use serde::{Deserialize, Serialize};

use super::Schema;

/// `quell.boot/1`: how it stands with the boot command line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BootDocument {
    /// `quell.boot/1`.
    pub schema: Schema<Self>,
    /// Where the boot loader's blocks stand; `null` when quell has no part in this machine's boot.
    pub dir: Option<String>,
    /// `settled`, `armed`, `on-trial`, `came-back`, `refused`; `null` without blocks.
    pub standing: Option<String>,
    /// The line that every boot has unless a trial is armed.
    pub good: Option<BootLine>,
    /// The line to be tried, or the last one that was.
    pub trial: Option<BootLine>,
    /// The id of the trial that the next boot tries.
    pub armed: Option<String>,
    /// The id of the line that was booted; `null` when it carried none of our arguments.
    pub booted: Option<String>,
    /// Whether a line waits for the next boot.
    pub reboot_required: bool,
    /// Each argument of the line that was booted, and what the kernel made of it.
    pub arguments: Vec<BootArgument>,
}

super::document!(BootDocument, "quell.boot/1");

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootLine {
    /// What it is known by; `null` for a line without arguments.
    pub id: Option<String>,
    /// Its arguments; `none` for a line without.
    pub arguments: String,
    /// Why it was not kept, when it was tried and refused.
    pub refused: Option<String>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootArgument {
    /// As on the command line.
    pub argument: String,
    /// What the kernel shows of it, where it shows something.
    pub effective: Option<String>,
    /// `accepted`, `refused`, `unknown`.
    pub verdict: String,
    /// Why, unless it is accepted.
    pub reason: Option<String>,
}
