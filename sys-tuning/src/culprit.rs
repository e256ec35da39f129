//! Why a write does not come back: the real-time threads that kept a CPU to themselves while it was waited for.
//!
//! A write may wait for work of the kernel on another CPU (the huge-page selector does, for a queue of each CPU), and that
//! work for a thread that never gives its CPU up. Nothing in the kernel names the CPU a writer waits for, so all of them
//! are told, first those behind whom a thread of the kernel was seen to wait; and where the writer itself waits.

use host::Root;
use host::occupancy::{Occupation, Sample};
use host::threads::monotonic_now;
use units::Nanos;

/// Occupied CPUs that are named; a host with an engine on each of its CPUs has dozens.
const TOLD_MAX: usize = 8;

/// What is said of a write of the thread `tid` that has not come back within `deadline`; `began` is a look at the machine
/// when it had begun to take long.
pub(crate) fn told(root: &Root, deadline: Nanos, tid: i32, began: Option<&Sample>) -> String {
    let occupations = began
        .and_then(|began| Some(Sample::take(root, monotonic_now()).ok()?.occupations_since(began)))
        .unwrap_or_default();
    sentence(deadline, waits_in(root, tid).as_deref(), &occupations, host::own::pid())
}

/// The function of the kernel that the thread waits in, where that is shown.
// Format: "__flush_work", "0" for none or for who may not see it   (Documentation/filesystems/proc.rst, 1.1)
fn waits_in(root: &Root, tid: i32) -> Option<String> {
    if !root.is_system() {
        return None; // that tree's threads are not ours
    }
    let name = root.read_lossy(&format!("/proc/self/task/{tid}/wchan")).ok()?;
    let name = name.trim().to_owned();
    (!name.is_empty() && name != "0").then_some(name)
}

fn sentence(deadline: Nanos, waits_in: Option<&str>, occupations: &[Occupation], own: u32) -> String {
    let place = waits_in.map(|name| format!(" (in {name})")).unwrap_or_default();
    let stuck = format!("the write is still in the kernel after {deadline}{place}");
    let others: Vec<&Occupation> = occupations.iter().filter(|one| one.by.pid.0 != own).collect();
    if others.is_empty() {
        return format!("{stuck}; no real-time thread kept a CPU to itself meanwhile");
    }
    let named: Vec<String> = others.iter().take(TOLD_MAX).map(|one| occupied(one)).collect();
    let more = match others.len().saturating_sub(TOLD_MAX) {
        0 => String::new(),
        count => format!("; and {count} CPUs more"),
    };
    format!("{stuck}; {}{more}", named.join("; "))
}

fn occupied(Occupation { by, waiting, .. }: &Occupation) -> String {
    let stat = &by.stat;
    let waiting: Vec<&str> = waiting.iter().map(|stat| stat.name.as_str()).collect();
    let behind = match waiting.len() {
        0 => String::new(),
        _ => format!(", behind which {} waited", waiting.join(", ")),
    };
    format!(
        "CPU {} was occupied by real-time thread {:?} ({} {}, process {}){behind}",
        stat.cpu, stat.name, stat.class, stat.rt_priority, by.pid
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::tasks::{Class, Occupant, Pid, Stat};
    use units::CpuId;

    fn stat(tid: u32, name: &str, cpu: u16) -> Stat {
        Stat {
            tid: Pid(tid),
            name: name.to_owned(),
            state: 'R',
            class: Class::Fifo,
            rt_priority: 50,
            cpu: CpuId(cpu),
            start_ticks: 1,
            is_kernel: false,
            is_bound: false,
            cpu_time: Nanos::ZERO,
        }
    }

    fn occupation(pid: u32, cpu: u16, waiting: &[&str]) -> Occupation {
        Occupation {
            by: Occupant { pid: Pid(pid), stat: stat(pid, "spin", cpu) },
            had: Nanos::from_millis(200),
            waiting: waiting.iter().map(|name| stat(9, name, cpu)).collect(),
        }
    }

    #[track_caller]
    fn check(waits_in: Option<&str>, occupations: &[Occupation], expected: &str) {
        let told = sentence(Nanos::from_millis(250), waits_in, occupations, 7);
        assert_eq!(told, format!("the write is still in the kernel after 250 ms{expected}"));
    }

    #[test]
    fn who_is_in_the_way() {
        check(None, &[], "; no real-time thread kept a CPU to itself meanwhile");
        check(
            Some("__flush_work"),
            &[occupation(70, 3, &["kworker/3:1"])],
            " (in __flush_work); CPU 3 was occupied by real-time thread \"spin\" (fifo 50, process 70), behind which \
             kworker/3:1 waited",
        );
        check(
            None,
            &[occupation(70, 1, &[]), occupation(71, 2, &[])],
            "; CPU 1 was occupied by real-time thread \"spin\" (fifo 50, process 70); CPU 2 was occupied by real-time \
             thread \"spin\" (fifo 50, process 71)",
        );
        check(None, &[occupation(7, 1, &[])], "; no real-time thread kept a CPU to itself meanwhile"); // our own
        let many: Vec<Occupation> = (0..11).map(|cpu| occupation(70 + u32::from(cpu), cpu, &[])).collect();
        let told = sentence(Nanos::from_millis(250), None, &many, 7);
        assert!(told.ends_with("(fifo 50, process 77); and 3 CPUs more"), "{told}");
    }
}
