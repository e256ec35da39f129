//! Copies the kernel files that this crate reads from the running machine into a directory: a fixture.
//!
//! `cargo run -p host --example capture -- DIR` writes `DIR/proc`, `DIR/sys` and `DIR/etc`. What cannot be read is left
//! out, as the kernel leaves out what it does not have. Links are not needed: `/proc/self` becomes a directory, and
//! sysfs is entered by its real paths. What identifies the machine is replaced by constants ([`scrub`]), everything
//! else is copied byte for byte.
#![expect(clippy::print_stderr, reason = "a command line program")]

use std::fs::{File, create_dir_all};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use host::Root;
use host::boot::Cmdline;

/// The files, in the order of the readers. `#` stands for a number, `*` for any text within a component.
const FILES: &[&str] = &[
    "/etc/machine-id",
    "/proc/sys/kernel/random/boot_id",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/version",
    "/proc/cmdline",
    "/sys/kernel/realtime",
    "/proc/self/cgroup",
    "/proc/self/mountinfo",
    "/sys/fs/cgroup/cgroup.controllers",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/cpuset.cpus*",
    "/sys/fs/cgroup/*/cgroup.controllers",
    "/sys/fs/cgroup/*/cgroup.procs",
    "/sys/fs/cgroup/*/cpuset.cpus*",
    "/sys/fs/cgroup/*/cpuset.effective_cpus",
    "/sys/fs/cgroup/*/cpuset.sched_load_balance",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/mm/transparent_hugepage/defrag",
    "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
    "/sys/kernel/mm/ksm/run",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource",
    "/sys/devices/system/cpu/amd_pstate/status",
    "/sys/devices/system/cpu/cpufreq/boost",
    "/sys/devices/system/cpu/cpufreq/policy#/affected_cpus",
    "/sys/devices/system/cpu/cpufreq/policy#/boost",
    "/sys/devices/system/cpu/cpufreq/policy#/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpufreq/policy#/cpuinfo_min_freq",
    "/sys/devices/system/cpu/cpufreq/policy#/energy_performance_available_preferences",
    "/sys/devices/system/cpu/cpufreq/policy#/energy_performance_preference",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_available_frequencies",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_max_freq",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_min_freq",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_available_governors",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_driver",
    "/sys/devices/system/cpu/cpufreq/policy#/scaling_governor",
    "/sys/devices/system/cpu/cpuidle/current_driver",
    "/sys/devices/system/cpu/cpuidle/current_governor",
    "/sys/devices/system/cpu/cpuidle/current_governor_ro",
    "/sys/devices/system/cpu/cpu#/cpuidle/state#/disable",
    "/sys/devices/system/cpu/cpu#/cpuidle/state#/latency",
    "/sys/devices/system/cpu/cpu#/cpuidle/state#/name",
    "/sys/devices/system/cpu/cpu#/cpuidle/state#/usage",
    "/sys/devices/system/cpu/cpu#/cache/index#/id",
    "/sys/devices/system/cpu/cpu#/cache/index#/level",
    "/sys/devices/system/cpu/cpu#/power/energy_perf_bias",
    "/sys/devices/system/cpu/intel_pstate/min_perf_pct",
    "/sys/devices/system/cpu/intel_pstate/no_turbo",
    "/sys/devices/system/cpu/intel_pstate/status",
    "/sys/devices/system/cpu/intel_uncore_frequency/*/*_khz",
    "/sys/firmware/acpi/platform_profile",
    "/sys/firmware/acpi/platform_profile_choices",
    "/sys/fs/resctrl/cpus_list",
    "/sys/fs/resctrl/mode",
    "/sys/fs/resctrl/schemata",
    "/sys/fs/resctrl/*/cpus_list",
    "/sys/fs/resctrl/*/mode",
    "/sys/fs/resctrl/*/schemata",
    "/sys/fs/resctrl/info/last_cmd_status",
    "/sys/fs/resctrl/info/L3/*",
    "/proc/cpuinfo",
    "/sys/devices/system/cpu/isolated",
    "/sys/devices/system/cpu/nohz_full",
    "/sys/devices/system/cpu/offline",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/cpu#/topology/core_id",
    "/sys/devices/system/cpu/cpu#/topology/physical_package_id",
    "/sys/devices/system/cpu/cpu#/topology/thread_siblings_list",
    "/sys/devices/system/cpu/smt/active",
    "/sys/devices/system/cpu/smt/control",
    "/sys/kernel/mm/hugepages/hugepages-*/*_hugepages",
    "/sys/devices/system/node/node#/hugepages/hugepages-*/*_hugepages",
    "/proc/interrupts",
    "/proc/irq/default_smp_affinity",
    "/proc/irq/#/effective_affinity_list",
    "/proc/irq/#/smp_affinity_list",
    "/sys/kernel/irq/#/actions",
    "/sys/kernel/irq/#/chip_name",
    "/sys/kernel/irq/#/hwirq",
    "/proc/meminfo",
    "/sys/devices/system/node/node#/cpulist",
    "/sys/devices/system/node/node#/distance",
    "/sys/devices/system/node/node#/meminfo",
    "/sys/devices/system/cpu/cpu#/power/pm_qos_resume_latency_us",
    "/proc/self/limits",
    "/proc/self/smaps_rollup",
    "/proc/self/status",
    "/sys/kernel/debug/sched/fair_server/cpu#/runtime",
    "/proc/stat",
    "/proc/self/task/#/schedstat",
    "/proc/self/task/#/stat",
    "/proc/self/task/#/status",
    "/sys/devices/virtual/workqueue/cpumask*",
    "/sys/devices/virtual/workqueue/*/cpumask",
    "/sys/devices/virtual/workqueue/*/per_cpu",
    "/proc/sys/kernel/hung_task_timeout_secs",
    "/proc/sys/kernel/nmi_watchdog",
    "/proc/sys/kernel/numa_balancing",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/sched_rt_period_us",
    "/proc/sys/kernel/sched_rt_runtime_us",
    "/proc/sys/kernel/soft_watchdog",
    "/proc/sys/kernel/timer_migration",
    "/proc/sys/kernel/watchdog",
    "/proc/sys/kernel/watchdog_cpumask",
    "/proc/sys/net/core/busy_poll",
    "/proc/sys/net/core/busy_read",
    "/proc/sys/net/core/netdev_budget",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/ipv4/tcp_fastopen",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
    "/proc/sys/net/ipv4/tcp_wmem",
    "/proc/sys/vm/compact_unevictable_allowed",
    "/proc/sys/vm/compaction_proactiveness",
    "/proc/sys/vm/dirty_background_bytes",
    "/proc/sys/vm/dirty_background_ratio",
    "/proc/sys/vm/dirty_bytes",
    "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/min_free_kbytes",
    "/proc/sys/vm/numa_stat",
    "/proc/sys/vm/stat_interval",
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/zone_reclaim_mode",
];

/// Directories whose emptiness is the fact; git keeps them by a file that no reader looks at.
const EMPTY_DIRS: &[&str] = &["/sys/devices/system/cpu/cpufreq"];

/// Files whose lack of write permission is the fact (a managed interrupt). Git does not keep it, so those that lack it
/// are listed in the file [`READ_ONLY`] beside `proc` and `sys`.
const MODES: &str = "/proc/irq/#/smp_affinity_list";

/// A path a line.
const READ_ONLY: &str = "read-only";

/// Of each real-time thread of the machine; of other processes nothing but what is listed above.
const REALTIME_FILES: &[&str] = &["stat", "status", "schedstat"];

fn main() -> ExitCode {
    let Some(target) = std::env::args().nth(1) else {
        eprintln!("usage: capture DIR");
        return ExitCode::from(2);
    };
    match capture(&Root::system(), Path::new(&target)) {
        Ok(copied) => {
            eprintln!("{copied} files below {target}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{target}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn capture(root: &Root, target: &Path) -> io::Result<usize> {
    let mut copied = 0;
    for path in FILES.iter().flat_map(|pattern| expand(root, pattern)).chain(realtime_files(root)) {
        match root.read(&path) {
            Ok(text) => {
                put(target, &path, &scrub(&path, text))?;
                copied += 1;
            }
            Err(error) => eprintln!("left out: {error}"),
        }
    }
    for path in EMPTY_DIRS.iter().filter(|path| root.list(path).is_ok_and(|names| names.is_empty())) {
        put(target, &format!("{path}/.gitkeep"), "")?;
    }
    let is_read_only = |path: &String| matches!(root.is_writable(path), Ok(false));
    let read_only: Vec<String> = expand(root, MODES).into_iter().filter(is_read_only).collect();
    put(target, READ_ONLY, &read_only.iter().map(|path| format!("{path}\n")).collect::<String>())?;
    Ok(copied)
}

/// The paths that match `pattern` on this machine.
fn expand(root: &Root, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for component in pattern.split('/').skip(1) {
        paths = paths.iter().flat_map(|dir| children(root, dir, component)).collect();
    }
    paths.retain(|path| root.exists(path));
    paths
}

fn children(root: &Root, dir: &str, component: &str) -> Vec<String> {
    if !component.contains(['#', '*']) {
        return vec![format!("{dir}/{component}")];
    }
    let names = root.list(dir).unwrap_or_default();
    names.iter().filter(|name| matches(component, name)).map(|name| format!("{dir}/{name}")).collect()
}

/// Whether `name` is of the form `pattern`, in which at most one `#` or `*` stands for a number or any text.
fn matches(pattern: &str, name: &str) -> bool {
    let (front, back) = pattern.split_once(['#', '*']).unwrap_or((pattern, ""));
    let Some(wild) = name.strip_prefix(front).and_then(|rest| rest.strip_suffix(back)) else { return false };
    pattern.contains('*') || !wild.is_empty() && wild.bytes().all(|b| b.is_ascii_digit())
}

fn realtime_files(root: &Root) -> Vec<String> {
    let is_realtime = |path: &String| {
        // The 41st field; 1 FIFO, 2 round robin (proc_pid_stat(5)).
        let policy = |stat: String| stat.rsplit_once(')')?.1.split(' ').nth(39).map(str::to_owned);
        root.read(path).ok().and_then(policy).is_some_and(|policy| policy == "1" || policy == "2")
    };
    let stats = expand(root, "/proc/#/task/#/stat").into_iter().filter(is_realtime);
    let beside =
        |stat: String| REALTIME_FILES.iter().map(move |name| stat.replace("/stat", &format!("/{name}")));
    stats.flat_map(beside).collect()
}

/// Replaces what identifies the machine or the programs on it.
fn scrub(path: &str, text: String) -> String {
    match path {
        "/etc/machine-id" => "0123456789abcdef0123456789abcdef\n".to_owned(),
        "/proc/sys/kernel/random/boot_id" => "01234567-89ab-4cde-8f01-23456789abcd\n".to_owned(),
        "/proc/sys/kernel/hostname" => "fixture\n".to_owned(),
        "/proc/cmdline" => kernel_arguments(&text),
        "/proc/self/mountinfo" => {
            let kinds = [" - cgroup", " - proc ", " - sysfs ", " - tracefs ", " - debugfs "];
            lines_with(&text, &[&kinds[..], &[" / / ", " /sys/fs/cgroup "]].concat())
        }
        _ => text,
    }
}

/// The arguments for the kernel, without the name of the first process and its arguments.
fn kernel_arguments(text: &str) -> String {
    let kernel = text.trim().split(" -- ").next().unwrap_or_default();
    let kept = Cmdline::parse(kernel).arguments.into_iter().filter(|argument| argument.name != "rdinit");
    let words: Vec<String> = kept
        .map(|argument| match argument.value {
            Some(value) => format!("{}={value}", argument.name),
            None => argument.name,
        })
        .collect();
    words.join(" ") + "\n"
}

fn lines_with(text: &str, marks: &[&str]) -> String {
    let kept = text.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
    kept.map(|line| format!("{line}\n")).collect()
}

fn put(target: &Path, path: &str, text: &str) -> io::Result<()> {
    let file = target.join(path.trim_start_matches('/'));
    create_dir_all(file.parent().expect("every path has a directory"))?;
    File::create(file)?.write_all(text.as_bytes())
}
