//! How readily the kernel swaps anonymous memory out.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const PATH: &str = "/proc/sys/vm/swappiness";

pub(crate) static KNOB: Knob = Knob {
    id: "mem.swap",
    group: Group::Memory,
    doc: "a page swapped out costs a disk read when the application touches it",
    attributes: &[Attribute::new(
        "swappiness",
        Kind::Integer { min: 0, max: 200 },
        "how readily anonymous pages are swapped out: 0 only when memory runs out, 200 first",
    )],
    source: "10: TuneD latency-performance; swap off: rigtorp.se low latency guide",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::NotApplicable("this kernel cannot swap"),
    effect: "the kernel reads this variable at each reclaim",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[],
    wish: wish_as_written,
    locate: |_, attribute, _| (attribute == "swappiness").then(|| Cell::plain(PATH, Form::Number)),
};
