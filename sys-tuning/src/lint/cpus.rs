//! CPUs that are to be in two places: isolated, and yet somewhere that work of others comes to.

use units::CpuSet;

use super::{Rule, View};
use crate::roles::Isolated;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "siblings-split",
        doc: "an isolated CPU shares its core with one that is not: what runs there slows it down",
        find: siblings_split,
    },
    Rule {
        name: "nohz-not-isolcpus",
        doc: "nohz_full= and isolcpus= are different CPUs: the kernel drops one of two lists that do not match",
        find: nohz_not_isolcpus,
    },
    Rule {
        name: "rcu-not-nohz",
        doc: "CPUs without a tick run RCU callbacks: rcu_nocbs= leaves some of nohz_full= out",
        find: rcu_not_nohz,
    },
    Rule {
        name: "boot-lists-not-isolated",
        doc: "the boot line isolates other CPUs than the profile",
        find: boot_lists_not_isolated,
    },
    Rule {
        name: "partition-not-isolcpus",
        doc: "a cgroup partition and the boot line isolate different CPUs",
        find: partition_not_isolcpus,
    },
    Rule {
        name: "irq-default-on-isolated",
        doc: "interrupts requested from now on may be delivered to isolated CPUs",
        find: irq_default_on_isolated,
    },
    Rule { name: "irq-on-isolated", doc: "interrupts are sent to isolated CPUs", find: irq_on_isolated },
    Rule {
        name: "work-on-isolated",
        doc: "threads or kernel work of others are allowed on isolated CPUs",
        find: work_on_isolated,
    },
    Rule {
        name: "packets-on-isolated",
        doc: "packets are processed on isolated CPUs: RPS or XPS names them",
        find: packets_on_isolated,
    },
    Rule {
        name: "watchdog-on-isolated",
        doc: "the watchdog's timer and thread run on isolated CPUs",
        find: watchdog_on_isolated,
    },
    Rule {
        name: "isolated-off-line",
        doc: "isolated CPUs are taken off line: a partition of them becomes invalid",
        find: isolated_off_line,
    },
    Rule {
        name: "nic-far-from-engine",
        doc: "a network card is on another memory node than every isolated CPU",
        find: nic_far_from_engine,
    },
];

/// The part of `cpus` that is isolated, told by `told`.
fn on_isolated(view: &View<'_>, cpus: Option<CpuSet>, told: impl FnOnce(&CpuSet) -> String) -> Vec<String> {
    let isolated = cpus.map_or_else(CpuSet::empty, |cpus| cpus.intersection(&view.roles.isolated));
    if isolated.is_empty() { Vec::new() } else { vec![told(&isolated)] }
}

fn siblings_split(view: &View<'_>) -> Vec<String> {
    let split = |group: &CpuSet| {
        let inside = group.intersection(&view.roles.isolated);
        (!inside.is_empty() && inside != *group).then(|| {
            let outside = group.difference(&inside);
            format!("CPU {inside} is isolated and shares its core with CPU {outside}, which is not")
        })
    };
    view.facts.sibling_groups.iter().filter_map(split).collect()
}

/// As planned; where no list is planned, as this boot was made.
fn nohz_not_isolcpus(view: &View<'_>) -> Vec<String> {
    let (isolated, tickless) = (view.argument_cpus("isolcpus"), view.argument_cpus("nohz_full"));
    if let (Some(isolated), Some(tickless)) = (&isolated, &tickless) {
        return differ(isolated, tickless, "the kernel drops one of two lists that do not match");
    }
    let Some(cpus) = view.facts.cpus.as_ref().filter(|_| isolated.is_none() && tickless.is_none()) else {
        return Vec::new();
    };
    let Some(tickless) = cpus.nohz_full.as_ref().filter(|tickless| !tickless.is_empty()) else {
        return Vec::new();
    };
    if cpus.isolated.is_empty() {
        return Vec::new(); // a partition may take its place
    }
    differ(&cpus.isolated, tickless, "this boot was made so, and the profile does not say otherwise")
}

fn differ(isolated: &CpuSet, tickless: &CpuSet, why: &str) -> Vec<String> {
    let told = || format!("isolcpus= is CPU {isolated} and nohz_full= is CPU {tickless}: {why}");
    if isolated == tickless { Vec::new() } else { vec![told()] }
}

fn rcu_not_nohz(view: &View<'_>) -> Vec<String> {
    let (Some(tickless), Some(offloaded)) =
        (view.argument_cpus("nohz_full"), view.argument_cpus("rcu_nocbs"))
    else {
        return Vec::new(); // nohz_full= alone implies it
    };
    let left = tickless.difference(&offloaded);
    let told = || format!("rcu_nocbs= leaves out CPU {left}, which nohz_full= has");
    if left.is_empty() { Vec::new() } else { vec![told()] }
}

fn boot_lists_not_isolated(view: &View<'_>) -> Vec<String> {
    let roles = &view.roles.isolated;
    if view.profile.isolated == Isolated::Auto {
        return Vec::new(); // the next boot makes them the same
    }
    let other = |name: &str| {
        let cpus = view.argument_cpus(name).filter(|cpus| cpus != roles)?;
        Some(format!("{name}= is CPU {cpus}, and the profile isolates {}", none_or(roles)))
    };
    ["isolcpus", "nohz_full"].into_iter().filter_map(other).collect()
}

fn partition_not_isolcpus(view: &View<'_>) -> Vec<String> {
    let partitions = view.profile.setting("iso.cpuset2", "partition").is_some();
    let Some(partition) = view.cpus("iso.cpuset2", "cpus").filter(|_| partitions) else { return Vec::new() };
    let running =
        || view.facts.cpus.as_ref().map(|cpus| cpus.isolated.clone()).filter(|cpus| !cpus.is_empty());
    let Some(boot) = view.argument_cpus("isolcpus").or_else(running).filter(|boot| *boot != partition) else {
        return Vec::new();
    };
    vec![format!(
        "the partition of iso.cpuset2 is CPU {partition} and isolcpus= is CPU {boot}: what is in one only is not out of \
         everybody's reach"
    )]
}

fn irq_default_on_isolated(view: &View<'_>) -> Vec<String> {
    let told = |isolated: &CpuSet| {
        format!("irq.default sends new interrupts to CPU {isolated}, which the profile isolates")
    };
    let cpus = view.cpus("irq.default", "cpus").or_else(|| view.argument_cpus("irqaffinity"));
    on_isolated(view, cpus, told)
}

fn irq_on_isolated(view: &View<'_>) -> Vec<String> {
    on_isolated(view, view.cpus("irq.aff", "cpus"), |isolated| {
        format!("irq.aff sends interrupts to CPU {isolated}, which the profile isolates")
    })
}

fn work_on_isolated(view: &View<'_>) -> Vec<String> {
    let of = |knob: &str| {
        on_isolated(view, view.cpus(knob, "cpus"), |isolated| {
            format!("{knob} allows work of others on CPU {isolated}, which the profile isolates")
        })
    };
    ["iso.wq", "iso.tasks", "iso.kthreads"].into_iter().flat_map(of).collect()
}

fn packets_on_isolated(view: &View<'_>) -> Vec<String> {
    let masks =
        view.wishes.iter().filter(|(path, _)| path.ends_with("/rps_cpus") || path.ends_with("/xps_cpus"));
    let of = |(path, to): &(&str, &str)| {
        on_isolated(view, to.parse().ok(), |isolated| {
            format!("{path} is to name CPU {isolated}, which the profile isolates")
        })
    };
    masks.flat_map(of).collect()
}

fn watchdog_on_isolated(view: &View<'_>) -> Vec<String> {
    let mask = view.wish("/proc/sys/kernel/watchdog_cpumask").and_then(|to| to.parse().ok());
    on_isolated(view, mask, |isolated| {
        format!("kernel.watchdog_cpumask is to have CPU {isolated}, which the profile isolates")
    })
}

fn isolated_off_line(view: &View<'_>) -> Vec<String> {
    let gone = view.wishes.iter().filter(|(_, to)| *to == "0");
    let gone = gone.filter_map(|(path, _)| crate::guard::cpu_of_online(path)).collect();
    on_isolated(view, Some(gone), |isolated| {
        format!("CPU {isolated} is isolated and taken off line: a partition that has it becomes invalid")
    })
}

fn nic_far_from_engine(view: &View<'_>) -> Vec<String> {
    let isolated = &view.roles.isolated;
    let far = |card: &host::interfaces::Interface| {
        let node = view.facts.device_nodes.iter().find(|known| Some(known.id) == card.node)?;
        (!isolated.is_empty() && node.cpus.intersection(isolated).is_empty()).then(|| {
            format!(
                "{} is on {} ({}) and the isolated CPU {isolated} are not: each packet crosses nodes",
                card.name,
                node.id,
                none_or(&node.cpus)
            )
        })
    };
    view.surroundings.interfaces.iter().filter_map(far).collect()
}

fn none_or(cpus: &CpuSet) -> String {
    if cpus.is_empty() { "none".to_owned() } else { format!("CPU {cpus}") }
}
