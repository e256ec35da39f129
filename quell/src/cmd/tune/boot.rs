//! `quell tune boot`: the boot line, its trial, and what the kernel accepted.

use report::{BootArgument, BootDocument, BootLine, Exit, text};
use sys_tuning::boot::{Confirm, Judged, Settled, Standing, State, Stored, Verdict};
use sys_tuning::{Engine, Error};

use super::{given, show};
use crate::cli::{BootVerb, Tune};
use crate::failure::Failure;
use crate::output;

/// Runs a verb of `quell tune boot`.
pub fn run(engine: &Engine, options: &Tune, verb: Option<&BootVerb>) -> Result<Exit, Failure> {
    match verb {
        None => {}
        Some(BootVerb::Init) => init(engine)?,
        Some(BootVerb::Forget) => forget(engine)?,
        Some(BootVerb::Confirm) => return confirm(options, engine),
    }
    let (document, exit) = document(engine)?;
    show(options, || document.to_json(), || text::boot(&document, &output::style()))?;
    Ok(exit)
}

fn init(engine: &Engine) -> Result<(), Failure> {
    match engine.install_boot()? {
        Some(_) => Ok(()),
        None => {
            let problem = "there is no /boot/grub or /boot/grub2: quell's boot line needs GRUB";
            Err(Failure::new(Exit::Refused, problem))
        }
    }
}

fn forget(engine: &Engine) -> Result<(), Failure> {
    if !engine.forget_boot_trial()? {
        output::tell("quell: there is no trial to forget");
    }
    Ok(())
}

/// Keeps the trial of this boot on the operator's word.
fn confirm(options: &Tune, engine: &Engine) -> Result<Exit, Failure> {
    let settled = engine.settle_boot(Confirm::ByHand)?;
    let (document, exit) = document(engine)?;
    show(options, || document.to_json(), || text::boot(&document, &output::style()))?;
    match settled {
        Settled::Kept { .. } => Ok(exit),
        Settled::Refused { .. } => Ok(Exit::No),
        Settled::Nothing | Settled::PassedOver { .. } | Settled::NotTaken { .. } => {
            let problem = "this boot is no trial that waits to be confirmed; see `quell tune boot`";
            Err(Failure::new(Exit::No, problem))
        }
        Settled::Undecided { .. } => Err(Failure::new(Exit::Failure, "the trial was left as it is")),
    }
}

/// The document, and the answer to "is the wanted line in force?".
fn document(engine: &Engine) -> Result<(BootDocument, Exit), Error> {
    let Some(state) = engine.boot()? else { return Ok((BootDocument::default(), Exit::Yes)) };
    let judged = engine.judge_boot(&state);
    let is_refused = judged.iter().any(|one| one.verdict == Verdict::Refused);
    let exit = match state.standing() {
        Standing::CameBack | Standing::Refused => Exit::No,
        _ if is_refused => Exit::No,
        _ if !state.is_running() => Exit::NeedsReboot,
        Standing::Settled
        | Standing::Armed
        | Standing::NotTaken
        | Standing::PassedOver
        | Standing::OnTrial => Exit::Yes,
    };
    Ok((of_state(&state, &judged), exit))
}

fn of_state(state: &State, judged: &[Judged]) -> BootDocument {
    let line = |line: &Stored| BootLine {
        id: given(&line.id),
        arguments: line.arguments.clone(),
        refused: line.refused.clone(),
    };
    let argument = |one: &Judged| BootArgument {
        argument: one.argument.clone(),
        effective: one.effective.clone(),
        verdict: one.verdict.word().to_owned(),
        reason: given(&one.reason),
    };
    BootDocument {
        dir: Some(state.dir.clone()),
        standing: Some(state.standing().word().to_owned()),
        good: Some(line(&state.good)),
        trial: state.trial.as_ref().map(line),
        armed: state.armed.clone(),
        booted: state.booted.clone(),
        reboot_required: !state.is_running(),
        arguments: judged.iter().map(argument).collect(),
        ..BootDocument::default()
    }
}
