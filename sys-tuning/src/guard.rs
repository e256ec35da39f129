//! What would hurt the machine is a danger, with the arithmetic, before anything is written.
//!
//! Pure over what was read and what the knobs came to: the division of the CPUs, memory that huge pages and the kernel's
//! reserve take together, CPUs that go off line. What one knob alone can know it says itself (the boot line's length in
//! `boot::compose`, real-time guards in their knobs). A danger that may not be accepted stands whatever flag is given.

use host::numa::NodeId;
use units::CpuId;

use crate::cell::Form;
use crate::draft::{Danger, Draft, Scope, Wish};
use crate::facts::{DeviceNode, Facts};
use crate::headroom::{self, Demand, PoolDemand};
use crate::profile::Profile;
use crate::roles::{Isolated, Roles, unknown_cpu};

/// What is wrong with how the profile divides the CPUs.
pub(crate) fn division(facts: &Facts, roles: &Roles, profile: &Profile, draft: &mut Draft) {
    if let Isolated::List(cpus) = &profile.isolated
        && let Some(problem) = unknown_cpu(facts, cpus)
    {
        draft.mistakes.push(format!("{}: cpus.isolated: {problem}", profile.isolated_place));
        return;
    }
    if roles.online.is_empty() || roles.isolated.is_empty() {
        return;
    }
    if roles.housekeeping.is_empty() {
        let reason = format!(
            "CPU {} are isolated, which leaves no housekeeping CPU to interrupts, the kernel's work and everybody else",
            roles.isolated
        );
        draft.danger("cpus", false, reason);
    } else if roles.isolated.first().is_some_and(|cpu| cpu.index() == 0) {
        let reason = "CPU 0 is isolated; the kernel keeps work there that cannot be moved".to_owned();
        draft.danger("cpus", true, reason);
    }
    for node in &facts.device_nodes {
        draft.dangers.extend(without_housekeeping(roles, node));
    }
}

/// Interrupts of a node's devices, and the kernel's work for them, need a CPU that is near and not the application's.
fn without_housekeeping(roles: &Roles, node: &DeviceNode) -> Option<Danger> {
    let is_bare = !node.cpus.is_empty() && node.cpus.intersection(&roles.housekeeping).is_empty();
    (is_bare && !roles.housekeeping.is_empty()).then(|| Danger {
        knob: "cpus",
        reason: format!(
            "{} has {} devices and CPU {}, all of them isolated: their interrupts and the kernel's work for them would \
             cross to CPU {}; leave one of the node to housekeeping",
            node.id, node.devices, node.cpus, roles.housekeeping
        ),
        may_be_accepted: true,
    })
}

/// What the kernel keeps free for itself.
const MIN_FREE: &str = "/proc/sys/vm/min_free_kbytes";

/// Holds what the plan takes from each node against what the node can give. Pools of a node that cannot give it are not
/// wished for any more.
pub(crate) fn memory(scope: &Scope<'_>, profile: &Profile, draft: &mut Draft) {
    let facts = scope.facts;
    let grown_bytes = draft.wishes.iter().find_map(|wish| reserve_growth(wish, facts)).unwrap_or(0);
    for node in &facts.nodes {
        let of_node = |wish: &&Wish| pool_of(wish) == Some(node.id);
        let pools = draft.wishes.iter().filter(of_node).filter_map(|wish| pool_demand(wish, facts, profile));
        let reserve_bytes = headroom::share(&facts.nodes, node.id, grown_bytes);
        let demand = Demand { pools: pools.collect(), reserve_bytes };
        let Some(refusal) = headroom::refusal(node, facts.floor, &demand) else { continue };
        let asking =
            draft.wishes.iter().find(|wish| pool_of(wish) == Some(node.id) || wish.cell.path == MIN_FREE);
        let knob = asking.map_or("mem.huge", |wish| wish.knob.id);
        draft.danger(knob, false, refusal);
        draft.wishes.retain(|wish| pool_of(wish) != Some(node.id));
    }
}

/// What is swapped out comes back into memory beside what the rest of the plan takes; what does not fit is not wished for.
pub(crate) fn swapped(scope: &Scope<'_>, profile: &Profile, draft: &mut Draft) {
    let facts = scope.facts;
    let is_switched_off = |wish: &Wish| matches!(&wish.cell.form, Form::SwapArea { .. }) && wish.to.is_some();
    let of_wish = |wish: &Wish| facts.swaps.iter().flatten().find(|area| area.path == wish.identity);
    let gone = draft.wishes.iter().filter(|wish| is_switched_off(wish)).filter_map(of_wish);
    let used_kib: u64 = gone.map(|area| area.used_kib).sum();
    if used_kib == 0 {
        return;
    }
    let pages = draft.wishes.iter().filter_map(|wish| pool_demand(wish, facts, profile));
    let reserve_bytes = draft.wishes.iter().find_map(|wish| reserve_growth(wish, facts)).unwrap_or(0);
    let taken = Demand { pools: pages.collect(), reserve_bytes }.growth_bytes();
    let bytes = (used_kib << 10).saturating_add(taken);
    let Some(objection) = headroom::swap_objection(&facts.nodes, facts.floor, bytes) else { return };
    let beside = match taken {
        0 => String::new(),
        taken => format!(", and the plan takes {} MiB more", taken.div_ceil(1 << 20)),
    };
    let reason = format!(
        "{} MiB of what is swapped out would come back{beside}: {objection}",
        used_kib.div_ceil(1 << 10)
    );
    draft.danger("mem.swapoff", false, reason);
    draft.wishes.retain(|wish| !is_switched_off(wish));
}

/// The node whose pool of huge pages the wish sizes.
fn pool_of(wish: &Wish) -> Option<NodeId> {
    match wish.cell.form {
        Form::Pages { node, .. } => Some(node),
        _ => None,
    }
}

fn pool_demand(wish: &Wish, facts: &Facts, profile: &Profile) -> Option<PoolDemand> {
    let Form::Pages { node, size, .. } = wish.cell.form else { return None };
    let pages = wish.to.as_ref()?.parse().ok()?;
    let held = facts.pool(node, size)?.nr;
    Some(PoolDemand { size, pages, held, place: profile.place(wish.knob.id, &wish.attribute) })
}

/// What `vm.min_free_kbytes` is to grow by, if the wish is for that.
fn reserve_growth(wish: &Wish, facts: &Facts) -> Option<u64> {
    let to: u64 = wish.to.as_ref().filter(|_| wish.cell.path == MIN_FREE)?.parse().ok()?;
    Some(to.saturating_sub(facts.min_free_kib.unwrap_or(0)).saturating_mul(1024))
}

/// CPUs that are taken off line are nobody's: one at least stays to housekeeping, and the first with it.
pub(crate) fn offline(scope: &Scope<'_>, draft: &mut Draft) {
    let gone: Vec<(CpuId, &'static str)> = draft.wishes.iter().filter_map(taken_off_line).collect();
    let Some(knob) = gone.first().map(|(_, knob)| *knob) else { return };
    let cpus = gone.iter().map(|(cpu, _)| *cpu).collect();
    let kept = &scope.roles.housekeeping;
    if kept.is_subset(&cpus) && !kept.is_empty() {
        let reason = format!(
            "CPU {cpus} off line takes the last housekeeping CPU ({kept}); leave one of them on line"
        );
        draft.danger(knob, false, reason);
    } else if cpus.contains(CpuId(0)) {
        let reason = "CPU 0 off line: the kernel keeps work there that cannot be moved".to_owned();
        draft.danger(knob, true, reason);
    }
}

/// The CPU that a wish takes off line, with the knob that asks for it.
fn taken_off_line(wish: &Wish) -> Option<(CpuId, &'static str)> {
    let cpu = cpu_of_online(&wish.cell.path)?;
    (wish.to.as_deref() == Some("0")).then_some((cpu, wish.knob.id))
}

/// The CPU whose switch this is.
// Format: "/sys/devices/system/cpu/cpu3/online"   (Documentation/ABI/testing/sysfs-devices-system-cpu)
pub(crate) fn cpu_of_online(path: &str) -> Option<CpuId> {
    let number = path.strip_prefix("/sys/devices/system/cpu/cpu")?.strip_suffix("/online")?;
    number.parse().ok().map(CpuId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{self, Cell};
    use crate::headroom::Floor;
    use crate::survey::draft;
    use host::cpus::Cpus;
    use host::hugepages::{PageSize, Pool};
    use host::numa::Node;
    use proptest::prelude::*;
    use units::CpuSet;

    /// CPUs of a random machine: to each its node, whether that has devices, and whether the CPU is isolated.
    fn machine() -> impl Strategy<Value = (Vec<u16>, Vec<bool>, Vec<bool>)> {
        (1usize..5, 1usize..65).prop_flat_map(|(nodes, cpus)| {
            let node = 0..u16::try_from(nodes).unwrap();
            (
                prop::collection::vec(node, cpus),
                prop::collection::vec(any::<bool>(), nodes),
                prop::collection::vec(any::<bool>(), cpus),
            )
        })
    }

    fn cpus(which: impl Fn(usize) -> bool, count: usize) -> CpuSet {
        (0..count).filter(|cpu| which(*cpu)).map(|cpu| CpuId(u16::try_from(cpu).unwrap())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// No division passes without a danger that leaves a node with devices, or the machine, without housekeeping.
        #[test]
        fn every_node_with_devices_keeps_a_housekeeping_cpu((nodes, devices, isolated) in machine()) {
            let count = nodes.len();
            let online = cpus(|_| true, count);
            let device_nodes: Vec<DeviceNode> = (0..devices.len())
                .filter(|node| devices[*node])
                .map(|node| DeviceNode {
                    id: NodeId(u16::try_from(node).unwrap()),
                    devices: 1,
                    cpus: cpus(|cpu| usize::from(nodes[cpu]) == node, count),
                })
                .collect();
            let none = CpuSet::empty;
            let facts = Facts {
                cpus: Some(Cpus {
                    possible: online.clone(),
                    present: online.clone(),
                    online: online.clone(),
                    offline: none(),
                    isolated: none(),
                    nohz_full: None,
                }),
                device_nodes,
                ..Facts::default()
            };
            let isolated = cpus(|cpu| isolated[cpu], count);
            let text = format!("schema = \"quell.profile/1\"\n[cpus]\nisolated = \"{isolated}\"");
            let profile = Profile::parse("test.toml", &text).unwrap();
            let roles = Roles::divide(&facts, &profile.isolated, profile.own_partition());
            let draft = draft(&facts, &roles, &profile);
            let is_refused = draft.dangers.iter().any(|danger| danger.knob == "cpus");
            let housekeeping = online.difference(&isolated);
            let is_bare = facts.device_nodes.iter().any(|node| {
                !node.cpus.is_empty() && node.cpus.intersection(&housekeeping).is_empty()
            });
            let takes_the_first = isolated.contains(CpuId(0));
            let must_be = !isolated.is_empty() && (housekeeping.is_empty() || is_bare || takes_the_first);
            prop_assert_eq!(is_refused, must_be, "{} of {:?}", isolated, nodes);
        }
    }

    /// The dangers of these wishes (path, value) on a machine of CPUs 0-3 with 2-3 isolated and one node of 20 GiB, of which
    /// 5247 MiB are free.
    #[track_caller]
    fn check(wishes: &[(Cell, &str)], expected: &[&str]) {
        let node = Node {
            id: NodeId(0),
            cpus: "0-3".parse().unwrap(),
            total_bytes: 20_480 << 20,
            free_bytes: 5_247 << 20,
            clean_cache_bytes: 0,
            distances: Vec::new(),
        };
        let empty = Pool { nr: 0, free: 0, surplus: 0, reserved: None };
        let facts = Facts {
            nodes: vec![node],
            pools: vec![(NodeId(0), PageSize::M2, empty), (NodeId(0), PageSize::G1, empty)],
            min_free_kib: Some(65_536),
            ..Facts::default()
        };
        let set = |text: &str| text.parse().unwrap();
        let roles = Roles { online: set("0-3"), isolated: set("2-3"), housekeeping: set("0-1") };
        let profile = Profile::parse("test.toml", "schema = \"quell.profile/1\"").unwrap();
        let wish = |(cell, to): &(Cell, &str)| Wish {
            knob: &crate::knobs::memory::huge::KNOB,
            attribute: "2M".to_owned(),
            identity: String::new(),
            cell: cell.clone(),
            to: Some((*to).to_owned()),
            reason: String::new(),
            cause: "mem.huge",
        };
        let mut draft = Draft { wishes: wishes.iter().map(wish).collect(), ..Draft::default() };
        let scope = Scope { facts: &facts, roles: &roles };
        memory(&scope, &profile, &mut draft);
        offline(&scope, &mut draft);
        let told: Vec<&str> = draft.dangers.iter().map(|danger| danger.reason.as_str()).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn pools_of_both_sizes_and_the_reserve_come_out_of_one_memory() {
        let pool = |size| cell::pages(NodeId(0), size, Floor::default());
        let reserve = || Cell::plain(MIN_FREE, Form::Number);
        let (m2, g1) = (PageSize::M2, PageSize::G1);
        // 5247 - 2048 - 128 = 3071 MiB: 1022 + 1024 + 1024 fit, a page or a MiB more does not.
        check(&[(pool(m2), "511"), (pool(g1), "1"), (reserve(), "1114112")], &[]);
        check(
            &[(pool(m2), "512"), (pool(g1), "1"), (reserve(), "1114112")],
            &[
                "node0: 512 × 2M (held: 0; ) and 1 × 1G (held: 0; ) and 1024 MiB of vm.min_free_kbytes would take 3072 MiB \
               more; 5247 MiB are free and 0 MiB of file cache can be had, 2048 MiB of them stay free (10 %, at least 1 \
               GiB) and 128 MiB are left for others, so at most 3071 MiB can be given",
            ],
        );
        check(&[(reserve(), "3210240")], &[]); // 64 MiB are kept already: 3071 MiB more
        check(
            &[(reserve(), "3211264")],
            &[
                "node0: 3072 MiB of vm.min_free_kbytes would take 3072 MiB more; 5247 MiB are free and 0 MiB of file cache \
               can be had, 2048 MiB of them stay free (10 %, at least 1 GiB) and 128 MiB are left for others, so at most \
               3071 MiB can be given",
            ],
        );
    }

    #[test]
    fn the_last_housekeeping_cpu_stays_on_line() {
        let cpu = |cpu: u16| Cell::plain(format!("/sys/devices/system/cpu/cpu{cpu}/online"), Form::Number);
        check(&[(cpu(1), "0")], &[]);
        check(&[(cpu(1), "0"), (cpu(2), "0"), (cpu(3), "0")], &[]);
        check(&[(cpu(0), "1"), (cpu(1), "0")], &[]);
        check(&[(cpu(0), "0")], &["CPU 0 off line: the kernel keeps work there that cannot be moved"]);
        let last = "CPU 0-1 off line takes the last housekeeping CPU (0-1); leave one of them on line";
        check(&[(cpu(0), "0"), (cpu(1), "0")], &[last]);
    }
}
