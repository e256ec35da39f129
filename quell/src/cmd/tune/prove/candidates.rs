//! Which knobs can be switched on and off between blocks, and why not the others.

use report::{Exit, Skipped};
use sys_tuning::registry::{self, Blast, Knob, When};
use sys_tuning::{Engine, Plan, Profile, Status};

use crate::cli::Prove;
use crate::failure::Failure;

/// A knob to compare with its absence.
pub struct Candidate {
    pub id: &'static str,
    /// What the profile wants of it, and of nothing else.
    pub profile: Profile,
    /// What is switched, as in `swappiness 60 -> 10`.
    pub switched: Vec<String>,
}

/// The choice.
pub struct Candidates {
    pub knobs: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
    /// Whether one of the skipped was refused, rather than having nothing to switch.
    pub refused: bool,
}

/// Looks at the knobs that were named, or at each of the profile. Writes nothing.
pub fn choose(engine: &Engine, profile: &Profile, asked: &Prove) -> Result<Candidates, Failure> {
    let mut chosen = Candidates { knobs: Vec::new(), skipped: Vec::new(), refused: false };
    for knob in named(profile, &asked.knobs)? {
        let only = profile.only(knob.id);
        let found = match refusal(knob, asked.accept_dangers) {
            Some(reason) => Err(("refused", reason)),
            None => switched(&engine.plan(&only)?.only(&[knob.id]), asked.accept_dangers),
        };
        match found {
            Ok(switched) => chosen.knobs.push(Candidate { id: knob.id, profile: only, switched }),
            Err((status, reason)) => {
                chosen.refused |= status == "refused";
                chosen.skipped.push(Skipped {
                    knob: knob.id.to_owned(),
                    status: status.to_owned(),
                    reason: Some(reason),
                    ..Skipped::default()
                });
            }
        }
    }
    Ok(chosen)
}

fn named(profile: &Profile, ids: &[String]) -> Result<Vec<&'static Knob>, Failure> {
    if ids.is_empty() {
        return Ok(profile.knobs().collect());
    }
    let mut knobs: Vec<&'static Knob> = Vec::new();
    let mut mistakes = Vec::new();
    for id in ids {
        match registry::find(id) {
            Some(knob) if !profile.wants(id) => {
                mistakes.push(format!("{}: the profile {} wants nothing of it", knob.id, profile.name));
            }
            Some(knob) if knobs.iter().any(|known| known.id == knob.id) => {} // named twice
            Some(knob) => knobs.push(knob),
            None => mistakes.push(format!("{id}: no such knob; see `quell tune explain`")),
        }
    }
    if mistakes.is_empty() { Ok(knobs) } else { Err(Failure::new(Exit::Usage, mistakes.join("\n"))) }
}

/// Why a knob is not switched, whatever this machine has.
fn refusal(knob: &Knob, accept_dangers: bool) -> Option<String> {
    match (knob.when, knob.blast) {
        (When::Boot, _) => Some("it takes hold with a boot, which no block is".to_owned()),
        (When::Firmware, _) => Some("it is set in the firmware, by hand".to_owned()),
        (When::Elsewhere, _) => Some("somebody else holds it, and quell only reports it".to_owned()),
        (When::Runtime, blast @ (Blast::LinkReset | Blast::Memory)) if !accept_dangers => {
            Some(format!("each switch of it is a {blast}; --accept-dangers does it all the same"))
        }
        (When::Runtime, _) => None,
    }
}

/// What the plan changes, or why there is nothing to switch.
fn switched(plan: &Plan, accept_dangers: bool) -> Result<Vec<String>, (&'static str, String)> {
    if let Some(danger) = plan.dangers.iter().find(|danger| !(accept_dangers && danger.may_be_accepted)) {
        return Err(("refused", danger.reason.clone()));
    }
    if let Some(unreadable) = plan.unreadable.first() {
        return Err(("failed", unreadable.clone()));
    }
    let change = |change: &sys_tuning::Change| {
        let identity =
            if change.identity.is_empty() { String::new() } else { format!("[{}]", change.identity) };
        format!("{}{identity} {} -> {}", change.attribute, change.from, change.to)
    };
    if !plan.changes.is_empty() {
        return Ok(plan.changes.iter().map(change).collect());
    }
    match plan.skipped.first() {
        Some(skipped) if skipped.status != Status::Ok => Err(("not-applicable", skipped.reason.clone())),
        _ => {
            let remedy =
                "`quell tune rollback` first, or another value, gives it something to be compared with";
            Err(("ok", format!("the host is as the profile wants it already; {remedy}")))
        }
    }
}
