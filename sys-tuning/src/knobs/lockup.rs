//! The detectors of lock-ups, off from the start.
//!
//! Each runs a timer and a thread of the highest priority on every CPU. With them off a CPU that hangs in the kernel is
//! not reported. Source: Documentation/admin-guide/lockup-watchdogs.rst; kernel/watchdog.c.

use super::boot_line;
use crate::boot::contribute;
use crate::draft::{Draft, Scope};
use crate::profile::{Value, Wanted};
use crate::registry::{Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.lockup",
    group: Group::Isolation,
    doc: "the detector wakes a thread of the highest priority on every CPU, every few seconds",
    attributes: &[
        Attribute::new("nosoftlockup", Kind::Flag, "no detector of soft lock-ups"),
        Attribute::new("nowatchdog", Kind::Flag, "no detector at all, of hard lock-ups either"),
    ],
    source: "nosoftlockup: TuneD network-latency, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Harmless,
    absence: boot_line::ABSENCE,
    effect: "kernel.soft_watchdog and kernel.watchdog, which the arguments set",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    for name in ["nosoftlockup", "nowatchdog"] {
        if matches!(wanted.setting(name).map(|set| &set.value), Some(Value::Flag(true))) {
            contribute(scope, wanted, draft, name, name.to_owned());
        }
    }
}
