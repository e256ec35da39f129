//! How slow the shared cache, the mesh and the memory controllers of Intel's processors may become.
//!
//! The part slows down when few cores are busy, which is what a trading host looks like. The driver counts in steps of
//! 100 MHz. Source: Documentation/admin-guide/pm/intel_uncore_frequency_scaling.rst; TuneD uncore plug-in.

use host::uncore::{self, Domain};

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Group, Kind, Knob, PLAIN, Topic};

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.uncore",
    group: Group::Power,
    doc: "with few busy cores the shared cache and the mesh slow down, and every miss takes longer",
    attributes: &[Attribute::new(
        "floor_pct",
        Kind::Integer { min: 1, max: 100 },
        "the lowest frequency used, in percent of the highest allowed at boot; in steps of 100 MHz",
    )],
    source: "100: TuneD uncore plug-in (its interface; no guide was read that gives a value)",
    absence: Absence::NotApplicable("no driver for the uncore's frequency runs here (Intel processors only)"),
    effect: "the limit that the driver answers with",
    undo: "the original limit is written",
    paths: &["/sys/devices/system/cpu/intel_uncore_frequency/{domain}/min_freq_khz"],
    reads: &[Topic::Power],
    wish,
    locate,
    ..PLAIN
};

/// A step of the driver, in kHz.
const STEP_KHZ: u64 = 100_000;

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let percent = wanted.integer("floor_pct").and_then(|percent| u64::try_from(percent).ok());
    let Some(percent) = percent else { return };
    let domains = scope.facts.power.uncore.as_deref().unwrap_or_default();
    if domains.is_empty() {
        let (status, reason) = KNOB.absence.told();
        return draft.skip(wanted, "", status, reason);
    }
    for domain in domains {
        draft.wish(scope, wanted, "min_khz", &domain.name, floor(domain, percent).to_string());
    }
}

/// The share, the next step up; not above what is allowed now.
fn floor(domain: &Domain, percent: u64) -> u64 {
    let steps = (domain.initial_max * percent).div_ceil(100).div_ceil(STEP_KHZ);
    (steps * STEP_KHZ).min(domain.max)
}

fn locate(facts: &Facts, attribute: &str, name: &str) -> Option<Cell> {
    let is_known = facts.power.uncore.iter().flatten().any(|domain| domain.name == name);
    (attribute == "min_khz" && is_known).then(|| Cell::plain(uncore::min_path(name), Form::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(percent: u64, max: u64, expected: u64) {
        let domain = Domain { name: "uncore00".into(), min: 800_000, max, initial_max: 2_500_000 };
        assert_eq!(floor(&domain, percent), expected, "{percent} %");
    }

    #[test]
    fn a_floor_is_a_step_that_there_is() {
        check(100, 2_500_000, 2_500_000);
        check(50, 2_500_000, 1_300_000); // 1.25 GHz is no step
        check(100, 2_000_000, 2_000_000); // somebody lowered the ceiling
        check(1, 2_500_000, 100_000);
    }
}
