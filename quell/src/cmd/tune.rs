//! `quell tune`: the tuning engine at the command line.
//!
//! Here the engine's results become documents and exit codes; nothing is decided. The engine runs in this process,
//! under the lock of the state directory, whether or not anything else of quell runs.

mod boot;
mod confirm;
mod explain;
mod prove;
mod sessions;

use std::path::Path;
use std::sync::Arc;

use host::Root;
use report::{
    AppliedChange, ApplyDocument, Change, Danger, DriftDocument, Drifted, Exit, Hint, HistoryDocument,
    PlanDocument, RollbackDocument, Skipped, StatusCounts, Transaction, VerifiedKnob, VerifyDocument,
    WallTime, text, wall_time_now,
};
use sys_tuning::boot::Part;
use sys_tuning::{
    Agreement, Applied, ApplyOptions, Drift, Engine, Error, History, Outcome, Plan, Profile, RollbackOptions,
    RollbackTo, RolledBack, Standing, Status, Trading, Verified, What, script,
};
use units::Nanos;

use crate::cli::{STATE_DIR, Tune, TuneVerb};
use crate::failure::Failure;
use crate::output;

/// Runs a verb.
pub fn run(options: &Tune) -> Result<Exit, Failure> {
    host::allow_descriptors(); // before anything is read
    let engine = &engine(options)?; // one for all of it: it reads the journal once
    if !matches!(options.verb, TuneVerb::Explain { .. } | TuneVerb::Confirm { guard: true, .. }) {
        let undone = confirm::undo_due(engine);
        // Somebody asks for the very step back that was just made: a second one would take away what was kept.
        if let (Some(undone), TuneVerb::Rollback { to: None, script: false, .. }) = (undone, &options.verb) {
            return tell_rolled_back(options, engine, &undone, RollbackTo::Last);
        }
    }
    match &options.verb {
        TuneVerb::Plan { profile, contradictions: true, at, .. } => {
            contradictions(engine, options, &profile.profile, *at)
        }
        TuneVerb::Plan { profile, script, at, .. } => plan(engine, options, &profile.profile, *script, *at),
        TuneVerb::Apply { profile, atomic, accept_dangers, in_session, confirm_within } => {
            let confirm_by = confirm_within.map(confirm::deadline).transpose()?;
            let apply = ApplyOptions {
                confirm_by,
                atomic: *atomic,
                accept_dangers: *accept_dangers,
                at: now(),
                ..ApplyOptions::PLAIN
            };
            apply_profile(engine, options, &profile.profile, &apply, *in_session)
        }
        TuneVerb::Confirm { guard: true, .. } => confirm::guard(engine, options),
        TuneVerb::Confirm { id, .. } => confirm::confirm(engine, options, *id),
        TuneVerb::Verify { profile, observe } => verify(engine, options, &profile.profile, *observe),
        TuneVerb::Prove(asked) => prove::run(engine, options, asked),
        TuneVerb::Rollback { to, force, script } => {
            let rollback = RollbackOptions { to: rollback_to(to.as_deref())?, force: *force, at: now() };
            roll_back(engine, options, &rollback, *script)
        }
        TuneVerb::Drift => drift(engine, options),
        TuneVerb::Sessions { profile, at } => sessions::run(engine, options, profile.as_deref(), *at),
        TuneVerb::History => history(engine, options),
        TuneVerb::Explain { knob, markdown } => explain::run(options, knob.as_deref(), *markdown),
        TuneVerb::Boot { verb } => boot::run(engine, options, verb.as_ref()),
    }
}

fn now() -> u64 {
    wall_time_now().unix_s()
}

/// A profile as it is at `at`: some of it may be otherwise within the hours of its sessions.
fn profile_at(which: &str, at: Option<WallTime>) -> Result<Profile, Failure> {
    Ok(Profile::load(which)?.at(second(at.unwrap_or_else(wall_time_now))))
}

/// As hours are compared with.
fn second(at: WallTime) -> i64 {
    i64::try_from(at.unix_s()).unwrap_or(i64::MAX)
}

/// The engine for a plan that somebody sees, which is held against the trading windows of the policy, too.
fn examiner(engine: &Engine, options: &Tune) -> Engine {
    let trading = Trading::read(&options.policy_file).unwrap_or_else(|mistakes| {
        output::tell(&format!("quell: {mistakes}; the plan is not held against its trading windows"));
        Trading::NEVER
    });
    engine.clone().with_trading(trading)
}

fn engine(options: &Tune) -> Result<Engine, Failure> {
    if !options.root.is_dir() {
        let root = options.root.display();
        return Err(Failure::new(
            Exit::Usage,
            format!("{root}: no such directory (--root names a tree in place of /)"),
        ));
    }
    if options.root != Path::new("/") && options.state_dir == Path::new(STATE_DIR) {
        let problem = "--root needs --state-dir: the journal of this machine is not that tree's";
        return Err(Failure::new(Exit::Usage, problem));
    }
    Ok(Engine::new(Arc::new(Root::at(&options.root)), &options.state_dir))
}

fn rollback_to(to: Option<&str>) -> Result<RollbackTo, Failure> {
    match to {
        None => Ok(RollbackTo::Last),
        Some("baseline") => Ok(RollbackTo::Baseline),
        Some(id) => id.parse().map(RollbackTo::Id).map_err(|_| {
            Failure::new(
                Exit::Usage,
                format!("--to {id}: neither a transaction of `quell tune history` nor baseline"),
            )
        }),
    }
}

/// What works against what, and nothing else of the plan.
fn contradictions(
    engine: &Engine,
    options: &Tune,
    profile: &str,
    at: Option<WallTime>,
) -> Result<Exit, Failure> {
    let plan = examiner(engine, options).examine(&profile_at(profile, at)?)?;
    let lines: Vec<String> =
        plan.contradictions.iter().map(|found| format!("{}: {}", found.rule, found.reason)).collect();
    if lines.is_empty() {
        output::print("no contradictions")?;
        return Ok(Exit::Yes);
    }
    output::print(&lines.join("\n"))?;
    Ok(Exit::No)
}

fn plan(
    engine: &Engine,
    options: &Tune,
    profile: &str,
    script: bool,
    at: Option<WallTime>,
) -> Result<Exit, Failure> {
    let engine = examiner(engine, options);
    let mut plan = engine.examine(&profile_at(profile, at)?)?;
    engine.name_rivals(&mut plan);
    if script {
        output::print(&script::of_plan(&plan))?;
    } else {
        let document = plan_document(&plan);
        show(options, || document.to_json(), || text::plan(&document, &output::style()))?;
    }
    let in_the_way = !plan.dangers.is_empty()
        || !plan.unreadable.is_empty()
        || plan.skipped.iter().any(|skipped| skipped.status.is_trouble());
    Ok(match (plan.changes.is_empty(), in_the_way) {
        (false, _) => Exit::Pending,
        (true, true) => Exit::No, // nothing would change, and the host is not as the profile wants it
        (true, false) => Exit::Yes,
    })
}

fn apply_profile(
    engine: &Engine,
    options: &Tune,
    profile: &str,
    apply: &ApplyOptions,
    in_session: bool,
) -> Result<Exit, Failure> {
    let plan = engine.examine(&profile_at(profile, None)?)?;
    if !in_session {
        refuse_in_session(options, &plan, apply.at)?;
    }
    let guard = apply.confirm_by.map(|_| confirm::Guard::start(options)).transpose()?;
    let applied = engine.apply(&plan, apply)?;
    drop(guard);
    let trial = if apply.confirm_by.is_some() { engine.on_trial()? } else { None };
    let document = ApplyDocument {
        confirm: trial.as_ref().map(|trial| format!("quell tune confirm {}{}", trial.id, elsewhere(options))),
        confirm_within_s: trial.as_ref().map(confirm::seconds_left),
        ..apply_document(options, &plan, &applied, engine.root().write_count())
    };
    show(options, || document.to_json(), || text::apply(&document, &output::style()))?;
    if apply.confirm_by.is_some() && trial.is_none() {
        output::tell("quell: nothing was changed that would have to be confirmed");
    }
    if let Some(why) = &applied.unrecorded {
        output::tell(&format!(
            "quell: the end of the transaction is not in the journal: {why}; it can be undone all the same"
        ));
    }
    Ok(match (applied.result, plan.reboot_required) {
        (Outcome::Done, false) => Exit::Yes,
        (Outcome::Done, true) => Exit::NeedsReboot,
        (Outcome::Partly, _) => Exit::Partly,
        (Outcome::Failed, _) => Exit::Failure,
        (Outcome::RolledBack, _) => Exit::RolledBack,
    })
}

/// A trading window that is open forbids what the plan would do. A policy that cannot be read may have one.
fn refuse_in_session(options: &Tune, plan: &Plan, at: u64) -> Result<(), Failure> {
    let trading = Trading::read(&options.policy_file).map_err(|mistakes| {
        Failure::new(Exit::Usage, format!("{mistakes} (--in-session goes on without the policy)"))
    })?;
    let reasons = plan.kept_from(&trading, i64::try_from(at).unwrap_or(i64::MAX));
    if reasons.is_empty() { Ok(()) } else { Err(Error::Refused(reasons).into()) }
}

fn verify(engine: &Engine, options: &Tune, profile: &str, observe: Option<Nanos>) -> Result<Exit, Failure> {
    let profile = profile_at(profile, None)?;
    let mut verified = match observe {
        Some(window) => engine.observe(&profile, window)?,
        None => engine.verify(&profile)?,
    };
    engine.name_owners(&mut verified);
    let document = verify_document(&verified);
    show(options, || document.to_json(), || text::verify(&document, &output::style()))?;
    for note in &verified.notes {
        output::tell(&format!("quell: {note}"));
    }
    Ok(match verified.agreement() {
        Agreement::Yes => Exit::Yes,
        Agreement::No | Agreement::NothingChecked => Exit::No,
    })
}

fn roll_back(
    engine: &Engine,
    options: &Tune,
    rollback: &RollbackOptions,
    script: bool,
) -> Result<Exit, Failure> {
    if script {
        output::print(&script::shell(&engine.rollback_steps(rollback)?))?;
        return Ok(Exit::Yes);
    }
    tell_rolled_back(options, engine, &engine.rollback(rollback)?, rollback.to)
}

fn tell_rolled_back(
    options: &Tune,
    engine: &Engine,
    rolled_back: &RolledBack,
    to: RollbackTo,
) -> Result<Exit, Failure> {
    let document = rollback_document(rolled_back, to, engine.root().write_count());
    show(options, || document.to_json(), || text::rollback(&document, &output::style()))?;
    match (&rolled_back.unrecorded, &rolled_back.damage) {
        (Some(why), _) => output::tell(&format!("quell: this is not in the journal: {why}")),
        (None, Some(damage)) => output::tell(&format!("quell: the journal is damaged: {damage}")),
        (None, None) => {}
    }
    if let [.., last] = rolled_back.remaining.as_slice() {
        let (count, flags) = (rolled_back.remaining.len(), elsewhere(options));
        output::tell(&format!(
            "quell: transaction {last} is still in effect ({count} in all); `quell tune rollback{flags}` undoes it, \
             with --to baseline everything"
        ));
    }
    let waits = rolled_back.changes.iter().any(|change| change.status == Status::NeedsReboot);
    Ok(match rolled_back.result {
        Outcome::Done | Outcome::RolledBack if waits => Exit::NeedsReboot,
        Outcome::Done | Outcome::RolledBack => Exit::Yes,
        Outcome::Partly => Exit::Partly,
        Outcome::Failed => Exit::Failure,
    })
}

fn drift(engine: &Engine, options: &Tune) -> Result<Exit, Failure> {
    let mut drift = engine.drift()?;
    engine.name_writers(&mut drift);
    let document = drift_document(&drift);
    show(options, || document.to_json(), || text::drift(&document, &output::style()))?;
    if let Ok(Standing::Profile(held)) = engine.standing() {
        let on = held.profile.at(second(wall_time_now())).sessions_on().to_vec();
        if held.is_this_boot && on != held.sessions {
            output::tell(
                "quell: another session of the profile is on than the host was brought to: `quell tune sessions`",
            );
        }
    }
    if let Some(id) = drift.interrupted {
        output::tell(&format!(
            "quell: transaction {id} has not ended: it is under way, or was interrupted, and then \
             `quell tune rollback{}` undoes what it did",
            elsewhere(options)
        ));
    }
    Ok(if drift.drifted.is_empty() && drift.interrupted.is_none() { Exit::Yes } else { Exit::No })
}

fn history(engine: &Engine, options: &Tune) -> Result<Exit, Failure> {
    let history = engine.history()?;
    let document = history_document(&history);
    show(options, || document.to_json(), || text::history(&document, &output::style()))?;
    match history.damage {
        Some(damage) => Err(Failure::new(Exit::Integrity, damage)),
        None => Ok(Exit::Yes),
    }
}

fn show(options: &Tune, json: impl Fn() -> String, text: impl Fn() -> String) -> Result<(), Failure> {
    output::print(&if options.json { json() } else { text() })
}

/// An empty text is an absent one.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn plan_document(plan: &Plan) -> PlanDocument {
    let change = |change: &sys_tuning::Change| Change {
        knob: change.knob.to_owned(),
        attribute: change.attribute.clone(),
        identity: given(&change.identity),
        from: given(&change.from),
        to: change.to.clone(),
        when: change.when.to_string(),
        blast: change.blast.to_string(),
        source: change.source.to_owned(),
        reason: given(&change.reason),
    };
    let rows = |one: &sys_tuning::Change| match one.parts.as_slice() {
        [] => vec![change(one)],
        parts => parts.iter().map(|part| planned_part(one, part)).collect(),
    };
    let danger = |danger: &sys_tuning::Danger| Danger {
        knob: Some(danger.knob.to_owned()),
        what: danger.reason.clone(),
        fix: Some(match danger.may_be_accepted {
            true => "--accept-dangers goes on in spite of it".to_owned(),
            false => "ask for less; this is refused in any case".to_owned(),
        }),
    };
    let contradiction = |found: &sys_tuning::Contradiction| Danger {
        knob: None,
        what: format!("{}: {}", found.rule, found.reason),
        fix: None,
    };
    let hint = |hint: &sys_tuning::Hint| Hint { topic: hint.topic.to_owned(), what: hint.what.clone() };
    PlanDocument {
        profile: plan.profile.clone(),
        sessions: plan.sessions.clone(),
        changes: plan.changes.iter().flat_map(rows).collect(),
        skipped: left_alone(&plan.skipped, plan),
        contradictions: plan.contradictions.iter().map(contradiction).collect(),
        dangers: plan.dangers.iter().map(danger).collect(),
        hints: plan.hints.iter().map(hint).collect(),
        reboot_required: plan.reboot_required,
        ..PlanDocument::default()
    }
}

/// One argument of a change of the boot line.
fn planned_part(change: &sys_tuning::Change, part: &Part) -> Change {
    Change {
        knob: part.knob.to_owned(),
        attribute: part.attribute.clone(),
        identity: None,
        from: given(&part.from),
        to: part.to.clone(),
        when: change.when.to_string(),
        blast: change.blast.to_string(),
        source: part.source.to_owned(),
        reason: given(part.reason),
    }
}

/// What is not tried, and what could not even be read, so that it may lack changes.
fn left_alone(list: &[sys_tuning::Skipped], plan: &Plan) -> Vec<Skipped> {
    let unreadable = plan.unreadable.iter().map(|what| {
        let (knob, reason) = what.split_once(": ").unwrap_or(("", what));
        Skipped {
            knob: knob.to_owned(),
            status: Status::Failed.to_string(),
            reason: given(reason),
            ..Skipped::default()
        }
    });
    list.iter().map(skipped).chain(unreadable).collect()
}

fn skipped(skipped: &sys_tuning::Skipped) -> Skipped {
    Skipped {
        knob: skipped.knob.to_owned(),
        attribute: given(&skipped.attribute),
        identity: given(&skipped.identity),
        status: skipped.status.to_string(),
        reason: given(&skipped.reason),
    }
}

fn apply_document(options: &Tune, plan: &Plan, applied: &Applied, writes: u64) -> ApplyDocument {
    let change = |change: &sys_tuning::Applying| AppliedChange {
        knob: change.knob.to_owned(),
        attribute: change.attribute.clone(),
        identity: given(&change.identity),
        from: given(&change.from),
        to: change.to.clone(),
        status: change.status.to_string(),
        reason: given(&change.reason),
    };
    let part = |one: &sys_tuning::Applying, part: &Part| AppliedChange {
        knob: part.knob.to_owned(),
        attribute: part.attribute.clone(),
        from: given(&part.from),
        to: part.to.clone(),
        ..change(one)
    };
    let rows = |one: &sys_tuning::Applying| match one.parts.as_slice() {
        [] => vec![change(one)],
        parts => parts.iter().map(|of_line| part(one, of_line)).collect(),
    };
    ApplyDocument {
        id: applied.id.map(|id| id.to_string()),
        profile: applied.profile.clone(),
        changes: applied.changes.iter().flat_map(rows).collect(),
        skipped: left_alone(&applied.skipped, plan),
        result: outcome(applied.result, if applied.id.is_some() { "applied" } else { "unchanged" })
            .to_owned(),
        writes,
        reboot_required: plan.reboot_required,
        way_back: applied.id.map(|_| format!("quell tune rollback{}", elsewhere(options))),
        ..ApplyDocument::default()
    }
}

/// The flags without which the way back would lead somewhere else.
fn elsewhere(options: &Tune) -> String {
    let mut flags = String::new();
    if options.state_dir != Path::new(STATE_DIR) {
        flags.push_str(&format!(" --state-dir {}", options.state_dir.display()));
    }
    if options.root != Path::new("/") {
        flags.push_str(&format!(" --root {}", options.root.display()));
    }
    flags
}

const fn done_word(what: What) -> &'static str {
    match what {
        What::Apply => "applied",
        What::Rollback => "restored",
        What::Repair => "repaired",
    }
}

/// The word for what a transaction came to; `done` is the word for all of it.
const fn outcome(outcome: Outcome, done: &'static str) -> &'static str {
    match outcome {
        Outcome::Done => done,
        Outcome::Partly => "partly",
        Outcome::Failed => "failed",
        Outcome::RolledBack => "undone",
    }
}

fn verify_document(verified: &Verified) -> VerifyDocument {
    let knob = |knob: &sys_tuning::Verifying| VerifiedKnob {
        knob: knob.knob.to_owned(),
        attribute: knob.attribute.clone(),
        identity: given(&knob.identity),
        want: knob.want.clone(),
        have: knob.have.clone(),
        effective: match knob.status {
            Status::Ok => Some(true),
            Status::NotApplicable | Status::Blocked => None,
            _ => Some(false),
        },
        observed_for_s: knob.observed_for_s,
        observed_ago_s: knob.observed_ago_s,
        status: knob.status.to_string(),
        reason: given(&knob.reason),
        owner: knob.owner.clone(),
        fix: knob.fix.clone(),
    };
    let mut summary = StatusCounts::default();
    verified.knobs.iter().for_each(|knob| summary.count(knob.status.word()));
    VerifyDocument {
        profile: verified.profile.clone(),
        knobs: verified.knobs.iter().map(knob).collect(),
        summary,
        ..VerifyDocument::default()
    }
}

fn rollback_document(rolled_back: &RolledBack, to: RollbackTo, writes: u64) -> RollbackDocument {
    let change = |change: &sys_tuning::Restored| AppliedChange {
        knob: change.knob.clone(),
        attribute: change.attribute.clone(),
        identity: given(&change.identity),
        from: change.from.clone(),
        to: change.to.clone(),
        status: change.status.to_string(),
        reason: given(&change.reason),
    };
    RollbackDocument {
        id: rolled_back.id.map(|id| id.to_string()),
        to: Some(match to {
            RollbackTo::Last => "before the last apply".to_owned(),
            RollbackTo::Id(id) => format!("transaction {id}"),
            RollbackTo::Baseline => "baseline".to_owned(),
        }),
        changes: rolled_back.changes.iter().map(change).collect(),
        result: outcome(
            rolled_back.result,
            if rolled_back.changes.is_empty() { "unchanged" } else { "restored" },
        )
        .to_owned(),
        writes,
        ..RollbackDocument::default()
    }
}

fn drift_document(drift: &Drift) -> DriftDocument {
    let drifted = |drifted: &sys_tuning::Drifted| Drifted {
        knob: drifted.knob.clone(),
        attribute: drifted.attribute.clone(),
        identity: given(&drifted.identity),
        want: Some(drifted.want.clone()),
        have: drifted.have.clone(),
        status: drifted.status.to_string(),
        since: drifted.since.map(WallTime::from_unix_s),
        by: drifted.by.clone(),
        reason: given(&drifted.reason),
    };
    let mut summary = StatusCounts::default();
    drift.drifted.iter().for_each(|drifted| summary.count(drifted.status.word()));
    let checked = u64::try_from(drift.checked).unwrap_or(u64::MAX);
    summary.ok = checked.saturating_sub(u64::try_from(drift.drifted.len()).unwrap_or(0));
    DriftDocument {
        profile: drift.profile.clone(),
        drifted: drift.drifted.iter().map(drifted).collect(),
        summary,
        ..DriftDocument::default()
    }
}

fn history_document(history: &History) -> HistoryDocument {
    let transaction = |past: &sys_tuning::Past| Transaction {
        id: past.id.to_string(),
        verb: match past.what {
            What::Apply => "apply".to_owned(),
            What::Rollback => "rollback".to_owned(),
            What::Repair => "repair".to_owned(),
        },
        at: Some(WallTime::from_unix_s(past.at)),
        profile: given(&past.profile),
        sessions: past.sessions.clone(),
        result: past.outcome.map_or("interrupted", |result| outcome(result, done_word(past.what))).to_owned(),
        changes: u64::try_from(past.changes).unwrap_or(u64::MAX),
        this_boot: past.is_this_boot,
        on_trial: past.is_on_trial,
        undone: past.what == What::Apply && past.is_this_boot && !past.is_live,
    };
    let transactions = history.transactions.iter().rev().map(transaction).collect(); // newest first
    HistoryDocument { transactions, ..HistoryDocument::default() }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Busy { .. } => Exit::Busy,
            Error::Permission { .. } => Exit::Permission,
            Error::Integrity { .. } => Exit::Integrity,
            Error::Profile(_) | Error::NoSuchTransaction { .. } => Exit::Usage,
            Error::Refused(_) => Exit::Refused,
            Error::State { .. } | Error::Host(_) => Exit::Failure,
        };
        Self::from_error(exit, &error)
    }
}
