//! Within which limits the frequency of the CPUs moves.
//!
//! A profile gives shares of the highest frequency that the hardware has, because one profile serves many machines. The
//! highest depends on whether boost frequencies are allowed (`cpu.boost`), which is written before. The kernel keeps the
//! lower limit at or below the upper one without a word, so that the one that makes room is written first. Sources:
//! Documentation/admin-guide/pm/cpufreq.rst, scaling_min_freq; Documentation/admin-guide/pm/intel_pstate.rst,
//! min_perf_pct.

use host::cpufreq::{Policy, Range, Scaling};
use host::pstate;

use super::boost;
use crate::cell::{Cell, Form};
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Group, Home, Kind, Knob, PLAIN, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.range",
    group: Group::Power,
    doc: "a CPU that may slow down is slow when work comes; limits keep it at a frequency whoever governs it",
    attributes: &[
        Attribute::new(
            "min_pct",
            Kind::Integer { min: 0, max: 100 },
            "the lowest frequency used, in percent of the hardware's highest: the next one up that there is",
        ),
        Attribute::new(
            "max_pct",
            Kind::Integer { min: 1, max: 100 },
            "the highest frequency used, in percent of the hardware's highest",
        ),
        Attribute::at(
            "min_perf_pct",
            Kind::Integer { min: 0, max: 100 },
            "the lowest performance used on the whole machine, in percent (intel_pstate)",
            Home::File(pstate::MIN_PERF_PCT),
        )
        .absent(Absence::NotApplicable("intel_pstate is not in charge here, or not in its active mode")),
    ],
    source: "min 100: TuneD latency-performance; a maximum by set of CPUs: cluster-node-tuning-operator",
    absence: Absence::NotApplicable("no frequency control here"),
    effect: "the kernel answers with the limits it uses, which differ from what was written where it cannot keep them; the \
             frequency they lead to is for the probes to tell",
    undo: "the original limits are written, in the opposite order",
    paths: &[
        "/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_min_freq",
        "/sys/devices/system/cpu/cpufreq/policy{policy}/scaling_max_freq",
    ],
    reads: &[Topic::Cpufreq, Topic::Power],
    wish,
    locate,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    declared::wish(scope, wanted, draft);
    let percent = |name: &str| wanted.integer(name).and_then(|percent| u32::try_from(percent).ok());
    let (min, max) = (percent("min_pct"), percent("max_pct"));
    if min.is_none() && max.is_none() {
        return;
    }
    if let (Some(min), Some(max), Some(setting)) = (min, max, wanted.setting("min_pct"))
        && min > max
    {
        let problem = format!("cpu.range: min_pct {min} is above max_pct {max}");
        return draft.mistake(setting, &problem);
    }
    if boost::is_switched(scope, draft) {
        let reason =
            "cpu.boost is switched over by this profile, and what 100 % is shows only then: apply once more";
        return draft.skip(wanted, "", Status::Pending, reason);
    }
    match &scope.facts.scaling {
        None => {}
        Some(Scaling::None { reason }) => draft.not_applicable(wanted, *reason),
        Some(Scaling::Policies(policies)) => {
            for policy in policies {
                wish_policy(scope, wanted, draft, policy, (min, max));
            }
        }
    }
}

fn wish_policy(
    scope: &Scope<'_>,
    wanted: &Wanted,
    draft: &mut Draft,
    policy: &Policy,
    (min, max): (Option<u32>, Option<u32>),
) {
    let identity = identity(policy);
    let Some(range) = &policy.range else {
        let reason = format!("driver {} shows no limits", policy.driver);
        return draft.skip(wanted, &identity, Status::NotApplicable, reason);
    };
    let (min, max) = (min.map(|percent| range.share(percent)), max.map(|percent| range.share(percent)));
    let min_khz = min.map(|khz| ("min_khz", khz));
    let max_khz = max.map(|khz| ("max_khz", khz));
    let order = if makes_room_above(range, max) { [max_khz, min_khz] } else { [min_khz, max_khz] };
    for (attribute, khz) in order.into_iter().flatten() {
        draft.wish(scope, wanted, attribute, &identity, khz.to_string());
    }
}

/// Upwards the upper limit goes first, downwards the lower one.
fn makes_room_above(range: &Range, max: Option<u64>) -> bool {
    max.is_some_and(|max| max >= range.max)
}

fn identity(policy: &Policy) -> String {
    format!("policy{}", policy.id)
}

fn locate(facts: &Facts, attribute: &str, wanted: &str) -> Option<Cell> {
    let Some(Scaling::Policies(policies)) = &facts.scaling else { return None };
    let policy = policies.iter().find(|policy| identity(policy) == wanted)?;
    match attribute {
        "min_khz" => Some(Cell::plain(policy.min_path(), Form::Number)),
        "max_khz" => Some(Cell::plain(policy.max_path(), Form::Number)),
        _ => None,
    }
}
