//! Keeping other programs' threads off the application's CPUs.
//!
//! Every thread that may use a fenced CPU and is not the application's gets its own mask without those CPUs, never a wider
//! one; its original is kept under its number and start time. A thread that ended is no trouble, then or later. Children
//! inherit: what a moved thread starts stays off the CPUs too, and keeps off them after a roll-back until it is restarted,
//! because nobody knows a mask it had before. Source: rigtorp.se low latency guide; TuneD scheduler plug-in.

use host::affinity::Runner;
use host::tasks::Pid;
use units::CpuSet;
use units::limits::{TASKS_MOVED_MAX, TASKS_SEEN_MAX};

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::fence::{self, Fence, NONE, Of, Standing, who};
use crate::group::GroupPath;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};
use crate::status::Status;

/// Where applications run, unless the profile says more: in quell's partition, or in the slice of the trading units.
pub(crate) const APPLICATION: [&str; 2] = [super::cpuset1::GROUP, "trading.slice"];

pub(crate) static KNOB: Knob = Knob {
    id: "iso.tasks",
    group: Group::Isolation,
    doc: "a thread that may run on an isolated CPU will, at the worst moment",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "where threads of other programs may run"),
        Attribute::new(
            "application",
            Kind::Group,
            "a control group whose threads stay where they are, beside quell and trading.slice; threads bound to isolated \
             CPUs only stay too",
        ),
    ],
    source: "housekeeping: rigtorp.se, TuneD scheduler plug-in, tuna --isolate",
    needs: Needs::SysNice,
    when: When::Runtime,
    blast: Blast::TaskMove,
    absence: Absence::NotApplicable("it has ended"),
    effect: "no thread that could be moved and is not the application's may use a CPU outside the wanted ones; looked up \
             anew each time, so that threads started later count",
    undo: "each thread that still runs gets its original CPUs; what it started meanwhile keeps what it inherited",
    paths: &["/proc/{tid}/task/{tid}/status"],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::Tasks],
    wish,
    locate: |facts, attribute, identity| locate(facts, Of::Programs, attribute, identity),
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let application = APPLICATION.iter().filter_map(|group| group.parse().ok());
    let more = wanted.setting("application").and_then(|setting| match &setting.value {
        Value::Group(group) => Some(group.clone()),
        _ => None,
    });
    wish_fence(scope, wanted, draft, Of::Programs, application.chain(more).collect());
}

/// Wishes for every thread that reaches over the fence, and for the fence itself.
pub(super) fn wish_fence(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    of: Of,
    application: Vec<GroupPath>,
) {
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let fence = Fence { of, cpus: scope.roles.online.difference(&cpus), application };
    if fence.cpus.is_empty() {
        return draft.not_applicable(wanted, format!("CPU {cpus} are all there are: nobody is to be moved"));
    }
    let mut strays: Vec<(&Runner, Box<CpuSet>)> = Vec::new();
    let (mut tied, mut enclosed): (Vec<&Runner>, Vec<&Runner>) = (Vec::new(), Vec::new());
    for runner in &scope.facts.reaching.runners {
        match fence.standing(runner, &scope.roles.online) {
            Standing::Welcome => {}
            Standing::Stray(to) => strays.push((runner, to)),
            Standing::Tied => tied.push(runner),
            Standing::Enclosed => enclosed.push(runner),
        }
    }
    for (runner, to) in strays.iter().take(TASKS_MOVED_MAX) {
        let reason = format!("{} may use CPU {}", who(runner), runner.allowed.intersection(&fence.cpus));
        draft.wish_because(scope, wanted, "cpus", &identity(runner), to.to_string(), reason);
    }
    let why = "are tied to their CPU by the kernel and stay: their work comes from what runs there, and from interrupts";
    tell_those_who_stay(wanted, draft, &tied, why);
    tell_those_who_stay(
        wanted,
        draft,
        &enclosed,
        "may use none of the wanted CPUs that is on line, and stay",
    );
    tell_what_is_beyond(scope, wanted, draft, strays.len());
    draft.wish(scope, wanted, "strays", &fence.to_string(), NONE.to_owned());
}

/// In one line, whatever their number.
fn tell_those_who_stay(wanted: &Wanted, draft: &mut Draft, those: &[&Runner], why: &str) {
    if let Some(first) = those.first() {
        let reason = format!("{} threads {why} ({}, ...)", those.len(), who(first));
        draft.not_applicable(wanted, reason);
    }
}

/// What a bound left out is a failure: the fence does not hold.
fn tell_what_is_beyond(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft, strays: usize) {
    if let Some(beyond) = strays.checked_sub(TASKS_MOVED_MAX).filter(|beyond| *beyond > 0) {
        let reason =
            format!("{beyond} threads more than the {TASKS_MOVED_MAX} of one apply; apply again for them");
        draft.skip(wanted, "", Status::Failed, reason);
    }
    let unseen = scope.facts.reaching.unseen;
    if unseen > 0 {
        let reason = format!("{unseen} threads beyond {TASKS_SEEN_MAX} were not looked at");
        draft.skip(wanted, "", Status::Failed, reason);
    }
}

/// A thread within this boot.
// Format: "4711@191320": its number and when it started, in ticks of 10 ms since boot
pub(super) fn identity(runner: &Runner) -> String {
    format!("{}@{}", runner.stat.tid, runner.stat.start_ticks)
}

pub(super) fn locate(facts: &Facts, of: Of, attribute: &str, identity: &str) -> Option<Cell> {
    match attribute {
        "cpus" => thread(facts, of, identity),
        "strays" => {
            let fence = fence::parse(of, identity).ok()?;
            Some(Cell::plain("/proc", Form::Strays(fence.into())))
        }
        _ => None,
    }
}

/// The CPUs of the thread that is called so.
pub(super) fn thread(facts: &Facts, of: Of, identity: &str) -> Option<Cell> {
    let (tid, start_ticks) = identity.split_once('@')?;
    let (tid, start_ticks) = (Pid(tid.parse().ok()?), start_ticks.parse().ok()?);
    let (online, is_kernel) = (facts.online().into(), of == Of::Kernel);
    let form = Form::Affinity { tid, start_ticks, online, is_kernel };
    Some(Cell::plain(format!("{}/status", host::affinity::dir(tid)), form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_applications_are_names_of_groups() {
        for group in APPLICATION {
            assert!(
                group.parse::<GroupPath>().is_ok_and(|path| *path.name() != host::cgroups::GroupName::root()),
                "{group}"
            );
        }
    }

    #[test]
    fn a_thread_is_found_by_number_and_start() {
        let facts = Facts::default();
        let cell = locate(&facts, Of::Programs, "cpus", "4711@191320").unwrap();
        assert_eq!(cell.path, "/proc/4711/task/4711/status");
        for bad in ["4711", "@1", "4711@", "-1@2", "../1@2", "1@2@3"] {
            assert!(locate(&facts, Of::Programs, "cpus", bad).is_none(), "{bad:?}");
        }
        assert!(locate(&facts, Of::Programs, "strays", "2-3 quell").is_some());
        assert!(locate(&facts, Of::Programs, "strays", "2-3 ../etc").is_none());
    }
}
