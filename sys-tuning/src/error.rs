//! Why a command of the tuning engine could not be carried out.
//!
//! A single knob that fails is not here: it is a row of the result with its status. What is here stops the whole command,
//! and each variant is one that the command line turns into an exit code of its own.

use std::fmt;
use std::io;

/// Why a command stopped; nothing was changed unless the message says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process holds the lock of the state directory.
    #[error("{path}: another quell is tuning this machine{}; wait for it, or see what it does", holder(*.pid))]
    Busy {
        /// The lock file.
        path: String,
        /// Who holds it, when it has said so.
        pid: Option<u32>,
    },
    /// Only missing rights stand in the way.
    #[error("{what}: {cause} (run it as root)")]
    Permission {
        /// The path that was refused.
        what: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The journal cannot be trusted, or is not this machine's.
    #[error("{path}: {problem} ({remedy})")]
    Integrity {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The profile has mistakes.
    #[error("{0}")]
    Profile(ProfileMistakes),
    /// The plan holds dangers that nobody accepted.
    #[error("refused, nothing was written: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The journal has no such transaction in this boot.
    #[error("there is no transaction {id} to go back to in this boot ({known}); see `quell tune history`")]
    NoSuchTransaction {
        /// As it was asked for.
        id: u64,
        /// Those there are.
        known: String,
    },
    /// The state directory or the journal could not be read or written, so no knob was touched.
    #[error("{path}: cannot {doing}: {cause} (no knob was written)")]
    State {
        /// The file or directory.
        path: String,
        /// What was attempted.
        doing: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The machine could not be read.
    #[error(transparent)]
    Host(#[from] host::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// Everything wrong with a profile, one `file:line: problem` each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileMistakes(pub Vec<String>);

impl fmt::Display for ProfileMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl Error {
    /// The error of a record that could not be written although knobs were: without the assurance that none was.
    pub(crate) fn unrecorded(&self) -> String {
        match self {
            Self::State { path, doing, cause } => format!("{path}: cannot {doing}: {cause}"),
            other => other.to_string(),
        }
    }

    /// A failure of the state directory: a matter of rights, or of the file system.
    pub(crate) fn state(path: impl fmt::Display, doing: &'static str, cause: impl Into<io::Error>) -> Self {
        let (path, cause) = (path.to_string(), cause.into());
        match cause.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { what: path, cause },
            _ => Self::State { path, doing, cause },
        }
    }
}
