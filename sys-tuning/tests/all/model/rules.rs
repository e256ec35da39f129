//! What a write to each path does. The rules are those of Linux 6.1 to 6.18 as read or measured; where a kernel takes a
//! prefix of what it is given ("60 extra" is 60), so does this.

use nix::errno::Errno;
use units::CpuSet;

use super::{Kernel, cgroup, declared};

const ONLINE_MAX: i64 = i32::MAX as i64;

/// Files that take a number within these bounds; other numbers are EINVAL.
const RANGES: &[(&str, i64, i64)] = &[
    ("/proc/sys/vm/swappiness", 0, 200),
    ("/proc/sys/vm/stat_interval", 0, ONLINE_MAX),
    ("/proc/sys/kernel/timer_migration", 0, 1),
    ("/proc/sys/kernel/numa_balancing", 0, 3),
    ("/proc/sys/kernel/hung_task_timeout_secs", 0, i64::MAX),
    ("/proc/sys/kernel/sched_rt_period_us", 1, ONLINE_MAX),
    ("/proc/sys/kernel/soft_watchdog", 0, 1),
    ("/proc/sys/kernel/watchdog", 0, 1),
    ("/proc/sys/vm/compaction_proactiveness", 0, 100),
    ("/proc/sys/vm/zone_reclaim_mode", 0, 7),
    ("/proc/sys/vm/compact_unevictable_allowed", 0, 1),
    ("/sys/kernel/mm/ksm/run", 0, 2),
];

const PAIRS: &[(&str, &str)] = &[
    ("/proc/sys/vm/dirty_ratio", "/proc/sys/vm/dirty_bytes"),
    ("/proc/sys/vm/dirty_background_ratio", "/proc/sys/vm/dirty_background_bytes"),
];

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const MIN_FREE: &str = "/proc/sys/vm/min_free_kbytes";
const RT_RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
const SMT: &str = "/sys/devices/system/cpu/smt/control";
/// Named a mask, and read and written as a list (proc_do_large_bitmap).
const WATCHDOG: &str = "/proc/sys/kernel/watchdog_cpumask";
pub const WORKQUEUE: &str = "/sys/devices/virtual/workqueue/cpumask";

/// Whether a file takes and shows CPUs as a hexadecimal mask.
pub fn is_mask(path: &str) -> bool {
    path != WATCHDOG
        && (path.ends_with("cpumask") || path.ends_with("affinity") || path.ends_with("rps_default_mask"))
}

/// Whether a file takes and shows CPUs as a list.
pub fn is_list(path: &str) -> bool {
    path == WATCHDOG || path.ends_with("_list") || path.ends_with("cpuset.cpus")
}

/// One honest write, and what follows from it.
pub fn write(kernel: &mut Kernel, path: &str, bytes: &[u8]) -> Result<(), Errno> {
    write_itself(kernel, path, bytes)?;
    if let Some(shown) = declared::shown_by(path) {
        let text = kernel.text(path).to_owned();
        kernel.show(&shown, text);
    }
    Ok(())
}

fn write_itself(kernel: &mut Kernel, path: &str, bytes: &[u8]) -> Result<(), Errno> {
    let text = std::str::from_utf8(bytes).map_err(|_| Errno::EINVAL)?.trim_end_matches('\n').to_owned();
    let current = kernel.files.get(path).ok_or(Errno::ENOENT)?.text.clone();
    if let Some((_, bytes)) = PAIRS.iter().find(|(ratio, _)| *ratio == path) {
        return write_ratio(kernel, path, bytes, &text);
    }
    if let Some((ratio, _)) = PAIRS.iter().find(|(_, bytes)| *bytes == path) {
        return write_bytes(kernel, path, ratio, &text);
    }
    if path == RT_RUNTIME {
        let period = kernel.text("/proc/sys/kernel/sched_rt_period_us").parse().unwrap_or(1_000_000);
        return write_number(kernel, path, &text, -1, period);
    }
    if path.ends_with("/nmi_watchdog") {
        return Err(Errno::EPERM); // no such counter in a virtual machine: refused even for the value it has
    }
    if let Some((_, min, max)) = RANGES.iter().find(|(of, ..)| *of == path) {
        return write_number(kernel, path, &text, *min, *max);
    }
    if let Some(irq) =
        path.strip_prefix("/proc/irq/").and_then(|rest| rest.strip_suffix("/smp_affinity_list"))
    {
        return move_irq(kernel, path, irq, &text);
    }
    if path.starts_with("/sys/fs/cgroup") {
        return cgroup::write(kernel, path, &text);
    }
    if path.starts_with("/proc/") && path.ends_with("/status") {
        return confine(kernel, path, &text);
    }
    if path.ends_with("/nr_hugepages") {
        return resize_pool(kernel, path, &text);
    }
    if path.ends_with("/pm_qos_resume_latency_us") {
        return write_latency(kernel, path, &text);
    }
    if path == WORKQUEUE {
        return write_workqueue(kernel, &text);
    }
    if path == WATCHDOG {
        return write_list(kernel, path, &text);
    }
    if path == SMT {
        return switch_threads(kernel, &text);
    }
    if is_mask(path) {
        return write_mask(kernel, path, &text);
    }
    if path.starts_with("/sys/kernel/debug/sched/fair_server/") {
        return write_number(kernel, path, &text, 0, 1_000_000_000);
    }
    if current.contains('[') {
        return select(kernel, path, &current, &text);
    }
    if let Some(offered) = offered(kernel, path) {
        let known = offered.split_ascii_whitespace().any(|word| word == text);
        return if known { show(kernel, path, &text) } else { Err(Errno::EINVAL) };
    }
    write_as_it_is(kernel, path, &current, &text)
}

fn show(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    kernel.show(path, text);
    Ok(())
}

/// As proc_dointvec and kstrto do: the first word counts, and hexadecimal is understood.
fn number(text: &str) -> Result<i64, Errno> {
    let word = text.split_ascii_whitespace().next().ok_or(Errno::EINVAL)?;
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    parsed.map_err(|_| Errno::EINVAL)
}

fn write_number(kernel: &mut Kernel, path: &str, text: &str, min: i64, max: i64) -> Result<(), Errno> {
    let value = number(text)?;
    if !(min..=max).contains(&value) {
        return Err(Errno::EINVAL);
    }
    show(kernel, path, &value.to_string())
}

/// What no rule names: a number where a number stands, else one word; lines of text are no variables.
fn write_as_it_is(kernel: &mut Kernel, path: &str, current: &str, text: &str) -> Result<(), Errno> {
    if current.trim().parse::<i64>().is_ok() {
        return write_number(kernel, path, text, i64::MIN, i64::MAX);
    }
    if current.trim_end().contains('\n') {
        return Err(Errno::EINVAL);
    }
    show(kernel, path, text)
}

/// The bytes are zeroed only when the ratio changes (mm/page-writeback.c, dirty_ratio_handler).
fn write_ratio(kernel: &mut Kernel, path: &str, bytes: &str, text: &str) -> Result<(), Errno> {
    let before = kernel.text(path).to_owned();
    write_number(kernel, path, text, 0, 100)?;
    if kernel.text(path) != before {
        kernel.show(bytes, 0);
    }
    Ok(())
}

fn write_bytes(kernel: &mut Kernel, path: &str, ratio: &str, text: &str) -> Result<(), Errno> {
    let before = kernel.text(path).to_owned();
    let floor = if path.contains("background") { 1 } else { 8192 };
    write_number(kernel, path, text, floor, i64::MAX)?;
    if kernel.text(path) != before {
        kernel.show(ratio, 0);
    }
    Ok(())
}

// Format: "always [madvise] never"
fn select(kernel: &mut Kernel, path: &str, current: &str, word: &str) -> Result<(), Errno> {
    let words = || current.split_ascii_whitespace().map(|word| word.trim_matches(['[', ']']));
    if !words().any(|offered| offered == word) {
        return Err(Errno::EINVAL);
    }
    let shown = words().map(|one| if one == word { format!("[{one}]") } else { one.to_owned() });
    let shown: Vec<String> = shown.collect();
    if path == THP && kernel.files.contains_key(MIN_FREE) {
        // mm/khugepaged.c, set_recommended_min_free_kbytes: computed anew, whatever somebody had set.
        kernel.show(MIN_FREE, if word == "never" { 5_631 } else { 67_584 });
    }
    show(kernel, path, &shown.join(" "))
}

/// The words that stand in the file beside it.
fn offered(kernel: &Kernel, path: &str) -> Option<String> {
    let (dir, name) = path.rsplit_once('/')?;
    let beside = match name {
        "scaling_governor" => "scaling_available_governors",
        "energy_performance_preference" => "energy_performance_available_preferences",
        "current_clocksource" => "available_clocksource",
        _ => return None,
    };
    kernel.files.get(&format!("{dir}/{beside}")).map(|file| file.text.clone())
}

fn move_irq(kernel: &mut Kernel, path: &str, irq: &str, text: &str) -> Result<(), Errno> {
    if let Some(errno) = kernel.habits.managed_irqs.get(irq) {
        return Err(Errno::from_raw(*errno));
    }
    if kernel.files[path].mode & 0o222 == 0 {
        return Err(Errno::EPERM);
    }
    let wanted: CpuSet = text.parse().map_err(|_| Errno::EINVAL)?;
    let usable = wanted.intersection(&kernel.online());
    let Some(first) = usable.first() else { return Err(Errno::EINVAL) };
    kernel.show(path, &wanted);
    let effective = format!("/proc/irq/{irq}/effective_affinity_list");
    let stays = kernel.cpus(&effective).is_subset(&wanted) || kernel.habits.quiet_irqs.contains(irq);
    if !stays {
        kernel.show(&effective, first);
    }
    Ok(())
}

fn mask(kernel: &Kernel, text: &str) -> Result<CpuSet, Errno> {
    let cpus = CpuSet::from_mask(text).map_err(|_| Errno::EINVAL)?;
    if cpus.intersection(&kernel.online()).is_empty() { Err(Errno::EINVAL) } else { Ok(cpus) }
}

fn write_mask(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    let cpus = mask(kernel, text)?;
    show(kernel, path, &cpus.mask())
}

/// The second threads of cores go and come, none of which a captured machine has (kernel/cpu.c, __store_smt_control).
fn switch_threads(kernel: &mut Kernel, text: &str) -> Result<(), Errno> {
    if !["on", "off", "forceoff"].contains(&text) {
        return Err(Errno::EINVAL);
    }
    kernel.show("/sys/devices/system/cpu/smt/active", u8::from(text == "on"));
    show(kernel, SMT, text)
}

/// Any CPUs that may be there; those that are not are left out (kernel/watchdog.c, proc_watchdog_update).
fn write_list(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    let cpus: CpuSet = text.parse().map_err(|_| Errno::EINVAL)?;
    show(kernel, path, &cpus.intersection(&kernel.online()).to_string())
}

/// What was asked for and what came of it: partitions take CPUs from it (Linux 6.7 or later).
fn write_workqueue(kernel: &mut Kernel, text: &str) -> Result<(), Errno> {
    let cpus = mask(kernel, text)?;
    kernel.show(WORKQUEUE, cpus.mask());
    kernel.show(&format!("{WORKQUEUE}_requested"), cpus.mask());
    cgroup::settle_workqueue(kernel);
    Ok(())
}

/// Inverted: 0 is no limit, "n/a" is none allowed.
fn write_latency(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    if text == "n/a" {
        return show(kernel, path, text);
    }
    write_number(kernel, path, text, 0, ONLINE_MAX)
}

/// A pool gives what the node has, and says nothing of what it has not.
fn resize_pool(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    let wanted = u64::try_from(number(text)?).map_err(|_| Errno::EINVAL)?;
    let Some((node, rest)) = path.split_once("/hugepages/") else { return Err(Errno::EINVAL) };
    let Some(kib) = rest.split_once("hugepages-").and_then(|(_, rest)| rest.split_once("kB/")) else {
        return Err(Errno::EINVAL);
    };
    let kib: u64 = kib.0.parse().map_err(|_| Errno::EINVAL)?;
    let held: u64 = kernel.text(path).parse().map_err(|_| Errno::EIO)?;
    let meminfo = format!("{node}/meminfo");
    let free = field(kernel, &meminfo, "MemFree:");
    let limit = kernel.habits.page_limits.get(path).copied().unwrap_or(u64::MAX).max(held);
    let given = wanted.min(limit).min(held + free.unwrap_or(0) / kib);
    kernel.show(path, given);
    let beside = |name: &str| path.replace("nr_hugepages", name);
    let pool_free: u64 = kernel.text(&beside("free_hugepages")).parse().unwrap_or(0);
    kernel.show(&beside("free_hugepages"), (pool_free + given).saturating_sub(held));
    if let Some(free) = free {
        set_field(kernel, &meminfo, "MemFree:", free + held * kib - given * kib);
    }
    Ok(())
}

// Format: "Node 0 MemFree:          430588 kB"
fn field(kernel: &Kernel, path: &str, key: &str) -> Option<u64> {
    let line = kernel.files.get(path)?.text.lines().find(|line| line.contains(key))?.to_owned();
    line.split_once(key)?.1.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Sets one number of a file that holds many, in KiB.
pub fn set_field(kernel: &mut Kernel, path: &str, key: &str, value: u64) {
    let Some(file) = kernel.files.get_mut(path) else { return };
    let line = |line: &str| match line.split_once(key) {
        Some((before, _)) => format!("{before}{key} {value:>15} kB\n"),
        None => format!("{line}\n"),
    };
    file.text = file.text.lines().map(line).collect();
}

/// A thread's CPUs: stands for sched_setaffinity(2), which a model has no threads for.
fn confine(kernel: &mut Kernel, path: &str, text: &str) -> Result<(), Errno> {
    let key = "Cpus_allowed_list:\t";
    let list = text.lines().find_map(|line| line.strip_prefix(key)).ok_or(Errno::EINVAL)?;
    let cpus: CpuSet = list.parse().map_err(|_| Errno::EINVAL)?;
    if cpus.intersection(&kernel.online()).is_empty() {
        return Err(Errno::EINVAL);
    }
    let line =
        |line: &str| if line.starts_with(key) { format!("{key}{cpus}\n") } else { format!("{line}\n") };
    let file = kernel.files.get_mut(path).ok_or(Errno::ESRCH)?;
    file.text = file.text.lines().map(line).collect();
    Ok(())
}
