//! Memory that the kernel keeps free, and where it looks for more.
//!
//! "Setting this too high will OOM your machine instantly" (Documentation/admin-guide/sysctl/vm.rst): so the reserve is
//! held against the machine's memory here, and with everything else that the same plan takes by `guard`. Switching
//! transparent huge pages makes the kernel compute the reserve anew: a plan that does both writes the reserve again.

use host::numa::Node;

use crate::declared;
use crate::draft::{Draft, Scope};
use crate::profile::Wanted;
use crate::registry::{Absence, Attribute, Blast, Flat, Group, Home, Kind, Knob, PLAIN, Sign, Topic};

/// Of all memory, at most this many per mille: 5 % is as much as the kernel itself reserves on the smallest machines.
const RESERVE_PER_MILLE_MAX: u64 = 50;

pub(crate) static KNOB: Knob = Knob {
    id: "mem.free",
    group: Group::Memory,
    doc: "an allocation that finds no free page waits while the kernel takes some from others",
    attributes: &[
        Attribute::at(
            "min_free_kbytes",
            Kind::Integer { min: 1024, max: 1 << 30 },
            "KiB that are kept free for allocations that cannot wait",
            Home::Sysctl("vm.min_free_kbytes"),
        ),
        Attribute::at(
            "zone_reclaim_mode",
            Kind::Integer { min: 0, max: 7 },
            "whether a node's own pages are reclaimed before another node is asked: 0 no, 1 yes, 2 and 4 by writing and \
             unmapping as well",
            Home::Sysctl("vm.zone_reclaim_mode"),
        )
        .seen(Sign::Flat(&Flat { of: &["0"], counters: &["zone_reclaim_success", "zone_reclaim_failed"], unless: &[] }))
        .absent(Absence::Satisfied("this kernel knows one memory node")),
    ],
    source: "135168 and 1: TuneD hpc-compute",
    blast: Blast::Memory,
    absence: Absence::Missing("every kernel has it"),
    effect: "the kernel computes its watermarks from it at once; over a window, no node reclaims its own pages",
    reads: &[Topic::Nodes],
    wish,
    ..PLAIN
};

fn wish(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    if let Some(kib) = wanted.integer("min_free_kbytes").and_then(|kib| u64::try_from(kib).ok())
        && let Some(reason) = refusal(&scope.facts.nodes, kib)
    {
        return draft.danger(KNOB.id, false, reason);
    }
    declared::wish(scope, wanted, draft);
}

/// Why this is too much of the machine's memory, with the arithmetic.
fn refusal(nodes: &[Node], kib: u64) -> Option<String> {
    let total = nodes.iter().map(|node| node.total_bytes).fold(0, u64::saturating_add) >> 10;
    let most = total / 1000 * RESERVE_PER_MILLE_MAX;
    (kib > most).then(|| {
        format!(
            "a reserve of {} MiB; of the machine's {} MiB at most {} MiB (5 %) are kept free: with more the kernel finds \
             none to give and ends processes",
            kib >> 10,
            total >> 10,
            most >> 10
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::numa::NodeId;
    use units::CpuSet;

    fn node(total_mib: u64) -> Node {
        let (id, distances) = (NodeId(0), Vec::new());
        Node {
            id,
            cpus: CpuSet::empty(),
            total_bytes: total_mib << 20,
            free_bytes: 0,
            clean_cache_bytes: 0,
            distances,
        }
    }

    #[track_caller]
    fn check(nodes: &[Node], kib: u64, expected: Option<&str>) {
        assert_eq!(refusal(nodes, kib).as_deref(), expected);
    }

    #[test]
    fn the_reserve_is_held_against_memory() {
        check(&[node(8_000)], 400 << 10, None); // exactly 5 %
        check(
            &[node(2_000), node(2_000)],
            201 << 10,
            Some(
                "a reserve of 201 MiB; of the machine's 4000 MiB at most 200 MiB (5 %) are kept free: with more the kernel \
                 finds none to give and ends processes",
            ),
        );
    }
}
