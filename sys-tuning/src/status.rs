//! What became of one attribute of one knob.

use std::fmt;

/// The state of one attribute, in the words that reports, metrics and exit codes are built on.
///
/// What was not checked is never [`Status::Ok`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// As wanted, and its effect was seen.
    Ok,
    /// Written; its effect is not visible yet.
    Pending,
    /// Will hold after a reboot.
    NeedsReboot,
    /// This machine has no such thing; the reason says why that is not a failure.
    NotApplicable,
    /// Was as wanted, and is not any more.
    Drifted,
    /// Changed by somebody else since; left alone.
    Foreign,
    /// The write is stuck in the kernel past its deadline.
    Blocked,
    /// Not as wanted; the reason says why.
    Failed,
}

impl Status {
    /// Every status, for legends and counters.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Pending,
        Self::NeedsReboot,
        Self::NotApplicable,
        Self::Drifted,
        Self::Foreign,
        Self::Blocked,
        Self::Failed,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending => "pending",
            Self::NeedsReboot => "needs-reboot",
            Self::NotApplicable => "not-applicable",
            Self::Drifted => "drifted",
            Self::Foreign => "foreign",
            Self::Blocked => "blocked",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody has to do something about it.
    #[must_use]
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Drifted | Self::Foreign | Self::Blocked | Self::Failed)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Status {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|status| status.word() == word);
        known.ok_or_else(|| format!("{word:?} is no status of a knob"))
    }
}
