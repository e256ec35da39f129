//! How often each CPU folds its memory counters into the machine's.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const PATH: &str = "/proc/sys/vm/stat_interval";

pub(crate) static KNOB: Knob = Knob {
    id: "iso.vmstat",
    group: Group::Isolation,
    doc: "the folding runs as kernel work on every CPU that has something to fold",
    attributes: &[Attribute::new(
        "stat_interval",
        Kind::Integer { min: 1, max: 3600 },
        "seconds between two foldings",
    )],
    source: "120: rigtorp.se; 10: TuneD network-latency, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel keeps no per-CPU memory counters"),
    effect: "the kernel reads this variable when it arms the next folding",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[],
    wish: wish_as_written,
    locate: |_, attribute, _| (attribute == "stat_interval").then(|| Cell::plain(PATH, Form::Number)),
};
