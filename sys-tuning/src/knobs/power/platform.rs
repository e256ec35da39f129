//! The firmware's own profile: quiet, balanced or fast.
//!
//! It moves limits of power and temperature that no other file shows. Source:
//! Documentation/userspace-api/sysfs-platform_profile.rst.

use host::platform_profile;

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Group, Kind, Knob, PLAIN, Topic};
use crate::status::Status;

pub(crate) static KNOB: Knob = Knob {
    id: "cpu.platform",
    group: Group::Power,
    doc: "firmware that prefers quiet fans lowers the power that the processor may take",
    attributes: &[Attribute::new(
        "profile",
        Kind::Choice(&["performance", "balanced-performance", "balanced", "low-power", "quiet", "cool"]),
        "the firmware's profile",
    )],
    source: "performance: TuneD acpi plug-in",
    absence: Absence::NotApplicable("this firmware offers no profiles"),
    effect: "the profile that the firmware answers with",
    undo: "the original profile is written",
    paths: &[platform_profile::PATH],
    reads: &[Topic::Power],
    wish,
    locate: |facts, attribute, _| {
        let is_there = attribute == "profile" && facts.power.platform.is_some();
        is_there.then(|| Cell::plain(platform_profile::PATH, Form::Word))
    },
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    let Some(profile) = wanted.text("profile") else { return };
    let Some(platform) = &scope.facts.power.platform else {
        return draft.not_applicable(wanted, "this firmware offers no profiles");
    };
    if platform.choices.contains(&profile) {
        draft.wish(scope, wanted, "profile", "", profile);
    } else {
        let reason = format!("the firmware offers {}, not {profile}", platform.choices.join(", "));
        draft.skip(wanted, "", Status::Failed, reason);
    }
}
