//! Threads: where they may run, where they run, how they are scheduled, and what they got.
//!
//! Each thread is read from four files, one after the other, so its fields are near each other in time, not of one
//! instant. A thread that ends meanwhile is left out. Sources: Documentation/filesystems/proc.rst, 1.1;
//! Documentation/scheduler/sched-stats.rst; proc_pid_stat(5).

use std::cmp::Reverse;
use std::fmt;

use units::{CpuId, CpuSet, Nanos};

use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

/// A process's or a thread's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How the kernel schedules a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SCHED_OTHER.
    Other,
    /// SCHED_FIFO: runs until it blocks.
    Fifo,
    /// SCHED_RR: takes turns with those of its priority.
    RoundRobin,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_DEADLINE.
    Deadline,
    /// SCHED_EXT: a loaded scheduler.
    Ext,
    /// A number this list does not know.
    Unknown(u32),
}

impl Class {
    // The numbers of include/uapi/linux/sched.h.
    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Other,
            1 => Self::Fifo,
            2 => Self::RoundRobin,
            3 => Self::Batch,
            5 => Self::Idle,
            6 => Self::Deadline,
            7 => Self::Ext,
            unknown => Self::Unknown(unknown),
        }
    }

    /// Whether such a thread keeps ordinary ones off its CPU for as long as it runs.
    #[must_use]
    pub fn is_realtime(self) -> bool {
        matches!(self, Self::Fifo | Self::RoundRobin | Self::Deadline)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Other => "other",
            Self::Fifo => "fifo",
            Self::RoundRobin => "rr",
            Self::Batch => "batch",
            Self::Idle => "idle",
            Self::Deadline => "deadline",
            Self::Ext => "ext",
            Self::Unknown(number) => return f.pad(&format!("policy {number}")),
        })
    }
}

/// What one line of `/proc/PID/task/TID/stat` says about a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The thread.
    pub tid: Pid,
    /// Its name, at most 15 bytes; chosen by whoever runs it.
    pub name: String,
    /// `R` running or runnable, `S` sleeping, `D` waiting for a device, and others of proc_pid_stat(5).
    pub state: char,
    /// How it is scheduled.
    pub class: Class,
    /// 1 to 99 in the real-time classes, else 0.
    pub rt_priority: u32,
    /// The CPU it runs on, or last ran on.
    pub cpu: CpuId,
    /// When it started, in ticks of 10 ms since boot: with the number, its identity within a boot.
    pub start_ticks: u64,
    /// Whether it is one of the kernel's own.
    pub is_kernel: bool,
    /// Whether it refuses to be given other CPUs (PF_NO_SETAFFINITY), as a kernel thread tied to its CPU does.
    pub is_bound: bool,
    /// User and system time, counted in ticks of 10 ms; [`Task::cpu_time`] is the exact one where there is one.
    pub cpu_time: Nanos,
}

/// One thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The line of its `stat` file.
    pub stat: Stat,
    /// The CPUs it may run on, its cpuset considered.
    pub allowed: CpuSet,
    /// Times it gave its CPU up.
    pub voluntary_switches: u64,
    /// Times its CPU was taken from it.
    pub involuntary_switches: u64,
    /// Time on a CPU: exact where the kernel keeps scheduling statistics, else in ticks of 10 ms.
    pub cpu_time: Nanos,
    /// Time it was runnable and waited for a CPU; `None` where the kernel does not keep it.
    pub run_delay: Option<Nanos>,
}

/// The threads of this process, ascending by number.
///
/// # Errors
/// [`Error::Absent`], [`Error::Read`], [`Error::Format`].
pub fn own(root: &Root) -> Result<Vec<Task>, Error> {
    threads_below(root, "/proc/self/task")
}

/// The threads of the process `pid`, ascending by number.
///
/// # Errors
/// [`Error::Absent`] when it has ended, [`Error::Read`], [`Error::Format`].
pub fn of(root: &Root, pid: Pid) -> Result<Vec<Task>, Error> {
    threads_below(root, &format!("/proc/{pid}/task"))
}

fn threads_below(root: &Root, dir: &str) -> Result<Vec<Task>, Error> {
    let mut tasks = Vec::new();
    for tid in numbers(root, dir)? {
        tasks.extend(if_present(task(root, &format!("{dir}/{tid}")))?); // absent: ended meanwhile
    }
    Ok(tasks)
}

fn task(root: &Root, dir: &str) -> Result<Task, Error> {
    let stat = root.parse(&format!("{dir}/stat"), parse_stat)?;
    let status = root.parse(&format!("{dir}/status"), parse_status)?;
    let schedstat = if_present(root.parse(&format!("{dir}/schedstat"), parse_schedstat))?;
    Ok(Task {
        allowed: status.allowed,
        voluntary_switches: status.voluntary_switches,
        involuntary_switches: status.involuntary_switches,
        cpu_time: schedstat.map_or(stat.cpu_time, |(cpu_time, _)| cpu_time),
        run_delay: schedstat.map(|(_, run_delay)| run_delay),
        stat,
    })
}

/// The line of the thread shown at `dir`.
pub(crate) fn stat(root: &Root, dir: &str) -> Result<Stat, Error> {
    root.parse(&format!("{dir}/stat"), parse_stat)
}

/// The CPUs that the thread shown at `dir` may use, its cpuset considered.
pub(crate) fn allowed(root: &Root, dir: &str) -> Result<CpuSet, Error> {
    root.parse(&format!("{dir}/status"), parse_status).map(|status| status.allowed)
}

/// A thread that has its CPU, or waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupant {
    /// The process it belongs to.
    pub pid: Pid,
    /// The thread.
    pub stat: Stat,
}

/// The real-time threads that are runnable now, by CPU and falling priority: the first one of a CPU has it, and the
/// others wait behind it like every kernel thread bound there.
///
/// Reads one file a thread of the machine (14 us each, 2-vCPU VM): for finding out why a write is stuck, not for a
/// loop. Processes hidden from this user (`hidepid=`) are not seen.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn running_realtime(root: &Root) -> Result<Vec<Occupant>, Error> {
    let mut occupants = runnable(root, |stat| stat.class.is_realtime())?;
    let rank = |stat: &Stat| (stat.class == Class::Deadline, stat.rt_priority); // a deadline goes before any priority
    occupants.sort_by_key(|occupant| (occupant.stat.cpu, Reverse(rank(&occupant.stat))));
    Ok(occupants)
}

/// The threads of programs that are runnable now and may run on one CPU only: who spins there means to.
///
/// Reads one file a thread of the machine, as [`running_realtime`] does, and one more of each that is runnable.
///
/// # Errors
/// [`Error::Read`], [`Error::Format`].
pub fn running_bound(root: &Root) -> Result<Vec<Occupant>, Error> {
    let mut bound = Vec::new();
    for occupant in runnable(root, |stat| !stat.is_kernel)? {
        let path = format!("/proc/{}/task/{}/status", occupant.pid, occupant.stat.tid);
        let status = if_present(root.parse(&path, parse_status))?;
        bound.extend(status.filter(|status| status.allowed.count() == 1).map(|_| occupant));
    }
    Ok(bound)
}

/// The first process that calls itself `name`, as far as the kernel keeps of it (15 bytes). A hint for a person: a process
/// may call itself anything. Reads one file a process.
///
/// # Errors
/// [`Error::Absent`] without `/proc`, [`Error::Read`].
pub fn named(root: &Root, name: &str) -> Result<Option<Pid>, Error> {
    let is_it = |pid: &Pid| {
        root.read_lossy(&format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end_matches('\n') == name)
    };
    Ok(numbers(root, "/proc")?.into_iter().find(is_it))
}

impl Occupant {
    /// What tells it from whoever has its number later.
    pub(crate) fn identity(&self) -> (Pid, Pid, u64) {
        (self.pid, self.stat.tid, self.stat.start_ticks)
    }
}

/// Every runnable thread that is `wanted`.
pub(crate) fn runnable(root: &Root, wanted: impl Fn(&Stat) -> bool) -> Result<Vec<Occupant>, Error> {
    let mut occupants = Vec::new();
    for pid in numbers(root, "/proc")? {
        let dir = format!("/proc/{pid}/task");
        for tid in if_present(numbers(root, &dir))?.unwrap_or_default() {
            let stat = if_present(root.parse(&format!("{dir}/{tid}/stat"), parse_stat))?;
            occupants.extend(
                stat.filter(|stat| stat.state == 'R' && wanted(stat)).map(|stat| Occupant { pid, stat }),
            );
        }
    }
    Ok(occupants)
}

pub(crate) fn numbers(root: &Root, dir: &str) -> Result<Vec<Pid>, Error> {
    let mut numbers: Vec<Pid> =
        root.list(dir)?.iter().filter_map(|name| name.parse().ok()).map(Pid).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// A tick of the times in `stat`: USER_HZ is 100 on every architecture Linux has had since 2.6.
const TICK: Nanos = Nanos::from_millis(10);

/// The kernel's own thread. Source: include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;
/// It may not be given other CPUs. Source: include/linux/sched.h.
const PF_NO_SETAFFINITY: u32 = 0x0400_0000;

// Format: "21 (migration/1) S 2 0 0 0 -1 69238848 0 0 0 0 0 27 0 0 -100 0 1 0 24 0 0 ... 17 1 99 1 0 0 0 ..."
//         The name may hold blanks and parentheses; the last ")" ends it.   (proc_pid_stat(5))
fn parse_stat(text: &str) -> Result<Stat, Malformed> {
    let wrong = |problem: &str| Malformed::new(text, problem);
    let (front, back) = text.rsplit_once(')').ok_or_else(|| wrong("no name in parentheses"))?;
    let (tid, name) = front.split_once('(').ok_or_else(|| wrong("no name in parentheses"))?;
    let fields: Vec<&str> = back.split_ascii_whitespace().collect();
    // proc_pid_stat(5) numbers from 1 and the state, the first field behind the name, is number 3.
    let field = |number: usize| fields.get(number - 3).copied().ok_or_else(|| wrong("a field is missing"));
    let count = |number: usize| text::number::<u64>(field(number)?);
    let flags: u32 = text::number(field(9)?)?;
    Ok(Stat {
        tid: Pid(text::number(tid)?),
        name: name.to_owned(),
        state: field(3)?.chars().next().ok_or_else(|| wrong("no state"))?,
        class: Class::from_number(text::number(field(41)?)?),
        rt_priority: text::number(field(40)?)?,
        cpu: CpuId(text::number(field(39)?)?),
        start_ticks: count(22)?,
        is_kernel: flags & PF_KTHREAD != 0,
        is_bound: flags & PF_NO_SETAFFINITY != 0,
        cpu_time: TICK.times(count(14)?.saturating_add(count(15)?)),
    })
}

struct Status {
    allowed: CpuSet,
    voluntary_switches: u64,
    involuntary_switches: u64,
}

// Format: "Cpus_allowed_list:\t0-1", "voluntary_ctxt_switches:\t150"   (Documentation/filesystems/proc.rst, 1.1)
fn parse_status(text: &str) -> Result<Status, Malformed> {
    let field = |key: &str| text::field(text, key).ok_or_else(|| text::missing(text, key));
    Ok(Status {
        allowed: text::cpulist(field("Cpus_allowed_list")?)?,
        voluntary_switches: text::number(field("voluntary_ctxt_switches")?)?,
        involuntary_switches: text::number(field("nonvoluntary_ctxt_switches")?)?,
    })
}

/// Time on a CPU, and time waiting for one.
// Format: "94060 71405 2\n": ns on a CPU, ns waiting, time slices   (Documentation/scheduler/sched-stats.rst)
fn parse_schedstat(text: &str) -> Result<(Nanos, Nanos), Malformed> {
    let mut fields = text.split_ascii_whitespace().map(text::number);
    match (fields.next(), fields.next()) {
        (Some(cpu_time), Some(run_delay)) => Ok((Nanos(cpu_time?), Nanos(run_delay?))),
        _ => Err(Malformed::new(text, "expected three numbers")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A shell that spins at real-time priority 50, as Linux 6.18 shows it, with NAME for its name.
    pub(crate) const SPINNER: &str = "12959 (NAME) R 12957 12957 6294 0 -1 4194304 85 0 1 0 51 0 0 0 -51 0 1 0 191320 2654208 395 18446744073709551615 94379291803648 94379291880377 140733871314944 0 0 0 0 0 65538 0 0 0 17 0 50 1 0 0 0 94379291909680 94379291914816 94379352055808 140733871323853 140733871323879 140733871323879 140733871325164 0\n";

    /// A thread of the kernel, tied to CPU 1; Linux 6.18.
    pub(crate) const BOUND: &str = "21 (migration/1) S 2 0 0 0 -1 69238848 0 0 0 0 0 27 0 0 -100 0 1 0 24 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 1 0 0 17 1 99 1 0 0 0 0 0 0 0 0 0 0 0\n";

    #[track_caller]
    fn check_name(name: &str) {
        let stat = parse_stat(&SPINNER.replace("NAME", name)).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.rt_priority), (name, 'R', 50));
    }

    #[test]
    fn names_cannot_move_the_fields() {
        for name in ["cat", "a b", ") S 1 1", "((", "))", "", "a\nb"] {
            check_name(name);
        }
    }

    #[test]
    fn fields_are_those_of_the_manual() {
        let stat = parse_stat(SPINNER).unwrap();
        assert_eq!(
            (stat.tid, stat.class, stat.cpu, stat.start_ticks),
            (Pid(12959), Class::Fifo, CpuId(0), 191_320)
        );
        assert_eq!(stat.cpu_time, Nanos::from_millis(510));
        assert!(!stat.is_kernel && !stat.is_bound);
        let stat = parse_stat(BOUND).unwrap();
        assert_eq!((stat.tid, stat.class, stat.cpu, stat.rt_priority), (Pid(21), Class::Fifo, CpuId(1), 99));
        assert!(stat.is_kernel && stat.is_bound);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bad in ["", "1", "1 (x", "1 (x)", "1 (x) R 2", "x (y) R 1"] {
            assert!(parse_stat(bad).is_err(), "{bad:?}");
        }
        assert!(parse_schedstat("94060\n").is_err());
        assert!(parse_status("Cpus_allowed_list:\t0-1\n").is_err());
    }

    #[test]
    fn this_process_knows_its_own_threads() {
        let role = crate::threads::Role {
            name: "seen from proc".into(),
            cpus: crate::threads::allowed_cpus().unwrap(),
            policy: crate::threads::Policy::Other,
        };
        let seen = crate::threads::spawn(role, |_| own(&Root::system()).unwrap()).unwrap().join().unwrap();
        let thread = seen.iter().find(|task| task.stat.name == "seen from proc").unwrap();
        assert_eq!(thread.allowed, crate::threads::allowed_cpus().unwrap());
        assert!(thread.allowed.contains(thread.stat.cpu));
    }
}
