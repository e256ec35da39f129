//! `quell-keeper`: from the command line to the loop.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use host::Root;
use keeper::arguments::{self, Arguments, Asked, HELP};
use keeper::audit::Audit;
use keeper::duty::Duty;
use keeper::fence::Fence;
use keeper::keeper::Keeper;
use keeper::notify::Notify;
use keeper::policy::Policy;
use keeper::seat::Seat;
use keeper::server::{Server, ServerError};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use report::Exit;
use sys_tuning::{Engine, Error, StateDir};

fn main() -> ExitCode {
    let exit = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Asked::Help) => print(HELP),
        Ok(Asked::Version) => print(concat!("quell-keeper ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::Check(arguments)) => check(&arguments),
        Ok(Asked::Run(arguments)) => run(arguments).unwrap_or_else(|(exit, problem)| fail(exit, &problem)),
        Err(problem) => fail(Exit::Usage, &problem),
    };
    exit.into()
}

/// How it ended, when not well.
type Failure = (Exit, String);

fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let failed = |problem: io::Error| (Exit::Failure, problem.to_string());
    let policy = read_policy(&arguments)?;
    let signals = block_signals().map_err(failed)?;
    let notify = Notify::from_environment().map_err(|cause| {
        (Exit::Failure, format!("NOTIFY_SOCKET: cannot reach the service manager: {cause}"))
    })?;
    // One keeper a state directory, from here to the end.
    let dir = || StateDir::create(&arguments.state_dir).map_err(|error| engine_failure(&error));
    let _seat = Seat::take(&dir()?).map_err(|error| engine_failure(&error))?;
    let fence = Fence::read(&dir()?).map_err(|error| engine_failure(&error))?;
    let audit = Audit::open(dir()?).map_err(|error| engine_failure(&error))?;
    let server = server(&arguments.socket)?;
    let engine = Engine::new(Arc::new(Root::at(&arguments.root)), &arguments.state_dir);
    let engine = engine.with_pulse(notify.pulse().map_err(failed)?);
    let duty = Duty::new(engine, policy, audit, fence, dir()?);
    Keeper::new(arguments, duty, server, signals, notify).run().map_err(failed)?;
    Ok(Exit::Yes)
}

fn read_policy(arguments: &Arguments) -> Result<Policy, Failure> {
    let policy = Policy::read(&arguments.policy, arguments.policy_is_named);
    policy.map_err(|mistakes| (Exit::Usage, mistakes.to_string()))
}

/// Judges the policy, and the profile it names.
fn check(arguments: &Arguments) -> Exit {
    let policy = match read_policy(arguments) {
        Ok(policy) => policy,
        Err((exit, mistakes)) => return fail(exit, &mistakes),
    };
    match policy.load_profile() {
        Ok(_) => print(&format!("{}: no mistakes\n", arguments.policy.display())),
        Err(mistakes) => fail(Exit::Usage, &mistakes),
    }
}

/// Signals come through a descriptor, so that they are handled between two things, never within one. Blocked before the
/// first thread, so that no thread can be picked for one.
fn block_signals() -> io::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// The socket that the service manager hands over under this name, else one of our own.
fn server(path: &Path) -> Result<Server, Failure> {
    const NAMES: [&str; 2] = ["keeper", "keeper.sock"];
    let inherited = host::inherited::take().map_err(|problem| (Exit::Failure, problem.to_string()))?;
    let handed_over = inherited.into_iter().find(|inherited| NAMES.contains(&inherited.name.as_str()));
    let server = match handed_over {
        Some(inherited) => Server::inherited(inherited.fd),
        None => Server::bind(path),
    };
    server.map_err(|error| {
        let exit = if matches!(error, ServerError::Busy(_)) { Exit::Busy } else { Exit::Failure };
        (exit, error.to_string())
    })
}

fn engine_failure(error: &Error) -> Failure {
    let exit = match error {
        Error::Busy { .. } => Exit::Busy,
        Error::Permission { .. } => Exit::Permission,
        Error::Integrity { .. } => Exit::Integrity,
        _ => Exit::Failure,
    };
    (exit, error.to_string())
}

fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Yes,
        Err(_) => Exit::Failure,
    }
}

fn fail(exit: Exit, problem: &str) -> Exit {
    let _ = writeln!(io::stderr(), "quell-keeper: {problem}"); // nobody else is left to tell
    exit
}
