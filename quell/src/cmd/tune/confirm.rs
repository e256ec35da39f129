//! `quell tune apply --confirm-within` and `quell tune confirm`.
//!
//! Before the first write a guard is started: this program again, in a session of its own, so that a terminal or a network
//! that goes away does not take it along. It waits for the deadline that stands in the journal and undoes the apply under
//! the lock, like anybody else who finds it overdue: the keeper, and every later `quell tune`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use host::threads::{boottime_now, monotonic_now, sleep_until};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{chdir, setsid};
use report::{ConfirmDocument, Exit};
use sys_tuning::{Due, DueWhy, Engine, Error, RolledBack, Trial};
use units::Nanos;
use units::limits::{
    CONFIRM_WITHIN_MAX, CONFIRM_WITHIN_MIN, OVERDUE_ATTEMPTS, OVERDUE_REST_ATTEMPTS, OVERDUE_REST_PAUSE_MAX,
};

use super::now;
use crate::cli::Tune;
use crate::failure::Failure;
use crate::output;

/// How often the guard looks whether it is still needed.
const LOOK: Nanos = Nanos::from_secs(1);

/// A guard that stands ready. It looks at the journal once this is dropped, or this process is gone.
pub struct Guard {
    _child: Child,
}

impl Guard {
    /// Starts one, and waits until it stands on its own.
    pub fn start(options: &Tune) -> Result<Self, Failure> {
        Self::spawn(options).map_err(|cause| {
            let problem = format!(
                "the guard that would undo the apply cannot be started: {cause} (nothing was written)"
            );
            Failure::new(Exit::Failure, problem)
        })
    }

    fn spawn(options: &Tune) -> io::Result<Self> {
        let (state_dir, root) =
            (std::path::absolute(&options.state_dir)?, std::path::absolute(&options.root)?);
        let mut command = Command::new("/proc/self/exe"); // the very program, though its file may be replaced meanwhile
        command.args(["tune", "confirm", "--guard", "--state-dir"]).arg(state_dir).arg("--root").arg(root);
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut ready = [0; READY.len()];
        let told = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?.read_exact(&mut ready);
        told.map(|()| Self { _child: child })
    }
}

const READY: &[u8] = b"ready\n";

/// What the guard does.
pub fn guard(engine: &Engine, options: &Tune) -> Result<Exit, Failure> {
    stand_alone();
    let failed = |cause: io::Error| Failure::new(Exit::Failure, cause.to_string());
    io::stdout().write_all(READY).and_then(|()| io::stdout().flush()).map_err(failed)?;
    // Until the apply has ended, however it did.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let mut attempts = 0;
    while attempts < OVERDUE_ATTEMPTS {
        let pause = match next(engine) {
            Next::Nothing => return Ok(Exit::Yes),
            Next::Left(id, left) => return Ok(put_back_rest(options, engine, id, left)),
            Next::Wait(left) => left.min(LOOK),
            Next::TryAgain => {
                attempts += 1;
                LOOK
            }
        };
        sleep_until(monotonic_now() + pause);
    }
    log(options, LOG_ERROR, "an apply that was not confirmed could not be undone; quell tune rollback");
    Ok(Exit::Failure)
}

/// Goes on trying what could not be put back; what is left is told when it is known and when it is given up.
fn put_back_rest(options: &Tune, engine: &Engine, id: u64, mut left: Vec<String>) -> Exit {
    let mut pause = LOOK;
    log(
        options,
        LOG_WARNING,
        &format!("transaction {id} was not confirmed; tried again: {}", left.join("; ")),
    );
    for _ in 0..OVERDUE_REST_ATTEMPTS {
        sleep_until(monotonic_now() + pause);
        pause = OVERDUE_REST_PAUSE_MAX.min(pause.times(2));
        match engine.undo_rest(id, now()) {
            Ok(Some(undone)) => left = troubles(&undone),
            Ok(None) => return Exit::Yes, // somebody else was faster
            Err(_) => continue,           // another engine is at work: what is left is known no better
        }
        if left.is_empty() {
            log(
                options,
                LOG_WARNING,
                &format!("transaction {id} was not confirmed; all of it is undone now"),
            );
            return Exit::Yes;
        }
    }
    let left = left.join("; ");
    log(
        options,
        LOG_ERROR,
        &format!("transaction {id} was not confirmed; left of it (quell tune rollback): {left}"),
    );
    Exit::Partly
}

/// What a roll-back could not put back.
fn troubles(undone: &RolledBack) -> Vec<String> {
    let rows = undone.changes.iter().filter(|row| row.status.is_trouble());
    rows.map(|row| format!("{} {} {}: {}", row.knob, row.attribute, row.identity, row.reason)).collect()
}

/// Facility daemon, as syslog(3) numbers it, with the level.
const LOG_ERROR: u8 = 3 << 3 | 3;
const LOG_WARNING: u8 = 3 << 3 | 4;

/// To the machine's log: nobody else is left to tell. Nobody waits for it, and without one nothing is told.
fn log(options: &Tune, level: u8, text: &str) {
    let line = format!("<{level}>quell[{}]: {text}", std::process::id());
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(line.as_bytes(), options.root.join("dev/log"))
    });
}

/// A terminal that hangs up, and keys that are pressed there, are not for us.
fn stand_alone() {
    let _ = setsid(); // refused to the leader of a group, who has a session of his own then
    let _ = chdir("/");
    let ignored = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP];
    let _ = ignored.into_iter().collect::<SigSet>().thread_block();
}

enum Next {
    /// It was confirmed, or undone, or there never was anything.
    Nothing,
    /// It may be confirmed for as long.
    Wait(Nanos),
    /// It was undone but for these.
    Left(u64, Vec<String>),
    /// Its time is over, and it cannot be undone at this moment.
    TryAgain,
}

fn next(engine: &Engine) -> Next {
    let clock = boottime_now();
    match engine.on_trial() {
        Ok(None) => Next::Nothing,
        Ok(Some(trial)) if !trial.is_overdue(clock) => Next::Wait(trial.deadline - clock),
        Ok(Some(trial)) => match engine.undo_due(clock, now()) {
            Ok(Some(undone)) if !troubles(&undone).is_empty() => Next::Left(trial.id, troubles(&undone)),
            Ok(_) => Next::Nothing,
            Err(_) => Next::TryAgain,
        },
        Err(_) => Next::TryAgain,
    }
}

/// Undoes what was not confirmed in time, or was to be all or nothing and was cut off, before anything else is done. What
/// stands in the way of that stands in the way of the command itself, which tells it; looking needs no rights. The answer is
/// what was undone.
pub fn undo_due(engine: &Engine) -> Option<RolledBack> {
    let clock = boottime_now();
    let Due { id, profile, why } = engine.due(clock).ok()??;
    let undone = engine.undo_due(clock, now());
    let became = match &undone {
        Ok(Some(_)) => "is undone now".to_owned(),
        Err(Error::Busy { .. }) | Ok(None) => return None,
        Err(error) => format!("cannot be undone: {error}"),
    };
    let happened = match why {
        DueWhy::NotConfirmed => "was not confirmed in time",
        DueWhy::CutOff => "was to be all or nothing and was cut off",
    };
    output::tell(&format!("quell: transaction {id} ({profile}) {happened}, and {became}"));
    undone.ok().flatten()
}

/// `quell tune confirm`.
pub fn confirm(engine: &Engine, options: &Tune, id: Option<u64>) -> Result<Exit, Failure> {
    let kept = engine.confirm(id, boottime_now())?;
    let document = ConfirmDocument { id: kept.to_string(), ..ConfirmDocument::default() };
    super::show(options, || document.to_json(), || format!("transaction {kept} is kept\n"))?;
    Ok(Exit::Yes)
}

/// The deadline of an apply that is to be confirmed within this time.
pub fn deadline(within: Nanos) -> Result<Nanos, Failure> {
    if !(CONFIRM_WITHIN_MIN..=CONFIRM_WITHIN_MAX).contains(&within) {
        let problem =
            format!("--confirm-within {within}: allowed is {CONFIRM_WITHIN_MIN} to {CONFIRM_WITHIN_MAX}");
        return Err(Failure::new(Exit::Usage, problem));
    }
    Ok(boottime_now() + within)
}

/// In how many seconds it undoes itself, not less than it is.
pub fn seconds_left(trial: &Trial) -> u64 {
    let left = trial.deadline.max(boottime_now()) - boottime_now();
    left.0.div_ceil(1_000_000_000)
}
