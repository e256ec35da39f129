//! How deeply CPUs may sleep, said at boot: for every CPU, and before anything else runs.
//!
//! What `cpu.qos` or `cpu.idle` do for single CPUs at run time, without a reboot. Sources:
//! Documentation/admin-guide/kernel-parameters.txt, idle, processor.max_cstate, intel_idle.max_cstate;
//! Documentation/admin-guide/pm/cpuidle.rst, "Idle States Control Via Kernel Command Line".

use host::{Root, cpuidle};

use crate::cell::ABSENT;
use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{ARGUMENT, Attribute, Group, Home, Kind, Knob, Sign};

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.idleboot",
    group: Group::Power,
    doc: "no CPU ever sleeps deeply; all of them then take more power, and leave less of it to boost frequencies",
    attributes: &[
        Attribute::at(
            "max_cstate",
            Kind::Integer { min: 0, max: 9 },
            "the deepest state that the ACPI driver uses",
            Home::Argument("processor.max_cstate"),
        )
        .seen(Sign::Shown("/sys/module/processor/parameters/max_cstate")),
        Attribute::at(
            "intel_max_cstate",
            Kind::Integer { min: 0, max: 9 },
            "the deepest state that Intel's driver uses; 0 leaves the CPUs to the ACPI driver",
            Home::Argument("intel_idle.max_cstate"),
        )
        .seen(Sign::Told(intel_states)),
        Attribute::at(
            "idle",
            Kind::Choice(&["poll", "halt", "nomwait"]),
            "poll: idle CPUs spin; halt: they halt and know no deeper state; nomwait: no state of the MWAIT instruction",
            Home::Argument("idle"),
        )
        .seen(Sign::Told(driver)),
    ],
    source: "processor.max_cstate=1 intel_idle.max_cstate=0, idle=poll: cluster-node-tuning-operator, redno2, Onload user \
             guide",
    effect: "the driver of idle states that runs, and its parameters",
    wish,
    ..ARGUMENT
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if wanted.text("idle").as_deref() == Some("poll") {
        let reason = "idle=poll has every idle CPU spin: it heats the package, takes boost frequencies away and starves the \
                      other hardware thread of each core; the kernel's documentation does not recommend it, and cpu.qos \
                      with latency_us = 0 does it for chosen CPUs";
        draft.danger(KNOB.id, true, reason.to_owned());
    }
    declared::wish(scope, wanted, draft);
}

fn running(root: &Root) -> Option<String> {
    Some(cpuidle::driver(root).ok()?.unwrap_or_else(|| ABSENT.to_owned()))
}

/// With 0 Intel's driver stays away, and its module's parameter is not what tells that.
fn intel_states(root: &Root, value: &str) -> Option<(String, bool)> {
    if value == "0" {
        let driver = running(root)?;
        let holds = driver != "intel_idle";
        return Some((format!("driver {driver}"), holds));
    }
    let shown = root.read_lossy("/sys/module/intel_idle/parameters/max_cstate").ok()?.trim().to_owned();
    let holds = shown == value;
    Some((shown, holds))
}

/// Both drivers of idle states stay away when it is said how to idle; `nomwait` keeps only Intel's away. A guest's haltpoll
/// may run all the same.
fn driver(root: &Root, value: &str) -> Option<(String, bool)> {
    let driver = running(root)?;
    let holds = match value {
        "nomwait" => driver != "intel_idle",
        _ => driver != "intel_idle" && driver != "acpi_idle",
    };
    Some((format!("driver {driver}"), holds))
}
