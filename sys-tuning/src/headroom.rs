//! How much memory a node can give away without the machine coming to harm.
//!
//! The plan and the writer, which looks again before each step, ask the same functions, so that what was planned is not
//! stopped half-way. On a machine that has run for a while hardly anything is free: it holds file cache. The kernel gives
//! that back when it needs memory, but parts of it are in use without being mapped, so half of it is counted. A page taken
//! from free memory lowers what can be had by its size, one taken from the cache by half of that: the sum never falls faster
//! than the pool grows. Source: Documentation/admin-guide/mm/hugetlbpage.rst; measured: a machine with 1 GiB that was asked
//! for 100,000 pages in one write killed every process and stopped.

use host::hugepages::PageSize;
use host::numa::{Node, NodeId};

/// The part of a node's memory that nobody is given, in percent; at least [`FLOOR_BYTES_MIN`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor {
    pub percent: u8,
}

/// What a kernel with its daemons needs however large the machine is.
const FLOOR_BYTES_MIN: u64 = 1 << 30;

/// What other programs may take between the plan and its last step: one step of the writer.
pub(crate) const MARGIN_BYTES: u64 = 128 << 20;

impl Default for Floor {
    /// A tenth, unless the profile says otherwise.
    fn default() -> Self {
        Self { percent: 10 }
    }
}

impl Floor {
    /// The bytes of a node of this size that stay.
    pub fn of(self, total_bytes: u64) -> u64 {
        let share = u128::from(total_bytes) * u128::from(self.percent) / 100;
        u64::try_from(share).unwrap_or(u64::MAX).max(FLOOR_BYTES_MIN)
    }
}

/// What can be had from the node's file cache.
pub(crate) fn reclaimable(node: &Node) -> u64 {
    node.clean_cache_bytes / 2
}

/// What the node can give now, down to its floor.
pub(crate) fn spare(node: &Node, floor: Floor) -> u64 {
    node.free_bytes.saturating_add(reclaimable(node)).saturating_sub(floor.of(node.total_bytes))
}

/// Why `bytes` more are not taken from the node at this very moment.
pub(crate) fn objection(node: &Node, floor: Floor, bytes: u64) -> Option<String> {
    (bytes > spare(node, floor)).then(|| {
        format!(
            "{} MiB are free on {} and {} MiB of file cache can be had, {} MiB of them stay free",
            mib(node.free_bytes),
            node.id,
            mib(reclaimable(node)),
            mib(floor.of(node.total_bytes))
        )
    })
}

/// Why the nodes together do not take `bytes` more, which no node is named for: what was swapped out comes back to where its
/// owner runs.
pub(crate) fn swap_objection(nodes: &[Node], floor: Floor, bytes: u64) -> Option<String> {
    let sum = |of: &dyn Fn(&Node) -> u64| nodes.iter().map(of).fold(0, u64::saturating_add);
    let most = sum(&|node| spare(node, floor).saturating_sub(MARGIN_BYTES));
    if nodes.is_empty() {
        return Some("this kernel does not say how much memory is free".to_owned());
    }
    (bytes > most).then(|| {
        format!(
            "{} MiB are free and {} MiB of file cache can be had, {} MiB of them stay free ({} % of each node, at least \
             1 GiB) and {} MiB a node are left for others, so at most {} MiB can be taken",
            mib(sum(&|node| node.free_bytes)),
            mib(sum(&reclaimable)),
            mib(sum(&|node| floor.of(node.total_bytes))),
            floor.percent,
            mib(MARGIN_BYTES),
            mib(most)
        )
    })
}

/// What a plan asks of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    pub pools: Vec<PoolDemand>,
    /// The node's share in what `vm.min_free_kbytes` is to grow by.
    pub reserve_bytes: u64,
}

/// A pool of huge pages that a plan sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolDemand {
    pub size: PageSize,
    pub pages: u64,
    pub held: u64,
    /// Where the profile asks for it.
    pub place: String,
}

impl Demand {
    /// What it comes to beyond what is held already. Pools that shrink are not counted against those that grow: which is
    /// written first is not this sum's business.
    pub fn growth_bytes(&self) -> u64 {
        let grown =
            |pool: &PoolDemand| pool.pages.saturating_sub(pool.held).saturating_mul(pool.size.bytes());
        self.pools.iter().map(grown).fold(self.reserve_bytes, u64::saturating_add)
    }

    fn told(&self) -> String {
        let pool = |pool: &PoolDemand| {
            format!("{} × {} (held: {}; {})", pool.pages, pool.size, pool.held, pool.place)
        };
        let reserve = (self.reserve_bytes > 0)
            .then(|| format!("{} MiB of vm.min_free_kbytes", mib(self.reserve_bytes)));
        self.pools.iter().map(pool).chain(reserve).collect::<Vec<_>>().join(" and ")
    }
}

/// Why the node cannot give what a plan asks, with the arithmetic.
pub(crate) fn refusal(node: &Node, floor: Floor, demand: &Demand) -> Option<String> {
    let growth = demand.growth_bytes();
    let most = spare(node, floor).saturating_sub(MARGIN_BYTES);
    if growth == 0 || growth <= most {
        return None;
    }
    Some(format!(
        "{}: {} would take {} MiB more; {} MiB are free and {} MiB of file cache can be had, {} MiB of them stay free ({} \
         %, at least 1 GiB) and {} MiB are left for others, so at most {} MiB can be given",
        node.id,
        demand.told(),
        mib_up(growth),
        mib(node.free_bytes),
        mib(reclaimable(node)),
        mib(floor.of(node.total_bytes)),
        floor.percent,
        mib(MARGIN_BYTES),
        mib(most)
    ))
}

/// Each node's share in `bytes` of `vm.min_free_kbytes`: the kernel divides it among the zones by their size.
pub(crate) fn share(nodes: &[Node], node: NodeId, bytes: u64) -> u64 {
    let total: u128 = nodes.iter().map(|node| u128::from(node.total_bytes)).sum();
    let own = nodes.iter().find(|known| known.id == node).map_or(0, |node| u128::from(node.total_bytes));
    let share = (u128::from(bytes) * own).checked_div(total).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Never less than it is, so that a request beyond the bound by a byte does not read as one within.
fn mib_up(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use units::CpuSet;

    fn node(total_bytes: u64, free_bytes: u64, clean_cache_bytes: u64) -> Node {
        let (id, cpus) = (NodeId(0), CpuSet::empty());
        Node { id, cpus, total_bytes, free_bytes, clean_cache_bytes, distances: Vec::new() }
    }

    fn demand(pools: &[(PageSize, u64, u64)], reserve_mib: u64) -> Demand {
        let pool = |(size, pages, held): &(PageSize, u64, u64)| PoolDemand {
            size: *size,
            pages: *pages,
            held: *held,
            place: "p:1".to_owned(),
        };
        Demand { pools: pools.iter().map(pool).collect(), reserve_bytes: reserve_mib << 20 }
    }

    /// A node of `total`, `free` and cached MiB under a demand.
    #[track_caller]
    fn check(memory: (u64, u64, u64), demand: &Demand, expected: &str) {
        let (total, free, cache) = memory;
        let refused = refusal(&node(total << 20, free << 20, cache << 20), Floor::default(), demand);
        assert_eq!(refused.as_deref().unwrap_or("given"), expected);
    }

    #[test]
    fn the_budget() {
        let (m2, g1) = (PageSize::M2, PageSize::G1);
        check((20_480, 10_000, 0), &demand(&[(m2, 512, 0)], 0), "given");
        check((20_480, 3_200, 0), &demand(&[(m2, 512, 0)], 0), "given"); // exactly: 2048 stay, 128 are the margin
        check(
            (20_480, 3_200, 0),
            &demand(&[(m2, 513, 0)], 0),
            "node0: 513 × 2M (held: 0; p:1) would take 1026 MiB more; 3200 MiB are free and 0 MiB of file cache can be had, \
             2048 MiB of them stay free (10 %, at least 1 GiB) and 128 MiB are left for others, so at most 1024 MiB can be \
             given",
        );
        check((20_480, 2_200, 2_000), &demand(&[(m2, 512, 0)], 0), "given"); // half of the cache, to the page
        check(
            (20_480, 2_200, 1_998),
            &demand(&[(m2, 512, 0)], 0),
            "node0: 512 × 2M (held: 0; p:1) would take 1024 MiB more; 2200 MiB are free and 999 MiB of file cache can be \
             had, 2048 MiB of them stay free (10 %, at least 1 GiB) and 128 MiB are left for others, so at most 1023 MiB \
             can be given",
        );
        check((20_480, 100, 0), &demand(&[(m2, 512, 512)], 0), "given"); // held already
        check((20_480, 100, 0), &demand(&[(m2, 0, 512)], 0), "given"); // giving back needs nothing
        // Both sizes and the reserve come out of one memory: each alone would be given.
        check((20_480, 5_248, 0), &demand(&[(m2, 512, 0), (g1, 1, 0)], 1_024), "given");
        check(
            (20_480, 5_247, 0),
            &demand(&[(m2, 512, 0), (g1, 1, 0)], 1_024),
            "node0: 512 × 2M (held: 0; p:1) and 1 × 1G (held: 0; p:1) and 1024 MiB of vm.min_free_kbytes would take 3072 \
             MiB more; 5247 MiB are free and 0 MiB of file cache can be had, 2048 MiB of them stay free (10 %, at least \
             1 GiB) and 128 MiB are left for others, so at most 3071 MiB can be given",
        );
        check(
            (1_024, 900, 0),
            &demand(&[(m2, 100_000, 0)], 0),
            "node0: 100000 × 2M (held: 0; p:1) would take 200000 MiB more; 900 MiB are free and 0 MiB of file cache can be \
             had, 1024 MiB of them stay free (10 %, at least 1 GiB) and 128 MiB are left for others, so at most 0 MiB can \
             be given",
        );
        let beyond = demand(&[(g1, u64::MAX, 0), (m2, u64::MAX, 0)], 0); // no sum wraps
        assert!(refusal(&node(u64::MAX, u64::MAX, u64::MAX), Floor::default(), &beyond).is_some());
    }

    #[test]
    fn the_floor() {
        assert_eq!(Floor::default().of(20_000 << 20), 2_000 << 20);
        assert_eq!(Floor { percent: 25 }.of(20_000 << 20), 5_000 << 20);
        assert_eq!(Floor::default().of(4 << 30), 1 << 30, "at least a gibibyte");
    }

    #[test]
    fn a_reserve_is_shared_by_size() {
        let mut nodes = vec![node(3 << 30, 0, 0), node(1 << 30, 0, 0)];
        nodes[1].id = NodeId(1);
        assert_eq!((share(&nodes, NodeId(0), 400), share(&nodes, NodeId(1), 400)), (300, 100));
        assert_eq!((share(&nodes, NodeId(7), 400), share(&[], NodeId(0), 400)), (0, 0));
    }

    /// Takes memory of a node: from what is free first, or from the cache first.
    fn take(node: &mut Node, bytes: u64, from_cache: bool) {
        let (free, cache) = (node.free_bytes, node.clean_cache_bytes);
        let of_cache = if from_cache { bytes.min(cache) } else { bytes.saturating_sub(free).min(cache) };
        node.clean_cache_bytes -= of_cache;
        node.free_bytes -= (bytes - of_cache).min(free);
    }

    proptest! {
        /// Whatever a plan is granted, the writer, taking it step by step, from free memory or from the cache, is granted
        /// too, as long as others take no more than the margin.
        #[test]
        fn what_was_planned_is_not_stopped_half_way(
            (total, free, cache) in (0u64..1 << 36, 0u64..1 << 34, 0u64..1 << 34),
            (pages, step) in (0u64..1 << 14, 1u64..65),
            others in 0u64..=MARGIN_BYTES,
            from_cache in any::<bool>(),
        ) {
            let mut now = node(total, free, cache);
            let wanted = demand(&[(PageSize::M2, pages, 0)], 0);
            prop_assume!(refusal(&now, Floor::default(), &wanted).is_none());
            take(&mut now, others, false);
            let mut left = pages;
            while left > 0 {
                let bytes = step.min(left) * PageSize::M2.bytes();
                prop_assert_eq!(objection(&now, Floor::default(), bytes), None);
                left -= step.min(left);
                take(&mut now, bytes, from_cache);
            }
        }
    }
}
