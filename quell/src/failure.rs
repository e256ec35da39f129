//! From an error to one line on stderr and the documented exit code.

use std::io::{self, Write};
use std::path::Path;

use report::{ErrorDocument, Exit};

/// What stopped a subcommand: a line for the person, a code for the script.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What, where, why, what to do; one line each.
    pub message: String,
}

impl Failure {
    /// A failure with its code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// A failure that an error explains.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, error.to_string())
    }

    /// Nobody answers on `socket`, or we may not ask.
    pub fn unreachable(socket: &Path, cause: &io::Error) -> Self {
        let (exit, remedy) = match cause.kind() {
            io::ErrorKind::PermissionDenied => {
                (Exit::Permission, "reading needs membership in the group of the socket (quell)")
            }
            io::ErrorKind::NotFound => (
                Exit::Unreachable,
                "no agent was started there; try: systemctl start quell-agent, or quell up",
            ),
            io::ErrorKind::ConnectionRefused => {
                (Exit::Unreachable, "the agent that made it is gone; start it again")
            }
            io::ErrorKind::WouldBlock => {
                (Exit::Unreachable, "the agent did not answer in time; is the host overloaded?")
            }
            _ => (Exit::Unreachable, "is this the agent's report socket?"),
        };
        Self::new(exit, format!("{}: cannot ask the agent: {cause} ({remedy})", socket.display()))
    }

    /// Somebody answers, but not the agent.
    pub fn no_answer(socket: &Path, problem: &str) -> Self {
        Self::new(Exit::Unreachable, format!("{}: {problem}", socket.display()))
    }

    /// The agent said no.
    pub fn refused(socket: &Path, path: &str, status: u16, body: &str) -> Self {
        let reason = match serde_json::from_str::<ErrorDocument>(body) {
            Ok(document) => format!("{} ({})", document.message, document.hint),
            Err(_) => format!("status {status}"),
        };
        let exit = if status == 503 { Exit::Busy } else { Exit::Failure };
        Self::new(exit, format!("{}: {path}: {reason}", socket.display()))
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        match cause.kind() {
            // The reader of our output went away: nothing is left to say, and nothing is wrong.
            io::ErrorKind::BrokenPipe => Self::new(Exit::Yes, ""),
            _ => Self::from_error(Exit::Failure, &cause),
        }
    }
}

/// Prints the failure and gives its code.
pub fn tell(failure: &Failure) -> Exit {
    for line in failure.message.lines() {
        let _ = writeln!(io::stderr(), "quell: {line}"); // stderr is the last resort; nobody is left to tell
    }
    failure.exit
}
