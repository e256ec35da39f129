//! One command of the tuning engine, as a process of its own: what the crash tests kill, and what shows the API in use.
//!
//! `tune_once ROOT STATE-DIR plan|apply|apply-atomic|verify|drift|history PROFILE`, `… rollback|rollback-force|rollback-last`.
//! With `--wait` in front it waits for one line on standard input, so that a tracer can attach first. `apply-mutant` is
//! the seeded bug of the crash tests: it writes the kernel files before the engine journals them.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use host::Root;
use sys_tuning::{
    ApplyOptions, Engine, Error, Outcome, Profile, RollbackOptions, RollbackTo, Status, Step, script,
};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "--wait") {
        arguments.remove(0);
        let mut line = String::new();
        io::stdin().read_line(&mut line).expect("standard input can be read");
    }
    let [root, state, verb, rest @ ..] = arguments.as_slice() else {
        return usage();
    };
    let engine = Engine::new(Arc::new(Root::at(Path::new(root))), Path::new(state));
    match run(&engine, verb, rest.first().map(String::as_str)) {
        Ok(text) => answer(&text, 0),
        Err(error) => answer(&format!("{error}\n"), code(&error)),
    }
}

fn usage() -> ExitCode {
    answer("tune_once [--wait] ROOT STATE-DIR VERB [PROFILE]\n", 2)
}

fn answer(text: &str, code: u8) -> ExitCode {
    // Nobody reads the answer of a process that is killed.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// The exit codes of the product, as far as they concern the engine's errors.
fn code(error: &Error) -> u8 {
    match error {
        Error::Profile(_) | Error::NoSuchTransaction { .. } => 2,
        Error::Permission { .. } => 4,
        Error::Integrity { .. } => 5,
        Error::Busy { .. } => 9,
        Error::Refused(_) => 22,
        Error::State { .. } | Error::Host(_) => 1,
    }
}

fn run(engine: &Engine, verb: &str, profile: Option<&str>) -> Result<String, Error> {
    let profile = || Profile::load(profile.unwrap_or("balanced"));
    let options = |atomic| ApplyOptions { atomic, accept_dangers: false, at: 0 };
    let back = |to, force| RollbackOptions { to, force, at: 0 };
    match verb {
        "plan" => engine.plan(&profile()?).map(|plan| format!("{plan:#?}\n{}", script::of_plan(&plan))),
        "apply" => apply(engine, &profile()?, &options(false)),
        "apply-atomic" => apply(engine, &profile()?, &options(true)),
        "apply-mutant" => {
            write_first(engine, &profile()?)?;
            apply(engine, &profile()?, &options(false))
        }
        "verify" => engine.verify(&profile()?).map(|verified| format!("{verified:#?}\n")),
        "drift" => engine.drift().map(|drift| format!("{drift:#?}\n")),
        "history" => engine.history().map(|history| format!("{history:#?}\n")),
        "rollback" => rollback(engine, &back(RollbackTo::Baseline, false)),
        "rollback-force" => rollback(engine, &back(RollbackTo::Baseline, true)),
        "rollback-last" => rollback(engine, &back(RollbackTo::Last, false)),
        _ => Ok(format!("{verb}: no such verb\n")),
    }
}

fn apply(engine: &Engine, profile: &Profile, options: &ApplyOptions) -> Result<String, Error> {
    let plan = engine.plan(profile)?;
    let before = engine.root().write_count();
    let applied = engine.apply(&plan, options)?;
    let writes = engine.root().write_count() - before;
    let mut text = format!("{:?}, {writes} writes\n", applied.result);
    for change in &applied.changes {
        let now = change.now.as_deref().unwrap_or("?");
        text.push_str(&row(change.knob, &change.attribute, &change.identity, change.status));
        text.push_str(&format!(": {} -> {} ({now}) {}\n", change.from, change.to, change.reason));
    }
    for skipped in &applied.skipped {
        text.push_str(&row(skipped.knob, &skipped.attribute, &skipped.identity, skipped.status));
        text.push_str(&format!(": {}\n", skipped.reason));
    }
    Ok(text)
}

fn rollback(engine: &Engine, options: &RollbackOptions) -> Result<String, Error> {
    let back = engine.rollback(options)?;
    let done = if back.result == Outcome::Done { "all back" } else { "not all back" };
    let mut text = format!("{done}, undid {:?}\n", back.undone);
    for change in &back.changes {
        let from = change.from.as_deref().unwrap_or("?");
        text.push_str(&row(&change.knob, &change.attribute, &change.identity, change.status));
        text.push_str(&format!(": {from} -> {} {}\n", change.to, change.reason));
    }
    Ok(text)
}

fn row(knob: &str, attribute: &str, identity: &str, status: Status) -> String {
    format!("{status:>14}  {knob} {attribute} {identity}")
}

/// The seeded bug: the kernel first, the journal later.
fn write_first(engine: &Engine, profile: &Profile) -> Result<(), Error> {
    for change in engine.plan(profile)?.changes {
        for step in change.steps {
            if let Step::Write { path, text } = step {
                engine.root().write(&path, &format!("{text}\n"))?;
            }
        }
    }
    Ok(())
}
