//! What a plan can tell about the division of the machine without changing it: how many housekeeping CPUs it needs, and what
//! could be done about the cache that all of them share. Pure; the arithmetic is in the sentence.

use units::CpuSet;

use crate::facts::Facts;
use crate::roles::Roles;
use crate::surroundings::{Cache, Surroundings};

/// One thing worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What it is about: `housekeeping`, `cache`, or `unseen` for what could not be read.
    pub topic: &'static str,
    /// The sentence.
    pub what: String,
}

/// Vectors that x86 has for devices on one CPU: 0x20 to 0xeb (arch/x86/include/asm/irq_vectors.h), of which a few are the
/// kernel's.
const VECTORS_PER_CPU: usize = 200;

/// The hints for a machine of which some CPUs are isolated.
pub(crate) fn hints(
    facts: &Facts,
    roles: &Roles,
    surroundings: &Surroundings,
    unthrottled: bool,
) -> Vec<Hint> {
    let unseen = |problem: &String| Hint {
        topic: "unseen",
        what: format!("{problem}; what needs it was not looked at for contradictions"),
    };
    let unseen = surroundings.unseen.iter().map(unseen);
    if roles.isolated.is_empty() {
        return unseen.collect();
    }
    let housekeeping =
        Hint { topic: "housekeeping", what: housekeeping(facts, roles, surroundings, unthrottled) };
    let caches = surroundings.caches.iter().filter_map(|cache| shared(cache, roles));
    let caches: Vec<Hint> = caches.map(|what| Hint { topic: "cache", what }).collect();
    std::iter::once(housekeeping).chain(caches).chain(unseen).collect()
}

fn housekeeping(facts: &Facts, roles: &Roles, surroundings: &Surroundings, unthrottled: bool) -> String {
    let kept = &roles.housekeeping;
    let nodes = facts.device_nodes.iter().filter(|node| node.devices > 0 && !node.cpus.is_empty()).count();
    let lines = surroundings.interrupts;
    let for_lines = lines.div_ceil(VECTORS_PER_CPU);
    let mut reasons = Vec::new();
    reasons.extend((nodes > 0).then(|| format!("{nodes} for memory nodes with devices, one each")));
    reasons
        .extend((lines > 0).then(|| format!("{for_lines} for {lines} interrupts, {VECTORS_PER_CPU} a CPU")));
    reasons.extend(unthrottled.then(|| "2 where real-time threads are not throttled".to_owned()));
    let need = [1, nodes, for_lines, if unthrottled { 2 } else { 1 }].into_iter().max().unwrap_or(1);
    let verdict = match kept.count() {
        count if count < need => format!("{} more needed", need - count),
        _ => "enough".to_owned(),
    };
    let queues: usize = surroundings.interfaces.iter().map(|card| card.queues.len()).sum();
    let kernel = facts.reaching.runners.iter().filter(|one| one.stat.is_kernel && !one.stat.is_bound).count();
    let mut load = Vec::new();
    load.extend((queues > 0).then(|| format!("{queues} network queues")));
    load.extend((kernel > 0).then(|| format!("{kernel} kernel threads that can be moved there")));
    let load =
        if load.is_empty() { String::new() } else { format!("; they take {} too", load.join(" and ")) };
    let (has, because) = (kept.count(), reasons.join(", "));
    let because = if because.is_empty() { String::new() } else { format!(" ({because})") };
    format!("{has} housekeeping ({}), {need} needed{because}: {verdict}{load}", none_or(kept))
}

/// A cache that isolated CPUs share with others can be divided.
fn shared(cache: &Cache, roles: &Roles) -> Option<String> {
    let (isolated, others) =
        (cache.cpus.intersection(&roles.isolated), cache.cpus.difference(&roles.isolated));
    if isolated.is_empty() || others.is_empty() {
        return None;
    }
    let shared =
        format!("the L3 cache of CPU {} is shared by isolated CPU {isolated} and CPU {others}", cache.cpus);
    Some(match &cache.ways {
        Err(reason) => format!("{shared}; {reason}"),
        Ok((ways, least)) if ways > least => {
            let own = ways - least;
            format!(
                "{shared}; it has {ways} ways: resctrl can keep {own} of them to the isolated CPUs and leave {least} to the \
                 others (most of it to the application: rigtorp.se)"
            )
        }
        Ok((ways, _)) => format!("{shared}; it has {ways} ways, too few to divide"),
    })
}

fn none_or(cpus: &CpuSet) -> String {
    if cpus.is_empty() { "none".to_owned() } else { format!("CPU {cpus}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::DeviceNode;
    use host::numa::NodeId;

    fn cpus(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    /// What is told of CPUs 0-7 in two nodes with devices, of which `isolated` are isolated.
    #[track_caller]
    fn check(
        isolated: &str,
        interrupts: usize,
        unthrottled: bool,
        ways: Result<(u32, u32), &str>,
        expected: &[&str],
    ) {
        let isolated = cpus(isolated);
        let online = cpus("0-7");
        let roles = Roles { housekeeping: online.difference(&isolated), isolated, online };
        let node = |id, cpus| DeviceNode { id: NodeId(id), devices: 3, cpus };
        let facts =
            Facts { device_nodes: vec![node(0, cpus("0-3")), node(1, cpus("4-7"))], ..Facts::default() };
        let caches = vec![Cache { cpus: cpus("0-3"), ways: ways.map_err(str::to_owned) }];
        let surroundings = Surroundings { interrupts, caches, ..Surroundings::default() };
        let told: Vec<String> =
            hints(&facts, &roles, &surroundings, unthrottled).into_iter().map(|hint| hint.what).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn the_arithmetic_is_told() {
        let absent = Err("it cannot be divided here");
        check("", 36, false, absent, &[]);
        check(
            "1-3,5-7",
            36,
            false,
            Ok((11, 1)),
            &[
                "2 housekeeping (CPU 0,4), 2 needed (2 for memory nodes with devices, one each, 1 for 36 interrupts, 200 a \
                 CPU): enough",
                "the L3 cache of CPU 0-3 is shared by isolated CPU 1-3 and CPU 0; it has 11 ways: resctrl can keep 10 of \
                 them to the isolated CPUs and leave 1 to the others (most of it to the application: rigtorp.se)",
            ],
        );
        check(
            "4-7",
            801,
            true,
            absent,
            &[
                "4 housekeeping (CPU 0-3), 5 needed (2 for memory nodes with devices, one each, 5 for 801 interrupts, 200 a \
               CPU, 2 where real-time threads are not throttled): 1 more needed",
            ],
        );
        check(
            "1-7",
            0,
            true,
            absent,
            &[
                "1 housekeeping (CPU 0), 2 needed (2 for memory nodes with devices, one each, 2 where real-time threads are \
                 not throttled): 1 more needed",
                "the L3 cache of CPU 0-3 is shared by isolated CPU 1-3 and CPU 0; it cannot be divided here",
            ],
        );
    }
}
