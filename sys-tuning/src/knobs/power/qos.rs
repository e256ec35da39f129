//! How long each CPU may take to wake up.
//!
//! One request a CPU, kept by the kernel and not by a process, so it outlives the agent. The kernel's numbers are
//! inverted (its 0 is "any latency"); a profile says what it means and the inversion stays here.
//! Source: Documentation/ABI/testing/sysfs-devices-power, pm_qos_resume_latency_us.

use std::num::NonZeroU32;

use host::pm_qos::{self, ResumeLatency};
use units::CpuId;

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::{Value, Wanted};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.qos",
    group: Group::Power,
    doc: "a CPU in a deep idle state takes tens to hundreds of microseconds to answer",
    attributes: &[
        Attribute::new("cpus", Kind::Cpus, "the CPUs it is asked of"),
        Attribute::new(
            "latency_us",
            Kind::Latency,
            "the longest wake-up accepted, in microseconds; 0 has the CPU poll when idle, \"any\" lifts the limit",
        ),
    ],
    source: "isolated CPUs without deep states: TuneD force_latency by CPU, RHEL 10 C-state guide",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel keeps no wake-up limit for the CPU"),
    effect: "the request itself; which idle states were used shows in cpuidle/state*/usage",
    undo: "the original request is written",
    paths: &["/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us"],
    side_effects: &[],
    reads: &[Topic::Cpus],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(latency) = wanted.setting("latency_us") else { return };
    if wanted.setting("cpus").is_none() {
        draft.mistake(latency, "cpu.qos: cpus is missing; say which CPUs, as in cpus = \"isolated\"");
        return;
    }
    let Some(cpus) = draft.cpus(scope, wanted, "cpus") else { return };
    let Value::Latency(micros) = latency.value else { return };
    let request = match micros.map(NonZeroU32::new) {
        None => ResumeLatency::Unlimited,
        Some(None) => ResumeLatency::NoneAllowed,
        Some(Some(micros)) => ResumeLatency::Micros(micros),
    };
    for cpu in cpus.iter() {
        draft.wish(scope, wanted, "latency_us", &format!("cpu{cpu}"), request.to_string());
    }
}

fn locate(facts: &Facts, attribute: &str, identity: &str) -> Option<Cell> {
    let cpu = CpuId(identity.strip_prefix("cpu")?.parse().ok()?);
    (attribute == "latency_us" && facts.is_possible(cpu)).then(|| Cell::plain(pm_qos::path(cpu), Form::Word))
}
