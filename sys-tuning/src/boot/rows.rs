//! The boot line in the words of verify: one row an argument, each with what the kernel made of it.

use host::Root;

use super::accept::{Evidence, Judged, Verdict};
use super::compose::{Asked, holds, name, units};
use crate::status::Status;
use crate::verify::Verifying;

/// The rows for the arguments that a profile asks for; `line` is the row of the whole line.
pub(crate) fn rows(root: &Root, asked: &[Asked], line: &Verifying) -> Vec<Verifying> {
    let have = line.have.as_deref().unwrap_or_default();
    let state = super::state(root).ok().flatten();
    let is_running = state.as_ref().is_some_and(super::State::is_running);
    // Kept at its trial, when the boot log was whole: what cannot be seen any more was seen then.
    let was_kept = state.is_some_and(|state| state.booted.as_ref() == Some(&state.good.id));
    let evidence = Evidence::gather(root);
    let row = |asked: &Asked| {
        let row = Verifying {
            attribute: asked.attribute.clone(),
            want: Some(asked.argument.clone()),
            have: Some(argument_like(have, &asked.argument)),
            owner: line.owner.clone(),
            fix: line.fix.clone(),
            ..Verifying::of(asked.knob)
        };
        match (holds(have, &asked.argument), is_running) {
            (false, _) => Verifying { status: line.status, reason: line.reason.clone(), ..row },
            (true, false) => {
                let reason = "tried once with the next boot, and kept when the kernel accepts it".to_owned();
                Verifying { status: Status::NeedsReboot, reason, fix: Some("reboot".to_owned()), ..row }
            }
            (true, true) => judged(row, &evidence, &asked.argument, was_kept),
        }
    };
    asked.iter().map(row).collect()
}

/// What stands on the line in the argument's place.
fn argument_like(line: &str, argument: &str) -> String {
    if holds(line, argument) {
        return argument.to_owned();
    }
    let found = units(line).into_iter().find(|unit| name(unit) == name(argument));
    found.unwrap_or_else(|| crate::cell::ABSENT.to_owned())
}

/// The row of an argument that this boot was made with.
fn judged(row: Verifying, evidence: &Evidence<'_>, argument: &str, was_kept: bool) -> Verifying {
    let mut before = None;
    let mut seen: Vec<Judged> = Vec::new();
    for word in argument.split(' ') {
        seen.push(evidence.judge(word, before));
        before = Some(word);
    }
    let effective = seen.iter().rev().find_map(|one| one.effective.clone());
    let worst = |verdict| seen.iter().find(|one| one.verdict == verdict);
    let (status, reason) = match (worst(Verdict::Refused), worst(Verdict::Unknown)) {
        (Some(refused), _) => (Status::Failed, refused.reason.clone()),
        (None, Some(unknown)) if !was_kept => (Status::Pending, unknown.reason.clone()),
        (None, _) => (Status::Ok, String::new()),
    };
    Verifying { effective, status, reason, ..row }
}
