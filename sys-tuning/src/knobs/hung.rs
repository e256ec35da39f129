//! How long a task may hang before the kernel says so.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const PATH: &str = "/proc/sys/kernel/hung_task_timeout_secs";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.hung",
    group: Group::Isolation,
    doc: "the watchdog walks every task; behind a busy application tasks wait long without being broken",
    attributes: &[Attribute::new(
        "timeout_secs",
        Kind::Integer { min: 0, max: 86_400 },
        "seconds without being scheduled before a task is reported; 0 never looks",
    )],
    source: "600: TuneD network-latency, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::Satisfied("this kernel has no watchdog for hung tasks"),
    effect: "the write wakes the watchdog, which takes the new interval",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[],
    wish: wish_as_written,
    locate: |_, attribute, _| (attribute == "timeout_secs").then(|| Cell::plain(PATH, Form::Number)),
};
