//! Every rule, where it fires and where it is silent: one table, on a machine of four CPUs that two threads share a core of.

use std::collections::BTreeSet;

use config::{Document, Mistakes, Section};
use host::boot::Cmdline;
use host::conf_files::ConfFile;
use host::cpus::Cpus;
use host::interfaces::Interface;
use host::numa::NodeId;
use host::sysctl_d::Assignments;
use host::tasks::{Class, Occupant, Pid, Stat};
use units::{CpuId, CpuSet, Nanos};

use super::*;
use crate::boot::BootFacts;
use crate::facts::DeviceNode;
use crate::surroundings::{BUSY_POLL, RCU_EXPEDITED, RCU_NORMAL, RT_RUNTIME, THP, THP_SHMEM};
use crate::survey::draft;
use crate::trading::Trading;

/// A machine and what is wanted of it.
#[derive(Default)]
struct Case {
    /// The profile behind its schema.
    profile: &'static str,
    /// What knobs would come to, beside what the profile's own come to.
    wishes: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    now: &'static [(&'static str, &'static str)],
    programs: &'static [&'static str],
    modules: &'static [&'static str],
    sysctl: Option<(&'static str, &'static str)>,
    cmdline: &'static str,
    /// The CPU of a SCHED_FIFO thread that is at work.
    spinner: Option<u16>,
    /// `isolcpus=` and `nohz_full=` of this boot.
    booted: Option<(&'static str, &'static str)>,
    siblings: &'static [&'static str],
    nic_node: Option<u16>,
    fair_served: &'static str,
    /// The trading windows of the policy.
    trading: &'static str,
}

impl Case {
    /// What `rule` says; the other rules may say what they like.
    fn told(&self, rule: &str) -> Vec<String> {
        let cpus = |text: &str| text.parse::<CpuSet>().unwrap();
        let (isolated, tickless) = self.booted.unwrap_or(("", ""));
        let facts = Facts {
            cpus: Some(Cpus {
                possible: cpus("0-3"),
                present: cpus("0-3"),
                online: cpus("0-3"),
                offline: CpuSet::empty(),
                isolated: cpus(isolated),
                nohz_full: Some(cpus(tickless)),
            }),
            sibling_groups: self.siblings.iter().map(|group| cpus(group)).collect(),
            device_nodes: vec![
                DeviceNode { id: NodeId(0), devices: 1, cpus: cpus("0-1") },
                DeviceNode { id: NodeId(1), devices: 1, cpus: cpus("1-3") },
            ],
            boot: Some(BootFacts::ready()),
            fair_served: Some(cpus(self.fair_served)),
            ..Facts::default()
        };
        let name = |name: &&str| (*name).to_owned();
        let mut surroundings = Surroundings {
            modules: self.modules.iter().map(name).collect(),
            interfaces: self.nic_node.map(card).into_iter().collect(),
            sysctl: Assignments::of(&self.sysctl.into_iter().map(file).collect::<Vec<_>>()),
            cmdline: Some(Cmdline::parse(self.cmdline)),
            realtime: self.spinner.map(spinner).into_iter().collect(),
            now: self.now.iter().map(|(path, value)| (*path, (*value).to_owned())).collect(),
            trading: trading(self.trading),
            ..Surroundings::default()
        };
        surroundings.programs.processes =
            self.programs.iter().map(|program| (name(program), Pid(7))).collect();
        let text = format!("schema = \"quell.profile/1\"\n{}", self.profile);
        let profile = Profile::parse("p", &text).unwrap_or_else(|error| panic!("{error}"));
        let roles = Roles::divide(&facts, &profile.isolated, profile.own_partition());
        let draft = draft(&facts, &roles, &profile);
        let own = draft.wishes.iter().filter_map(|wish| Some((wish.cell.path.as_str(), wish.to.as_deref()?)));
        let view = View {
            profile: &profile,
            facts: &facts,
            roles: &roles,
            surroundings: &surroundings,
            wishes: own.chain(self.wishes.iter().copied()).collect(),
            arguments: draft
                .arguments
                .iter()
                .map(|asked| asked.argument.as_str())
                .chain(self.arguments.iter().copied())
                .collect(),
        };
        let found = contradictions(&view).into_iter().filter(|found| found.rule == rule);
        found.map(|found| found.reason).collect()
    }
}

fn trading(text: &str) -> Trading {
    let document = Document::parse("policy", text).unwrap();
    let mistakes = Mistakes::default();
    let trading = Trading::parse(&Section::top(std::slice::from_ref(&document), &mistakes));
    mistakes.into_result(trading).unwrap()
}

/// A file that sets this on its third line.
fn file((path, value): (&str, &str)) -> ConfFile {
    let name = path.trim_start_matches("/proc/sys/");
    ConfFile { path: "/etc/sysctl.d/a.conf".to_owned(), text: format!("# ours\n\n{name} = {value}\n") }
}

fn card(node: u16) -> Interface {
    Interface {
        name: "eth0".to_owned(),
        index: 2,
        identity: "0000:3b:00.0".to_owned(),
        driver: Some("sfc".to_owned()),
        node: Some(NodeId(node)),
        queues: Vec::new(),
    }
}

fn spinner(cpu: u16) -> Occupant {
    let stat = Stat {
        tid: Pid(71),
        name: "engine".to_owned(),
        state: 'R',
        class: Class::Fifo,
        rt_priority: 50,
        cpu: CpuId(cpu),
        start_ticks: 1,
        is_kernel: false,
        is_bound: false,
        cpu_time: Nanos::ZERO,
    };
    Occupant { pid: Pid(70), stat }
}

/// A rule, a case, and what it says there; nothing where the rule is kept.
type Row = (&'static str, Case, &'static str);

const TWO: &str = "[cpus]\nisolated = '2-3'\n[knobs]\n";

/// The profile of CPUs 2-3 with these knobs.
macro_rules! two {
    ($knobs:literal) => {
        concat!("[cpus]\nisolated = '2-3'\n[knobs]\n", $knobs)
    };
}

fn on_cpus() -> Vec<Row> {
    let of = |profile| Case { profile, ..Case::default() };
    vec![
        (
            "siblings-split",
            Case { siblings: &["0-1", "2-3"], ..of("[cpus]\nisolated = '3'") },
            "CPU 3 is isolated and shares its core with CPU 2, which is not",
        ),
        ("siblings-split", Case { siblings: &["0-1", "2-3"], ..of(TWO) }, ""),
        (
            "nohz-not-isolcpus",
            of(two!("'iso.isolcpus' = { cpus = 'isolated' }\n'iso.nohz' = { cpus = '3' }")),
            "isolcpus= is CPU 2-3 and nohz_full= is CPU 3: the kernel drops one of two lists that do not match",
        ),
        (
            "nohz-not-isolcpus",
            of(two!("'iso.isolcpus' = { cpus = 'isolated' }\n'iso.nohz' = { cpus = 'isolated' }")),
            "",
        ),
        (
            "nohz-not-isolcpus",
            Case { booted: Some(("2-3", "1-3")), ..of("") },
            "isolcpus= is CPU 2-3 and nohz_full= is CPU 1-3: this boot was made so, and the profile does not say otherwise",
        ),
        ("nohz-not-isolcpus", Case { booted: Some(("2-3", "2-3")), ..of("") }, ""),
        ("nohz-not-isolcpus", Case { booted: Some(("", "2-3")), ..of("") }, ""), // a partition may do the rest
        (
            "rcu-not-nohz",
            of(two!("'iso.nohz' = { cpus = 'isolated' }\n'iso.rcu' = { cpus = '3' }")),
            "rcu_nocbs= leaves out CPU 2, which nohz_full= has",
        ),
        (
            "rcu-not-nohz",
            of(two!("'iso.nohz' = { cpus = 'isolated' }\n'iso.rcu' = { cpus = 'isolated' }")),
            "",
        ),
        (
            "boot-lists-not-isolated",
            of(two!("'iso.nohz' = { cpus = '3' }")),
            "nohz_full= is CPU 3, and the profile isolates CPU 2-3",
        ),
        ("boot-lists-not-isolated", of(two!("'iso.nohz' = { cpus = '2-3' }")), ""),
        ("boot-lists-not-isolated", of("[knobs]\n'iso.nohz' = { cpus = '3' }"), ""), // auto: as the next boot will be
        (
            "partition-not-isolcpus",
            Case {
                booted: Some(("3", "")),
                ..of(two!("'iso.cpuset2' = { cpus = 'isolated', partition = 'isolated' }"))
            },
            "the partition of iso.cpuset2 is CPU 2-3 and isolcpus= is CPU 3: what is in one only is not out of everybody's \
             reach",
        ),
        (
            "partition-not-isolcpus",
            Case {
                booted: Some(("2-3", "")),
                ..of(two!("'iso.cpuset2' = { cpus = 'isolated', partition = 'isolated' }"))
            },
            "",
        ),
        (
            "partition-not-isolcpus",
            of(two!("'iso.cpuset2' = { cpus = 'isolated', partition = 'isolated' }")),
            "",
        ),
        (
            "irq-default-on-isolated",
            of(two!("'irq.default' = { cpus = '1-2' }")),
            "irq.default sends new interrupts to CPU 2, which the profile isolates",
        ),
        ("irq-default-on-isolated", of(two!("'irq.default' = { cpus = 'housekeeping' }")), ""),
        (
            "irq-default-on-isolated",
            of(two!("'irq.default' = { boot = 'all' }")),
            "irq.default sends new interrupts to CPU 2-3, which the profile isolates",
        ),
        (
            "irq-on-isolated",
            of(two!("'irq.aff' = { cpus = 'all' }")),
            "irq.aff sends interrupts to CPU 2-3, which the profile isolates",
        ),
        ("irq-on-isolated", of(two!("'irq.aff' = { cpus = '0-1' }")), ""),
        (
            "work-on-isolated",
            of(two!("'iso.wq' = { cpus = '0-2' }\n'iso.tasks' = { cpus = 'housekeeping' }")),
            "iso.wq allows work of others on CPU 2, which the profile isolates",
        ),
        (
            "work-on-isolated",
            of(two!("'iso.wq' = { cpus = '0-1' }\n'iso.kthreads' = { cpus = 'housekeeping' }")),
            "",
        ),
        (
            "packets-on-isolated",
            Case { wishes: &[("/sys/class/net/eth0/queues/rx-0/rps_cpus", "1-2")], ..of(TWO) },
            "/sys/class/net/eth0/queues/rx-0/rps_cpus is to name CPU 2, which the profile isolates",
        ),
        (
            "packets-on-isolated",
            Case { wishes: &[("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0")], ..of(TWO) },
            "",
        ),
        (
            "watchdog-on-isolated",
            Case { wishes: &[("/proc/sys/kernel/watchdog_cpumask", "0-3")], ..of(TWO) },
            "kernel.watchdog_cpumask is to have CPU 2-3, which the profile isolates",
        ),
        (
            "watchdog-on-isolated",
            Case { wishes: &[("/proc/sys/kernel/watchdog_cpumask", "0-1")], ..of(TWO) },
            "",
        ),
        (
            "isolated-off-line",
            Case { wishes: &[("/sys/devices/system/cpu/cpu3/online", "0")], ..of(TWO) },
            "CPU 3 is isolated and taken off line: a partition that has it becomes invalid",
        ),
        (
            "isolated-off-line",
            Case { wishes: &[("/sys/devices/system/cpu/cpu1/online", "0")], ..of(TWO) },
            "",
        ),
        (
            "isolated-off-line",
            Case { wishes: &[("/sys/devices/system/cpu/cpu3/online", "1")], ..of(TWO) },
            "",
        ),
        (
            "nic-far-from-engine",
            Case { nic_node: Some(0), ..of(TWO) },
            "eth0 is on node0 (CPU 0-1) and the isolated CPU 2-3 are not: each packet crosses nodes",
        ),
        ("nic-far-from-engine", Case { nic_node: Some(1), ..of(TWO) }, ""),
        ("nic-far-from-engine", Case { nic_node: Some(0), ..of("") }, ""), // nothing is isolated
    ]
}

fn on_pairs() -> Vec<Row> {
    let of = |profile| Case { profile, ..Case::default() };
    let serves = |fair_served| Case { fair_served, ..of(two!("'iso.rtthrottle' = { runtime_us = -1 }")) };
    vec![
        (
            "dirty-background-above-limit",
            of("[knobs]\n'mem.dirty' = { ratio = 5, background_ratio = 5 }"),
            "mem.dirty: the background limit 5 is not below the limit 5; the kernel then acts as if it were half of it",
        ),
        (
            "dirty-background-above-limit",
            of("[knobs]\n'mem.dirty' = { ratio = 5, background_ratio = 4 }"),
            "",
        ),
        (
            "rcu-normal-and-expedited",
            Case { now: &[(RCU_EXPEDITED, "1")], wishes: &[(RCU_NORMAL, "1")], ..of("") },
            "RCU grace periods are to be normal and expedited: normal wins, so let go of rcu_expedited",
        ),
        (
            "rcu-normal-and-expedited",
            Case { arguments: &["rcupdate.rcu_expedited=1", "rcupdate.rcu_normal_after_boot=1"], ..of("") },
            "RCU grace periods are to be normal and expedited: normal wins, so let go of rcu_expedited",
        ),
        (
            "rcu-normal-and-expedited",
            Case { now: &[(RCU_EXPEDITED, "0")], wishes: &[(RCU_NORMAL, "1")], ..of("") },
            "",
        ),
        // As the kernel is, and nobody wants to change it: not the profile's business.
        ("rcu-normal-and-expedited", Case { now: &[(RCU_EXPEDITED, "1"), (RCU_NORMAL, "1")], ..of("") }, ""),
        (
            "thp-never-and-shmem",
            Case {
                now: &[(THP_SHMEM, "within_size")],
                programs: &["khugepaged"],
                ..of("[knobs]\n'mem.thp' = { enabled = 'never' }")
            },
            "mem.thp is never, and shmem_enabled is within_size: shared memory still gets huge pages, and khugepaged runs",
        ),
        (
            "thp-never-and-shmem",
            Case {
                now: &[(THP, "never"), (THP_SHMEM, "never")],
                programs: &["khugepaged"],
                ..of("[knobs]\n'mem.thp' = { enabled = 'never' }")
            },
            "mem.thp is never, and khugepaged runs all the same: something else starts it",
        ),
        (
            "thp-never-and-shmem",
            Case { now: &[(THP_SHMEM, "never")], ..of("[knobs]\n'mem.thp' = { enabled = 'never' }") },
            "",
        ),
        (
            "throttled-spinner",
            Case { spinner: Some(3), now: &[(RT_RUNTIME, "950000")], ..of(TWO) },
            "real-time thread \"engine\" (process 70) runs on isolated CPU 3, and throttling lets it run 950000 us of each \
             period; iso.rtthrottle = { runtime_us = -1 } lifts that, or let it spin in the ordinary class",
        ),
        ("throttled-spinner", Case { spinner: Some(1), now: &[(RT_RUNTIME, "950000")], ..of(TWO) }, ""),
        ("throttled-spinner", Case { spinner: Some(3), now: &[(RT_RUNTIME, "-1")], ..of(TWO) }, ""),
        (
            "throttled-spinner",
            Case {
                spinner: Some(3),
                now: &[(RT_RUNTIME, "950000")],
                ..of(two!("'iso.rtthrottle' = { runtime_us = -1 }"))
            },
            "",
        ),
        (
            "fair-server-without-throttling",
            serves("0-3"),
            "iso.rtthrottle is -1, and the fair server still stops a spinning real-time thread on CPU 2-3: see \
             iso.fairserver",
        ),
        ("fair-server-without-throttling", serves("0-1"), ""),
        (
            "fair-server-without-throttling",
            Case {
                fair_served: "0-3",
                ..of(two!(
                    "'iso.rtthrottle' = { runtime_us = -1 }\n'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }"
                ))
            },
            "",
        ),
        (
            "no-fair-server-with-throttling",
            Case {
                now: &[(RT_RUNTIME, "950000")],
                ..of(two!("'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }"))
            },
            "iso.fairserver is 0 on CPU 2-3, and throttling still stops a real-time thread there after 950000 us: see \
             iso.rtthrottle",
        ),
        (
            "no-fair-server-with-throttling",
            Case {
                now: &[(RT_RUNTIME, "-1")],
                ..of(two!("'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }"))
            },
            "",
        ),
        (
            "timers-stay-on-isolated",
            of(two!("'iso.timermig' = { enabled = false }")),
            "iso.timermig is false: timers armed on CPU 2-3 stay there (TuneD network-latency wants it so; \
             cluster-node-tuning-operator does not, because isolated CPUs cannot be evacuated)",
        ),
        ("timers-stay-on-isolated", of(two!("'iso.timermig' = { enabled = true }")), ""),
        ("timers-stay-on-isolated", of("[knobs]\n'iso.timermig' = { enabled = false }"), ""),
        (
            "huge-at-run-time-and-boot",
            of("[knobs]\n'mem.huge' = { 2M = { node0 = 100 } }\n'mem.hugeboot' = { 2M = { node0 = 101 } }"),
            "node0: 101 pages of 2M are taken at boot and 100 wanted at run time: what boot took is given back at once",
        ),
        (
            "huge-at-run-time-and-boot",
            of("[knobs]\n'mem.huge' = { 2M = { node0 = 100 } }\n'mem.hugeboot' = { 2M = { node0 = 100 } }"),
            "",
        ),
        (
            "boot-argument-elsewhere",
            Case {
                cmdline: "root=/dev/vda isolcpus=1",
                ..of(two!("'iso.isolcpus' = { cpus = 'isolated' }"))
            },
            "isolcpus=1 is on the boot line already, put there by somebody else, and isolcpus=managed_irq,domain,2-3 is to \
             come: take the first out of the boot loader's own configuration",
        ),
        (
            "boot-argument-elsewhere",
            Case {
                cmdline: "isolcpus=managed_irq,domain,2-3 skew_tick=1",
                ..of(two!("'iso.isolcpus' = { cpus = 'isolated' }"))
            },
            "",
        ),
        (
            "tsc-reliable-and-nowatchdog",
            Case { cmdline: "tsc=nowatchdog", arguments: &["tsc=reliable"], ..of("") },
            "tsc=reliable and tsc=nowatchdog: keep reliable; the other left a timer that caused latency on RHEL 9 \
             (cluster-node-tuning-operator PR 756)",
        ),
        (
            "tsc-reliable-and-nowatchdog",
            Case { cmdline: "tsc=reliable", arguments: &["tsc=reliable"], ..of("") },
            "",
        ),
        (
            "idle-poll-and-boost",
            Case {
                cmdline: "idle=poll",
                wishes: &[("/sys/devices/system/cpu/cpufreq/boost", "1")],
                ..of("")
            },
            "idle=poll keeps every core at work, and boost is wanted: no core has the head-room for it \
             (Documentation/timers/no_hz.rst)",
        ),
        (
            "idle-poll-and-boost",
            Case {
                cmdline: "idle=poll",
                wishes: &[("/sys/devices/system/cpu/cpufreq/boost", "0")],
                ..of("")
            },
            "",
        ),
        (
            "epp-without-driver",
            Case {
                arguments: &["intel_pstate=disable"],
                wishes: &[(
                    "/sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference",
                    "performance",
                )],
                ..of("")
            },
            "intel_pstate=disable takes the driver away that energy_performance_preference is a setting of",
        ),
        (
            "epp-without-driver",
            Case {
                arguments: &["intel_pstate=passive"],
                wishes: &[(
                    "/sys/devices/system/cpu/cpufreq/policy0/energy_performance_preference",
                    "performance",
                )],
                ..of("")
            },
            "",
        ),
        (
            "watchdog-off-and-on",
            Case { arguments: &["nowatchdog"], wishes: &[("/proc/sys/kernel/nmi_watchdog", "1")], ..of("") },
            "the boot line switches the watchdogs off, and /proc/sys/kernel/nmi_watchdog is to be 1",
        ),
        (
            "watchdog-off-and-on",
            Case { arguments: &["nowatchdog"], wishes: &[("/proc/sys/kernel/nmi_watchdog", "0")], ..of("") },
            "",
        ),
    ]
}

fn on_rivals() -> Vec<Row> {
    let of = |profile| Case { profile, ..Case::default() };
    let with = |programs, profile| Case { programs, profile, ..Case::default() };
    vec![
        (
            "irqbalance-alive",
            with(&["irqbalance"], two!("'irq.aff' = { cpus = 'housekeeping' }")),
            "irqbalance runs and moves interrupts again: `systemctl disable --now irqbalance`, or have it leave them out: \
             IRQBALANCE_BANNED_CPULIST=2-3",
        ),
        ("irqbalance-alive", with(&["irqbalance"], "[knobs]\n'mem.swap' = { swappiness = 10 }"), ""),
        ("irqbalance-alive", with(&[], two!("'irq.aff' = { cpus = 'housekeeping' }")), ""),
        (
            "tuner-alive",
            with(&["tuned"], "[knobs]\n'mem.swap' = { swappiness = 10 }"),
            "tuned is alive and sets sysctls, governors, interrupts and affinities by its own profile; two tuners undo each \
             other: `systemctl disable --now tuned`",
        ),
        (
            "tuner-alive",
            with(&["power-profiles-"], "[knobs]\n'mem.swap' = { swappiness = 10 }"), // as the kernel cuts it off
            "power-profiles-daemon is alive and sets the platform profile and energy preferences; two tuners undo each \
             other: `systemctl disable --now power-profiles-daemon`",
        ),
        ("tuner-alive", with(&["tuned-adm", "systemd"], "[knobs]\n'mem.swap' = { swappiness = 10 }"), ""),
        ("tuner-alive", with(&["tuned"], ""), ""), // a profile that wants nothing fights nobody
        (
            "numad-alive",
            with(&["numad"], "[knobs]\n'mem.numa' = { balancing = 0 }"),
            "numad runs and moves memory between nodes, against mem.numa: `systemctl disable --now numad`",
        ),
        ("numad-alive", with(&["numad"], "[knobs]\n'mem.swap' = { swappiness = 1 }"), ""),
        (
            "ksmtuned-alive",
            Case { wishes: &[("/sys/kernel/mm/ksm/run", "0")], ..with(&["ksmtuned"], "") },
            "ksmtuned runs and switches the merging of pages on again: `systemctl disable --now ksmtuned`",
        ),
        (
            "ksmtuned-alive",
            Case { wishes: &[("/sys/kernel/mm/ksm/run", "1")], ..with(&["ksmtuned"], "") },
            "",
        ),
        (
            "stalld-and-throttling",
            with(&["stalld"], "[knobs]\n'iso.rtthrottle' = { runtime_us = 950000 }"),
            "stalld is alive and switches throttling off at its start, and kernel.sched_rt_runtime_us is to be 950000",
        ),
        ("stalld-and-throttling", with(&["stalld"], "[knobs]\n'iso.rtthrottle' = { runtime_us = -1 }"), ""),
        (
            "stalld-and-throttling",
            with(&["stalld"], two!("'iso.fairserver' = { cpus = 'isolated', runtime_us = 0 }")),
            "stalld is alive and boosts starved threads over a spinner, which iso.fairserver = 0 is meant to prevent",
        ),
        (
            "busy-poll-and-bypass",
            Case { modules: &["onload"], wishes: &[(BUSY_POLL, "50")], ..of("") },
            "/proc/sys/net/core/busy_poll is to be set and module onload is loaded (Onload): its sockets never reach the \
             kernel's polling, which then only burns the CPU of others",
        ),
        ("busy-poll-and-bypass", Case { modules: &["onload"], wishes: &[(BUSY_POLL, "0")], ..of("") }, ""),
        (
            "busy-poll-and-bypass",
            Case { modules: &["mlx5_core"], wishes: &[(BUSY_POLL, "50")], ..of("") },
            "",
        ),
        (
            "sysctl-line",
            Case {
                sysctl: Some(("/proc/sys/vm/swappiness", "60")),
                ..of("[knobs]\n'mem.swap' = { swappiness = 10 }")
            },
            "/etc/sysctl.d/a.conf:3 sets /proc/sys/vm/swappiness to 60 at each boot and whenever it is read again, against \
             10: change or remove the line",
        ),
        (
            "sysctl-line",
            Case {
                sysctl: Some(("/proc/sys/vm/swappiness", "10")),
                ..of("[knobs]\n'mem.swap' = { swappiness = 10 }")
            },
            "",
        ),
    ]
}

/// A night that ends at 07:30, whose way back is at 07:15, and a market that opens at half past seven and closes at ten.
const NIGHT: &str = "[knobs]\n'mem.swap' = { swappiness = 10 }\n'mem.thp' = { enabled = 'never' }\n[session.night]\n\
                     days = ['mon', 'tue']\nfrom = '22:30'\nto = '07:30'\nzone = 'Europe/Berlin'\n[session.night.knobs]\n\
                     'mem.swap' = { swappiness = 60 }\n'mem.thp' = { enabled = 'always' }\n";

fn on_hours() -> Vec<Row> {
    let within = |trading| Case { trading, ..Case { profile: NIGHT, ..Case::default() } };
    vec![
        (
            "session-edge-in-window",
            within(
                "[[trading]]\nname = 'early'\ndays = ['tue']\nfrom = '06:00'\nto = '07:16'\nzone = 'Europe/Berlin'\n\
                 allow = ['harmless']\n",
            ),
            "session night switches mem.thp (stall) at 2026-01-06 07:15 Europe/Berlin, when trading window early is open \
             and allows harmless: the switch waits for its end",
        ),
        (
            "session-edge-in-window", // 22:30 in Berlin is 16:30 in New York, and 17:30 while only New York has summer time
            within(
                "[[trading]]\nname = 'york'\ndays = ['mon']\nfrom = '16:31'\nto = '17:45'\nzone = 'America/New_York'\n\
                 allow = ['stall']\n",
            ),
            "session night switches mem.swap (harmless) at 2026-03-09 22:30 Europe/Berlin, when trading window york is open \
             and allows stall: the switch waits for its end",
        ),
        (
            "session-edge-in-window", // it opens at the end of the hours: this is what the lead is for
            within(
                "[[trading]]\nname = 'xetra'\ndays = ['tue']\nfrom = '07:16'\nto = '22:00'\nzone = 'Europe/Berlin'\n",
            ),
            "",
        ),
        (
            "session-edge-in-window",
            within(
                "[[trading]]\nname = 'all'\ndays = ['mon', 'tue', 'wed']\nfrom = '00:00'\nto = '00:00'\n\
                 zone = 'Europe/Berlin'\nallow = ['harmless', 'stall']\n",
            ),
            "",
        ),
    ]
}

#[test]
fn each_rule_fires_where_it_is_broken_and_is_silent_where_it_is_kept() {
    let (mut fired, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (rule, case, expected) in on_cpus().into_iter().chain(on_pairs()).chain(on_rivals()).chain(on_hours())
    {
        let told = case.told(rule).join("; ");
        assert_eq!(told, expected, "{rule}: {} {:?}", case.profile, case.wishes);
        if expected.is_empty() {
            silent.insert(rule)
        } else {
            fired.insert(rule)
        };
    }
    let all: BTreeSet<&str> = rules().map(|rule| rule.name).collect();
    assert_eq!(all.len(), rules().count(), "each name once");
    let left: Vec<&&str> = all.difference(&fired).chain(all.difference(&silent)).collect();
    assert_eq!(left, [&""; 0], "each rule has a case of either kind");
}
