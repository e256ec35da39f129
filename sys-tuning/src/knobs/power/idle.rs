//! Which idle states single CPUs may enter.
//!
//! States differ by driver and CPU: a profile names the deepest that is wanted, or the longest wake-up, and what is deeper
//! is forbidden; what is not deeper is left as it is. A CPU that sleeps in a state is not woken when it is forbidden.
//! `cpu.qos` says the same in one number a CPU, and needs less rights. The governor `haltpoll` of guests does not look at
//! what is forbidden. Sources: Documentation/admin-guide/pm/cpuidle.rst, "Representation of Idle States";
//! drivers/cpuidle/governors/haltpoll.c.

use host::cpuidle::{self, State};
use units::{CpuId, Nanos};

use crate::cell::{Cell, Effect, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Group, Kind, Knob, Needs, PLAIN, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.idle",
    group: Group::Power,
    doc: "a CPU in a deep idle state takes tens to hundreds of microseconds to answer, and loses its caches",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs that are kept out of deep states"),
        Attribute::new(
            "latency_us",
            Kind::Latency,
            "states that take longer than this to leave are forbidden; \"any\" allows all again",
        )
        .excluding("deepest"),
        Attribute::new(
            "deepest",
            Kind::Name,
            "states behind the one of this name are forbidden; in small letters, as in c1",
        )
        .excluding("latency_us"),
    ],
    source: "deep states off on isolated CPUs: TuneD force_latency, RHEL 10 C-state guide, cluster-node-tuning-operator",
    needs: Needs::SysAdmin,
    absence: Absence::NotApplicable("no idle states here"),
    effect: "the state's own count of uses stands still, seen over a window; without one the count is told",
    undo: "the original switches are written",
    paths: &["/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}/disable"],
    reads: &[Topic::Cpus, Topic::Idle],
    wish,
    locate,
    ..PLAIN
};

/// Does not look at `disable`.
const DEAF: &str = "haltpoll";

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(setting) = wanted.setting("latency_us").or(wanted.setting("deepest")) else {
        if let Some(cpus) = wanted.setting("cpus") {
            draft.mistake(cpus, "cpu.idle: no state is said to be too deep; give latency_us or deepest too");
        }
        return;
    };
    if wanted.setting("cpus").is_none() {
        return draft
            .mistake(setting, "cpu.idle: cpus is missing; say which CPUs, as in cpus = \"isolated\"");
    }
    let idle = &scope.facts.idle;
    if idle.states.is_empty() {
        return draft.not_applicable(wanted, "no CPU has idle states: no driver runs here");
    }
    if idle.governor.as_deref() == Some(DEAF) {
        let reason = "the governor haltpoll enters forbidden states all the same; boot with cpuidle.governor=menu, or use \
                      cpu.qos";
        return draft.not_applicable(wanted, reason);
    }
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    for cpu in cpus.iter() {
        match idle.states.get(&cpu).map(|states| switches(states, &setting.value)) {
            Some(Ok(switches)) => {
                for (index, forbid) in switches {
                    let identity = format!("cpu{cpu}/state{index}");
                    draft.wish(scope, wanted, "disable", &identity, u8::from(forbid).to_string());
                }
            }
            Some(Err(reason)) => draft.skip(wanted, &format!("cpu{cpu}"), Status::Failed, reason),
            None => draft.skip(wanted, &format!("cpu{cpu}"), Status::NotApplicable, "it has no idle states"),
        }
    }
}

/// Which states are to be forbidden (or allowed again), by their places.
fn switches(states: &[State], limit: &Value) -> Result<Vec<(u32, bool)>, String> {
    let forbid = |is_deep: &dyn Fn(&State) -> bool| {
        states.iter().filter(|state| is_deep(state)).map(|state| (state.index, true)).collect()
    };
    match limit {
        Value::Latency(None) => Ok(states.iter().map(|state| (state.index, false)).collect()),
        Value::Latency(Some(micros)) => {
            let limit = Nanos::from_micros(u64::from(*micros));
            Ok(forbid(&|state| state.exit_latency > limit))
        }
        Value::Name(name) => {
            let deepest = states.iter().find(|state| state.name.eq_ignore_ascii_case(name.as_str()));
            let has = || states.iter().map(|state| state.name.as_str()).collect::<Vec<_>>().join(", ");
            let deepest =
                deepest.ok_or_else(|| format!("no idle state is called {name}; it has {}", has()))?;
            Ok(forbid(&|state| state.index > deepest.index))
        }
        _ => Err("neither a latency nor a name".to_owned()),
    }
}

// Format: "cpu2/state3"
fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let (cpu, state) = identity.split_once('/')?;
    let cpu = CpuId(cpu.strip_prefix("cpu")?.parse().ok()?);
    let index: u32 = state.strip_prefix("state")?.parse().ok()?;
    let is_known = facts.idle.states.get(&cpu)?.iter().any(|state| state.index == index);
    (attribute == "disable" && is_known).then(|| Cell {
        effect: Effect::Unused(cpuidle::usage_path(cpu, index)),
        ..Cell::plain(cpuidle::disable_path(cpu, index), Form::Number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As intel_idle names them.
    fn states() -> Vec<State> {
        let state = |(index, (name, micros)): (usize, (&str, u64))| State {
            index: u32::try_from(index).unwrap(),
            name: name.to_owned(),
            exit_latency: Nanos::from_micros(micros),
            usage: 0,
            disabled: false,
        };
        [("POLL", 0), ("C1", 2), ("C1E", 10), ("C6", 133)].into_iter().enumerate().map(state).collect()
    }

    #[track_caller]
    fn check(limit: &Value, expected: &str) {
        let told = match switches(&states(), limit) {
            Ok(all) => {
                all.iter().map(|(i, off)| format!("{i}={}", u8::from(*off))).collect::<Vec<_>>().join(" ")
            }
            Err(reason) => reason,
        };
        assert_eq!(told, expected, "{limit:?}");
    }

    #[test]
    fn what_is_deeper_is_forbidden_and_the_rest_left() {
        check(&Value::Latency(Some(2)), "2=1 3=1");
        check(&Value::Latency(Some(0)), "1=1 2=1 3=1");
        check(&Value::Latency(Some(133)), "");
        check(&Value::Latency(None), "0=0 1=0 2=0 3=0");
        check(&Value::Name("c1".parse().unwrap()), "2=1 3=1");
        check(&Value::Name("c6".parse().unwrap()), "");
        check(&Value::Name("c3".parse().unwrap()), "no idle state is called c3; it has POLL, C1, C1E, C6");
    }
}
