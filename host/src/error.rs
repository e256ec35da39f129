//! What can go wrong between quell and a kernel file.

use std::io;

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
            Self::Read { cause, .. } | Self::Write { cause, .. } => cause.raw_os_error(),
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
            Self::Read { cause, .. } | Self::Write { cause, .. } => {
                cause.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}
