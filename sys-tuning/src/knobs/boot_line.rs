//! The boot line as a whole: the one cell that all boot arguments are written to.
//!
//! No profile names it. The knobs that take hold with a boot contribute their arguments to it, so that the journal keeps,
//! and a roll-back restores, the whole line or nothing.

use units::{CpuId, CpuSet};

use crate::boot::trial_file;
use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

/// Every file a boot argument is kept in.
pub(crate) const PATHS: &[&str] =
    &["/boot/{grub}/quell/good.env", "/boot/{grub}/quell/trial.env", "/boot/{grub}/quell/armed.env"];

/// As every boot argument answers where there is no line to put it on.
pub(crate) const ABSENCE: Absence =
    Absence::NotApplicable("no boot loader of this machine takes quell's arguments");

/// How a boot argument is undone.
pub(crate) const UNDO: &str = "the line before is armed as a trial; a line without arguments holds at once, because that is \
                               how the machine booted before";

pub(crate) static KNOB: Knob = Knob {
    id: "boot.line",
    group: Group::Boot,
    doc: "quell's part of the kernel command line, made of the arguments that a profile's knobs ask for",
    attributes: &[Attribute::new("arguments", Kind::Line, "set by the knobs that take hold with a boot")],
    source: "tried once and kept only when the kernel accepted it: Documentation/admin-guide/kernel-parameters.rst",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Harmless,
    absence: ABSENCE,
    effect: "the id on this boot's command line, and what the kernel made of each argument",
    undo: UNDO,
    paths: PATHS,
    side_effects: &[],
    reads: &[Topic::Boot],
    wish: |_, _, _| {}, // made of all arguments: boot::compose
    locate,
};

fn locate(facts: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    let dir = facts.boot.as_ref()?.dir()?.to_owned();
    (attribute == "arguments").then(|| Cell {
        path: trial_file(&dir),
        form: Form::BootLine { dir },
        effect: Effect::Booted,
        lives_in: None,
    })
}

/// The CPUs that a boot argument is to make quiet; `None` after noting why there are none.
pub(crate) fn quiet_cpus(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) -> Option<CpuSet> {
    let cpus = draft.cpus(scope, wanted, "cpus")?;
    let left = scope.roles.online.difference(&cpus);
    if left.is_empty() {
        let reason =
            format!("CPU {cpus} is every CPU there is: none is left to the kernel's work and everybody else");
        draft.danger(wanted.knob.id, false, reason);
        return None;
    }
    if cpus.contains(CpuId(0)) {
        let reason = "CPU 0 is the boot CPU: the kernel takes it off such lists again".to_owned();
        draft.danger(wanted.knob.id, false, reason);
        return None;
    }
    Some(cpus)
}
