//! The share of each CPU that ordinary threads get whatever real-time threads do (Linux 6.12 or later).
//!
//! A guard beside real-time throttling and independent of it: with throttling off the fair server still takes 5 % of a
//! second from a spinning real-time thread. Zero takes the guard away: what is starved on that CPU then, kernel workers
//! included, is starved until the spinner blocks. Hence for isolated CPUs only, where nothing else is meant to run.
//! Source: Documentation/scheduler/sched-deadline.rst; kernel/sched/debug.c, sched_fair_server_write; measured on 6.12:
//! a normal thread behind a spinner waits 943 ms with the server and without end with neither.

use host::rt::fair_server_path;
use units::CpuId;

use super::rtthrottle::HOUSEKEEPING_MIN;
use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.fairserver",
    group: Group::Isolation,
    doc: "from Linux 6.12 the fair server stops a real-time thread for 50 ms of each second in which others wait",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs it is set on"),
        Attribute::new(
            "runtime_us",
            Kind::Integer { min: 0, max: 1_000_000 },
            "microseconds of each second that ordinary threads are sure of; 0 takes the guard away",
        ),
    ],
    source: "kernel interface; no guide was read that sets it. 0 only with one thread a CPU",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable(
        "there is no fair server here: it came with Linux 6.12, and it is set in debugfs, which must be mounted",
    ),
    effect: "the server's own variable",
    undo: "the original time is written",
    paths: &["/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime"],
    side_effects: &[],
    reads: &[Topic::Cpus],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let (Some(runtime), Some(setting)) = (wanted.integer("runtime_us"), wanted.setting("runtime_us")) else {
        return;
    };
    if wanted.setting("cpus").is_none() {
        let problem = "iso.fairserver: cpus is missing; say which CPUs, as in cpus = \"isolated\"";
        return draft.mistake(setting, problem);
    }
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let unguarded = cpus.intersection(&scope.roles.housekeeping);
    let housekeeping = scope.roles.housekeeping.count();
    if runtime == 0 && !unguarded.is_empty() {
        let reason = format!(
            "without it a spinning real-time thread starves everything else on housekeeping CPU {unguarded} as soon as \
             throttling is off"
        );
        draft.danger(KNOB.id, true, reason);
    } else if runtime == 0 && housekeeping < HOUSEKEEPING_MIN {
        let reason = format!(
            "without it what is bound to CPU {cpus} can be starved for ever, and {housekeeping} housekeeping CPU is left \
             to notice ({HOUSEKEEPING_MIN} wanted)"
        );
        draft.danger(KNOB.id, true, reason);
    }
    for cpu in cpus.intersection(&scope.roles.online).iter() {
        draft.wish(scope, wanted, "runtime_us", &format!("cpu{cpu}"), (runtime * 1000).to_string());
    }
}

/// The kernel counts nanoseconds.
fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let cpu = CpuId(identity.strip_prefix("cpu")?.parse().ok()?);
    (attribute == "runtime_us" && facts.is_possible(cpu))
        .then(|| Cell::plain(fair_server_path(cpu), Form::Number))
}
