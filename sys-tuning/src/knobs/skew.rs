//! The ticks of different CPUs at different moments.
//!
//! Together they meet at the locks of timekeeping and the scheduler. Costs some power, because idle CPUs wake at
//! different times too. Source: Documentation/admin-guide/kernel-parameters.txt, skew_tick.

use super::boot_line;
use crate::boot::contribute;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Attribute, Blast, Group, Kind, Knob, Needs, Topic, When};

pub(crate) static KNOB: Knob = Knob {
    id: "iso.skew",
    group: Group::Isolation,
    doc: "ticks that all CPUs take at once contend for the same locks",
    attributes: &[Attribute::new("enabled", Kind::Flag, "shift each CPU's tick by a part of its period")],
    source: "on: TuneD network-latency, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Boot,
    blast: Blast::Harmless,
    absence: boot_line::ABSENCE,
    effect: "the kernel shows none; the boot log of the trial holds no refusal",
    undo: boot_line::UNDO,
    paths: boot_line::PATHS,
    side_effects: &[],
    reads: &[Topic::Boot],
    wish,
    locate: |_, _, _| None,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(number) = wanted.text("enabled") {
        contribute(scope, wanted, draft, "enabled", format!("skew_tick={number}"));
    }
}
