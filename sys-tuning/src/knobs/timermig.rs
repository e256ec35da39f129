//! Whether an idle CPU's timers may be run by a busy one.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const PATH: &str = "/proc/sys/kernel/timer_migration";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.timermig",
    group: Group::Isolation,
    doc: "migrated timers fire on CPUs that did not ask for them; forbidding it keeps timers on CPUs being evacuated",
    attributes: &[Attribute::new("enabled", Kind::Flag, "whether timers move to a CPU that is awake")],
    source: "false: TuneD network-latency; true: cluster-node-tuning-operator (isolated CPUs cannot be evacuated otherwise)",
    needs: Needs::SysAdmin,
    when: When::Runtime,
    blast: Blast::Ipi,
    absence: Absence::NotApplicable("this kernel does not migrate timers"),
    effect: "the kernel's switch itself",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[],
    wish: wish_as_written,
    locate: |_, attribute, _| (attribute == "enabled").then(|| Cell::plain(PATH, Form::Number)),
};
