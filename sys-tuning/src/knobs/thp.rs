//! Transparent huge pages: whether the kernel makes huge pages behind the application's back.
//!
//! Switching them also makes the kernel compute `vm.min_free_kbytes` anew (mm/khugepaged.c,
//! set_recommended_min_free_kbytes): that value is remembered with the others and put back with them. The write can block
//! for most of a second while a real-time thread spins on a CPU (measured), hence the blast class.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::facts::Facts;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const DEFRAG: &str = "/sys/kernel/mm/transparent_hugepage/defrag";
const MIN_FREE: &str = "/proc/sys/vm/min_free_kbytes";

pub(crate) static KNOB: Knob = Knob {
    id: "mem.thp",
    group: Group::Memory,
    doc: "a fault that assembles a huge page, or khugepaged joining pages, stops the thread for up to milliseconds",
    attributes: &[
        Attribute::new(
            "enabled",
            Kind::Choice(&["always", "madvise", "never"]),
            "who gets huge pages unasked",
        ),
        Attribute::new(
            "defrag",
            Kind::Choice(&["always", "defer", "defer+madvise", "madvise", "never"]),
            "whether a fault waits for memory to be compacted",
        ),
    ],
    source: "never: rigtorp.se, TuneD network-latency, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Stall,
    absence: Absence::Satisfied("this kernel makes no transparent huge pages"),
    effect: "the bracketed word; pages that were joined before stay joined",
    undo: "the original words are written, then vm.min_free_kbytes if the kernel changed it",
    paths: &[ENABLED, DEFRAG, MIN_FREE],
    side_effects: &["min_free_kbytes"],
    reads: &[],
    wish: wish_as_written,
    locate,
};

fn locate(_: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    match attribute {
        "enabled" => Some(Cell::plain(ENABLED, Form::Choice)),
        "defrag" => Some(Cell::plain(DEFRAG, Form::Choice)),
        "min_free_kbytes" => Some(Cell::plain(MIN_FREE, Form::Number)),
        _ => None,
    }
}
