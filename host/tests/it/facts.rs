//! Every reader run over one tree, its answers as text under a key: what the tests of whole trees compare.

use std::collections::BTreeMap;
use std::fmt::Debug;

use host::boot::{Boot, Cmdline};
use host::cgroups::GroupName;
use host::clocksource::Clocksource;
use host::cpuinfo::CpuInfo;
use host::cpus::Cpus;
use host::irqs::Counts;
use host::rt::Throttling;
use host::{
    Error, Root, cgroups, choice, cpufreq, cpuidle, cpus, energy_bias, hugepages, irqs, memory, numa,
    platform_profile, pm_qos, process, pstate, resctrl, rt, scheduling, stat, sysctl, tasks, uncore,
    workqueues,
};
use units::CpuId;

/// What one tree says, key by key; an unreadable file is its own answer.
pub type Facts = BTreeMap<String, Result<String, Error>>;

/// Settings below `/proc/sys`; one with blanks in its value among them.
const SETTINGS: [&str; 4] =
    ["vm.swappiness", "vm.dirty_ratio", "kernel.timer_migration", "net.ipv4.tcp_rmem"];

/// Where selectors with a bracketed word stand.
const THP: &str = "/sys/kernel/mm/transparent_hugepage";

/// All that the readers say about `root`.
pub fn all(root: &Root) -> Facts {
    let mut facts = Facts::new();
    for part in [machine, processors, memories, interrupts, power, groups, threads] {
        part(root, &mut facts);
    }
    facts
}

fn put<T>(facts: &mut Facts, key: impl Into<String>, fact: Result<T, Error>, text: impl Fn(T) -> String) {
    facts.insert(key.into(), fact.map(text));
}

fn debug<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

fn machine(root: &Root, facts: &mut Facts) {
    put(facts, "boot", Boot::read(root), debug);
    put(facts, "boot.cmdline", Cmdline::read(root), |line| {
        format!(
            "{} arguments, isolcpus {:?}, quiet {:?}",
            line.arguments.len(),
            line.last("isolcpus"),
            line.last("quiet")
        )
    });
    put(facts, "clocksource", Clocksource::read(root), |c| {
        format!("{} of {}", c.current, c.available.join(" "))
    });
    put(facts, "cpuinfo", CpuInfo::read(root), |info| {
        let (tsc, is_virtual) = (info.has_invariant_tsc(), info.is_virtual());
        format!("{}, invariant {tsc:?}, virtual {is_virtual:?}", info.model_name.unwrap_or_default())
    });
    for name in SETTINGS {
        put(facts, format!("sysctl.{name}"), sysctl::read(root, name), |text| text);
    }
    for name in ["enabled", "defrag", "shmem_enabled"] {
        put(facts, format!("thp.{name}"), choice::read(root, &format!("{THP}/{name}")), |c| {
            format!("{} of {}", c.current, c.options.join(" "))
        });
    }
    put(facts, "rt", Throttling::read(root), debug);
    put(facts, "rt.fair_server.cpu1", rt::fair_server_runtime(root, CpuId(1)), debug);
}

fn processors(root: &Root, facts: &mut Facts) {
    put(facts, "cpus.smt", cpus::smt(root), debug);
    put(facts, "stat", stat::per_cpu(root), |all| {
        format!("{} CPUs, busy {:?}", all.len(), busy_since_boot(&all))
    });
    let cpus = Cpus::read(root);
    let online = cpus.as_ref().map(|cpus| cpus.online.clone()).unwrap_or(units::CpuSet::empty());
    put(facts, "cpus", cpus, |cpus| {
        let (possible, present, offline) = (&cpus.possible, &cpus.present, &cpus.offline);
        let (online, isolated, full) = (&cpus.online, &cpus.isolated, &cpus.nohz_full);
        let housekeeping = cpus.housekeeping();
        format!(
            "possible {possible}, present {present}, offline [{offline}], online {online}, isolated [{isolated}], \
             nohz_full {full:?}, housekeeping {housekeeping}"
        )
    });
    for cpu in online.iter() {
        put(facts, format!("cpus.cpu{cpu}"), cpus::place(root, cpu), debug);
        put(facts, format!("pm_qos.cpu{cpu}"), pm_qos::resume_latency(root, cpu), debug);
        put(facts, format!("cpuidle.cpu{cpu}"), cpuidle::states(root, cpu), |states| {
            debug(states.map(|all| {
                all.iter().map(|s| (s.name.clone(), s.exit_latency, s.disabled)).collect::<Vec<_>>()
            }))
        });
    }
}

fn busy_since_boot(all: &BTreeMap<CpuId, stat::Spent>) -> Vec<bool> {
    let busy =
        |spent: &stat::Spent| spent.shares_since(&stat::Spent::default()).is_some_and(|s| s.busy > 0.5);
    all.values().map(busy).collect()
}

fn memories(root: &Root, facts: &mut Facts) {
    put(facts, "memory", memory::Memory::read(root), debug);
    put(facts, "numa.nodes", numa::nodes(root), debug);
    for id in numa::nodes(root).unwrap_or_default() {
        put(facts, format!("numa.{id}"), numa::node(root, id), debug);
        for size in hugepages::sizes(root).unwrap_or_default() {
            put(facts, format!("hugepages.{id}.{size}"), hugepages::pool(root, Some(id), size), debug);
        }
    }
    for size in hugepages::sizes(root).unwrap_or_default() {
        put(facts, format!("hugepages.{size}"), hugepages::pool(root, None, size), debug);
    }
    put(facts, "hugepages.sizes", hugepages::sizes(root), debug);
}

fn interrupts(root: &Root, facts: &mut Facts) {
    put(facts, "irqs.default", irqs::default_affinity(root), debug);
    put(facts, "irqs.counts", Counts::read(root), |counts| {
        let timer: Vec<_> = counts.cpus.iter().map(|cpu| counts.on("LOC", *cpu)).collect();
        format!("{} rows, LOC {timer:?}, totals {:?}", counts.rows.len(), counts.totals)
    });
    let lines = irqs::lines(root);
    for line in lines.iter().flatten() {
        put(facts, format!("irqs.{:03}", line.irq.0), irqs::Place::read(root, line.irq), |place| {
            format!("{} | {} | {:?}", line.identity, place.affinity, place.effective)
        });
    }
    put(facts, "irqs", lines, |lines| {
        let distinct = lines.iter().map(|line| &line.identity).collect::<std::collections::BTreeSet<_>>();
        format!("{} lines, {} identities", lines.len(), distinct.len())
    });
    put(facts, "workqueues", workqueues::limits(root), debug);
    put(facts, "workqueues.queues", workqueues::queues(root), |queues| {
        debug(queues.into_iter().map(|queue| (queue.name, queue.cpus)).collect::<Vec<_>>())
    });
}

fn power(root: &Root, facts: &mut Facts) {
    put(facts, "cpufreq", cpufreq::scaling(root), debug);
    put(facts, "cpufreq.boost", cpufreq::boost(root), debug);
    put(facts, "cpuidle.driver", cpuidle::driver(root), debug);
    put(facts, "cpuidle.governor", cpuidle::governor(root), debug);
    put(facts, "energy_bias.cpu1", energy_bias::read(root, CpuId(1)), debug);
    put(facts, "platform_profile", platform_profile::read(root), debug);
    put(facts, "pstate.amd", pstate::amd(root), debug);
    put(facts, "pstate.intel", pstate::intel(root), debug);
    put(facts, "resctrl", resctrl::allocation(root), debug);
    put(facts, "resctrl.cache.cpu1", resctrl::cache_of(root, CpuId(1)), debug);
    put(facts, "resctrl.groups", resctrl::groups(root), debug);
    put(facts, "uncore", uncore::domains(root), debug);
}

fn groups(root: &Root, facts: &mut Facts) {
    put(facts, "cgroups.own", cgroups::own(root), |all| {
        debug(all.into_iter().map(|m| format!("{}:{}", m.controllers.join(","), m.group)).collect::<Vec<_>>())
    });
    let found = cgroups::hierarchies(root);
    let hierarchies = found.as_deref().unwrap_or_default();
    if let Some(cpuset) = cgroups::with_controller(hierarchies, "cpuset") {
        put(facts, "cgroups.cpuset", cgroups::cpuset(root, cpuset, &GroupName::root()), debug);
        put(facts, "cgroups.isolated", cgroups::isolated(root, cpuset), debug);
        put(facts, "cgroups.procs", cgroups::procs(root, cpuset, &GroupName::root()), |pids| {
            format!("the first process is among them: {}", pids.contains(&tasks::Pid(1)))
        });
        if let Ok(name) = "trading".parse() {
            put(facts, "cgroups.cpuset.trading", cgroups::cpuset(root, cpuset, &name), debug);
        }
    }
    put(facts, "cgroups", found, |all| {
        debug(
            all.into_iter()
                .map(|h| format!("{:?} {} {}", h.version, h.mount, h.controllers.join(",")))
                .collect::<Vec<_>>(),
        )
    });
}

fn threads(root: &Root, facts: &mut Facts) {
    put(facts, "process.memory", process::Memory::own(root), debug);
    put(facts, "process.limits", process::Limits::own(root), debug);
    put(facts, "tasks.own", tasks::own(root), |tasks| {
        debug(
            tasks
                .into_iter()
                .map(|t| (t.stat.name, t.stat.state, t.stat.class, t.allowed))
                .collect::<Vec<_>>(),
        )
    });
    put(facts, "tasks.realtime", tasks::running_realtime(root), |all| {
        debug(
            all.into_iter()
                .map(|o| (o.stat.name, o.stat.class, o.stat.rt_priority, o.stat.cpu))
                .collect::<Vec<_>>(),
        )
    });
    let of_a_cpu = |name: &str| name.contains('/');
    put(facts, "scheduling.kernel_threads", scheduling::kernel_threads(root, of_a_cpu), |threads| {
        let told = |thread: &scheduling::KernelThread| format!("{} {}", thread.name, thread.schedule);
        threads.iter().map(told).collect::<Vec<_>>().join(", ")
    });
    for pid in captured(root) {
        put(facts, format!("tasks.{pid:03}"), tasks::of(root, tasks::Pid(pid)), |tasks| {
            debug(
                tasks
                    .into_iter()
                    .map(|t| (t.stat.name, t.stat.is_kernel, t.stat.is_bound, t.allowed))
                    .collect::<Vec<_>>(),
            )
        });
    }
}

/// The processes a capture holds; on a running machine they are too many, and come and go.
fn captured(root: &Root) -> Vec<u32> {
    let names = if root.is_system() { Vec::new() } else { root.list("/proc").unwrap_or_default() };
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
