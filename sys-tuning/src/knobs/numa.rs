//! Automatic NUMA balancing: the kernel unmaps pages to learn who touches them.

use super::wish_as_written;
use crate::cell::{Cell, Form};
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const PATH: &str = "/proc/sys/kernel/numa_balancing";

pub(crate) static KNOB: Knob = Knob {
    id: "mem.numa",
    group: Group::Memory,
    doc: "balancing makes pages fault on purpose and moves them while the application runs",
    attributes: &[Attribute::new(
        "balancing",
        Kind::Integer { min: 0, max: 3 },
        "0 off, 1 move pages to who uses them, 2 between memory tiers, 3 both",
    )],
    source: "0: rigtorp.se, TuneD network-latency, Documentation/admin-guide/sysctl/kernel.rst",
    needs: Needs::SysAdmin,
    when: When::Runtime,
    blast: Blast::Ipi,
    absence: Absence::Satisfied("this kernel does no NUMA balancing"),
    effect: "the kernel's switch itself",
    undo: "the original number is written",
    paths: &[PATH],
    side_effects: &[],
    reads: &[],
    wish: wish_as_written,
    locate: |_, attribute, _| (attribute == "balancing").then(|| Cell::plain(PATH, Form::Number)),
};
