//! Judging a trial that booted: kept when the kernel accepted every argument, told otherwise.

use host::{Error, Root};

use super::accept::{Judged, Verdict, judge_line};
use super::environment::{self, Standing, State, Stored, arm_again, promote, refuse};

/// What settling came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// This boot is no trial that waits to be judged.
    Nothing,
    /// The trial is the good line now.
    Kept {
        /// The line.
        line: Stored,
        /// Each of its arguments.
        judged: Vec<Judged>,
    },
    /// The kernel refused a part of it: the next boot has the line before.
    Refused {
        /// The line.
        line: Stored,
        /// Each of its arguments.
        judged: Vec<Judged>,
    },
    /// An entry was booted that does not carry it; whether the next boot tries it.
    PassedOver {
        /// The line.
        line: Stored,
        /// Not after the second time: somebody does not want it.
        is_armed_again: bool,
    },
    /// GRUB left it armed, and so it stays.
    NotTaken {
        /// The line.
        line: Stored,
    },
    /// Of a part of it nothing can be seen: somebody has to say.
    Undecided {
        /// The line.
        line: Stored,
        /// Each of its arguments.
        judged: Vec<Judged>,
    },
}

/// Whose word is enough to keep a trial of which a part cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// Nobody's: every argument must be seen to be accepted.
    ByEvidence,
    /// The operator's; what the kernel refused is not kept for that.
    ByHand,
}

/// Bytes of a reason that the trial's block keeps beside the line.
const REASON_BYTES_MAX: usize = 160;

/// Judges the trial of this boot, if it is one. The caller holds the engine's lock.
pub(crate) fn settle(root: &Root, confirm: Confirm) -> Result<Settled, Error> {
    let Some(state) = environment::state(root)? else { return Ok(Settled::Nothing) };
    let Some(line) = state.trial.clone() else { return Ok(Settled::Nothing) };
    match state.standing() {
        Standing::OnTrial => {}
        Standing::PassedOver => return pass_over(root, &state, line),
        Standing::NotTaken => return Ok(Settled::NotTaken { line }),
        _ => return Ok(Settled::Nothing),
    }
    let judged = judge_line(root, &line.arguments);
    let refused: Vec<&Judged> = judged.iter().filter(|one| one.verdict == Verdict::Refused).collect();
    if !refused.is_empty() {
        refuse(root, &state, &line, &reason(&refused))?;
        return Ok(Settled::Refused { line, judged });
    }
    let is_seen = judged.iter().all(|one| one.verdict == Verdict::Accepted);
    if !is_seen && confirm == Confirm::ByEvidence {
        return Ok(Settled::Undecided { line, judged });
    }
    promote(root, &state, &line)?;
    Ok(Settled::Kept { line, judged })
}

/// Boots that may pass a trial over before it is given up.
const PASSED_OVER_MAX: u32 = 2;

fn pass_over(root: &Root, state: &State, line: Stored) -> Result<Settled, Error> {
    let is_armed_again = state.passed_over + 1 < PASSED_OVER_MAX;
    match is_armed_again {
        true => arm_again(root, state, &line)?,
        false => refuse(root, state, &line, "two boots passed it over")?,
    }
    Ok(Settled::PassedOver { line, is_armed_again })
}

/// Which arguments and why, in the characters that a block may hold.
fn reason(refused: &[&Judged]) -> String {
    let told: Vec<String> = refused.iter().map(|one| format!("{}: {}", one.argument, one.reason)).collect();
    let plain = |c: char| if c.is_ascii_alphanumeric() || " _.,:;=+/()-".contains(c) { c } else { '_' };
    told.join("; ").chars().map(plain).take(REASON_BYTES_MAX).collect()
}
