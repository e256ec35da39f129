//! Others at the same knobs: programs that set them again, files that will, and libraries that make them pointless.

use super::{Rule, View};
use crate::surroundings::{BUSY_POLL, BUSY_READ, RT_RUNTIME};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "irqbalance-alive",
        doc: "irqbalance moves interrupts every ten seconds, also to CPUs that a partition isolates",
        find: irqbalance_alive,
    },
    Rule {
        name: "tuner-alive",
        doc: "another program tunes the machine and takes its own values for the right ones",
        find: tuner_alive,
    },
    Rule { name: "numad-alive", doc: "numad moves tasks and their memory between nodes", find: numad_alive },
    Rule {
        name: "ksmtuned-alive",
        doc: "ksmtuned switches the merging of pages on again",
        find: ksmtuned_alive,
    },
    Rule {
        name: "stalld-and-throttling",
        doc: "stalld switches real-time throttling off when it starts, and boosts what is starved on isolated CPUs",
        find: stalld_and_throttling,
    },
    Rule {
        name: "busy-poll-and-bypass",
        doc: "the kernel's busy polling is pointless for an application that bypasses it",
        find: busy_poll_and_bypass,
    },
    Rule {
        name: "sysctl-line",
        doc: "a file sets a value anew at the next boot, or whenever a package has them read again",
        find: sysctl_line,
    },
];

/// Services that write knobs of ours, with what they write.
const TUNERS: &[(&str, &str)] = &[
    ("tuned", "sysctls, governors, interrupts and affinities by its own profile"),
    ("power-profiles-daemon", "the platform profile and energy preferences"),
    ("tuned-ppd", "TuneD's profile, on behalf of a desktop"),
    ("tlp", "governors, energy preferences and boost"),
    ("auto-cpufreq", "governors and boost"),
    ("thermald", "frequency limits, when it thinks the machine is hot"),
    ("cpupower", "governors, once at its start"),
    ("cpufrequtils", "governors, once at its start"),
    ("ondemand", "governors, once after boot"),
    ("ananicy", "priorities and affinities of programs it knows"),
    ("uksmd", "the merging of pages"),
];

fn irqbalance_alive(view: &View<'_>) -> Vec<String> {
    let wants = view.profile.wants("irq.aff") || view.profile.wants("irq.default");
    let alive = view.surroundings.programs.is_alive("irqbalance");
    if !(wants && alive) {
        return Vec::new();
    }
    let isolated = &view.roles.isolated;
    let own = match isolated.is_empty() {
        true => String::new(),
        false => format!(", or have it leave them out: IRQBALANCE_BANNED_CPULIST={isolated}"),
    };
    vec![format!("irqbalance runs and moves interrupts again: `systemctl disable --now irqbalance`{own}")]
}

fn tuner_alive(view: &View<'_>) -> Vec<String> {
    if view.profile.knobs().next().is_none() {
        return Vec::new();
    }
    let alive = TUNERS.iter().filter(|(name, _)| view.surroundings.programs.is_alive(name));
    alive
        .map(|(name, what)| {
            format!("{name} is alive and sets {what}; two tuners undo each other: `systemctl disable --now {name}`")
        })
        .collect()
}

fn numad_alive(view: &View<'_>) -> Vec<String> {
    if view.profile.wants("mem.numa") && view.surroundings.programs.is_alive("numad") {
        vec![
            "numad runs and moves memory between nodes, against mem.numa: `systemctl disable --now numad`"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

fn ksmtuned_alive(view: &View<'_>) -> Vec<String> {
    let unmerged = view.wish("/sys/kernel/mm/ksm/run").is_some_and(|to| to != "1");
    if unmerged && view.surroundings.programs.is_alive("ksmtuned") {
        vec![
            "ksmtuned runs and switches the merging of pages on again: `systemctl disable --now ksmtuned`"
                .to_owned(),
        ]
    } else {
        Vec::new()
    }
}

fn stalld_and_throttling(view: &View<'_>) -> Vec<String> {
    let wanted = view.wish(RT_RUNTIME).filter(|to| *to != "-1");
    let unguarded = view.wishes.iter().any(|(path, to)| path.contains("/fair_server/") && *to == "0");
    if !view.surroundings.programs.is_alive("stalld") {
        return Vec::new();
    }
    let throttled = wanted.map(|to| {
        format!("stalld is alive and switches throttling off at its start, and kernel.sched_rt_runtime_us is to be {to}")
    });
    let boosted = unguarded.then(|| {
        "stalld is alive and boosts starved threads over a spinner, which iso.fairserver = 0 is meant to prevent".to_owned()
    });
    throttled.into_iter().chain(boosted).collect()
}

/// Modules of libraries that take packets past the kernel.
const BYPASSES: &[(&str, &str)] = &[
    ("onload", "Onload"),
    ("sfc_char", "ef_vi"),
    ("igb_uio", "DPDK"),
    ("vfio_pci", "DPDK or another user-space driver"),
    ("uio_pci_generic", "DPDK or another user-space driver"),
    ("exanic", "ExaNIC"),
];

fn busy_poll_and_bypass(view: &View<'_>) -> Vec<String> {
    let polls = [BUSY_POLL, BUSY_READ].into_iter().find(|path| view.wish(path).is_some_and(|to| to != "0"));
    let bypass = BYPASSES.iter().find(|(module, _)| view.surroundings.modules.contains(*module));
    let (Some(path), Some((module, library))) = (polls, bypass) else { return Vec::new() };
    vec![format!(
        "{path} is to be set and module {module} is loaded ({library}): its sockets never reach the kernel's polling, which \
         then only burns the CPU of others"
    )]
}

fn sysctl_line(view: &View<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (path, to) in &view.wishes {
        let line = view.surroundings.sysctl.deciding(path);
        let Some((line, value)) = line.and_then(|line| Some((line, line.value.as_deref()?))) else {
            continue;
        };
        if host::sysctl::same_value(value, to) {
            continue;
        }
        found.push(format!(
            "{}:{} sets {path} to {value} at each boot and whenever it is read again, against {to}: change or remove the line",
            line.file, line.line
        ));
    }
    found
}
