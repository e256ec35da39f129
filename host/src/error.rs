//! What can go wrong between quell and a kernel file.

use std::io;

use units::ParseError;

/// A kernel file that could not be read, written or understood; each message names the path, the value and the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file does not exist: what that means (not applicable, already satisfied, missing) is for the caller to say.
    #[error("{path}: no such file")]
    Absent {
        /// As a person would type it, from `/` or from the fixture's root.
        path: String,
    },
    /// The file exists and could not be opened or read.
    #[error("{path}: cannot read: {cause}")]
    Read {
        /// As a person would type it.
        path: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file could not be opened for writing, or the kernel refused the value.
    #[error("{path}: cannot write {value:?}: {cause}")]
    Write {
        /// As a person would type it.
        path: String,
        /// The text that was refused.
        value: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file was read and is not in the form the kernel documents.
    #[error(
        "{path}: line {line:?}: {problem} (please report this line: the kernel's format may have changed)"
    )]
    Format {
        /// As a person would type it.
        path: String,
        /// The offending line.
        line: String,
        /// What was expected.
        problem: String,
    },
    /// The kernel or a driver refused what was asked of it by a message.
    #[error("{of}: cannot {asked}: {cause}{}", explained(said.as_deref()))]
    Netlink {
        /// Of which interface, and what of it.
        of: String,
        /// What was asked: `read`, or `set` with the values.
        asked: String,
        /// The system's reason.
        cause: io::Error,
        /// The words of the kernel or the driver, where they had any.
        said: Option<String>,
    },
    /// The path would leave the tree it belongs to, or names no tree the kernel offers.
    #[error("{path}: refused: {problem}")]
    Path {
        /// As it was given.
        path: String,
        /// Why.
        problem: &'static str,
    },
}

impl Error {
    /// The system's error number, where there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { cause, .. } | Self::Write { cause, .. } | Self::Netlink { cause, .. } => {
                cause.raw_os_error()
            }
            Self::Absent { .. } | Self::Format { .. } | Self::Path { .. } => None,
        }
    }

    /// Whether the file does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }

    /// Whether only missing rights stand in the way (EACCES, EPERM).
    #[must_use]
    pub fn is_permission(&self) -> bool {
        match self {
            Self::Read { cause, .. } | Self::Write { cause, .. } | Self::Netlink { cause, .. } => {
                cause.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}

fn explained(said: Option<&str>) -> String {
    said.map(|said| format!(" ({said})")).unwrap_or_default()
}

/// The value, or `None` where the kernel does not offer the file; every other error stays one.
///
/// # Errors
/// All but [`Error::Absent`].
pub fn if_present<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Characters of an offending line that are kept: enough to file a report, too few to flood a log.
const LINE_CHARS_MAX: usize = 160;

/// A line that is not in the form the kernel documents; [`crate::Root::parse`] adds the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: String,
    pub(crate) problem: String,
}

impl Malformed {
    pub(crate) fn new(line: &str, problem: impl Into<String>) -> Self {
        let line = line.trim_end_matches('\n').chars().take(LINE_CHARS_MAX).collect();
        Self { line, problem: problem.into() }
    }
}

impl From<ParseError> for Malformed {
    fn from(error: ParseError) -> Self {
        Self::new(&error.text, error.problem)
    }
}
