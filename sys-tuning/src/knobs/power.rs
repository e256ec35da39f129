//! How fast the CPUs run, and how deeply they sleep.

pub(crate) mod boost;
pub(crate) mod governor;
pub(crate) mod idle;
pub(crate) mod idleboot;
pub(crate) mod platform;
pub(crate) mod preference;
pub(crate) mod qos;
pub(crate) mod range;
pub(crate) mod uncore;

use host::{Root, pm_qos, pstate};

use crate::cell::ABSENT;
use crate::registry::{
    ARGUMENT, Absence, Attribute, Elsewhere, Group, Home, Kind, Knob, Meaning, REPORTED, Sign,
};

/// The wake-up limit of every CPU, which lasts as long as somebody holds a file open.
///
/// A limit of single CPUs (`cpu.qos`) needs nobody to hold it and leaves the others alone. Source:
/// Documentation/power/pm_qos_interface.rst.
pub(crate) static DMA: Knob = Knob {
    id: "cpu.dma",
    group: Group::Power,
    doc: "one wake-up limit for every CPU, in force only as long as a process holds it; housekeeping CPUs burn too",
    attributes: &[Attribute::at(
        "latency_us",
        Kind::Integer { min: 0, max: 2_000_000_000 },
        "the most microseconds that a wake-up may take, on any CPU",
        Home::Elsewhere(&Elsewhere {
            infer: held_latency,
            suits: is_at_most,
            remedy: "a process holds it so that it can never be left behind: set hold.latency_us in \
                     /etc/quell/policy.toml and start quell-hold.service; for single CPUs there is cpu.qos",
        }),
    )],
    source: "C1's exit latency, or 0: TuneD force_latency, RHEL 10 C-state guide",
    absence: Absence::NotApplicable(
        "/dev/cpu_dma_latency is not there (no CONFIG_CPU_IDLE), or this user may not read it",
    ),
    effect: "the device gives the strictest of all requests, whoever made them",
    ..REPORTED
};

fn held_latency(root: &Root) -> Option<String> {
    pm_qos::global(root).ok().map(|micros| micros.to_string())
}

fn is_at_most(shown: &str, wanted: &str) -> bool {
    matches!((shown.parse::<u32>(), wanted.parse::<u32>()), (Ok(shown), Ok(wanted)) if shown <= wanted)
}

/// Which driver talks to the processor about frequencies.
///
/// Source: Documentation/admin-guide/pm/intel_pstate.rst and amd-pstate.rst;
/// Documentation/admin-guide/kernel-parameters.txt.
pub(crate) static DRIVER: Knob = Knob {
    id: "cpu.driver",
    group: Group::Power,
    doc: "in their active mode the processor itself chooses the frequency; passive leaves it to the governor",
    attributes: &[
        Attribute::at(
            "intel_pstate",
            Kind::Choice(&["active", "passive", "disable"]),
            "Intel's driver: the processor chooses, the governor chooses, or another driver is used",
            Home::Argument("intel_pstate"),
        )
        .seen(Sign::Means(&[
            Meaning { of: "active", path: INTEL_STATUS, shows: Some("active") },
            Meaning { of: "passive", path: INTEL_STATUS, shows: Some("passive") },
            Meaning { of: "disable", path: INTEL_STATUS, shows: None },
        ])),
        Attribute::at(
            "amd_pstate",
            Kind::Choice(&["active", "passive", "guided", "disable"]),
            "AMD's driver: the processor chooses, the governor does, both within limits, or another driver is used",
            Home::Argument("amd_pstate"),
        )
        .seen(Sign::Told(amd_mode)),
    ],
    source: "disable: TuneD realtime; active, passive or guided by model: cluster-node-tuning-operator",
    effect: "the driver's own status; the driver in charge is also each policy's scaling_driver",
    ..ARGUMENT
};

const INTEL_STATUS: &str = "/sys/devices/system/cpu/intel_pstate/status";

/// Where the driver is disabled, kernels show that word or nothing at all.
fn amd_mode(root: &Root, value: &str) -> Option<(String, bool)> {
    let shown = pstate::amd(root).ok()?.unwrap_or_else(|| ABSENT.to_owned());
    let holds = shown == value || (value == "disable" && shown == ABSENT);
    Some((shown, holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stricter_limit_is_good_enough() {
        #[track_caller]
        fn check(shown: &str, wanted: &str, expected: bool) {
            assert_eq!(is_at_most(shown, wanted), expected, "{shown} for {wanted}");
        }
        check("0", "2", true);
        check("2", "2", true);
        check("2000000000", "2", false); // nobody holds anything
        check("", "2", false);
    }
}
