//! From the arguments of many knobs to one line, and back to rows a person can read.

use host::Root;
use units::limits::{BOOT_LINE_BYTES_MAX, KERNEL_CMDLINE_BYTES_MAX};

use super::line::Line;
use super::loader::Loader;
use super::{BootFacts, NONE, Standing, State};
use crate::draft::{Draft, Scope};
use crate::knobs::boot_line;
use crate::profile::Wanted;
use crate::status::Status;

/// One argument that a profile asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub knob: &'static str,
    pub attribute: String,
    /// One word of the command line, or two that belong together.
    pub argument: String,
    pub reason: &'static str,
    pub source: &'static str,
}

/// One argument's part in a change of the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The knob that asks for it; the line's own where nobody asks for it any more.
    pub knob: &'static str,
    /// Its attribute, or the parameter's name.
    pub attribute: String,
    /// The argument as it stands on the line, or `absent`.
    pub from: String,
    /// As it is to stand there, or `absent`.
    pub to: String,
    /// What it is for.
    pub reason: &'static str,
    /// Which guide asks for it.
    pub source: &'static str,
}

/// Adds what `wanted` asks for to the line; where this machine has no line, says so once a knob.
pub(crate) fn contribute(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    attribute: &str,
    argument: String,
) {
    let loader = scope.facts.boot.as_ref().map(|boot| &boot.loader);
    let (status, reason) = match loader {
        Some(Loader::Ready) => {
            draft.arguments.push(Asked {
                knob: wanted.knob.id,
                attribute: attribute.to_owned(),
                argument,
                reason: wanted.knob.doc,
                source: wanted.knob.source,
            });
            return;
        }
        Some(Loader::Unfit(reason)) => (Status::Failed, reason.clone()),
        Some(Loader::Absent(reason)) => (Status::NotApplicable, reason.clone()),
        None => (Status::NotApplicable, "the boot loader was not looked at".to_owned()),
    };
    draft.skip_attribute(wanted.knob.id, attribute, status, reason);
}

/// Makes one wish of all arguments.
pub(crate) fn compose(scope: &Scope<'_>, draft: &mut Draft) {
    let Some(boot) = scope.facts.boot.as_ref().filter(|_| !draft.arguments.is_empty()) else { return };
    let line = match Line::of(draft.arguments.iter().map(|asked| asked.argument.as_str())) {
        Ok(line) => line,
        Err(problem) => return give_up(draft, Status::Failed, &problem),
    };
    if let Some(problem) = too_long(boot, &line) {
        return draft.danger(boot_line::KNOB.id, false, problem);
    }
    mismatch(draft);
    match tried_before(boot, &line) {
        Some(reason) => give_up(draft, Status::Failed, &reason),
        None => draft.wish_line(scope, line.to_string()),
    }
}

/// Every argument gets the one reason why there is no line.
fn give_up(draft: &mut Draft, status: Status, reason: &str) {
    for asked in std::mem::take(&mut draft.arguments) {
        draft.skip_attribute(asked.knob, &asked.attribute, status, reason.to_owned());
    }
}

/// Why the line does not fit, with the arithmetic.
fn too_long(boot: &BootFacts, line: &Line) -> Option<String> {
    let ours = line.tried().len();
    if ours > BOOT_LINE_BYTES_MAX {
        return Some(format!(
            "the line has {ours} characters, {BOOT_LINE_BYTES_MAX} fit into GRUB's block of {}",
            host::grub::BLOCK_BYTES
        ));
    }
    // What of this boot's line is ours goes; the rest stays. One blank divides them.
    let running = boot.state.as_ref().filter(|state| state.is_running());
    let old = running
        .and_then(|state| state.line().arguments.parse::<Line>().ok())
        .map_or(0, |line| line.kept().len());
    let others = boot.cmdline_len?.saturating_sub(old);
    let total = others + 1 + ours;
    (total > KERNEL_CMDLINE_BYTES_MAX).then(|| {
        format!(
            "{others} characters of other arguments and {ours} of quell's are {total}; the kernel takes \
             {KERNEL_CMDLINE_BYTES_MAX} and would cut the rest off"
        )
    })
}

/// Two lists that the kernel compares, or that make no sense apart.
fn mismatch(draft: &mut Draft) {
    let value = |name: &str| {
        let words = draft.arguments.iter().filter_map(|asked| asked.argument.split_once('='));
        words.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let (Some(isolated), Some(tickless)) = (value("isolcpus"), value("nohz_full")) else { return };
    let isolated = super::line::without_flags(&isolated);
    if isolated != tickless {
        let reason = format!(
            "nohz_full={tickless} and isolcpus= of {isolated} are different CPUs: the kernel drops one of two lists that \
             do not match, and a CPU that is only one of both is neither quiet nor shared"
        );
        draft.danger("iso.nohz", false, reason);
    }
}

/// A line that did not hold is not tried again by itself: each reboot would go through it.
fn tried_before(boot: &BootFacts, line: &Line) -> Option<String> {
    failed_trial(boot.state.as_ref()?, &line.to_string())
}

/// Why `arguments` are not on the line although they were armed, where that is known.
pub(crate) fn departure(root: &Root, arguments: &str) -> Option<String> {
    failed_trial(&super::state(root).ok()??, arguments)
}

fn failed_trial(state: &State, arguments: &str) -> Option<String> {
    let trial = state.trial.as_ref().filter(|trial| trial.arguments == arguments)?;
    let remedy = "change the profile, or `quell tune boot forget` to try it again";
    match state.standing() {
        Standing::CameBack => Some(format!(
            "this line was tried and the machine came back with the one before: it did not come up, or was reset before \
             it was kept ({remedy})"
        )),
        Standing::Refused => {
            let why = trial.refused.as_deref().unwrap_or_default();
            Some(format!("this line was tried and not kept: {why} ({remedy})"))
        }
        _ => None,
    }
}

/// What a change of the line means for each argument.
pub(crate) fn parts(from: &str, to: &str, asked: &[Asked]) -> Vec<Part> {
    let (old, new) = (units(from), units(to));
    let mut parts = Vec::new();
    for Asked { knob, attribute, argument, reason, source } in asked {
        let before = if holds(from, argument) {
            continue;
        } else {
            old.iter().find(|unit| name(unit) == name(argument)).cloned()
        };
        parts.push(Part {
            knob,
            attribute: attribute.clone(),
            from: before.unwrap_or_else(|| crate::cell::ABSENT.to_owned()),
            to: argument.clone(),
            reason,
            source,
        });
    }
    for unit in old.iter().filter(|unit| !new.iter().any(|other| name(other) == name(unit))) {
        parts.push(Part {
            knob: boot_line::KNOB.id,
            attribute: name(unit).to_owned(),
            from: unit.clone(),
            to: crate::cell::ABSENT.to_owned(),
            reason: "the profile does not ask for it",
            source: boot_line::KNOB.source,
        });
    }
    parts
}

/// The arguments of a line: words, but a count of huge pages stays with the size before it.
pub(crate) fn units(line: &str) -> Vec<String> {
    let mut units: Vec<String> = Vec::new();
    for word in line.split(' ').filter(|word| *word != NONE) {
        match units.last_mut() {
            Some(last) if word.starts_with("hugepages=") && last.starts_with("hugepagesz=") => {
                last.push(' ');
                last.push_str(word);
            }
            _ => units.push(word.to_owned()),
        }
    }
    units
}

/// What tells an argument from others: the parameter, and of huge pages the size.
pub(crate) fn name(argument: &str) -> &str {
    let first = argument.split(' ').next().unwrap_or(argument);
    if first.starts_with("hugepagesz=") {
        first
    } else {
        first.split_once('=').map_or(first, |(name, _)| name)
    }
}

/// Whether the argument, which may be two words, stands on the line as it is.
pub(crate) fn holds(line: &str, argument: &str) -> bool {
    format!(" {line} ").contains(&format!(" {argument} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(knob: &'static str, argument: &str) -> Asked {
        let (attribute, argument) = (String::from("cpus"), argument.to_owned());
        Asked { knob, attribute, argument, reason: "", source: "" }
    }

    #[track_caller]
    fn check(from: &str, to: &str, wanted: &[Asked], expected: &[&str]) {
        let told: Vec<String> = parts(from, to, wanted)
            .iter()
            .map(|part| format!("{} {}: {} -> {}", part.knob, part.attribute, part.from, part.to))
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_change_of_the_line_is_told_argument_by_argument() {
        let nohz = || asked("iso.nohz", "nohz_full=2-3");
        let huge = || asked("mem.hugeboot", "hugepagesz=1G hugepages=0:1");
        check("none", "nohz_full=2-3", &[nohz()], &["iso.nohz cpus: absent -> nohz_full=2-3"]);
        check("nohz_full=1", "nohz_full=2-3", &[nohz()], &["iso.nohz cpus: nohz_full=1 -> nohz_full=2-3"]);
        check(
            "skew_tick=1 nohz_full=2-3",
            "nohz_full=2-3",
            &[nohz()],
            &["boot.line skew_tick: skew_tick=1 -> absent"],
        );
        check(
            "none",
            "hugepagesz=1G hugepages=0:1",
            &[huge()],
            &["mem.hugeboot cpus: absent -> hugepagesz=1G hugepages=0:1"],
        );
        check("nohz_full=2-3", "nohz_full=2-3", &[nohz()], &[]);
        check(
            "hugepagesz=1G hugepages=0:2",
            "hugepagesz=1G hugepages=0:1",
            &[huge()],
            &["mem.hugeboot cpus: hugepagesz=1G hugepages=0:2 -> hugepagesz=1G hugepages=0:1"],
        );
        check(
            "skew_tick=1 hugepagesz=2M hugepages=0:512 hugepagesz=1G hugepages=0:1",
            "hugepagesz=1G hugepages=0:1",
            &[huge()],
            &[
                "boot.line skew_tick: skew_tick=1 -> absent",
                "boot.line hugepagesz=2M: hugepagesz=2M hugepages=0:512 -> absent",
            ],
        );
    }
}
