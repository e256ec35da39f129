//! How much dirty memory may gather before it is written back.
//!
//! Four files, two limits: each limit is given as a ratio or as bytes, and the kernel zeroes the one when the other is
//! written; zero bytes cannot be written back. Hence two cells, each a pair of files that reads as one value.
//! Source: Documentation/admin-guide/sysctl/vm.rst, dirty_bytes; mm/page-writeback.c.

use crate::cell::{Cell, Form};
use crate::draft::{Draft, Scope};
use crate::facts::Facts;
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Group, Kind, Knob, Needs, When};

const RATIO: &str = "/proc/sys/vm/dirty_ratio";
const BYTES: &str = "/proc/sys/vm/dirty_bytes";
const BACKGROUND_RATIO: &str = "/proc/sys/vm/dirty_background_ratio";
const BACKGROUND_BYTES: &str = "/proc/sys/vm/dirty_background_bytes";

/// The kernel's own floor: two pages.
const BYTES_MIN: i64 = 8192;
/// 1 TiB: beyond it is a slip of the unit.
const BYTES_MAX: i64 = 1 << 40;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.dirty",
    group: Group::Memory,
    doc: "a writer that crosses the limit is stopped until pages reach the disk; small limits keep the bursts short",
    attributes: &[
        Attribute::new(
            "ratio",
            Kind::Integer { min: 0, max: 100 },
            "per cent of available memory at which a writer has to write back itself",
        )
        .excluding("bytes"),
        Attribute::new("bytes", Kind::Integer { min: BYTES_MIN, max: BYTES_MAX }, "the same limit in bytes")
            .excluding("ratio"),
        Attribute::new(
            "background_ratio",
            Kind::Integer { min: 0, max: 100 },
            "per cent of available memory at which the kernel begins to write back",
        )
        .excluding("background_bytes"),
        Attribute::new(
            "background_bytes",
            Kind::Integer { min: 1, max: BYTES_MAX },
            "the same limit in bytes",
        )
        .excluding("background_ratio"),
    ],
    source: "10 and 3: TuneD latency-performance, cluster-node-tuning-operator",
    needs: Needs::Root,
    when: When::Runtime,
    blast: Blast::Harmless,
    absence: Absence::Missing("every kernel since 2.6.29 has it"),
    effect: "both files of the pair: the member in force is the one that is not zero",
    undo: "the member that was in force is written, which zeroes the other",
    paths: &[RATIO, BYTES, BACKGROUND_RATIO, BACKGROUND_BYTES],
    side_effects: &[],
    reads: &[],
    wish,
    locate,
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    for (limit, ratio, bytes) in
        [("limit", "ratio", "bytes"), ("background", "background_ratio", "background_bytes")]
    {
        let by_ratio = wanted.integer(ratio).map(|n| format!("ratio {n}"));
        let by_bytes = wanted.integer(bytes).map(|n| format!("bytes {n}"));
        if let Some(to) = by_ratio.or(by_bytes) {
            draft.wish(scope, wanted, limit, "", to);
        }
    }
}

fn locate(_: &Facts, attribute: &str, _: &str) -> Option<Cell> {
    let pair = |ratio: &str, bytes: &str| Cell::plain(ratio, Form::Pair { bytes: bytes.to_owned() });
    match attribute {
        "limit" => Some(pair(RATIO, BYTES)),
        "background" => Some(pair(BACKGROUND_RATIO, BACKGROUND_BYTES)),
        _ => None,
    }
}
