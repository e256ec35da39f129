//! One knob on, and off again, through the engine's journal.

use host::threads::{boottime_now, monotonic_now, sleep_until};
use report::Exit;
use sys_tuning::{ApplyOptions, Engine, Error, Outcome, RolledBack};
use units::Nanos;

use super::candidates::Candidate;
use crate::cmd::tune::now;
use crate::failure::Failure;

/// What the block's time is not: the apply, the way back, and a machine that is slow. The guard waits for it too.
const SLACK: Nanos = Nanos::from_secs(30);

/// How often the way back is tried while another quell has the lock: the keeper has it for moments.
const ATTEMPTS: usize = 100;
const PAUSE: Nanos = Nanos::from_millis(100);

/// A knob that is on.
pub struct Switch {
    transaction: u64,
}

/// How a knob went off.
pub enum Off {
    /// Every value is what it was before.
    AsBefore,
    /// It was off before we came: somebody took it back, or its time was over.
    AlreadyOff,
}

impl Switch {
    /// Switches the knob on for `time`; a reason when the machine does not let us.
    pub fn on(
        engine: &Engine,
        knob: &Candidate,
        time: Nanos,
        accept_dangers: bool,
    ) -> Result<Result<Self, String>, Failure> {
        let plan = engine.plan(&knob.profile)?.only(&[knob.id]);
        if plan.changes.is_empty() {
            return Ok(Err("somebody else set it to what the profile wants meanwhile".to_owned()));
        }
        let options = ApplyOptions {
            confirm_by: Some(boottime_now() + time + SLACK),
            atomic: true,
            accept_dangers,
            at: now(),
            ..ApplyOptions::PLAIN
        };
        let applied = engine.apply(&plan, &options)?;
        match (applied.result, applied.id) {
            (Outcome::Done, Some(transaction)) => Ok(Ok(Self { transaction })),
            (Outcome::Done, None) => Ok(Err("nothing of it could be changed".to_owned())),
            (Outcome::Partly | Outcome::Failed | Outcome::RolledBack, id) => {
                let why =
                    applied.changes.iter().map(|change| change.reason.as_str()).find(|why| !why.is_empty());
                let why = why.unwrap_or("a change of it did not take effect").to_owned();
                // What an atomic apply could not take back itself is taken back here, or told.
                id.map(|transaction| Self { transaction }.off(engine)).transpose()?;
                Ok(Err(why))
            }
        }
    }

    /// Whether it is still on.
    pub fn stands(&self, engine: &Engine, knob: &Candidate) -> bool {
        let is_ours =
            engine.on_trial().is_ok_and(|trial| trial.is_some_and(|trial| trial.id == self.transaction));
        is_ours && engine.plan(&knob.profile).is_ok_and(|plan| plan.only(&[knob.id]).changes.is_empty())
    }

    /// Switches it off: every value is what it was before, or this is a failure that ends everything.
    pub fn off(self, engine: &Engine) -> Result<Off, Failure> {
        let mut attempts = 0;
        loop {
            match engine.take_back(self.transaction, now()) {
                Err(Error::Busy { .. }) if attempts < ATTEMPTS => {
                    attempts += 1;
                    sleep_until(monotonic_now() + PAUSE);
                }
                Err(error) => return Err(self.left_on(&error.to_string())),
                Ok(back) if back.id.is_none() && back.changes.is_empty() => return Ok(Off::AlreadyOff),
                Ok(back) if matches!(back.result, Outcome::Done | Outcome::RolledBack) => {
                    return Ok(Off::AsBefore);
                }
                Ok(back) => return Err(self.left_on(&left(&back))),
            }
        }
    }

    fn left_on(&self, why: &str) -> Failure {
        let id = self.transaction;
        Failure::new(
            Exit::Partly,
            format!("transaction {id} cannot be taken back: {why}; `quell tune rollback` tries again"),
        )
    }
}

fn left(back: &RolledBack) -> String {
    let row = back.changes.iter().find(|change| !change.reason.is_empty());
    row.map_or("a value could not be put back".to_owned(), |row| {
        format!("{} {}: {}", row.knob, row.attribute, row.reason)
    })
}
