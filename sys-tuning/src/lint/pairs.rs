//! Two values that exclude each other, undo each other, or are pointless together.

use units::CpuSet;

use super::{Rule, View};
use crate::profile::Value;
use crate::surroundings::{
    BOOST, NMI_WATCHDOG, NO_TURBO, RCU_EXPEDITED, RCU_NORMAL, RT_RUNTIME, THP, THP_SHMEM,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "dirty-background-above-limit",
        doc: "the background limit of dirty memory is not below the limit: the kernel takes half of the limit then",
        find: dirty_background_above_limit,
    },
    Rule {
        name: "rcu-normal-and-expedited",
        doc: "grace periods are to be normal and expedited at once: the kernel takes both and keeps to the first",
        find: rcu_normal_and_expedited,
    },
    Rule {
        name: "thp-never-and-shmem",
        doc: "no transparent huge pages, except for shared memory: khugepaged goes on running for those",
        find: thp_never_and_shmem,
    },
    Rule {
        name: "throttled-spinner",
        doc: "a real-time thread spins, and real-time throttling takes its CPU for a part of each period",
        find: throttled_spinner,
    },
    Rule {
        name: "fair-server-without-throttling",
        doc: "throttling is off and the fair server still stops a spinning real-time thread",
        find: fair_server_without_throttling,
    },
    Rule {
        name: "no-fair-server-with-throttling",
        doc: "the fair server is off and throttling still stops a spinning real-time thread",
        find: no_fair_server_with_throttling,
    },
    Rule {
        name: "timers-stay-on-isolated",
        doc: "timers that were armed on isolated CPUs cannot leave them; guides disagree about kernel.timer_migration",
        find: timers_stay_on_isolated,
    },
    Rule {
        name: "huge-at-run-time-and-boot",
        doc: "a pool of huge pages has one size at boot and another, smaller one at run time",
        find: huge_at_run_time_and_boot,
    },
    Rule {
        name: "boot-argument-elsewhere",
        doc: "an argument stands on the boot line already, by another hand and with another value",
        find: boot_argument_elsewhere,
    },
    Rule {
        name: "tsc-reliable-and-nowatchdog",
        doc: "tsc=reliable and tsc=nowatchdog: the later word wins, and they differ in more than the watchdog",
        find: tsc_reliable_and_nowatchdog,
    },
    Rule {
        name: "idle-poll-and-boost",
        doc: "idle=poll keeps every core awake, so that none has the head-room that boost needs",
        find: idle_poll_and_boost,
    },
    Rule {
        name: "epp-without-driver",
        doc: "an energy preference is wanted of a frequency driver that the boot line switches off",
        find: epp_without_driver,
    },
    Rule {
        name: "watchdog-off-and-on",
        doc: "the boot line switches the watchdogs off and a run-time setting switches one on",
        find: watchdog_off_and_on,
    },
];

fn told(is_so: bool, sentence: impl FnOnce() -> String) -> Vec<String> {
    if is_so { vec![sentence()] } else { Vec::new() }
}

fn dirty_background_above_limit(view: &View<'_>) -> Vec<String> {
    let integer = |attribute: &str| match view.profile.setting("mem.dirty", attribute)?.value {
        Value::Integer(number) => Some(number),
        _ => None,
    };
    let above = |(limit, background): (&str, &str)| {
        let (limit, background) = (integer(limit)?, integer(background)?);
        (background >= limit).then(|| {
            format!(
                "mem.dirty: the background limit {background} is not below the limit {limit}; the kernel then acts as if \
                 it were half of it"
            )
        })
    };
    [("ratio", "background_ratio"), ("bytes", "background_bytes")].into_iter().filter_map(above).collect()
}

fn rcu_normal_and_expedited(view: &View<'_>) -> Vec<String> {
    let is_on =
        |path: &str, argument: &str| view.value(path) == Some("1") || view.argument(argument) == Some("1");
    let wants = [RCU_NORMAL, RCU_EXPEDITED].iter().any(|path| view.wish(path) == Some("1"))
        || view.argument("rcupdate.rcu_normal_after_boot") == Some("1");
    let normal = is_on(RCU_NORMAL, "rcupdate.rcu_normal")
        || view.argument("rcupdate.rcu_normal_after_boot") == Some("1");
    let expedited = is_on(RCU_EXPEDITED, "rcupdate.rcu_expedited");
    told(wants && normal && expedited, || {
        "RCU grace periods are to be normal and expedited: normal wins, so let go of rcu_expedited".to_owned()
    })
}

fn thp_never_and_shmem(view: &View<'_>) -> Vec<String> {
    let never = view.wish(THP) == Some("never");
    let shared = view.value(THP_SHMEM).filter(|word| !["never", "deny"].contains(word));
    let runs = view.surroundings.programs.runs("khugepaged");
    match shared {
        Some(word) if never => vec![format!(
            "mem.thp is never, and shmem_enabled is {word}: shared memory still gets huge pages{}",
            if runs { ", and khugepaged runs" } else { "" }
        )],
        // It ends with the last kind of huge page; one that runs on although both are off was left by an unfinished write.
        None if never && runs && view.surroundings.now.get(THP).is_some_and(|word| word == "never") => {
            vec!["mem.thp is never, and khugepaged runs all the same: something else starts it".to_owned()]
        }
        _ => Vec::new(),
    }
}

/// The share of real-time threads as it will be; `None` where the kernel does not tell.
fn rt_runtime(view: &View<'_>) -> Option<i64> {
    view.value(RT_RUNTIME)?.parse().ok()
}

fn throttled_spinner(view: &View<'_>) -> Vec<String> {
    let Some(runtime) = rt_runtime(view).filter(|runtime| *runtime >= 0) else { return Vec::new() };
    let spinner =
        view.surroundings.realtime.iter().find(|thread| view.roles.isolated.contains(thread.stat.cpu));
    let Some(thread) = spinner else { return Vec::new() };
    vec![format!(
        "real-time thread {:?} (process {}) runs on isolated CPU {}, and throttling lets it run {runtime} us of each \
         period; iso.rtthrottle = {{ runtime_us = -1 }} lifts that, or let it spin in the ordinary class",
        thread.stat.name, thread.pid, thread.stat.cpu
    )]
}

/// The CPUs whose fair server is to be taken away. A host has hundreds of CPUs and as many wishes: one pass over these.
fn without_fair_server(view: &View<'_>) -> CpuSet {
    let taken = view.wishes.iter().filter(|(_, to)| *to == "0");
    taken.filter_map(|(path, _)| host::rt::cpu_of_fair_server(path)).collect()
}

fn fair_server_without_throttling(view: &View<'_>) -> Vec<String> {
    let unlimited = view.wish(RT_RUNTIME) == Some("-1");
    let isolated = view.roles.isolated.iter();
    let served = isolated.filter(|cpu| view.facts.is_fair_served(*cpu)).collect::<CpuSet>();
    let served = served.difference(&without_fair_server(view));
    told(unlimited && !served.is_empty(), || {
        format!(
            "iso.rtthrottle is -1, and the fair server still stops a spinning real-time thread on CPU {served}: see \
             iso.fairserver"
        )
    })
}

fn no_fair_server_with_throttling(view: &View<'_>) -> Vec<String> {
    let taken = without_fair_server(view).intersection(&view.roles.online);
    let runtime = rt_runtime(view).filter(|runtime| *runtime >= 0);
    told(runtime.is_some() && !taken.is_empty(), || {
        format!(
            "iso.fairserver is 0 on CPU {taken}, and throttling still stops a real-time thread there after {} us: see \
             iso.rtthrottle",
            runtime.unwrap_or_default()
        )
    })
}

fn timers_stay_on_isolated(view: &View<'_>) -> Vec<String> {
    let stays = view.flag("iso.timermig", "enabled") == Some(false);
    let isolated = &view.roles.isolated;
    told(stays && !isolated.is_empty(), || {
        format!(
            "iso.timermig is false: timers armed on CPU {isolated} stay there (TuneD network-latency wants it so; \
             cluster-node-tuning-operator does not, because isolated CPUs cannot be evacuated)"
        )
    })
}

fn huge_at_run_time_and_boot(view: &View<'_>) -> Vec<String> {
    let counts = |knob: &str, size: &str| match &view.profile.setting(knob, size)?.value {
        Value::Nodes(counts) => Some(counts.clone()),
        _ => None,
    };
    let mut found = Vec::new();
    for size in ["2M", "1G"] {
        let boot = counts("mem.hugeboot", size).unwrap_or_default();
        for (node, pages) in counts("mem.huge", size).unwrap_or_default() {
            let at_boot = boot.iter().find(|(other, more)| *other == node && *more > pages);
            found.extend(at_boot.map(|(_, taken)| {
                format!(
                    "{node}: {taken} pages of {size} are taken at boot and {pages} wanted at run time: what boot took is \
                     given back at once"
                )
            }));
        }
    }
    found
}

fn boot_argument_elsewhere(view: &View<'_>) -> Vec<String> {
    let state =
        view.facts.boot.as_ref().and_then(|boot| boot.state.as_ref()).filter(|state| state.is_running());
    let ours = state.map_or(String::new(), |state| state.line().arguments.clone());
    let mut found = Vec::new();
    for argument in &view.arguments {
        let Some((name, to)) = argument.split_once('=') else { continue };
        // Counts of huge pages come once a size.
        if name == "hugepagesz" || ours.split(' ').any(|word| word.starts_with(&format!("{name}="))) {
            continue;
        }
        found.extend(view.booted(name).filter(|stands| *stands != to).map(|stands| {
            format!(
                "{name}={stands} is on the boot line already, put there by somebody else, and {name}={to} is to come: take \
                 the first out of the boot loader's own configuration"
            )
        }));
    }
    found
}

fn tsc_reliable_and_nowatchdog(view: &View<'_>) -> Vec<String> {
    let planned = view.arguments.iter().filter_map(|argument| argument.strip_prefix("tsc="));
    let booted = view.surroundings.cmdline.iter().flat_map(|line| &line.arguments);
    let booted = booted.filter(|one| one.name == "tsc").filter_map(|one| one.value.as_deref());
    let words: Vec<&str> = planned.chain(booted).collect();
    told(words.contains(&"reliable") && words.contains(&"nowatchdog"), || {
        "tsc=reliable and tsc=nowatchdog: keep reliable; the other left a timer that caused latency on RHEL 9 \
         (cluster-node-tuning-operator PR 756)"
            .to_owned()
    })
}

fn idle_poll_and_boost(view: &View<'_>) -> Vec<String> {
    let polls = view.argument("idle").or_else(|| view.booted("idle")) == Some("poll");
    let boosts = view.wish(NO_TURBO) == Some("0") || view.wish(BOOST) == Some("1");
    told(polls && boosts, || {
        "idle=poll keeps every core at work, and boost is wanted: no core has the head-room for it \
         (Documentation/timers/no_hz.rst)"
            .to_owned()
    })
}

fn epp_without_driver(view: &View<'_>) -> Vec<String> {
    let is_off = |name: &str| view.argument(name).or_else(|| view.booted(name)) == Some("disable");
    let driver = ["intel_pstate", "amd_pstate"].into_iter().find(|name| is_off(name));
    let wanted = view.wishes.iter().any(|(path, _)| path.ends_with("/energy_performance_preference"));
    let sentence = |driver: &str| {
        format!("{driver}=disable takes the driver away that energy_performance_preference is a setting of")
    };
    driver.filter(|_| wanted).map(sentence).into_iter().collect()
}

fn watchdog_off_and_on(view: &View<'_>) -> Vec<String> {
    let off = view.argument("nowatchdog").is_some() || view.argument("nmi_watchdog") == Some("0");
    let on = [NMI_WATCHDOG, "/proc/sys/kernel/watchdog", "/proc/sys/kernel/soft_watchdog"];
    let on = on.into_iter().find(|path| view.wish(path) == Some("1"));
    let sentence = |path: &str| format!("the boot line switches the watchdogs off, and {path} is to be 1");
    on.filter(|_| off).map(sentence).into_iter().collect()
}
