//! Exit codes: one table for all binaries.
//!
//! A script branches on these, so a number never changes its meaning.

use std::fmt;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done, and the answer is yes.
    Yes = 0,
    /// Something went wrong that no other code names.
    Failure = 1,
    /// The command line or a configuration cannot be understood.
    Usage = 2,
    /// Done, and the answer is no: drift, breach, unfit.
    No = 3,
    /// Rights are missing.
    Permission = 4,
    /// Stored data is damaged: a checksum, a journal, an audit log.
    Integrity = 5,
    /// The agent or a peer cannot be reached.
    Unreachable = 6,
    /// Part of it is done; the rest is named.
    Partly = 7,
    /// Done, and it takes hold with the next reboot.
    NeedsReboot = 8,
    /// Somebody else is at it: a lock is held, an instance runs already.
    Busy = 9,
    /// There are changes to make.
    Pending = 10,
    /// It was taken back, because a part of it failed.
    RolledBack = 20,
    /// There is no evidence to decide by.
    Held = 21,
    /// Too dangerous to be done; nothing was.
    Refused = 22,
    /// Somebody ended it before it was done; nothing of it is left.
    Aborted = 23,
}

impl Exit {
    /// Every code, in order, for help texts and documents.
    pub const ALL: [Self; 15] = [
        Self::Yes,
        Self::Failure,
        Self::Usage,
        Self::No,
        Self::Permission,
        Self::Integrity,
        Self::Unreachable,
        Self::Partly,
        Self::NeedsReboot,
        Self::Busy,
        Self::Pending,
        Self::RolledBack,
        Self::Held,
        Self::Refused,
        Self::Aborted,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words for help texts.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Yes => "yes, done",
            Self::Failure => "failure",
            Self::Usage => "usage or configuration not understood",
            Self::No => "no: drift, breach, unfit",
            Self::Permission => "rights are missing",
            Self::Integrity => "stored data is damaged",
            Self::Unreachable => "agent or peer cannot be reached",
            Self::Partly => "partly done",
            Self::NeedsReboot => "done, reboot needed",
            Self::Busy => "busy: lock held, second instance",
            Self::Pending => "changes pending",
            Self::RolledBack => "rolled back",
            Self::Held => "held: no evidence",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
        }
    }

    /// The whole table, one "code  meaning" a line, for help texts and documents.
    #[must_use]
    pub fn table() -> String {
        Self::ALL.iter().map(|exit| format!("{:>4}  {}\n", exit.code(), exit.meaning())).collect()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code(), self.meaning())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_contract() {
        let expected = "   0  yes, done
   1  failure
   2  usage or configuration not understood
   3  no: drift, breach, unfit
   4  rights are missing
   5  stored data is damaged
   6  agent or peer cannot be reached
   7  partly done
   8  done, reboot needed
   9  busy: lock held, second instance
  10  changes pending
  20  rolled back
  21  held: no evidence
  22  refused
  23  aborted
";
        assert_eq!(Exit::table(), expected);
        assert_eq!(format!("{:?}", ExitCode::from(Exit::Busy)), format!("{:?}", ExitCode::from(9)));
    }
}
