//! How much of each period real-time threads may take.
//!
//! Off (-1) lets a spinning real-time thread starve everything else on its CPU for ever; from Linux 6.12 the fair server
//! still gives ordinary threads 5 % of it, from its own settings in debugfs. Source:
//! Documentation/scheduler/sched-rt-group.rst; measured stalls of a normal task behind a spinner: about 1 s with
//! throttling, without end without it on older kernels.

use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

const PATH: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// With fewer, one spinning real-time thread leaves no CPU to stop it from.
pub(super) const HOUSEKEEPING_MIN: usize = 2;

pub(crate) static KNOB: Knob = Knob {
    id: "iso.rtthrottle",
    group: Group::Isolation,
    doc: "throttling takes the CPU from a real-time thread for the rest of each period",
    attributes: &[Attribute::new(
        "runtime_us",
        Kind::Integer { min: -1, max: 10_000_000 },
        "microseconds of each period (kernel.sched_rt_period_us) that real-time threads may run; -1 without limit",
    )],
    source: "-1 where real-time threads are used: TuneD realtime, cluster-node-tuning-operator; rigtorp.se advises against such threads",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel does not throttle real-time threads"),
    effect: "the scheduler's variable itself; told with it: which of throttling and fair server is in force",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[Topic::Cpus, Topic::FairServer],
    wish,
    locate: |_, attribute, _| {
        (attribute == "runtime_us")
            .then(|| Cell { effect: Effect::RealtimeGuards, ..Cell::plain(PATH, Form::Number) })
    },
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let (Some(runtime), Some(setting)) = (wanted.integer("runtime_us"), wanted.setting("runtime_us")) else {
        return;
    };
    if let Some(period) = scope.facts.rt_period_us.filter(|period| runtime > *period) {
        let problem = format!(
            "iso.rtthrottle.runtime_us: {runtime} us do not fit into the period of {period} us; the kernel refuses it"
        );
        draft.mistake(setting, &problem);
        return;
    }
    let housekeeping = scope.roles.housekeeping.count();
    // Where the fair server was seen, it still leaves ordinary threads their share.
    let is_guarded = scope.roles.housekeeping.iter().all(|cpu| scope.facts.is_fair_served(cpu));
    if runtime == -1 && housekeeping < HOUSEKEEPING_MIN && !is_guarded {
        let reason = format!(
            "without throttling, and without a fair server beside it, one spinning real-time thread can take the only \
             housekeeping CPU for ever ({housekeeping} housekeeping CPU, {HOUSEKEEPING_MIN} wanted)"
        );
        draft.danger(KNOB.id, true, reason);
    }
    draft.wish(scope, wanted, "runtime_us", "", runtime.to_string());
}
