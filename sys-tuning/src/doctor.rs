//! Every precondition of tuning and measuring, each with what is lost without it and how it is had.
//!
//! What is read here is read once, by whoever asks, with whatever rights he has; the findings are a pure function of it.
//! Nothing is changed, and nothing is concluded from a file that could not be read. Left out on purpose: whether the knobs
//! hold (`verify`), and how good the machine is (`qualify`).

use host::clocksource::Clocksource;
use host::cpuinfo::CpuInfo;
use host::kernel_config::KernelConfig;
use host::mounts::{self, Mount};
use host::numa::{self, Node};
use host::rights::Rights;
use host::{Error as HostError, Root, choice, if_present};

use crate::boot::{BootFacts, Standing};
use crate::engine::Engine;
use crate::facts::Facts;
use crate::registry;
use crate::roles::{Isolated, Roles};
use crate::surroundings::{RT_RUNTIME, Surroundings};

/// What was found out about one precondition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// What to do, where something can be done.
    pub fix: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Something is lost, and the rest works.
    Notice,
    /// It keeps a profile from being applied or from holding.
    Serious,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Notice => "notice",
            Self::Serious => "serious",
        }
    }
}

impl Engine {
    /// Looks at every precondition. Reads only, and works with whatever rights there are.
    #[must_use]
    pub fn diagnose(&self) -> Vec<Finding> {
        let mut seen = Seen::read(&self.root);
        seen.waits = self.on_trial().ok().flatten().map(|trial| trial.id);
        findings(&seen)
    }
}

/// What the findings are made of.
#[derive(Debug, Default)]
struct Seen {
    facts: Facts,
    surroundings: Surroundings,
    rights: Option<Rights>,
    lockdown: Option<String>,
    /// What each place looked for lies on.
    mounts: Vec<(&'static str, Mount)>,
    config: Option<KernelConfig>,
    release: Option<String>,
    clocksource: Option<Clocksource>,
    cpuinfo: Option<CpuInfo>,
    perf_event_paranoid: Option<i64>,
    nodes: Vec<Node>,
    /// The transaction that waits to be confirmed.
    waits: Option<u64>,
}

impl Seen {
    fn read(root: &Root) -> Self {
        let mounts = ["/", "/sys", "/proc/sys", DEBUGFS, TRACEFS, OLD_TRACEFS].into_iter();
        let number = |path: &str| root.read(path).ok()?.trim().parse().ok();
        let release = root.read("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
        let config = release.as_deref().map(|release| KernelConfig::read(root, release));
        let mut facts = Facts::read(root, registry::all().iter().copied());
        facts.read_siblings(root, &facts.online());
        Self {
            facts,
            surroundings: Surroundings::read(root),
            rights: Rights::own(root).ok(),
            lockdown: lockdown(root).ok().flatten(),
            mounts: mounts.filter_map(|path| Some((path, mounts::of(root, path).ok().flatten()?))).collect(),
            config: config.and_then(|read| read.ok().flatten()),
            release,
            clocksource: Clocksource::read(root).ok(),
            cpuinfo: CpuInfo::read(root).ok(),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            nodes: numa::nodes(root)
                .map(|ids| ids.into_iter().filter_map(|id| numa::node(root, id).ok()).collect())
                .unwrap_or_default(),
            waits: None,
        }
    }

    fn mount(&self, place: &str) -> Option<&Mount> {
        self.mounts.iter().find(|(known, _)| *known == place).map(|(_, mount)| mount)
    }

    fn is_mounted(&self, place: &str) -> bool {
        self.mount(place).is_some_and(|mount| mount.point == place)
    }
}

const DEBUGFS: &str = "/sys/kernel/debug";
const TRACEFS: &str = "/sys/kernel/tracing";
/// Where it is mounted by itself when somebody looks into debugfs.
const OLD_TRACEFS: &str = "/sys/kernel/debug/tracing";

// Format: "none [integrity] confidentiality\n"   (Documentation: man kernel_lockdown.7)
fn lockdown(root: &Root) -> Result<Option<String>, HostError> {
    Ok(if_present(choice::read(root, "/sys/kernel/security/lockdown"))?.map(|choice| choice.current))
}

/// Every finding, in the order in which somebody would put things right.
fn findings(seen: &Seen) -> Vec<Finding> {
    let checks: [fn(&Seen) -> Vec<Finding>; 17] = [
        rights,
        read_only,
        locked_down,
        enclosure,
        rivals,
        clock,
        kernel_options,
        siblings,
        distance,
        paranoia,
        throttling,
        tracing,
        huge_pages,
        loader,
        left_over,
        booted,
        unseen,
    ];
    checks.into_iter().flat_map(|check| check(seen)).collect()
}

fn fine(check: &'static str, what: impl Into<String>) -> Vec<Finding> {
    vec![Finding { check, severity: Severity::Fine, what: what.into(), fix: None }]
}

fn notice(check: &'static str, what: impl Into<String>, fix: &str) -> Finding {
    Finding { check, severity: Severity::Notice, what: what.into(), fix: Some(fix.to_owned()) }
}

fn serious(check: &'static str, what: impl Into<String>, fix: &str) -> Finding {
    Finding { check, severity: Severity::Serious, what: what.into(), fix: Some(fix.to_owned()) }
}

/// The capabilities that knobs need, with what is lost without each.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (21, "CAP_SYS_ADMIN", "sysctls of the scheduler and tracing"),
    (23, "CAP_SYS_NICE", "moving threads"),
    (12, "CAP_NET_ADMIN", "network cards"),
];

fn rights(seen: &Seen) -> Vec<Finding> {
    let Some(rights) = &seen.rights else { return Vec::new() };
    if rights.uid != 0 {
        let what = format!("run as uid {}: kernel files cannot be written", rights.uid);
        return vec![serious("rights", what, "run `quell tune` as root; measuring needs no right")];
    }
    let missing: Vec<Finding> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| rights.effective >> number & 1 == 0)
        .map(|(_, name, lost)| {
            let fix = "run it outside the container, or give the unit the capability (AmbientCapabilities=)";
            serious("rights", format!("root without {name}: no {lost}"), fix)
        })
        .collect();
    if missing.is_empty() { fine("rights", "root with the capabilities that knobs need") } else { missing }
}

fn read_only(seen: &Seen) -> Vec<Finding> {
    let read_only = |point: &&str| seen.mount(point).is_some_and(|mount| mount.is_read_only);
    let fix = "this is a container: tune the host, not from within (or mount them read-write: --privileged)";
    let sealed = ["/sys", "/proc/sys"].into_iter().filter(read_only);
    sealed
        .map(|point| serious("read-only", format!("{point} is mounted read-only: no knob below it"), fix))
        .collect()
}

fn locked_down(seen: &Seen) -> Vec<Finding> {
    match seen.lockdown.as_deref() {
        None | Some("none") => Vec::new(),
        Some(level) => vec![notice(
            "lockdown",
            format!(
                "the kernel is locked down ({level}): debugfs, and with it the fair server, cannot be written"
            ),
            "boot without secure boot, or with lockdown=none where policy allows",
        )],
    }
}

fn enclosure(seen: &Seen) -> Vec<Finding> {
    let (Some(rights), Some(cpus)) = (&seen.rights, &seen.facts.cpus) else { return Vec::new() };
    let shut_out = cpus.housekeeping().difference(&rights.allowed);
    if shut_out.is_empty() {
        return fine("cpuset", "this process may use every housekeeping CPU");
    }
    vec![notice(
        "cpuset",
        format!("a cpuset or an affinity leaves this process CPU {}, not CPU {shut_out}", rights.allowed),
        "start quell outside that slice; AllowedCPUs= of its unit and CPUAffinity= of system.conf decide",
    )]
}

/// Programs that write what profiles write, and whether they keep one from holding.
const RIVALS: &[(&str, &str)] = &[
    ("irqbalance", "moves interrupts every ten seconds"),
    ("tuned", "sets sysctls, governors and affinities"),
    ("power-profiles-daemon", "sets energy preferences"),
    ("tlp", "sets governors and energy preferences"),
    ("auto-cpufreq", "sets governors"),
    ("numad", "moves memory between nodes"),
    ("ksmtuned", "switches the merging of pages on"),
    ("stalld", "switches real-time throttling off and boosts threads"),
    ("thermald", "limits frequencies"),
];

fn rivals(seen: &Seen) -> Vec<Finding> {
    let alive = RIVALS.iter().filter(|(name, _)| seen.surroundings.programs.is_alive(name));
    let found: Vec<Finding> = alive
        .map(|(name, does)| {
            serious(
                "rivals",
                format!("{name} is alive and {does}"),
                &format!("systemctl disable --now {name}"),
            )
        })
        .collect();
    if found.is_empty() { fine("rivals", "no other tuner is alive") } else { found }
}

fn clock(seen: &Seen) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(clock) = seen.clocksource.as_ref().filter(|clock| clock.current != "tsc") {
        let what = format!("the clock source is {}: reading the time is slow", clock.current);
        let fix = match clock.available.iter().any(|name| name == "tsc") {
            true => "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
            false => {
                "the kernel found the TSC unstable or absent: see `dmesg | grep -i tsc`; firmware or hypervisor"
            }
        };
        found.push(notice("clock", what, fix));
    }
    if seen.cpuinfo.as_ref().and_then(CpuInfo::has_invariant_tsc) == Some(false) {
        found.push(notice(
            "clock",
            "the TSC is not invariant: time stamps come from the monotonic clock",
            "expose invtsc to the guest, or measure on the host",
        ));
    }
    let known = seen.clocksource.is_some() && seen.cpuinfo.is_some();
    if found.is_empty() && known { fine("clock", "the TSC is the clock, and invariant") } else { found }
}

/// What isolation needs of the kernel, with what is lost without each.
const OPTIONS: &[(&str, &str)] = &[
    ("NO_HZ_FULL", "isolated CPUs keep their tick (iso.nohz)"),
    ("RCU_NOCB_CPU", "RCU callbacks stay on isolated CPUs (iso.rcu)"),
    ("CPU_ISOLATION", "isolcpus= does nothing (iso.isolcpus)"),
    ("CPUSETS", "no partitions (iso.cpuset2)"),
    ("HUGETLBFS", "no huge pages held (mem.huge)"),
    ("HIGH_RES_TIMERS", "timers are as coarse as the tick"),
];

fn kernel_options(seen: &Seen) -> Vec<Finding> {
    let Some(config) = &seen.config else {
        let what = format!(
            "what kernel {} was built with is not told (/proc/config.gz, /boot/config-*)",
            seen.release.as_deref().unwrap_or("(unknown)")
        );
        return vec![notice(
            "kernel",
            what,
            "install the kernel's config file; plan and verify see effects without it",
        )];
    };
    let missing = OPTIONS.iter().filter(|(option, _)| config.value(option).is_none());
    let found: Vec<Finding> = missing
        .map(|(option, lost)| {
            let what = format!("built without CONFIG_{option} ({}): {lost}", config.file);
            notice("kernel", what, "a distribution's kernel, or one built with it")
        })
        .collect();
    if found.is_empty() {
        fine("kernel", format!("has every option that isolation needs ({})", config.file))
    } else {
        found
    }
}

fn siblings(seen: &Seen) -> Vec<Finding> {
    let roles = Roles::divide(&seen.facts, &Isolated::Auto, None);
    let split = seen.facts.sibling_groups.iter().find(|group| {
        let inside = group.intersection(&roles.isolated);
        !inside.is_empty() && inside != **group
    });
    let Some(group) = split else { return Vec::new() };
    let inside = group.intersection(&roles.isolated);
    vec![serious(
        "siblings",
        format!("CPU {inside} is isolated and shares its core with CPU {}", group.difference(&inside)),
        "isolate both threads of a core, or switch SMT off (nosmt)",
    )]
}

fn distance(seen: &Seen) -> Vec<Finding> {
    let roles = Roles::divide(&seen.facts, &Isolated::Auto, None);
    let far = |card: &&host::interfaces::Interface| {
        let node = seen.nodes.iter().find(|node| Some(node.id) == card.node);
        !roles.isolated.is_empty()
            && node.is_some_and(|node| node.cpus.intersection(&roles.isolated).is_empty())
    };
    let told = |card: &host::interfaces::Interface| {
        let node = card.node.map_or_else(String::new, |node| node.to_string());
        let what = format!("{} is on {node}, where no isolated CPU is: each packet crosses nodes", card.name);
        notice(
            "distance",
            what,
            "put the card into a slot of the engine's node, or isolate CPUs of the card's",
        )
    };
    seen.surroundings.interfaces.iter().filter(far).map(told).collect()
}

fn paranoia(seen: &Seen) -> Vec<Finding> {
    match seen.perf_event_paranoid {
        None => Vec::new(),
        Some(level) if level <= 2 => fine("perf", format!("kernel.perf_event_paranoid is {level}")),
        Some(level) => vec![notice(
            "perf",
            format!("kernel.perf_event_paranoid is {level}: the agent opens no kernel events of its own"),
            "run quell-keeper, which opens them for it, or sysctl kernel.perf_event_paranoid=2",
        )],
    }
}

fn throttling(seen: &Seen) -> Vec<Finding> {
    let now = seen.surroundings.now.get(RT_RUNTIME).and_then(|text| text.parse::<i64>().ok());
    let spinner = seen.surroundings.realtime.first();
    let (Some(runtime), Some(thread)) = (now.filter(|runtime| *runtime >= 0), spinner) else {
        return Vec::new();
    };
    let what = format!(
        "real-time thread {:?} (process {}) is at work on CPU {} and is throttled after {runtime} us of each period",
        thread.stat.name, thread.pid, thread.stat.cpu
    );
    vec![notice("throttling", what, "profile colo-rt, or let it spin in the ordinary class")]
}

fn tracing(seen: &Seen) -> Vec<Finding> {
    if seen.mount("/").is_none() {
        return Vec::new(); // not the whole table of mounts: a captured tree
    }
    let mut found = Vec::new();
    if !seen.is_mounted(TRACEFS) && !seen.is_mounted(OLD_TRACEFS) {
        let fix = "mount -t tracefs tracefs /sys/kernel/tracing";
        found.push(notice(
            "tracing",
            "tracefs is not mounted: stalls keep no kernel events as their cause",
            fix,
        ));
    }
    if !seen.is_mounted(DEBUGFS) {
        let fix = "mount -t debugfs debugfs /sys/kernel/debug";
        found.push(notice(
            "tracing",
            "debugfs is not mounted: the fair server (iso.fairserver) is out of reach",
            fix,
        ));
    }
    if found.is_empty() { fine("tracing", "tracefs and debugfs are mounted") } else { found }
}

fn huge_pages(seen: &Seen) -> Vec<Finding> {
    if seen.facts.pools.is_empty() {
        return Vec::new();
    }
    let held: Vec<String> = seen
        .facts
        .pools
        .iter()
        .filter(|(_, _, pool)| pool.nr > 0)
        .map(|(node, size, pool)| format!("{} of {size} on {node} ({} free)", pool.nr, pool.free))
        .collect();
    match held.is_empty() {
        true => fine("huge-pages", "none are held; mem.huge and mem.hugeboot hold some"),
        false => fine("huge-pages", format!("held: {}", held.join(", "))),
    }
}

fn loader(seen: &Seen) -> Vec<Finding> {
    match seen.facts.boot.as_ref().map(BootFacts::unfit) {
        None => Vec::new(),
        Some(None) => fine("boot-loader", "takes quell's arguments and tries a line once"),
        Some(Some(reason)) => vec![notice(
            "boot-loader",
            format!("takes no arguments of quell's: {reason}"),
            "`quell tune boot init`, or put the arguments of `quell tune plan` there by hand",
        )],
    }
}

fn left_over(seen: &Seen) -> Vec<Finding> {
    let Some(id) = seen.waits else { return Vec::new() };
    let what = format!(
        "transaction {id} waits to be confirmed and is undone when its time is over: nothing else is applied"
    );
    vec![serious("trial", what, "quell tune confirm, or quell tune rollback")]
}

fn booted(seen: &Seen) -> Vec<Finding> {
    let Some(state) = seen.facts.boot.as_ref().and_then(|boot| boot.state.as_ref()) else {
        return Vec::new();
    };
    let (what, fix) = match state.standing() {
        Standing::Settled => return Vec::new(),
        Standing::Armed => {
            ("a boot line is armed: the next boot tries it", "reboot, or `quell tune boot forget`")
        }
        Standing::OnTrial => {
            ("this boot is a trial of its line", "`quell tune boot` says whether it is kept")
        }
        Standing::NotTaken => (
            "this boot was to try a line, and GRUB left it armed: it cannot write, or its menu was not used",
            "`quell tune boot` says why",
        ),
        Standing::PassedOver => (
            "a boot line was to be tried and another entry was booted",
            "boot the default entry, or `quell tune boot forget`",
        ),
        Standing::CameBack => (
            "a boot line was tried and the machine came back with the one before",
            "change the profile, or `quell tune boot forget` to try it again",
        ),
        Standing::Refused => (
            "a boot line was tried and the kernel did not take all of it",
            "`quell tune boot` shows what; change the profile",
        ),
    };
    vec![notice("boot-line", what, fix)]
}

fn unseen(seen: &Seen) -> Vec<Finding> {
    let problems = seen.facts.problems.iter().map(|(_, problem)| problem);
    let told = problems.chain(&seen.surroundings.unseen);
    told.map(|problem| notice("unreadable", problem.clone(), "run it as root to see the rest")).collect()
}

/// Whether something keeps a profile from being applied or from holding.
#[must_use]
pub fn is_serious(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Serious)
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::tasks::Pid;
    use units::CpuSet;

    /// What is told of a machine of CPUs 0-3 about one matter, once `change` was made to it.
    #[track_caller]
    fn check(matter: &str, change: impl FnOnce(&mut Seen), expected: &[&str]) {
        let cpus = |text: &str| text.parse::<CpuSet>().unwrap();
        let mut seen = Seen {
            rights: Some(Rights { uid: 0, effective: u64::MAX, allowed: cpus("0-3") }),
            ..Seen::default()
        };
        seen.facts.cpus = Some(host::cpus::Cpus {
            possible: cpus("0-3"),
            present: cpus("0-3"),
            online: cpus("0-3"),
            offline: CpuSet::empty(),
            isolated: cpus("2-3"),
            nohz_full: None,
        });
        change(&mut seen);
        let found = findings(&seen).into_iter().filter(|finding| finding.check == matter);
        let told: Vec<String> =
            found.map(|found| format!("{}: {}", found.severity.word(), found.what)).collect();
        assert_eq!(told, expected, "{matter}");
    }

    fn mount(point: &str, is_read_only: bool) -> Mount {
        let text = |text: &str| text.to_owned();
        Mount {
            point: text(point),
            device: text("0:21"),
            kind: text("sysfs"),
            source: text("sysfs"),
            is_read_only,
        }
    }

    #[test]
    fn each_precondition_met_and_not() {
        check("rights", |_| {}, &["fine: root with the capabilities that knobs need"]);
        check(
            "rights",
            |seen| seen.rights.as_mut().unwrap().uid = 1000,
            &["serious: run as uid 1000: kernel files cannot be written"],
        );
        check(
            "rights",
            |seen| seen.rights.as_mut().unwrap().effective = !(1 << 23),
            &["serious: root without CAP_SYS_NICE: no moving threads"],
        );
        check("read-only", |seen| seen.mounts = vec![("/sys", mount("/sys", false))], &[]);
        check(
            "read-only",
            |seen| seen.mounts = vec![("/sys", mount("/sys", true)), ("/proc/sys", mount("/proc", false))],
            &["serious: /sys is mounted read-only: no knob below it"],
        );
        check("lockdown", |seen| seen.lockdown = Some("none".to_owned()), &[]);
        check(
            "lockdown",
            |seen| seen.lockdown = Some("integrity".to_owned()),
            &[
                "notice: the kernel is locked down (integrity): debugfs, and with it the fair server, cannot be written",
            ],
        );
        check("cpuset", |_| {}, &["fine: this process may use every housekeeping CPU"]);
        check(
            "cpuset",
            |seen| seen.rights.as_mut().unwrap().allowed = "1".parse().unwrap(),
            &["notice: a cpuset or an affinity leaves this process CPU 1, not CPU 0"],
        );
        check("rivals", |_| {}, &["fine: no other tuner is alive"]);
        check(
            "rivals",
            |seen| seen.surroundings.programs.processes.extend([("irqbalance".to_owned(), Pid(9))]),
            &["serious: irqbalance is alive and moves interrupts every ten seconds"],
        );
        let clock = |current: &str| {
            Some(Clocksource {
                current: current.to_owned(),
                available: vec!["tsc".to_owned(), current.to_owned()],
            })
        };
        let cpu = |flags: &[&str]| {
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            Some(CpuInfo { model_name: None, flags: Some(flags) })
        };
        check("clock", |_| {}, &[]); // not told
        check(
            "clock",
            |seen| (seen.clocksource, seen.cpuinfo) = (clock("tsc"), cpu(&["constant_tsc", "nonstop_tsc"])),
            &["fine: the TSC is the clock, and invariant"],
        );
        check(
            "clock",
            |seen| (seen.clocksource, seen.cpuinfo) = (clock("hpet"), cpu(&["constant_tsc"])),
            &[
                "notice: the clock source is hpet: reading the time is slow",
                "notice: the TSC is not invariant: time stamps come from the monotonic clock",
            ],
        );
        check("siblings", |seen| seen.facts.sibling_groups = vec!["2-3".parse().unwrap()], &[]);
        check(
            "siblings",
            |seen| seen.facts.sibling_groups = vec!["1-2".parse().unwrap()],
            &["serious: CPU 2 is isolated and shares its core with CPU 1"],
        );
        check("perf", |seen| seen.perf_event_paranoid = Some(2), &["fine: kernel.perf_event_paranoid is 2"]);
        check(
            "perf",
            |seen| seen.perf_event_paranoid = Some(3),
            &["notice: kernel.perf_event_paranoid is 3: the agent opens no kernel events of its own"],
        );
        check(
            "tracing",
            |seen| {
                seen.mounts = vec![
                    ("/", mount("/", false)),
                    (DEBUGFS, mount(DEBUGFS, false)),
                    (TRACEFS, mount(TRACEFS, false)),
                ];
            },
            &["fine: tracefs and debugfs are mounted"],
        );
        check(
            "tracing",
            |seen| {
                seen.mounts = vec![
                    ("/", mount("/", false)),
                    (DEBUGFS, mount("/sys", false)),
                    (TRACEFS, mount(TRACEFS, false)),
                ];
            },
            &["notice: debugfs is not mounted: the fair server (iso.fairserver) is out of reach"],
        );
        // Of a captured tree it is not known.
        check("tracing", |seen| seen.mounts = vec![(DEBUGFS, mount("/sys", false))], &[]);
        check(
            "trial",
            |seen| seen.waits = Some(7),
            &[
                "serious: transaction 7 waits to be confirmed and is undone when its time is over: nothing else is applied",
            ],
        );
        check("trial", |_| {}, &[]);
        check(
            "unreadable",
            |seen| seen.surroundings.unseen.push("/x: cannot read".to_owned()),
            &["notice: /x: cannot read"],
        );
    }
}
