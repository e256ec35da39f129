//! `quell agent`: the daemon.

use std::io;

use agent::control::{self, Error, Options};
use agent::{BindError, StartError};
use report::Exit;
use tracing_subscriber::EnvFilter;

use crate::cli::Agent;
use crate::failure::Failure;

/// Runs it until it is told to stop.
pub fn run(options: &Agent) -> Result<Exit, Failure> {
    log_to_stderr();
    let options = Options {
        config: options.config.clone(),
        config_required: !control::is_default_config(&options.config),
        socket: options.socket.clone(),
    };
    control::run(&options).map(|()| Exit::Yes).map_err(|error| Failure::from_error(exit(&error), &error))
}

/// The journal takes stderr line by line, and has time and unit of its own; QUELL_LOG=debug says more.
///
/// A line that stderr does not take (the journal is gone, the disk is full) is lost and nothing else happens: the
/// subscriber's own complaint about it would go to stderr too, and panic there.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("QUELL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
}

fn exit(error: &Error) -> Exit {
    match error {
        Error::Settings(_)
        | Error::Start(
            StartError::Budgets(_) | StartError::Placement(_) | StartError::Probes(probes::Error::Spec(_)),
        ) => Exit::Usage,
        Error::Socket(BindError::Busy { .. }) => Exit::Busy,
        Error::Socket(BindError::Unusable { cause, .. })
            if cause.kind() == io::ErrorKind::PermissionDenied =>
        {
            Exit::Permission
        }
        _ => Exit::Failure,
    }
}
